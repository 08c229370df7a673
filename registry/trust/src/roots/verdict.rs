//! Whether a release is trusted, and why not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use stecker_model::{Digest, Name};
use stecker_registry::PluginName;

use super::{NamePattern, RootKey, TrustRoot};
use crate::{
    bundle::{Bundle, BundleError},
    key::KeyId,
    statement::{Coverage, ReleaseSubject},
};

/// Bundles of a release that are looked at, at most.
pub const MAX_BUNDLES: usize = 32;

/// A signature of a release, as a registry gave it.
#[derive(Debug, Clone, Copy)]
pub struct SignedBundle<'a> {
    /// The Sigstore bundle.
    pub json: &'a [u8],
    /// When it was first seen by somebody who is trusted about it: the host itself, or the signed index. None: it is new.
    pub seen: Option<Timestamp>,
}

/// What is decided about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be loaded.
    Trusted(Trusted),
    /// It may not.
    Refused(Refusal),
}

/// By what a release is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The names of the keys whose signatures counted.
    pub by: BTreeSet<Name>,
    /// Under which scope.
    pub scope: NamePattern,
    /// Of which version of the trust root.
    pub root_version: u64,
    /// The least that one of the signatures covers.
    pub covers: Coverage,
}

/// Why a release may not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It was taken back.
    #[error("the release {digest} is revoked since {since}: {reason}. Move to another one")]
    ReleaseRevoked {
        /// Which of its digests.
        digest: Digest,
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// The root is over.
    #[error(
        "nothing is trusted, because the tenant's trust root (version {version}) expired at {expired}. Have a new one signed, and rotate to it"
    )]
    RootExpired {
        /// Its version.
        version: u64,
        /// When.
        expired: Timestamp,
    },
    /// Nobody may sign for that name.
    #[error(
        "the tenant's trust root (version {version}) has no key for `{name}`. Add a scope for it, or use another plugin"
    )]
    NoScope {
        /// The plugin.
        name: PluginName,
        /// Of the root.
        version: u64,
    },
    /// No signature at all.
    #[error("the release is not signed; `{scope}` asks for {needed} signatures")]
    NotSigned {
        /// The scope that counts.
        scope: NamePattern,
        /// How many it asks for.
        needed: u32,
    },
    /// Some, but too few that count.
    #[error("{found} of the {needed} signatures that `{scope}` asks for count{}", listed(.problems))]
    NotEnough {
        /// The scope that counts.
        scope: NamePattern,
        /// How many it asks for.
        needed: u32,
        /// How many there are.
        found: usize,
        /// Why each of the others does not.
        problems: Vec<Problem>,
    },
}

/// Why one signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its place in the list that was given, from 0.
    pub bundle: usize,
    /// Why.
    pub fault: SignatureFault,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// Not a bundle, or good but about something else.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Nobody that is known.
    #[error("it is by a key that the trust root does not know (it is called `{hint}`)")]
    UnknownKey {
        /// As the signer calls it.
        hint: String,
    },
    /// It says that it is by a known key, and is not.
    #[error("it is said to be by the key `{key}`, and is not: the signature or what it is for was altered")]
    BadSignature {
        /// The key.
        key: Name,
    },
    /// It is for another file.
    #[error("no key of the trust root made it over this component; it says that it is for {claimed}")]
    OtherComponent {
        /// What it says.
        claimed: String,
    },
    /// Not for this plugin.
    #[error("the key `{key}` may not sign for `{scope}`")]
    KeyOutOfScope {
        /// The key.
        key: Name,
        /// The scope that counts.
        scope: NamePattern,
    },
    /// Too early.
    #[error("the key `{key}` only counts from {from} on")]
    KeyNotYetValid {
        /// The key.
        key: Name,
        /// From when on.
        from: Timestamp,
    },
    /// Too late.
    #[error("the key `{key}` expired at {until}, and the signature was not seen before")]
    KeyExpired {
        /// The key.
        key: Name,
        /// When.
        until: Timestamp,
    },
    /// Taken back.
    #[error("the key `{key}` is revoked{}: {reason}", since.map_or(String::new(), |since| format!(" since {since}")))]
    KeyRevoked {
        /// The key.
        key: Name,
        /// Since when; none: altogether.
        since: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// A second one by the same key.
    #[error("the key `{key}` signed already, and counts once")]
    SameKey {
        /// The key.
        key: Name,
    },
    /// Too many.
    #[error("only the first {MAX_BUNDLES} signatures of a release are looked at")]
    NotLookedAt,
}

impl SignatureFault {
    /// A short, stable name of the reason, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bundle(BundleError::Statement(_)) => "signature-for-something-else",
            Self::Bundle(_) => "bad-bundle",
            Self::UnknownKey { .. } => "unknown-key",
            Self::BadSignature { .. } => "bad-signature",
            Self::OtherComponent { .. } => "signature-for-something-else",
            Self::KeyOutOfScope { .. } => "key-out-of-scope",
            Self::KeyNotYetValid { .. } => "key-not-yet-valid",
            Self::KeyExpired { .. } => "key-expired",
            Self::KeyRevoked { .. } => "key-revoked",
            Self::SameKey { .. } => "same-key",
            Self::NotLookedAt => "too-many-signatures",
        }
    }
}

impl Refusal {
    /// A short, stable name of the reason, for machines. Of several signatures that do not count, the first one's.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ReleaseRevoked { .. } => "release-revoked",
            Self::RootExpired { .. } => "root-expired",
            Self::NoScope { .. } => "no-scope",
            Self::NotSigned { .. } => "not-signed",
            Self::NotEnough { problems, .. } => problems
                .first()
                .map_or("not-enough-signatures", |problem| problem.fault.code()),
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    let mut out = String::new();
    for (i, problem) in problems.iter().enumerate() {
        out.push_str(if i == 0 { ": " } else { "; " });
        out.push_str(&format!("signature {}: {}", problem.bundle + 1, problem.fault));
    }
    out
}

impl TrustRoot {
    /// Decides about a release. `component` are the bytes of `subject.component`, where they are at hand; only a few signatures of other tools need them.
    /// To be asked on every load: what is revoked in a newer root is refused from then on.
    #[must_use]
    pub fn judge(
        &self,
        subject: &ReleaseSubject,
        component: Option<&[u8]>,
        bundles: &[SignedBundle<'_>],
        now: Timestamp,
    ) -> Verdict {
        match self.decide(subject, component, bundles, now) {
            Ok(trusted) => Verdict::Trusted(trusted),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    fn decide(
        &self,
        subject: &ReleaseSubject,
        component: Option<&[u8]>,
        bundles: &[SignedBundle<'_>],
        now: Timestamp,
    ) -> Result<Trusted, Refusal> {
        let document = self.document();
        let digests = [
            Some(&subject.component),
            Some(&subject.manifest),
            subject.image.as_ref(),
        ];
        for digest in digests.into_iter().flatten() {
            if let Some(revoked) = document.revocation_of(digest) {
                return Err(Refusal::ReleaseRevoked {
                    digest: digest.clone(),
                    since: revoked.since,
                    reason: revoked.reason.clone(),
                });
            }
        }
        if let Some(expired) = document.expires.filter(|expires| now >= *expires) {
            return Err(Refusal::RootExpired {
                version: document.version,
                expired,
            });
        }
        let Some((scope, quorum)) = document.scope_of(&subject.name) else {
            return Err(Refusal::NoScope {
                name: subject.name.clone(),
                version: document.version,
            });
        };
        if bundles.is_empty() {
            return Err(Refusal::NotSigned {
                scope: scope.clone(),
                needed: quorum.threshold,
            });
        }
        let mut by: BTreeSet<Name> = BTreeSet::new();
        let mut covers = Coverage::Release;
        let mut problems = Vec::new();
        for (at, signed) in bundles.iter().enumerate() {
            let counted = if at < MAX_BUNDLES {
                self.signer(subject, component, signed, now)
            } else {
                Err(SignatureFault::NotLookedAt)
            };
            let counted = counted.and_then(|(key, coverage)| {
                if !quorum.keys.contains(&key.name) {
                    return Err(SignatureFault::KeyOutOfScope {
                        key: key.name.clone(),
                        scope: scope.clone(),
                    });
                }
                if !by.insert(key.name.clone()) {
                    return Err(SignatureFault::SameKey {
                        key: key.name.clone(),
                    });
                }
                Ok(coverage)
            });
            match counted {
                Ok(coverage) => covers = covers.max(coverage),
                Err(fault) => problems.push(Problem { bundle: at, fault }),
            }
        }
        if by.len() < usize::try_from(quorum.threshold).unwrap_or(usize::MAX) {
            return Err(Refusal::NotEnough {
                scope: scope.clone(),
                needed: quorum.threshold,
                found: by.len(),
                problems,
            });
        }
        Ok(Trusted {
            by,
            scope: scope.clone(),
            root_version: document.version,
            covers,
        })
    }

    /// Whose signature it is, if it is good and counts.
    fn signer(
        &self,
        subject: &ReleaseSubject,
        component: Option<&[u8]>,
        signed: &SignedBundle<'_>,
        now: Timestamp,
    ) -> Result<(&RootKey, Coverage), SignatureFault> {
        let bundle = Bundle::from_json(signed.json)?;
        let mut undecided = None;
        for key in &self.document().keys {
            match bundle.verify(subject, component, &key.key) {
                Ok(coverage) => {
                    let seen = signed.seen.map_or(now, |seen| seen.min(now));
                    key.counts_at(seen)?;
                    return Ok((key, coverage));
                }
                Err(BundleError::BadSignature) => {}
                // Whether another key fits is still open.
                Err(fault @ BundleError::NeedsComponent) => undecided = Some(fault),
                Err(fault) => return Err(fault.into()),
            }
        }
        if let Some(fault) = undecided {
            return Err(fault.into());
        }
        if let Some(claimed) = bundle.claims_other_component(subject) {
            return Err(SignatureFault::OtherComponent { claimed });
        }
        let hinted = |id: KeyId| bundle.hint == id.hint() || bundle.hint == id.to_string();
        let mut keys = self.document().keys.iter();
        Err(keys.find(|key| hinted(key.key.id())).map_or_else(
            || SignatureFault::UnknownKey {
                hint: crate::text::short(&bundle.hint),
            },
            |key| SignatureFault::BadSignature {
                key: key.name.clone(),
            },
        ))
    }
}
