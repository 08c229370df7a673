//! Applying connections and flows: all or none, with only real changes counted and written down.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::any::AnyRow;
use stecker_model::{ConnectionSpec, FlowSpec, Name, api::ChangeKind};

use crate::{
    AuditEntry, Store, StoreError, audit,
    flows::unit,
    leases, nodes,
    sql::{Columns, Tx, from_json, storable, to_json},
    tenants,
};

/// A specification that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// As applied.
    pub spec: T,
    /// Goes up with every change, from 1.
    pub generation: i64,
    /// When it changed last.
    pub updated_at: i64,
}

/// What applying did with one specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// `connection` or `flow`.
    pub what: &'static str,
    /// Its name.
    pub name: Name,
    /// What was done.
    pub kind: ChangeKind,
    /// Its generation now.
    pub generation: i64,
}

/// Which table a specification lives in, and how its rows are written.
struct Kind {
    what: &'static str,
    select: &'static str,
    update: &'static str,
}

const CONNECTIONS: Kind = Kind {
    what: "connection",
    select: "SELECT spec, generation FROM connections WHERE tenant = $1 AND name = $2",
    update: "UPDATE connections SET spec = $1, generation = generation + 1, updated_at = $2 WHERE tenant = $3 AND name = $4",
};

const FLOWS: Kind = Kind {
    what: "flow",
    select: "SELECT spec, generation FROM flows WHERE tenant = $1 AND name = $2",
    update: "UPDATE flows SET spec = $1, generation = generation + 1, updated_at = $2 WHERE tenant = $3 AND name = $4",
};

/// What everything in one call of `apply` shares.
struct Applying<'a> {
    tenant: &'a Name,
    actor: &'a str,
    now: i64,
}

impl Applying<'_> {
    async fn stored<T: DeserializeOwned>(
        &self,
        tx: &mut Tx,
        kind: &Kind,
        name: &Name,
    ) -> Result<Option<(T, i64)>, StoreError> {
        let row = sqlx::query(kind.select)
            .bind(self.tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(&mut **tx)
            .await?;
        row.map(|row| Ok((from_json("spec", &row.text("spec")?)?, row.int("generation")?)))
            .transpose()
    }

    async fn changed<T: Serialize>(
        &self,
        tx: &mut Tx,
        kind: &Kind,
        name: &Name,
        before: Option<&T>,
        after: &T,
    ) -> Result<(), StoreError> {
        if before.is_some() {
            sqlx::query(kind.update)
                .bind(to_json(after)?)
                .bind(self.now)
                .bind(self.tenant.as_str())
                .bind(name.as_str())
                .execute(&mut **tx)
                .await?;
        }
        let verb = if before.is_some() { "update" } else { "create" };
        let entry = AuditEntry {
            at: self.now,
            actor: self.actor.to_owned(),
            action: format!("{}.{verb}", kind.what),
            subject: format!("{}/{name}", kind.what),
            detail: serde_json::json!({ "before": before, "after": after }),
        };
        audit::write(tx, self.tenant, &entry).await
    }

    async fn connection(&self, tx: &mut Tx, spec: &ConnectionSpec) -> Result<Applied, StoreError> {
        let stored = self
            .stored::<ConnectionSpec>(tx, &CONNECTIONS, &spec.name)
            .await?;
        let done = |kind, generation| Applied {
            what: CONNECTIONS.what,
            name: spec.name.clone(),
            kind,
            generation,
        };
        let Some((before, generation)) = stored else {
            sqlx::query(
                "INSERT INTO connections (tenant, name, spec, generation, created_at, updated_at) \
                 VALUES ($1, $2, $3, 1, $4, $4)",
            )
            .bind(self.tenant.as_str())
            .bind(spec.name.as_str())
            .bind(to_json(spec)?)
            .bind(self.now)
            .execute(&mut **tx)
            .await?;
            self.changed(tx, &CONNECTIONS, &spec.name, None, spec).await?;
            return Ok(done(ChangeKind::Create, 1));
        };
        if before == *spec {
            return Ok(done(ChangeKind::Unchanged, generation));
        }
        self.changed(tx, &CONNECTIONS, &spec.name, Some(&before), spec)
            .await?;
        Ok(done(ChangeKind::Update, generation + 1))
    }

    async fn flow(&self, tx: &mut Tx, spec: &FlowSpec) -> Result<Applied, StoreError> {
        for end in [&spec.source, &spec.destination] {
            storable("the name of a stream", &end.stream)?;
            let known = self
                .stored::<ConnectionSpec>(tx, &CONNECTIONS, &end.connection)
                .await?;
            if known.is_none() {
                return Err(StoreError::not_found("connection", &end.connection));
            }
        }
        let stored = self.stored::<FlowSpec>(tx, &FLOWS, &spec.name).await?;
        let done = |kind, generation| Applied {
            what: FLOWS.what,
            name: spec.name.clone(),
            kind,
            generation,
        };
        let Some((before, generation)) = stored else {
            self.create_flow(tx, spec).await?;
            self.changed(tx, &FLOWS, &spec.name, None, spec).await?;
            return Ok(done(ChangeKind::Create, 1));
        };
        if before == *spec {
            return Ok(done(ChangeKind::Unchanged, generation));
        }
        if before.source != spec.source {
            self.change_source(tx, spec).await?;
        }
        sqlx::query(
            "UPDATE flows SET source_connection = $1, destination_connection = $2 WHERE tenant = $3 AND name = $4",
        )
        .bind(spec.source.connection.as_str())
        .bind(spec.destination.connection.as_str())
        .bind(self.tenant.as_str())
        .bind(spec.name.as_str())
        .execute(&mut **tx)
        .await?;
        self.changed(tx, &FLOWS, &spec.name, Some(&before), spec).await?;
        Ok(done(ChangeKind::Update, generation + 1))
    }

    async fn create_flow(&self, tx: &mut Tx, spec: &FlowSpec) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO flows (tenant, name, spec, generation, created_at, updated_at, source_connection, \
             destination_connection, run_requested) VALUES ($1, $2, $3, 1, $4, $4, $5, $6, 0)",
        )
        .bind(self.tenant.as_str())
        .bind(spec.name.as_str())
        .bind(to_json(spec)?)
        .bind(self.now)
        .bind(spec.source.connection.as_str())
        .bind(spec.destination.connection.as_str())
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "INSERT INTO readers (tenant, flow, connection, stream, next_seq, caught_up, reads_completed, runs_served, \
             duplicates, updated_at) VALUES ($1, $2, $3, $4, 1, 0, 0, 0, 0, $5)",
        )
        .bind(self.tenant.as_str())
        .bind(spec.name.as_str())
        .bind(spec.source.connection.as_str())
        .bind(&*spec.source.stream)
        .bind(self.now)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// A cursor of one source means nothing to another. Whoever reads right now is fenced off first, or its page would bring
    /// the old cursor back.
    async fn change_source(&self, tx: &mut Tx, spec: &FlowSpec) -> Result<(), StoreError> {
        leases::revoke(tx, self.tenant, &unit(&spec.name)).await?;
        sqlx::query(
            "UPDATE readers SET connection = $1, stream = $2, cursor_value = NULL, acknowledged = NULL, caught_up = 0, \
             last_error = NULL, updated_at = $3 WHERE tenant = $4 AND flow = $5",
        )
        .bind(spec.source.connection.as_str())
        .bind(&*spec.source.stream)
        .bind(self.now)
        .bind(self.tenant.as_str())
        .bind(spec.name.as_str())
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Applies specifications, all or none. What is there just so is left alone; generations go up only with a change. A flow
    /// whose source changes begins to read at the beginning, and whoever works on it is fenced off.
    ///
    /// # Errors
    /// A flow names a connection that is neither given nor there, the tenant is unknown, or the database fails.
    pub async fn apply(
        &self,
        tenant: &Name,
        connections: &[ConnectionSpec],
        flows: &[FlowSpec],
        actor: &str,
        now: i64,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut tx = self.begin_tx().await?;
        tenants::require(&mut tx, tenant, self.lock()).await?;
        let applying = Applying { tenant, actor, now };
        let mut done = Vec::with_capacity(connections.len() + flows.len());
        for spec in connections {
            done.push(applying.connection(&mut tx, spec).await?);
        }
        for spec in flows {
            done.push(applying.flow(&mut tx, spec).await?);
        }
        nodes::flows_changed(self, &mut tx).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// A tenant's connections, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn connections(&self, tenant: &Name) -> Result<Vec<Stored<ConnectionSpec>>, StoreError> {
        let rows = sqlx::query(
            "SELECT spec, generation, updated_at FROM connections WHERE tenant = $1 ORDER BY name",
        )
        .bind(tenant.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter().map(stored_row).collect()
    }

    /// A connection.
    ///
    /// # Errors
    /// The database fails.
    pub async fn connection(
        &self,
        tenant: &Name,
        name: &Name,
    ) -> Result<Option<Stored<ConnectionSpec>>, StoreError> {
        let row = sqlx::query(
            "SELECT spec, generation, updated_at FROM connections WHERE tenant = $1 AND name = $2",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .fetch_optional(self.reader())
        .await?;
        row.as_ref().map(stored_row).transpose()
    }
}

fn stored_row<T: DeserializeOwned>(row: &AnyRow) -> Result<Stored<T>, StoreError> {
    Ok(Stored {
        spec: row.json("spec")?,
        generation: row.int("generation")?,
        updated_at: row.int("updated_at")?,
    })
}
