//! Where other systems call: `POST /hooks/{tenant}/{connection}`, with anything below it.
//!
//! No token is asked for, because vendors cannot send ours; whether a call is genuine is the plugin's to say, by the vendor's own
//! signature. The bytes are stored before anything is answered, so a 2xx is a promise.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest as _, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::post,
};
use stecker_flow::FlowError;
use stecker_model::{Name, RawRequest, Reply};
use stecker_store::StoreError;
use tokio::time::timeout;

use super::{
    AppState, deadline,
    extract::{InPath, RawBody},
    problems::ApiProblem,
};
use crate::problem;

/// Bytes of a call. Vendors stay below: Shopify's largest documented payloads are a few 100 KiB.
const HOOK_BYTES: usize = 1 << 20;
/// Vendors give up after 5 to 30 seconds and call again.
const HOOK_DEADLINE: Duration = Duration::from_secs(30);
/// Whether a call may come in takes one small read. After that long the database is away, and the system had better call again than wait.
const ADMISSION_DEADLINE: Duration = Duration::from_secs(4);

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/hooks/{tenant}/{connection}", post(bare))
        .route("/hooks/{tenant}/{connection}/{*rest}", post(with_rest))
        .layer(DefaultBodyLimit::max(HOOK_BYTES))
        .layer(from_fn(move |request, next| {
            deadline(HOOK_DEADLINE, request, next)
        }))
}

async fn bare(
    state: State<AppState>,
    InPath((tenant, connection)): InPath<(String, String)>,
    request: Request,
) -> Result<Response, ApiProblem> {
    take(&state, tenant, connection, request).await
}

async fn with_rest(
    state: State<AppState>,
    InPath((tenant, connection, _)): InPath<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiProblem> {
    take(&state, tenant, connection, request).await
}

async fn take(
    state: &AppState,
    tenant: String,
    connection: String,
    request: Request,
) -> Result<Response, ApiProblem> {
    // A name that cannot be one is answered like one that does not exist.
    let unknown = || ApiProblem(problem::not_found("connection", &connection));
    let (Ok(tenant), Ok(name)) = (tenant.parse::<Name>(), connection.parse::<Name>()) else {
        return Err(unknown());
    };
    let engine = state.service.engine();
    match timeout(ADMISSION_DEADLINE, engine.admit_webhook(&tenant, &name)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return refusal(error),
        Err(_) => return refusal(StoreError::no_answer(ADMISSION_DEADLINE).into()),
    }
    let (parts, body) = request.into_parts();
    let RawBody(body) = RawBody::from_request(Request::from_parts(parts.clone(), body), state).await?;
    let raw = RawRequest {
        method: Method::as_str(&parts.method).to_owned(),
        path: below(&parts.uri),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers(&parts.headers),
        body: body.into(),
    };
    match engine.webhook(&tenant, &name, raw).await {
        Ok(reply) => Ok(answer(reply)),
        Err(error) => refusal(error),
    }
}

/// A problem, with the time after which the system should call again (RFC 9110, section 10.2.3), if it should.
fn refusal(error: FlowError) -> Result<Response, ApiProblem> {
    let retry_after = error.retry_after();
    let problem = ApiProblem(problem::flow(error));
    let Some(seconds) = retry_after else {
        return Err(problem);
    };
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

/// What follows `/hooks/{tenant}/{connection}`, as it came: some vendors sign the path.
fn below(uri: &Uri) -> String {
    let mut slashes = uri.path().match_indices('/').map(|(at, _)| at);
    slashes
        .nth(3)
        .map(|at| uri.path().split_at(at).1.to_owned())
        .unwrap_or_default()
}

/// Names in lower case, as HTTP types keep them. Bytes beyond ASCII are read as Latin-1 (RFC 9110, 5.5).
fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

/// Headers of the connection are ours to set, not a plugin's; one that is no header at all is left out.
fn answer(reply: Reply) -> Response {
    let Ok(status) = StatusCode::from_u16(reply.status) else {
        let detail = format!(
            "the plugin answered the webhook with the status {}, which is none",
            reply.status
        );
        return ApiProblem(problem::internal(detail)).into_response();
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    for (name, value) in reply.headers {
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) if !OURS.contains(&name.as_str()) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::warn!(header = name, "a header of a plugin's webhook reply was left out"),
        }
    }
    response
}

const OURS: [&str; 7] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "trailer",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_below_a_connection_stays_as_it_came() {
        for (uri, rest) in [
            ("/hooks/default/shop", ""),
            ("/hooks/default/shop/", "/"),
            ("/hooks/default/shop/orders%2Fnew/x?y=1", "/orders%2Fnew/x"),
        ] {
            assert_eq!(below(&uri.parse().unwrap()), rest, "{uri}");
        }
    }

    #[test]
    fn a_plugin_cannot_speak_for_the_connection() {
        let reply = |status| Reply {
            status,
            headers: vec![
                ("x-ok".to_owned(), "1".to_owned()),
                ("Transfer-Encoding".to_owned(), "chunked".to_owned()),
                ("bad header".to_owned(), "1".to_owned()),
                ("x-split".to_owned(), "a\r\nb".to_owned()),
            ],
            body: b"thanks".to_vec(),
        };
        let response = answer(reply(202));
        assert_eq!(response.status(), 202);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-ok"]);
        assert_eq!(answer(reply(7)).status(), 500);
    }
}
