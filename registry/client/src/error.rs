//! What can go wrong between here and a registry.

use stecker_model::Digest;
use stecker_package::ArtifactError;

/// Why something was not pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address.
    #[error(
        "`{address}` is no address of a registry: {reason}. Write it as `https://registry.acme.example` or `http://127.0.0.1:7421`"
    )]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers, or not to the end.
    #[error("{what}: {reason}")]
    Network {
        /// What was tried.
        what: String,
        /// What happened.
        reason: String,
    },
    /// The registry wants to know who asks, and what it was told does not do.
    #[error(
        "the registry at {registry} does not let this in: {reason}. Give STECKER_REGISTRY_TOKEN, or STECKER_REGISTRY_USER and \
         STECKER_REGISTRY_PASSWORD"
    )]
    Unauthorized {
        /// Which registry.
        registry: String,
        /// What it said.
        reason: String,
    },
    /// It is not there.
    #[error("{what} is not in the registry")]
    NotThere {
        /// What was asked for.
        what: String,
    },
    /// A folder or an archive of a release.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// Where.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is a registry of another make.
    #[error(
        "the registry at {registry} has no management of releases: it is not one of Stecker's, or an older one. Pushing and pulling work there; finding, \
         yanking and deprecating do not"
    )]
    NoManagement {
        /// Which registry.
        registry: String,
    },
    /// The registry says no.
    #[error("the registry refuses {what} ({status}): {reason}")]
    Refused {
        /// What was sent.
        what: String,
        /// The status of its answer.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// Other bytes than those that were asked for.
    #[error("what came for {wanted} has the digest {found}; nothing of it was kept")]
    Digest {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// More than is taken.
    #[error("{what} has more than the {most} bytes that are taken")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// How many are taken.
        most: u64,
    },
    /// An answer that the specification does not know.
    #[error("the registry answers {what} with something that is not of the specification: {reason}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// It is no release.
    #[error("{what} is no release of a plugin: {reason}")]
    NotARelease {
        /// What was asked for.
        what: String,
        /// Why.
        reason: ArtifactError,
    },
}

impl ClientError {
    /// Whether the same again may go well: the network failed, and not the request.
    #[must_use]
    pub const fn passes_by_itself(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}
