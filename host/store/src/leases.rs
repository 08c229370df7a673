//! Leases with epochs: who works on a unit, and the fence that keeps everybody else's results out.

use stecker_model::Name;

use crate::{
    Store, StoreError,
    ahead::beyond,
    nodes::{self, Told},
    sql::{Columns, Sql, Tx, storable},
};

/// The right to work on a unit, for as long as its epoch is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The tenant.
    pub tenant: Name,
    /// What is worked on, such as `flow/orders-to-erp`.
    pub unit: String,
    /// Who works.
    pub owner: String,
    /// Goes up whenever the unit is taken, from 1; it never goes down.
    pub epoch: i64,
}

impl Store {
    /// Takes a unit that is free, or whose lease has run out, or that is the owner's own; none if somebody else has it. A lease for longer than
    /// some days is one of a clock that ran ahead, and worth nothing.
    ///
    /// Every success is a new epoch, and leases of earlier ones are worth nothing from then on, the owner's own included: a
    /// process that starts again under its old name must not be mistaken for its former self. To keep a lease, renew it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn acquire(
        &self,
        tenant: &Name,
        unit: &str,
        owner: &str,
        now: i64,
        ttl_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tx = self.begin_tx().await?;
        let row = sqlx::query(
            "INSERT INTO leases (tenant, unit, owner, epoch, expires_at) VALUES ($1, $2, $3, 1, $4) \
             ON CONFLICT (tenant, unit) DO UPDATE \
             SET owner = excluded.owner, epoch = leases.epoch + 1, expires_at = excluded.expires_at \
             WHERE leases.owner = '' OR leases.owner = excluded.owner OR leases.expires_at <= $5 OR leases.expires_at > $6 \
             RETURNING epoch",
        )
        .bind(tenant.as_str())
        .bind(storable("the unit of a lease", unit)?)
        .bind(storable("the owner of a lease", owner)?)
        .bind(now.saturating_add(ttl_ms))
        .bind(now)
        .bind(beyond(now))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        row.map(|row| {
            Ok(Lease {
                tenant: tenant.clone(),
                unit: unit.to_owned(),
                owner: owner.to_owned(),
                epoch: row.int("epoch")?,
            })
        })
        .transpose()
    }

    /// Keeps a lease until `now + ttl_ms`; `false` if somebody took the unit over.
    ///
    /// # Errors
    /// The database fails.
    pub async fn renew(&self, lease: &Lease, now: i64, ttl_ms: i64) -> Result<bool, StoreError> {
        self.touch(lease, &lease.owner, now.saturating_add(ttl_ms)).await
    }

    /// Gives a lease back, so that others need not wait for it to run out; `false` if somebody took the unit over before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.touch(lease, "", 0).await
    }

    async fn touch(&self, lease: &Lease, owner: &str, expires_at: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let done = sqlx::query(
            "UPDATE leases SET owner = $1, expires_at = $2 \
             WHERE tenant = $3 AND unit = $4 AND owner = $5 AND epoch = $6",
        )
        .bind(owner)
        .bind(expires_at)
        .bind(lease.tenant.as_str())
        .bind(&*lease.unit)
        .bind(&*lease.owner)
        .bind(lease.epoch)
        .execute(&mut *tx)
        .await?;
        if owner.is_empty() {
            nodes::tell(self, &mut tx, &Told::Flows).await?;
        }
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Begins a transaction that can only end well if the lease is the current one: until it ends, nobody can take the unit.
    pub(crate) async fn begin_fenced(&self, lease: &Lease) -> Result<Tx, StoreError> {
        let mut tx = self.begin_tx_of(&lease.tenant).await?;
        let mut sql = Sql::new("SELECT epoch FROM leases WHERE tenant = ");
        sql.bind(lease.tenant.as_str())
            .push(" AND unit = ")
            .bind(&*lease.unit);
        sql.push(" AND owner = ")
            .bind(&*lease.owner)
            .push(" AND epoch = ")
            .bind(lease.epoch);
        sql.push(self.share());
        match sql.query()?.fetch_optional(&mut *tx).await? {
            Some(_) => Ok(tx),
            None => Err(StoreError::Fenced {
                unit: lease.unit.clone(),
                epoch: lease.epoch,
            }),
        }
    }
}

/// Ends whatever lease there is on a unit, so that its holder is fenced off and has to begin anew.
pub(crate) async fn revoke(tx: &mut Tx, tenant: &Name, unit: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE leases SET owner = '', expires_at = 0, epoch = epoch + 1 WHERE tenant = $1 AND unit = $2",
    )
    .bind(tenant.as_str())
    .bind(unit)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
