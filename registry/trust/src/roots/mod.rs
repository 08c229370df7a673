//! Trust roots: which keys a tenant believes, for what, and how many of them it takes.
//!
//! The ideas are those of The Update Framework (<https://theupdateframework.github.io/specification/latest/>): a root is a signed document with a version;
//! the next one is signed by enough keys of the old and of the new, so nobody can exchange the keys who could not have used them; a key is for some names
//! only. What differs: one document holds what TUF spreads over several, because a tenant's root is small and kept whole.
//!
//! - [`document`]: the document and its rules.
//! - [`rotate`]: how a document comes to be trusted, and how the next one takes its place.
//! - [`verdict`]: whether a release is trusted, and why not.
//!
//! **When was it signed?** A signature does not prove when it was made, and a stolen key can be backdated. So times are compared with when the
//! signature was *first seen*, by the host itself or by a signed index it trusts ([`SignedBundle::seen`]); without that, with now. A release that was seen
//! while its key was good goes on working when the key expires, and a new one under an expired key is refused.

pub mod document;
mod pattern;
pub mod rotate;
pub mod verdict;

pub use document::{IndexScope, KeyRevocation, Quorum, ReleaseScope, RevokedRelease, RootDocument, RootKey};
pub use pattern::{InvalidPattern, NamePattern};
pub use rotate::{RootError, TrustRoot};
pub use verdict::{Problem, Refusal, SignatureFault, SignedBundle, Trusted, Verdict};

#[cfg(test)]
pub(crate) mod tests;
