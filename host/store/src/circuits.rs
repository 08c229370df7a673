//! The circuits of connections, as nodes share them. What they mean and how they change is decided elsewhere; here a change is one
//! transaction, so that of two nodes that want to try a stopped connection only one does.

use stecker_model::{
    Name,
    api::{Circuit, CircuitState},
};

use crate::{
    AuditEntry, Store, StoreError, audit,
    outgoing::events,
    sql::{Columns, Sql, Tx, to_json},
};

/// What is to become of a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitChange {
    /// As it is from now on.
    pub circuit: Circuit,
    /// What the audit trail says about it; none for what happens by itself all day, such as a short pause.
    pub audit: Option<AuditEntry>,
}

impl Store {
    /// A connection's circuit; a quiet one if nothing is known of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn circuit(&self, tenant: &Name, connection: &Name) -> Result<Circuit, StoreError> {
        let row = sqlx::query("SELECT circuit FROM circuits WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .fetch_optional(self.reader())
            .await?;
        row.map_or_else(|| Ok(Circuit::default()), |row| row.json("circuit"))
    }

    /// The circuits of a tenant that anything is known of, by connection.
    ///
    /// # Errors
    /// The database fails.
    pub async fn circuits(&self, tenant: &Name) -> Result<Vec<(Name, Circuit)>, StoreError> {
        let rows =
            sqlx::query("SELECT connection, circuit FROM circuits WHERE tenant = $1 ORDER BY connection")
                .bind(tenant.as_str())
                .fetch_all(self.reader())
                .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("connection")?, row.json("circuit")?)))
            .collect()
    }

    /// Changes a circuit: `change` gets it as it is, with the generation of the connection's specification, and says what is to become
    /// of it; none: it stays. Nobody else changes it meanwhile. Returns it as it is afterwards, and whether it was changed.
    ///
    /// # Errors
    /// The connection is unknown, or the database fails.
    pub async fn change_circuit(
        &self,
        tenant: &Name,
        connection: &Name,
        change: impl FnOnce(Circuit, i64) -> Option<CircuitChange> + Send,
    ) -> Result<(Circuit, bool), StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let mut sql = Sql::new("SELECT generation FROM connections WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND name = ")
            .bind(connection.as_str())
            .push(self.lock());
        let generation = sql
            .query(tx.backend())?
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| StoreError::not_found("connection", connection))?
            .int("generation")?;
        let before = held(&mut tx, tenant, connection).await?;
        let Some(change) = change(before.clone(), generation) else {
            tx.rollback().await?;
            return Ok((before, false));
        };
        let kept = if change.circuit.is_quiet() {
            sqlx::query("DELETE FROM circuits WHERE tenant = $1 AND connection = $2")
                .bind(tenant.as_str())
                .bind(connection.as_str())
        } else {
            sqlx::query(
                "INSERT INTO circuits (tenant, connection, circuit) VALUES ($1, $2, $3) \
                 ON CONFLICT (tenant, connection) DO UPDATE SET circuit = excluded.circuit",
            )
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .bind(to_json(&change.circuit)?)
        };
        kept.execute(&mut *tx).await?;
        if let Some(entry) = &change.audit {
            audit::write(&mut tx, tenant, entry).await?;
            // Only of what the audit trail knows: pauses of seconds and probes are no news.
            let is_open = change.circuit.state == CircuitState::Open;
            if is_open != (before.state == CircuitState::Open) || before.state == CircuitState::Probing {
                let opened = is_open.then_some(&*change.circuit.reason);
                events::circuit(&mut tx, tenant, connection, opened, entry.at).await?;
            }
        }
        tx.commit().await?;
        Ok((change.circuit, true))
    }
}

async fn held(tx: &mut Tx, tenant: &Name, connection: &Name) -> Result<Circuit, StoreError> {
    let row = sqlx::query("SELECT circuit FROM circuits WHERE tenant = $1 AND connection = $2")
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.map_or_else(|| Ok(Circuit::default()), |row| row.json("circuit"))
}
