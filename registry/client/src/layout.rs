//! A release in an OCI image layout (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>): a folder, or a tar archive of one, for
//! where no registry can be reached. What is said about the release goes along, as manifests beside it in the index.
//!
//! What is read is a stranger's: names that lie in it are never used as paths, only digests are; everything is bounded, and has its digest or is refused.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::json;
use stecker_model::Digest;
use stecker_package::{BUNDLE, IMAGE_MANIFEST, MANIFEST, MAX_MANIFEST, about_of, layer_of};
use stecker_registry::component::digest;

use crate::{
    error::ClientError,
    pull::{COMPONENT, SIGNATURE, SIGNATURES},
    tar,
};

/// What names an image in an index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Manifests of an index that are looked at, at most.
const MANIFESTS: usize = 1_000;

/// Something that is said about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What kind of thing it is.
    pub kind: String,
    /// The manifest that carries it.
    pub manifest: Vec<u8>,
    /// What is said.
    pub content: Vec<u8>,
}

/// A release with all that belongs to it, byte by byte as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its tag, which is its version.
    pub tag: String,
    /// The image manifest.
    pub image: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The component.
    pub component: Vec<u8>,
    /// What is said about it.
    pub beside: Vec<Beside>,
    /// What the registry warned of when it was pulled; not in the layout.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Image {
    config: Option<Named>,
    subject: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    digest: String,
}

/// The configuration that an image manifest names.
pub(crate) fn config_of(image: &[u8]) -> Option<Digest> {
    let image: Image = serde_json::from_slice(image).ok()?;
    image.config?.digest.parse().ok()
}

impl Layout {
    /// The signatures (Sigstore bundles) among what is said about it.
    #[must_use]
    pub fn bundles(&self) -> Vec<Vec<u8>> {
        let bundles = self.beside.iter().filter(|beside| beside.kind == BUNDLE);
        bundles.map(|beside| beside.content.clone()).collect()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut blob = |bytes: &[u8]| {
            let digest = digest(bytes);
            files.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
            digest
        };
        let image = blob(&self.image);
        blob(&self.config);
        blob(&self.component);
        let mut manifests = vec![json!({
            "mediaType": IMAGE_MANIFEST,
            "digest": image,
            "size": self.image.len(),
            "annotations": { REF_NAME: self.tag },
        })];
        for beside in &self.beside {
            blob(b"{}");
            blob(&beside.content);
            manifests.push(json!({
                "mediaType": IMAGE_MANIFEST,
                "artifactType": beside.kind,
                "digest": blob(&beside.manifest),
                "size": beside.manifest.len(),
            }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        files.insert("index.json".to_owned(), index.to_string().into_bytes());
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        files.insert("oci-layout".to_owned(), version.to_string().into_bytes());
        files
    }

    /// Writes it: a path that ends in `.tar` becomes an archive, any other a folder, which must not be there, or be empty. It is written beside its
    /// place first, so that half of it is never there.
    ///
    /// # Errors
    /// [`ClientError::Layout`]: the path is taken, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ClientError> {
        let failed = |error: io::Error| wrong(path, error.to_string());
        let files = self.files();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let beside = path.with_file_name(name);
        if is_tar(path) {
            fs::write(&beside, tar::write(&files)).map_err(failed)?;
            return fs::rename(&beside, path).map_err(failed);
        }
        let is_taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken || path.is_file() {
            return Err(wrong(
                path,
                "something is there already; give another path".to_owned(),
            ));
        }
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(failed)?;
        }
        for (name, bytes) in &files {
            let file = beside.join(name);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            fs::write(&file, bytes).map_err(failed)?;
        }
        // A folder that is there is empty, and a folder takes its place.
        fs::rename(&beside, path).map_err(failed)
    }

    /// Reads a release out of a layout. `tag`: which, if there are several.
    ///
    /// # Errors
    /// [`ClientError::Layout`]: it is none, there are several releases in it, or bytes are not those that their digest says.
    pub fn read(path: &Path, tag: Option<&str>) -> Result<Self, ClientError> {
        let source = Source::open(path)?;
        if source.file("oci-layout", 4_096)?.is_none() {
            return Err(wrong(
                path,
                "there is no `oci-layout` in it: it is no OCI image layout".to_owned(),
            ));
        }
        let index = source.file("index.json", MAX_MANIFEST as u64)?;
        let index = index.ok_or_else(|| wrong(path, "there is no `index.json` in it".to_owned()))?;
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| wrong(path, format!("its `index.json` cannot be read: {error}")))?;
        let (mut releases, mut others) = (Vec::new(), Vec::new());
        for descriptor in index.manifests.into_iter().take(MANIFESTS) {
            if descriptor.media_type != IMAGE_MANIFEST {
                continue;
            }
            let named: Digest = descriptor
                .digest
                .parse()
                .map_err(|error| wrong(path, format!("the digest `{}`: {error}", descriptor.digest)))?;
            let bytes = source.blob(&named, MAX_MANIFEST as u64)?;
            let name = descriptor.annotations.get(REF_NAME).cloned().unwrap_or_default();
            match layer_of(&bytes) {
                Ok(layer) => releases.push((name, named, bytes, layer)),
                Err(_) => others.push(bytes),
            }
        }
        if let Some(tag) = tag {
            releases.retain(|(name, ..)| name == tag);
        }
        let names: Vec<String> = releases.iter().map(|(name, ..)| name.clone()).collect();
        let mut releases = releases.into_iter();
        let (Some((tag, named, image, layer)), None) = (releases.next(), releases.next()) else {
            let reason = match names.as_slice() {
                [] => "there is no such release of a plugin in it".to_owned(),
                names => format!(
                    "there are several releases in it ({}): name one",
                    names.join(", ")
                ),
            };
            return Err(wrong(path, reason));
        };
        let config =
            config_of(&image).ok_or_else(|| wrong(path, "its manifest has no configuration".to_owned()))?;
        let mut layout = Self {
            tag,
            config: source.blob(&config, SIGNATURE)?,
            component: source.blob(&layer.digest, COMPONENT)?,
            image,
            beside: Vec::new(),
            warnings: Vec::new(),
        };
        for manifest in others {
            let said: Option<Image> = serde_json::from_slice(&manifest).ok();
            let subject = said.and_then(|image| image.subject);
            if subject.is_none_or(|subject| subject.digest != named.as_str()) {
                continue;
            }
            let found = [BUNDLE, MANIFEST]
                .into_iter()
                .find_map(|kind| Some((kind, about_of(&manifest, kind).ok()?)));
            let Some((kind, about)) = found.filter(|_| layout.beside.len() < SIGNATURES) else {
                continue;
            };
            let content = source.blob(&about.digest, SIGNATURE)?;
            layout.beside.push(Beside {
                kind: kind.to_owned(),
                manifest,
                content,
            });
        }
        Ok(layout)
    }
}

fn wrong(path: &Path, reason: String) -> ClientError {
    ClientError::Layout {
        path: path.to_owned(),
        reason,
    }
}

fn is_tar(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Where a layout lies.
struct Source {
    path: PathBuf,
    /// The files of an archive; none: it is a folder.
    archive: Option<HashMap<String, Vec<u8>>>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, ClientError> {
        let archive = if path.is_dir() {
            None
        } else {
            let file = fs::File::open(path).map_err(|error| wrong(path, error.to_string()))?;
            let files = tar::read(io::BufReader::new(file), is_of_a_layout);
            Some(files.map_err(|error| wrong(path, error.to_string()))?)
        };
        Ok(Self {
            path: path.to_owned(),
            archive,
        })
    }

    /// A file by a name that is made here.
    fn file(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, ClientError> {
        use io::Read as _;

        let too_large = || {
            wrong(
                &self.path,
                format!("`{name}` has more than the {most} bytes that are taken"),
            )
        };
        if let Some(archive) = &self.archive {
            return match archive.get(name) {
                Some(bytes) if bytes.len() as u64 > most => Err(too_large()),
                found => Ok(found.cloned()),
            };
        }
        let file = match fs::File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&self.path, format!("`{name}`: {error}"))),
        };
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| wrong(&self.path, format!("`{name}`: {error}")))?;
        if bytes.len() as u64 > most {
            return Err(too_large());
        }
        Ok(Some(bytes))
    }

    fn blob(&self, named: &Digest, most: u64) -> Result<Vec<u8>, ClientError> {
        let bytes = self.file(&format!("blobs/sha256/{}", named.hex()), most)?;
        let bytes = bytes.ok_or_else(|| wrong(&self.path, format!("{named} is missing")))?;
        let found = digest(&bytes);
        if found == *named {
            Ok(bytes)
        } else {
            Err(ClientError::Digest {
                wanted: named.clone(),
                found,
            })
        }
    }
}

/// Whether a name in an archive is one that a layout has.
fn is_of_a_layout(name: &str) -> bool {
    let is_hex = |hex: &str| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    matches!(name, "oci-layout" | "index.json") || name.strip_prefix("blobs/sha256/").is_some_and(is_hex)
}
