//! `stecker plugin search`, `info`, `yank`, `unyank`, `deprecate` and `undeprecate`: what is to be known of releases in a registry, and said about them.

use stecker_package::{DeprecateRelease, ListedRelease, ReleaseDetail};
use stecker_registry_client::{ClientError, Search};

use super::{
    publish::{refused, registry},
    pull::asked,
};
use crate::{
    args::{DeprecatePlugin, Globals, InfoOf, ReleaseOf, SearchPlugins, YankPlugin},
    failure::{Failure, Result, failed},
    output::{Output, Page, bad, dim, good, warn},
};

pub(crate) async fn search(globals: &Globals, output: Output, words: SearchPlugins) -> Result<()> {
    let registry = registry(globals, output, &words.at)?;
    let search = Search {
        words: words.words.join(" "),
        name: None,
        most: Some(words.limit),
    };
    let found = registry
        .releases(&search)
        .await
        .map_err(|error| refused(&error))?;
    output.answer(&found, |page| {
        if found.is_empty() {
            return page.line(match search.words.as_str() {
                "" => {
                    "the registry has no releases yet; `stecker plugin publish FILE` publishes one".to_owned()
                }
                words => format!("no plugin has `{words}` in its name, title or description"),
            });
        }
        let mut rows = Vec::new();
        for of_plugin in found.chunk_by(|a, b| a.name == b.name) {
            // Ascending: the last one that is offered is the newest.
            let offered = of_plugin.iter().rev().find(|release| release.yanked.is_none());
            let Some(shown) = offered.or(of_plugin.last()) else {
                continue;
            };
            rows.push(vec![
                shown.name.to_string(),
                shown.version.to_string(),
                of_plugin.len().to_string(),
                shown.title.clone(),
                state(shown),
            ]);
        }
        page.table(&["PLUGIN", "NEWEST", "RELEASES", "TITLE", ""], &rows);
        if found.len() >= words.limit {
            page.line(dim(
                "there may be more; `--limit` says how many releases are looked at",
            ));
        }
    })?;
    Ok(())
}

/// What is to be said of a release in a word.
fn state(release: &ListedRelease) -> String {
    match (&release.yanked, &release.deprecated) {
        (Some(_), _) => bad("yanked"),
        (None, Some(deprecated)) => match deprecated.deadline {
            Some(deadline) => warn(&format!("deprecated until {deadline}")),
            None => warn("deprecated"),
        },
        (None, None) => String::new(),
    }
}

pub(crate) async fn info(globals: &Globals, output: Output, words: InfoOf) -> Result<()> {
    let (name, range) = asked(&words.plugin)?;
    let registry = registry(globals, output, &words.at)?;
    let search = Search {
        name: Some(name.clone()),
        ..Search::default()
    };
    let all = registry
        .releases(&search)
        .await
        .map_err(|error| refused(&error))?;
    // What is not offered any more is shown to whoever asks, where nothing else fits.
    let fitting = || all.iter().rev().filter(|release| range.matches(&release.version));
    let found = fitting()
        .find(|release| release.yanked.is_none())
        .or_else(|| fitting().next());
    let Some(found) = found else {
        let there: Vec<String> = all.iter().map(|release| release.version.to_string()).collect();
        let there = match there.as_slice() {
            [] => "there is none at all".to_owned(),
            there => format!("there are {}", there.join(", ")),
        };
        return Err(failed(
            "no-release",
            format!("no release of {name} is within `{range}`; {there}"),
        )
        .with_hint("`stecker plugin search` lists what there is")
        .into());
    };
    let detail = registry
        .release(&name, &found.version)
        .await
        .map_err(|error| refused(&error))?;
    output.answer(&detail, |page| show(page, &detail))?;
    Ok(())
}

fn show(page: &mut Page, detail: &ReleaseDetail) {
    let listed = &detail.listed;
    page.field("plugin", format!("{}@{}", listed.name, listed.version));
    page.field("title", &listed.title);
    page.field("description", &listed.description);
    if let Some(yanked) = &listed.yanked {
        page.field("yanked", bad(&format!("{} ({})", yanked.reason, day(yanked.at))));
    }
    if let Some(deprecated) = &listed.deprecated {
        let by = deprecated
            .deadline
            .map_or_else(String::new, |deadline| format!(" (until {deadline})"));
        page.field("deprecated", warn(&format!("{}{by}", deprecated.message)));
    }
    page.field("published", day(listed.published));
    page.field("component", detail.component.as_str());
    page.field("image", listed.image.as_str());
    page.field("size", format!("{} KiB", detail.size / 1_024));
    page.field("contract", detail.contract.to_string());
    page.field("roles", detail.roles.join(" "));
    for http in &detail.capabilities.http {
        let hosts: Vec<String> = http.hosts.iter().map(ToString::to_string).collect();
        page.field("asks for", format!("{} {}", hosts.join(" "), dim(&http.purpose)));
    }
    page.field("credentials", detail.credentials.join(" "));
    for upstream in &detail.upstream {
        let until = match upstream.sunset.map(stecker_registry::manifest::Sunset::date) {
            Some(Some(date)) => warn(&format!("ends on {date}")),
            Some(None) => "no end announced".to_owned(),
            None => "its end is not known".to_owned(),
        };
        page.field(
            "upstream",
            format!("{} {}: {until}", upstream.system, upstream.api_version),
        );
    }
    for breaking in &detail.breaking {
        page.field("breaks", &breaking.message);
    }
    for signature in &detail.signatures {
        let key = signature.key.as_deref().unwrap_or("a key that it does not name");
        page.field("signed by", format!("{key} {}", dim(&signature.kind)));
    }
}

fn day(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

pub(crate) async fn yank(globals: &Globals, output: Output, words: YankPlugin) -> Result<()> {
    let registry = registry(globals, output, &words.of.at)?;
    let release = &words.of.release;
    let changed = registry
        .yank(&release.name, &release.version, &words.reason)
        .await;
    told(output, changed, "yanked")
}

pub(crate) async fn unyank(globals: &Globals, output: Output, words: ReleaseOf) -> Result<()> {
    let registry = registry(globals, output, &words.at)?;
    let changed = registry.unyank(&words.release.name, &words.release.version).await;
    told(output, changed, "offered again:")
}

pub(crate) async fn deprecate(globals: &Globals, output: Output, words: DeprecatePlugin) -> Result<()> {
    let registry = registry(globals, output, &words.of.at)?;
    let release = &words.of.release;
    let deprecation = DeprecateRelease {
        message: words.message,
        deadline: words.deadline,
    };
    let changed = registry
        .deprecate(&release.name, &release.version, &deprecation)
        .await;
    told(output, changed, "deprecated")
}

pub(crate) async fn undeprecate(globals: &Globals, output: Output, words: ReleaseOf) -> Result<()> {
    let registry = registry(globals, output, &words.at)?;
    let changed = registry
        .undeprecate(&words.release.name, &words.release.version)
        .await;
    told(output, changed, "not deprecated any more:")
}

fn told(output: Output, changed: Result<ReleaseDetail, ClientError>, word: &str) -> Result<()> {
    let detail = changed.map_err(|error| -> Failure { refused(&error) })?;
    let listed = &detail.listed;
    output.answer(listed, |page| {
        page.line(format!("{} {}@{}", good(word), listed.name, listed.version));
    })?;
    Ok(())
}
