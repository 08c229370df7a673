//! What handlers take: bodies, paths and queries whose every fault is a problem with its place.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;
use stecker_model::api::{Fault, Problem};
use utoipa::IntoParams;

use super::problems::ApiProblem;
use crate::problem;

/// A JSON body. 415 without the media type, 413 beyond the route's bound, 400 if it is no JSON, 422 if it is other JSON than asked for.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        media_type(&request, "application/json")?;
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| misfit(&error))?;
        reader.end().map_err(|error| not_json(&error))?;
        Ok(Self(parsed))
    }
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiProblem {
    if !error.inner().is_data() {
        return not_json(error.inner());
    }
    let path = error.path().to_string();
    let path = if path == "." { "the body".to_owned() } else { path };
    problem::invalid_field(&path, error.inner().to_string()).into()
}

fn not_json(error: &serde_json::Error) -> ApiProblem {
    Problem::new(
        400,
        "not-json",
        "Not JSON",
        format!("the body is not JSON: {error}"),
    )
    .with_hint("send one JSON value, in UTF-8")
    .into()
}

/// A body as bytes. 413 beyond the route's bound.
pub(crate) struct RawBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| unread(&rejection))
    }
}

fn unread(rejection: &BytesRejection) -> ApiProblem {
    if rejection.status() == 413 {
        return Problem::new(
            413,
            "too-large",
            "Too large",
            "the body is larger than this path takes",
        )
        .with_hint("/api/v1/openapi.json names the bound of every path")
        .into();
    }
    Problem::new(400, "unreadable", "Body not readable", rejection.body_text())
        .with_hint("the body ended too early or was not sent as announced; send it again")
        .into()
}

/// Refuses a body of another media type.
pub(crate) fn media_type(request: &Request, wanted: &str) -> Result<(), ApiProblem> {
    let given = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let detail = format!(
        "the body is `{}`; this path takes `{wanted}`",
        given.unwrap_or("of no stated media type")
    );
    Err(Problem::new(415, "media-type", "Other media type", detail)
        .with_hint(format!("send the header `content-type: {wanted}`"))
        .into())
}

/// Parts of the path, such as names.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(
                    Problem::new(400, "bad-path", "Path not understood", rejection.body_text())
                        .with_hint("correct the path; names are lower-case letters, digits and hyphens")
                        .into(),
                )
            }
        }
    }
}

/// The query. A parameter that the path does not have is refused, because a filter with a slip of the pen would select everything.
pub(crate) struct InQuery<T>(pub(crate) T);

impl<T: DeserializeOwned + IntoParams, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let bad = |faults: Vec<Fault>, detail: String| {
            Problem::new(400, "bad-query", "Query not understood", detail)
                .with_hint("/api/v1/openapi.json describes the parameters of this path")
                .with_faults(faults)
        };
        let known: Vec<String> = T::into_params(|| None)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        let given = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| bad(Vec::new(), rejection.body_text()))?;
        if let Some((name, _)) = given.0.iter().find(|(name, _)| !known.contains(name)) {
            let fault = Fault {
                path: name.clone(),
                reason: format!("there is no such parameter; there are: {}", known.join(", ")),
            };
            return Err(bad(vec![fault], format!("there is no parameter `{name}`")).into());
        }
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(bad(Vec::new(), rejection.body_text()).into()),
        }
    }
}
