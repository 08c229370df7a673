//! `stecker plugin pull`: a release out of a registry or an image layout, into a file, a layout or the host.

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
use stecker_registry::{PluginName, component};
use stecker_registry_client::{Cache, Layout, Pulled, Registry, Search};

use super::publish::{offered, refused, registry, so_far};
use crate::{
    args::{Globals, PullPlugin},
    failure::{Failure, Result, failed, file},
    output::{Output, dim, good, warn},
    progress::Progress,
    target::Target,
};

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
