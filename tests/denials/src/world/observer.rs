//! Keeps what the operator is told.

use std::sync::{Mutex, PoisonError};

use stecker_sandbox::{Denial, LogLevel, Observer};

/// Beyond, lines are only counted: a flood that gets through must not take the test down with it.
const KEPT: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Told>);

/// What was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    pub(crate) line_count: u64,
    pub(crate) line_bytes: u64,
    pub(crate) denials: Vec<Denial>,
}

impl Recorder {
    fn with<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn told(&self) -> Told {
        self.with(|told| told.clone())
    }
}

impl Observer for Recorder {
    fn log(&self, _: LogLevel, message: &str, fields: &[(String, String)]) {
        let mut line = message.to_owned();
        for (key, value) in fields {
            line.push_str(&format!(" {key}={value}"));
        }
        self.with(|told| {
            told.line_count += 1;
            told.line_bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
            if told.lines.len() < KEPT {
                told.lines.push(line);
            }
        });
    }

    fn denied(&self, denial: &Denial) {
        self.with(|told| {
            if told.denials.len() < KEPT {
                told.denials.push(denial.clone());
            }
        });
    }
}
