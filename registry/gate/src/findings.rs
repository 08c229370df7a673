//! Collecting what is found, within bounds.

use crate::{Code, Finding, GatePolicy, Severity};

/// Characters of what was seen.
const SHOWN: usize = 2_000;
/// Findings of one kind that are told one by one.
const OF_A_KIND: usize = 20;

/// What was found so far.
pub(crate) struct Findings<'p> {
    policy: &'p GatePolicy,
    all: Vec<Finding>,
}

impl<'p> Findings<'p> {
    pub(crate) fn new(policy: &'p GatePolicy) -> Self {
        Self {
            policy,
            all: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, code: Code, seen: &str) {
        self.all.push(Finding {
            code,
            step: code.step(),
            severity: self.policy.severity(code),
            seen: short(seen),
            why: code.why().to_owned(),
            todo: code.todo().to_owned(),
        });
    }

    /// Several of a kind; of very many, their number.
    pub(crate) fn add_each(&mut self, code: Code, seen: impl IntoIterator<Item = String>) {
        let mut left_out = 0_usize;
        for (i, seen) in seen.into_iter().enumerate() {
            if i < OF_A_KIND {
                self.add(code, &seen);
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            self.add(code, &format!("{left_out} more of the same"));
        }
    }

    pub(crate) fn has_refusal(&self) -> bool {
        self.all
            .iter()
            .any(|finding| finding.severity == Severity::Refusal)
    }

    /// In the order of the gate.
    pub(crate) fn into_list(mut self) -> Vec<Finding> {
        self.all.sort_by_key(|finding| finding.step);
        self.all
    }
}

/// A stranger's text, cut to what a person reads.
pub(crate) fn short(text: &str) -> String {
    let clean: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    if clean.len() < text.len() && text.chars().nth(SHOWN).is_some() {
        return format!("{clean}…");
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_stranger_writes_makes_the_report_large() {
        let policy = GatePolicy::publish();
        let mut findings = Findings::new(&policy);
        findings.add_each(
            Code::ConfigBroken,
            (0..10_000).map(|_| "x\u{1b}[31m".repeat(10_000)),
        );
        let all = findings.into_list();
        assert_eq!(all.len(), OF_A_KIND + 1);
        assert_eq!(all.last().unwrap().seen, "9980 more of the same");
        assert!(
            all.iter()
                .all(|finding| finding.seen.chars().count() <= SHOWN + 1)
        );
        assert!(all.iter().all(|finding| !finding.seen.contains('\u{1b}')));
    }
}
