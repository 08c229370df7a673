//! What people ask the engine about single records and about replays: what the transforms make of them now, and what the destination has.

use stecker_model::{
    Name, RecordId,
    api::{
        PayloadText, PreviewReplay, RecordSteps, ReplayFinding, ReplayInfo, ReplayPreview, ReplaySelection,
        StartReplay,
    },
};
use stecker_store::{DueRecord, NewReplay};

use super::Engine;
use crate::{FlowError, preview::Comparison, steps};

/// Records that one answer looks at, unless told otherwise.
const LOOKED_AT: u32 = 200;

impl Engine {
    /// A record step by step: what each transform makes of its payload now, and what would be sent.
    ///
    /// # Errors
    /// No such record, or one whose payload is not kept any more; a transform that does not load; a store that fails.
    pub async fn steps(&self, tenant: &Name, id: &RecordId) -> Result<RecordSteps, FlowError> {
        let text = self.payload(tenant, id).await?;
        let row = self.flow_row(tenant, &id.flow).await?;
        let due = self.ledger_record(tenant, id).await?;
        let transforms = self.inner.sessions.transforms(tenant, &row.spec).await?;
        Ok(steps::of(&row.spec, &transforms, due, text, self.now()).await)
    }

    /// A record's payload as a text.
    ///
    /// # Errors
    /// No such record, or one whose payload is not kept any more; a store that fails.
    pub async fn payload(&self, tenant: &Name, id: &RecordId) -> Result<PayloadText, FlowError> {
        let found = self.inner.store.payload_text(tenant, id).await?;
        found.ok_or_else(|| FlowError::not_found("record", id))
    }

    async fn ledger_record(&self, tenant: &Name, id: &RecordId) -> Result<DueRecord, FlowError> {
        let found = self
            .inner
            .store
            .whole_records(tenant, &id.flow, &[id.seq])
            .await?;
        // Retention may have been faster than the look before.
        found
            .into_iter()
            .next()
            .ok_or_else(|| FlowError::not_found("record", id))
    }

    /// Where a payload does not fit the schema that the source gives for the flow's stream, or why that is not known. Never fails: these
    /// are warnings.
    pub async fn payload_warnings(
        &self,
        tenant: &Name,
        flow: &Name,
        payload: &serde_json::Value,
    ) -> Vec<String> {
        let asked = async {
            let row = self.flow_row(tenant, flow).await?;
            let streams = self.discover(tenant, &row.spec.source.connection).await?;
            Ok::<_, FlowError>((row.spec.source, streams))
        };
        match asked.await {
            Ok((source, streams)) => streams
                .iter()
                .find(|stream| stream.name == source.stream)
                .map(|stream| steps::misfits(&stream.schema, payload))
                .unwrap_or_default(),
            Err(error) => vec![format!(
                "the payload could not be held against the schema of the source: {error}"
            )],
        }
    }

    /// What a replay would do with the next records of a selection; compared with what the destination has, if asked for. Writes
    /// nothing, here or there.
    ///
    /// # Errors
    /// No such flow; a transform or destination that does not load or fails; a store that fails.
    pub async fn preview_replay(
        &self,
        tenant: &Name,
        request: &PreviewReplay,
    ) -> Result<ReplayPreview, FlowError> {
        let selection = &request.selection;
        let store = &self.inner.store;
        let limit = request.limit.unwrap_or(LOOKED_AT);
        let (seqs, next) = store
            .replay_candidates(tenant, selection, request.after, limit)
            .await?;
        let skips = store
            .replay_skips(tenant, &selection.flow, &seqs, selection.all_versions)
            .await?;
        let mut preview = ReplayPreview {
            records: seqs.len() as u64,
            next,
            ..ReplayPreview::default()
        };
        for reason in skips.values() {
            let skipped = &mut preview.skipped;
            let number = match *reason {
                "older" => &mut skipped.older,
                "open" => &mut skipped.open,
                _ => &mut skipped.gone,
            };
            *number += 1;
        }
        let wanted: Vec<i64> = seqs.into_iter().filter(|seq| !skips.contains_key(seq)).collect();
        preview.would_queue = wanted.len() as u64;
        if request.compare && !wanted.is_empty() {
            self.compare(tenant, selection, &wanted, &mut preview).await?;
        }
        Ok(preview)
    }

    async fn compare(
        &self,
        tenant: &Name,
        selection: &ReplaySelection,
        seqs: &[i64],
        preview: &mut ReplayPreview,
    ) -> Result<(), FlowError> {
        let spec = self.flow_row(tenant, &selection.flow).await?.spec;
        let records = self
            .inner
            .store
            .whole_records(tenant, &selection.flow, seqs)
            .await?;
        let sessions = &self.inner.sessions;
        let transforms = sessions.transforms(tenant, &spec).await?;
        let destination = sessions.connection(tenant, &spec.destination.connection).await?;
        let comparison = Comparison {
            spec: &spec,
            destination: &destination,
            transforms: &transforms,
        };
        for compared in comparison.compare(records).await? {
            preview.compared.count(compared.finding);
            if compared.finding != ReplayFinding::Equal {
                preview.samples.push(compared);
            }
        }
        Ok(())
    }

    /// Starts a replay of what the ledger holds at this moment, and puts its set together. It is queued by whoever holds the flow, from
    /// then on; if this call breaks off, that one completes the set too.
    ///
    /// # Errors
    /// No such flow; a name that is taken; a store that fails.
    pub async fn start_replay(
        &self,
        tenant: &Name,
        name: &Name,
        start: &StartReplay,
        actor: &str,
    ) -> Result<ReplayInfo, FlowError> {
        let store = &self.inner.store;
        let new = NewReplay {
            name,
            selection: &start.selection,
            reason: &start.reason,
            actor,
            rate: start.rate(),
        };
        let begun = store.create_replay(tenant, new, self.now()).await?;
        while store.collect_replay(tenant, name, self.now()).await? {}
        self.wake_flow(tenant, &start.selection.flow);
        Ok(store.replay(tenant, name).await?.unwrap_or(begun))
    }

    /// A replay and how far it is.
    ///
    /// # Errors
    /// No such replay; a store that fails.
    pub async fn replay(&self, tenant: &Name, name: &Name) -> Result<ReplayInfo, FlowError> {
        let found = self.inner.store.replay(tenant, name).await?;
        found.ok_or_else(|| FlowError::not_found("replay", name))
    }
}
