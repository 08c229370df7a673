//! From a component to what is pushed.

use serde_json::{Value, json};
use stecker_model::Digest;
use stecker_registry::{Inspection, component::digest};

use crate::{EMPTY, IMAGE_MANIFEST, MANIFEST, WASM_CONFIG, WASM_LAYER, tag};

/// Bytes under their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            bytes,
        }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// A release, ready to be pushed: its configuration, and the manifest that names configuration and component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The tag, which is the version.
    pub tag: String,
    /// The configuration.
    pub config: Blob,
    /// The image manifest; its digest is the release's name in a registry.
    pub manifest: Blob,
}

impl Release {
    /// The artifact of a component.
    #[must_use]
    pub fn of(inspection: &Inspection) -> Self {
        let manifest = &inspection.manifest;
        let exports: Vec<String> = inspection.roles.iter().map(ToString::to_string).collect();
        let config = Blob::of(
            json!({
                // Not when it was pushed: the same release is the same bytes.
                "created": "1970-01-01T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [inspection.digest],
                "component": { "exports": exports, "imports": inspection.imports },
            })
            .to_string()
            .into_bytes(),
        );
        let mut annotations = json!({
            "org.opencontainers.image.title": manifest.title,
            "org.opencontainers.image.version": manifest.version.to_string(),
            "org.opencontainers.image.ref.name": manifest.name.to_string(),
        });
        let optional = [
            (
                "description",
                (!manifest.description.is_empty()).then(|| manifest.description.clone()),
            ),
            ("licenses", manifest.license.clone()),
            (
                "authors",
                (!manifest.authors.is_empty()).then(|| manifest.authors.join(", ")),
            ),
            ("url", manifest.homepage.as_ref().map(ToString::to_string)),
        ];
        for (name, value) in optional {
            if let (Some(value), Some(all)) = (value, annotations.as_object_mut()) {
                all.insert(format!("org.opencontainers.image.{name}"), value.into());
            }
        }
        let layer = json!({ "mediaType": WASM_LAYER, "digest": inspection.digest, "size": inspection.size });
        let image = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": config.descriptor(WASM_CONFIG),
            "layers": [layer],
            "annotations": annotations,
        });
        Self {
            tag: tag(&manifest.version.to_string()),
            config,
            manifest: Blob::of(image.to_string().into_bytes()),
        }
    }

    /// The plugin's manifest as a referrer, to be read without the component.
    #[must_use]
    pub fn readable(&self, inspection: &Inspection) -> About {
        self.about(MANIFEST, inspection.manifest.to_canonical_json().into_bytes())
    }

    /// Something about the release, as a referrer.
    #[must_use]
    pub fn about(&self, kind: &str, content: Vec<u8>) -> About {
        let (empty, content) = (Blob::of(b"{}".to_vec()), Blob::of(content));
        let image = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "artifactType": kind,
            "config": empty.descriptor(EMPTY),
            "layers": [content.descriptor(kind)],
            "subject": self.manifest.descriptor(IMAGE_MANIFEST),
        });
        About {
            empty,
            content,
            manifest: Blob::of(image.to_string().into_bytes()),
        }
    }
}

/// Something about a release, ready to be pushed by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The empty configuration.
    pub empty: Blob,
    /// What is said.
    pub content: Blob,
    /// The manifest that names the release as its subject.
    pub manifest: Blob,
}
