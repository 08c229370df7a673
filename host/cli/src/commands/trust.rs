//! `stecker trust …`

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;
use stecker_model::api::{AddSignature, DropRoot, ReleaseTrust, TakeRoot, TrustInfo};
use stecker_trust::{Envelope, RootDocument};

use super::key;
use crate::{
    args::{Globals, Trust},
    failure::{Failure, Result, failed, file},
    output::{Output, Page, bad, dim, good, time, warn},
    target::Target,
};

/// Bytes of a signed document, at most.
const MAX_BYTES: usize = 1_024 * 1_024;

pub(crate) async fn trust(globals: &Globals, output: Output, command: Trust) -> Result<()> {
    match command {
        Trust::New {
            document,
            key,
            output: to,
        } => new(output, &document, &key, to.as_deref()),
        Trust::Countersign { document, key } => countersign(output, &document, &key),
        command => {
            let command = Asked::read(command)?;
            let target = Target::find(globals, output, "stecker trust").await?;
            let result = answer(&target, output, command).await;
            target.close().await;
            result
        }
    }
}

/// What the host is asked, with every file read before it is looked for.
enum Asked {
    Show,
    Take(TakeRoot),
    Drop(DropRoot),
    Sign(AddSignature),
}

impl Asked {
    fn read(command: Trust) -> Result<Self> {
        Ok(match command {
            Trust::Take { document } => Self::Take(TakeRoot {
                document: text(&document, "`stecker trust new` makes signed documents")?,
            }),
            Trust::Drop { reason } => Self::Drop(DropRoot { reason }),
            Trust::Sign { component, bundle } => {
                let hint = "give the component first, then the signature";
                let bytes = fs::read(&component).map_err(|error| file("read", &component, error, hint))?;
                let inspection = stecker_registry::inspect(&bytes)
                    .map_err(|error| failed("not-a-plugin", format!("{}: {error}", component.display())))?;
                Self::Sign(AddSignature {
                    component: inspection.digest,
                    bundle: text(&bundle, hint)?,
                })
            }
            _ => Self::Show,
        })
    }
}

async fn answer(target: &Target, output: Output, command: Asked) -> Result<()> {
    let operations = target.operations();
    let info = match command {
        Asked::Show => operations.trust().await?,
        Asked::Take(root) => operations.take_trust_root(&root).await?,
        Asked::Drop(drop) => operations.drop_trust_root(&drop).await?,
        Asked::Sign(signature) => {
            let taken = operations.add_signature(&signature).await?;
            output.answer(&taken, |page| {
                let new = if taken.is_new { "kept" } else { "known already" };
                page.line(format!("{} {}", good(new), dim(taken.component.as_str())));
                match (&taken.refused, taken.has_release) {
                    (Some(reason), _) => page.line(format!("{} {reason}", warn("not loaded even so:"))),
                    (None, true) => page.line("the release is loaded"),
                    (None, false) => {
                        page.line("the release itself is not here yet; `stecker release add` adds it");
                    }
                }
            })?;
            return Ok(());
        }
    };
    output.answer(&info, |page| show(page, &info))?;
    Ok(())
}

fn show(page: &mut Page, info: &TrustInfo) {
    match &info.root {
        None => page.line(
            "no trust root: every release that the tenant added is loaded; `stecker trust take FILE` has signatures asked for",
        ),
        Some(root) => {
            page.field("trust root", format!("version {}", root.version));
            page.field("digest", root.digest.as_str());
            page.field("taken", time(root.taken_at));
            if let Some(expires) = root.expires_at {
                page.field("expires", time(expires));
            }
        }
    }
    if info.releases.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = info.releases.iter().map(row).collect();
    page.table(&["RELEASE", "DIGEST", "LOADED", "SIGNED BY", "WHY NOT"], &rows);
}

fn row(release: &ReleaseTrust) -> Vec<String> {
    let by: Vec<&str> = release
        .signed_by
        .iter()
        .map(stecker_model::Name::as_str)
        .collect();
    vec![
        format!("{}@{}", release.name, release.version),
        release.digest.short().to_owned(),
        if release.loads { good("yes") } else { bad("no") },
        by.join(" "),
        release.reason.clone().unwrap_or_default(),
    ]
}

/// What was signed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Signed {
    version: u64,
    signatures: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

fn new(output: Output, path: &Path, keys: &[std::path::PathBuf], to: Option<&Path>) -> Result<()> {
    let text = text(path, "`stecker trust new --help` shows such a document")?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let document: std::result::Result<RootDocument, String> = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    let document = document.map_err(|error| refused(path, error.trim()))?;
    let keys = keys
        .iter()
        .map(|path| key::secret(path))
        .collect::<Result<Vec<_>>>()?;
    let signed = document
        .sign(&keys.iter().collect::<Vec<_>>())
        .map_err(|error| refused(path, &error))?;
    let json = signed.to_json();
    let Some(to) = to else {
        let mut out = io::stdout().lock();
        writeln!(out, "{json}")?;
        return Ok(());
    };
    fs::write(to, &json).map_err(|error| file("write", to, error, "give another `--output`"))?;
    let done = Signed {
        version: document.version,
        signatures: keys.len(),
        file: Some(to.display().to_string()),
    };
    output.answer(&done, |page| {
        page.line(format!(
            "{} version {} by {} key(s): {}",
            good("signed"),
            done.version,
            done.signatures,
            to.display()
        ));
    })?;
    Ok(())
}

fn countersign(output: Output, path: &Path, key: &Path) -> Result<()> {
    let text = text(path, "`stecker trust new` makes signed documents")?;
    let mut envelope =
        Envelope::from_json(text.as_bytes(), MAX_BYTES).map_err(|error| refused(path, &error.to_string()))?;
    let document: RootDocument =
        serde_json::from_slice(&envelope.payload).map_err(|error| refused(path, &error.to_string()))?;
    envelope.add_signature(&key::secret(key)?);
    // Beside it first, so that what is there is never half of it.
    let beside = path.with_extension("new");
    let hint = "the document is as it was";
    fs::write(&beside, envelope.to_json()).map_err(|error| file("write", &beside, error, hint))?;
    fs::rename(&beside, path).map_err(|error| file("replace", path, error, hint))?;
    let done = Signed {
        version: document.version,
        signatures: envelope.signatures.len(),
        file: Some(path.display().to_string()),
    };
    output.answer(&done, |page| {
        page.line(format!(
            "{} version {} has {} signature(s) now",
            good("signed"),
            done.version,
            done.signatures
        ));
    })?;
    Ok(())
}

fn text(path: &Path, hint: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| file("read", path, error, hint))
}

fn refused(path: &Path, reason: &str) -> Failure {
    failed("trust-document", format!("{}: {reason}", path.display())).into()
}
