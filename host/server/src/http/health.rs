//! For load balancers and supervisors.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use stecker_model::api::Problem;
use stecker_store::StoreError;
use tokio::time::timeout;

use super::{AppState, problems::ApiResult};

/// Whoever asks wants to know soon; a database that takes longer is none to work with.
const PING_WITHIN: Duration = Duration::from_secs(3);

/// What a healthy host says.
#[derive(Debug, Serialize)]
pub(crate) struct Alive {
    status: &'static str,
    version: &'static str,
}

const ALIVE: Alive = Alive {
    status: "ok",
    version: env!("CARGO_PKG_VERSION"),
};

/// The process lives; nothing else is asked, so that a slow database does not get it killed.
pub(crate) async fn lives() -> Json<Alive> {
    Json(ALIVE)
}

/// Database and engine work, and what is read and called can be kept.
pub(crate) async fn ready(State(state): State<AppState>) -> ApiResult<Alive> {
    let not_ready =
        |detail: String, hint: &str| Problem::new(503, "not-ready", "Not ready", detail).with_hint(hint);
    if !state.working.get() {
        return Err(not_ready(
            "the engine does not run".to_owned(),
            "it is starting or stopping; ask again in a moment",
        )
        .into());
    }
    let pinged = timeout(PING_WITHIN, state.service.store().ping()).await;
    if let Err(error) = pinged.unwrap_or_else(|_| Err(StoreError::no_answer(PING_WITHIN))) {
        tracing::warn!(%error, "not ready: the database does not answer");
        return Err(not_ready(
            format!("the database does not answer: {error}"),
            "look at the database; the host goes on by itself",
        )
        .into());
    }
    if let Some(said) = state.service.engine().no_room() {
        return Err(not_ready(
            format!("flows have stopped: {said}"),
            "make room for the database; they are taken up again by themselves",
        )
        .into());
    }
    Ok(Json(ALIVE))
}
