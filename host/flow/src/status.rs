//! A flow's state and account, put together from what the store has.

use stecker_model::{
    Name, RecordState,
    api::{FlowHealth, FlowStatus},
};
use stecker_store::{FlowRow, Store, StoreError};

/// The status of one flow.
pub(crate) async fn of(store: &Store, tenant: &Name, row: FlowRow) -> Result<FlowStatus, StoreError> {
    let flow = &row.spec.name;
    let state = store.reader_state(tenant, flow).await?;
    let counts = store.counts(tenant, flow).await?;
    let retried = store.retried(tenant, flow).await?;
    let open = counts.iter().any(|(state, count)| state.is_open() && *count > 0);
    let sending = counts.get(&RecordState::Sending).is_some_and(|count| *count > 0);
    let health = if row.paused.is_some() {
        FlowHealth::Paused
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
        cursor: state.cursor,
        last_read_at: state.last_read_at,
        caught_up: state.caught_up,
        reads_completed: state.reads_completed,
        last_error: state.last_error,
        paused: row.paused,
    })
}
