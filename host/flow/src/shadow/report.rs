//! From single differences to a verdict. Pure.
//!
//! The running release, played on its own tape, says what a tape is worth. Where it does not even send the same requests or end in the same way, the
//! tape says nothing about anybody, and the call is left out. Fields in which it differs from itself (a time, a random id) are noise: they are not
//! held against the candidate on any tape, and are shown as such.

use std::collections::{BTreeMap, BTreeSet};

use stecker_model::{
    CallUsage,
    api::{
        ShadowCost, ShadowDifference, ShadowDifferenceKind as Kind, ShadowExample, ShadowLeftOut,
        ShadowUsage, ShadowVerdict,
    },
};

use super::compare::Found;

/// Of one kind at one place.
const EXAMPLES: usize = 5;
/// Kinds and places that are told.
const TOLD: usize = 500;
/// Below this, on average over the calls, how long something took says nothing.
const CPU_FLOOR_US: u64 = 5_000;
/// Of the running release's processor time.
pub(super) const MAX_CPU_RATIO: f64 = 3.0;

/// Collects what was found on tape after tape.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tapes: u64,
    left_out: BTreeMap<String, u64>,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    tape: String,
    running: Vec<Found>,
    candidate: Vec<Found>,
    usage: (CallUsage, CallUsage),
}

/// The parts of a report that follow from the calls.
#[derive(Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) verdict: ShadowVerdict,
    pub(super) reasons: Vec<String>,
    pub(super) tapes: u64,
    pub(super) compared: u64,
    pub(super) left_out: Vec<ShadowLeftOut>,
    pub(super) differences: Vec<ShadowDifference>,
    pub(super) noise: Vec<ShadowDifference>,
    pub(super) cost: ShadowCost,
}

type Place = (Kind, Option<String>, String);

fn place(found: &Found) -> Place {
    (found.kind, found.stream.clone(), found.place.clone())
}

/// Whether the running release may differ from itself in this and the tape is still worth something.
const fn is_detail(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ChangedField | Kind::Order | Kind::Cursor | Kind::Storage | Kind::Finding
    )
}

impl Tally {
    /// A tape that says nothing.
    pub(super) fn leave_out(&mut self, reason: &str) {
        self.tapes += 1;
        *self.left_out.entry(reason.to_owned()).or_default() += 1;
    }

    /// What each release did differently on a tape, and what it used.
    pub(super) fn add(
        &mut self,
        tape: &str,
        running: Vec<Found>,
        candidate: Vec<Found>,
        usage: (CallUsage, CallUsage),
    ) {
        self.tapes += 1;
        self.calls.push(Call {
            tape: tape.to_owned(),
            running,
            candidate,
            usage,
        });
    }

    pub(super) fn judge(mut self, max_cpu_ratio: f64) -> Judged {
        let noise = folded(self.calls.iter().flat_map(|call| with_tape(call, &call.running)));
        let details = self.calls.iter().flat_map(|call| &call.running);
        let noisy: BTreeSet<Place> = details.filter(|found| is_detail(found.kind)).map(place).collect();
        let (worth, worthless): (Vec<_>, Vec<_>) = self
            .calls
            .into_iter()
            .partition(|call| call.running.iter().all(|found| is_detail(found.kind)));
        if !worthless.is_empty() {
            let reason = "the running release does not repeat the call itself".to_owned();
            let count = u64::try_from(worthless.len()).unwrap_or(u64::MAX);
            *self.left_out.entry(reason).or_default() += count;
        }
        let against = worth.iter().flat_map(|call| with_tape(call, &call.candidate));
        let differences = folded(against.filter(|(_, found)| !noisy.contains(&place(found))));
        let cost = cost(worth.iter().map(|call| call.usage));
        let compared = cost.running.calls;
        let reasons = reasons(&differences, &cost, max_cpu_ratio);
        let verdict = match (compared, reasons.is_empty()) {
            (0, _) => ShadowVerdict::Unknown,
            (_, true) => ShadowVerdict::Pass,
            (_, false) => ShadowVerdict::Fail,
        };
        let left_out = self.left_out.into_iter();
        Judged {
            verdict,
            reasons,
            tapes: self.tapes,
            compared,
            left_out: left_out
                .map(|(reason, count)| ShadowLeftOut { reason, count })
                .collect(),
            differences,
            noise,
            cost,
        }
    }
}

fn with_tape<'a>(call: &'a Call, all: &'a [Found]) -> impl Iterator<Item = (&'a str, &'a Found)> {
    all.iter().map(|found| (call.tape.as_str(), found))
}

/// One entry for each kind and place, those that count most first.
fn folded<'a>(all: impl Iterator<Item = (&'a str, &'a Found)>) -> Vec<ShadowDifference> {
    let mut places: BTreeMap<Place, ShadowDifference> = BTreeMap::new();
    for (tape, found) in all {
        let entry = places.entry(place(found)).or_insert_with(|| ShadowDifference {
            kind: found.kind,
            stream: found.stream.clone(),
            place: found.place.clone(),
            count: 0,
            examples: Vec::new(),
        });
        entry.count += 1;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(ShadowExample {
                tape: tape.to_owned(),
                key: found.key.clone(),
                old: found.old.clone(),
                new: found.new.clone(),
            });
        }
    }
    let mut all: Vec<_> = places.into_values().collect();
    all.truncate(TOLD);
    all
}

fn cost(calls: impl Iterator<Item = (CallUsage, CallUsage)>) -> ShadowCost {
    let (mut running, mut candidate) = (ShadowUsage::default(), ShadowUsage::default());
    for (of_running, of_candidate) in calls {
        for (sum, usage) in [(&mut running, of_running), (&mut candidate, of_candidate)] {
            sum.calls += 1;
            sum.cpu_us += usage.cpu_us;
            sum.peak_memory = sum.peak_memory.max(usage.peak_memory);
            sum.http_requests += u64::from(usage.http_requests);
        }
    }
    ShadowCost {
        running,
        candidate,
        cpu_ratio: ratio(candidate.cpu_us, running.cpu_us),
        memory_ratio: ratio(candidate.peak_memory, running.peak_memory),
        requests_ratio: ratio(candidate.http_requests, running.http_requests),
    }
}

/// To two places; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people and a threshold")]
fn ratio(one: u64, other: u64) -> Option<f64> {
    (other > 0).then(|| (one as f64 / other as f64 * 100.0).round() / 100.0)
}

fn reasons(differences: &[ShadowDifference], cost: &ShadowCost, max_cpu_ratio: f64) -> Vec<String> {
    let mut counts: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    for difference in differences {
        let (places, count) = counts.entry(difference.kind).or_default();
        *places += 1;
        *count += difference.count;
    }
    // What a release keeps for itself is its own business; it is told, and a change of its form is what migrations are for.
    counts.remove(&Kind::Storage);
    let mut reasons: Vec<_> = counts
        .into_iter()
        .map(|(kind, (places, count))| format!("{count} × {} at {places} place(s)", told(kind)))
        .collect();
    let floor = cost.running.calls.saturating_mul(CPU_FLOOR_US);
    if let Some(cpu) = cost.cpu_ratio.filter(|cpu| *cpu > max_cpu_ratio)
        && cost.candidate.cpu_us > floor
    {
        reasons.push(format!(
            "it takes {cpu} times the processor time; {max_cpu_ratio} times are allowed"
        ));
    }
    reasons
}

const fn told(kind: Kind) -> &'static str {
    match kind {
        Kind::MissingRecord => "a record is missing",
        Kind::ExtraRecord => "a record is too many",
        Kind::ChangedField => "a field is another",
        Kind::Order => "the records of a key come in another order",
        Kind::Cursor => "the cursor is of another kind",
        Kind::Outcome => "a write ends otherwise",
        Kind::Finding => "a lookup finds something else",
        Kind::Webhook => "a webhook is understood otherwise",
        Kind::Request => "a request is not on the tape",
        Kind::UnsentRequest => "a request that changes something is not sent any more",
        Kind::Error => "a call ends otherwise",
        Kind::Denied => "something is refused by the grants",
        Kind::Storage => "something else is kept in the storage",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: Kind, place: &str) -> Found {
        Found {
            kind,
            stream: Some("orders".to_owned()),
            place: place.to_owned(),
            key: Some("1".to_owned()),
            old: None,
            new: None,
        }
    }

    fn usage(cpu_us: u64) -> CallUsage {
        CallUsage {
            cpu_us,
            http_requests: 2,
            ..CallUsage::default()
        }
    }

    fn judged(calls: &[(Vec<Found>, Vec<Found>, u64, u64)]) -> Judged {
        let mut tally = Tally::default();
        for (at, (running, candidate, was, is)) in calls.iter().enumerate() {
            let usage = (usage(*was), usage(*is));
            tally.add(&at.to_string(), running.clone(), candidate.clone(), usage);
        }
        tally.judge(MAX_CPU_RATIO)
    }

    #[test]
    fn the_gate_by_what_was_found() {
        let field = |place: &str| found(Kind::ChangedField, place);
        let none = Vec::new;
        for (calls, verdict) in [
            (vec![], ShadowVerdict::Unknown),
            (vec![(none(), none(), 9_000, 9_000)], ShadowVerdict::Pass),
            (vec![(none(), vec![field("/a")], 1, 1)], ShadowVerdict::Fail),
            (
                vec![(none(), vec![found(Kind::MissingRecord, "record")], 1, 1)],
                ShadowVerdict::Fail,
            ),
            (
                vec![(none(), vec![found(Kind::Request, "GET /x")], 1, 1)],
                ShadowVerdict::Fail,
            ),
            (
                vec![(none(), vec![found(Kind::Storage, "storage")], 1, 1)],
                ShadowVerdict::Pass,
            ),
            // The same field is noise, on whichever tape that was seen; another one is not.
            (
                vec![
                    (vec![field("/at")], vec![field("/at")], 1, 1),
                    (none(), vec![field("/at")], 1, 1),
                ],
                ShadowVerdict::Pass,
            ),
            (
                vec![(vec![field("/at")], vec![field("/by")], 1, 1)],
                ShadowVerdict::Fail,
            ),
            // A tape that the running release does not repeat says nothing.
            (
                vec![(
                    vec![found(Kind::Request, "GET /x")],
                    vec![found(Kind::MissingRecord, "record")],
                    1,
                    1,
                )],
                ShadowVerdict::Unknown,
            ),
            // Processor time counts where there is enough of it to tell.
            (vec![(none(), none(), 10_000, 30_000)], ShadowVerdict::Pass),
            (vec![(none(), none(), 10_000, 30_200)], ShadowVerdict::Fail),
            (vec![(none(), none(), 100, 4_000)], ShadowVerdict::Pass),
        ] {
            let judged = judged(&calls);
            assert_eq!(judged.verdict, verdict, "{calls:?}: {:?}", judged.reasons);
            assert_eq!(judged.reasons.is_empty(), verdict != ShadowVerdict::Fail);
        }
    }

    #[test]
    fn a_place_is_one_entry_with_a_count_and_five_examples() {
        let many = vec![found(Kind::ChangedField, "/total"); 40];
        let judged = judged(&[(Vec::new(), many, 1, 1)]);
        let [difference] = &judged.differences[..] else {
            panic!("{:?}", judged.differences);
        };
        assert_eq!((difference.count, difference.examples.len()), (40, 5));
        assert_eq!(judged.cost.requests_ratio, Some(1.0));
    }
}
