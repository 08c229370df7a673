//! Leases with epochs: who works on a unit, and the fence that keeps everybody else's results out.

use stecker_model::Name;

use crate::{
    Store, StoreError,
    ahead::beyond,
    nodes::{self, Told},
    sql::{Columns, Sql, Tx, pieces, storable},
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
    /// process that starts again under its old name must not be mistaken for its former self. To keep leases: [`Store::renew_all`].
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
        let wanted = [(tenant.clone(), unit.to_owned())];
        Ok(self.acquire_all(&wanted, owner, now, ttl_ms).await?.pop())
    }

    /// As [`Store::acquire`], for many units, given as tenant and unit, in few statements. Those that somebody else has are left out; the order is any.
    ///
    /// # Errors
    /// The database fails; some may have been taken then, which their owner can take again.
    pub async fn acquire_all(
        &self,
        wanted: &[(Name, String)],
        owner: &str,
        now: i64,
        ttl_ms: i64,
    ) -> Result<Vec<Lease>, StoreError> {
        storable("the owner of a lease", owner)?;
        let mut wanted: Vec<&(Name, String)> = wanted.iter().collect();
        // In the same order everywhere, so that two hosts that want the same do not wait for each other in a circle; and each once.
        wanted.sort_unstable();
        wanted.dedup();
        let mut leases = Vec::with_capacity(wanted.len());
        for piece in pieces(&wanted) {
            let mut sql = Sql::new("INSERT INTO leases (tenant, unit, owner, epoch, expires_at) VALUES ");
            for (_, unit) in piece {
                storable("the unit of a lease", unit)?;
            }
            sql.rows(piece, |row, (tenant, unit)| {
                row.value(tenant.as_str())
                    .value(unit.as_str())
                    .value(owner)
                    .value(1_i64)
                    .value(now.saturating_add(ttl_ms));
            });
            sql.push(
                " ON CONFLICT (tenant, unit) DO UPDATE \
                 SET owner = excluded.owner, epoch = leases.epoch + 1, expires_at = excluded.expires_at \
                 WHERE leases.owner = '' OR leases.owner = excluded.owner OR leases.expires_at <= ",
            )
            .bind(now)
            .push(" OR leases.expires_at > ")
            .bind(beyond(now))
            .push(" RETURNING tenant, unit, epoch");
            let mut tx = self.begin_tx().await?;
            let rows = sql.query(tx.backend())?.fetch_all(&mut *tx).await?;
            tx.commit().await?;
            for row in rows {
                leases.push(Lease {
                    tenant: row.parsed("tenant")?,
                    unit: row.text("unit")?,
                    owner: owner.to_owned(),
                    epoch: row.int("epoch")?,
                });
            }
        }
        Ok(leases)
    }

    /// Gives a lease back, so that others need not wait for it to run out; `false` if somebody took the unit over before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let done = sqlx::query(
            "UPDATE leases SET owner = '', expires_at = 0 WHERE tenant = $1 AND unit = $2 AND owner = $3 AND epoch = $4",
        )
        .bind(lease.tenant.as_str())
        .bind(&*lease.unit)
        .bind(&*lease.owner)
        .bind(lease.epoch)
        .execute(&mut *tx)
        .await?;
        nodes::tell(self, &mut tx, &Told::Flows).await?;
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
        match sql.query(tx.backend())?.fetch_optional(&mut *tx).await? {
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
