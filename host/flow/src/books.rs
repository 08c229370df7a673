//! What calls leave behind for the operator: what plugins were refused and what they used.
//!
//! It is gathered in memory, folded, and written once a second, so that no call waits for the database and a hostile plugin cannot
//! make the database write more than a bounded number of rows, however much it asks for. A process that is killed forgets a second
//! of it at most. What cannot be written stays and is tried again; folding keeps it small.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stecker_model::{CallUsage, Digest, Name, PluginUse, api::DayUsage, api::DenialTotal};
use stecker_store::{NewCalls, NewDenial, NewDenials, NewUsage, Store, StoreError, day_of};
use tokio_util::sync::CancellationToken;

/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(1);
/// New kinds of refusals between two writings, of one connection (or one flow's transforms). What is beyond is only counted.
const KINDS: usize = 50;
/// Characters of what was asked for, and of a grant. Policies cut what strangers wrote already; this holds for whatever comes later.
const CHARACTERS: usize = 2_000;
/// Kinds of calls between two writings. What is beyond is not counted: it is there to hold releases against each other.
const CALLS: usize = 50_000;

type Key = (Name, PluginUse);

/// The books of one process.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pending: Mutex<Pending>,
    /// One writing at a time, so that whoever waits for one knows that everything before it is written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Pending {
    denials: HashMap<Key, Denials>,
    usage: HashMap<(Key, i64), DayUsage>,
    calls: HashMap<NewCalls, u64>,
}

/// Whose calls are counted, and when.
#[derive(Clone, Copy)]
pub(crate) struct Of<'o> {
    pub(crate) tenant: &'o Name,
    pub(crate) connection: &'o Name,
    pub(crate) release: &'o Digest,
    pub(crate) now: i64,
}

/// The bucket of a time: how many bits its milliseconds have, so that each is twice as wide as the one before.
pub(crate) fn bucket(wall_us: u64) -> u32 {
    u64::BITS - (wall_us / 1_000).leading_zeros()
}

impl Books {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that is over.
    pub(crate) fn book(&self, tenant: &Name, used_by: &PluginUse, usage: &CallUsage, now: i64) {
        let key = ((tenant.clone(), used_by.clone()), day_of(now));
        self.pending()
            .usage
            .entry(key)
            .or_default()
            .add(&DayUsage::of(usage));
    }

    /// So many calls, or records, came to this.
    pub(crate) fn count(&self, of: Of<'_>, what: &str, class: &str, n: u64) {
        if n == 0 {
            return;
        }
        let kind = NewCalls {
            tenant: of.tenant.clone(),
            connection: of.connection.clone(),
            release: of.release.clone(),
            day: day_of(of.now),
            what: what.to_owned(),
            // A plugin chooses the codes of its errors; what is longer than any is of no use to anybody.
            class: class.chars().take(32).filter(|c| *c != '\0').collect(),
            n: 0,
        };
        let mut pending = self.pending();
        if pending.calls.len() < CALLS || pending.calls.contains_key(&kind) {
            *pending.calls.entry(kind).or_default() += n;
        }
    }

    /// How long a call took.
    pub(crate) fn count_time(&self, of: Of<'_>, what: &str, wall_us: u64) {
        self.count(of, &format!("time/{what}"), &bucket(wall_us).to_string(), 1);
    }

    /// A refusal.
    pub(crate) fn deny(&self, tenant: &Name, used_by: &PluginUse, denial: NewDenial) {
        let key = (tenant.clone(), used_by.clone());
        let mut pending = self.pending();
        pending
            .usage
            .entry((key.clone(), day_of(denial.last_seen)))
            .or_default()
            .denials += denial.count;
        pending.denials.entry(key).or_default().add(denial);
    }

    /// Writes what there is.
    ///
    /// # Errors
    /// The store fails; what was not written is kept for the next time.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let _one = self.writing.lock().await;
        let Pending {
            denials,
            usage,
            calls,
        } = mem::take(&mut *self.pending());
        let mut result = Ok(());
        for (key, denials) in denials {
            if result.is_ok() {
                result = store.put_denials(&denials.clone().into_new(key.clone())).await;
                denials.tell(&key);
            }
            if result.is_err() {
                self.pending().denials.entry(key).or_default().merge(denials);
            }
        }
        if result.is_ok() && !usage.is_empty() {
            let rows = usage.iter().map(|((key, day), usage)| NewUsage {
                tenant: key.0.clone(),
                used_by: key.1.clone(),
                day: *day,
                usage: *usage,
            });
            result = store.add_usage(rows.collect()).await;
        }
        if result.is_ok() && !calls.is_empty() {
            let rows = calls.iter().map(|(kind, n)| NewCalls {
                n: *n,
                ..kind.clone()
            });
            let added = store.add_calls(rows.collect()).await;
            if added.is_err() {
                let mut pending = self.pending();
                for (kind, n) in calls {
                    *pending.calls.entry(kind).or_default() += n;
                }
            }
            // What was used is written already, and must not be counted twice.
            return added;
        }
        if result.is_err() {
            let mut pending = self.pending();
            for (kind, n) in calls {
                *pending.calls.entry(kind).or_default() += n;
            }
            for (key, usage) in usage {
                pending.usage.entry(key).or_default().add(&usage);
            }
        }
        result
    }

    /// Writes again and again until it is told to stop; not dropped in between, because a writing that is cut off forgets what it took.
    pub(crate) async fn keep(&self, store: &Store, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            if let Err(error) = self.write(store).await {
                tracing::warn!(%error, "refusals and use could not be written down; tried again");
            }
        }
    }
}

/// Refusals of one plugin since the last writing.
#[derive(Debug, Clone, Default)]
struct Denials {
    kinds: Vec<NewDenial>,
    totals: BTreeMap<(String, String), u64>,
    left_out: u64,
}

impl Denials {
    fn add(&mut self, mut denial: NewDenial) {
        cut(&mut denial.asked);
        cut(&mut denial.smallest_grant);
        let rule = (denial.rule.clone(), denial.layer.clone());
        *self.totals.entry(rule).or_default() += denial.count;
        self.fold(denial);
    }

    fn fold(&mut self, denial: NewDenial) {
        let same = |kind: &&mut NewDenial| {
            kind.asked == denial.asked
                && kind.rule == denial.rule
                && kind.layer == denial.layer
                && kind.release == denial.release
        };
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += denial.count;
            kind.first_seen = kind.first_seen.min(denial.first_seen);
            kind.last_seen = kind.last_seen.max(denial.last_seen);
            kind.smallest_grant = denial.smallest_grant;
        } else if self.kinds.len() < KINDS {
            self.kinds.push(denial);
        } else {
            self.left_out += denial.count;
        }
    }

    fn merge(&mut self, other: Self) {
        for denial in other.kinds {
            self.fold(denial);
        }
        for (rule, count) in other.totals {
            *self.totals.entry(rule).or_default() += count;
        }
        self.left_out += other.left_out;
    }

    /// One line for each kind and not for each refusal, because a guest chooses how many of those there are.
    fn tell(&self, (tenant, used_by): &Key) {
        let (kind, name) = (used_by.kind(), used_by.name());
        for denial in &self.kinds {
            tracing::warn!(
                %tenant, kind, %name, rule = denial.rule, layer = denial.layer, asked = denial.asked, count = denial.count,
                "denied; `stecker denials list` shows what would allow it"
            );
        }
        if self.left_out > 0 {
            tracing::warn!(%tenant, kind, %name, count = self.left_out, "denied, in more ways than are kept");
        }
    }

    fn into_new(self, (tenant, used_by): Key) -> NewDenials {
        let totals = self.totals.into_iter();
        NewDenials {
            tenant,
            used_by,
            kinds: self.kinds,
            totals: totals
                .map(|((rule, layer), count)| DenialTotal { rule, layer, count })
                .collect(),
            left_out: self.left_out,
        }
    }
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(CHARACTERS) {
        text.truncate(at);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(asked: &str, at: i64) -> NewDenial {
        NewDenial {
            release: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            plugin: "acme/shop@1.0.0".to_owned(),
            rule: "http.host".to_owned(),
            layer: "grant".to_owned(),
            asked: asked.to_owned(),
            smallest_grant: String::new(),
            first_seen: at,
            last_seen: at,
            count: 1,
        }
    }

    #[test]
    fn the_same_again_is_folded_and_a_flood_of_kinds_is_counted() {
        let mut denials = Denials::default();
        for at in 0..1_000 {
            denials.add(denial("GET https://a.example", at));
        }
        for n in 0..100_000 {
            denials.add(denial(&format!("GET https://{n}.example"), 5));
        }
        let key = (
            "acme".parse().unwrap(),
            PluginUse::Connection("shop".parse().unwrap()),
        );
        let new = denials.into_new(key);
        assert_eq!(new.kinds.len(), KINDS);
        let first = &new.kinds[0];
        assert_eq!((first.count, first.first_seen, first.last_seen), (1_000, 0, 999));
        assert_eq!(
            new.totals.iter().map(|total| total.count).sum::<u64>(),
            101_000,
            "nothing is lost silently"
        );
        let kept: u64 = new.kinds.iter().map(|kind| kind.count).sum();
        assert_eq!(kept + new.left_out, 101_000);
    }

    #[test]
    fn what_could_not_be_written_is_folded_into_what_came_since() {
        let mut earlier = Denials::default();
        earlier.add(denial("a", 1));
        earlier.add(denial("b", 2));
        let mut later = Denials::default();
        later.add(denial("a", 9));
        later.merge(earlier);
        assert_eq!(later.kinds.len(), 2);
        assert_eq!(
            (
                later.kinds[0].count,
                later.kinds[0].first_seen,
                later.kinds[0].last_seen
            ),
            (2, 1, 9)
        );
        assert_eq!(later.totals.values().sum::<u64>(), 3);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut denials = Denials::default();
        denials.add(denial(&"ä".repeat(5_000), 1));
        assert_eq!(denials.kinds[0].asked.chars().count(), CHARACTERS + 1);
    }
}
