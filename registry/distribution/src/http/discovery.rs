//! Lists: tags, referrers, and where packages are.

use std::sync::Arc;

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderName, StatusCode, header};
use serde::Serialize;

use super::{Asked, Http, json, respond};
use crate::{
    digest::Digest,
    error::{ApiError, Code},
    manifest::{IMAGE_INDEX, Referrer},
    name::RepositoryName,
    paging::{Page, next_link},
    reference::Tag,
};

/// Most tags in an answer.
const MAX_TAGS: u32 = 1000;
/// An answer of referrers is itself an index, and clients take those of up to 4 MiB.
const MAX_REFERRERS: usize = 3 * 1024 * 1024;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn tags(asked: &Asked<'_>, repository: &RepositoryName) -> Result<Response, ApiError> {
    let page = Page::parse(&asked.query).map_err(|error| {
        ApiError::new(Code::Unsupported, error.to_string()).status(StatusCode::BAD_REQUEST)
    })?;
    let with_yanked = match asked.query.get("yanked") {
        None | Some("exclude") => false,
        Some("include") => true,
        Some(_) => {
            let message = "`yanked` is `include` or `exclude`";
            return Err(ApiError::new(Code::Unsupported, message).status(StatusCode::BAD_REQUEST));
        }
    };
    let store = asked.registry().store();
    if store.revision(repository).await?.is_none() {
        return Err(ApiError::new(
            Code::NameUnknown,
            format!("nothing was published in {repository}"),
        ));
    }
    let limit = page.limit(MAX_TAGS);
    let mut tags = store.tags(repository, &page.last, limit + 1, with_yanked).await?;
    let more = tags.len() > limit as usize;
    tags.truncate(limit as usize);
    let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    let body = serde_json::json!({ "name": repository.as_str(), "tags": names }).to_string();
    let mut response = json(StatusCode::OK, body.into_bytes());
    if let (true, Some(last)) = (more, tags.last()) {
        let limit = limit.to_string();
        let mut parameters = vec![("n", limit.as_str()), ("last", last.as_str())];
        if with_yanked {
            parameters.push(("yanked", "include"));
        }
        let link = next_link(&format!("/v2/{repository}/tags/list"), &parameters);
        if let Ok(value) = link.parse() {
            response.headers_mut().insert(header::LINK, value);
        }
    }
    Ok(response)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'i> {
    schema_version: u32,
    media_type: &'static str,
    manifests: &'i [Referrer],
}

/// Never 404: a client takes that for a registry that does not know the question.
pub(super) async fn referrers(
    asked: &Asked<'_>,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response, ApiError> {
    let artifact_type = asked.query.get("artifactType").filter(|text| !text.is_empty());
    let last = asked.query.get("last").unwrap_or_default();
    let store = asked.registry().store();
    let (manifests, more) = store
        .referrers(repository, subject, artifact_type, last, MAX_REFERRERS)
        .await?;
    let index = Index {
        schema_version: 2,
        media_type: IMAGE_INDEX,
        manifests: &manifests,
    };
    let body = serde_json::to_vec(&index).map_err(|error| ApiError::new(Code::Unknown, error.to_string()))?;
    let length = body.len().to_string();
    let mut headers = vec![
        (header::CONTENT_TYPE, IMAGE_INDEX),
        (header::CONTENT_LENGTH, length.as_str()),
    ];
    if artifact_type.is_some() {
        headers.push((FILTERS_APPLIED, "artifactType"));
    }
    let link = manifests.last().filter(|_| more).map(|last| {
        let mut parameters = vec![("last", last.digest.as_str())];
        parameters.extend(artifact_type.map(|kind| ("artifactType", kind)));
        next_link(&format!("/v2/{repository}/referrers/{subject}"), &parameters)
    });
    if let Some(link) = &link {
        headers.push((header::LINK, link));
    }
    Ok(respond(StatusCode::OK, &headers, Body::from(body)))
}

pub(super) async fn packages(State(http): State<Arc<Http>>) -> Response {
    let (registry, prefix) = http.discovery.as_ref().map_or(("", ""), |discovery| {
        (&discovery.registry, &discovery.namespace_prefix)
    });
    let body = serde_json::json!({
        "preferredProtocol": "oci",
        "oci": { "registry": registry, "namespacePrefix": prefix },
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}
