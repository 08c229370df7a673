//! How a command ends badly: exit code 1 with what went wrong, 2 with what was not understood.

use std::{fmt::Display, io, path::Path};

use stecker_model::api::{Fault, Problem};
use stecker_server::{FolderError, HostError};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was tried.
    Problem(Box<Problem>),
    /// The words of the command do not go together.
    Usage(String),
    /// The answer says so already.
    Told,
    /// Nobody reads the answer any more.
    Unread,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Unread;
        }
        failed("output", format!("the answer could not be written: {error}")).into()
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let kind = match &error {
            HostError::Folder(FolderError::Locked { .. }) => "in-use",
            HostError::Folder(_) => "data-folder",
            HostError::Store { .. } => "database",
            HostError::Listen { .. } => "listen",
            _ => "host",
        };
        failed(kind, error.to_string()).into()
    }
}

/// A failure on this side, in the shape of those that a server tells.
pub(crate) fn failed(kind: &str, detail: impl Into<String>) -> Problem {
    Problem::new(500, kind, "The command failed", detail)
}

/// A file that cannot be used.
pub(crate) fn file(action: &str, path: &Path, error: impl Display, hint: &str) -> Failure {
    failed("file", format!("cannot {action} {}: {error}", path.display()))
        .with_hint(hint)
        .into()
}

/// A setup with faults, found on this side.
pub(crate) fn faulty(path: &Path, faults: Vec<Fault>) -> Failure {
    let detail = match faults.len() {
        1 => format!(
            "{} has a fault; no connection or flow was changed",
            path.display()
        ),
        n => format!(
            "{} has {n} faults; no connection or flow was changed",
            path.display()
        ),
    };
    Problem::new(422, "invalid", "Not valid", detail)
        .with_faults(faults)
        .into()
}

/// Limits with faults, found on this side.
pub(crate) fn faulty_limits(path: &Path, faults: Vec<Fault>) -> Failure {
    let detail = match faults.as_slice() {
        [only] => format!("{}: {}: {}", path.display(), only.path, only.reason),
        several => format!(
            "{} has {} faults; nothing was changed",
            path.display(),
            several.len()
        ),
    };
    Problem::new(422, "invalid", "Not valid", detail)
        .with_faults(faults)
        .into()
}
