//! How a document comes to be trusted, and how the next one takes its place.

use jiff::{SignedDuration, Timestamp};
use stecker_model::{Digest, Name};

use super::document::{MAX_BYTES, PAYLOAD_TYPE, Quorum, RootDocument};
use crate::{
    dsse::{DsseError, Envelope},
    text,
};

/// How far another machine's clock may be ahead of ours.
pub(crate) const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A document that is trusted. Keep [`TrustRoot::digest`] and the signed document it was made from; with both, [`TrustRoot::restore`] brings it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    document: RootDocument,
    digest: Digest,
}

/// Why a document is not taken as the trust root. The one that was there before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The envelope.
    #[error("the trust root was not taken: {0}")]
    Envelope(#[from] DsseError),
    /// Its payload.
    #[error("the trust root was not taken, because what was signed is not one: {0}")]
    Invalid(String),
    /// Another tenant's.
    #[error("the trust root is the tenant `{found}`'s, not `{expected}`'s")]
    OtherTenant {
        /// Whose it should be.
        expected: Name,
        /// Whose it is.
        found: Name,
    },
    /// Not the next one.
    #[error(
        "the trust root has version {found}; after {current} comes {}. Rotate through every version in turn",
        current + 1
    )]
    NotNext {
        /// What is trusted now.
        current: u64,
        /// What was given.
        found: u64,
    },
    /// A clock that is wrong, or a document that is older than the one before it.
    #[error("the trust root says that it was issued at {issued}, and {why}")]
    Untimely {
        /// What it says.
        issued: Timestamp,
        /// What is wrong with that.
        why: &'static str,
    },
    /// Over already.
    #[error("the trust root expired at {0}. Have a new one signed")]
    Expired(Timestamp),
    /// Too few signatures that count.
    #[error(
        "the trust root is signed by {found} of the {needed} keys that {whose} asks for{}",
        refused(.why)
    )]
    NotEnough {
        /// `the root trusted now`, or `the document itself`.
        whose: &'static str,
        /// How many it takes.
        needed: u32,
        /// How many there are.
        found: usize,
        /// Why signatures by known keys did not count.
        why: Vec<String>,
    },
    /// What is kept is not what was trusted.
    #[error(
        "the trust root that is kept is not the one that was trusted: its digest is {found}, not {expected}. Restore it, or establish it anew"
    )]
    Altered {
        /// What was trusted.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
}

fn refused(why: &[String]) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join("; "))
    }
}

impl RootError {
    /// A short, stable name of the reason, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "root-envelope",
            Self::Invalid(_) => "root-invalid",
            Self::OtherTenant { .. } => "root-other-tenant",
            Self::NotNext { .. } => "root-not-next",
            Self::Untimely { .. } => "root-untimely",
            Self::Expired(_) => "root-expired",
            Self::NotEnough { .. } => "root-not-enough-signatures",
            Self::Altered { .. } => "root-altered",
        }
    }
}

fn read(json: &[u8]) -> Result<(Envelope, RootDocument), RootError> {
    let envelope = Envelope::from_json(json, MAX_BYTES)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(DsseError::OtherType {
            expected: PAYLOAD_TYPE.to_owned(),
            found: text::short(&envelope.payload_type),
        }
        .into());
    }
    let document: RootDocument = serde_json::from_slice(&envelope.payload)
        .map_err(|error| RootError::Invalid(text::short(&error.to_string())))?;
    document.check().map_err(RootError::Invalid)?;
    Ok((envelope, document))
}

/// Whether enough keys of a quorum signed, as of now.
pub(crate) fn enough(
    envelope: &Envelope,
    payload_type: &str,
    document: &RootDocument,
    quorum: &Quorum,
    now: Timestamp,
) -> Result<Result<(), (usize, Vec<String>)>, DsseError> {
    let mut found = 0;
    let mut why = Vec::new();
    let signers = envelope.signers(payload_type, document.keys.iter().map(|key| &key.key))?;
    let is_member = |name: &Name| quorum.keys.contains(name);
    for key in document
        .keys
        .iter()
        .filter(|key| signers.contains_key(&key.key.id()))
    {
        if !is_member(&key.name) {
            why.push(format!("the key `{}` is not one of them", key.name));
            continue;
        }
        match key.counts_at(now) {
            Ok(()) => found += 1,
            Err(fault) => why.push(fault.to_string()),
        }
    }
    let needed = usize::try_from(quorum.threshold).unwrap_or(usize::MAX);
    Ok(if found >= needed {
        Ok(())
    } else {
        Err((found, why))
    })
}

fn signed_by(
    envelope: &Envelope,
    judge: &RootDocument,
    whose: &'static str,
    now: Timestamp,
) -> Result<(), RootError> {
    enough(envelope, PAYLOAD_TYPE, judge, &judge.root, now)?.map_err(|(found, why)| RootError::NotEnough {
        whose,
        needed: judge.root.threshold,
        found,
        why,
    })
}

impl TrustRoot {
    /// Takes a first document, whatever its version, because a person says so: there is nothing yet to judge it by but itself.
    ///
    /// # Errors
    /// [`RootError`] if it is not valid, another tenant's, over, or not signed by its own quorum.
    pub fn establish(json: &[u8], tenant: &Name, now: Timestamp) -> Result<Self, RootError> {
        let (envelope, document) = read(json)?;
        if document.tenant != *tenant {
            return Err(RootError::OtherTenant {
                expected: tenant.clone(),
                found: document.tenant,
            });
        }
        is_timely(&document, now)?;
        signed_by(&envelope, &document, "the document itself", now)?;
        Ok(Self {
            document,
            digest: text::digest_of(&envelope.payload),
        })
    }

    /// Brings back what was trusted before, out of what the caller kept. Signatures are not judged again: the keys of the quorum may have expired since.
    ///
    /// # Errors
    /// [`RootError::Altered`] if it is not the document with this digest.
    pub fn restore(json: &[u8], digest: &Digest) -> Result<Self, RootError> {
        let (envelope, document) = read(json)?;
        let found = text::digest_of(&envelope.payload);
        if found != *digest {
            return Err(RootError::Altered {
                expected: digest.clone(),
                found,
            });
        }
        Ok(Self {
            document,
            digest: found,
        })
    }

    /// The root that follows on this one. It has to be signed by enough keys of this root, and by enough of its own: the old ones allow it, and the
    /// new ones show that they are there. That this root is over does not matter, or there would be no way out of it.
    ///
    /// # Errors
    /// [`RootError`]; this root then stays the one that is trusted.
    pub fn rotate(&self, json: &[u8], now: Timestamp) -> Result<Self, RootError> {
        let (envelope, document) = read(json)?;
        if document.tenant != self.document.tenant {
            return Err(RootError::OtherTenant {
                expected: self.document.tenant.clone(),
                found: document.tenant,
            });
        }
        let current = self.document.version;
        if current.checked_add(1) != Some(document.version) {
            return Err(RootError::NotNext {
                current,
                found: document.version,
            });
        }
        if document.issued < self.document.issued {
            return Err(RootError::Untimely {
                issued: document.issued,
                why: "that is before the one that it follows on",
            });
        }
        is_timely(&document, now)?;
        signed_by(&envelope, &self.document, "the root trusted now", now)?;
        signed_by(&envelope, &document, "the document itself", now)?;
        Ok(Self {
            document,
            digest: text::digest_of(&envelope.payload),
        })
    }

    /// What it says.
    #[must_use]
    pub const fn document(&self) -> &RootDocument {
        &self.document
    }

    /// Of the signed payload; what [`TrustRoot::restore`] asks for.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

fn is_timely(document: &RootDocument, now: Timestamp) -> Result<(), RootError> {
    if document.issued > now.saturating_add(SKEW).unwrap_or(Timestamp::MAX) {
        return Err(RootError::Untimely {
            issued: document.issued,
            why: "that is still to come: one of the two clocks is wrong",
        });
    }
    match document.expires {
        Some(expires) if now >= expires => Err(RootError::Expired(expires)),
        _ => Ok(()),
    }
}
