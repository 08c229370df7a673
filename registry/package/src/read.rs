//! From manifests to what is to be fetched. They are a stranger's.

use serde::Deserialize;
use stecker_model::Digest;

use crate::{IMAGE_MANIFEST, MAX_MANIFEST, WASM_CONFIG, WASM_LAYER};

/// Referrers of a release that are looked at, at most.
const MAX_REFERRERS: usize = 1_000;

/// Why a manifest is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Not even looked at.
    #[error("the manifest has {size} bytes; at most {MAX_MANIFEST} are taken")]
    TooLarge {
        /// Bytes.
        size: usize,
    },
    /// Not of the shape.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// Something else than WebAssembly.
    #[error(
        "the configuration is of the type `{found}`; a plugin's is `{WASM_CONFIG}`. Push it with `stecker plugin publish`, or with \
         `oras push --config config.json:{WASM_CONFIG} REFERENCE component.wasm:{WASM_LAYER}`"
    )]
    Config {
        /// What it is.
        found: String,
    },
    /// Not one layer.
    #[error("there are {found} layers; there has to be one, which is the thing itself")]
    Layers {
        /// How many there are.
        found: usize,
    },
    /// Another type of layer.
    #[error(
        "the layer is of the type `{found}`, and should be `{expected}`, neither packed nor in an archive"
    )]
    Layer {
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

/// Bytes that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Their digest.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

fn read<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, ArtifactError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ArtifactError::TooLarge { size: bytes.len() });
    }
    serde_json::from_slice(bytes).map_err(|error| ArtifactError::Unreadable(error.to_string()))
}

impl Descriptor {
    fn described(&self) -> Result<Described, ArtifactError> {
        let digest = self
            .digest
            .parse()
            .map_err(|error| ArtifactError::Unreadable(format!("the digest `{}`: {error}", self.digest)))?;
        Ok(Described {
            digest,
            size: self.size,
        })
    }
}

fn only_layer(image: &Image, expected: &str) -> Result<Described, ArtifactError> {
    let [layer] = image.layers.as_slice() else {
        return Err(ArtifactError::Layers {
            found: image.layers.len(),
        });
    };
    if layer.media_type != expected {
        return Err(ArtifactError::Layer {
            found: layer.media_type.clone(),
            expected: expected.to_owned(),
        });
    }
    layer.described()
}

/// The component of a release, by its image manifest.
///
/// # Errors
/// [`ArtifactError`]: it is no release.
pub fn layer_of(manifest: &[u8]) -> Result<Described, ArtifactError> {
    let image: Image = read(manifest)?;
    let config = image.config.as_ref().map(|config| config.media_type.clone());
    let config = config.unwrap_or_default();
    if config != WASM_CONFIG {
        return Err(ArtifactError::Config { found: config });
    }
    only_layer(&image, WASM_LAYER)
}

/// What is said in a referrer of this kind.
///
/// # Errors
/// [`ArtifactError`]: it is none.
pub fn about_of(manifest: &[u8], kind: &str) -> Result<Described, ArtifactError> {
    only_layer(&read(manifest)?, kind)
}

/// The referrers of this kind in an index of referrers. A registry may leave the filtering to whoever asks.
///
/// # Errors
/// [`ArtifactError`]: it is no index.
pub fn referrers_of(index: &[u8], kind: &str) -> Result<Vec<Described>, ArtifactError> {
    let index: Index = read(index)?;
    let all = index.manifests.iter().take(MAX_REFERRERS);
    all.filter(|manifest| {
        manifest.media_type == IMAGE_MANIFEST && manifest.artifact_type.as_deref() == Some(kind)
    })
    .map(Descriptor::described)
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(config: &str, layers: &[&str]) -> Vec<u8> {
        let digest = format!("sha256:{}", "a".repeat(64));
        let layers: Vec<_> = layers
            .iter()
            .map(|media_type| serde_json::json!({ "mediaType": media_type, "digest": digest, "size": 1 }))
            .collect();
        serde_json::json!({ "config": { "mediaType": config, "digest": digest, "size": 1 }, "layers": layers })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn only_one_plain_component_is_a_release() {
        assert!(layer_of(&image(WASM_CONFIG, &[WASM_LAYER])).is_ok());
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (bytes, expected) in [
            (
                image("application/vnd.oci.image.config.v1+json", &[WASM_LAYER]),
                "the configuration",
            ),
            (image(WASM_CONFIG, &[]), "there are 0 layers"),
            (
                image(WASM_CONFIG, &[WASM_LAYER, WASM_LAYER]),
                "there are 2 layers",
            ),
            (image(WASM_CONFIG, &[tar]), "the layer is of the type"),
            (b"{}".to_vec(), "the configuration"),
            (b"[".to_vec(), "cannot be read"),
            (vec![b' '; MAX_MANIFEST + 1], "at most"),
        ] {
            let error = layer_of(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = layer_of(&bytes);
            let _ = about_of(&bytes, "a/b");
            let _ = referrers_of(&bytes, "a/b");
        }
    }
}
