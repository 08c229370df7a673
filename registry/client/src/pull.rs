//! Pulling a release, and what is said about it.

use std::collections::BTreeSet;

use bytes::Bytes;
use reqwest::{Method, header};
use stecker_model::Digest;
use stecker_package::{BUNDLE, IMAGE_MANIFEST, MANIFEST, MAX_MANIFEST, about_of, layer_of, referrers_of};
use stecker_registry::component::digest;
use url::Url;

use crate::{
    Progress,
    client::{Registry, TRIES, network, pause, read},
    error::ClientError,
    layout::{Beside, Layout, config_of},
    push::warnings,
};

/// Bytes of a component, at most.
pub(crate) const COMPONENT: u64 = 64 * 1024 * 1024;
/// Bytes of a signature, at most.
pub(crate) const SIGNATURE: u64 = 1024 * 1024;
/// Signatures of a release that are fetched, at most.
pub(crate) const SIGNATURES: usize = 32;
/// Pages of a list, at most.
const PAGES: usize = 1_000;

/// A release as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The component, whose digest is what the manifest said.
    pub component: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Of the image manifest.
    pub image: Digest,
    /// Sigstore bundles about it, as they came: nothing is verified by that.
    pub bundles: Vec<Vec<u8>>,
    /// What the registry warns of: that it was yanked, or is deprecated.
    pub warnings: Vec<String>,
}

impl Registry {
    /// The tags of a repository, as the registry lists them: without yanked releases, where it knows of such a thing.
    ///
    /// # Errors
    /// [`ClientError::NotThere`] for a repository in which nothing was published; others.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        let error = match self.tags_here(repository).await {
            Err(error) if error.passes_by_itself() => error,
            answered => return answered,
        };
        for mirror in &self.mirrors {
            if let Ok(tags) = mirror.tags_here(repository).await {
                return Ok(tags);
            }
        }
        Err(error)
    }

    async fn tags_here(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let scope = scope(repository);
        let mut all = BTreeSet::new();
        let mut next = Some(self.url(repository, "tags/list")?);
        for _ in 0..PAGES {
            let Some(url) = next else { break };
            let answer = self
                .send(Method::GET, url.clone(), &scope, repository, |request| request)
                .await?;
            let answer = self.good(answer, repository).await?;
            next = link(&answer, &url);
            let bytes = read(answer, MAX_MANIFEST as u64, repository).await?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer {
                what: format!("the tags of {repository}"),
                reason: error.to_string(),
            })?;
            all.extend(page.tags.unwrap_or_default());
        }
        Ok(all.into_iter().collect())
    }

    /// A release by its tag or its digest.
    ///
    /// # Errors
    /// [`ClientError`]; nothing that was not asked for is given.
    pub async fn pull(
        &self,
        repository: &str,
        reference: &str,
        progress: Progress<'_>,
    ) -> Result<Pulled, ClientError> {
        let what = format!("{repository}:{reference}");
        let (manifest, warnings) = self.manifest(repository, reference).await?;
        let image = digest(&manifest);
        if let Ok(wanted) = reference.parse::<Digest>()
            && wanted != image
        {
            return Err(ClientError::Digest { wanted, found: image });
        }
        let layer = layer_of(&manifest).map_err(|reason| ClientError::NotARelease {
            what: what.clone(),
            reason,
        })?;
        let component = self.blob(repository, &layer.digest, COMPONENT, progress).await?;
        Ok(Pulled {
            component,
            digest: layer.digest,
            bundles: self.bundles(repository, &image).await?,
            image,
            warnings,
        })
    }

    /// A release by its tag, with all that belongs to it as it lies in the registry.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn fetch(
        &self,
        repository: &str,
        tag: &str,
        progress: Progress<'_>,
    ) -> Result<Layout, ClientError> {
        let what = format!("{repository}:{tag}");
        let (image, warnings) = self.manifest(repository, tag).await?;
        let layer = layer_of(&image).map_err(|reason| ClientError::NotARelease {
            what: what.clone(),
            reason,
        })?;
        let config = config_of(&image).ok_or_else(|| ClientError::Answer {
            what,
            reason: "the manifest has no configuration".to_owned(),
        })?;
        let named = digest(&image);
        let mut beside = self.about(repository, &named, BUNDLE).await?;
        beside.extend(self.about(repository, &named, MANIFEST).await?);
        Ok(Layout {
            tag: tag.to_owned(),
            config: self.blob(repository, &config, SIGNATURE, &|_, _| {}).await?,
            component: self.blob(repository, &layer.digest, COMPONENT, progress).await?,
            image,
            beside,
            warnings,
        })
    }

    /// A manifest, and what is warned of. Whatever a mirror says, a digest is a digest; what it says of a tag only counts while nobody else can be asked.
    async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<(Vec<u8>, Vec<String>), ClientError> {
        let error = match self.manifest_here(repository, reference).await {
            Err(error) if error.passes_by_itself() => error,
            answered => return answered,
        };
        let wanted = reference.parse::<Digest>().ok();
        for mirror in &self.mirrors {
            let Ok((manifest, mut warnings)) = mirror.manifest_here(repository, reference).await else {
                continue;
            };
            match &wanted {
                Some(wanted) if digest(&manifest) != *wanted => continue,
                Some(_) => {}
                None => warnings.push(format!(
                    "{} could not be reached: that {reference} is this is what the mirror {} says",
                    self.address(),
                    mirror.address()
                )),
            }
            return Ok((manifest, warnings));
        }
        Err(error)
    }

    async fn manifest_here(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<(Vec<u8>, Vec<String>), ClientError> {
        let what = format!("{repository}:{reference}");
        let url = self.url(repository, &format!("manifests/{reference}"))?;
        let answer = self
            .send(Method::GET, url, &scope(repository), &what, |request| {
                request.header(header::ACCEPT, IMAGE_MANIFEST)
            })
            .await?;
        let answer = self.good(answer, &what).await?;
        let warnings = warnings(&answer);
        Ok((read(answer, MAX_MANIFEST as u64, &what).await?.to_vec(), warnings))
    }

    /// The signatures of a release (Sigstore bundles) by the digest of its image, as they lie there: nothing is verified by that. A registry that knows no
    /// referrers has none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bundles(&self, repository: &str, image: &Digest) -> Result<Vec<Vec<u8>>, ClientError> {
        let about = self.about(repository, image, BUNDLE).await?;
        Ok(about.into_iter().map(|beside| beside.content).collect())
    }

    /// What is said about a release, of one kind.
    async fn about(&self, repository: &str, image: &Digest, kind: &str) -> Result<Vec<Beside>, ClientError> {
        let what = format!("what is said about {repository}@{image}");
        let mut url = self.url(repository, &format!("referrers/{image}"))?;
        url.query_pairs_mut().append_pair("artifactType", kind);
        let index = match self.index(repository, url, &what).await {
            Err(error) if error.passes_by_itself() => {
                self.mirrored_index(repository, image, kind).await.ok_or(error)?
            }
            answered => answered?,
        };
        let Some(index) = index else {
            return Ok(Vec::new());
        };
        let wrong = |reason| ClientError::NotARelease {
            what: what.clone(),
            reason,
        };
        let mut said = Vec::new();
        for referrer in referrers_of(&index, kind).map_err(wrong)?.iter().take(SIGNATURES) {
            let (manifest, _) = self.manifest(repository, referrer.digest.as_str()).await?;
            let found = digest(&manifest);
            if found != referrer.digest {
                return Err(ClientError::Digest {
                    wanted: referrer.digest.clone(),
                    found,
                });
            }
            // Whoever may push can put anything beside a release; that must not keep others from it.
            let Ok(about) = about_of(&manifest, kind) else {
                continue;
            };
            let content = self
                .blob(repository, &about.digest, SIGNATURE, &|_, _| {})
                .await?;
            said.push(Beside {
                kind: kind.to_owned(),
                manifest,
                content,
            });
        }
        Ok(said)
    }

    /// An index of referrers; none: the registry knows no referrers.
    async fn index(&self, repository: &str, url: Url, what: &str) -> Result<Option<Bytes>, ClientError> {
        let answer = self
            .send(Method::GET, url, &scope(repository), what, |request| request)
            .await?;
        match self.good(answer, what).await {
            Ok(answer) => read(answer, MAX_MANIFEST as u64, what).await.map(Some),
            Err(ClientError::NotThere { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The index of a mirror: signatures are verified by whoever loads the release, wherever they are from.
    async fn mirrored_index(&self, repository: &str, image: &Digest, kind: &str) -> Option<Option<Bytes>> {
        for mirror in &self.mirrors {
            let mut url = mirror.url(repository, &format!("referrers/{image}")).ok()?;
            url.query_pairs_mut().append_pair("artifactType", kind);
            if let Ok(index) = mirror.index(repository, url, "the mirror").await {
                return Some(index);
            }
        }
        None
    }

    /// A blob: out of the cache, from a mirror, or from the registry.
    async fn blob(
        &self,
        repository: &str,
        wanted: &Digest,
        most: u64,
        progress: Progress<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        if let Some(bytes) = self.cache.as_ref().and_then(|cache| cache.get(wanted, most)) {
            progress(bytes.len() as u64, bytes.len() as u64);
            return Ok(bytes);
        }
        let mut found = None;
        for mirror in &self.mirrors {
            // Whatever is wrong with a mirror, there is somebody else to ask.
            found = mirror.blob_here(repository, wanted, most, 0, progress).await.ok();
            if found.is_some() {
                break;
            }
        }
        let bytes = match found {
            Some(bytes) => bytes,
            None => self.blob_here(repository, wanted, most, TRIES, progress).await?,
        };
        if let Some(cache) = &self.cache {
            cache.put(wanted, &bytes);
        }
        Ok(bytes)
    }

    /// A blob: what broke off goes on where it was, and the whole has the digest that was asked for.
    async fn blob_here(
        &self,
        repository: &str,
        wanted: &Digest,
        most: u64,
        tries: u32,
        progress: Progress<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        let what = format!("{repository}@{wanted}");
        let url = self.url(repository, &format!("blobs/{wanted}"))?;
        let mut bytes = Vec::new();
        let mut failures = 0;
        loop {
            let before = bytes.len();
            match self
                .go_on(&url, repository, &what, most, &mut bytes, progress)
                .await
            {
                Ok(()) => break,
                Err(error) if error.passes_by_itself() => {
                    failures = if bytes.len() > before { 1 } else { failures + 1 };
                    if failures > tries {
                        return Err(error);
                    }
                    pause(failures).await;
                }
                Err(error) => return Err(error),
            }
        }
        let found = digest(&bytes);
        if found == *wanted {
            Ok(bytes)
        } else {
            Err(ClientError::Digest {
                wanted: wanted.clone(),
                found,
            })
        }
    }

    /// From where `bytes` ends to the end.
    async fn go_on(
        &self,
        url: &Url,
        repository: &str,
        what: &str,
        most: u64,
        bytes: &mut Vec<u8>,
        progress: Progress<'_>,
    ) -> Result<(), ClientError> {
        use futures_util::StreamExt as _;

        let from = bytes.len();
        let answer = self
            .send(Method::GET, url.clone(), &scope(repository), what, |request| {
                if from == 0 {
                    request
                } else {
                    request.header(header::RANGE, format!("bytes={from}-"))
                }
            })
            .await?;
        let answer = self.good(answer, what).await?;
        if answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            // It gives the whole again.
            bytes.clear();
        }
        let all = answer
            .content_length()
            .map_or(0, |rest| rest.saturating_add(bytes.len() as u64));
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| network(what, &error))?;
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(ClientError::TooLarge {
                    what: what.to_owned(),
                    most,
                });
            }
            bytes.extend_from_slice(&piece);
            progress(bytes.len() as u64, all.max(bytes.len() as u64));
        }
        Ok(())
    }
}

fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// The next page (RFC 8288).
fn link(answer: &reqwest::Response, url: &Url) -> Option<Url> {
    let value = answer.headers().get(header::LINK)?.to_str().ok()?;
    let (target, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    parameters
        .contains("rel=\"next\"")
        .then(|| url.join(target).ok())?
}
