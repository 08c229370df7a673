//! What is known of a key that is not in the ledger: whether the sources are read at all, and who mentioned it.

use stecker_model::{
    Operation, RecordId, RecordState,
    api::{Explanation, FoundBy, Hypothesis, Reason, RecordSummary},
};
use stecker_store::{FlowRow, StoreError};

use super::{
    Work, action, causes,
    facts::{Case, Elsewhere, Failure, FlowFacts, Others, Stage},
    summary, surroundings, unread,
};

/// Calls that came in that are looked through for a key that is not there.
const CALLS: u32 = 200;

impl Work<'_> {
    /// A key that is not in the ledger, or not in the flow that was asked for.
    pub(super) async fn unread(mut self, near: &[String]) -> Result<Explanation, StoreError> {
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
        let action = action(&finding, self.tenant);
        hypotheses.push(Hypothesis {
            cause: finding.cause,
            confidence: finding.confidence,
            flow: None,
            record: None,
            sentence: finding.sentence,
            evidence: finding.evidence,
            field: None,
            same_cause: None,
            action,
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
            waiting_too: None,
        }))
    }
}
