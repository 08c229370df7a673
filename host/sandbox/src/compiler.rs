//! Compiles components, in a process of its own where the embedder provides one.
//!
//! A compiler for strangers' code is the one part of an engine that a valid input can keep busy for minutes or drive out of memory, and no
//! epoch reaches into it. So it runs in a child that has bounds of its own on processor time, memory and wall clock, and nothing of the
//! host: no environment, no open files, no credentials. If it dies, a release is refused, and that is all.
//!
//! The child speaks with its parent over its standard streams: one line of JSON with its bounds, then the component, comes in; one byte
//! (0: code, 1: why not) and then the code or the reason goes out.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, Read as _, Write as _},
    path::PathBuf,
    process::{ExitCode, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::Semaphore,
};
use wasmtime::Engine;

use crate::{engine, error::LoadError};

/// Where plugins are compiled.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// In this process, on threads of their own. Only the caps on the component bound it: for tools and tests that load what they know.
    #[default]
    InProcess,
    /// In a child for each plugin.
    Child {
        /// The program, which has to call [`compile_as_child`] when it is started with `arguments`. On Linux, `/proc/self/exe` is the
        /// running program even after its file was replaced.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
        /// What it may use.
        bounds: CompileBounds,
    },
}

/// What compiling one plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileBounds {
    /// From start to end.
    pub wall_clock: Duration,
    /// Seconds of processor time over all threads (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// Bytes of address space (`RLIMIT_AS`).
    pub memory: u64,
}

impl Default for CompileBounds {
    /// A Python plugin of 18 MB takes a tenth of each.
    fn default() -> Self {
        Self {
            wall_clock: Duration::from_secs(180),
            cpu_seconds: 360,
            memory: 6 << 30,
        }
    }
}

/// The largest answer that is taken from a child. Code is some times as large as the component that it comes from.
const MAX_CODE: u64 = 2 << 30;

/// At most so many at once: compiling is for new releases, and running calls need the processors.
#[derive(Debug)]
pub(crate) struct CompileQueue {
    compiler: Compiler,
    turns: Semaphore,
}

impl CompileQueue {
    pub(crate) fn new(compiler: Compiler, processors: usize) -> Self {
        Self {
            compiler,
            turns: Semaphore::new((processors / 2).max(1)),
        }
    }

    /// Machine code for the engine, as `Component::deserialize` takes it. Its caller trusts it as much as it trusts this host: it comes from
    /// the engine's own compiler, in here or in a child of the same program.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        component: Arc<dyn AsRef<[u8]> + Send + Sync>,
    ) -> Result<Vec<u8>, LoadError> {
        let _turn = self.turns.acquire().await.map_err(|_| LoadError::Host {
            message: "the sandbox is being shut down".to_owned(),
        })?;
        match &self.compiler {
            Compiler::InProcess => {
                let engine = engine.clone();
                tokio::task::spawn_blocking(move || precompile(&engine, (*component).as_ref()))
                    .await
                    .map_err(|error| LoadError::Host {
                        message: error.to_string(),
                    })?
                    .map_err(|message| LoadError::Compile { message })
            }
            Compiler::Child {
                program,
                arguments,
                bounds,
            } => {
                let mut command = Command::new(program);
                command.args(arguments);
                in_child(command, *bounds, (*component).as_ref()).await
            }
        }
    }
}

fn precompile(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, String> {
    engine
        .precompile_component(component)
        .map_err(|error| format!("{error:#}"))
}

async fn in_child(
    mut command: Command,
    bounds: CompileBounds,
    component: &[u8],
) -> Result<Vec<u8>, LoadError> {
    let host = |what: &str, error: &dyn std::fmt::Display| LoadError::Host {
        message: format!("{what}: {error}"),
    };
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| host("the process that compiles could not be started", &error))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(host("the process that compiles", &"it has no standard streams"));
    };
    let mut first = serde_json::to_vec(&bounds).map_err(|error| host("the bounds for compiling", &error))?;
    first.push(b'\n');
    let exchange = async {
        let write = async {
            // A child that has died does not read on; how it died says more than the broken pipe.
            let written = async {
                input.write_all(&first).await?;
                input.write_all(component).await?;
                input.shutdown().await
            };
            if let Err(error) = written.await {
                tracing::debug!(%error, "the process that compiles did not take all of its input");
            }
            drop(input);
        };
        let mut answer = Vec::new();
        let mut limited = output.take(MAX_CODE);
        let read = limited.read_to_end(&mut answer);
        let ((), read) = tokio::join!(write, read);
        read.map_err(|error| host("the answer of the process that compiles", &error))?;
        let status = child
            .wait()
            .await
            .map_err(|error| host("the process that compiles", &error))?;
        Ok((status, answer))
    };
    match tokio::time::timeout(bounds.wall_clock, exchange).await {
        // Dropping the child kills it.
        Err(_elapsed) => Err(LoadError::CompileBounds {
            message: format!("it was not done after {:?}", bounds.wall_clock),
        }),
        Ok(Err(error)) => Err(error),
        Ok(Ok((status, answer))) => outcome(status, answer, bounds),
    }
}

fn outcome(status: ExitStatus, mut answer: Vec<u8>, bounds: CompileBounds) -> Result<Vec<u8>, LoadError> {
    match (status.success(), answer.first()) {
        (true, Some(0)) => {
            answer.remove(0);
            Ok(answer)
        }
        (true, Some(1)) => Err(LoadError::Compile {
            message: String::from_utf8_lossy(answer.split_at(1).1).into_owned(),
        }),
        (true, _) => Err(LoadError::Host {
            message: "the process that compiles gave no answer".to_owned(),
        }),
        (false, _) => Err(died(status, bounds)),
    }
}

fn died(status: ExitStatus, bounds: CompileBounds) -> LoadError {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        // Linux: 24 is SIGXCPU, 6 is SIGABRT (how Rust ends when there is no memory), 9 is SIGKILL, 11 is SIGSEGV (no room for the stack).
        let why = match signal {
            24 | 9 => format!("it used more than {} s of processor time", bounds.cpu_seconds),
            6 | 11 => format!("it needed more than {} MiB of memory", bounds.memory >> 20),
            other => format!("it was ended by signal {other}"),
        };
        return LoadError::CompileBounds { message: why };
    }
    LoadError::Host {
        message: format!(
            "the process that compiles ended with {status}; its bounds are {} MiB and {} s",
            bounds.memory >> 20,
            bounds.cpu_seconds
        ),
    }
}

/// What the child does: sets its own bounds before it looks at what it was given, compiles, answers. For the program that
/// [`Compiler::Child`] names.
#[must_use]
pub fn compile_as_child() -> ExitCode {
    let done = (|| -> io::Result<()> {
        let mut input = io::stdin().lock();
        let mut first = String::new();
        // Our parent wrote this line; still, it is not read without end.
        input.by_ref().take(4_096).read_line(&mut first)?;
        let bounds: CompileBounds = serde_json::from_str(&first)?;
        confine(bounds)?;
        let mut component = Vec::new();
        input.read_to_end(&mut component)?;
        let compiled = engine::for_compiling().and_then(|engine| precompile(&engine, &component));
        let (verdict, answer) = match compiled {
            Ok(code) => (0_u8, code),
            Err(message) => (1, message.into_bytes()),
        };
        let mut output = io::stdout().lock();
        output.write_all(&[verdict])?;
        output.write_all(&answer)?;
        output.flush()
    })();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(unix)]
fn confine(bounds: CompileBounds) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let exactly = |limit| Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    setrlimit(Resource::As, exactly(bounds.memory))?;
    setrlimit(Resource::Cpu, exactly(bounds.cpu_seconds))?;
    // It has nothing to write but its answer, and a dump of it would be of no use to anybody.
    setrlimit(Resource::Fsize, exactly(0))?;
    setrlimit(Resource::Core, exactly(0))?;
    // Calls that run now are worth more than a release that is to come.
    rustix::process::nice(10)?;
    Ok(())
}

/// Elsewhere only the wall clock bounds it.
#[cfg(not(unix))]
fn confine(_: CompileBounds) -> io::Result<()> {
    Ok(())
}
