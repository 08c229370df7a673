//! Which connections are recorded. The row is the whole switch: every node reads it with the rest of what a call needs, so that nobody has to be told,
//! and it ends by itself.

use stecker_model::{Name, api::Taping};

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, to_i64},
    tenants,
};

impl Store {
    /// Has the next calls of a connection recorded, until `until` (milliseconds since 1970) or until there were `calls` of them. What was
    /// switched on before is replaced.
    ///
    /// # Errors
    /// An unknown tenant or connection, or the database fails.
    pub async fn start_taping(
        &self,
        tenant: &Name,
        connection: &Name,
        (until, calls): (i64, u32),
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        tenants::require(&mut tx, tenant, "").await?;
        let known = sqlx::query("SELECT name FROM connections WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_none() {
            return Err(StoreError::not_found("connection", connection));
        }
        sqlx::query(
            "INSERT INTO taping (tenant, connection, started_at, started_by, until, calls_left) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (tenant, connection) DO UPDATE SET started_at = excluded.started_at, started_by = excluded.started_by, \
             until = excluded.until, calls_left = excluded.calls_left",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(now)
        .bind(actor)
        .bind(until)
        .bind(to_i64(calls))
        .execute(&mut *tx)
        .await?;
        let detail = serde_json::json!({ "until": until, "calls": calls });
        let entry = entry(connection, "tape.start", actor, now, detail);
        audit::write(&mut tx, tenant, &entry).await?;
        Ok(tx.commit().await?)
    }

    /// Ends it; whether it was on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn stop_taping(
        &self,
        tenant: &Name,
        connection: &Name,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let gone = sqlx::query("DELETE FROM taping WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .execute(&mut *tx)
            .await?;
        let was_on = gone.rows_affected() > 0;
        if was_on {
            let entry = entry(connection, "tape.stop", actor, now, serde_json::json!({}));
            audit::write(&mut tx, tenant, &entry).await?;
        }
        tx.commit().await?;
        Ok(was_on)
    }

    /// What is switched on for a connection, if anything is at `now`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn taping(
        &self,
        tenant: &Name,
        connection: &Name,
        now: i64,
    ) -> Result<Option<Taping>, StoreError> {
        let row = sqlx::query(
            "SELECT started_at, started_by, until, calls_left FROM taping \
             WHERE tenant = $1 AND connection = $2 AND until > $3 AND calls_left > 0",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(now)
        .fetch_optional(self.reader())
        .await?;
        row.map(|row| {
            Ok(Taping {
                started_at: row.int("started_at")?,
                started_by: row.text("started_by")?,
                until: row.int("until")?,
                calls_left: row.count("calls_left")?,
            })
        })
        .transpose()
    }

    /// Forgets the tapes of a connection; how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn clear_tapes(
        &self,
        tenant: &Name,
        connection: &Name,
        actor: &str,
        now: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx().await?;
        let gone = sqlx::query("DELETE FROM tapes WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        let entry = entry(
            connection,
            "tape.clear",
            actor,
            now,
            serde_json::json!({ "tapes": gone }),
        );
        audit::write(&mut tx, tenant, &entry).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

fn entry(connection: &Name, action: &str, actor: &str, now: i64, detail: serde_json::Value) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("connection/{connection}"),
        detail,
    }
}
