//! Releases: components that the host has.

use axum::{
    Json,
    extract::{DefaultBodyLimit, FromRequest, Request},
    http::StatusCode,
};
use stecker_model::api::ReleaseInfo;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    Operations,
    http::{
        AppState, RELEASE_BYTES,
        auth::Ops,
        extract::{RawBody, media_type},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, add).layer(DefaultBodyLimit::max(RELEASE_BYTES)))
}

/// A component, which says `application/wasm` of itself.
pub(crate) struct Component(Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for Component {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        media_type(&request, "application/wasm")?;
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        Ok(Self(bytes.into()))
    }
}

/// Lists the releases that the host has, by name and version.
#[utoipa::path(get, path = "/releases", tag = "releases", operation_id = "releases",
    responses((status = 200, description = "All of them.", body = Vec<ReleaseInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<ReleaseInfo>> {
    Ok(Json(ops.releases().await?))
}

/// Adds a release: inspects and compiles the component and keeps it. The same bytes again change nothing.
#[utoipa::path(post, path = "/releases", tag = "releases", operation_id = "add-release",
    request_body(content = inline(Vec<u8>), content_type = "application/wasm", description = "The component, at most 64 MiB."),
    responses((status = 201, description = "The host has it.", body = ReleaseInfo), ApiProblem))]
async fn add(
    Ops(ops): Ops,
    Component(bytes): Component,
) -> Result<(StatusCode, Json<ReleaseInfo>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops.add_release(bytes).await?)))
}
