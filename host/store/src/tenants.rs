//! Tenants.

use stecker_model::Name;

use crate::{
    Store, StoreError,
    sql::{Columns, Sql, Tx},
};

impl Store {
    /// Makes a tenant if it is not there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ensure_tenant(&self, tenant: &Name, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        sqlx::query(
            "INSERT INTO tenants (tenant, created_at) VALUES ($1, $2) ON CONFLICT (tenant) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await?;
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
}

/// Says which tenant is missing, instead of which foreign key. `lock` is for those who must not run twice at a time for the same
/// tenant.
pub(crate) async fn require(tx: &mut Tx, tenant: &Name, lock: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new("SELECT tenant FROM tenants WHERE tenant = ");
    sql.bind(tenant.as_str()).push(lock);
    match sql.query()?.fetch_optional(&mut **tx).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::not_found("tenant", tenant)),
    }
}
