//! What a registry has to know of a manifest: which contents it names, what it is about, and how it is listed among the referrers
//! of its subject (OCI image specification 1.1, manifest.md and image-index.md; the Docker forms of both have the same shape).
//! Everything else in it is its author's, kept byte by byte and not looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, DigestError},
    name::shortened,
};

/// An OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Largest manifest, in bytes: what the specification asks registries to take at least.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// Most contents that a manifest may name. Each costs a look-up while it is published.
pub const MAX_REFERENCES: usize = 4096;

/// A manifest, as far as a registry reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is, one of the four above.
    pub media_type: &'static str,
    /// What kind of thing it describes: its own word for it, else the type of its configuration.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The manifest that it says something about, which may not be there (yet).
    pub subject: Option<Digest>,
    /// The blobs that have to be there, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// The manifests that have to be there.
    pub manifests: Vec<Digest>,
}

/// Why bytes are not a manifest to publish.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MAX_MANIFEST`].
    #[error("the manifest has more than {MAX_MANIFEST} bytes; put what is large into a blob and name that")]
    TooLarge,
    /// No JSON, or not of the shape.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else than a manifest.
    #[error(
        "`{media_type}` is not a manifest that is known here: push an OCI image manifest or index, or Docker's version 2 of them; \
         anything else is a blob of one"
    )]
    MediaType {
        /// What it was said to be, shortened.
        media_type: String,
    },
    /// The request and the manifest say different things.
    #[error("the request's Content-Type says `{header}`, the manifest's mediaType `{body}`")]
    TypesDiffer {
        /// What the request says.
        header: String,
        /// What the manifest says.
        body: String,
    },
    /// `schemaVersion` is not 2.
    #[error("`schemaVersion` is {0}, and has to be 2")]
    Schema(u64),
    /// An image without a configuration.
    #[error(
        "the manifest has no `config`; use the empty one, `application/vnd.oci.empty.v1+json`, if there is nothing to say"
    )]
    NoConfig,
    /// A descriptor's digest is none.
    #[error("{at}: {source}")]
    Digest {
        /// Where it stands.
        at: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// More than [`MAX_REFERENCES`].
    #[error("the manifest names {0} contents, more than {MAX_REFERENCES}")]
    TooMany(usize),
    /// The same digest with two sizes.
    #[error("{0} is named with two sizes")]
    TwoSizes(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn digest(&self, at: &str) -> Result<Digest, ManifestError> {
        self.digest.parse().map_err(|source| ManifestError::Digest {
            at: at.to_owned(),
            source,
        })
    }

    /// Layers that are fetched from elsewhere, and must not be asked for here (image specification, layer.md, "Non-Distributable").
    fn is_elsewhere(&self) -> bool {
        self.media_type
            .starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    }
}

fn known(media_type: &str) -> Result<&'static str, ManifestError> {
    [IMAGE_MANIFEST, IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_LIST]
        .into_iter()
        .find(|known| *known == media_type)
        .ok_or_else(|| ManifestError::MediaType {
            media_type: shortened(media_type),
        })
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// `content_type` is the request's, of which parameters are ignored. The manifest's own `mediaType` has to agree with it, if both
    /// are there; if neither is, the shape decides.
    ///
    /// # Errors
    /// Why it cannot be published.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let header = content_type
            .and_then(|text| text.split(';').next())
            .map(|text| text.trim().to_ascii_lowercase())
            .filter(|text| !text.is_empty());
        // What is no manifest at all need not be JSON: the type is the better thing to complain of.
        let header_type = header.as_deref().map(known).transpose()?;
        let document: Document = serde_json::from_slice(bytes)?;
        let body_type = document.media_type.as_deref().filter(|text| !text.is_empty());
        let media_type = match (header_type, body_type) {
            (Some(header), Some(body)) if header != body => {
                return Err(ManifestError::TypesDiffer {
                    header: header.to_owned(),
                    body: shortened(body),
                });
            }
            (Some(header), _) => header,
            (None, Some(body)) => known(body)?,
            (None, None) if document.manifests.is_some() && document.config.is_none() => IMAGE_INDEX,
            (None, None) => IMAGE_MANIFEST,
        };
        if document.schema_version != 2 {
            return Err(ManifestError::Schema(document.schema_version));
        }
        document.checked(media_type)
    }
}

impl Document {
    fn checked(self, media_type: &'static str) -> Result<Manifest, ManifestError> {
        let subject = self
            .subject
            .as_ref()
            .map(|subject| subject.digest("subject"))
            .transpose()?;
        let own_type = self.artifact_type.filter(|text| !text.is_empty());
        let is_index = matches!(media_type, IMAGE_INDEX | DOCKER_LIST);
        let (artifact_type, blobs, manifests) = if is_index {
            let children = self.manifests.unwrap_or_default();
            bounded(children.len())?;
            let mut digests = children
                .iter()
                .enumerate()
                .map(|(n, child)| child.digest(&format!("manifests[{n}]")))
                .collect::<Result<Vec<_>, _>>()?;
            digests.sort_unstable();
            digests.dedup();
            (own_type, Vec::new(), digests)
        } else {
            let config = self.config.ok_or(ManifestError::NoConfig)?;
            let layers = self.layers.unwrap_or_default();
            bounded(layers.len() + 1)?;
            let mut blobs = BTreeMap::from([(config.digest("config")?, config.size)]);
            for (n, layer) in layers.iter().enumerate() {
                let digest = layer.digest(&format!("layers[{n}]"))?;
                if layer.is_elsewhere() {
                    continue;
                }
                if blobs
                    .insert(digest.clone(), layer.size)
                    .is_some_and(|size| size != layer.size)
                {
                    return Err(ManifestError::TwoSizes(digest));
                }
            }
            let config_type = Some(config.media_type).filter(|text| !text.is_empty());
            (own_type.or(config_type), blobs.into_iter().collect(), Vec::new())
        };
        Ok(Manifest {
            media_type,
            artifact_type,
            annotations: self.annotations.unwrap_or_default(),
            subject,
            blobs,
            manifests,
        })
    }
}

fn bounded(count: usize) -> Result<(), ManifestError> {
    if count > MAX_REFERENCES {
        return Err(ManifestError::TooMany(count));
    }
    Ok(())
}

/// How a manifest is listed among the referrers of its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Its name.
    pub digest: String,
    /// What kind of thing it is about the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::digest::Algorithm;

    fn descriptor(content: &str) -> Value {
        json!({ "mediaType": "application/wasm", "digest": Digest::of(Algorithm::Sha256, content.as_bytes()).as_str(), "size": content.len() })
    }

    fn parse(value: &Value, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        Manifest::parse(&serde_json::to_vec(value).unwrap(), content_type)
    }

    fn image() -> Value {
        json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor("c"), "layers": [descriptor("l"), descriptor("l")] })
    }

    #[test]
    fn an_image_names_its_configuration_and_layers_once() {
        let manifest = parse(
            &image(),
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        )
        .unwrap();
        assert_eq!(manifest.blobs.len(), 2);
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/wasm"));
        assert!(manifest.subject.is_none());
    }

    #[test]
    fn what_has_no_layers_or_says_null_is_fine() {
        for layers in [json!([]), Value::Null] {
            let mut value = image();
            value["layers"] = layers;
            assert_eq!(parse(&value, None).unwrap().blobs.len(), 1);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": null });
        assert!(parse(&index, None).unwrap().manifests.is_empty());
    }

    #[test]
    fn an_index_has_a_type_only_of_its_own() {
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor("m")], "subject": descriptor("s"), "annotations": { "a": "b" } });
        let manifest = parse(&index, None).unwrap();
        assert_eq!((manifest.media_type, manifest.artifact_type), (IMAGE_INDEX, None));
        assert_eq!(manifest.manifests.len(), 1);
        assert!(manifest.subject.is_some());
        assert_eq!(manifest.annotations["a"], "b");
    }

    #[test]
    fn layers_that_lie_elsewhere_are_not_asked_for() {
        let mut value = image();
        value["layers"][0] = json!({ "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": Digest::of(Algorithm::Sha512, b"far").as_str(), "size": 9, "urls": ["https://example.com/far"] });
        assert_eq!(parse(&value, None).unwrap().blobs.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut wrong = image();
        wrong["schemaVersion"] = json!(1);
        assert!(matches!(parse(&wrong, None), Err(ManifestError::Schema(1))));
        assert!(matches!(
            parse(&image(), Some(IMAGE_INDEX)),
            Err(ManifestError::TypesDiffer { .. })
        ));
        assert!(matches!(
            parse(&image(), Some("text/html")),
            Err(ManifestError::MediaType { .. })
        ));
        assert!(matches!(
            parse(&json!({"schemaVersion": 2}), None),
            Err(ManifestError::NoConfig)
        ));
        let mut wrong = image();
        wrong["layers"][1]["size"] = json!(7);
        assert!(matches!(parse(&wrong, None), Err(ManifestError::TwoSizes(_))));
        let mut wrong = image();
        wrong["layers"][1]["digest"] = json!("sha256:../../etc/passwd");
        assert!(matches!(parse(&wrong, None), Err(ManifestError::Digest { .. })));
        let mut wrong = image();
        wrong["layers"][1]["size"] = json!(-1);
        assert!(matches!(parse(&wrong, None), Err(ManifestError::Json(_))));
        let mut wrong = image();
        wrong["layers"] = Value::Array((0..=MAX_REFERENCES).map(|n| descriptor(&n.to_string())).collect());
        assert!(matches!(parse(&wrong, None), Err(ManifestError::TooMany(_))));
        assert!(matches!(
            Manifest::parse(&vec![b' '; MAX_MANIFEST + 1], None),
            Err(ManifestError::TooLarge)
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes, None);
        }
    }
}
