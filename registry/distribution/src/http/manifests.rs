//! Manifests: pulled, published, taken away.

use axum::{body::Body, response::Response};
use futures_util::StreamExt;
use http::{HeaderName, Method, StatusCode, header};

use super::{Asked, CONTENT_DIGEST, blobs::needed, respond};
use crate::{
    auth::Action,
    digest::{Algorithm, Digest},
    error::{ApiError, Code},
    manifest::{MAX_MANIFEST, Manifest, ManifestError},
    name::RepositoryName,
    publishing::PublishError,
    reference::{Reference, Tag},
    store::Deleted,
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Most tags in one request, in its path and its parameters.
const MAX_TAGS: usize = 64;

pub(super) async fn answer(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    body: &mut Option<Body>,
) -> Result<Response, ApiError> {
    match asked.parts.method {
        Method::GET | Method::HEAD => {
            asked.require(repository, Action::Pull).await?;
            pull(asked, repository, reference).await
        }
        Method::PUT => {
            asked.require(repository, Action::Push).await?;
            publish(asked, repository, reference, body).await
        }
        Method::DELETE => {
            asked.require(repository, Action::Delete).await?;
            delete(asked, repository, reference).await
        }
        _ => Err(asked.not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

async fn unknown(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<ApiError, ApiError> {
    if asked.registry().store().revision(repository).await?.is_none() {
        return Ok(ApiError::new(
            Code::NameUnknown,
            format!("nothing was published in {repository}"),
        ));
    }
    Ok(ApiError::new(
        Code::ManifestUnknown,
        format!("{repository} has no manifest {reference}"),
    )
    .detail(serde_json::json!({ "reference": reference.to_string() })))
}

async fn pull(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response, ApiError> {
    let store = asked.registry().store();
    let Some(manifest) = store.manifest(repository, reference).await? else {
        return Err(unknown(asked, repository, reference).await?);
    };
    let releases = match reference {
        Reference::Tag(tag) => store.release(repository, tag).await?.into_iter().collect(),
        Reference::Digest(digest) => store.releases_of(repository, digest).await?,
    };
    let warnings: Vec<String> = releases
        .iter()
        .filter(|release| release.there)
        .flat_map(|release| release.warnings())
        .collect();
    let etag = format!("\"{}\"", manifest.digest);
    let length = manifest.bytes.len().to_string();
    let mut headers = vec![
        (CONTENT_DIGEST, manifest.digest.as_str()),
        (header::ETAG, etag.as_str()),
    ];
    // All warnings of an answer together have to stay below 4096 bytes.
    headers.extend(
        warnings
            .iter()
            .take(3)
            .map(|warning| (header::WARNING, warning.as_str())),
    );
    if asked.has(&etag) {
        return Ok(respond(StatusCode::NOT_MODIFIED, &headers, Body::empty()));
    }
    headers.extend([
        (header::CONTENT_TYPE, manifest.media_type.as_str()),
        (header::CONTENT_LENGTH, length.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]);
    let body = if asked.is_head() {
        Body::empty()
    } else {
        Body::from(manifest.bytes)
    };
    Ok(respond(StatusCode::OK, &headers, body))
}

async fn read(body: &mut Option<Body>) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let Some(taken) = body.take() else {
        return Ok(bytes);
    };
    let mut stream = taken.into_data_stream();
    while let Some(next) = stream.next().await {
        let next = next.map_err(|error| {
            ApiError::new(
                Code::ManifestInvalid,
                format!("the request's body broke off: {error}"),
            )
        })?;
        if bytes.len() + next.len() > MAX_MANIFEST {
            *body = Some(Body::from_stream(stream));
            return Err(ManifestError::TooLarge.into());
        }
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}

/// The tags that a request is about: its path's, or those of its parameters if the path has a digest.
fn tags(asked: &Asked<'_>, reference: &Reference) -> Result<Vec<Tag>, ApiError> {
    let mut tags: Vec<Tag> = match reference {
        Reference::Tag(tag) => vec![tag.clone()],
        Reference::Digest(_) => asked
            .query
            .all("tag")
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|error: crate::reference::TagError| {
                ApiError::new(Code::ManifestInvalid, error.to_string())
            })?,
    };
    // In one order, so that two publications do not wait for each other.
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        let message = format!("{} tags in one request, more than {MAX_TAGS}", tags.len());
        return Err(ApiError::new(Code::ManifestInvalid, message).status(StatusCode::URI_TOO_LONG));
    }
    Ok(tags)
}

async fn publish(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    body: &mut Option<Body>,
) -> Result<Response, ApiError> {
    let tags = tags(asked, reference)?;
    let bytes = read(body).await?;
    let algorithm = match reference {
        Reference::Digest(digest) => digest.algorithm(),
        Reference::Tag(_) => Algorithm::Sha256,
    };
    let digest = Digest::of(algorithm, &bytes);
    if let Reference::Digest(said) = reference
        && *said != digest
    {
        let detail = serde_json::json!({ "digest": said.as_str(), "received": digest.as_str() });
        return Err(ApiError::new(
            Code::DigestInvalid,
            format!("the manifest is {digest}, not {said}"),
        )
        .detail(detail));
    }
    let manifest = Manifest::parse(&bytes, asked.header(&header::CONTENT_TYPE))?;
    let gate = asked.http.gate.as_deref();
    asked
        .registry()
        .publish(repository, &digest, &bytes, &manifest, &tags, gate)
        .await
        .map_err(refused)?;
    let location = format!("/v2/{repository}/manifests/{digest}");
    let mut headers = vec![
        (header::LOCATION, location.as_str()),
        (CONTENT_DIGEST, digest.as_str()),
    ];
    if let Some(subject) = &manifest.subject {
        headers.push((SUBJECT, subject.as_str()));
    }
    if matches!(reference, Reference::Digest(_)) {
        headers.extend(tags.iter().map(|tag| (TAG, tag.as_str())));
    }
    Ok(respond(StatusCode::CREATED, &headers, Body::empty()))
}

fn refused(error: PublishError) -> ApiError {
    match error {
        PublishError::Registry(error) => error.into(),
        PublishError::Missing(digests) => ApiError::missing(&digests),
        PublishError::SizeDiffers { digest, said, is } => ApiError::new(
            Code::ManifestInvalid,
            format!("the manifest says that {digest} has {said} bytes; it has {is}"),
        )
        .detail(serde_json::json!({ "digest": digest.as_str(), "size": is })),
        PublishError::Released { tag, digest } => ApiError::new(
            Code::Denied,
            format!(
                "{tag} was released as {digest}, and a version is never changed: publish another version"
            ),
        )
        .status(StatusCode::CONFLICT)
        .detail(serde_json::json!({ "tag": tag.as_str(), "digest": digest.as_str() })),
        PublishError::Refused(refusal) => {
            let code = if refusal.denied {
                Code::Denied
            } else {
                Code::ManifestInvalid
            };
            ApiError::new(code, refusal.message).detail(refusal.detail)
        }
        PublishError::Busy => ApiError::new(
            Code::TooManyRequests,
            "too much else is being published in this repository: try again",
        ),
    }
}

async fn delete(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response, ApiError> {
    let store = asked.registry().store();
    let deleted = match reference {
        Reference::Tag(tag) => store.delete_tag(repository, tag).await?,
        Reference::Digest(digest) => {
            store
                .delete_manifest(repository, digest, asked.registry().now())
                .await?
        }
    };
    match deleted {
        Deleted::Done => Ok(respond(StatusCode::ACCEPTED, &[], Body::empty())),
        Deleted::Unknown => Err(unknown(asked, repository, reference).await?),
        Deleted::Needed { by } => Err(needed(&by)),
    }
}
