//! Every answer that is not a success is problem+json (RFC 9457), also those that axum would answer by itself.

use std::{any::Any, collections::BTreeMap};

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use stecker_model::api::Problem;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What handlers answer.
pub(crate) type ApiResult<T> = Result<Json<T>, ApiProblem>;

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct ApiProblem(pub(crate) Problem);

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"stecker\""),
            );
        }
        response
    }
}

impl IntoResponses for ApiProblem {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Problem::name())))
            .build();
        let response = ResponseBuilder::new()
            .description("What went wrong, why, and what to do next (RFC 9457).")
            .content(PROBLEM_JSON, content)
            .build();
        BTreeMap::from([("default".to_owned(), RefOr::T(response))])
    }
}

/// For paths that lead nowhere.
pub(crate) async fn no_route(request: Request) -> ApiProblem {
    let detail = format!("there is nothing at {}", request.uri().path());
    Problem::new(404, "no-route", "No such path", detail)
        .with_hint("/api/v1/openapi.json lists every path of the API")
        .into()
}

/// For methods that a path does not have; axum adds which it has as `allow`.
pub(crate) async fn no_method(request: Request) -> ApiProblem {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    Problem::new(405, "no-method", "Method not possible", detail)
        .with_hint(
            "the header `allow` names the methods of this path, and /api/v1/openapi.json describes them",
        )
        .into()
}

/// For a handler that panicked: the connection and the process live on.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is given by tower-http"
)]
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a request handler panicked");
    ApiProblem(crate::problem::internal(
        "a fault in the host ended this request; it is in the log",
    ))
    .into_response()
}

/// For a request that took too long.
pub(crate) fn too_slow(seconds: u64) -> ApiProblem {
    let detail = format!("the request was not done after {seconds} seconds and was given up");
    Problem::new(504, "timeout", "Took too long", detail)
        .with_hint("look at the state before trying again: what was begun may have been done")
        .into()
}
