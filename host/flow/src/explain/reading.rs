//! What the story of a key is told from: its records with their attempts, and what happened beside them. Each look has a bound, and what is left
//! out is said.

use std::collections::BTreeMap;

use stecker_model::{
    RecordState,
    api::{DenialFilter, EventKind, StoryEvent},
};
use stecker_store::{AuditEntry, ExplainedRecord, StoreError};

use super::{
    Work,
    links::Thread,
    story::{self, Told},
    text, trail,
};

/// Records of a thread whose attempts are told; of older ones only that they came.
const DETAILED: usize = 5;
/// Attempts that are read of a record, from each end.
pub(super) const ATTEMPTS: u32 = 30;
/// The same, if every event is wanted.
const ATTEMPTS_IN_FULL: u32 = 500;
/// Audit entries of one thing.
const ENTRIES: u32 = 50;
/// The same, if every event is wanted.
const ENTRIES_IN_FULL: u32 = 500;
/// Kinds of refusals in a story.
const DENIALS: u32 = 20;

impl Work<'_> {
    /// The newest records of a thread with their attempts; says what it leaves out.
    pub(super) async fn told(&mut self, thread: &Thread) -> Result<Vec<Told>, StoreError> {
        let ends = if self.request.full {
            ATTEMPTS_IN_FULL
        } else {
            ATTEMPTS
        };
        let mut told = Vec::with_capacity(thread.records.len());
        for (index, record) in thread.records.iter().enumerate() {
            // A version that does not get on is told in full however old it is.
            let stuck = record.summary.state.is_open() || record.summary.state == RecordState::Quarantined;
            if index < DETAILED || (stuck && index < DETAILED * 2) {
                told.push(self.told_of(record.clone(), ends).await?);
            } else {
                told.push(Told {
                    record: record.clone(),
                    attempts: Vec::new(),
                    edits: Vec::new(),
                    replays: Vec::new(),
                    removed: None,
                });
            }
        }
        let flow = &thread.flow.spec.name;
        if thread.records.len() > DETAILED {
            self.left_out.push(format!(
                "{flow}: attempts are told of the newest {DETAILED} versions; `stecker records list --flow {flow} --key …` lists all"
            ));
        }
        if thread.is_cut() {
            self.left_out.push(format!(
                "{flow}: only the newest {} versions of `{}` were looked at",
                thread.records.len(),
                thread.key
            ));
        }
        Ok(told)
    }

    pub(super) async fn told_of(&mut self, record: ExplainedRecord, ends: u32) -> Result<Told, StoreError> {
        let id = record.summary.id.clone();
        let attempts = self
            .store
            .attempts_from_both_ends(self.tenant, &id, ends, ends)
            .await?;
        let all = u64::from(record.summary.attempts);
        let read = attempts.len() as u64;
        if read < all {
            self.left_out.push(format!(
                "{id}: of {all} attempts the first {ends} and the last {ends} are told{}",
                if self.request.full {
                    ""
                } else {
                    "; `--full` tells more"
                }
            ));
        }
        let (edits, replays) = self.store.edits_and_replays(self.tenant, &id).await?;
        Ok(Told {
            removed: self.store.removed_payload(self.tenant, &id).await?,
            record,
            attempts,
            edits,
            replays,
        })
    }

    /// Audit entries about the flows and connections of the threads and their secrets, oldest first.
    pub(super) async fn trail(
        &mut self,
        threads: &[Thread],
        since: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut subjects: Vec<String> = Vec::new();
        for thread in threads {
            let spec = &thread.flow.spec;
            subjects.push(format!("flow/{}", spec.name));
            for connection in [&spec.source.connection, &spec.destination.connection] {
                subjects.push(format!("connection/{connection}"));
                for credential in self.connections.facts(connection).await?.credentials {
                    subjects.push(format!("secret/{connection}/{}", credential.name));
                }
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        let limit = if self.request.full {
            ENTRIES_IN_FULL
        } else {
            ENTRIES
        };
        let mut trail = Vec::new();
        for subject in subjects {
            let entries = self.store.audit_of(self.tenant, &subject, since, limit).await?;
            if entries.len() >= limit as usize {
                self.left_out.push(format!(
                    "{subject}: only the newest {limit} entries of the audit trail were looked at"
                ));
            }
            trail.extend(entries);
        }
        trail.sort_by_key(|entry| entry.at);
        Ok(trail)
    }

    pub(super) async fn plugins(
        &mut self,
        digests: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let mut plugins = BTreeMap::new();
        for digest in digests {
            if let Ok(parsed) = digest.parse() {
                plugins.insert(digest, self.connections.plugin(&parsed).await?);
            }
        }
        Ok(plugins)
    }

    pub(super) async fn record_events(
        &mut self,
        thread: &Thread,
        told: &[Told],
        trail: &[AuditEntry],
    ) -> Result<Vec<StoryEvent>, StoreError> {
        let digests: Vec<String> = told
            .iter()
            .flat_map(|one| {
                let attempts = one.attempts.iter().map(|attempt| attempt.release.to_string());
                attempts.chain([one.record.release.to_string()])
            })
            .collect();
        let plugins = self.plugins(digests).await?;
        let mut events = Vec::new();
        let flow = format!("flow/{}", thread.flow.spec.name);
        for one in told {
            events.extend(story::of_record(thread, one, &plugins));
            let decisions = trail.iter().filter(|entry| entry.subject == flow);
            events.extend(decisions.filter_map(|entry| trail::decision(entry, &one.record)));
        }
        Ok(events)
    }

    /// What happened beside the records: to flows, connections and secrets, refusals, sources that cannot be read.
    pub(super) async fn events_beside(
        &mut self,
        threads: &[Thread],
        (trail, plugins): (&[AuditEntry], &BTreeMap<String, String>),
        since: i64,
    ) -> Result<Vec<StoryEvent>, StoreError> {
        let mut events = Vec::new();
        for entry in trail {
            // That things were made once is told only if everything is.
            if entry.action.ends_with(".create") && !self.request.full {
                continue;
            }
            let flow = threads
                .iter()
                .map(|thread| &thread.flow.spec.name)
                .find(|flow| entry.subject == format!("flow/{flow}"));
            events.extend(trail::event(entry, flow, plugins));
        }
        let mut connections = Vec::new();
        for thread in threads {
            let spec = &thread.flow.spec;
            connections.extend([
                spec.source.connection.clone(),
                spec.destination.connection.clone(),
            ]);
            let reader = self.store.reader_state(self.tenant, &spec.name).await?;
            if let Some(error) = reader.last_error {
                events.push(StoryEvent {
                    at: error.at,
                    last_at: None,
                    times: 1,
                    kind: EventKind::Reading,
                    system: spec.source.connection.to_string(),
                    flow: Some(spec.name.clone()),
                    record: None,
                    text: format!(
                        "cannot be read: {}: {}",
                        error.code,
                        text::first_line(&error.message)
                    ),
                    release: None,
                    node: None,
                    actor: None,
                    details: BTreeMap::new(),
                });
            }
        }
        connections.sort_unstable();
        connections.dedup();
        for connection in connections {
            let filter = DenialFilter {
                connection: Some(connection),
                since: Some(since),
                limit: Some(DENIALS),
                ..DenialFilter::default()
            };
            let list = self.store.denials(self.tenant, &filter).await?;
            events.extend(list.denials.iter().map(story::of_denial));
        }
        Ok(events)
    }
}
