//! The layout of a release: what an image manifest has to look like to be one
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>).

use serde::Deserialize;
use stecker_distribution::Digest;

/// The type of the configuration.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The type of the layer, which is the component as it is.
pub const WASM_LAYER: &str = "application/wasm";

/// Why an image manifest is no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Not of the shape.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// Something else than WebAssembly.
    #[error(
        "the configuration is of the type `{found}`; a plugin's is `{WASM_CONFIG}`. Push it with `wkg oci push`, or with \
         `oras push --config config.json:{WASM_CONFIG} REFERENCE component.wasm:{WASM_LAYER}`"
    )]
    Config {
        /// What it is.
        found: String,
    },
    /// Not one layer.
    #[error(
        "there are {found} layers; a release has one, of the type `{WASM_LAYER}`, which is the component"
    )]
    Layers {
        /// How many there are.
        found: usize,
    },
    /// Another type of layer.
    #[error(
        "the layer is of the type `{found}`; a component's is `{WASM_LAYER}`, neither packed nor in an archive"
    )]
    Layer {
        /// What it is.
        found: String,
    },
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
}

/// The digest of the component in an image manifest's bytes.
///
/// # Errors
/// [`ArtifactError`]: it is no release.
pub fn layer_of(bytes: &[u8]) -> Result<Digest, ArtifactError> {
    let image: Image =
        serde_json::from_slice(bytes).map_err(|error| ArtifactError::Unreadable(error.to_string()))?;
    let config = image.config.map(|config| config.media_type).unwrap_or_default();
    if config != WASM_CONFIG {
        return Err(ArtifactError::Config { found: config });
    }
    let [layer] = image.layers.as_slice() else {
        return Err(ArtifactError::Layers {
            found: image.layers.len(),
        });
    };
    if layer.media_type != WASM_LAYER {
        return Err(ArtifactError::Layer {
            found: layer.media_type.clone(),
        });
    }
    layer
        .digest
        .parse()
        .map_err(|error| ArtifactError::Unreadable(format!("the layer's digest: {error}")))
}

#[cfg(test)]
mod tests {
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
            (
                image(WASM_CONFIG, &["application/vnd.oci.image.layer.v1.tar+gzip"]),
                "the layer is of the type",
            ),
            (b"{}".to_vec(), "the configuration"),
            (b"[".to_vec(), "cannot be read"),
        ] {
            let error = layer_of(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
