//! Whether a flow's destination lets anything through, seen from its last batches. Pure.
//!
//! One record that fails may be at fault itself. When the last few records all failed on the way, whichever they were, the way is at fault:
//! then only one of them goes at a time, after a pause, to see whether it is open again, and what fails meanwhile is not held against a record.

use std::collections::BTreeSet;

use stecker_model::RetryClass;

use crate::outcome::Verdict;

/// Different records in a row that failed on the way before it is the way's fault.
const DIFFERENT: usize = 5;

/// What a batch says about the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// The destination decided on a record, one way or the other.
    Through,
    /// Nothing got through. The class of the first failure.
    Blocked(RetryClass),
    /// Says neither.
    Unclear,
}

/// What verdicts on the records of one batch say.
pub(crate) fn passage(verdicts: &[Verdict]) -> Passage {
    let mut passage = Passage::Unclear;
    for verdict in verdicts {
        match verdict {
            Verdict::Done { .. } | Verdict::Refused(_) => return Passage::Through,
            Verdict::Again { reason, .. } => {
                let class = RetryClass::of(&reason.code);
                if !class.is_on_the_way() {
                    return Passage::Through;
                }
                if passage == Passage::Unclear {
                    passage = Passage::Blocked(class);
                }
            }
            // It may have arrived.
            Verdict::Unsure(_) => {}
        }
    }
    passage
}

/// What the last batches of a flow said.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Records that failed on the way since something last got through.
    failed: BTreeSet<i64>,
    /// Batches of which nothing got through, in a row.
    batches: u32,
}

impl Reach {
    /// What a batch of these records said.
    pub(crate) fn note(&mut self, passage: Passage, seqs: impl IntoIterator<Item = i64>) {
        match passage {
            Passage::Through => *self = Self::default(),
            Passage::Blocked(_) => {
                self.batches = self.batches.saturating_add(1);
                for seq in seqs {
                    if self.failed.len() < DIFFERENT {
                        self.failed.insert(seq);
                    }
                }
            }
            Passage::Unclear => {}
        }
    }

    /// Whether it is the way and not the records.
    pub(crate) fn is_blocked(&self) -> bool {
        self.failed.len() >= DIFFERENT
    }

    /// Batches in a row of which nothing got through.
    pub(crate) const fn batches(&self) -> u32 {
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use stecker_model::{ErrorCode, Outcome, PluginError};

    use super::*;

    fn again(code: ErrorCode) -> Verdict {
        Outcome::Retry(PluginError::new(code, "")).into()
    }

    fn done() -> Verdict {
        Verdict::Done {
            external_id: None,
            duplicate: false,
        }
    }

    #[test]
    fn one_record_that_gets_an_answer_says_that_the_way_is_open() {
        for (verdicts, expected) in [
            (vec![], Passage::Unclear),
            (
                vec![again(ErrorCode::Transient)],
                Passage::Blocked(RetryClass::Unavailable),
            ),
            (
                vec![again(ErrorCode::RateLimited), again(ErrorCode::Transient)],
                Passage::Blocked(RetryClass::RateLimited),
            ),
            (vec![again(ErrorCode::Transient), done()], Passage::Through),
            (
                vec![again(ErrorCode::Auth), again(ErrorCode::NotFound)],
                Passage::Through,
            ),
            (
                vec![Outcome::Unknown(PluginError::new(ErrorCode::Transient, "")).into()],
                Passage::Unclear,
            ),
        ] {
            assert_eq!(passage(&verdicts), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn one_record_again_and_again_is_not_the_way() {
        let mut reach = Reach::default();
        let blocked = Passage::Blocked(RetryClass::Unavailable);
        for _ in 0..50 {
            reach.note(blocked, [7]);
        }
        assert!(!reach.is_blocked());
        assert_eq!(reach.batches(), 50);
        reach.note(blocked, [8, 9, 10]);
        assert!(!reach.is_blocked());
        reach.note(Passage::Unclear, [11, 12]);
        assert!(!reach.is_blocked());
        reach.note(blocked, [11]);
        assert!(reach.is_blocked());
        reach.note(Passage::Through, [12]);
        assert!(!reach.is_blocked());
        assert_eq!(reach.batches(), 0);
    }
}
