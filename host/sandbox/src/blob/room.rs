//! Who may have blobs, and how many bytes. Pure.

use std::time::Instant;

use stecker_model::{BlobGrant, Digest, ErrorCode, Grants, PluginError};
use stecker_registry::Manifest;

use super::{BlobError, BlobQuota};
use crate::{
    binding::Denial,
    capability::bound::{Bound, Bucket, Layer, least},
    egress::Failure,
};

const CAPABILITY: &str = "blobs";
/// A second, counted by each session for itself: every operation is work of the file system that others wait behind.
const OPERATIONS: u32 = 200;

/// Who says no to blobs, or what everybody together allows.
#[derive(Debug)]
pub(crate) enum Access {
    Granted(Room),
    Refused(Denial),
}

/// The bounds, each with the one who set it.
#[derive(Debug)]
pub(crate) struct Room {
    max_bytes: Bound<u64>,
    max_blob_bytes: Bound<u64>,
    bucket: Bucket,
}

/// Why a blob is not kept, or not had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// More bytes than one blob may have; `needed` would be enough, as far as that is known.
    TooLarge {
        needed: u64,
    },
    /// More bytes than the plugin itself wants to have.
    Unwanted {
        max: u64,
    },
    /// Other bytes than the plugin wants to have.
    OtherDigest {
        expected: Digest,
        found: Digest,
    },
    /// A secret of the connection is in it.
    Secret,
    Store(BlobError),
}

impl Fault {
    pub(crate) fn missing(digest: &Digest) -> Self {
        Self::Store(BlobError::NotFound {
            digest: digest.clone(),
        })
    }
}

impl From<BlobError> for Fault {
    fn from(error: BlobError) -> Self {
        Self::Store(error)
    }
}

impl Access {
    /// What a manifest, an operator's grant and a tenant's ceiling (none: no ceiling) allow together.
    pub(crate) fn of(manifest: &Manifest, grants: &Grants, ceiling: Option<&Grants>) -> Self {
        let asked = manifest.capabilities.blobs.as_ref().map(|asked| BlobGrant {
            max_bytes: asked.max_bytes,
            max_blob_bytes: asked.max_blob_bytes,
        });
        let nothing =
            |layer: Layer, max_bytes| Self::Refused(layer.nothing(CAPABILITY, "using blobs", max_bytes));
        let Some(asked) = asked else {
            return nothing(Layer::Manifest, 1 << 30);
        };
        let Some(granted) = &grants.blobs else {
            return nothing(Layer::Grant, asked.max_bytes);
        };
        let ceiling = match ceiling.map(|ceiling| &ceiling.blobs) {
            None => None,
            Some(Some(ceiling)) => Some(ceiling),
            Some(None) => return nothing(Layer::Ceiling, asked.max_bytes.min(granted.max_bytes)),
        };
        Self::Granted(Room {
            max_bytes: least(&asked, granted, ceiling, |blobs| blobs.max_bytes),
            max_blob_bytes: least(&asked, granted, ceiling, |blobs| blobs.max_blob_bytes),
            bucket: Bucket::new(OPERATIONS, Instant::now()),
        })
    }
}

impl Room {
    pub(crate) const fn quota(&self) -> BlobQuota {
        BlobQuota {
            max_bytes: self.max_bytes.value,
        }
    }

    /// Bytes of one blob, and of a request's blobs together.
    pub(crate) const fn max_blob_bytes(&self) -> u64 {
        self.max_blob_bytes.value
    }

    /// Whether it is not used too often.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Denial> {
        if self.bucket.take(now) {
            return Ok(());
        }
        Err(Denial {
            rule: "blobs.rate".to_owned(),
            layer: "host".to_owned(),
            asked: format!("more than {OPERATIONS} operations on blobs in a second"),
            smallest_grant: String::new(),
        })
    }

    /// What the plugin is told, and the operator, if somebody's bound is why.
    pub(crate) fn failure(&self, fault: Fault) -> Failure {
        match fault {
            Fault::TooLarge { needed } => {
                let Bound { value, layer } = self.max_blob_bytes;
                let asked = format!("a blob, or a request with blobs, of more than {value} bytes");
                self.refusal("blobs.size", layer, asked, &format!("max-blob-bytes = {needed}"))
                    .into()
            }
            Fault::Store(BlobError::Quota { needed, max }) => {
                let asked = format!("a blob beyond the {max} bytes");
                self.refusal("blobs.quota", self.max_bytes.layer, asked, &format!("max-bytes = {needed}"))
                    .into()
            }
            Fault::Secret => Denial {
                rule: "blobs.secret".to_owned(),
                layer: "host".to_owned(),
                asked: "keeping or reading bytes that have a secret of the connection in them".to_owned(),
                smallest_grant: String::new(),
            }
            .into(),
            Fault::Unwanted { max } => PluginError::new(
                ErrorCode::Fatal,
                format!("the answer is larger than the {max} bytes that the plugin wants to keep of it; nothing was kept"),
            )
            .with_detail("cause", crate::egress::cause::TOO_LARGE)
            .into(),
            Fault::OtherDigest { expected, found } => PluginError::new(
                ErrorCode::Data,
                format!("the bytes are {found} and not {expected}, as the plugin expects; nothing was kept"),
            )
            .with_detail("found", found.to_string())
            .into(),
            Fault::Store(error) => {
                let code = match error {
                    BlobError::NotFound { .. } => ErrorCode::NotFound,
                    BlobError::Damaged { .. } => ErrorCode::Data,
                    BlobError::Quota { .. } | BlobError::Unavailable { .. } => ErrorCode::Transient,
                };
                PluginError::new(code, error.to_string()).into()
            }
        }
    }

    /// The table with what has to change in it. Where a table needs `max-bytes` to be one, the present number is given.
    fn refusal(&self, rule: &str, layer: Layer, asked: String, line: &str) -> Denial {
        let bytes = if line.starts_with("max-bytes") {
            String::new()
        } else {
            format!("max-bytes = {}\n", self.max_bytes.value)
        };
        Denial {
            rule: rule.to_owned(),
            layer: layer.name().to_owned(),
            asked,
            smallest_grant: format!("{}\n{bytes}{line}", layer.table(CAPABILITY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn blobs(max_bytes: u64, max_blob_bytes: u64) -> Option<BlobGrant> {
        Some(BlobGrant {
            max_bytes,
            max_blob_bytes,
        })
    }

    fn manifest(asks: bool) -> Manifest {
        let blobs = if asks {
            "[capabilities.blobs]\nmax-bytes = 500\nmax-blob-bytes = 50"
        } else {
            ""
        };
        let text = format!(
            "name = \"tests/guest\"\nversion = \"1.0.0\"\ntitle = \"Guest\"\ncontract = \"1.1.0\"\n{blobs}"
        );
        Manifest::from_toml(&text).unwrap()
    }

    fn grants(blobs: Option<BlobGrant>) -> Grants {
        Grants {
            blobs,
            ..Grants::default()
        }
    }

    fn room(granted: Option<BlobGrant>, ceiling: Option<BlobGrant>) -> Room {
        match Access::of(&manifest(true), &grants(granted), Some(&grants(ceiling))) {
            Access::Granted(room) => room,
            Access::Refused(denial) => panic!("{denial}"),
        }
    }

    fn denial(failure: Failure) -> (String, String, String) {
        match failure {
            Failure::Denied(denial) => (denial.rule, denial.layer, denial.smallest_grant),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_who_allows_nothing_can_be_outvoted() {
        let (all, none) = (grants(blobs(1_000, 1_000)), grants(None));
        for (asks, granted, ceiling, layer, grant) in [
            (
                false,
                &all,
                None,
                "manifest",
                "[capabilities.blobs]\nmax-bytes = 1073741824",
            ),
            (
                true,
                &none,
                None,
                "grant",
                "[connection.grants.blobs]\nmax-bytes = 500",
            ),
            (
                true,
                &all,
                Some(&none),
                "ceiling",
                "[ceiling.blobs]\nmax-bytes = 500",
            ),
        ] {
            let Access::Refused(denial) = Access::of(&manifest(asks), granted, ceiling) else {
                panic!("{layer} allows nothing");
            };
            assert_eq!(
                (denial.layer.as_str(), denial.smallest_grant.as_str()),
                (layer, grant)
            );
        }
    }

    #[test]
    fn the_least_counts_and_whoever_set_it_is_named() {
        let room = room(blobs(400, 60), blobs(450, 40));
        assert_eq!((room.quota().max_bytes, room.max_blob_bytes()), (400, 40));
        let quota = Fault::Store(BlobError::Quota {
            needed: 410,
            max: 400,
        });
        assert_eq!(
            denial(room.failure(quota)),
            (
                "blobs.quota".to_owned(),
                "grant".to_owned(),
                "[connection.grants.blobs]\nmax-bytes = 410".to_owned()
            )
        );
        assert_eq!(
            denial(room.failure(Fault::TooLarge { needed: 41 })),
            (
                "blobs.size".to_owned(),
                "ceiling".to_owned(),
                "[ceiling.blobs]\nmax-bytes = 400\nmax-blob-bytes = 41".to_owned()
            )
        );
        let (rule, layer, grant) = denial(room.failure(Fault::Secret));
        assert_eq!(
            (rule.as_str(), layer.as_str(), grant.as_str()),
            ("blobs.secret", "host", "")
        );
    }

    #[test]
    fn who_uses_them_too_often_is_refused_until_the_next_second() {
        let (room, now) = (room(blobs(400, 60), blobs(400, 60)), Instant::now());
        let allowed = |at| (0..1_000).filter(|_| room.admit(at).is_ok()).count();
        // The bucket began a moment before.
        assert_eq!(allowed(now), usize::try_from(OPERATIONS).unwrap());
        assert!(allowed(now + Duration::from_millis(500)) >= 99);
    }
}
