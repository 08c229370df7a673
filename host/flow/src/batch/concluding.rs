//! From verdicts on a batch to what becomes of each record, and to what it means for the batches after it.

use stecker_model::RetryClass;
use stecker_model::api::Reason;
use stecker_sandbox::CallError;
use stecker_store::{DueRecord, SettledState, Settlement};

use super::{Item, Work, locked};
use crate::{
    backoff,
    books::Of,
    evidence,
    outcome::{self, Progress, Standing, Verdict},
    prepare::BatchFailed,
    reach::{Passage, passage},
    tries::Tries,
};

impl Work<'_> {
    pub(super) fn conclude(&mut self, items: Vec<Item>, verdicts: Result<Vec<Verdict>, CallError>) {
        match verdicts {
            Ok(verdicts) => {
                // An answer to "is it there?" is an answer, whatever it says.
                let passage = if self.lookup {
                    Passage::Through
                } else {
                    passage(&verdicts)
                };
                self.note(passage, &items, asked_to_wait(&verdicts));
                let mut verdicts = verdicts.into_iter();
                for mut item in items {
                    let open: Vec<String> = item.open_outputs().map(|output| output.key.clone()).collect();
                    let own: Vec<Verdict> = verdicts.by_ref().take(open.len()).collect();
                    for (output, verdict) in open.into_iter().zip(&own) {
                        if let Verdict::Done { external_id, .. } = verdict {
                            item.progress.done(&output, external_id.clone());
                        }
                    }
                    item.answer = Some(evidence::of_answer(&own));
                    self.settle(&item, outcome::combine(own));
                }
            }
            Err(error) if self.lookup => self.lookup_failed(&items, &error),
            Err(error) => {
                tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = items.len(), %error, "writing a batch failed");
                let verdict = Verdict::of_failed_write(&error);
                let about_a_record = outcome::is_about_a_record(&error);
                // Those that may be what the batch failed for go one by one.
                if about_a_record || !matches!(error, CallError::Plugin(_) | CallError::Busy { .. }) {
                    let suspects = items.iter().map(|item| item.due.seq);
                    locked(self.shared).suspects.extend(suspects);
                }
                let verdicts = std::slice::from_ref(&verdict);
                self.note(passage(verdicts), &items, asked_to_wait(verdicts));
                if about_a_record && items.len() > 1 {
                    return self.one_by_one(&items, &outcome::call_reason(&error));
                }
                for item in &items {
                    self.settle(item, verdict.clone());
                }
            }
        }
    }

    /// What a batch says about the way, and what follows for the batches after it: a destination that asked for a pause gets it, and so does
    /// one that lets nothing through.
    fn note(&self, passage: Passage, items: &[Item], asked_ms: Option<u64>) {
        let mut shared = locked(self.shared);
        shared.reach.note(passage, items.iter().map(|item| item.due.seq));
        let Passage::Blocked(class) = passage else { return };
        let pause = if class != RetryClass::Unavailable || shared.reach.is_blocked() {
            let budget = self.ctx.spec.retry.budget(class);
            backoff::pause_ms(&budget, shared.reach.batches(), asked_ms, &mut rand::rng())
        } else {
            asked_ms.and_then(|pause| i64::try_from(pause).ok()).unwrap_or(0)
        };
        shared.hold_until = shared.hold_until.max(self.ctx.now().saturating_add(pause));
    }

    /// A batch that was refused for one of its records says nothing about the others.
    fn one_by_one(&mut self, items: &[Item], reason: &Reason) {
        for item in items {
            let again = SettledState::Retry {
                at: self.ctx.now(),
                reason: reason.clone(),
            };
            self.push(&item.due, again, item.progress.to_text(), "retry");
            self.add_evidence(item);
        }
    }

    /// The answer to "is it there?" did not come either: ask again later, however long that takes. Sending it again without
    /// knowing would be the one thing worse than waiting.
    fn lookup_failed(&mut self, items: &[Item], error: &CallError) {
        tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = items.len(), %error, "a lookup failed");
        let reason = outcome::call_reason(error);
        let class = RetryClass::of(error.code().as_str());
        if class.is_on_the_way() {
            // One question without an answer fails all: it says no more than one record does.
            self.note(Passage::Blocked(class), items.get(..1).unwrap_or_default(), None);
        }
        for item in items {
            let failures = {
                let mut shared = locked(self.shared);
                let failures = shared.lookups.entry(item.due.seq).or_default();
                *failures = failures.saturating_add(1);
                *failures
            };
            let pause = backoff::pause_ms(
                &self.ctx.spec.retry.budget(class),
                failures,
                None,
                &mut rand::rng(),
            );
            let at = self.ctx.now().saturating_add(pause);
            self.push(
                &item.due,
                SettledState::Unknown {
                    at,
                    reason: reason.clone(),
                },
                item.due.outputs.clone(),
                "unknown",
            );
        }
    }

    /// The transforms could not take the batch. Passing errors are retried; anything else is looked at record by record, and
    /// the record that fails alone is quarantined.
    pub(super) fn transform_failed(&mut self, batch: Vec<DueRecord>, failed: &BatchFailed) {
        tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = batch.len(), error = %failed.error, "transforming a batch failed");
        let alone = batch.len() == 1;
        let passes = failed.code().passes_by_itself();
        for due in batch {
            let state = if self.lookup && (passes || !alone) {
                if !passes {
                    locked(self.shared).suspects.insert(due.seq);
                }
                SettledState::Unknown {
                    at: self.ctx.now().saturating_add(1_000),
                    reason: failed.reason(),
                }
            } else if passes {
                let again = Verdict::Again {
                    reason: failed.reason(),
                    retry_after_ms: None,
                };
                let (state, tries) = self.state_for(again, &due, &Progress::default());
                let outputs = due.outputs.clone();
                self.push(&due, state, outputs, "retry");
                if let Some(settled) = self.settled.last_mut() {
                    settled.tries = tries;
                }
                continue;
            } else if alone {
                SettledState::Quarantined {
                    reason: failed.reason(),
                }
            } else {
                locked(self.shared).suspects.insert(due.seq);
                SettledState::Retry {
                    at: self.ctx.now(),
                    reason: failed.reason(),
                }
            };
            let word = if matches!(state, SettledState::Quarantined { .. }) {
                "rejected"
            } else {
                "retry"
            };
            let outputs = due.outputs.clone();
            self.push(&due, state, outputs, word);
        }
    }

    fn settle(&mut self, item: &Item, verdict: Verdict) {
        let word = verdict.word();
        let (state, tries) = self.state_for(verdict, &item.due, &item.progress);
        if !matches!(state, SettledState::Unknown { .. }) {
            let mut shared = locked(self.shared);
            shared.lookups.remove(&item.due.seq);
            if matches!(
                state,
                SettledState::Delivered { .. } | SettledState::Quarantined { .. }
            ) {
                shared.suspects.remove(&item.due.seq);
            }
        }
        self.push(&item.due, state, item.progress.to_text(), word);
        self.add_evidence(item);
        if let Some(settled) = self.settled.last_mut() {
            settled.tries = tries;
        }
    }

    /// What it was asked and answered, for the attempt's row.
    fn add_evidence(&mut self, item: &Item) {
        if let Some(settled) = self.settled.last_mut() {
            settled.request.clone_from(&item.request);
            settled.answer.clone_from(&item.answer);
        }
    }

    /// A lookup is no attempt, but a record that was tried often enough and is not there is given up like any other.
    fn state_for(
        &self,
        verdict: Verdict,
        due: &DueRecord,
        progress: &Progress,
    ) -> (SettledState, Option<String>) {
        let mut tries = Tries::parse(due.tries.as_deref());
        let standing = Standing {
            tries: &mut tries,
            attempts: due.attempts_since_reset.saturating_add(u32::from(!self.lookup)),
            excused: self.down || locked(self.shared).reach.is_blocked(),
        };
        let policy = &self.ctx.spec.retry;
        let state = outcome::settle(
            verdict,
            progress,
            standing,
            policy,
            self.ctx.now(),
            &mut rand::rng(),
        );
        (state, tries.to_text())
    }

    pub(super) fn push(&mut self, due: &DueRecord, to: SettledState, outputs: Option<String>, outcome: &str) {
        self.count(due, &to);
        self.settled.push(Settlement {
            seq: due.seq,
            to,
            outputs,
            outcome: outcome.to_owned(),
            request: None,
            answer: None,
            tries: None,
        });
    }
}

impl Work<'_> {
    /// For holding releases against each other: the one that wrote the record, and the one that read it.
    fn count(&self, due: &DueRecord, to: &SettledState) {
        let class = match to {
            SettledState::Delivered { .. } => "delivered",
            SettledState::Retry { .. } => "retry",
            SettledState::Unknown { .. } => "unknown",
            SettledState::Quarantined { .. } => "quarantined",
            SettledState::Dropped { .. } => "dropped",
        };
        let (spec, books) = (&self.ctx.spec, &self.destination.account.books);
        for (what, connection, release) in [
            ("record", &spec.destination.connection, &self.destination.release),
            ("record-read", &spec.source.connection, &due.release),
        ] {
            let of = Of {
                tenant: &self.ctx.tenant,
                connection,
                release,
                now: self.ctx.now(),
            };
            books.count(of, what, class, 1);
        }
    }
}

/// The longest pause that any answer of a batch asked for.
fn asked_to_wait(verdicts: &[Verdict]) -> Option<u64> {
    verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Again { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        })
        .max()
}
