//! Starting other programs: with an environment that no outer build leaks into, bounded in time, and heard while they run.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::BuildError;

/// How often a child is asked whether it has ended while it writes nothing.
const POLL: Duration = Duration::from_millis(50);

/// What of Cargo's variables is the user's own setting and not the outer build's: how to reach registries, and how many jobs.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_BUILD_JOBS",
    "CARGO_SOURCE_",
];

/// A command without what `cargo run` or `cargo test` sets for the program that they start. `RUSTFLAGS` and wrappers meant for the
/// native build, or its library path, would break or silently change a guest's.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(is_of_an_outer_build) {
            command.env_remove(&key);
        }
    }
    command
}

fn is_of_an_outer_build(key: &str) -> bool {
    let exact = [
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "LD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    ];
    (key.starts_with("CARGO_") && !KEPT.iter().any(|kept| key.starts_with(kept)))
        || key.starts_with("RUSTC_")
        || exact.contains(&key)
        || matches!(key, "CARGO" | "TARGET" | "OUT_DIR" | "RUST_RECURSION_COUNT")
}

/// What a child wrote and how it ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A line of the child's.
pub(crate) enum Line {
    Stdout(String),
    Stderr(String),
}

/// Runs the command to its end, and fails unless it succeeds within `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Finished, BuildError> {
    let finished = listen(command, limit, &mut |_| {})?;
    if finished.status.success() {
        Ok(finished)
    } else {
        Err(failed(command, &finished))
    }
}

/// The error for a command that ended badly.
pub(crate) fn failed(command: &Command, finished: &Finished) -> BuildError {
    let output = [finished.stdout.trim(), finished.stderr.trim()].join("\n");
    BuildError::Command {
        command: in_words(command),
        status: finished.status.to_string(),
        output: output.trim().to_owned(),
    }
}

/// Runs the command to its end, hands over every line as it comes, and returns all of them. Ends the child after `limit`.
pub(crate) fn listen(
    command: &mut Command,
    limit: Duration,
    on_line: &mut dyn FnMut(&Line),
) -> Result<Finished, BuildError> {
    let deadline = Instant::now() + limit;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| BuildError::Start { program, source })?;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone(), Line::Stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender, Line::Stderr);
    }

    let (mut stdout, mut stderr) = (String::new(), String::new());
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(line) => {
                on_line(&line);
                let (all, line) = match &line {
                    Line::Stdout(line) => (&mut stdout, line),
                    Line::Stderr(line) => (&mut stderr, line),
                };
                all.push_str(line);
                all.push('\n');
            }
            // Both pipes are closed, so it has ended or is about to.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() > deadline {
            // It may have ended by itself in this very moment; both calls then have nothing to do.
            let _ = child.kill();
            let _ = child.wait();
            return Err(BuildError::Command {
                command: in_words(command),
                status: format!("ended after {} s without an answer", limit.as_secs()),
                output: stderr.trim().to_owned(),
            });
        }
    }
    let status = child.wait().map_err(|source| BuildError::Start {
        program: in_words(command),
        source,
    })?;
    Ok(Finished {
        status,
        stdout,
        stderr,
    })
}

fn forward(pipe: impl Read + Send + 'static, sender: mpsc::Sender<Line>, wrap: fn(String) -> Line) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(wrap(line)).is_err() {
                break;
            }
        }
    });
}

fn in_words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_build_sets_is_removed_and_the_users_settings_stay() {
        for removed in [
            "RUSTFLAGS",
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PKG_NAME",
            "CARGO_TARGET_DIR",
            "RUSTC_WRAPPER",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_of_an_outer_build(removed), "{removed}");
        }
        for kept in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_MINE_TOKEN",
            "RUSTUP_HOME",
            "RUST_BACKTRACE",
        ] {
            assert!(!is_of_an_outer_build(kept), "{kept}");
        }
    }

    #[test]
    fn a_child_that_never_ends_is_ended() {
        let began = Instant::now();
        let result = run(
            Command::new("sh").args(["-c", "echo here >&2; exec sleep 600"]),
            Duration::from_millis(300),
        );
        let Err(error) = result else {
            panic!("it cannot have ended by itself")
        };
        assert!(error.to_string().contains("here"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_failure_shows_what_the_child_said() {
        let result = run(
            Command::new("sh").args(["-c", "echo why >&2; exit 3"]),
            Duration::from_secs(60),
        );
        let text = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            text.contains("why") && text.contains('3') && text.contains("sh -c"),
            "{text}"
        );
    }
}
