//! The HTTP face: one handler reads the path, knows who asks, and hands over to the file of the thing that is asked for.

mod beside;
mod blobs;
mod caller;
mod discovery;
mod manifests;
mod tokens;
mod uploads;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing,
};
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

pub use self::beside::Asker;
use self::caller::Caller;
use crate::{
    auth::{Action, Auth},
    error::{ApiError, Code},
    paging::QueryPairs,
    publishing::Gate,
    registry::Registry,
    route::{Route, RouteError},
};

/// Where tokens are to be had, below the server's root.
pub const TOKEN_PATH: &str = "/v2/_token";

/// How much of a body that was refused is read, so that a client that sends before it listens hears why.
const DRAINED: usize = 32 * 1024 * 1024;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The document at `/.well-known/wasm-pkg/registry.json`, by which `wkg` finds the registry that packages of a domain lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The registry's host and port, as clients reach it.
    pub registry: String,
    /// What stands before a package's namespace in the name of its repository, such as `plugins/`; may be empty.
    pub namespace_prefix: String,
}

/// How a registry is served.
#[derive(Debug, Clone)]
pub struct Http {
    /// What is served.
    pub registry: Registry,
    /// Who may do what.
    pub auth: Auth,
    /// What may be published; none: whatever is well formed.
    pub gate: Option<Arc<dyn Gate>>,
    /// Where packages are said to be; none: nowhere.
    pub discovery: Option<Discovery>,
}

impl Http {
    /// Everybody may do everything.
    #[must_use]
    pub fn open_to_all(registry: Registry) -> Self {
        Self {
            registry,
            auth: Auth::Open,
            gate: None,
            discovery: None,
        }
    }

    /// The router, to be served or merged at the root: clients know no other place for `/v2/`.
    pub fn router(self) -> Router {
        let mut router = Router::new()
            .route("/v2", routing::any(handle))
            .route("/v2/", routing::any(handle))
            .route("/v2/{*path}", routing::any(handle));
        if matches!(self.auth, Auth::Bearer { .. }) {
            router = router.route(TOKEN_PATH, routing::get(tokens::get).post(tokens::post));
        }
        if self.discovery.is_some() {
            router = router.route(
                "/.well-known/wasm-pkg/registry.json",
                routing::get(discovery::packages),
            );
        }
        router.with_state(Arc::new(self))
    }
}

/// A request that is being answered.
struct Asked<'r> {
    http: &'r Http,
    caller: Caller,
    parts: Parts,
    query: QueryPairs,
}

impl Asked<'_> {
    fn registry(&self) -> &Registry {
        &self.http.registry
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    fn not_allowed(&self, allowed: &'static str) -> ApiError {
        let method = &self.parts.method;
        ApiError::new(
            Code::Unsupported,
            format!("{method} is not done here; {allowed} are"),
        )
        .header(header::ALLOW, allowed)
    }

    /// Whether the client has this content already (RFC 9110, 13.1.2).
    fn has(&self, etag: &str) -> bool {
        let known = self.header(&header::IF_NONE_MATCH).unwrap_or_default();
        known
            .split(',')
            .any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag)
    }
}

async fn handle(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let mut response = match answer(&http, parts, &mut body).await {
        Ok(response) => response,
        Err(error) => {
            drain(body).await;
            error.into_response()
        }
    };
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// The body is taken by whoever reads it; what is left of one that nobody took is read here.
async fn drain(body: Option<Body>) {
    let Some(body) = body else { return };
    let mut stream = body.into_data_stream();
    let mut read = 0;
    while let Some(Ok(bytes)) = stream.next().await {
        read += bytes.len();
        if read > DRAINED {
            return;
        }
    }
}

async fn answer(http: &Http, parts: Parts, body: &mut Option<Body>) -> Result<Response, ApiError> {
    let caller = Caller::of(http, &parts).await?;
    let query = QueryPairs::parse(parts.uri.query());
    let route = Route::parse(parts.uri.path());
    let asked = Asked {
        http,
        caller,
        parts,
        query,
    };
    let method = asked.parts.method.clone();
    let route = route.map_err(|error| wrong_path(&error, &method))?;
    match &route {
        Route::Base => base(&asked),
        Route::Tags(repository) if reads(&method) => {
            asked.require(repository, Action::Pull).await?;
            discovery::tags(&asked, repository).await
        }
        Route::Referrers(repository, digest) if reads(&method) => {
            asked.require(repository, Action::Pull).await?;
            discovery::referrers(&asked, repository, digest).await
        }
        Route::Tags(_) | Route::Referrers(..) => Err(asked.not_allowed("GET, HEAD")),
        Route::Manifest(repository, reference) => {
            manifests::answer(&asked, repository, reference, body).await
        }
        Route::Blob(repository, digest) => blobs::answer(&asked, repository, digest).await,
        Route::Uploads(repository) if method == Method::POST => {
            asked.require(repository, Action::Push).await?;
            uploads::start(&asked, repository, body).await
        }
        Route::Uploads(_) => Err(asked.not_allowed("POST")),
        Route::Upload(repository, id) => {
            asked.require(repository, Action::Push).await?;
            uploads::answer(&asked, repository, *id, body).await
        }
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn base(asked: &Asked<'_>) -> Result<Response, ApiError> {
    if !reads(&asked.parts.method) {
        return Err(asked.not_allowed("GET, HEAD"));
    }
    asked.caller.require_known(asked.http)?;
    Ok(json(StatusCode::OK, b"{}".to_vec()))
}

fn wrong_path(error: &RouteError, method: &Method) -> ApiError {
    let message = error.to_string();
    match error {
        RouteError::Unknown => ApiError::new(Code::Unsupported, message).status(StatusCode::NOT_FOUND),
        RouteError::Name(_) => ApiError::new(Code::NameInvalid, message),
        RouteError::Digest(_) | RouteError::Reference(crate::reference::ReferenceError::Digest(_)) => {
            ApiError::new(Code::DigestInvalid, message)
        }
        // What cannot be a tag is none that could be found; and none that could be made.
        RouteError::Reference(_) if *method == Method::PUT => ApiError::new(Code::ManifestInvalid, message),
        RouteError::Reference(_) => ApiError::new(Code::ManifestUnknown, message),
        RouteError::Upload { .. } => ApiError::new(Code::BlobUploadUnknown, message),
    }
}

/// A response with headers. One that cannot be a header is left out: all of them are made of validated words.
fn respond(status: StatusCode, headers: &[(HeaderName, &str)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    respond(
        status,
        &[(header::CONTENT_TYPE, "application/json")],
        Body::from(body),
    )
}
