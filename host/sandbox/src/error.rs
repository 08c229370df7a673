//! What can go wrong: making a sandbox, loading a release, binding a connection, calling a guest.

use std::{fmt, path::PathBuf, time::Duration};

use stecker_model::{ErrorCode, PluginError};
use stecker_registry::{InspectError, Role};

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine could not be set up, mostly because the address space for its pool is not to be had.
    #[error(
        "the WebAssembly engine could not be started with room for {instances} instances: {message}. Lower `max_instances`, or \
         raise the limit on virtual memory (ulimit -v) of this process"
    )]
    Engine {
        /// What was asked for.
        instances: u32,
        /// What the engine said.
        message: String,
    },
    /// The folder of compiled plugins cannot be used.
    #[error("the cache of compiled plugins at {} cannot be used: {message}", path.display())]
    Cache {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// An option is out of its range.
    #[error("the sandbox option `{option}` is not usable: {message}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The range.
        message: String,
    },
}

/// Why a component is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not a plugin that this host could run; nothing was compiled.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The compiler refused it.
    #[error("the plugin could not be compiled: {message}. Build it again with current tools")]
    Compile {
        /// What the compiler said.
        message: String,
    },
    /// Compiling it would take more than it may.
    #[error(
        "the plugin could not be compiled within the bounds of this host: {message}. Mostly a single function is far too large; build the plugin \
         with optimisation, split what is generated, or raise the host's bounds for compiling"
    )]
    CompileBounds {
        /// Which bound.
        message: String,
    },
    /// Its instances would need more of something than the sandbox has for one.
    #[error(
        "the plugin needs more than an instance can have on this host: {message}. Link less into it, or let it begin small and grow"
    )]
    DoesNotFit {
        /// What, and the bound.
        message: String,
    },
    /// Its imports or exports have other types than the contract.
    #[error(
        "the plugin does not fit this host: {message}. Build it with the unchanged WIT files of a contract version that this host offers; it has {}",
        stecker_registry::contract::offered()
    )]
    Link {
        /// What does not fit.
        message: String,
    },
    /// The host failed, not the plugin.
    #[error(
        "the host failed while it loaded the plugin: {message}. This is a fault of the host; please report it"
    )]
    Host {
        /// What happened.
        message: String,
    },
}

/// Why a release and a binding do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The configuration is not a JSON object.
    #[error("the connection's configuration is not a JSON object: {message}")]
    Config {
        /// What it is.
        message: String,
    },
    /// A grant that cannot be understood, or a host placeholder that the configuration does not fill.
    #[error("the grants of the connection cannot be used: {message}")]
    Grant {
        /// Which, and why.
        message: String,
    },
    /// Limits out of range.
    #[error("the limits of the connection cannot be used: {message}")]
    Limits {
        /// Which, and the range.
        message: String,
    },
}

/// Why a call to a guest has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The plugin said so itself.
    Plugin(PluginError),
    /// The plugin's code crashed.
    Trap {
        /// What happened.
        message: String,
        /// The guest's functions, innermost first; names as far as the plugin kept its name section.
        backtrace: Vec<String>,
    },
    /// The call took longer than it may.
    Deadline {
        /// How long it may take.
        limit: Duration,
        /// Where the guest was, if it was computing; empty if it was waiting.
        backtrace: Vec<String>,
    },
    /// The guest asked for more memory than it may have, and died of it.
    OutOfMemory {
        /// Over all memories and tables, in bytes.
        limit_bytes: u64,
        /// The guest's functions, innermost first.
        backtrace: Vec<String>,
    },
    /// The guest asked for memory that other calls of the same tenant hold, and died of it.
    TenantOutOfMemory {
        /// Over all instances of the tenant, in bytes.
        limit_bytes: u64,
    },
    /// The guest called itself too deep.
    StackOverflow {
        /// The guest's functions, innermost first.
        backtrace: Vec<String>,
    },
    /// Every instance of the sandbox, or every one that the tenant may have, was taken until the call's time was over. The plugin was not
    /// called at all.
    Busy {
        /// How long the call waited.
        waited: Duration,
    },
    /// The plugin does not have this role.
    NoRole(Role),
    /// What the plugin returned breaks the contract.
    Contract {
        /// What is wrong with it, where.
        message: String,
    },
    /// The host failed, not the plugin.
    Host {
        /// What happened.
        message: String,
    },
}

impl CallError {
    /// How to go on: the plugin's own code; `transient` if time or room ran out; `unsupported` without the role; else `fatal`.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Plugin(error) => error.kind(),
            Self::Deadline { .. } | Self::Busy { .. } | Self::TenantOutOfMemory { .. } => {
                ErrorCode::Transient
            }
            Self::NoRole(_) => ErrorCode::Unsupported,
            Self::Trap { .. }
            | Self::OutOfMemory { .. }
            | Self::StackOverflow { .. }
            | Self::Contract { .. }
            | Self::Host { .. } => ErrorCode::Fatal,
        }
    }

    /// The guest's functions, innermost first, where there is something to see.
    #[must_use]
    pub fn backtrace(&self) -> &[String] {
        match self {
            Self::Trap { backtrace, .. }
            | Self::Deadline { backtrace, .. }
            | Self::OutOfMemory { backtrace, .. }
            | Self::StackOverflow { backtrace } => backtrace,
            _ => &[],
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin(error) => write!(f, "{error}")?,
            Self::Trap { message, .. } => write!(
                f,
                "the plugin crashed: {message}. This is a fault of the plugin; report it to its author with the functions below"
            )?,
            Self::Deadline { limit, backtrace } => {
                let doing = if backtrace.is_empty() { "waiting" } else { "computing" };
                write!(
                    f,
                    "the plugin was stopped after {limit:?}, while it was {doing}. Raise `limits.deadline` of the connection or make the \
                     batches smaller if the work is really this much"
                )?;
            }
            Self::OutOfMemory { limit_bytes, .. } => write!(
                f,
                "the plugin needed more than its {} MiB of memory. Raise `limits.memory-mib` of the connection, make the batches smaller, \
                 or raise `limits.memory-mib` in the plugin's manifest if that is the lower one",
                limit_bytes >> 20
            )?,
            Self::TenantOutOfMemory { limit_bytes } => write!(
                f,
                "the plugin needed more memory, and the calls of its tenant that run at the same time have all of its {} MiB. It works when \
                 there are fewer of them, or with a higher `memory-mib` in the tenant's limits",
                limit_bytes >> 20
            )?,
            Self::StackOverflow { .. } => f.write_str(
                "the plugin used up its stack: its functions call each other too deep, mostly on data nested without end. This is a fault of \
                 the plugin; report it to its author with the functions below",
            )?,
            Self::Busy { waited } => write!(
                f,
                "all instances that the tenant may have, or all of the sandbox, were busy for {waited:?}, so the plugin was not called. Nothing \
                 was done; raise `calls` in the tenant's limits or the sandbox's `max_instances` if this happens often"
            )?,
            Self::NoRole(role) => {
                write!(f, "the plugin does not have the role `{role}`. Use another plugin or another release of it")?;
            }
            Self::Contract { message } => write!(
                f,
                "the plugin broke the contract: {message}. Nothing of the answer was taken; this is a fault of the plugin"
            )?,
            Self::Host { message } => {
                write!(f, "the host failed during the call: {message}. This is not the plugin's fault; see the host's log")?;
            }
        }
        for frame in self.backtrace() {
            write!(f, "\n  in {frame}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}
