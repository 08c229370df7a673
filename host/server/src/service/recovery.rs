//! Stuck records: by cause, step by step, edited, and decided on in pieces.

use stecker_flow::now_ms;
use stecker_model::{
    Name, RecordId,
    api::{
        Affected, CauseGroup, Discard, EditPayload, Edited, PayloadText, Problem, QuarantineSelection,
        RecordSteps, SelectionPreview,
    },
};
use stecker_store::NewEdit;

use super::{PAGE, SELECTION, Service, failed, reason};
use crate::problem;

/// Groups of one list.
const GROUPS: u32 = 200;
/// Records that one transaction of a decision moves.
const PIECE: u32 = 500;
/// Bytes of an edited payload.
const PAYLOAD_BYTES: usize = 4 << 20;

pub(super) async fn groups(service: &Service, flow: Option<&Name>) -> Result<Vec<CauseGroup>, Problem> {
    if let Some(flow) = flow {
        service.has_flow(flow).await?;
    }
    service
        .store
        .cause_groups(&service.tenant, flow, GROUPS)
        .await
        .map_err(failed)
}

pub(super) async fn preview(
    service: &Service,
    selection: &QuarantineSelection,
) -> Result<SelectionPreview, Problem> {
    selected(selection)?;
    service
        .store
        .quarantine_preview(&service.tenant, selection, now_ms())
        .await
        .map_err(failed)
}

pub(super) async fn retry(service: &Service, selection: &QuarantineSelection) -> Result<Affected, Problem> {
    selected(selection)?;
    named(service, selection).await?;
    let store = &service.store;
    let mut pieces = Pieces::of(selection);
    while let Some(piece) = pieces.next() {
        let affected = store
            .retry_quarantined(&service.tenant, piece, &service.actor, now_ms())
            .await
            .map_err(failed)?;
        pieces.met(affected);
        service.engine.wake_tenant(&service.tenant);
    }
    Ok(pieces.sum)
}

pub(super) async fn discard(service: &Service, discard: &Discard) -> Result<Affected, Problem> {
    selected(&discard.selection)?;
    reason(&discard.reason)?;
    named(service, &discard.selection).await?;
    let store = &service.store;
    let mut pieces = Pieces::of(&discard.selection);
    while let Some(piece) = pieces.next() {
        let affected = store
            .discard_quarantined(&service.tenant, piece, &discard.reason, &service.actor, now_ms())
            .await
            .map_err(failed)?;
        pieces.met(affected);
        // Records that waited behind the discarded ones can go on.
        service.engine.wake_tenant(&service.tenant);
    }
    Ok(pieces.sum)
}

/// A group can only be selected by name. A selection with a moment was looked at before, which gave names to everything.
async fn named(service: &Service, selection: &QuarantineSelection) -> Result<(), Problem> {
    if selection.group.is_none() || selection.until.is_some() {
        return Ok(());
    }
    service.store.name_causes(&service.tenant).await.map_err(failed)
}

/// A decision in pieces, frozen at its moment: what goes into quarantine after it is met by none of them, so they come to an end.
struct Pieces {
    selection: QuarantineSelection,
    only_one: bool,
    over: bool,
    sum: Affected,
}

impl Pieces {
    fn of(selection: &QuarantineSelection) -> Self {
        let now = now_ms();
        Self {
            selection: QuarantineSelection {
                until: Some(selection.until.unwrap_or(now).min(now)),
                limit: Some(selection.limit.unwrap_or(PIECE)),
                ..selection.clone()
            },
            only_one: selection.limit.is_some(),
            over: false,
            sum: Affected {
                records: 0,
                more: false,
            },
        }
    }

    fn next(&self) -> Option<&QuarantineSelection> {
        (!self.over).then_some(&self.selection)
    }

    fn met(&mut self, affected: Affected) {
        self.sum.records += affected.records;
        self.sum.more = affected.more && self.only_one;
        self.over = !affected.more || self.only_one;
    }
}

fn selected(selection: &QuarantineSelection) -> Result<(), Problem> {
    let anything = !selection.ids.is_empty()
        || selection.flow.is_some()
        || selection.group.is_some()
        || selection.code.is_some()
        || selection.key.is_some()
        || selection.since.is_some()
        || selection.until.is_some();
    if !anything {
        let what = "selects nothing: give record ids, or a flow, a group, a code, a key or a time";
        return Err(problem::invalid_field("selection", what));
    }
    if selection.ids.len() > SELECTION {
        return Err(problem::invalid_field(
            "ids",
            format!("has more than {SELECTION} records; select by group, flow or code instead"),
        ));
    }
    if let Some(limit) = selection.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
        return Err(problem::invalid_field(
            "limit",
            format!("{limit} is out of bounds; use 1 to {PAGE}"),
        ));
    }
    Ok(())
}

pub(super) async fn steps(service: &Service, id: &RecordId) -> Result<RecordSteps, Problem> {
    service
        .engine
        .steps(&service.tenant, id)
        .await
        .map_err(problem::flow)
}

pub(super) async fn payload(service: &Service, id: &RecordId) -> Result<PayloadText, Problem> {
    service
        .engine
        .payload(&service.tenant, id)
        .await
        .map_err(problem::flow)
}

pub(super) async fn edit(service: &Service, id: &RecordId, edit: &EditPayload) -> Result<Edited, Problem> {
    reason(&edit.reason)?;
    if edit.payload.len() > PAYLOAD_BYTES {
        return Err(problem::invalid_field(
            "payload",
            format!("has more than {} MiB", PAYLOAD_BYTES >> 20),
        ));
    }
    let payload: serde_json::Value = serde_json::from_str(&edit.payload)
        .map_err(|error| problem::invalid_field("payload", format!("is not JSON: {error}")))?;
    let new = NewEdit {
        payload: &edit.payload,
        reason: &edit.reason,
        actor: &service.actor,
        after_edits: edit.after_edits,
    };
    let done = service
        .store
        .edit_payload(&service.tenant, id, new, now_ms())
        .await
        .map_err(failed)?;
    let warnings = if done.changed {
        service
            .engine
            .payload_warnings(&service.tenant, &id.flow, &payload)
            .await
    } else {
        Vec::new()
    };
    Ok(Edited {
        id: id.clone(),
        changed: done.changed,
        edits: done.edits,
        warnings,
    })
}
