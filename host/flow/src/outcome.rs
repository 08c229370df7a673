//! From what a destination answered to where a record goes next. Pure, so that every case stands in a table of tests.

use rand::Rng;
use serde::{Deserialize, Serialize};
use stecker_model::{
    ErrorCode, Finding, Outcome, PluginError, RetryClass, RetryPolicy, api::Reason, difference,
};
use stecker_sandbox::CallError;
use stecker_store::SettledState;

use crate::{
    backoff,
    prepare::reason_of,
    steps::json,
    tries::{GivenUp, Tries},
};

/// How long after the question a destination is asked whether it got it: a request that was cut off here may still be worked
/// on there, and "it is not there" would be true only for the moment.
pub(crate) const SETTLING_MS: i64 = 2_000;

/// Which outputs of a record are written already, kept with the record while others are still to come: the output's key and its
/// id at the destination. By key and not by position, so that a corrected transform finds its way through it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Progress(Vec<(String, Option<String>)>);

impl Progress {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        // Written by this very type; what cannot be read means "nothing known to be done", which idempotency keys make harmless.
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    pub(crate) fn has(&self, output: &str) -> bool {
        self.0.iter().any(|(done, _)| done == output)
    }

    pub(crate) fn done(&mut self, output: &str, external_id: Option<String>) {
        if !self.has(output) {
            self.0.push((output.to_owned(), external_id));
        }
    }

    /// The outputs that are written, by their keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(output, _)| output.as_str())
    }

    /// An output that has to be written again.
    pub(crate) fn undo(&mut self, output: &str) {
        self.0.retain(|(done, _)| done != output);
    }

    /// `None` when there is nothing worth keeping.
    pub(crate) fn to_text(&self) -> Option<String> {
        if self.0.is_empty() {
            None
        } else {
            serde_json::to_string(self).ok()
        }
    }

    /// The ids at the destination, in the order in which they were written.
    pub(crate) fn external_id(&self) -> Option<String> {
        let ids: Vec<&str> = self.0.iter().filter_map(|(_, id)| id.as_deref()).collect();
        (!ids.is_empty()).then(|| ids.join(","))
    }
}

/// What became of one output of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done {
        external_id: Option<String>,
        duplicate: bool,
    },
    Again {
        reason: Reason,
        retry_after_ms: Option<u64>,
    },
    Refused(Reason),
    Unsure(Reason),
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered(external_id) => Self::Done {
                external_id,
                duplicate: false,
            },
            Outcome::Duplicate(external_id) => Self::Done {
                external_id,
                duplicate: true,
            },
            Outcome::Retry(error) => Self::again(&error),
            Outcome::Rejected(rejection) => Self::Refused(reason_of(rejection)),
            Outcome::Unknown(error) => Self::Unsure(reason(&error)),
        }
    }
}

impl From<Finding> for Verdict {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Present { external_id, .. } => Self::Done {
                external_id,
                duplicate: false,
            },
            Finding::Absent => Self::looked_up("it is not at the destination"),
            Finding::Undecided => {
                Self::looked_up("the destination cannot tell; sent again with the same idempotency key")
            }
        }
    }
}

impl Verdict {
    /// What a lookup says of an output that was to be put right: it was there before, so that it is there says nothing.
    pub(crate) fn of_correction(finding: Finding) -> Self {
        match finding {
            Finding::Present { .. } => Self::looked_up(
                "it is at the destination, which does not say that it was put right; sent again with the same idempotency key",
            ),
            finding => finding.into(),
        }
    }

    /// What a lookup found of a record that was sent again on purpose: that it is there may be from before. Only what is there just as
    /// it was to be sent has arrived; what differs is sent again. Where the destination does not say what it has, it is left there,
    /// because it may be the one that arrived.
    pub(crate) fn of_finding_again(finding: Finding, sent: &str) -> Self {
        if let Finding::Present {
            payload: Some(there), ..
        } = &finding
            && difference(&json(there), &json(sent)).count > 0
        {
            return Self::looked_up("it is at the destination in another form than it was to be sent in");
        }
        finding.into()
    }

    fn again(error: &PluginError) -> Self {
        Self::Again {
            reason: reason(error),
            retry_after_ms: error.retry_after_ms,
        }
    }

    fn looked_up(found: &str) -> Self {
        let message = format!("looked up after an answer that never came: {found}");
        Self::Again {
            reason: Reason {
                code: "looked-up".to_owned(),
                message,
                path: None,
            },
            retry_after_ms: None,
        }
    }

    /// What a failed write of a whole batch means for each of its records. The contract says that an error answered by the
    /// plugin means "nothing was written"; a call that was cut off says nothing at all.
    pub(crate) fn of_failed_write(error: &CallError) -> Self {
        match error {
            // The system refused this very record; a batch of several is divided before anybody looks at this.
            CallError::Plugin(error) if error.kind() == ErrorCode::Data => Self::Refused(reason(error)),
            CallError::Plugin(error) => Self::again(error),
            // The plugin was not even called.
            CallError::Busy { .. } => Self::Again {
                reason: call_reason(error),
                retry_after_ms: None,
            },
            CallError::NoRole(_) => Self::Refused(call_reason(error)),
            other => Self::Unsure(call_reason(other)),
        }
    }

    /// Short word for the attempt's row.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Done { duplicate: false, .. } => "delivered",
            Self::Done { duplicate: true, .. } => "duplicate",
            Self::Again { .. } => "retry",
            Self::Refused(_) => "rejected",
            Self::Unsure(_) => "unknown",
        }
    }
}

pub(crate) fn reason(error: &PluginError) -> Reason {
    Reason {
        code: error.code.clone(),
        message: error.message.clone(),
        path: error.detail("path").map(str::to_owned),
    }
}

pub(crate) fn call_reason(error: &CallError) -> Reason {
    Reason {
        code: error.code().as_str().to_owned(),
        message: error.to_string(),
        path: None,
    }
}

/// The verdict on a record of several outputs: unsure if one is, else refused if one is, else again if one is, else done.
pub(crate) fn combine(verdicts: Vec<Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Done { duplicate: true, .. } => 0,
        Verdict::Done { duplicate: false, .. } => 1,
        Verdict::Again { .. } => 2,
        Verdict::Refused(_) => 3,
        // A rejection will come again; whether something was written has to be found out first.
        Verdict::Unsure(_) => 4,
    };
    verdicts.into_iter().max_by_key(rank).unwrap_or(Verdict::Done {
        external_id: None,
        duplicate: true,
    })
}

/// Whether an error that a plugin answered with for a whole batch is about some record in it, so that the others may go without that one.
pub(crate) fn is_about_a_record(error: &CallError) -> bool {
    let CallError::Plugin(error) = error else {
        return false;
    };
    !RetryClass::of(&error.code).is_on_the_way() && error.kind() != ErrorCode::Conflict
}

/// How often a record was tried.
pub(crate) struct Standing<'a> {
    pub(crate) tries: &'a mut Tries,
    /// Since a person last sent it back, this one included.
    pub(crate) attempts: u32,
    /// Nothing gets through at the moment, whatever it is.
    pub(crate) excused: bool,
}

/// Where a record goes, given the verdict on it and how often it was tried.
pub(crate) fn settle(
    verdict: Verdict,
    progress: &Progress,
    standing: Standing<'_>,
    policy: &RetryPolicy,
    now: i64,
    rng: &mut impl Rng,
) -> SettledState {
    let Standing {
        tries,
        attempts,
        excused,
    } = standing;
    match verdict {
        Verdict::Done { duplicate, .. } => SettledState::Delivered {
            external_id: progress.external_id(),
            duplicate,
        },
        Verdict::Refused(reason) => SettledState::Quarantined { reason },
        Verdict::Unsure(reason) => SettledState::Unknown {
            at: now.saturating_add(
                backoff::pause_ms(&policy.budget(RetryClass::Unavailable), attempts, None, rng)
                    .max(SETTLING_MS),
            ),
            reason,
        },
        Verdict::Again {
            reason,
            retry_after_ms,
        } => {
            let class = RetryClass::of(&reason.code);
            tries.failed(class, excused && class.is_on_the_way(), now);
            if let Some(end) = tries.given_up(class, policy, now) {
                let after = match end {
                    GivenUp::Attempts(attempts) => format!("{attempts} attempts"),
                    GivenUp::Time(period) => period.to_string(),
                };
                let message = format!("given up after {after}; the last: {}", reason.message);
                return SettledState::Quarantined {
                    reason: Reason { message, ..reason },
                };
            }
            let pause = backoff::pause_ms(&policy.budget(class), tries.of(class), retry_after_ms, rng);
            SettledState::Retry {
                at: now.saturating_add(pause),
                reason,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use stecker_model::{ErrorCode, Rejection};

    /// After `attempts`, all of which ended like this.
    fn settled_when(verdict: &Verdict, attempts: u32, excused: bool) -> SettledState {
        let mut rng = StdRng::seed_from_u64(1);
        let mut tries = Tries::default();
        for attempt in 1.. {
            let standing = Standing {
                tries: &mut tries,
                attempts: attempt,
                excused,
            };
            let policy = RetryPolicy::default();
            let state = settle(
                verdict.clone(),
                &Progress::default(),
                standing,
                &policy,
                1_000,
                &mut rng,
            );
            if attempt >= attempts {
                return state;
            }
        }
        unreachable!()
    }

    fn settled(verdict: &Verdict, attempts: u32) -> SettledState {
        settled_when(verdict, attempts, false)
    }

    fn transient() -> Verdict {
        Outcome::Retry(PluginError::new(ErrorCode::Transient, "503")).into()
    }

    #[test]
    fn a_rejection_is_quarantined_at_once_with_its_path() {
        let rejection = Rejection {
            code: "unknown-item".to_owned(),
            reason: "no such item".to_owned(),
            path: Some("/lines/0/sku".to_owned()),
            details: Vec::new(),
        };
        let state = settled(&Outcome::Rejected(rejection).into(), 1);
        assert!(
            matches!(state, SettledState::Quarantined { reason } if reason.path.as_deref() == Some("/lines/0/sku"))
        );
    }

    #[test]
    fn what_is_sent_again_has_arrived_only_as_it_was_sent() {
        let there = |payload: Option<&str>| Finding::Present {
            external_id: None,
            payload: payload.map(str::to_owned),
        };
        let sent = r#"{"total": 5}"#;
        for (finding, word) in [
            (there(Some(r#"{"total": 5, "id": 1}"#)), "delivered"),
            (there(Some(r#"{"total": 6}"#)), "retry"),
            (there(None), "delivered"),
            (Finding::Absent, "retry"),
            (Finding::Undecided, "retry"),
        ] {
            assert_eq!(
                Verdict::of_finding_again(finding.clone(), sent).word(),
                word,
                "{finding:?}"
            );
        }
    }

    #[test]
    fn retries_end_in_quarantine_and_say_so() {
        assert!(matches!(settled(&transient(), 11), SettledState::Retry { at, .. } if at >= 1_000));
        assert!(
            matches!(settled(&transient(), 12), SettledState::Quarantined { reason } if reason.message.contains("12 attempts") && reason.code == "transient")
        );
    }

    #[test]
    fn what_nobody_gets_through_is_not_held_against_a_record() {
        assert!(matches!(
            settled_when(&transient(), 500, true),
            SettledState::Retry { .. }
        ));
        let limited: Verdict = Outcome::Retry(PluginError::new(ErrorCode::RateLimited, "429")).into();
        assert!(matches!(settled(&limited, 500), SettledState::Retry { .. }));
        let missing: Verdict =
            Outcome::Retry(PluginError::new(ErrorCode::NotFound, "no such customer")).into();
        assert!(
            matches!(settled_when(&missing, 12, true), SettledState::Quarantined { .. }),
            "that is about the record, whatever happens to others"
        );
    }

    #[test]
    fn an_answer_that_never_came_is_never_an_exhausted_retry() {
        let unsure: Verdict = Outcome::Unknown(PluginError::new(ErrorCode::Transient, "timeout")).into();
        assert!(matches!(settled(&unsure, 99), SettledState::Unknown { .. }));
    }

    #[test]
    fn a_call_that_was_cut_off_leaves_its_records_unsure() {
        let trap = CallError::Trap {
            message: "unreachable".to_owned(),
            backtrace: Vec::new(),
        };
        assert!(matches!(Verdict::of_failed_write(&trap), Verdict::Unsure(_)));
        let answered = CallError::Plugin(PluginError::new(ErrorCode::Auth, "401"));
        assert!(matches!(
            Verdict::of_failed_write(&answered),
            Verdict::Again { .. }
        ));
    }

    #[test]
    fn a_record_is_as_far_as_its_slowest_output() {
        let done = || Verdict::Done {
            external_id: None,
            duplicate: false,
        };
        assert!(matches!(
            combine(vec![done(), transient()]),
            Verdict::Again { .. }
        ));
        assert!(matches!(
            combine(vec![done(), done()]),
            Verdict::Done { duplicate: false, .. }
        ));
        let unsure = Verdict::Unsure(Reason {
            code: "x".to_owned(),
            message: String::new(),
            path: None,
        });
        assert!(matches!(
            combine(vec![transient(), unsure, done()]),
            Verdict::Unsure(_)
        ));
    }

    #[test]
    fn that_a_thing_is_there_does_not_say_that_it_was_put_right() {
        let present = || Finding::Present {
            external_id: None,
            payload: None,
        };
        assert!(matches!(Verdict::from(present()), Verdict::Done { .. }));
        assert!(matches!(Verdict::of_correction(present()), Verdict::Again { .. }));
        assert!(matches!(
            Verdict::of_correction(Finding::Absent),
            Verdict::Again { .. }
        ));
    }

    #[test]
    fn progress_survives_being_stored() {
        let mut progress = Progress::default();
        progress.done("x", Some("a".to_owned()));
        progress.done("y", Some("b".to_owned()));
        progress.done("y", Some("again".to_owned()));
        let back = Progress::parse(progress.to_text().as_deref());
        assert_eq!(back, progress);
        assert_eq!(back.external_id().as_deref(), Some("a,b"));
        assert_eq!(Progress::parse(Some("not json")), Progress::default());
        progress.undo("x");
        assert_eq!(progress.keys().collect::<Vec<_>>(), ["y"]);
    }
}
