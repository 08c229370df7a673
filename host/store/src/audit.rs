//! The audit trail: who changed what, when, and why. Written in the transaction of the change itself.

use serde_json::Value;
use stecker_model::Name;

use crate::{
    Store, StoreError,
    sql::{Columns, Tx, readable, to_json},
};

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What was done, such as `flow.pause`.
    pub action: String,
    /// To what, such as `flow/orders-to-erp`.
    pub subject: String,
    /// More about it.
    pub detail: Value,
}

/// Adds an entry within a transaction.
pub(crate) async fn write(tx: &mut Tx, tenant: &Name, entry: &AuditEntry) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (tenant, id, at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.as_str())
    // Sorts by the order of writing within one process, which tells entries of one millisecond apart.
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(entry.at)
    .bind(readable(&entry.actor).into_owned())
    .bind(readable(&entry.action).into_owned())
    .bind(readable(&entry.subject).into_owned())
    .bind(to_json(&entry.detail)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Store {
    /// Adds an entry to the audit trail, for changes that happen outside the store.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit(&self, tenant: &Name, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        write(&mut tx, tenant, entry).await?;
        Ok(tx.commit().await?)
    }

    /// The newest entries of the audit trail, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit_log(&self, tenant: &Name, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT at, actor, action, subject, detail FROM audit WHERE tenant = $1 ORDER BY at DESC, id DESC LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    at: row.int("at")?,
                    actor: row.text("actor")?,
                    action: row.text("action")?,
                    subject: row.text("subject")?,
                    detail: row.json("detail")?,
                })
            })
            .collect()
    }
}
