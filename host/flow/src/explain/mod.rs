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
mod not_there;
mod reading;
mod resolve;
mod story;
mod summary;
mod surroundings;
mod text;
mod trail;
mod unread;

use stecker_model::{
    Name, OnQuarantine, RecordId, RecordState,
    api::{
        Action, EventKind, ExplainRequest, Explanation, FoundBy, Hypothesis, RecordSteps, SameCause,
        StoryEvent, Whereabouts,
    },
};
use stecker_store::{ExplainedRecord, FlowRow, Store, StoreError};

use crate::{Engine, FlowError};
use causes::Finding;
use connections::Connections;
use facts::{Case, UpstreamBreaker};
use gather::{Gather, RunSteps};
use links::Thread;
use reading::ATTEMPTS;
use resolve::Resolved;
use story::Told;

/// Flows of a tenant that are looked at.
const FLOWS: usize = 200;
/// How long before a record came its story begins: what was changed shortly before is part of it.
const BEFORE_MS: i64 = 60 * 60 * 1_000;

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
        let action = action(&finding, self.tenant);
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
            action,
        }
    }
}

/// What is recommended, in words that can be typed.
fn action(finding: &Finding, tenant: &Name) -> Action {
    Action {
        sentence: finding.action.clone(),
        commands: finding
            .commands
            .iter()
            .map(|command| command.line(tenant))
            .collect(),
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
    let Some(own) = &case.same_cause else {
        let waiting = case.waiting_too.as_ref()?;
        return Some(SameCause {
            count: waiting.count,
            or_more: false,
            keys: waiting.keys.clone(),
            since: Some(waiting.since),
            flows: vec![case.flow.name.clone()],
            group: None,
        });
    };
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
