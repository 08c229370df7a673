//! What registries of ours can beside OCI's words: releases are found, looked at, yanked and deprecated (`/registry/v1/`).

use reqwest::{Method, Response, StatusCode, header};
use semver::Version;
use serde::{Serialize, de::DeserializeOwned};
use stecker_package::{DeprecateRelease, ListedRelease, MANAGEMENT, ReleaseDetail, ReleasePage, YankRelease};
use stecker_registry::PluginName;

use crate::{
    client::{Errors, Registry, TRIES, pause, read},
    error::ClientError,
};

/// Bytes of an answer, at most.
const ANSWER: u64 = 16 * 1024 * 1024;
/// Pages of a list, at most.
const PAGES: usize = 1_000;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// Words that all have to be in name, title or description; empty: everything.
    pub words: String,
    /// Only this plugin.
    pub name: Option<PluginName>,
    /// At most so many releases; none: all, up to some 200,000.
    pub most: Option<usize>,
}

impl Registry {
    /// The releases that a registry has, yanked ones too, ascending by name and, within a plugin, by version.
    ///
    /// # Errors
    /// [`ClientError::NoManagement`] for a registry of another make; others.
    pub async fn releases(&self, search: &Search) -> Result<Vec<ListedRelease>, ClientError> {
        let what = "the list of releases";
        let mut found: Vec<ListedRelease> = Vec::new();
        let mut last = String::new();
        for _ in 0..PAGES {
            let mut url = self.place(&format!("{MANAGEMENT}releases"))?;
            url.query_pairs_mut()
                .extend_pairs(Some(("q", &search.words)).filter(|(_, words)| !words.is_empty()))
                .extend_pairs(search.name.as_ref().map(|name| ("name", name.as_str())))
                .extend_pairs(Some(("last", &last)).filter(|(_, last)| !last.is_empty()));
            let scope = search.name.as_ref().map_or_else(
                || "registry:catalog:*".to_owned(),
                |name| format!("repository:{name}:pull"),
            );
            let answer = self.asked(Method::GET, url, &scope, what, None::<&()>).await?;
            let page: ReleasePage = self.told(answer, what).await?;
            found.extend(page.releases);
            if let Some(most) = search.most.filter(|most| found.len() >= *most) {
                found.truncate(most);
                break;
            }
            match page.next {
                // A page that names itself as the next one would never end.
                Some(next) if next != last => last = next,
                _ => break,
            }
        }
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(found)
    }

    /// All about a release.
    ///
    /// # Errors
    /// [`ClientError::NotThere`], [`ClientError::NoManagement`]; others.
    pub async fn release(&self, name: &PluginName, version: &Version) -> Result<ReleaseDetail, ClientError> {
        self.of_release(Method::GET, name, version, "", None::<&()>).await
    }

    /// Takes a release out of what is offered.
    ///
    /// # Errors
    /// As [`Self::release`]; [`ClientError::Unauthorized`] for who may not push there.
    pub async fn yank(
        &self,
        name: &PluginName,
        version: &Version,
        reason: &str,
    ) -> Result<ReleaseDetail, ClientError> {
        let body = YankRelease {
            reason: reason.to_owned(),
        };
        self.of_release(Method::PUT, name, version, "/yanked", Some(&body))
            .await
    }

    /// Offers a yanked release again.
    ///
    /// # Errors
    /// As [`Self::yank`].
    pub async fn unyank(&self, name: &PluginName, version: &Version) -> Result<ReleaseDetail, ClientError> {
        self.of_release(Method::DELETE, name, version, "/yanked", None::<&()>)
            .await
    }

    /// Tells whoever uses a release to move on.
    ///
    /// # Errors
    /// As [`Self::yank`].
    pub async fn deprecate(
        &self,
        name: &PluginName,
        version: &Version,
        deprecation: &DeprecateRelease,
    ) -> Result<ReleaseDetail, ClientError> {
        self.of_release(Method::PUT, name, version, "/deprecated", Some(deprecation))
            .await
    }

    /// Takes a deprecation back.
    ///
    /// # Errors
    /// As [`Self::yank`].
    pub async fn undeprecate(
        &self,
        name: &PluginName,
        version: &Version,
    ) -> Result<ReleaseDetail, ClientError> {
        self.of_release(Method::DELETE, name, version, "/deprecated", None::<&()>)
            .await
    }

    async fn of_release(
        &self,
        method: Method,
        name: &PluginName,
        version: &Version,
        rest: &str,
        body: Option<&impl Serialize>,
    ) -> Result<ReleaseDetail, ClientError> {
        let what = format!("{name}@{version}");
        let url = self.place(&format!("{MANAGEMENT}releases/{name}/{version}{rest}"))?;
        let actions = if method == Method::GET {
            "pull"
        } else {
            "pull,push"
        };
        let scope = format!("repository:{name}:{actions}");
        let answer = self.asked(method, url, &scope, &what, body).await?;
        self.told(answer, &what).await
    }

    /// Each of these requests may be repeated, so what the network swallowed is.
    async fn asked(
        &self,
        method: Method,
        url: url::Url,
        scope: &str,
        what: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response, ClientError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| ClientError::Answer {
                what: what.to_owned(),
                reason: error.to_string(),
            })?;
        let mut failures = 0;
        loop {
            let sent = self
                .send(method.clone(), url.clone(), scope, what, |request| match &body {
                    Some(body) => request
                        .header(header::CONTENT_TYPE, "application/json")
                        .body(body.clone()),
                    None => request,
                })
                .await;
            match sent {
                Err(error) if error.passes_by_itself() && failures < TRIES => {
                    failures += 1;
                    pause(failures).await;
                }
                sent => return sent,
            }
        }
    }

    async fn told<T: DeserializeOwned>(&self, answer: Response, what: &str) -> Result<T, ClientError> {
        if answer.status() == StatusCode::NOT_FOUND {
            let bytes = read(answer, ANSWER, what).await?;
            let says_why = serde_json::from_slice::<Errors>(&bytes).is_ok_and(|said| !said.errors.is_empty());
            return Err(if says_why {
                ClientError::NotThere {
                    what: what.to_owned(),
                }
            } else {
                ClientError::NoManagement {
                    registry: self.address(),
                }
            });
        }
        let answer = self.good(answer, what).await?;
        let bytes = read(answer, ANSWER, what).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer {
            what: what.to_owned(),
            reason: error.to_string(),
        })
    }
}
