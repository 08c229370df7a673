//! Where else a key occurs: in the flows that have the same key, and across systems, because the id that one flow was given is the key of the
//! next one.

use stecker_model::Name;
use stecker_store::{ExplainedRecord, FlowRow, Store, StoreError};

use crate::outcome::Progress;

/// Versions of a key that are told of one flow.
const VERSIONS: u32 = 20;
/// Flows that a key is followed through.
const THREADS: usize = 10;
/// Ids of one record that are followed.
const IDS: usize = 5;

/// What one flow has of a key.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    pub(crate) flow: FlowRow,
    pub(crate) key: String,
    /// Its newest records, the newest first; never empty.
    pub(crate) records: Vec<ExplainedRecord>,
}

impl Thread {
    /// Whether there may be more records than were looked at.
    pub(crate) fn is_cut(&self) -> bool {
        self.records.len() >= VERSIONS as usize
    }

    fn name(&self) -> &Name {
        &self.flow.spec.name
    }

    /// What the destination calls it: ids that it gave, and keys that the transforms made.
    fn names_there(&self) -> Vec<String> {
        let mut names = Vec::new();
        for record in &self.records {
            let ids = record.summary.external_id.iter().flat_map(|ids| ids.split(','));
            let progress = Progress::parse(record.outputs.as_deref());
            for name in ids.chain(progress.keys()) {
                if names.len() < IDS && !name.is_empty() && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }
}

/// Follows a key through the flows of a tenant, in the order in which its records were accepted.
pub(crate) async fn follow(
    store: &Store,
    tenant: &Name,
    flows: &[FlowRow],
    key: &str,
) -> Result<Vec<Thread>, StoreError> {
    let mut threads: Vec<Thread> = Vec::new();
    for flow in flows {
        add(store, tenant, flow, key, &mut threads).await?;
    }
    let mut looked_at = 0;
    while let Some(thread) = threads.get(looked_at).cloned() {
        looked_at += 1;
        if threads.len() >= THREADS {
            break;
        }
        // Ids are only unique within a system: what the ERP calls 17 is not what the shop calls so.
        let system = &thread.flow.spec.destination.connection;
        for name in thread.names_there() {
            for flow in flows.iter().filter(|flow| flow.spec.source.connection == *system) {
                add(store, tenant, flow, &name, &mut threads).await?;
            }
        }
        let source = &thread.flow.spec.source.connection;
        for (flow, key) in store.keys_of_external_id(tenant, &thread.key, 20).await? {
            let before = flows
                .iter()
                .find(|row| row.spec.name == flow && row.spec.destination.connection == *source);
            if let Some(before) = before {
                add(store, tenant, before, &key, &mut threads).await?;
            }
        }
    }
    threads.sort_by_key(|thread| thread.records.last().map(|first| first.summary.accepted_at));
    Ok(threads)
}

async fn add(
    store: &Store,
    tenant: &Name,
    flow: &FlowRow,
    key: &str,
    threads: &mut Vec<Thread>,
) -> Result<(), StoreError> {
    let known = threads
        .iter()
        .any(|thread| *thread.name() == flow.spec.name && thread.key == key);
    if known || threads.len() >= THREADS {
        return Ok(());
    }
    let records = store
        .records_of_key(tenant, &flow.spec.name, key, VERSIONS)
        .await?;
    if !records.is_empty() {
        threads.push(Thread {
            flow: flow.clone(),
            key: key.to_owned(),
            records,
        });
    }
    Ok(())
}
