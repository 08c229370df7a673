//! `stecker plugin publish`, `pull` and `versions`

use std::{
    fs,
    path::{Path, PathBuf},
};

use semver::{Version, VersionReq};
use serde::Serialize;
use stecker_model::{
    Digest,
    api::{AddSignature, Problem},
};
use stecker_registry::{Inspection, PluginName, component};
use stecker_registry_client::{Cache, ClientError, Credentials, Layout, Pulled, Registry, Search};
use stecker_trust::{Bundle, SecretKey};

use super::key;
use crate::{
    args::{AtRegistry, Globals, PublishPlugin, PullPlugin, Versions},
    failure::{Failure, Result, failed, file},
    output::{Output, dim, good, warn},
    progress::Progress,
    target::{self, Target},
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
fn so_far(what: &str, done: u64, all: u64) -> String {
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
async fn offered(registry: &Registry, repository: &str) -> Result<Vec<Version>> {
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

/// What was pulled.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Got {
    release: String,
    component: Digest,
    image: Digest,
    signatures: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    warnings: Vec<String>,
}

/// A name, and what is asked of its version.
pub(crate) fn asked(text: &str) -> Result<(PluginName, VersionReq)> {
    let usage = |reason: String| Failure::Usage(reason);
    let (name, range) = text
        .split_once('@')
        .map_or((text, None), |(name, range)| (name, Some(range)));
    let name = name
        .parse()
        .map_err(|error| usage(format!("`{name}`: {error}")))?;
    let range = match range {
        None => VersionReq::STAR,
        // A complete version is meant as it stands, and not as what is compatible with it.
        Some(range) => match Version::parse(range) {
            Ok(version) => VersionReq::parse(&format!("={version}")),
            Err(_) => VersionReq::parse(range),
        }
        .map_err(|error| usage(format!("`{range}` is no version and no range: {error}")))?,
    };
    Ok((name, range))
}

/// Bytes of what was pulled before, at most.
const CACHE: u64 = 1 << 30;

/// Where what was pulled before is kept, by the XDG Base Directory Specification; none: there is no home folder.
fn cache() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))
        .map(|base| base.join("stecker/registry"))
}

pub(crate) async fn pull(globals: &Globals, output: Output, words: PullPlugin) -> Result<()> {
    let (name, range) = asked(&words.plugin)?;
    if let Some(from) = words.from.clone() {
        return pull_from(globals, output, words, &from, &name, &range).await;
    }
    let mirrors: Vec<Registry> = words
        .mirror
        .iter()
        .map(|mirror| Registry::at(mirror, None).map_err(|error| refused(&error)))
        .collect::<Result<_>>()?;
    let mut registry = registry(globals, output, &words.at)?.with_mirrors(mirrors);
    if let Some(folder) = cache().filter(|_| !words.no_cache) {
        registry = registry.with_cache(Cache::new(folder, CACHE));
    }
    let repository = stecker_package::repository(&words.at.prefix, &name);
    // Who names a version gets it, also if it is no longer offered; the registry warns then.
    let exact = words
        .plugin
        .split_once('@')
        .and_then(|(_, version)| Version::parse(version).ok());
    let versions = match exact {
        Some(version) => vec![version],
        None => offered(&registry, &repository).await?,
    };
    let Some(version) = versions.iter().rev().find(|version| range.matches(version)) else {
        return Err(nothing_in(&registry, &name, &range, &versions).await);
    };
    let release = format!("{name}@{version}");
    let bar = Progress::new(output, &format!("pulling {release}"));
    let tell = |done, all| bar.say(&so_far(&release, done, all));
    let tag = stecker_package::tag(&version.to_string());
    if let Some(to) = words.to {
        let layout = registry
            .fetch(&repository, &tag, &tell)
            .await
            .map_err(|error| refused(&error))?;
        drop(bar);
        is_it(&layout.component, &name, version)?;
        layout.write(&to).map_err(|error| refused(&error))?;
        let got = Got {
            release,
            component: component::digest(&layout.component),
            image: component::digest(&layout.image),
            signatures: layout.bundles().len(),
            file: Some(to),
            warnings: layout.warnings,
        };
        return tell_got(output, &got, "pulled");
    }
    let pulled = registry
        .pull(&repository, &tag, &tell)
        .await
        .map_err(|error| refused(&error))?;
    drop(bar);
    is_it(&pulled.component, &name, version)?;
    keep(globals, output, words, &name, version, pulled).await
}

/// The release of an image layout. Which it is, the component says.
async fn pull_from(
    globals: &Globals,
    output: Output,
    words: PullPlugin,
    from: &Path,
    name: &PluginName,
    range: &VersionReq,
) -> Result<()> {
    let tag = words
        .plugin
        .split_once('@')
        .filter(|(_, version)| Version::parse(version).is_ok())
        .map(|(_, version)| stecker_package::tag(version));
    let layout = Layout::read(from, tag.as_deref()).map_err(|error| refused(&error))?;
    let inspection = stecker_registry::inspect(&layout.component)
        .map_err(|error| failed("not-a-plugin", format!("{}: {error}", from.display())))?;
    let manifest = inspection.manifest;
    if manifest.name != *name || !range.matches(&manifest.version) {
        let detail = format!(
            "{} holds {}@{}, which is not within {name}@{range}; nothing of it was kept",
            from.display(),
            manifest.name,
            manifest.version
        );
        return Err(failed("other-release", detail).into());
    }
    let pulled = Pulled {
        bundles: layout.bundles(),
        image: component::digest(&layout.image),
        digest: inspection.digest,
        component: layout.component,
        warnings: Vec::new(),
    };
    keep(globals, output, words, name, &manifest.version, pulled).await
}

/// Puts what came where it was asked for.
async fn keep(
    globals: &Globals,
    output: Output,
    words: PullPlugin,
    name: &PluginName,
    version: &Version,
    pulled: Pulled,
) -> Result<()> {
    let mut got = Got {
        release: format!("{name}@{version}"),
        component: pulled.digest.clone(),
        image: pulled.image,
        signatures: pulled.bundles.len(),
        file: None,
        warnings: pulled.warnings,
    };
    if words.install {
        install(globals, output, pulled.component, &pulled.digest, &pulled.bundles).await?;
    } else {
        let usual = || PathBuf::from(format!("{}-{version}.wasm", name.to_string().replace('/', "-")));
        let path = words.output.unwrap_or_else(usual);
        write(&path, &pulled.component)?;
        for (number, bundle) in pulled.bundles.iter().enumerate() {
            write(
                &path.with_extension(format!("{}.sigstore.json", number + 1)),
                bundle,
            )?;
        }
        got.file = Some(path);
    }
    tell_got(output, &got, if words.install { "installed" } else { "pulled" })
}

fn tell_got(output: Output, got: &Got, word: &str) -> Result<()> {
    output.answer(got, |page| {
        let signatures = dim(&format!("({} signature(s))", got.signatures));
        page.line(format!("{} {} {signatures}", good(word), got.release));
        page.field("component", got.component.as_str());
        if let Some(path) = &got.file {
            page.field("file", path.display().to_string());
        }
        for warning in &got.warnings {
            page.line(warn(warning));
        }
    })?;
    Ok(())
}

/// Why nothing is within a range. What was yanked is named: whoever needs it can ask for exactly that.
async fn nothing_in(
    registry: &Registry,
    name: &PluginName,
    range: &VersionReq,
    offered: &[Version],
) -> Failure {
    let search = Search {
        name: Some(name.clone()),
        ..Search::default()
    };
    // A registry of another make does not say; then there is no more to be said.
    let all = registry.releases(&search).await.unwrap_or_default();
    let yanked: Vec<String> = all
        .iter()
        .filter(|release| range.matches(&release.version))
        .filter_map(|release| {
            let yank = release.yanked.as_ref()?;
            Some(format!("{} was yanked ({})", release.version, yank.reason))
        })
        .collect();
    if !yanked.is_empty() {
        return failed(
            "yanked",
            format!(
                "no release of {name} within `{range}` is offered: {}",
                yanked.join("; ")
            ),
        )
        .with_hint("choose another range, or name the version exactly, which pulls it with a warning")
        .into();
    }
    let there: Vec<String> = offered.iter().map(ToString::to_string).collect();
    failed(
        "no-release",
        format!(
            "no release of {name} is within `{range}`; there are {}",
            there.join(", ")
        ),
    )
    .into()
}

/// A registry may give one plugin for another; the component says which it is.
fn is_it(component: &[u8], name: &PluginName, version: &Version) -> Result<()> {
    let inspection = stecker_registry::inspect(component)
        .map_err(|error| failed("not-a-plugin", format!("what the registry gave: {error}")))?;
    let manifest = &inspection.manifest;
    if manifest.name == *name && manifest.version == *version {
        return Ok(());
    }
    Err(failed(
        "other-release",
        format!(
            "the registry gave {}@{} for {name}@{version}; nothing of it was kept",
            manifest.name, manifest.version
        ),
    )
    .into())
}

/// Signatures first: a tenant that asks for them does not take the release without.
async fn install(
    globals: &Globals,
    output: Output,
    component: Vec<u8>,
    digest: &Digest,
    bundles: &[Vec<u8>],
) -> Result<()> {
    let target = Target::find(globals, output, "stecker plugin pull --install").await?;
    let operations = target.operations();
    let installing = async {
        for bundle in bundles {
            let bundle = String::from_utf8(bundle.clone())
                .map_err(|error| failed("signature", format!("a signature is no text: {error}")))?;
            operations
                .add_signature(&AddSignature {
                    component: digest.clone(),
                    bundle,
                })
                .await?;
        }
        let progress = Progress::new(output, "adding it to the host");
        operations.add_release(component).await?;
        drop(progress);
        Ok::<_, Problem>(())
    };
    let installed = installing.await;
    target.close().await;
    Ok(installed?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // Beside it first, so that what is there is never half of it.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = path.with_file_name(name);
    let hint = "give another `--output`";
    fs::write(&beside, bytes).map_err(|error| file("write", &beside, error, hint))?;
    fs::rename(&beside, path).map_err(|error| file("write", path, error, hint))
}
