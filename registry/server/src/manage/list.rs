//! Finding releases. A list is looked through in the order of the database, from a place on, and each request looks at a bounded number.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Query, Request, State},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use stecker_distribution::{Action, ApiError, Asker, Listed, RepositoryName, Tag};
use stecker_package::{ListedRelease, ReleasePage};
use stecker_registry::PluginName;

use super::{Manage, bad_request, json, listed};

/// Releases on a page, at most.
const PAGE: u32 = 200;
/// Releases that are looked at for a page, at most; and how many of them at once.
const LOOKED_AT: usize = 20_000;
const AT_ONCE: u32 = 500;
/// Words that are searched for, at most.
const WORDS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Words that all have to be in name, title or description.
    #[serde(default)]
    q: String,
    /// One plugin.
    name: Option<String>,
    /// How many.
    n: Option<u32>,
    /// Behind which, as the page before said.
    #[serde(default)]
    last: String,
}

pub(super) async fn list(
    State(manage): State<Arc<Manage>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let found = async {
        let Query(wanted) = wanted.map_err(|error| {
            bad_request(format!(
                "{}; `q`, `name`, `n` and `last` are known",
                error.body_text()
            ))
        })?;
        let asker = manage.http.asker(&parts).await?;
        json(&page(&manage, &asker, &wanted).await?)
    };
    found
        .await
        .unwrap_or_else(|error: ApiError| error.into_response())
}

async fn page(manage: &Manage, asker: &Asker<'_>, wanted: &Wanted) -> Result<ReleasePage, ApiError> {
    let most = wanted.n.unwrap_or(PAGE).clamp(1, PAGE) as usize;
    let words: Vec<String> = wanted
        .q
        .split_whitespace()
        .take(WORDS)
        .map(str::to_lowercase)
        .collect();
    let (mut behind, only) = start(manage, wanted)?;
    let mut rights: HashMap<RepositoryName, bool> = HashMap::new();
    let (mut releases, mut looked_at, mut hidden) = (Vec::new(), 0, false);
    loop {
        let place = behind.as_ref().map(|(repository, tag)| (repository, tag));
        let some = manage.http.registry.all_releases(place, AT_ONCE).await?;
        let is_end = some.len() < AT_ONCE as usize;
        for entry in some {
            if only.as_ref().is_some_and(|only| entry.repository != *only) {
                return end(asker, releases, hidden);
            }
            let place = (entry.repository.clone(), entry.release.tag.clone());
            looked_at += 1;
            let may = match rights.get(&entry.repository) {
                Some(may) => *may,
                None => {
                    let may = asker.may(&entry.repository, Action::Pull).await?;
                    rights.insert(entry.repository.clone(), may);
                    may
                }
            };
            hidden |= !may;
            if let Some(listed) = may.then(|| one(manage, &words, &entry)).flatten() {
                releases.push(listed?);
            }
            if releases.len() == most || looked_at == LOOKED_AT {
                let next = Some(format!("{}@{}", place.0, place.1));
                return Ok(ReleasePage { releases, next });
            }
            behind = Some(place);
        }
        if is_end {
            return end(asker, releases, hidden);
        }
    }
}

/// Who sees nothing because nobody knows who they are is asked, rather than told that there is nothing.
fn end(asker: &Asker<'_>, releases: Vec<ListedRelease>, hidden: bool) -> Result<ReleasePage, ApiError> {
    if releases.is_empty() && hidden {
        asker.require_known()?;
    }
    Ok(ReleasePage { releases, next: None })
}

type Place = (RepositoryName, Tag);

/// Where to begin, and the only repository that counts.
fn start(manage: &Manage, wanted: &Wanted) -> Result<(Option<Place>, Option<RepositoryName>), ApiError> {
    let only = wanted.name.as_ref().map(|name| {
        let name: PluginName = name
            .parse()
            .map_err(|error| bad_request(format!("`{name}` is no name of a plugin: {error}")))?;
        stecker_package::repository(&manage.prefix, &name)
            .parse::<RepositoryName>()
            .map_err(|error| bad_request(error.to_string()))
    });
    let only = only.transpose()?;
    if wanted.last.is_empty() {
        // The smallest tag there is: nothing of the repository is before it.
        let first = only.clone().zip("0".parse().ok());
        return Ok((first, only));
    }
    let place = wanted
        .last
        .split_once('@')
        .and_then(|(repository, tag)| Some((repository.parse().ok()?, tag.parse().ok()?)));
    match place {
        Some(place) => Ok((Some(place), only)),
        None => Err(bad_request(format!(
            "`last={}` is no place in the list: give what the page before said",
            wanted.last.chars().take(100).collect::<String>()
        ))),
    }
}

/// An entry, if it is of a plugin and has all the words.
fn one(manage: &Manage, words: &[String], entry: &Listed) -> Option<Result<ListedRelease, ApiError>> {
    let name: PluginName = entry
        .repository
        .as_str()
        .strip_prefix(&manage.prefix)?
        .parse()
        .ok()?;
    let version = entry.release.tag.release()?;
    let said = |what: &str| {
        let key = format!("org.opencontainers.image.{what}");
        entry.annotations.get(&key).cloned().unwrap_or_default()
    };
    let (title, description) = (said("title"), said("description"));
    let text = format!("{name} {title} {description}").to_lowercase();
    words
        .iter()
        .all(|word| text.contains(word))
        .then(|| listed(name, version, &entry.release, title, description))
}
