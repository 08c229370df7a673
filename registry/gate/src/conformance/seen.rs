//! What was seen of one call, reduced to what is judged.

use stecker_model::{Finding, Outcome, PluginError, Record, Transformed, Verdict};
use stecker_sandbox::{AskedRequest, CallError};

use super::Behaviour;

/// One call of the plugin.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// `role.function`.
    pub(super) function: &'static str,
    /// Of which stream, where it is about one.
    pub(super) stream: Option<String>,
    /// What the upstream answered.
    pub(super) behaviour: Behaviour,
    /// Which time, for what is done more than once: from 0.
    pub(super) round: u32,
    /// How it ended.
    pub(super) ended: Ended,
    /// What it sent.
    pub(super) requests: Vec<AskedRequest>,
    /// What was denied to it.
    pub(super) denied: Vec<String>,
}

impl Run {
    /// For a person.
    pub(super) fn place(&self) -> String {
        let of = self
            .stream
            .as_ref()
            .map_or_else(String::new, |stream| format!(" of `{}`", cut(stream)));
        format!("{}{of}, with {}", self.function, self.behaviour.as_str())
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// `connection.check`: whether each probe went well.
    Probes(Vec<bool>),
    /// Records, by key and source version: read, received, or made by a transform (none for one that was left out).
    Records(Vec<Option<(String, String)>>),
    /// `destination.write`: one each.
    Outcomes(Vec<Written>),
    /// `destination.lookup`: whether each could be told.
    Findings(Vec<bool>),
    /// `webhook.receive`.
    Webhook(Verdict),
    /// Anything else that went well.
    Done,
    /// The plugin's own error.
    Error(PluginError),
    /// It trapped, or died of its memory or stack.
    Crashed(String),
    /// It was stopped.
    TimedOut,
    /// What it returned is not what the contract says.
    Broke(String),
    /// The host had no room, so nothing is known.
    NotRun(String),
}

/// An outcome without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Delivered,
    Duplicate,
    Retry(PluginError),
    Rejected,
    Unknown(PluginError),
}

/// A stranger's text in a sentence.
pub(super) fn cut(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl From<&CallError> for Ended {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Plugin(error) => Self::Error(error.clone()),
            CallError::Trap { message, .. } => Self::Crashed(message.clone()),
            CallError::OutOfMemory { limit_bytes, .. } => {
                Self::Crashed(format!("it needs more than {} MiB of memory", limit_bytes >> 20))
            }
            CallError::StackOverflow { .. } => Self::Crashed("its stack overflows".to_owned()),
            CallError::Deadline { .. } => Self::TimedOut,
            CallError::Contract { message } => Self::Broke(message.clone()),
            other => Self::NotRun(other.to_string()),
        }
    }
}

pub(super) fn of_record(record: &Record) -> Option<(String, String)> {
    Some((record.key.clone(), record.source_version.clone()))
}

pub(super) fn of_transformed(answers: &[Transformed]) -> Ended {
    let each = answers.iter().flat_map(|answer| match answer {
        Transformed::Emit(records) => records.iter().map(of_record).collect(),
        Transformed::Drop(_) | Transformed::Reject(_) => vec![None],
    });
    Ended::Records(each.collect())
}

pub(super) fn of_outcomes(outcomes: &[Outcome]) -> Ended {
    let each = outcomes.iter().map(|outcome| match outcome {
        Outcome::Delivered(_) => Written::Delivered,
        Outcome::Duplicate(_) => Written::Duplicate,
        Outcome::Retry(error) => Written::Retry(error.clone()),
        Outcome::Rejected(_) => Written::Rejected,
        Outcome::Unknown(error) => Written::Unknown(error.clone()),
    });
    Ended::Outcomes(each.collect())
}

pub(super) fn of_findings(findings: &[Finding]) -> Ended {
    let told = |finding: &Finding| !matches!(finding, Finding::Undecided);
    Ended::Findings(findings.iter().map(told).collect())
}
