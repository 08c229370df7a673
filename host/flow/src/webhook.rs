//! Calls from systems: stored byte for byte first, then taken apart by the connector, then settled into the ledger.

use stecker_model::{ErrorCode, Name, RawRequest, Received, Record, Reply, Verdict, api::Reason};
use stecker_store::{Fanout, FlowRow, NewRecord, SettleWebhook, Store, WebhookVerdict};

use crate::{FlowError, depth::Depths, fail_point, gate::Gate, sessions::Sessions};

/// Seconds after which a system should call again whose call was not kept. What waits is tried again every few seconds to minutes.
const BACKLOG_RETRY: u64 = 60;

/// What a call led to.
pub(crate) struct Handled {
    pub(crate) reply: Reply,
    /// Flows that got records.
    pub(crate) flows: Vec<Name>,
}

fn plain(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// Lets a call in, before its body is read.
///
/// # Errors
/// [`FlowError::TooManyCalls`], [`FlowError::TenantFull`]; no such connection; a store that fails.
pub(crate) async fn admit(
    store: &Store,
    (gate, depths): (&Gate, &Depths),
    (tenant, connection): (&Name, &Name),
    now: i64,
) -> Result<(), FlowError> {
    let stored = store.connection(tenant, connection).await?;
    let stored = stored.ok_or_else(|| FlowError::not_found("connection", connection))?;
    let limits = stored.spec.limits.webhook;
    gate.admit(tenant, connection, &limits, now)
        .map_err(|retry_after| FlowError::TooManyCalls {
            connection: connection.clone(),
            per_second: limits.per_second,
            retry_after,
        })?;
    match depths.of(store, tenant).await? {
        None => Ok(()),
        Some(deep) => Err(FlowError::TenantFull {
            tenant: tenant.clone(),
            waiting: deep.waiting,
            max_waiting: deep.max_waiting,
            retry_after: BACKLOG_RETRY,
        }),
    }
}

/// Takes a call in. An unknown connection is an error; anything the connector does with the call is a reply.
pub(crate) async fn handle(
    store: &Store,
    sessions: &Sessions,
    tenant: &Name,
    connection: &Name,
    request: RawRequest,
    now: i64,
) -> Result<Handled, FlowError> {
    let stored = store.connection(tenant, connection).await?;
    let stored = stored.ok_or_else(|| FlowError::not_found("connection", connection))?;
    let backlog = stored.spec.limits.webhook.backlog;
    let id = store
        .store_webhook(tenant, connection, &request, backlog, now)
        .await?
        .ok_or_else(|| FlowError::Backlog {
            connection: connection.clone(),
            backlog,
            retry_after: BACKLOG_RETRY,
        })?;
    fail_point::pass("webhook-stored");
    settle(store, sessions, tenant, connection, id, request, now).await
}

/// Takes a stored call apart and settles it. Also the way back in for calls that a kill or a failing connector left unsettled.
pub(crate) async fn settle(
    store: &Store,
    sessions: &Sessions,
    tenant: &Name,
    connection: &Name,
    id: i64,
    request: RawRequest,
    now: i64,
) -> Result<Handled, FlowError> {
    let bound = match sessions.connection_for_webhook(tenant, connection).await {
        Ok(bound) => bound,
        Err(FlowError::Store(error)) => return Err(error.into()),
        Err(error) => return Ok(kept_for_later(tenant, connection, &error)),
    };
    let received = match bound.receive(request).await.result {
        Ok(received) => received,
        Err(error) if error.code() == ErrorCode::Unsupported => {
            let reason = Reason {
                code: error.code().as_str().to_owned(),
                message: "the connector takes no webhooks".to_owned(),
                path: None,
            };
            let refused = SettleWebhook::without_records(WebhookVerdict::Refused, Some(reason));
            store.settle_webhook(tenant, connection, id, refused, now).await?;
            return Ok(Handled {
                reply: plain(404),
                flows: Vec::new(),
            });
        }
        Err(error) => return Ok(kept_for_later(tenant, connection, &error.into())),
    };
    let Received {
        verdict,
        event_id,
        records,
        reply,
        reason,
    } = received;
    let reason = reason.map(|message| Reason {
        code: "webhook".to_owned(),
        message,
        path: None,
    });
    let (verdict, default_status) = match verdict {
        Verdict::Accept => (WebhookVerdict::Accepted, 204),
        Verdict::Ignore => (WebhookVerdict::Ignored, 204),
        Verdict::Refuse => (WebhookVerdict::Refused, 401),
    };
    let fanout = if matches!(verdict, WebhookVerdict::Accepted) {
        fan_out(store.flows(tenant).await?, connection, &bound.release, &records)
    } else {
        Vec::new()
    };
    let flows: Vec<Name> = fanout.iter().map(|part| part.flow.clone()).collect();
    let settled = SettleWebhook {
        verdict,
        event_id,
        reason,
        fanout,
        generation: bound.generation,
    };
    let committed = store.settle_webhook(tenant, connection, id, settled, now).await?;
    fail_point::pass("webhook-settled");
    tracing::debug!(%tenant, %connection, id, accepted = committed.accepted, duplicates = committed.duplicates, "webhook settled");
    Ok(Handled {
        reply: reply.unwrap_or_else(|| plain(default_status)),
        flows,
    })
}

/// The call is safe, only not understood yet. If the connector failed, the system need not send it again. If it could not even be told
/// whether the call is genuine, because the operator has something to mend, nobody is told that it was taken.
fn kept_for_later(tenant: &Name, connection: &Name, error: &FlowError) -> Handled {
    tracing::warn!(%tenant, %connection, %error, "a webhook was stored, but its connector failed; it is tried again");
    let taken = !matches!(
        error,
        FlowError::Load(_)
            | FlowError::Untrusted { .. }
            | FlowError::Call {
                code: ErrorCode::Config | ErrorCode::Auth | ErrorCode::Denied,
                ..
            }
    );
    Handled {
        reply: plain(if taken { 202 } else { 503 }),
        flows: Vec::new(),
    }
}

/// Every flow that takes webhooks of this connection gets the records of its own stream.
fn fan_out(
    flows: Vec<FlowRow>,
    connection: &Name,
    release: &stecker_model::Digest,
    records: &[Record],
) -> Vec<Fanout> {
    flows
        .into_iter()
        .filter(|row| row.spec.trigger.webhook && row.spec.source.connection == *connection)
        .filter_map(|row| {
            let stream = row.spec.source.stream;
            let own: Vec<NewRecord> = records
                .iter()
                .filter(|record| record.stream == stream)
                .map(|record| NewRecord {
                    record: record.clone(),
                })
                .collect();
            (!own.is_empty()).then(|| Fanout {
                flow: row.spec.name,
                stream,
                release: release.clone(),
                records: own,
            })
        })
        .collect()
}
