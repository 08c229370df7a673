//! Pushing a release, and what is said about it.

use bytes::Bytes;
use reqwest::{Method, StatusCode, header};
use stecker_model::Digest;
use stecker_package::{About, BUNDLE, Blob, IMAGE_MANIFEST, MAX_MANIFEST, Release, repository};
use stecker_registry::Inspection;

use crate::{
    Progress,
    client::{Registry, TRIES, pause},
    error::ClientError,
};

/// Bytes that are sent at once; what breaks off goes on behind the last piece that arrived.
const PIECE: usize = 8 * 1024 * 1024;

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it is.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// Of the image manifest, by which it can be pinned.
    pub image: Digest,
    /// What the registry warns of.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Publishes a component under its own name and version, with its manifest and its signatures (Sigstore bundles, as JSON). What the registry
    /// has already is not sent again, and to publish the same again changes nothing.
    ///
    /// # Errors
    /// [`ClientError`]. Until the release itself is refused or taken, nothing of it is to be seen; what is said about it comes after it.
    pub async fn publish(
        &self,
        prefix: &str,
        inspection: &Inspection,
        component: Bytes,
        bundles: &[Vec<u8>],
        progress: Progress<'_>,
    ) -> Result<Pushed, ClientError> {
        let repository = repository(prefix, &inspection.manifest.name);
        let release = Release::of(inspection);
        self.push_blob(&repository, &release.config, &|_, _| {}).await?;
        let layer = Blob {
            digest: inspection.digest.clone(),
            bytes: component.to_vec(),
        };
        self.push_blob(&repository, &layer, progress).await?;
        let warnings = self
            .push_manifest(&repository, &release.tag, &release.manifest)
            .await?;
        self.push_about(&repository, &release.readable(inspection))
            .await?;
        for bundle in bundles {
            self.push_about(&repository, &release.about(BUNDLE, bundle.clone()))
                .await?;
        }
        Ok(Pushed {
            repository,
            tag: release.tag,
            image: release.manifest.digest,
            warnings,
        })
    }

    async fn push_about(&self, repository: &str, about: &About) -> Result<(), ClientError> {
        for blob in [&about.empty, &about.content] {
            self.push_blob(repository, blob, &|_, _| {}).await?;
        }
        let digest = about.manifest.digest.to_string();
        self.push_manifest(repository, &digest, &about.manifest).await?;
        Ok(())
    }

    async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Blob,
    ) -> Result<Vec<String>, ClientError> {
        let what = format!("{repository}:{reference}");
        if manifest.bytes.len() > MAX_MANIFEST {
            return Err(ClientError::TooLarge {
                what,
                most: MAX_MANIFEST as u64,
            });
        }
        let url = self.url(repository, &format!("manifests/{reference}"))?;
        let bytes = Bytes::from(manifest.bytes.clone());
        let answer = self
            .send(Method::PUT, url, &scope(repository), &what, |request| {
                request
                    .header(header::CONTENT_TYPE, IMAGE_MANIFEST)
                    .body(bytes.clone())
            })
            .await?;
        let answer = self.good(answer, &what).await?;
        Ok(warnings(&answer))
    }

    async fn push_blob(
        &self,
        repository: &str,
        blob: &Blob,
        progress: Progress<'_>,
    ) -> Result<(), ClientError> {
        let (scope, all) = (scope(repository), blob.bytes.len());
        let what = format!("a blob of {repository}");
        let url = self.url(repository, &format!("blobs/{}", blob.digest))?;
        if self.is_there(&url, &scope, &what).await? {
            progress(all as u64, all as u64);
            return Ok(());
        }
        let mut upload = self.begin(repository, &scope, &what).await?;
        let bytes = Bytes::from(blob.bytes.clone());
        let (mut sent, mut failures) = (0, 0);
        while sent < all {
            progress(sent as u64, all as u64);
            let end = (sent + PIECE).min(all);
            let piece = bytes.slice(sent..end);
            let answer = self
                .send(Method::PATCH, upload.clone(), &scope, &what, |request| {
                    request
                        .header(header::CONTENT_TYPE, "application/octet-stream")
                        .header(header::CONTENT_RANGE, format!("{sent}-{}", end - 1))
                        .body(piece.clone())
                })
                .await;
            let error = match answer {
                Ok(answer) if answer.status().is_success() => {
                    upload = self.location(&answer, &what)?;
                    (sent, failures) = (end, 0);
                    continue;
                }
                // Another one than the registry expects: it is asked below which that is.
                Ok(answer) if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE => None,
                Ok(answer) => Some(self.good(answer, &what).await.err()),
                Err(error) => Some(Some(error)),
            };
            failures += 1;
            if let Some(Some(error)) = error
                && (failures > TRIES || !error.passes_by_itself())
            {
                return Err(error);
            }
            if failures > TRIES {
                return Err(ClientError::Answer {
                    what,
                    reason: "it expects another piece again and again".to_owned(),
                });
            }
            pause(failures).await;
            match self.arrived(&mut upload, &scope, &what).await {
                Ok(arrived) => sent = arrived.min(all),
                // The same piece again finds out.
                Err(error) if error.passes_by_itself() => {}
                Err(error) => return Err(error),
            }
        }
        upload
            .query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let mut failures = 0;
        loop {
            let answer = self
                .send(Method::PUT, upload.clone(), &scope, &what, |request| {
                    request.header(header::CONTENT_LENGTH, "0")
                })
                .await;
            let answer = match answer {
                Ok(answer) => self.good(answer, &what).await,
                Err(error) => Err(error),
            };
            let Err(error) = answer else { break };
            // It may have been done, and only the answer lost; then the upload is not known any more, and the blob is.
            let is_lost = error.passes_by_itself() || failures > 0;
            if is_lost && self.is_there(&url, &scope, &what).await? {
                break;
            }
            failures += 1;
            if failures > TRIES || !error.passes_by_itself() {
                return Err(error);
            }
            pause(failures).await;
        }
        progress(all as u64, all as u64);
        Ok(())
    }

    /// Whether a blob is there. To ask again changes nothing.
    async fn is_there(&self, url: &url::Url, scope: &str, what: &str) -> Result<bool, ClientError> {
        let mut failures = 0;
        loop {
            match self
                .send(Method::HEAD, url.clone(), scope, what, |request| request)
                .await
            {
                Ok(answer) => return Ok(answer.status().is_success()),
                Err(error) if error.passes_by_itself() && failures < TRIES => failures += 1,
                Err(error) => return Err(error),
            }
            pause(failures).await;
        }
    }

    /// Begins an upload. One that was begun and not heard of ends by itself.
    async fn begin(&self, repository: &str, scope: &str, what: &str) -> Result<url::Url, ClientError> {
        let url = self.url(repository, "blobs/uploads/")?;
        let mut failures = 0;
        loop {
            let answer = self
                .send(Method::POST, url.clone(), scope, what, |request| {
                    request.header(header::CONTENT_LENGTH, "0")
                })
                .await;
            let answer = match answer {
                Ok(answer) => self.good(answer, what).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return self.location(&answer, what),
                Err(error) if error.passes_by_itself() && failures < TRIES => failures += 1,
                Err(error) => return Err(error),
            }
            pause(failures).await;
        }
    }

    /// How much of an upload has arrived.
    async fn arrived(&self, upload: &mut url::Url, scope: &str, what: &str) -> Result<usize, ClientError> {
        let answer = self
            .send(Method::GET, upload.clone(), scope, what, |request| request)
            .await?;
        let answer = self.good(answer, what).await?;
        *upload = self.location(&answer, what)?;
        let range = answer
            .headers()
            .get(header::RANGE)
            .and_then(|value| value.to_str().ok());
        // `0-0` is what registries say of nothing; that it may also be one byte costs a byte that is refused, and the question again.
        let last = range
            .and_then(|range| range.rsplit_once('-'))
            .and_then(|(_, last)| last.parse::<usize>().ok());
        Ok(match last {
            None | Some(0) => 0,
            Some(last) => last + 1,
        })
    }
}

pub(crate) fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// The texts of `Warning: 299 - "…"`.
pub(crate) fn warnings(answer: &reqwest::Response) -> Vec<String> {
    let values = answer.headers().get_all(header::WARNING).iter();
    values
        .filter_map(|value| value.to_str().ok()?.strip_prefix("299 - "))
        .map(|text| text.trim_matches('"').replace("\\\"", "\""))
        .collect()
}
