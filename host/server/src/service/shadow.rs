//! Recorded calls of connections, and other releases tried on them.

use stecker_model::{
    Name, TapedCall,
    api::{Problem, ShadowReport, ShadowRequest, StartTaping, TapeList, TapesCleared},
};

use super::Service;
use crate::problem;

pub(super) async fn tapes(service: &Service, connection: &Name) -> Result<TapeList, Problem> {
    let list = service.engine.tapes(&service.tenant, connection).await;
    list.map_err(problem::flow)
}

pub(super) async fn start(
    service: &Service,
    connection: &Name,
    wish: &StartTaping,
) -> Result<TapeList, Problem> {
    let started = service
        .engine
        .start_taping(&service.tenant, connection, wish, &service.actor);
    started.await.map_err(problem::flow)
}

pub(super) async fn stop(service: &Service, connection: &Name) -> Result<TapeList, Problem> {
    let stopped = service
        .engine
        .stop_taping(&service.tenant, connection, &service.actor);
    stopped.await.map_err(problem::flow)
}

pub(super) async fn clear(service: &Service, connection: &Name) -> Result<TapesCleared, Problem> {
    let cleared = service
        .engine
        .clear_tapes(&service.tenant, connection, &service.actor);
    let tapes = cleared.await.map_err(problem::flow)?;
    Ok(TapesCleared { tapes })
}

/// As it goes to a person: a signature that the host needs to check a webhook again is of no use without the key, and no business of a test.
pub(super) async fn tape(
    service: &Service,
    connection: &Name,
    id: &str,
) -> Result<serde_json::Value, Problem> {
    let tape = service.engine.tape(&service.tenant, connection, id).await;
    let mut tape = tape.map_err(problem::flow)?;
    if let TapedCall::Receive(request) = &mut tape.call {
        for (name, value) in &mut request.headers {
            if ["signature", "hmac"].iter().any(|part| name.contains(part)) {
                "[redacted]".clone_into(value);
            }
        }
    }
    serde_json::to_value(&tape).map_err(|error| problem::internal(error.to_string()))
}

pub(super) async fn shadow(
    service: &Service,
    connection: &Name,
    request: &ShadowRequest,
) -> Result<ShadowReport, Problem> {
    let report = service.engine.shadow_named(&service.tenant, connection, request);
    report.await.map_err(problem::flow)
}
