//! Trust in releases, and the choice among them.
//!
//! A registry is a place to get bytes from; nothing that it says is believed because it says it. This crate answers three questions about what it
//! offers, each with a reason for every no:
//!
//! - *Is this release from whom it claims to be?* [`key`], [`dsse`] and [`bundle`] read and make signatures; [`roots`] holds what a tenant
//!   trusts, and judges.
//! - *Is this list of releases the current one?* [`index`]: signed, versioned, expiring.
//! - *Which release does a connection run?* [`resolve`] chooses and explains, [`lock`] writes the choice down, and [`compat`] says what changes
//!   between two releases.
//!
//! There is no I/O, no clock and no thread in here: bytes and the time come in, decisions go out, and what has to be remembered (the trust root, the
//! index that was seen last, when a signature was first seen) is a small value that the caller keeps. So every rule can be tested by a table, and
//! a host, a command line and a registry decide alike.

pub mod bundle;
pub mod compat;
pub mod dsse;
pub mod index;
pub mod key;
pub mod lock;
pub mod resolve;
pub mod roots;
pub mod statement;
mod text;

pub use bundle::{Bundle, BundleError};
pub use dsse::{DsseError, Envelope};
pub use index::{Index, IndexDocument, IndexError, Seen};
pub use key::{Algorithm, KeyError, KeyId, PublicKey, SecretKey};
pub use lock::{LockError, LockFile};
pub use roots::{Refusal, RootDocument, RootError, SignedBundle, TrustRoot, Verdict};
pub use statement::{Coverage, ReleaseSubject};
