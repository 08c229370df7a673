//! Flows as they are kept, and what operators do to them: pausing, resuming, asking for a run.

use sqlx::any::AnyRow;
use stecker_model::{FlowSpec, Name, api::Pause};

use crate::{
    AuditEntry, Store, StoreError, audit,
    nodes::{self, Told},
    outgoing::events,
    sql::{Columns, Tx, readable},
};

/// A flow that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowRow {
    /// As applied.
    pub spec: FlowSpec,
    /// Goes up with every change of the specification, from 1.
    pub generation: i64,
    /// When the specification changed last.
    pub updated_at: i64,
    /// When it was applied for the first time.
    pub created_at: i64,
    /// Why and since when it is paused.
    pub paused: Option<Pause>,
    /// How many runs were asked for by hand.
    pub run_requested: i64,
}

/// The unit of a flow's lease.
pub(crate) fn unit(flow: &Name) -> String {
    format!("flow/{flow}")
}

fn flow_row(row: &AnyRow) -> Result<FlowRow, StoreError> {
    let paused = match (row.maybe_int("paused_at")?, row.maybe_text("paused_reason")?) {
        (Some(since), reason) => Some(Pause {
            since,
            reason: reason.unwrap_or_default(),
        }),
        (None, _) => None,
    };
    Ok(FlowRow {
        spec: row.json("spec")?,
        generation: row.int("generation")?,
        updated_at: row.int("updated_at")?,
        created_at: row.int("created_at")?,
        paused,
        run_requested: row.int("run_requested")?,
    })
}

impl Store {
    /// A tenant's flows, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn flows(&self, tenant: &Name) -> Result<Vec<FlowRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM flows WHERE tenant = $1 ORDER BY name")
            .bind(tenant.as_str())
            .fetch_all(self.reader())
            .await?;
        rows.iter().map(flow_row).collect()
    }

    /// A flow.
    ///
    /// # Errors
    /// The database fails.
    pub async fn flow(&self, tenant: &Name, name: &Name) -> Result<Option<FlowRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM flows WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(flow_row).transpose()
    }

    /// Every flow of every tenant, by tenant and name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all_flows(&self) -> Result<Vec<(Name, FlowRow)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM flows ORDER BY tenant, name")
            .fetch_all(self.reader())
            .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, flow_row(row)?)))
            .collect()
    }

    /// Pauses a flow; `false` if it was paused already, with that pause kept.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn pause_flow(
        &self,
        tenant: &Name,
        flow: &Name,
        reason: &str,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let reason = readable(reason).into_owned();
        let mut tx = self.begin_tx_of(tenant).await?;
        let done = sqlx::query(
            "UPDATE flows SET paused_at = $1, paused_reason = $2 WHERE tenant = $3 AND name = $4 AND paused_at IS NULL",
        )
        .bind(now)
        .bind(&*reason)
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .execute(&mut *tx)
        .await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "flow.pause".to_owned(),
            subject: unit(flow),
            detail: serde_json::json!({ "reason": reason }),
        };
        self.finish_switch(
            tx,
            tenant,
            flow,
            done.rows_affected() == 1,
            (Some(&reason), &entry),
        )
        .await
    }

    /// Ends a flow's pause; `false` if it was not paused.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn resume_flow(
        &self,
        tenant: &Name,
        flow: &Name,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let done = sqlx::query(
            "UPDATE flows SET paused_at = NULL, paused_reason = NULL \
             WHERE tenant = $1 AND name = $2 AND paused_at IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .execute(&mut *tx)
        .await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "flow.resume".to_owned(),
            subject: unit(flow),
            detail: serde_json::json!({}),
        };
        self.finish_switch(tx, tenant, flow, done.rows_affected() == 1, (None, &entry))
            .await
    }

    async fn finish_switch(
        &self,
        mut tx: Tx,
        tenant: &Name,
        flow: &Name,
        switched: bool,
        (paused, entry): (Option<&str>, &AuditEntry),
    ) -> Result<bool, StoreError> {
        if switched {
            audit::write(&mut tx, tenant, entry).await?;
            nodes::flows_changed(self, &mut tx).await?;
            events::flow(&mut tx, tenant, flow, paused, entry.at).await?;
            tx.commit().await?;
            return Ok(true);
        }
        tx.rollback().await?;
        match self.flow(tenant, flow).await? {
            Some(_) => Ok(false),
            None => Err(StoreError::not_found("flow", flow)),
        }
    }

    /// Asks for a run by hand; returns its number, which [`crate::ReaderState::runs_served`] reaches when it is over.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn request_run(&self, tenant: &Name, flow: &Name, now: i64) -> Result<i64, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let row = sqlx::query(
            "UPDATE flows SET run_requested = run_requested + 1 WHERE tenant = $1 AND name = $2 RETURNING run_requested",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::not_found("flow", flow))?;
        let run = row.int("run_requested")?;
        let entry = AuditEntry {
            at: now,
            actor: "operator".to_owned(),
            action: "flow.run".to_owned(),
            subject: unit(flow),
            detail: serde_json::json!({ "run": run }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        nodes::tell(self, &mut tx, &Told::Read(tenant.clone(), flow.clone())).await?;
        tx.commit().await?;
        Ok(run)
    }

    /// The number of the newest run asked for by hand; 0 if there was none.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn runs_requested(&self, tenant: &Name, flow: &Name) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT run_requested FROM flows WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .fetch_optional(self.reader())
            .await?
            .ok_or_else(|| StoreError::not_found("flow", flow))?;
        row.int("run_requested")
    }
}
