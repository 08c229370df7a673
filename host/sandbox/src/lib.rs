//! Runs plugin components for strangers: compiles, caches, instantiates, limits, and gives each call only what its connection was granted.
//!
//! A plugin's author is taken for hostile. So every call gets a fresh instance in a store of its own, which is thrown away afterwards
//! (unless its connection asks for a warm one); memory, time, log lines and bytes are bounded per call, memory and calls at the same time
//! per tenant, and tenants share the processors fairly; compiling can be left to a child process; and there is one way out (`stecker:plugin/http`), with one policy in front
//! of it. Whatever a guest does ends as a [`CallError`]: traps, endless loops and panics in the host's own code stay with the call
//! that they happened in.
//!
//! The crate knows connections, not flows: it can be embedded alone (`examples/embed.rs`).
//!
//! - [`Sandbox`]: the engine, its pool and its cache. One per process.
//! - [`Release`]: a compiled plugin.
//! - [`Session`]: a release together with a [`Binding`], which says who calls and what they may do.
//!
//! Inside: `egress` is the way out (`policy` decides, `client` does), `capability` has one file per thing that guests import, and
//! `contract` translates between one contract version's generated types and [`stecker_model`]; policy never depends on a version.

mod aot;
mod binding;
mod blob;
mod call;
mod capability;
mod check;
mod check_reconcile;
mod compiler;
mod contract;
mod cpu;
mod detached;
mod egress;
mod engine;
mod error;
mod instance;
mod memory;
mod meter;
mod release;
mod sandbox;
mod session;
mod tape;
mod tenant;
mod upstream;

pub use binding::{
    Binding, Condition, CredentialError, Credentials, Denial, KeptTokens, LogLevel, NoCredentials, NoStorage,
    Observer, Quota, Secret, Storage, StorageError, StoredEntry, TokenLease, Tokens, TracingObserver,
};
pub use blob::{BlobError, BlobQuota, BlobStore, BlobStream, BlobWriter, MemoryBlobs, NoBlobs};
pub use call::Called;
pub use compiler::{CompileBounds, Compiler, compile_as_child};
pub use egress::oauth::refresh_token_only;
pub use egress::post::{PostError, Posted, Poster};
pub use egress::wire::{Answers, AskedRequest, Asker, GivenAnswer, NoAnswer};
pub use engine::SandboxOptions;
pub use error::{BindError, CallError, LoadError, SandboxError};
pub use release::{Release, WeakRelease};
pub use sandbox::Sandbox;
pub use session::{Session, Subscription};
pub use tape::{CallOptions, Circumstances, Recorded, Recorder, TapeBounds};
pub use tenant::TenantUsage;
pub use upstream::{KeptUpstream, Look, UpstreamKeeper, UpstreamView, Upstreams};
