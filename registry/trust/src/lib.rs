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
//!
//! ```
//! use stecker_trust::{Algorithm, Bundle, ReleaseSubject, RootDocument, SecretKey, SignedBundle, TrustRoot, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = "2026-06-01T12:00:00Z".parse()?;
//! let (operator, author) = (SecretKey::generate(Algorithm::Ed25519)?, SecretKey::generate(Algorithm::Ed25519)?);
//!
//! // The tenant's operator says whom to trust, once; the host keeps the signed document and its digest.
//! let document: RootDocument = serde_json::from_value(serde_json::json!({
//!     "tenant": "default", "version": 1, "issued": "2026-06-01T00:00:00Z",
//!     "keys": [
//!         { "name": "operator", "key": operator.public(), "valid-from": "2026-06-01T00:00:00Z" },
//!         { "name": "acme", "key": author.public(), "valid-from": "2026-06-01T00:00:00Z" },
//!     ],
//!     "root": { "keys": ["operator"], "threshold": 1 },
//!     "releases": [{ "names": ["acme/*"], "keys": ["acme"], "threshold": 1 }],
//! }))?;
//! let signed = document.sign(&[&operator])?.to_json();
//! let root = TrustRoot::establish(signed.as_bytes(), &"default".parse()?, now)?;
//!
//! // The author signs a release; the bundle travels beside it.
//! let release = ReleaseSubject {
//!     name: "acme/shop".parse()?,
//!     version: "1.4.0".parse()?,
//!     component: format!("sha256:{}", "0".repeat(64)).parse()?,
//!     manifest: format!("sha256:{}", "1".repeat(64)).parse()?,
//!     image: None,
//! };
//! let bundle = Bundle::sign(&release, &author, now).to_json();
//!
//! // Every host judges on every load.
//! let bundles = [SignedBundle { json: bundle.as_bytes(), seen: None }];
//! assert!(matches!(root.judge(&release, None, &bundles, now), Verdict::Trusted(_)));
//! let other = ReleaseSubject { version: "1.4.1".parse()?, ..release };
//! assert!(matches!(root.judge(&other, None, &bundles, now), Verdict::Refused(_)));
//! # Ok(())
//! # }
//! ```

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
