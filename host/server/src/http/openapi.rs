//! The OpenAPI 3.1 document, generated from the handlers, so that it cannot say anything else than they do.

use std::sync::Arc;

use axum::{Json, Router, middleware::from_fn_with_state, response::IntoResponse};
use stecker_model::api::{Fault, Problem};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use super::{AppState, auth, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stecker",
        description = "Every operation of a Stecker host. Times are milliseconds since 1970 (UTC). Every refusal is \
                       problem+json (RFC 9457) with the next step in `hint`. The header `stecker-tenant` chooses the tenant; \
                       `default` unless said otherwise.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    components(schemas(Problem, Fault)),
    tags(
        (name = "releases", description = "Plugins that the host has."),
        (name = "setup", description = "Connections and flows as they are to be."),
        (name = "connections", description = "Systems of the tenant."),
        (name = "flows", description = "Paths of records."),
        (name = "records", description = "The ledger and the quarantine."),
        (name = "reconciles", description = "Comparisons of a flow's two ends."),
        (name = "replays", description = "Records sent again on purpose."),
        (name = "rollouts", description = "Connections moved to another release while they work."),
        (name = "secrets", description = "The vault: secrets go in and never come out."),
        (name = "shadow", description = "Recorded calls, and what another release would make of them."),
        (name = "denials", description = "What plugins asked for and were refused."),
        (name = "trust", description = "Whose releases are loaded, and by which signatures."),
        (name = "upstreams", description = "What systems still take, and which of them are down."),
        (name = "tenants", description = "What tenants may have in all, and what they used."),
        (name = "webhooks", description = "Who is told of which events (Standard Webhooks)."),
        (name = "host", description = "The host itself."),
    ),
    modifiers(&Bearer),
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
        document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    }
}

fn described() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Base::openapi()).nest("/api/v1", routes::all())
}

/// The document as a JSON value: OpenAPI 3.1.
#[must_use]
pub fn document() -> serde_json::Value {
    serde_json::to_value(described().into_openapi()).unwrap_or_default()
}

/// The paths of the API behind the check of tokens, and the document that describes them.
pub(crate) fn api(state: &AppState) -> (Router<AppState>, Arc<utoipa::openapi::OpenApi>) {
    let (router, document) = described().split_for_parts();
    (
        router.route_layer(from_fn_with_state(state.clone(), auth::require)),
        Arc::new(document),
    )
}

pub(crate) async fn show(document: Arc<utoipa::openapi::OpenApi>) -> impl IntoResponse {
    Json(serde_json::to_value(&*document).unwrap_or_default())
}
