//! Several hosts on one database: which are alive, what time it is for all of them, and how one tells the others that there is work.
//!
//! Clocks of machines differ, so leases and signs of life are counted by the database's clock. Everything here is an aid: a host that hears
//! nothing looks by itself sooner or later, and the epochs of leases keep everybody else's results out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgListener;
use stecker_model::Name;

use crate::{
    Backend, Store, StoreError, patience,
    sql::{Columns, Sql, Tx, pieces, storable},
};

const CHANNEL: &str = "stecker";
/// After that long without a word, whoever listens asks whether the server is still there.
const QUIET: Duration = Duration::from_secs(15);
/// Leases renewed by one statement.
const RENEWED: &str = "UPDATE leases SET expires_at = ";

/// Something that another host told, or that happened within this one's transactions on Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Flows were applied, paused, resumed, or a lease was given back.
    Flows,
    /// A host comes or goes.
    Nodes,
    /// A flow's source is to be read.
    Read(Name, Name),
    /// A flow has something to deliver.
    Deliver(Name, Name),
    /// A flow has a replay to work on.
    Replay(Name, Name),
    /// A flow's two ends are to be compared.
    Compare(Name, Name),
    /// The hold or a breaker of an upstream account is another than before.
    Upstream(Name, Name),
    /// The connection was lost for a while, or somebody said something that this version does not know: anything may have happened.
    Anything,
}

impl Told {
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let (what, tenant, flow) = (words.next(), words.next(), words.next());
        let of = |make: fn(Name, Name) -> Self| {
            let (Some(Ok(tenant)), Some(Ok(flow))) = (tenant.map(str::parse), flow.map(str::parse)) else {
                return Self::Anything;
            };
            make(tenant, flow)
        };
        match what {
            Some("flows") => Self::Flows,
            Some("nodes") => Self::Nodes,
            Some("read") => of(Self::Read),
            Some("deliver") => of(Self::Deliver),
            Some("replay") => of(Self::Replay),
            Some("compare") => of(Self::Compare),
            Some("upstream") => of(Self::Upstream),
            _ => Self::Anything,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Flows => "flows".to_owned(),
            Self::Nodes => "nodes".to_owned(),
            Self::Read(tenant, flow) => format!("read {tenant} {flow}"),
            Self::Deliver(tenant, flow) => format!("deliver {tenant} {flow}"),
            Self::Replay(tenant, flow) => format!("replay {tenant} {flow}"),
            Self::Compare(tenant, flow) => format!("compare {tenant} {flow}"),
            Self::Upstream(tenant, account) => format!("upstream {tenant} {account}"),
            Self::Anything => "anything".to_owned(),
        }
    }
}

/// Hears what is told on Postgres.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// The next thing. Connects again by itself.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer any more: a connection that brings nothing is asked now and then whether it is there.
    pub async fn next(&mut self) -> Result<Told, StoreError> {
        loop {
            match tokio::time::timeout(QUIET, self.0.try_recv()).await {
                Ok(heard) => {
                    return Ok(match heard? {
                        Some(notification) => Told::parse(notification.payload()),
                        None => Told::Anything,
                    });
                }
                Err(_) => {
                    let alive = sqlx::query("SELECT 1").execute(&mut self.0);
                    patience::within(Some(patience::PING), alive).await?;
                }
            }
        }
    }
}

/// Tells every host, once the transaction is committed. On SQLite there is only one, which knows.
pub(crate) async fn tell(store: &Store, tx: &mut Tx, told: &Told) -> Result<(), StoreError> {
    if store.backend() == Backend::Postgres {
        sqlx::query("SELECT pg_notify($1, $2)::TEXT")
            .bind(CHANNEL)
            .bind(told.text())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Flows are others than before, for whoever looks.
pub(crate) async fn flows_changed(store: &Store, tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query("UPDATE changes SET n = n + 1 WHERE what = 'flows'")
        .execute(&mut **tx)
        .await?;
    tell(store, tx, &Told::Flows).await
}

impl Store {
    /// Milliseconds since 1970 by the clock that all hosts on this database share.
    ///
    /// # Errors
    /// The database fails.
    pub async fn time_ms(&self) -> Result<i64, StoreError> {
        match self.backend() {
            Backend::Sqlite => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                Ok(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
            }
            Backend::Postgres => {
                let row = sqlx::query("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT AS now")
                    .fetch_one(self.reader())
                    .await?;
                row.int("now")
            }
        }
    }

    /// A number that goes up whenever flows are applied, paused or resumed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn flows_version(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT n FROM changes WHERE what = 'flows'")
            .fetch_one(self.reader())
            .await?;
        row.int("n")
    }

    /// Hears what other hosts tell; none on SQLite, where there are no others.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        let Some(url) = &self.inner.server else {
            return Ok(None);
        };
        let listening = async {
            let mut listener = PgListener::connect(url).await?;
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let listener = patience::within(Some(patience::ANSWER), listening).await?;
        Ok(Some(Listener(listener)))
    }

    /// A sign of life of a host, good for `ttl_ms`; the hosts that are alive, by name, itself included.
    ///
    /// # Errors
    /// The database fails.
    pub async fn live_nodes(&self, node: &str, ttl_ms: i64) -> Result<Vec<String>, StoreError> {
        let now = self.time_ms().await?;
        let mut tx = self.begin_tx().await?;
        sqlx::query(
            "INSERT INTO nodes (node, expires_at) VALUES ($1, $2) \
             ON CONFLICT (node) DO UPDATE SET expires_at = excluded.expires_at",
        )
        .bind(storable("the name of a node", node)?)
        .bind(now.saturating_add(ttl_ms))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM nodes WHERE expires_at <= $1")
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let rows = sqlx::query("SELECT node FROM nodes ORDER BY node")
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        rows.iter().map(|row| row.text("node")).collect()
    }

    /// A host ends; the others need not wait until its sign of life runs out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_node(&self, node: &str) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        sqlx::query("DELETE FROM nodes WHERE node = $1")
            .bind(node)
            .execute(&mut *tx)
            .await?;
        tell(self, &mut tx, &Told::Nodes).await?;
        Ok(tx.commit().await?)
    }

    /// Tenant and unit of every lease that somebody other than `owner` holds at `now`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn held_by_others(&self, owner: &str, now: i64) -> Result<Vec<(Name, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, unit FROM leases WHERE owner <> '' AND owner <> $1 AND expires_at > $2",
        )
        .bind(owner)
        .bind(now)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, row.text("unit")?)))
            .collect()
    }

    /// Keeps leases of one owner, given as tenant, unit and epoch, until `expires_at`; those that are kept. What is missing went to somebody
    /// else.
    ///
    /// # Errors
    /// The database fails.
    pub async fn renew_all(
        &self,
        owner: &str,
        leases: &[(Name, String, i64)],
        expires_at: i64,
    ) -> Result<Vec<(Name, String, i64)>, StoreError> {
        let mut kept = Vec::with_capacity(leases.len());
        for piece in pieces(leases) {
            let mut tx = self.begin_tx().await?;
            let mut sql = Sql::new("WITH v (tenant, unit, epoch) AS (VALUES ");
            sql.rows(piece, |row, (tenant, unit, epoch)| {
                row.value(tenant.as_str()).value(unit.as_str()).value(*epoch);
            });
            sql.push(") ").push(RENEWED).bind(expires_at);
            sql.push(
                " FROM v WHERE leases.tenant = v.tenant AND leases.unit = v.unit AND leases.epoch = v.epoch AND leases.owner = ",
            )
            .bind(owner)
            .push(" RETURNING leases.tenant AS tenant, leases.unit AS unit, leases.epoch AS epoch");
            for row in sql.query(tx.backend())?.fetch_all(&mut *tx).await? {
                kept.push((row.parsed("tenant")?, row.text("unit")?, row.int("epoch")?));
            }
            tx.commit().await?;
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let name = |text: &str| -> Name { text.parse().unwrap() };
        for told in [
            Told::Flows,
            Told::Nodes,
            Told::Read(name("acme"), name("orders")),
            Told::Deliver(name("acme"), name("orders")),
            Told::Replay(name("acme"), name("orders")),
            Told::Compare(name("acme"), name("orders")),
            Told::Upstream(name("acme"), name("shopify-main")),
            Told::Anything,
        ] {
            assert_eq!(Told::parse(&told.text()), told);
        }
        for strange in [
            "",
            "read",
            "read acme",
            "deliver Acme! orders",
            "later acme orders",
        ] {
            assert_eq!(Told::parse(strange), Told::Anything, "{strange}");
        }
    }
}
