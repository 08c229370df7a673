//! The binary from outside: words in, text and exit code out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by them, and says why it is skipped; clippy.toml allows it only inside of test functions"
)]

mod bad_input;
mod gate;
mod host;
mod registry;
mod scaffold;
mod webhook;
mod words;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// The binary, free of the environment of whoever runs the tests.
fn stecker(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stecker"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STECKER_")) {
        command.env_remove(name);
    }
    command
        .env_remove("RUST_LOG")
        .env("STECKER_DATA", dir.join("data"))
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .current_dir(dir);
    command
}

/// What came of it.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

fn run(dir: &Path, words: &[&str]) -> Ran {
    ran(stecker(dir).args(words).output().unwrap())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
