//! Upstream accounts, as nodes share them: holds, breakers, and configured budgets. What they mean is decided elsewhere; here a host that was
//! down is tried by one node at a time, and tokens are taken by the clock that all nodes share.
//!
//! Holds and breakers are written when they change, and told to the other nodes. Budgets are taken in slices, so that nodes that share an account
//! ask twice a second and not for every request. An account that nobody uses costs nothing.

use sqlx::any::AnyRow;
use stecker_model::{
    Name, Slice, UpstreamBudget,
    api::{Breaker, BreakerState, UpstreamHold},
    take_slice,
};

use crate::{
    AuditEntry, Store, StoreError, audit,
    nodes::{self, Told},
    sql::{Columns, Sql, Tx, storable, to_json},
};

/// What is kept of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRow {
    /// Whose it is.
    pub tenant: Name,
    /// Its name.
    pub account: Name,
    /// Until when nothing is sent; it may be over.
    pub hold: Option<UpstreamHold>,
    /// The hosts whose breakers are not closed, by name.
    pub hosts: Vec<(String, Breaker)>,
}

impl UpstreamRow {
    fn new(tenant: Name, account: Name) -> Self {
        Self {
            tenant,
            account,
            hold: None,
            hosts: Vec::new(),
        }
    }
}

const HOLDS: &str = "SELECT tenant, account, hold FROM upstreams WHERE hold IS NOT NULL";
const BREAKERS: &str = "SELECT tenant, account, host, breaker FROM breakers";

/// Puts the rows of both tables together, in the order of tenants and accounts.
fn together(holds: &[AnyRow], breakers: &[AnyRow]) -> Result<Vec<UpstreamRow>, StoreError> {
    let mut rows = std::collections::BTreeMap::new();
    let mut of = |row: &AnyRow, put: &mut dyn FnMut(&mut UpstreamRow) -> Result<(), StoreError>| {
        let (tenant, account): (Name, Name) = (row.parsed("tenant")?, row.parsed("account")?);
        let kept = rows
            .entry((tenant.clone(), account.clone()))
            .or_insert_with(|| UpstreamRow::new(tenant, account));
        put(kept)
    };
    for row in holds {
        of(row, &mut |kept| {
            kept.hold = row.maybe_json("hold")?;
            Ok(())
        })?;
    }
    for row in breakers {
        of(row, &mut |kept| {
            kept.hosts.push((row.text("host")?, row.json("breaker")?));
            Ok(())
        })?;
    }
    Ok(rows.into_values().collect())
}

impl Store {
    /// Every account that anything is kept of, of all tenants.
    ///
    /// # Errors
    /// The database fails.
    pub async fn upstreams(&self) -> Result<Vec<UpstreamRow>, StoreError> {
        let holds = sqlx::query(HOLDS).fetch_all(self.reader()).await?;
        let breakers = sqlx::query(BREAKERS).fetch_all(self.reader()).await?;
        together(&holds, &breakers)
    }

    /// What is kept of an account; nothing is as good as no row.
    ///
    /// # Errors
    /// The database fails.
    pub async fn upstream(&self, tenant: &Name, account: &Name) -> Result<UpstreamRow, StoreError> {
        let of = |text: &str| {
            let mut sql = Sql::new(text);
            let word = if text.contains(" WHERE ") {
                " AND "
            } else {
                " WHERE "
            };
            sql.push(word).push("tenant = ").bind(tenant.as_str());
            sql.push(" AND account = ").bind(account.as_str());
            sql.query(self.backend())
        };
        let holds = of(HOLDS)?.fetch_all(self.reader()).await?;
        let breakers = of(BREAKERS)?.fetch_all(self.reader()).await?;
        let kept = together(&holds, &breakers)?.into_iter().next();
        Ok(kept.unwrap_or_else(|| UpstreamRow::new(tenant.clone(), account.clone())))
    }

    /// Keeps what changed in one process: a hold, unless one that lasts longer is kept, and breakers, closed ones too. Other nodes hear of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keep_upstream(
        &self,
        tenant: &Name,
        account: &Name,
        hold: Option<&UpstreamHold>,
        hosts: &[(String, Breaker)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        if let Some(hold) = hold {
            sqlx::query(
                "INSERT INTO upstreams (tenant, account, hold, hold_until, full_at) VALUES ($1, $2, $3, $4, 0) \
                 ON CONFLICT (tenant, account) DO UPDATE SET hold = excluded.hold, hold_until = excluded.hold_until \
                 WHERE upstreams.hold_until < excluded.hold_until",
            )
            .bind(tenant.as_str())
            .bind(account.as_str())
            .bind(to_json(hold)?)
            .bind(hold.until)
            .execute(&mut *tx)
            .await?;
        }
        for (host, breaker) in hosts {
            put_breaker(&mut tx, tenant, account, host, breaker).await?;
        }
        tell(self, &mut tx, tenant, account).await?;
        Ok(tx.commit().await?)
    }

    /// Has the caller try a host that was down, for `patience` milliseconds; none if somebody else does, or if it is not the time yet.
    /// `by_hand`: a person wants to know now, whatever the time is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn try_upstream(
        &self,
        (tenant, account): (&Name, &Name),
        host: &str,
        by_hand: bool,
        now: i64,
        patience: i64,
    ) -> Result<Option<Breaker>, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let mut sql = Sql::new("SELECT breaker FROM breakers WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND account = ")
            .bind(account.as_str())
            .push(" AND host = ")
            .bind(host)
            .push(self.lock());
        let Some(row) = sql.query(tx.backend())?.fetch_optional(&mut *tx).await? else {
            // It was closed meanwhile, and the word of it is on its way.
            tx.rollback().await?;
            return Ok(None);
        };
        let breaker: Breaker = row.json("breaker")?;
        if breaker.until.is_some_and(|until| until > now) && !by_hand {
            tx.rollback().await?;
            return Ok(None);
        }
        let breaker = Breaker {
            state: BreakerState::HalfOpen,
            until: Some(now.saturating_add(patience)),
            ..breaker
        };
        put_breaker(&mut tx, tenant, account, host, &breaker).await?;
        tell(self, &mut tx, tenant, account).await?;
        tx.commit().await?;
        Ok(Some(breaker))
    }

    /// A person says that an account is to be used again: its hold and its breakers are forgotten. Returns what they were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn close_upstream(
        &self,
        tenant: &Name,
        account: &Name,
        actor: &str,
        reason: &str,
        now: i64,
    ) -> Result<UpstreamRow, StoreError> {
        let before = self.upstream(tenant, account).await?;
        let mut tx = self.begin_tx_of(tenant).await?;
        sqlx::query("UPDATE upstreams SET hold = NULL, hold_until = 0 WHERE tenant = $1 AND account = $2")
            .bind(tenant.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM breakers WHERE tenant = $1 AND account = $2")
            .bind(tenant.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "upstream.close".to_owned(),
            subject: format!("upstream/{account}"),
            detail: serde_json::json!({ "reason": reason, "hold": before.hold, "hosts": before.hosts }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        tell(self, &mut tx, tenant, account).await?;
        tx.commit().await?;
        Ok(before)
    }

    /// Takes up to `wanted` tokens out of the configured budget of an account, by the clock that all nodes on this database share.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_tokens(
        &self,
        tenant: &Name,
        account: &Name,
        budget: &UpstreamBudget,
        wanted: u32,
    ) -> Result<Slice, StoreError> {
        // A moment that is a little old by the time that the row is held gives fewer tokens and never more.
        let now = self.time_ms().await?.saturating_mul(1_000);
        let mut tx = self.begin_tx_of(tenant).await?;
        sqlx::query(
            "INSERT INTO upstreams (tenant, account, hold_until, full_at) VALUES ($1, $2, 0, 0) \
             ON CONFLICT (tenant, account) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(account.as_str())
        .execute(&mut *tx)
        .await?;
        let mut sql = Sql::new("SELECT full_at FROM upstreams WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND account = ")
            .bind(account.as_str())
            .push(self.lock());
        let before = sql
            .query(tx.backend())?
            .fetch_one(&mut *tx)
            .await?
            .int("full_at")?;
        let (slice, full_at) = take_slice(budget, before, now, wanted);
        if slice.tokens == 0 {
            tx.rollback().await?;
            return Ok(slice);
        }
        sqlx::query("UPDATE upstreams SET full_at = $1 WHERE tenant = $2 AND account = $3")
            .bind(full_at)
            .bind(tenant.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(slice)
    }
}

async fn put_breaker(
    tx: &mut Tx,
    tenant: &Name,
    account: &Name,
    host: &str,
    breaker: &Breaker,
) -> Result<(), StoreError> {
    let host = storable("the name of a host", host)?;
    let query = if breaker.state == BreakerState::Closed {
        sqlx::query("DELETE FROM breakers WHERE tenant = $1 AND account = $2 AND host = $3")
            .bind(tenant.as_str())
            .bind(account.as_str())
            .bind(host)
    } else {
        sqlx::query(
            "INSERT INTO breakers (tenant, account, host, breaker) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant, account, host) DO UPDATE SET breaker = excluded.breaker",
        )
        .bind(tenant.as_str())
        .bind(account.as_str())
        .bind(host)
        .bind(to_json(breaker)?)
    };
    query.execute(&mut **tx).await?;
    Ok(())
}

async fn tell(store: &Store, tx: &mut Tx, tenant: &Name, account: &Name) -> Result<(), StoreError> {
    nodes::tell(store, tx, &Told::Upstream(tenant.clone(), account.clone())).await
}
