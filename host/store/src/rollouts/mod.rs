//! Rollouts as jobs: started, worked on under a lease, switched by people. How a connection is moved and moved back is in [`moving`], what calls
//! came to in [`stats`].

mod moving;
mod stats;

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use stecker_model::{
    Digest, Name,
    api::{
        BarredRelease, MoveState, RolloutConnection, RolloutEvent, RolloutInfo, RolloutNote, RolloutState,
        RolloutWatch, StartRollout,
    },
};

use crate::{
    AuditEntry, Lease, Store, StoreError, audit, nodes,
    sql::{Columns, Sql, Tx, pieces, readable, storable, to_json},
    tenants,
};

pub use moving::{Moved, Restored};
pub use stats::NewCalls;

/// The most rollouts that one list shows.
const MOST: i64 = 1_000;
/// Events that are kept of one rollout; the oldest go first.
const EVENTS: usize = 200;

/// A rollout to be started.
#[derive(Debug, Clone)]
pub struct NewRollout<'r> {
    /// Its name, unique within the tenant.
    pub name: &'r Name,
    /// What was asked for.
    pub request: &'r StartRollout,
    /// The release that is moved to.
    pub to: &'r Digest,
    /// Its connections, each with its wave and the release that it runs.
    pub connections: &'r [(Name, u32, Digest)],
    /// Who.
    pub actor: &'r str,
}

/// What is written down of a rollout under its lease.
#[derive(Debug, Clone, Default)]
pub struct RolloutStep {
    /// What happened, if that changes its state.
    pub event: Option<RolloutEvent>,
    /// In words; empty: nothing to be told.
    pub notes: Vec<String>,
    /// What a look found; none: as before.
    pub watch: Option<RolloutWatch>,
    /// Its release is barred, for this reason.
    pub bar: Option<String>,
}

/// The unit of a rollout's lease.
#[must_use]
pub fn rollout_unit(name: &Name) -> String {
    format!("rollout/{name}")
}

fn state(row: &AnyRow) -> Result<RolloutState, StoreError> {
    let state = row.text("state")?;
    RolloutState::parse(&state)
        .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))
}

fn info(row: &AnyRow) -> Result<RolloutInfo, StoreError> {
    Ok(RolloutInfo {
        name: row.parsed("name")?,
        state: state(row)?,
        paused: row.int("paused")? != 0,
        wave: u32::try_from(row.int("wave")?).map_err(|error| StoreError::corrupt("column wave", error))?,
        request: row.json("request")?,
        to: row.parsed("to_release")?,
        actor: row.text("actor")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
        state_since: row.int("state_since")?,
        ended_at: row.maybe_int("ended_at")?,
        connections: Vec::new(),
        events: row.json("events")?,
        watch: row.maybe_json("watch")?,
    })
}

fn connection(row: &AnyRow) -> Result<RolloutConnection, StoreError> {
    let state = row.text("state")?;
    Ok(RolloutConnection {
        connection: row.parsed("connection")?,
        wave: u32::try_from(row.int("wave")?).map_err(|error| StoreError::corrupt("column wave", error))?,
        state: MoveState::parse(&state)
            .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))?,
        from: row.parsed("from_release")?,
        moved_at: row.maybe_int("moved_at")?,
    })
}

/// A rollout's row, held until the transaction ends.
async fn hold(store: &Store, tx: &mut Tx, tenant: &Name, name: &Name) -> Result<RolloutInfo, StoreError> {
    let mut sql = Sql::new("SELECT * FROM rollouts WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND name = ")
        .bind(name.as_str())
        .push(store.lock());
    let row = sql.query(tx.backend())?.fetch_optional(&mut **tx).await?;
    row.as_ref()
        .map(info)
        .transpose()?
        .ok_or_else(|| StoreError::not_found("rollout", name))
}

async fn write(tx: &mut Tx, tenant: &Name, info: &RolloutInfo) -> Result<(), StoreError> {
    let from = info.events.len().saturating_sub(EVENTS);
    let events = to_json(&info.events.get(from..).unwrap_or_default())?;
    sqlx::query(
        "UPDATE rollouts SET state = $1, paused = $2, wave = $3, updated_at = $4, state_since = $5, ended_at = $6, events = $7, \
         watch = $8 WHERE tenant = $9 AND name = $10",
    )
    .bind(info.state.as_str())
    .bind(i64::from(info.paused))
    .bind(i64::from(info.wave))
    .bind(info.updated_at)
    .bind(info.state_since)
    .bind(info.ended_at)
    .bind(readable(&events).into_owned())
    .bind(info.watch.as_ref().map(to_json).transpose()?)
    .bind(tenant.as_str())
    .bind(info.name.as_str())
    .execute(&mut **tx)
    .await?;
    if info.state.is_over() {
        sqlx::query("UPDATE rollout_connections SET is_open = 0 WHERE tenant = $1 AND rollout = $2")
            .bind(tenant.as_str())
            .bind(info.name.as_str())
            .execute(&mut **tx)
            .await?;
        // What is promoted stays, and what is back needs no way back.
        for table in ["kept_readers", "kept_kv"] {
            let mut sql = Sql::new("DELETE FROM ");
            sql.push(table).push(" WHERE tenant = ").bind(tenant.as_str());
            sql.push(" AND rollout = ").bind(info.name.as_str());
            sql.query(tx.backend())?.execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// Changes a state, if the event means anything in it.
fn happen(info: &mut RolloutInfo, event: RolloutEvent, now: i64) -> Result<(), StoreError> {
    let next = info.state.after(event).ok_or_else(|| {
        StoreError::conflict(format!(
            "the rollout `{}` is {}; that cannot be done to it now",
            info.name,
            info.state.as_str()
        ))
    })?;
    info.state = next;
    info.state_since = now;
    if next == RolloutState::Moving {
        info.wave += 1;
    }
    if next.is_over() {
        info.ended_at = Some(now);
    }
    Ok(())
}

impl Store {
    /// Starts a rollout.
    ///
    /// # Errors
    /// The name is taken, a connection is in another rollout that is not over, the release is barred, or the database fails.
    pub async fn create_rollout(
        &self,
        tenant: &Name,
        new: NewRollout<'_>,
        now: i64,
    ) -> Result<RolloutInfo, StoreError> {
        let mut tx = self.begin_tx().await?;
        tenants::require(&mut tx, tenant, self.lock()).await?;
        if let Some(barred) = barred(&mut tx, tenant, new.to).await? {
            return Err(StoreError::conflict(format!(
                "the release {} is barred: {}; lift that with `stecker rollout unbar` first",
                new.to, barred.reason
            )));
        }
        let made = sqlx::query(
            "INSERT INTO rollouts (tenant, name, state, paused, wave, request, to_release, actor, created_at, updated_at, \
             state_since, events) VALUES ($1, $2, 'preparing', 0, 0, $3, $4, $5, $6, $6, $6, '[]') \
             ON CONFLICT (tenant, name) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(new.name.as_str())
        .bind(storable("the rollout", &to_json(new.request)?)?.to_owned())
        .bind(new.to.as_str())
        .bind(readable(new.actor).into_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            let what = format!("there is a rollout named `{}` already", new.name);
            return Err(StoreError::conflict(what));
        }
        for (connection, ..) in new.connections {
            let open = sqlx::query(
                "SELECT rollout FROM rollout_connections WHERE tenant = $1 AND connection = $2 AND is_open = 1",
            )
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(row) = open {
                return Err(StoreError::conflict(format!(
                    "the connection `{connection}` is in the rollout `{}`, which is not over",
                    row.text("rollout")?
                )));
            }
        }
        for piece in pieces(new.connections) {
            let mut sql = Sql::new(
                "INSERT INTO rollout_connections (tenant, rollout, connection, wave, state, is_open, from_release) VALUES ",
            );
            sql.rows(piece, |row, (connection, wave, from)| {
                row.value(tenant.as_str())
                    .value(new.name.as_str())
                    .value(connection.as_str())
                    .value(i64::from(*wave))
                    .value(MoveState::Waiting.as_str())
                    .value(1_i64)
                    .value(from.as_str());
            });
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        let entry = AuditEntry {
            at: now,
            actor: new.actor.to_owned(),
            action: "rollout.start".to_owned(),
            subject: format!("rollout/{}", new.name),
            detail: serde_json::json!({ "request": new.request, "to": new.to, "connections": new.connections.len() }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        nodes::flows_changed(self, &mut tx).await?;
        tx.commit().await?;
        self.rollout(tenant, new.name).await
    }

    /// A rollout and how far it is.
    ///
    /// # Errors
    /// There is none of this name, or the database fails.
    pub async fn rollout(&self, tenant: &Name, name: &Name) -> Result<RolloutInfo, StoreError> {
        let row = sqlx::query("SELECT * FROM rollouts WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(self.reader())
            .await?
            .ok_or_else(|| StoreError::not_found("rollout", name))?;
        let mut info = info(&row)?;
        let rows = sqlx::query(
            "SELECT connection, wave, state, from_release, moved_at FROM rollout_connections \
             WHERE tenant = $1 AND rollout = $2 ORDER BY wave, connection",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .fetch_all(self.reader())
        .await?;
        info.connections = rows.iter().map(connection).collect::<Result<_, _>>()?;
        Ok(info)
    }

    /// A tenant's rollouts, the newest first, at most 1,000.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rollouts(&self, tenant: &Name) -> Result<Vec<RolloutInfo>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM rollouts WHERE tenant = $1 ORDER BY created_at DESC, name LIMIT $2")
                .bind(tenant.as_str())
                .bind(MOST)
                .fetch_all(self.reader())
                .await?;
        let mut infos: Vec<RolloutInfo> = rows.iter().map(info).collect::<Result<_, _>>()?;
        let rows = sqlx::query(
            "SELECT rollout, connection, wave, state, from_release, moved_at FROM rollout_connections WHERE tenant = $1 \
             ORDER BY rollout, wave, connection",
        )
        .bind(tenant.as_str())
        .fetch_all(self.reader())
        .await?;
        let mut by_rollout: BTreeMap<String, Vec<RolloutConnection>> = BTreeMap::new();
        for row in &rows {
            by_rollout
                .entry(row.text("rollout")?)
                .or_default()
                .push(connection(row)?);
        }
        for info in &mut infos {
            info.connections = by_rollout.remove(info.name.as_str()).unwrap_or_default();
        }
        Ok(infos)
    }

    /// Every rollout that is not over, of all tenants: tenant, name, and the release that it moves to.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_rollouts(&self) -> Result<Vec<(Name, Name, Digest)>, StoreError> {
        let rows = sqlx::query("SELECT tenant, name, to_release FROM rollouts WHERE ended_at IS NULL")
            .fetch_all(self.reader())
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.parsed("tenant")?,
                    row.parsed("name")?,
                    row.parsed("to_release")?,
                ))
            })
            .collect()
    }

    /// Writes down a step of whoever holds the rollout's lease; what it is now.
    ///
    /// # Errors
    /// The lease is not the current one, the event means nothing in the state that it is in by now, or the database fails.
    pub async fn step_rollout(
        &self,
        lease: &Lease,
        name: &Name,
        step: RolloutStep,
        now: i64,
    ) -> Result<RolloutState, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let mut info = hold(self, &mut tx, tenant, name).await?;
        if let Some(event) = step.event {
            happen(&mut info, event, now)?;
        }
        info.updated_at = now;
        info.events
            .extend(step.notes.into_iter().map(|what| RolloutNote { at: now, what }));
        if step.watch.is_some() {
            info.watch = step.watch;
        }
        write(&mut tx, tenant, &info).await?;
        if let Some(reason) = step.bar {
            bar(&mut tx, tenant, &info.to, &reason, &rollout_unit(name), now).await?;
        }
        if step.event.is_some() {
            let entry = AuditEntry {
                at: now,
                actor: rollout_unit(name),
                action: format!("rollout.{}", info.state.as_str()),
                subject: format!("rollout/{name}"),
                detail: serde_json::json!({ "why": info.events.last().map(|note| &note.what) }),
            };
            audit::write(&mut tx, tenant, &entry).await?;
        }
        tx.commit().await?;
        Ok(info.state)
    }

    /// A person pauses a rollout, or has it go on.
    ///
    /// # Errors
    /// There is none of this name, it is over, or the database fails.
    pub async fn pause_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        paused: bool,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        let mut info = hold(self, &mut tx, tenant, name).await?;
        if info.state.is_over() {
            let what = format!("the rollout `{name}` is {} already", info.state.as_str());
            return Err(StoreError::conflict(what));
        }
        info.paused = paused;
        info.updated_at = now;
        let verb = if paused { "pause" } else { "resume" };
        self.by_hand(tx, tenant, info, verb, actor, now).await
    }

    /// A person approves of a rollout, or ends it.
    ///
    /// # Errors
    /// There is none of this name, the event means nothing in its state, or the database fails.
    pub async fn switch_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        event: RolloutEvent,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        let mut info = hold(self, &mut tx, tenant, name).await?;
        let mut event = event;
        if event == RolloutEvent::AbortUnmoved && moving::has_moved(&mut tx, tenant, name).await? {
            event = RolloutEvent::AbortMoved;
        }
        happen(&mut info, event, now)?;
        info.paused = false;
        info.updated_at = now;
        let verb = match event {
            RolloutEvent::Approve => "approve",
            RolloutEvent::DidWell | RolloutEvent::AllDidWell => "promote",
            _ => "abort",
        };
        self.by_hand(tx, tenant, info, verb, actor, now).await
    }

    async fn by_hand(
        &self,
        mut tx: Tx,
        tenant: &Name,
        mut info: RolloutInfo,
        verb: &str,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        info.events.push(RolloutNote {
            at: now,
            what: format!("{verb}, by {actor}"),
        });
        write(&mut tx, tenant, &info).await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: format!("rollout.{verb}"),
            subject: format!("rollout/{}", info.name),
            detail: serde_json::json!({ "state": info.state.as_str() }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        nodes::flows_changed(self, &mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// A tenant's barred releases, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn barred_releases(&self, tenant: &Name) -> Result<Vec<BarredRelease>, StoreError> {
        let rows = sqlx::query(
            "SELECT digest, reason, actor, barred_at FROM barred_releases WHERE tenant = $1 ORDER BY barred_at DESC, digest",
        )
        .bind(tenant.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter().map(barred_row).collect()
    }

    /// A person bars a release, or lifts that.
    ///
    /// # Errors
    /// The tenant is unknown, the release is not barred (to be lifted), or the database fails.
    pub async fn bar_release(
        &self,
        tenant: &Name,
        digest: &Digest,
        reason: Option<&str>,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        tenants::require(&mut tx, tenant, self.lock()).await?;
        let action = match reason {
            Some(reason) => {
                bar(&mut tx, tenant, digest, reason, actor, now).await?;
                "release.bar"
            }
            None => {
                let gone = sqlx::query("DELETE FROM barred_releases WHERE tenant = $1 AND digest = $2")
                    .bind(tenant.as_str())
                    .bind(digest.as_str())
                    .execute(&mut *tx)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Err(StoreError::not_found("barred release", digest));
                }
                "release.unbar"
            }
        };
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: format!("release/{digest}"),
            detail: serde_json::json!({ "reason": reason }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        Ok(tx.commit().await?)
    }
}

fn barred_row(row: &AnyRow) -> Result<BarredRelease, StoreError> {
    Ok(BarredRelease {
        digest: row.parsed("digest")?,
        reason: row.text("reason")?,
        actor: row.text("actor")?,
        barred_at: row.int("barred_at")?,
    })
}

async fn barred(tx: &mut Tx, tenant: &Name, digest: &Digest) -> Result<Option<BarredRelease>, StoreError> {
    let row = sqlx::query("SELECT * FROM barred_releases WHERE tenant = $1 AND digest = $2")
        .bind(tenant.as_str())
        .bind(digest.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(barred_row).transpose()
}

async fn bar(
    tx: &mut Tx,
    tenant: &Name,
    digest: &Digest,
    reason: &str,
    actor: &str,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO barred_releases (tenant, digest, reason, actor, barred_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant, digest) DO UPDATE SET reason = excluded.reason, actor = excluded.actor, barred_at = excluded.barred_at",
    )
    .bind(tenant.as_str())
    .bind(digest.as_str())
    .bind(readable(reason).into_owned())
    .bind(readable(actor).into_owned())
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
