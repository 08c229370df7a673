//! `stecker key …` and `stecker sign`

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use stecker_registry::Inspection;
use stecker_trust::{Algorithm, Bundle, ReleaseSubject, SecretKey};
use zeroize::Zeroizing;

use crate::{
    args::{Key, KeyKind, Sign},
    failure::{Failure, Result, failed, file},
    output::{Output, dim, good},
};

pub(crate) fn key(output: Output, command: Key) -> Result<()> {
    match command {
        Key::New { file, algorithm } => new(output, &file, algorithm),
        Key::Show { file } => {
            let key = secret(&file)?;
            tell(output, &key, &file, "key")
        }
    }
}

/// A key, without what is secret of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    file: PathBuf,
    id: String,
    algorithm: String,
    public: String,
}

fn tell(output: Output, key: &SecretKey, path: &Path, word: &str) -> Result<()> {
    let public = key.public();
    let told = Told {
        file: path.to_owned(),
        id: public.id().to_string(),
        algorithm: format!("{:?}", public.algorithm()).to_lowercase(),
        public: public.to_pem().to_owned(),
    };
    output.answer(&told, |page| {
        page.line(format!(
            "{} {} {}",
            good(word),
            told.file.display(),
            dim(&told.id)
        ));
        page.line(told.public.trim_end());
    })?;
    Ok(())
}

fn new(output: Output, path: &Path, algorithm: KeyKind) -> Result<()> {
    let algorithm = match algorithm {
        KeyKind::Ed25519 => Algorithm::Ed25519,
        KeyKind::P256 => Algorithm::EcdsaP256,
    };
    let key = SecretKey::generate(algorithm).map_err(|error| failed("key", error.to_string()))?;
    let pem = key.to_pem().map_err(|error| failed("key", error.to_string()))?;
    let mut options = fs::OpenOptions::new();
    // A key that is there already may be the only one of its kind.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(pem.as_bytes()));
    written.map_err(|error| file("write", path, error, "give a file that is not there yet"))?;
    tell(output, &key, path, "made")
}

/// A private key of a file.
pub(crate) fn secret(path: &Path) -> Result<SecretKey> {
    let pem = fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| file("read", path, error, "`stecker key new FILE` makes a key"))?;
    SecretKey::from_pem(&pem).map_err(|error| refused(path, &error.to_string()))
}

/// What is signed of a component.
pub(crate) fn subject(inspection: &Inspection) -> ReleaseSubject {
    ReleaseSubject {
        name: inspection.manifest.name.clone(),
        version: inspection.manifest.version.clone(),
        component: inspection.digest.clone(),
        manifest: stecker_registry::component::digest(inspection.manifest.to_canonical_json().as_bytes()),
        image: None,
    }
}

/// The signature of a component by a key, as JSON.
pub(crate) fn bundle(inspection: &Inspection, key: &SecretKey) -> String {
    Bundle::sign(&subject(inspection), key, jiff::Timestamp::now()).to_json()
}

/// A signature.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Signed {
    release: String,
    component: String,
    key: String,
    file: PathBuf,
}

pub(crate) fn sign(output: Output, words: Sign) -> Result<()> {
    let bytes = fs::read(&words.file).map_err(|error| {
        file(
            "read",
            &words.file,
            error,
            "`stecker plugin build` makes components",
        )
    })?;
    let inspection = stecker_registry::inspect(&bytes)
        .map_err(|error| failed("not-a-plugin", format!("{}: {error}", words.file.display())))?;
    let key = secret(&words.key)?;
    let to = words
        .output
        .unwrap_or_else(|| words.file.with_extension("sigstore.json"));
    fs::write(&to, bundle(&inspection, &key))
        .map_err(|error| file("write", &to, error, "give another `--output`"))?;
    let signed = Signed {
        release: format!("{}@{}", inspection.manifest.name, inspection.manifest.version),
        component: inspection.digest.to_string(),
        key: key.public().id().to_string(),
        file: to,
    };
    output.answer(&signed, |page| {
        page.line(format!(
            "{} {} by {}",
            good("signed"),
            signed.release,
            dim(&signed.key)
        ));
        page.line(format!("  {}", signed.file.display()));
    })?;
    Ok(())
}

fn refused(path: &Path, reason: &str) -> Failure {
    failed("key", format!("{}: {reason}", path.display())).into()
}
