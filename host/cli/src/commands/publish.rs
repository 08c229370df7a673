//! `stecker plugin publish` and `versions`, and which registry is meant

use std::fs;

use semver::Version;
use serde::Serialize;
use stecker_model::Digest;
use stecker_registry::Inspection;
use stecker_registry_client::{ClientError, Credentials, Layout, Registry};
use stecker_trust::{Bundle, SecretKey};

use super::key;
use crate::{
    args::{AtRegistry, Globals, PublishPlugin, Versions},
    failure::{Failure, Result, failed, file},
    output::{Output, good, warn},
    progress::Progress,
    target,
};

/// The registry that is named; else the one of the host that is named or runs in the data folder, as whom that knows; else the usual one here.
pub(crate) fn registry(globals: &Globals, output: Output, at: &AtRegistry) -> Result<Registry> {
    const USUAL: &str = "http://127.0.0.1:7421";
    stecker_server::install_crypto();
    let named = at
        .registry
        .clone()
        .map(|registry| (registry, Credentials::of_environment()));
    let (address, credentials) = match named {
        Some(named) => named,
        None => match target::server(globals)? {
            Some((url, token)) => (url, Some(Credentials::Token(token.into()))),
            None => (USUAL.to_owned(), Credentials::of_environment()),
        },
    };
    let registry = Registry::at(&address, credentials).map_err(|error| refused(&error))?;
    if registry.is_exposed() {
        output.note(&warn(
            "warning: the password or token goes to that registry without encryption; use https",
        ));
    }
    Ok(registry)
}

pub(crate) fn refused(error: &ClientError) -> Failure {
    failed("registry", error.to_string()).into()
}

/// `12.3 of 45.0 MiB`, for a line of progress.
pub(super) fn so_far(what: &str, done: u64, all: u64) -> String {
    let tenths = |bytes: u64| format!("{}.{}", bytes / (1 << 20), bytes % (1 << 20) * 10 / (1 << 20));
    format!("{what}: {} of {} MiB", tenths(done), tenths(all))
}

/// What was published, or would be.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Published {
    release: String,
    registry: String,
    component: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Digest>,
    signatures: usize,
    warnings: Vec<String>,
}

pub(crate) async fn publish(globals: &Globals, output: Output, words: PublishPlugin) -> Result<()> {
    let (bytes, mut bundles, from) = match (&words.file, &words.from) {
        (_, Some(from)) => {
            let layout = Layout::read(from, None).map_err(|error| refused(&error))?;
            let bundles = layout.bundles();
            (layout.component, bundles, from)
        }
        (Some(path), None) => {
            let hint = "`stecker plugin build` makes components";
            let bytes = fs::read(path).map_err(|error| file("read", path, error, hint))?;
            (bytes, Vec::new(), path)
        }
        (None, None) => return Err(Failure::Usage("give a component, or `--from`".to_owned())),
    };
    let inspection = stecker_registry::inspect(&bytes)
        .map_err(|error| failed("not-a-plugin", format!("{}: {error}", from.display())))?;
    for path in &words.bundle {
        let bundle =
            fs::read(path).map_err(|error| file("read", path, error, "`stecker sign` makes signatures"))?;
        bundles.push(bundle);
    }
    let registry = registry(globals, output, &words.at)?;
    if let Some(path) = &words.sign_with {
        let key = key::secret(path)?;
        // Every signature has its moment in it, so a second one by the same key would be another one that says nothing new.
        let is_signed =
            !words.dry_run && is_signed(&registry, &words.at.prefix, &inspection, &bytes, &key).await?;
        if !is_signed {
            bundles.push(key::bundle(&inspection, &key).into_bytes());
        }
    }
    let mut published = Published {
        release: format!("{}@{}", inspection.manifest.name, inspection.manifest.version),
        registry: registry.address(),
        component: inspection.digest.clone(),
        image: None,
        signatures: bundles.len(),
        warnings: Vec::new(),
    };
    if !words.dry_run {
        let bar = Progress::new(output, &format!("publishing {}", published.release));
        let tell = |done, all| bar.say(&so_far(&published.release, done, all));
        let pushed = registry
            .publish(&words.at.prefix, &inspection, bytes.into(), &bundles, &tell)
            .await
            .map_err(|error| refused(&error))?;
        drop(bar);
        published.image = Some(pushed.image);
        published.warnings = pushed.warnings;
    }
    output.answer(&published, |page| {
        let word = if words.dry_run {
            warn("would publish")
        } else {
            good("published")
        };
        page.line(format!("{word} {} at {}", published.release, published.registry));
        page.field("component", published.component.as_str());
        if let Some(image) = &published.image {
            page.field("image", image.as_str());
        }
        page.field("signatures", published.signatures.to_string());
        for warning in &published.warnings {
            page.line(warn(warning));
        }
    })?;
    Ok(())
}

/// Whether the registry has a signature of a release by this key.
async fn is_signed(
    registry: &Registry,
    prefix: &str,
    inspection: &Inspection,
    component: &[u8],
    key: &SecretKey,
) -> Result<bool> {
    let repository = stecker_package::repository(prefix, &inspection.manifest.name);
    let image = stecker_package::Release::of(inspection).manifest.digest;
    let bundles = match registry.bundles(&repository, &image).await {
        Ok(bundles) => bundles,
        Err(error) => return Err(refused(&error)),
    };
    let subject = key::subject(inspection);
    Ok(bundles.iter().any(|bundle| {
        Bundle::from_json(bundle)
            .is_ok_and(|bundle| bundle.verify(&subject, Some(component), key.public()).is_ok())
    }))
}

/// The releases of a plugin that are offered, ascending.
pub(super) async fn offered(registry: &Registry, repository: &str) -> Result<Vec<Version>> {
    let tags = registry.tags(repository).await.map_err(|error| refused(&error))?;
    let mut versions: Vec<Version> = tags
        .iter()
        .filter_map(|tag| Version::parse(&tag.replace('_', "+")).ok())
        .collect();
    versions.sort();
    Ok(versions)
}

pub(crate) async fn versions(globals: &Globals, output: Output, words: Versions) -> Result<()> {
    let registry = registry(globals, output, &words.at)?;
    let repository = stecker_package::repository(&words.at.prefix, &words.plugin);
    let versions = offered(&registry, &repository).await?;
    let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
    output.answer(&texts, |page| {
        for version in &texts {
            page.line(version);
        }
    })?;
    Ok(())
}
