//! The vault: secrets go in and never come out.

use axum::{Extension, Json};
use stecker_model::{
    Authorization, Authorize, Authorized, Name, RotateKeys, RotatedKeys, SecretInfo, SetSecret, api::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations, Principal, Role,
    http::{
        AppState,
        auth::Ops,
        extract::{Body, InPath},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(set, remove))
        .routes(routes!(authorize))
        .routes(routes!(authorized))
        .routes(routes!(rotate))
}

/// Lists the secrets in the vault: what is known of them, never their values.
#[utoipa::path(get, path = "/secrets", tag = "secrets", operation_id = "secrets",
    responses((status = 200, description = "All of them, by connection and credential.", body = Vec<SecretInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<SecretInfo>> {
    Ok(Json(ops.secrets().await?))
}

/// Puts a secret into the vault, or replaces it. The connection may come later.
#[utoipa::path(put, path = "/secrets/{connection}/{credential}", tag = "secrets", operation_id = "set-secret",
    params(("connection" = String, Path, description = "The connection."),
        ("credential" = String, Path, description = "The credential, as the manifest of the connection's plugin names it.")),
    request_body = SetSecret,
    responses((status = 200, description = "What is known of it now.", body = SecretInfo), ApiProblem))]
async fn set(
    Ops(ops): Ops,
    InPath((connection, credential)): InPath<(Name, Name)>,
    Body(secret): Body<SetSecret>,
) -> ApiResult<SecretInfo> {
    Ok(Json(ops.set_secret(&connection, &credential, &secret).await?))
}

/// Removes a secret, and the tokens that came from it.
#[utoipa::path(delete, path = "/secrets/{connection}/{credential}", tag = "secrets", operation_id = "remove-secret",
    params(("connection" = String, Path, description = "The connection."),
        ("credential" = String, Path, description = "The credential.")),
    responses((status = 200, description = "What it was.", body = SecretInfo), ApiProblem))]
async fn remove(
    Ops(ops): Ops,
    InPath((connection, credential)): InPath<(Name, Name)>,
) -> ApiResult<SecretInfo> {
    Ok(Json(ops.remove_secret(&connection, &credential).await?))
}

/// Begins an authorization by a person (OAuth 2.0 with PKCE): where that person has to go.
#[utoipa::path(post, path = "/secrets/{connection}/{credential}/authorize", tag = "secrets", operation_id = "authorize",
    params(("connection" = String, Path, description = "The connection."),
        ("credential" = String, Path, description = "The credential, of the kind oauth2-authorization-code.")),
    request_body = Authorize,
    responses((status = 200, description = "The address to open, and until when.", body = Authorization), ApiProblem))]
async fn authorize(
    Ops(ops): Ops,
    InPath((connection, credential)): InPath<(Name, Name)>,
    Body(request): Body<Authorize>,
) -> ApiResult<Authorization> {
    Ok(Json(ops.authorize(&connection, &credential, &request).await?))
}

/// Ends an authorization: exchanges the code for tokens and keeps them.
#[utoipa::path(post, path = "/secrets/{connection}/{credential}/authorized", tag = "secrets", operation_id = "authorized",
    params(("connection" = String, Path, description = "The connection."),
        ("credential" = String, Path, description = "The credential.")),
    request_body = Authorized,
    responses((status = 200, description = "What is known of the tokens.", body = SecretInfo), ApiProblem))]
async fn authorized(
    Ops(ops): Ops,
    InPath((connection, credential)): InPath<(Name, Name)>,
    Body(answer): Body<Authorized>,
) -> ApiResult<SecretInfo> {
    Ok(Json(ops.authorized(&connection, &credential, &answer).await?))
}

/// Gives the tenant a new data key and encrypts everything again. Nothing has to stop meanwhile; interrupted, the next call does the rest.
#[utoipa::path(post, path = "/keys/rotate", tag = "secrets", operation_id = "rotate-keys", request_body = RotateKeys,
    responses((status = 200, description = "What was done.", body = RotatedKeys), ApiProblem))]
async fn rotate(
    Ops(ops): Ops,
    Extension(principal): Extension<Principal>,
    Body(request): Body<RotateKeys>,
) -> ApiResult<RotatedKeys> {
    if request.master && principal.role != Role::Installation {
        let detail = "the master key belongs to the installation, not to a tenant";
        return Err(Problem::new(403, "forbidden", "Not allowed", detail)
            .with_hint("leave `master` away to have a new data key for the tenant")
            .into());
    }
    Ok(Json(ops.rotate_keys(&request).await?))
}
