//! Tenants, and what each may have in all.

use sqlx::any::AnyRow;
use stecker_model::{ConnectionSpec, Digest, Name, TenantLimits, api::Circuit};

use crate::{
    AuditEntry, Store, StoreError, Stored, audit,
    sql::{Columns, Sql, Tx, to_json},
};

/// A tenant that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created_at: i64,
    /// What it may have in all, if that was set.
    pub limits: Option<TenantLimits>,
    /// The digest of its trust root, if it has one.
    pub trust: Option<Digest>,
}

/// Everything that is needed to call the plugin of a connection, or to know that it must not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Binder {
    /// The connection.
    pub connection: Stored<ConnectionSpec>,
    /// What its tenant may have in all.
    pub limits: TenantLimits,
    /// Whether it is called.
    pub circuit: Circuit,
    /// The digest of the tenant's trust root; none: it has none.
    pub trust: Option<Digest>,
    /// Until when its calls are recorded, in milliseconds since 1970; none: they are not.
    pub taped_until: Option<i64>,
}

fn tenant_row(row: &AnyRow) -> Result<TenantRow, StoreError> {
    Ok(TenantRow {
        name: row.parsed("tenant")?,
        created_at: row.int("created_at")?,
        limits: row.maybe_json("limits")?,
        trust: row.maybe_parsed("trust")?,
    })
}

impl Store {
    /// Makes a tenant if it is not there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ensure_tenant(&self, tenant: &Name, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        ensure(&mut tx, tenant, now).await?;
        Ok(tx.commit().await?)
    }

    /// Every tenant, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenants(&self) -> Result<Vec<Name>, StoreError> {
        let rows = sqlx::query("SELECT tenant FROM tenants ORDER BY tenant")
            .fetch_all(self.reader())
            .await?;
        rows.iter().map(|row| row.parsed("tenant")).collect()
    }

    /// Every tenant with its limits, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenant_rows(&self) -> Result<Vec<TenantRow>, StoreError> {
        let rows = sqlx::query("SELECT tenant, created_at, limits, trust FROM tenants ORDER BY tenant")
            .fetch_all(self.reader())
            .await?;
        rows.iter().map(tenant_row).collect()
    }

    /// A tenant with its limits.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenant_row(&self, tenant: &Name) -> Result<Option<TenantRow>, StoreError> {
        let row = sqlx::query("SELECT tenant, created_at, limits, trust FROM tenants WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(tenant_row).transpose()
    }

    /// Sets what a tenant may have in all; the tenant is made if it is not there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn limit_tenant(
        &self,
        tenant: &Name,
        limits: &TenantLimits,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        ensure(&mut tx, tenant, now).await?;
        let mut sql = Sql::new("SELECT tenant, created_at, limits, trust FROM tenants WHERE tenant = ");
        sql.bind(tenant.as_str()).push(self.lock());
        let before = tenant_row(&sql.query(tx.backend())?.fetch_one(&mut *tx).await?)?.limits;
        if before.as_ref() == Some(limits) {
            return Ok(tx.rollback().await?);
        }
        sqlx::query("UPDATE tenants SET limits = $1 WHERE tenant = $2")
            .bind(to_json(limits)?)
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "tenant.limit".to_owned(),
            subject: format!("tenant/{tenant}"),
            detail: serde_json::json!({ "before": before, "after": limits }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        Ok(tx.commit().await?)
    }

    /// Everything about a connection that a call needs, as of one moment.
    ///
    /// # Errors
    /// The database fails.
    pub async fn binder(&self, tenant: &Name, connection: &Name) -> Result<Option<Binder>, StoreError> {
        let row = sqlx::query(
            "SELECT c.spec, c.generation, c.updated_at, t.limits, t.trust, o.circuit, a.until FROM connections AS c \
             JOIN tenants AS t ON t.tenant = c.tenant \
             LEFT JOIN circuits AS o ON o.tenant = c.tenant AND o.connection = c.name \
             LEFT JOIN taping AS a ON a.tenant = c.tenant AND a.connection = c.name AND a.calls_left > 0 \
             WHERE c.tenant = $1 AND c.name = $2",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .fetch_optional(self.reader())
        .await?;
        let binder: Option<Binder> = row
            .map(|row| {
                Ok::<_, StoreError>(Binder {
                    connection: Stored {
                        spec: row.json("spec")?,
                        generation: row.int("generation")?,
                        updated_at: row.int("updated_at")?,
                    },
                    limits: row.maybe_json("limits")?.unwrap_or_default(),
                    circuit: row.maybe_json("circuit")?.unwrap_or_default(),
                    trust: row.maybe_parsed("trust")?,
                    taped_until: row.maybe_int("until")?,
                })
            })
            .transpose()?;
        if let Some(binder) = &binder {
            self.inner.turns.weigh(tenant, binder.limits.weight);
        }
        Ok(binder)
    }
}

pub(crate) async fn ensure(tx: &mut Tx, tenant: &Name, now: i64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO tenants (tenant, created_at) VALUES ($1, $2) ON CONFLICT (tenant) DO NOTHING")
        .bind(tenant.as_str())
        .bind(now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Says which tenant is missing, instead of which foreign key. `lock` is for those who must not run twice at a time for the same
/// tenant.
pub(crate) async fn require(tx: &mut Tx, tenant: &Name, lock: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new("SELECT tenant FROM tenants WHERE tenant = ");
    sql.bind(tenant.as_str()).push(lock);
    match sql.query(tx.backend())?.fetch_optional(&mut **tx).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::not_found("tenant", tenant)),
    }
}
