//! A flow's state and account, put together from what the store has.

use stecker_model::{
    FlowSpec, Name, RecordState,
    api::{Circuit, CircuitState, FlowHealth, FlowStatus, HeldBack, Waiting},
};
use stecker_store::{FlowRow, Store, StoreError};

use crate::{circuit, depth::Depths, upstream::Accounts};

/// A circuit in a few words: its state, since when, why, and what ends it.
pub(crate) fn told(circuit: &Circuit) -> String {
    let state = match circuit.state {
        CircuitState::Closed => return "its circuit is closed".to_owned(),
        CircuitState::BackingOff => "it rests after a crash",
        CircuitState::Open => "its circuit is open",
        CircuitState::Probing => "its circuit is open, and one call is tried",
    };
    let then = match (circuit.state, circuit.until) {
        (CircuitState::Open, None) => "; it stays so until a person closes it".to_owned(),
        (CircuitState::Open | CircuitState::BackingOff, Some(until)) => {
            format!("; tried again at {}", time(until))
        }
        _ => String::new(),
    };
    format!(
        "{state} since {}, because {}{then}",
        time(circuit.since),
        circuit.reason
    )
}

pub(crate) fn time(at: i64) -> String {
    chrono::DateTime::from_timestamp_millis(at).map_or_else(
        || at.to_string(),
        |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// The end of a flow that is not called for a while, if there is one. A short rest is none.
async fn waiting(store: &Store, tenant: &Name, spec: &FlowSpec) -> Result<Option<Waiting>, StoreError> {
    for connection in [&spec.source.connection, &spec.destination.connection] {
        let Some(binder) = store.binder(tenant, connection).await? else {
            continue;
        };
        let circuit = circuit::current(binder.circuit, binder.connection.generation);
        if matches!(circuit.state, CircuitState::Open | CircuitState::Probing) {
            return Ok(Some(Waiting {
                connection: connection.clone(),
                circuit,
            }));
        }
    }
    Ok(None)
}

/// The status of one flow.
pub(crate) async fn of(
    store: &Store,
    upstreams: &Accounts,
    depths: &Depths,
    tenant: &Name,
    row: FlowRow,
) -> Result<FlowStatus, StoreError> {
    let flow = &row.spec.name;
    let waiting = waiting(store, tenant, &row.spec).await?;
    let mut upstream = upstreams.wait_of(tenant, &row.spec.source.connection).await?;
    if upstream.is_none() {
        upstream = upstreams
            .wait_of(tenant, &row.spec.destination.connection)
            .await?;
    }
    let held_back = depths.of(store, tenant).await?.map(|deep| HeldBack {
        waiting: deep.waiting,
        max_waiting: deep.max_waiting,
    });
    let state = store.reader_state(tenant, flow).await?;
    let counts = store.counts(tenant, flow).await?;
    let retried = store.retried(tenant, flow).await?;
    let (deliveries, removed) = store.deliveries_and_removed(tenant, flow).await?;
    let open = counts.iter().any(|(state, count)| state.is_open() && *count > 0);
    let sending = counts.get(&RecordState::Sending).is_some_and(|count| *count > 0);
    let health = if row.paused.is_some() {
        FlowHealth::Paused
    } else if waiting.is_some() || upstream.is_some() {
        FlowHealth::Waiting
    } else if state.last_error.is_some() {
        FlowHealth::Failing
    } else if open || sending || (state.last_read_at.is_some() && !state.caught_up) {
        FlowHealth::Running
    } else {
        FlowHealth::Idle
    };
    Ok(FlowStatus {
        spec: row.spec,
        health,
        counts,
        retried,
        duplicates: state.duplicates,
        deliveries,
        removed,
        cursor: state.cursor,
        last_read_at: state.last_read_at,
        caught_up: state.caught_up,
        reads_completed: state.reads_completed,
        last_error: state.last_error,
        paused: row.paused,
        waiting,
        upstream,
        held_back,
    })
}
