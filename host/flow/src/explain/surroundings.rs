//! What is the same for every record of one explanation: what is stuck in the tenant's flows, and which sources cannot be read.

use stecker_model::{Name, api::Reason};
use stecker_store::{FlowRow, ReaderState, Store, StoreError};

use super::{connections::Connections, facts::Elsewhere};

/// Flows that are looked at.
const FLOWS: usize = 30;
/// Causes of each.
const CAUSES: u32 = 5;

/// What fails in each flow, the flow itself among them.
pub(crate) async fn look(
    store: &Store,
    tenant: &Name,
    flows: &[FlowRow],
    connections: &mut Connections<'_>,
) -> Result<Vec<Elsewhere>, StoreError> {
    let mut found = Vec::new();
    for row in flows.iter().take(FLOWS) {
        let flow = &row.spec.name;
        let reader = store.reader_state(tenant, flow).await?;
        if let Some(error) = reader.last_error {
            let source = &row.spec.source.connection;
            found.push(Elsewhere {
                flow: flow.clone(),
                connection: source.clone(),
                hosts: connections.facts(source).await?.hosts,
                reason: Reason {
                    code: error.code,
                    message: error.message,
                    path: None,
                },
                count: 0,
                since: error.at,
                reading: true,
            });
        }
        let destination = &row.spec.destination.connection;
        for cause in store.stuck_causes(tenant, flow, CAUSES).await? {
            found.push(Elsewhere {
                flow: flow.clone(),
                connection: destination.clone(),
                hosts: connections.facts(destination).await?.hosts,
                reason: cause.reason,
                count: cause.count,
                since: cause.since,
                reading: false,
            });
        }
    }
    Ok(found)
}

/// How far a flow's source was read, for a record that did not come.
pub(crate) struct Source {
    pub(crate) flow: FlowRow,
    pub(crate) reader: ReaderState,
}

pub(crate) async fn sources(
    store: &Store,
    tenant: &Name,
    flows: &[FlowRow],
) -> Result<Vec<Source>, StoreError> {
    let mut sources = Vec::new();
    for row in flows.iter().take(FLOWS) {
        let reader = store.reader_state(tenant, &row.spec.name).await?;
        sources.push(Source {
            flow: row.clone(),
            reader,
        });
    }
    Ok(sources)
}
