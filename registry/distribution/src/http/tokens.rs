//! The place where tokens are to be had: `GET` with a password in the header (distribution/docs/spec/auth/token.md), `POST` with it
//! in a form (oauth.md, the `password` grant). What is asked for and not allowed is left out of the token; nobody is told which.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header, request::Parts};

use super::{Http, caller, json};
use crate::{
    auth::{Auth, Grant, Identity, Scope},
    error::{ApiError, Code},
    paging::QueryPairs,
};

/// Most scopes in a token, and most bytes of a form.
const MAX_SCOPES: usize = 32;
const MAX_FORM: usize = 64 * 1024;

pub(super) async fn get(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let credentials = match credentials_of(&parts) {
        Ok(credentials) => credentials,
        Err(error) => return error.into_response(),
    };
    let asked = QueryPairs::parse(parts.uri.query());
    issue(&http, credentials, &asked)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn post(State(http): State<Arc<Http>>, request: Request) -> Response {
    let form = match to_bytes(request.into_body(), MAX_FORM).await {
        Ok(form) => form,
        Err(error) => {
            return ApiError::new(Code::Unsupported, error.to_string())
                .status(StatusCode::BAD_REQUEST)
                .into_response();
        }
    };
    let form = QueryPairs::parse(std::str::from_utf8(&form).ok());
    let credentials = match (form.get("grant_type"), form.get("username"), form.get("password")) {
        (Some("password"), Some(user), Some(password)) => Some((user.to_owned(), password.to_owned())),
        _ => {
            let message = "only `grant_type=password` with `username` and `password` is known";
            return ApiError::new(Code::Unsupported, message)
                .status(StatusCode::BAD_REQUEST)
                .into_response();
        }
    };
    issue(&http, credentials, &form)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

fn credentials_of(parts: &Parts) -> Result<Option<(String, String)>, ApiError> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(caller::basic) {
        Some(credentials) => Ok(Some(credentials)),
        None => Err(ApiError::new(
            Code::Unauthorized,
            "tokens are given for a user and a password (Basic)",
        )),
    }
}

async fn issue(
    http: &Http,
    credentials: Option<(String, String)>,
    asked: &QueryPairs,
) -> Result<Response, ApiError> {
    let Auth::Bearer {
        service,
        issuer,
        access,
        ..
    } = &http.auth
    else {
        return Err(
            ApiError::new(Code::Unsupported, "there are no tokens here").status(StatusCode::NOT_FOUND)
        );
    };
    if asked.get("service").is_some_and(|asked| asked != service) {
        return Err(
            ApiError::new(Code::Denied, format!("tokens are for `{service}` here"))
                .status(StatusCode::BAD_REQUEST),
        );
    }
    let who = match credentials {
        None => Identity::Anonymous,
        Some((user, password)) => {
            if !access
                .knows(&user, &password)
                .await
                .map_err(|error| caller::undecided(&error))?
            {
                return Err(ApiError::new(
                    Code::Unauthorized,
                    "the user or the password is wrong",
                ));
            }
            Identity::User(user)
        }
    };
    let mut grants = Vec::new();
    // Several in one parameter are separated by spaces. What is no repository is not given, as if it were not allowed.
    let scopes = asked
        .all("scope")
        .flat_map(|text| text.split(' '))
        .filter_map(|text| text.parse::<Scope>().ok());
    for scope in scopes.take(MAX_SCOPES) {
        let actions = caller::rights(&**access, &who, &scope.repository)
            .await?
            .and(scope.actions);
        grants.push(Grant::from(Scope { actions, ..scope }));
    }
    let user = match &who {
        Identity::Anonymous => "",
        Identity::User(user) => user,
    };
    let now = http.registry.now() / 1000;
    let token = issuer.issue(user, grants, now);
    let body = serde_json::json!({ "token": token, "access_token": token, "expires_in": issuer.life() });
    let mut response = json(StatusCode::OK, body.to_string().into_bytes());
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok(response)
}
