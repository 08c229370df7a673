//! Blobs: pulled whole or in part, looked for, taken away.

use axum::{body::Body, response::Response};
use http::{Method, StatusCode, header};

use super::{Asked, CONTENT_DIGEST, respond};
use crate::{
    auth::Action,
    digest::Digest,
    error::{ApiError, Code},
    name::RepositoryName,
    range::{Wanted, wanted},
    store::{Deleted, StoredBlob},
};

pub(super) async fn answer(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, ApiError> {
    match asked.parts.method {
        Method::GET | Method::HEAD => {
            asked.require(repository, Action::Pull).await?;
            let blob = asked.registry().store().blob(repository, digest).await?;
            let blob = blob.ok_or_else(|| unknown(repository, digest))?;
            if asked.is_head() {
                look(asked, repository, &blob).await
            } else {
                pull(asked, &blob).await
            }
        }
        Method::DELETE => {
            asked.require(repository, Action::Delete).await?;
            match asked.registry().store().delete_blob(repository, digest).await? {
                Deleted::Done => Ok(respond(StatusCode::ACCEPTED, &[], Body::empty())),
                Deleted::Unknown => Err(unknown(repository, digest)),
                Deleted::Needed { by } => Err(needed(&by)),
            }
        }
        _ => Err(asked.not_allowed("GET, HEAD, DELETE")),
    }
}

/// What a published manifest names is not taken away under it.
pub(super) fn needed(by: &Digest) -> ApiError {
    ApiError::new(
        Code::Unsupported,
        format!("the manifest {by} names it: delete that first"),
    )
    .detail(serde_json::json!({ "manifest": by.as_str() }))
}

fn unknown(repository: &RepositoryName, digest: &Digest) -> ApiError {
    ApiError::new(Code::BlobUnknown, format!("{repository} has no blob {digest}"))
        .detail(serde_json::json!({ "digest": digest.as_str() }))
}

/// Who looks for a blob and finds it will not send it: it is kept until their manifest comes.
async fn look(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    blob: &StoredBlob,
) -> Result<Response, ApiError> {
    let registry = asked.registry();
    let now = registry.now();
    let grace = i64::try_from(registry.inner.options.grace.as_millis()).unwrap_or(i64::MAX);
    if !registry
        .store()
        .keep_link(repository, &blob.digest, now, now.saturating_sub(grace / 4))
        .await?
    {
        return Err(unknown(repository, &blob.digest));
    }
    Ok(content(StatusCode::OK, blob, blob.size, None, Body::empty()))
}

async fn pull(asked: &Asked<'_>, blob: &StoredBlob) -> Result<Response, ApiError> {
    if asked.has(&format!("\"{}\"", blob.digest)) {
        let etag = format!("\"{}\"", blob.digest);
        return Ok(respond(
            StatusCode::NOT_MODIFIED,
            &[(header::ETAG, &etag)],
            Body::empty(),
        ));
    }
    // A range of what the client had before is only good if it had this; a digest never changes, so it did, or knows nothing of ours.
    let etag = format!("\"{}\"", blob.digest);
    let whole_instead = asked.header(&header::IF_RANGE).is_some_and(|had| had != etag);
    let range = asked.header(&header::RANGE).filter(|_| !whole_instead);
    match wanted(range, blob.size) {
        Wanted::Whole => {
            let body = Body::from_stream(asked.registry().whole(blob).await?);
            Ok(content(StatusCode::OK, blob, blob.size, None, body))
        }
        Wanted::Part { start, end } => {
            let body = Body::from_stream(asked.registry().part(blob, start, end).await?);
            let range = format!("bytes {start}-{}/{}", end - 1, blob.size);
            Ok(content(
                StatusCode::PARTIAL_CONTENT,
                blob,
                end - start,
                Some(&range),
                body,
            ))
        }
        Wanted::Nothing => Err(
            ApiError::new(Code::SizeInvalid, format!("the blob has {} bytes", blob.size))
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{}", blob.size)),
        ),
    }
}

fn content(status: StatusCode, blob: &StoredBlob, length: u64, range: Option<&str>, body: Body) -> Response {
    let (length, etag) = (length.to_string(), format!("\"{}\"", blob.digest));
    let mut headers = vec![
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_LENGTH, length.as_str()),
        (CONTENT_DIGEST, blob.digest.as_str()),
        (header::ETAG, etag.as_str()),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "max-age=31536000, immutable, private"),
        // Strangers push these bytes: no browser is to take them for a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    if let Some(range) = range {
        headers.push((header::CONTENT_RANGE, range));
    }
    respond(status, &headers, body)
}
