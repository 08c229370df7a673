//! Explains one business key: its story across systems in order, what is probably the cause of where it is, whom else that hits, and what to
//! do.
//!
//! Three parts that know nothing of each other's business: looking things up (`resolve`, `links`, `gather`, …), each look with a bound;
//! the rules (`causes`), which are pure and decide from facts alone; and the story (`story`, `trail`), which is pure too. This file leads
//! from one to the next.

pub(crate) mod causes;
mod connections;
mod facts;
mod field;
mod gather;
mod links;
mod resolve;
mod story;
mod summary;
mod surroundings;
mod text;
mod trail;
mod unread;

use std::collections::BTreeMap;

use stecker_model::{
    Name, OnQuarantine, Operation, RecordId, RecordState,
    api::{
        DenialFilter, EventKind, ExplainRequest, Explanation, FoundBy, Hypothesis, Reason, RecordSteps,
        RecordSummary, SameCause, StoryEvent, Whereabouts,
    },
};
use stecker_store::{AuditEntry, ExplainedRecord, FlowRow, Store, StoreError};

use crate::{Engine, FlowError};
use causes::Finding;
use connections::Connections;
use facts::{Case, Elsewhere, Failure, FlowFacts, Others, Stage, UpstreamBreaker};
use gather::{Gather, RunSteps};
use links::Thread;
use resolve::Resolved;
use story::Told;

/// Flows of a tenant that are looked at.
const FLOWS: usize = 200;
/// Records of a thread whose attempts are told; of older ones only that they came.
const DETAILED: usize = 5;
/// Attempts that are read of a record, from each end.
const ATTEMPTS: u32 = 30;
/// The same, if every event is wanted.
const ATTEMPTS_IN_FULL: u32 = 500;
/// Audit entries of one thing.
const ENTRIES: u32 = 50;
/// The same, if every event is wanted.
const ENTRIES_IN_FULL: u32 = 500;
/// How long before a record came its story begins: what was changed shortly before is part of it.
const BEFORE_MS: i64 = 60 * 60 * 1_000;
/// Calls that came in that are looked through for a key that is not there.
const CALLS: u32 = 200;
/// Kinds of refusals in a story.
const DENIALS: u32 = 20;

impl Engine {
    /// Explains a business key. Writes nothing but what plugins were refused until now; runs the transforms of a record that does not get
    /// on again, which are pure.
    ///
    /// # Errors
    /// [`FlowError::Ambiguous`]; no such flow; a store that fails.
    pub async fn explain(&self, tenant: &Name, request: &ExplainRequest) -> Result<Explanation, FlowError> {
        // Whoever asks wants to hear what happened a moment ago too.
        self.write_books().await?;
        let store = self.store();
        let mut flows = store.flows(tenant).await?;
        if let Some(wanted) = &request.flow
            && !flows.iter().any(|row| row.spec.name == *wanted)
        {
            return Err(FlowError::not_found("flow", wanted));
        }
        let mut left_out = Vec::new();
        if flows.len() > FLOWS {
            left_out.push(format!(
                "only the first {FLOWS} of {} flows were looked at",
                flows.len()
            ));
            flows.truncate(FLOWS);
        }
        let work = Work {
            engine: self,
            store,
            tenant,
            now: self.now(),
            request,
            flows: &flows,
            connections: Connections::new(store, tenant).await,
            left_out,
        };
        let (key, found_by) = match resolve::resolve(store, tenant, &flows, &request.key).await? {
            Resolved::Key(key, by) => (key, by),
            Resolved::Several(keys, more) => {
                return Err(FlowError::Ambiguous {
                    text: request.key.clone(),
                    candidates: keys,
                    more,
                });
            }
            Resolved::Nothing(near) => return Ok(work.unread(&near).await?),
        };
        let mut threads = links::follow(store, tenant, &flows, &key).await?;
        if let Some(wanted) = &request.flow {
            threads.retain(|thread| thread.flow.spec.name == *wanted);
        }
        if threads.is_empty() {
            // The key is there, and not where it was asked for.
            return Ok(work.unread(&[key]).await?);
        }
        Ok(work.explain(key, found_by, &threads).await?)
    }
}

#[async_trait::async_trait]
impl RunSteps for (&Engine, &Name) {
    async fn steps(&self, id: &RecordId) -> Result<RecordSteps, FlowError> {
        self.0.steps(self.1, id).await
    }

    async fn breaker(&self, connection: &Name) -> Result<Option<UpstreamBreaker>, StoreError> {
        let wait = match self.0.upstream_wait(self.1, connection).await {
            Ok(wait) => wait,
            Err(FlowError::Store(error)) => return Err(error),
            // No such connection any more: then nothing is known of its upstream.
            Err(_) => return Ok(None),
        };
        Ok(wait.map(|wait| UpstreamBreaker {
            held: wait.host.is_none(),
            upstream: wait.host.unwrap_or_else(|| wait.account.to_string()),
            since: wait.since,
            until: Some(wait.until),
            reason: wait.message,
        }))
    }
}

struct Work<'w> {
    engine: &'w Engine,
    store: &'w Store,
    tenant: &'w Name,
    now: i64,
    request: &'w ExplainRequest,
    flows: &'w [FlowRow],
    connections: Connections<'w>,
    left_out: Vec<String>,
}

/// A record that is explained, and what came of that.
struct Explained {
    case: Case,
    findings: Vec<Finding>,
}

impl Work<'_> {
    async fn explain(
        mut self,
        key: String,
        found_by: FoundBy,
        threads: &[Thread],
    ) -> Result<Explanation, StoreError> {
        let surroundings =
            surroundings::look(self.store, self.tenant, self.flows, &mut self.connections).await?;
        let since = threads
            .iter()
            .flat_map(|thread| &thread.records)
            .map(|record| record.summary.accepted_at)
            .min()
            .unwrap_or(self.now)
            .saturating_sub(BEFORE_MS);
        let trail = self.trail(threads, since).await?;
        let plugins = self.plugins(trail::digests(&trail)).await?;
        let mut story = Vec::new();
        let mut places = Vec::new();
        let mut explained = Vec::new();
        for thread in threads {
            let told = self.told(thread).await?;
            let held = self.held(thread).await?;
            if let (Some(record), Some(first)) = (&held, thread.records.first()) {
                story.push(StoryEvent {
                    text: format!(
                        "waits behind the record {record} of the same key, so that their order is kept"
                    ),
                    ..story::blank(thread, first, first.summary.accepted_at, EventKind::Held)
                });
            }
            places.extend(whereabouts(thread, held.clone()));
            for (record, waiting) in self.matters(thread, &told, held.as_ref()).await? {
                let runner = (self.engine, self.tenant);
                let mut gather = Gather {
                    store: self.store,
                    tenant: self.tenant,
                    now: self.now,
                    connections: &mut self.connections,
                    surroundings: &surroundings,
                    threads,
                    trail: &trail,
                    plugins: &plugins,
                };
                let (case, steps) = gather.case(thread, &record, waiting.as_ref(), &runner).await?;
                if let Some(steps) = steps {
                    story.extend(story::of_steps(thread, &record.record, &steps));
                }
                let findings = causes::of(&case);
                explained.push(Explained { case, findings });
            }
            story.extend(self.record_events(thread, &told, &trail).await?);
        }
        story.extend(self.events_beside(threads, (&trail, &plugins), since).await?);
        story::in_order(&mut story);
        let story = if self.request.full {
            story
        } else {
            story::folded(story)
        };
        let hypotheses = self.hypotheses(explained);
        Ok(Explanation {
            summary: summary::of(&key, &places, &hypotheses),
            key,
            found_by,
            as_of: self.now,
            places,
            hypotheses,
            story,
            left_out: self.left_out,
        })
    }

    /// The newest records of a thread with their attempts; says what it leaves out.
    async fn told(&mut self, thread: &Thread) -> Result<Vec<Told>, StoreError> {
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

    async fn told_of(&mut self, record: ExplainedRecord, ends: u32) -> Result<Told, StoreError> {
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

    async fn held(&self, thread: &Thread) -> Result<Option<RecordId>, StoreError> {
        let Some(newest) = thread
            .records
            .first()
            .filter(|record| record.summary.state.is_open())
        else {
            return Ok(None);
        };
        let holds = thread.flow.spec.delivery.on_quarantine == OnQuarantine::Hold;
        self.store.in_its_way(self.tenant, &newest.summary, holds).await
    }

    /// The records of a thread that are worth an explanation, each with the one that waits for it: the one that holds the newest back, else
    /// the newest, and an older one that is in quarantine while newer ones went past it.
    async fn matters(
        &mut self,
        thread: &Thread,
        told: &[Told],
        held: Option<&RecordId>,
    ) -> Result<Vec<(Told, Option<ExplainedRecord>)>, StoreError> {
        let Some(newest) = told.first() else {
            return Ok(Vec::new());
        };
        if let Some(id) = held {
            let known = told
                .iter()
                .find(|one| one.record.summary.id == *id && !one.attempts.is_empty());
            let first = match known {
                Some(known) => Some(known.clone()),
                None => match self.store.explained_record(self.tenant, id).await? {
                    Some(record) => Some(self.told_of(record, ATTEMPTS).await?),
                    // It went its way since.
                    None => None,
                },
            };
            if let Some(first) = first {
                return Ok(vec![(first, Some(newest.record.clone()))]);
            }
        }
        let mut matters = vec![(newest.clone(), None)];
        let passed = told
            .iter()
            .skip(1)
            .find(|one| one.record.summary.state == RecordState::Quarantined);
        if thread.flow.spec.delivery.on_quarantine == OnQuarantine::Continue {
            matters.extend(passed.map(|one| (one.clone(), None)));
        }
        Ok(matters)
    }

    /// Audit entries about the flows and connections of the threads and their secrets, oldest first.
    async fn trail(&mut self, threads: &[Thread], since: i64) -> Result<Vec<AuditEntry>, StoreError> {
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

    async fn plugins(
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

    async fn record_events(
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
    async fn events_beside(
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

    /// What does not get on first, in the order of the flows, then the rest.
    fn hypotheses(&self, explained: Vec<Explained>) -> Vec<Hypothesis> {
        let hangs = |one: &Explained| {
            let state = one.case.record.state;
            state.is_open() || state == RecordState::Quarantined
        };
        let anything_hangs = explained.iter().any(hangs);
        let mut hypotheses = Vec::new();
        for one in explained {
            // That it went through elsewhere is in `places`; here it would only be in the way.
            if anything_hangs && !hangs(&one) {
                continue;
            }
            for finding in one.findings {
                hypotheses.push(self.hypothesis(&one.case, finding));
            }
        }
        if !anything_hangs {
            // Where it ended up is what matters of what went through.
            hypotheses.reverse();
        }
        hypotheses
    }

    fn hypothesis(&self, case: &Case, finding: Finding) -> Hypothesis {
        let mut sentence = finding.sentence;
        if let Some(waiting) = &case.waiting {
            sentence = format!(
                "{} (version {}) waits behind {} (version {}) of the same key. {sentence}",
                waiting.id, waiting.source_version, case.record.id, case.record.source_version
            );
        }
        Hypothesis {
            cause: finding.cause,
            confidence: finding.confidence,
            flow: Some(case.flow.name.clone()),
            record: Some(case.record.id.clone()),
            sentence,
            evidence: finding.evidence,
            field: finding.field,
            same_cause: same_cause(case),
            action: stecker_model::api::Action {
                sentence: finding.action,
                commands: finding
                    .commands
                    .iter()
                    .map(|command| command.line(self.tenant))
                    .collect(),
            },
        }
    }

    /// A key that is not in the ledger, or not in the flow that was asked for.
    async fn unread(mut self, near: &[String]) -> Result<Explanation, StoreError> {
        let key = self.request.key.clone();
        let flows: Vec<FlowRow> = self
            .flows
            .iter()
            .filter(|row| {
                self.request
                    .flow
                    .as_ref()
                    .is_none_or(|wanted| row.spec.name == *wanted)
            })
            .cloned()
            .collect();
        let sources = surroundings::sources(self.store, self.tenant, &flows).await?;
        let calls = self.store.calls_that_mention(self.tenant, &key, CALLS).await?;
        let mut hypotheses = Vec::new();
        let failing = sources.iter().find(|source| source.reader.last_error.is_some());
        if let Some(source) = failing.filter(|_| calls.is_empty())
            && let Some(case) = self.reading_case(source).await?
        {
            let mut findings = causes::of(&case);
            findings.truncate(1);
            for mut finding in findings {
                finding.commands.retain(|command| !command.is_about_a_record());
                // Whether the key would come from there at all is not known.
                finding.confidence = finding.confidence.min(stecker_model::api::Confidence::Likely);
                finding.sentence = format!(
                    "`{key}` was not read yet, and the source of the flow {} cannot be read. {}",
                    source.flow.spec.name, finding.sentence
                );
                hypotheses.push(Hypothesis {
                    record: None,
                    ..self.hypothesis(&case, finding)
                });
            }
        }
        let finding = unread::look(&key, self.now, &sources, &calls, near);
        hypotheses.push(Hypothesis {
            cause: finding.cause,
            confidence: finding.confidence,
            flow: None,
            record: None,
            sentence: finding.sentence,
            evidence: finding.evidence,
            field: None,
            same_cause: None,
            action: stecker_model::api::Action {
                sentence: finding.action,
                commands: finding
                    .commands
                    .iter()
                    .map(|command| command.line(self.tenant))
                    .collect(),
            },
        });
        self.left_out.push(format!(
            "keys were compared with the newest 5,000 of each flow, payloads with the newest 2,000, calls that came in with the newest {CALLS}"
        ));
        Ok(Explanation {
            summary: summary::of(&key, &[], &hypotheses),
            key,
            found_by: FoundBy::Nothing,
            as_of: self.now,
            places: Vec::new(),
            hypotheses,
            story: Vec::new(),
            left_out: self.left_out,
        })
    }

    /// The failure of a source, for the same rules as those of a record.
    async fn reading_case(&mut self, source: &surroundings::Source) -> Result<Option<Case>, StoreError> {
        let Some(error) = source.reader.last_error.clone() else {
            return Ok(None);
        };
        let spec = &source.flow.spec;
        let id = RecordId {
            flow: spec.name.clone(),
            seq: 1,
        };
        Ok(Some(Case {
            now: self.now,
            record: RecordSummary {
                id,
                stream: spec.source.stream.clone(),
                key: self.request.key.clone(),
                source_version: String::new(),
                operation: Operation::Upsert,
                state: RecordState::Sending,
                attempts: 0,
                accepted_at: self.now,
                updated_at: error.at,
                next_attempt_at: error.next_try_at,
                external_id: None,
                reason: None,
            },
            waiting: None,
            failure: Some(Failure {
                stage: Stage::Reading,
                reason: Reason {
                    code: error.code.clone(),
                    message: error.message.clone(),
                    path: None,
                },
                outcome: None,
                first_at: error.at,
                last_at: error.at,
                times: 1,
                place: format!("flow/{}, reading", spec.name),
            }),
            flow: FlowFacts {
                name: spec.name.clone(),
                paused: source.flow.paused.clone(),
                open: 0,
            },
            connection: self.connections.facts(&spec.source.connection).await?,
            others: Others {
                last_good: source.reader.last_read_at,
                ..Others::default()
            },
            same_cause: None,
            elsewhere: Vec::<Elsewhere>::new(),
            denials: Vec::new(),
            field: None,
            named: Vec::new(),
            delivered_before: Vec::new(),
            changes: Vec::new(),
            given_up_by: None,
            breaker: None,
        }))
    }
}

fn whereabouts(thread: &Thread, held: Option<RecordId>) -> Option<Whereabouts> {
    let record = &thread.records.first()?.summary;
    let spec = &thread.flow.spec;
    Some(Whereabouts {
        flow: spec.name.clone(),
        from: format!("{}/{}", spec.source.connection, spec.source.stream),
        to: format!("{}/{}", spec.destination.connection, spec.destination.stream),
        key: thread.key.clone(),
        record: record.id.clone(),
        source_version: record.source_version.clone(),
        operation: record.operation,
        state: record.state,
        since: record.updated_at,
        attempts: record.attempts,
        next_attempt_at: record.next_attempt_at,
        held_behind: held,
        external_id: record.external_id.clone(),
        reason: record.reason.clone(),
    })
}

/// Whom else the cause hits: the flow's own records, and other flows that fail in the same way at the same system.
fn same_cause(case: &Case) -> Option<SameCause> {
    let own = case.same_cause.as_ref()?;
    let mut same = SameCause {
        count: own.count,
        or_more: own.or_more,
        keys: own.keys.clone(),
        since: Some(own.since),
        flows: vec![own.flow.clone()],
        group: Some(own.id.clone()),
    };
    for other in case.elsewhere_like(|reason| reason.code == own.reason.code) {
        if !same.flows.contains(&other.flow) {
            same.flows.push(other.flow.clone());
        }
        same.count += other.count;
        same.since = same.since.min(Some(other.since));
    }
    Some(same)
}
