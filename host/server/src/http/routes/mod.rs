//! The paths of the API. Each handler takes the request apart, calls the one operation behind it and answers with what that says;
//! the OpenAPI document is made from these very functions.

mod connections;
mod denials;
mod explain;
mod flows;
mod host;
mod reconciles;
mod records;
mod recovery;
mod releases;
mod replays;
mod rollouts;
mod secrets;
mod setups;
mod shadow;
mod storage;
mod tenants;
mod trust;
mod upstreams;
mod webhooks;

use std::time::Duration;

use axum::middleware::from_fn;
use serde::Deserialize;
use stecker_model::Name;
use utoipa_axum::router::OpenApiRouter;

use super::{AppState, deadline};

/// What only asks the database.
const QUICK: Duration = Duration::from_secs(30);
/// What compiles a component or waits for somebody else's system: a plugin may be given up to an hour for one call
/// (`limits.deadline`), but whoever waits at a terminal or a proxy is not there that long.
const PATIENT: Duration = Duration::from_secs(600);

/// A list of one flow, or of all.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct OfFlow {
    /// Of this flow.
    #[param(value_type = Option<String>)]
    flow: Option<Name>,
}

/// Every path below `/api/v1` that needs a token.
pub(crate) fn all() -> OpenApiRouter<AppState> {
    let quick = OpenApiRouter::new()
        .merge(setups::routes())
        .merge(flows::routes())
        .merge(records::routes())
        .merge(reconciles::routes())
        .merge(denials::routes())
        .merge(tenants::routes())
        .merge(trust::routes())
        .merge(upstreams::routes())
        .merge(webhooks::routes());
    let patient = OpenApiRouter::new()
        .merge(releases::routes())
        .merge(connections::routes())
        .merge(secrets::routes())
        .merge(shadow::routes())
        .merge(recovery::routes())
        .merge(explain::routes())
        .merge(replays::routes())
        .merge(rollouts::routes())
        .merge(storage::routes())
        .merge(host::routes());
    quick
        .layer(from_fn(move |request, next| deadline(QUICK, request, next)))
        .merge(patient.layer(from_fn(move |request, next| deadline(PATIENT, request, next))))
}
