//! The HTTP face: JSON API, webhook ingress, health and metrics.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/api/v1/…` | holders of a token | every operation; described by `/api/v1/openapi.json`, which needs no token |
//! | `/hooks/{tenant}/{connection}/…` | other systems | webhooks; the plugin behind the connection decides whether a call is genuine |
//! | `/healthz` | anybody | the process lives |
//! | `/readyz` | anybody | database and engine work; 503 if not |
//! | `/metrics` | holders of a token | Prometheus text: names of flows are nobody else's business |

pub mod auth;
mod extract;
mod health;
mod hooks;
mod metrics;
mod openapi;
mod problems;
mod routes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;

pub use openapi::document as openapi_document;

use self::{auth::Authenticator, metrics::Metrics};
use crate::Service;

/// Bytes of a component that is sent here.
pub(crate) const RELEASE_BYTES: usize = 64 << 20;
/// Bytes of any other body: setups and decisions.
const BODY_BYTES: usize = 1 << 20;
/// Seconds for health and metrics.
const PROBE: Duration = Duration::from_secs(10);

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) service: Service,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) working: Working,
}

/// Whether the engine runs: set between its start and the beginning of the shutdown, so that a load balancer sends nothing to a
/// host that is about to go.
#[derive(Debug, Clone, Default)]
pub struct Working(Arc<AtomicBool>);

impl Working {
    /// Says so.
    pub fn set(&self, working: bool) {
        self.0.store(working, Ordering::Release);
    }

    /// Whether it was said.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The whole HTTP face over a service. The tenant of `service` does not matter: every request brings its own.
///
/// # Errors
/// [`prometheus::Error`] if two metrics have the same name, which is a fault of this crate.
pub fn router(
    service: Service,
    authenticator: Arc<dyn Authenticator>,
    working: Working,
) -> Result<Router, prometheus::Error> {
    let state = AppState {
        service,
        authenticator,
        metrics: Arc::new(Metrics::new()?),
        working,
    };
    let (api, document) = openapi::api(&state);
    let guarded = Router::new()
        .route("/metrics", axum::routing::get(metrics::show))
        .route_layer(from_fn_with_state(state.clone(), auth::require));
    let open = Router::new()
        .route("/healthz", axum::routing::get(health::lives))
        .route("/readyz", axum::routing::get(health::ready))
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || openapi::show(document)),
        );
    Ok(Router::new()
        .merge(guarded)
        .merge(open)
        .layer(from_fn(move |request, next| deadline(PROBE, request, next)))
        .merge(hooks::routes())
        .merge(api)
        .fallback(problems::no_route)
        .method_not_allowed_fallback(problems::no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(CatchPanicLayer::custom(problems::panicked))
        .layer(from_fn_with_state(state.clone(), metrics::measure))
        .with_state(state))
}

/// Gives a request up that takes longer than `limit`, its body included.
pub(crate) async fn deadline(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => problems::too_slow(limit.as_secs()).into_response(),
    }
}
