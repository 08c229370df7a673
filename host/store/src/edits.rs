//! Edits of payloads of records in quarantine. What an edit replaces is kept beside it, and the idempotency key stays: it is the same
//! delivery of the same thing, corrected.

use sha2::{Digest as _, Sha256};
use stecker_model::{
    Name, RecordId, RecordState,
    api::{EditInfo, PayloadText},
};

use crate::{
    AuditEntry, Store, StoreError, audit,
    counters::{PAYLOAD_BYTES, Tally},
    due::parse_state,
    sql::{Columns, readable, storable, to_i64},
};

/// An edit of a payload.
#[derive(Debug, Clone, Copy)]
pub struct NewEdit<'e> {
    /// The new payload.
    pub payload: &'e str,
    /// Why.
    pub reason: &'e str,
    /// Who.
    pub actor: &'e str,
    /// How many edits there may be before it; none: any number.
    pub after_edits: Option<u32>,
}

/// What an edit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditDone {
    /// Whether the payload was another one before.
    pub changed: bool,
    /// How many edits there are by now.
    pub edits: u32,
}

fn count(n: i64) -> Result<u32, StoreError> {
    u32::try_from(n).map_err(|error| StoreError::corrupt("column edit", error))
}

impl Store {
    /// A record's payload as a text; none if there is no such record.
    ///
    /// # Errors
    /// The payload is not kept any more ([`StoreError::Conflict`]), or the database fails.
    pub async fn payload_text(
        &self,
        tenant: &Name,
        id: &RecordId,
    ) -> Result<Option<PayloadText>, StoreError> {
        let row = sqlx::query(
            "SELECT r.state, p.payload, (SELECT COUNT(*) FROM edits AS e WHERE e.tenant = r.tenant AND e.flow = r.flow \
             AND e.seq = r.seq) AS edits FROM records AS r \
             LEFT JOIN payloads AS p ON p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq \
             WHERE r.tenant = $1 AND r.flow = $2 AND r.seq = $3",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .fetch_optional(self.reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let payload = row.maybe_text("payload")?.ok_or_else(|| not_kept(id))?;
        Ok(Some(PayloadText {
            id: id.clone(),
            state: parse_state(&row.text("state")?)?,
            payload,
            edits: count(row.int("edits")?)?,
        }))
    }

    /// Replaces the payload of a record in quarantine, and keeps what was there before.
    ///
    /// # Errors
    /// There is no such record, it is not in quarantine, somebody else edited it meanwhile, or the database fails.
    pub async fn edit_payload(
        &self,
        tenant: &Name,
        id: &RecordId,
        edit: NewEdit<'_>,
        now: i64,
    ) -> Result<EditDone, StoreError> {
        storable("the payload", edit.payload)?;
        let mut tx = self.begin_tx().await?;
        let held = self.hold(&mut tx, tenant, &id.flow, &[id.seq]).await?;
        let record = held
            .get(&id.seq)
            .ok_or_else(|| StoreError::not_found("record", id))?;
        if record.state != RecordState::Quarantined {
            let what = format!(
                "the record {id} is {}; only a record in quarantine can be edited",
                record.state.as_str()
            );
            return Err(StoreError::conflict(what));
        }
        let row = sqlx::query("SELECT payload FROM payloads WHERE tenant = $1 AND flow = $2 AND seq = $3")
            .bind(tenant.as_str())
            .bind(id.flow.as_str())
            .bind(id.seq)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| not_kept(id))?;
        let before = row.text("payload")?;
        let row =
            sqlx::query("SELECT COUNT(*) AS edits FROM edits WHERE tenant = $1 AND flow = $2 AND seq = $3")
                .bind(tenant.as_str())
                .bind(id.flow.as_str())
                .bind(id.seq)
                .fetch_one(&mut *tx)
                .await?;
        let edits = count(row.int("edits")?)?;
        if edit.after_edits.is_some_and(|seen| seen != edits) {
            return Err(StoreError::conflict(format!(
                "the record {id} was edited by somebody else meanwhile"
            )));
        }
        if before == edit.payload {
            tx.rollback().await?;
            return Ok(EditDone {
                changed: false,
                edits,
            });
        }
        let digest = Sha256::digest(before.as_bytes());
        sqlx::query(
            "INSERT INTO edits (tenant, flow, seq, edit, at, actor, reason, replaced, digest, size) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .bind(i64::from(edits) + 1)
        .bind(now)
        .bind(readable(edit.actor).into_owned())
        .bind(readable(edit.reason).into_owned())
        .bind(&*before)
        .bind(digest.to_vec())
        .bind(to_i64(before.len()))
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE payloads SET payload = $1 WHERE tenant = $2 AND flow = $3 AND seq = $4")
            .bind(edit.payload)
            .bind(tenant.as_str())
            .bind(id.flow.as_str())
            .bind(id.seq)
            .execute(&mut *tx)
            .await?;
        let mut tally = Tally::default();
        // What was replaced is kept as well, so the new payload comes on top.
        tally.count(PAYLOAD_BYTES, to_i64(edit.payload.len()));
        tally.write(self, &mut tx, tenant, &id.flow).await?;
        // Digests, because a payload has no place in a trail that is kept for longer than payloads are.
        let entry = AuditEntry {
            at: now,
            actor: edit.actor.to_owned(),
            action: "record.edit".to_owned(),
            subject: format!("record/{id}"),
            detail: serde_json::json!({
                "reason": edit.reason,
                "edit": edits + 1,
                "before": hex::encode(digest),
                "after": hex::encode(Sha256::digest(edit.payload.as_bytes())),
            }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        tx.commit().await?;
        Ok(EditDone {
            changed: true,
            edits: edits + 1,
        })
    }

    /// The edits of a record, oldest first.
    pub(crate) async fn edits(&self, tenant: &Name, id: &RecordId) -> Result<Vec<EditInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT edit, at, actor, reason, replaced FROM edits WHERE tenant = $1 AND flow = $2 AND seq = $3 ORDER BY edit",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(EditInfo {
                    edit: count(row.int("edit")?)?,
                    at: row.int("at")?,
                    actor: row.text("actor")?,
                    reason: row.text("reason")?,
                    replaced: row.maybe_text("replaced")?,
                })
            })
            .collect()
    }
}

fn not_kept(id: &RecordId) -> StoreError {
    StoreError::conflict(format!(
        "the payload of the record {id} is not kept any more: it is older than the flow's retention"
    ))
}
