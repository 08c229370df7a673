//! Uploads: begun, mounted, added to, finished, looked at, cancelled.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, Method, StatusCode, header};
use uuid::Uuid;

use super::{Asked, CONTENT_DIGEST, respond};
use crate::{
    auth::Action,
    digest::Digest,
    error::{ApiError, Code},
    name::RepositoryName,
    pushing::{AppendError, FinishError, Tail},
    range::{ChunkRange, received},
    store::Upload,
};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// How many repositories are asked after for a blob whose place the client does not name.
const MOUNT_CANDIDATES: i64 = 32;

/// `POST`: with a digest the whole blob in one request, with `mount` a blob of another repository, else an upload to add to.
pub(super) async fn start(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    body: &mut Option<Body>,
) -> Result<Response, ApiError> {
    let registry = asked.registry();
    if let Some(digest) = asked.query.get("mount") {
        // What cannot be mounted is to be pushed, and the specification wants that said with an upload, not with an error.
        if let Ok(digest) = digest.parse()
            && mount(asked, repository, &digest).await?
        {
            return Ok(created(repository, &digest));
        }
    } else if let Some(digest) = asked.query.get("digest") {
        let digest = parsed(digest)?;
        let mut upload = registry.store().start_upload(repository, registry.now()).await?;
        let added = registry.append(&mut upload, incoming(body), length(asked)?).await;
        let outcome = match added {
            Ok(tail) => registry
                .finish(repository, Some(&upload), tail, &digest)
                .await
                .map_err(|error| unfinished(asked, &upload, error)),
            Err(error) => Err(not_added(&upload, &error)),
        };
        if outcome.is_err() {
            // Nobody was told of this upload, so nobody could go on with it.
            registry.cancel(&upload).await?;
        }
        return outcome.map(|()| created(repository, &digest));
    }
    let upload = registry.store().start_upload(repository, registry.now()).await?;
    Ok(progress(StatusCode::ACCEPTED, &upload))
}

async fn mount(asked: &Asked<'_>, repository: &RepositoryName, digest: &Digest) -> Result<bool, ApiError> {
    let store = asked.registry().store();
    let candidates = match asked.query.get("from") {
        Some(from) => from.parse().into_iter().collect(),
        None => store.repositories_with(digest, MOUNT_CANDIDATES).await?,
    };
    for from in candidates {
        // Only what may be read may be taken from there: knowing a digest is no right.
        if asked.may(&from, Action::Pull).await?
            && store
                .mount(repository, &from, digest, asked.registry().now())
                .await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn answer(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    id: Uuid,
    body: &mut Option<Body>,
) -> Result<Response, ApiError> {
    let registry = asked.registry();
    let upload = registry.store().upload(repository, id).await?;
    let mut upload = upload.ok_or_else(unknown)?;
    match asked.parts.method {
        Method::GET | Method::HEAD => Ok(progress(StatusCode::NO_CONTENT, &upload)),
        Method::PATCH => {
            let mut tail = add(asked, &mut upload, body).await?;
            registry
                .keep(&mut upload, &mut tail)
                .await
                .map_err(|error| not_added(&upload, &error))?;
            Ok(progress(StatusCode::ACCEPTED, &upload))
        }
        Method::PUT => {
            let digest = asked.query.get("digest").ok_or_else(|| {
                ApiError::new(
                    Code::DigestInvalid,
                    "an upload is finished with `?digest=` and the digest of the whole blob",
                )
            })?;
            let digest = parsed(digest)?;
            let tail = add(asked, &mut upload, body).await?;
            registry
                .finish(repository, Some(&upload), tail, &digest)
                .await
                .map_err(|error| unfinished(asked, &upload, error))?;
            Ok(created(repository, &digest))
        }
        Method::DELETE => {
            if registry.cancel(&upload).await? {
                return Ok(respond(StatusCode::NO_CONTENT, &[], Body::empty()));
            }
            Err(unknown())
        }
        _ => Err(asked.not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

/// Adds what the request brings, if it belongs where the upload ends.
async fn add(asked: &Asked<'_>, upload: &mut Upload, body: &mut Option<Body>) -> Result<Tail, ApiError> {
    let said = length(asked)?;
    let said = match asked.parts.headers.get(header::CONTENT_RANGE) {
        None => said,
        Some(value) => {
            let range = value.to_str().ok().and_then(ChunkRange::parse);
            let range = range.filter(|range| range.start == upload.size);
            let Some(range) = range else {
                let message = format!(
                    "the next byte of the upload is {}: send a chunk that begins there, as `{}-<last>`",
                    upload.size, upload.size
                );
                return Err(at(
                    upload,
                    ApiError::new(Code::BlobUploadInvalid, message).status(StatusCode::RANGE_NOT_SATISFIABLE),
                ));
            };
            if said.is_some_and(|said| said != range.length()) {
                let message = "the Content-Length is not the length of the Content-Range";
                return Err(at(upload, ApiError::new(Code::SizeInvalid, message)));
            }
            Some(range.length())
        }
    };
    registry_append(asked, upload, body, said).await
}

async fn registry_append(
    asked: &Asked<'_>,
    upload: &mut Upload,
    body: &mut Option<Body>,
    said: Option<u64>,
) -> Result<Tail, ApiError> {
    let added = asked.registry().append(upload, incoming(body), said).await;
    added.map_err(|error| not_added(upload, &error))
}

fn incoming(body: &mut Option<Body>) -> impl Stream<Item = Result<Bytes, String>> {
    match body.take() {
        Some(body) => body
            .into_data_stream()
            .map(|next| next.map_err(|error| error.to_string()))
            .left_stream(),
        None => stream::empty().right_stream(),
    }
}

/// Of the request's body, if it says so.
fn length(asked: &Asked<'_>) -> Result<Option<u64>, ApiError> {
    let Some(value) = asked.parts.headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| ApiError::new(Code::SizeInvalid, "the Content-Length is no number"))
}

fn parsed(digest: &str) -> Result<Digest, ApiError> {
    digest.parse().map_err(|error: crate::digest::DigestError| {
        ApiError::new(Code::DigestInvalid, error.to_string())
            .detail(serde_json::json!({ "digest": crate::name::shortened(digest) }))
    })
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.repository, upload.id)
}

fn progress(status: StatusCode, upload: &Upload) -> Response {
    let (location, range, id) = (location(upload), received(upload.size), upload.id.to_string());
    let headers = [
        (header::LOCATION, location.as_str()),
        (header::RANGE, range.as_str()),
        (UPLOAD_ID, id.as_str()),
    ];
    respond(status, &headers, Body::empty())
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response {
    let location = format!("/v2/{repository}/blobs/{digest}");
    respond(
        StatusCode::CREATED,
        &[(header::LOCATION, &location), (CONTENT_DIGEST, digest.as_str())],
        Body::empty(),
    )
}

/// Where the upload stands, for whoever goes on with it.
fn at(upload: &Upload, error: ApiError) -> ApiError {
    error
        .header(header::LOCATION, location(upload))
        .header(header::RANGE, received(upload.size))
        .header(UPLOAD_ID, upload.id.to_string())
}

fn unknown() -> ApiError {
    ApiError::new(
        Code::BlobUploadUnknown,
        "there is no such upload (any more): begin another one",
    )
}

fn not_added(upload: &Upload, error: &AppendError) -> ApiError {
    let message = error.to_string();
    let answer = match error {
        AppendError::Registry(_) => {
            tracing::error!(%error, "an upload could not be added to");
            ApiError::new(Code::Unknown, "the registry failed; its log says why")
                .status(StatusCode::SERVICE_UNAVAILABLE)
        }
        AppendError::Body(_) => ApiError::new(Code::BlobUploadInvalid, message),
        AppendError::BlobTooLarge(_) | AppendError::ChunkTooLarge(_) => {
            ApiError::new(Code::SizeInvalid, message).status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        AppendError::Length { .. } => ApiError::new(Code::SizeInvalid, message),
        AppendError::Overtaken => {
            ApiError::new(Code::BlobUploadInvalid, message).status(StatusCode::RANGE_NOT_SATISFIABLE)
        }
    };
    at(upload, answer)
}

fn unfinished(asked: &Asked<'_>, upload: &Upload, error: FinishError) -> ApiError {
    let message = error.to_string();
    match error {
        FinishError::Registry(error) => error.into(),
        FinishError::Digest { said, is } => ApiError::new(
            Code::DigestInvalid,
            format!("{message}; the upload is over, begin another one"),
        )
        .detail(serde_json::json!({ "digest": said.as_str(), "received": is.as_str() })),
        FinishError::UploadChanged => unknown(),
        FinishError::GivenUp => {
            tracing::warn!(upload = %upload.id, path = asked.parts.uri.path(), "storing a blob took longer than the time of grace");
            at(
                upload,
                ApiError::new(Code::BlobUploadInvalid, message).status(StatusCode::SERVICE_UNAVAILABLE),
            )
        }
    }
}
