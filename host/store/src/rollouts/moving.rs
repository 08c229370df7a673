//! Moving a connection to another release, and back, each in one transaction.
//!
//! The rows that say how far the connection's flows were read are locked first. A page that is being committed holds such a row: it is either
//! committed before, and counts, or comes after, and finds that its connection has another generation ([`StoreError::Superseded`]); nothing is ever
//! committed that the release before read after the move. The storage of the connection is locked the same way. What the release before is just
//! writing to its system is not touched: its outcome is as true as ever, and whoever delivers next does it with the new release.

use std::collections::BTreeMap;

use stecker_model::{
    ConnectionSpec, Digest, Name, RecordState,
    api::{MoveState, Reason, RolloutState},
};

use super::stats;
use crate::{
    AuditEntry, Backend, Lease, Store, StoreError,
    accept::fingerprint,
    audit,
    counters::Tally,
    nodes, rollout_unit,
    sql::{Columns, LEAVE_QUEUE, OF_RECORDS, Sql, Tx, pieces, to_json},
    tenants,
};

/// What became of a connection that was to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It runs the new release now; this is its generation.
    Moved(i64),
    /// It was moved before.
    Already,
    /// Somebody changed it since it was looked at, so that it is left as it is.
    Left,
}

/// What became of a connection that was to be moved back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It runs the release before, from where it was; so many records that the new one had read were left out and are read again.
    Restored(u64),
    /// It was not moved, or is back already.
    Already,
    /// Somebody changed it since, so that it is left as it is.
    Left,
}

/// A connection of a rollout, held until the transaction ends.
struct Held {
    state: MoveState,
    from: Digest,
    spec_before: Option<ConnectionSpec>,
    generation: Option<i64>,
    moved_at: Option<i64>,
}

async fn hold(
    store: &Store,
    tx: &mut Tx,
    tenant: &Name,
    rollout: &Name,
    connection: &Name,
) -> Result<Held, StoreError> {
    let mut sql = Sql::new(
        "SELECT state, from_release, spec_before, generation, moved_at FROM rollout_connections WHERE tenant = ",
    );
    sql.bind(tenant.as_str())
        .push(" AND rollout = ")
        .bind(rollout.as_str());
    sql.push(" AND connection = ")
        .bind(connection.as_str())
        .push(store.lock());
    let row = sql
        .query(tx.backend())?
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| StoreError::not_found("connection of the rollout", connection))?;
    let state = row.text("state")?;
    Ok(Held {
        state: MoveState::parse(&state)
            .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))?,
        from: row.parsed("from_release")?,
        spec_before: row.maybe_json("spec_before")?,
        generation: row.maybe_int("generation")?,
        moved_at: row.maybe_int("moved_at")?,
    })
}

/// Locks what a connection's flows were read up to, and its storage; its specification with the generation.
async fn stand_still(
    store: &Store,
    tx: &mut Tx,
    tenant: &Name,
    connection: &Name,
) -> Result<(ConnectionSpec, i64), StoreError> {
    // As whoever applies specifications does, so that the two do not wait for each other crosswise.
    tenants::require(tx, tenant, store.lock()).await?;
    let mut sql = Sql::new("SELECT flow FROM readers WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND connection = ")
        .bind(connection.as_str());
    sql.push(" ORDER BY flow").push(store.lock());
    sql.query(tx.backend())?.fetch_all(&mut **tx).await?;
    sqlx::query(
        "INSERT INTO kv_usage (tenant, connection, bytes, keys) VALUES ($1, $2, 0, 0) \
         ON CONFLICT (tenant, connection) DO UPDATE SET bytes = kv_usage.bytes",
    )
    .bind(tenant.as_str())
    .bind(connection.as_str())
    .execute(&mut **tx)
    .await?;
    let mut sql = Sql::new("SELECT spec, generation FROM connections WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND name = ")
        .bind(connection.as_str());
    sql.push(store.lock());
    let row = sql
        .query(tx.backend())?
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| StoreError::not_found("connection", connection))?;
    Ok((row.json("spec")?, row.int("generation")?))
}

async fn set_spec(
    tx: &mut Tx,
    tenant: &Name,
    spec: &ConnectionSpec,
    (actor, why, before): (&str, &str, &ConnectionSpec),
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE connections SET spec = $1, generation = generation + 1, updated_at = $2 WHERE tenant = $3 AND name = $4",
    )
    .bind(to_json(spec)?)
    .bind(now)
    .bind(tenant.as_str())
    .bind(spec.name.as_str())
    .execute(&mut **tx)
    .await?;
    let entry = AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: format!("connection.{why}"),
        subject: format!("connection/{}", spec.name),
        detail: serde_json::json!({ "before": before, "after": spec }),
    };
    audit::write(tx, tenant, &entry).await
}

async fn note(
    tx: &mut Tx,
    (tenant, rollout, connection): (&Name, &Name, &Name),
    state: MoveState,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE rollout_connections SET state = $1, moved_at = $2 WHERE tenant = $3 AND rollout = $4 AND connection = $5",
    )
    .bind(state.as_str())
    .bind(now)
    .bind(tenant.as_str())
    .bind(rollout.as_str())
    .bind(connection.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether any connection of a rollout runs the new release.
pub(super) async fn has_moved(tx: &mut Tx, tenant: &Name, rollout: &Name) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM rollout_connections WHERE tenant = $1 AND rollout = $2 AND state = 'moved'",
    )
    .bind(tenant.as_str())
    .bind(rollout.as_str())
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.int("n")? > 0)
}

impl Store {
    /// Moves a connection to another release: from the next call on, on every host, it is the new one's. What it goes back to is kept: its
    /// specification, how far its flows were read, its storage. `spec` is what it is to be, made of what it was at `generation`.
    ///
    /// # Errors
    /// The lease is not the current one, the rollout is not moving connections (any more), the connection is not in it or not there any more, or the
    /// database fails. Nothing is changed then.
    pub async fn move_connection(
        &self,
        lease: &Lease,
        rollout: &Name,
        spec: &ConnectionSpec,
        generation: i64,
        to: &Digest,
        now: i64,
    ) -> Result<Moved, StoreError> {
        let (tenant, connection) = (&lease.tenant, &spec.name);
        let mut tx = self.begin_fenced(lease).await?;
        // A person may have ended or paused it since whoever works on it looked.
        let info = super::hold(self, &mut tx, tenant, rollout).await?;
        if info.state != RolloutState::Moving || info.paused {
            let what = format!("the rollout `{rollout}` is not moving connections any more");
            return Err(StoreError::conflict(what));
        }
        let held = hold(self, &mut tx, tenant, rollout, connection).await?;
        if held.state != MoveState::Waiting {
            return Ok(Moved::Already);
        }
        let (before, current) = stand_still(self, &mut tx, tenant, connection).await?;
        if current != generation || before.plugin.digest.as_ref() != Some(&held.from) {
            note(&mut tx, (tenant, rollout, connection), MoveState::Left, now).await?;
            tx.commit().await?;
            return Ok(Moved::Left);
        }
        sqlx::query(
            "INSERT INTO kept_readers (tenant, rollout, connection, flow, stream, cursor_value, acknowledged) \
             SELECT tenant, $1, connection, flow, stream, cursor_value, acknowledged FROM readers \
             WHERE tenant = $2 AND connection = $3",
        )
        .bind(rollout.as_str())
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO kept_kv (tenant, rollout, connection, key, value, version) \
             SELECT tenant, $1, connection, key, value, version FROM kv WHERE tenant = $2 AND connection = $3",
        )
        .bind(rollout.as_str())
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .execute(&mut *tx)
        .await?;
        let numbers = stats::numbers(&mut tx, tenant, connection, to).await?;
        let unit = rollout_unit(rollout);
        set_spec(&mut tx, tenant, spec, (&unit, "move", &before), now).await?;
        sqlx::query(
            "UPDATE rollout_connections SET state = 'moved', moved_at = $1, spec_before = $2, generation = $3, numbers = $4 \
             WHERE tenant = $5 AND rollout = $6 AND connection = $7",
        )
        .bind(now)
        .bind(to_json(&before)?)
        .bind(generation + 1)
        .bind(to_json(&numbers)?)
        .bind(tenant.as_str())
        .bind(rollout.as_str())
        .bind(connection.as_str())
        .execute(&mut *tx)
        .await?;
        nodes::flows_changed(self, &mut tx).await?;
        tx.commit().await?;
        Ok(Moved::Moved(generation + 1))
    }

    /// Moves a connection back: its specification, how far its flows were read and its storage are what they were. What the new release has read
    /// and what was not sent yet is left out, and forgotten to have been read, so that it is read again by the old one; what was sent stays sent.
    ///
    /// # Errors
    /// As [`Store::move_connection`].
    pub async fn restore_connection(
        &self,
        lease: &Lease,
        rollout: &Name,
        connection: &Name,
        to: &Digest,
        now: i64,
    ) -> Result<Restored, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let held = hold(self, &mut tx, tenant, rollout, connection).await?;
        let (MoveState::Moved, Some(mut spec)) = (held.state, held.spec_before) else {
            return Ok(Restored::Already);
        };
        let (current, generation) = stand_still(self, &mut tx, tenant, connection).await?;
        if current.plugin.digest.as_ref() != Some(to) {
            note(&mut tx, (tenant, rollout, connection), MoveState::Left, now).await?;
            tx.commit().await?;
            return Ok(Restored::Left);
        }
        if held.generation != Some(generation) {
            // A person changed something else meanwhile, which stays: only the release goes back, with the configuration that is its own.
            let config = spec.config;
            let plugin = spec.plugin;
            spec = ConnectionSpec {
                config,
                plugin,
                ..current.clone()
            };
        }
        // Only flows that still read what they read then; another stream has a cursor of its own.
        sqlx::query(
            "UPDATE readers SET cursor_value = k.cursor_value, acknowledged = k.acknowledged, caught_up = 0, last_error = NULL, \
             updated_at = $1 FROM kept_readers AS k WHERE readers.tenant = k.tenant AND readers.flow = k.flow \
             AND readers.connection = k.connection AND readers.stream = k.stream \
             AND k.tenant = $2 AND k.rollout = $3 AND k.connection = $4",
        )
        .bind(now)
        .bind(tenant.as_str())
        .bind(rollout.as_str())
        .bind(connection.as_str())
        .execute(&mut *tx)
        .await?;
        self.restore_storage(&mut tx, (tenant, rollout, connection))
            .await?;
        let since = held.moved_at.unwrap_or(0);
        let (again, _) = self
            .read_again(&mut tx, (tenant, connection), rollout, (to, since), (true, now))
            .await?;
        self.take_again(&mut tx, (tenant, connection), since, now).await?;
        let unit = rollout_unit(rollout);
        set_spec(&mut tx, tenant, &spec, (&unit, "restore", &current), now).await?;
        note(&mut tx, (tenant, rollout, connection), MoveState::Restored, now).await?;
        nodes::flows_changed(self, &mut tx).await?;
        tx.commit().await?;
        Ok(Restored::Restored(again))
    }

    async fn restore_storage(
        &self,
        tx: &mut Tx,
        (tenant, rollout, connection): (&Name, &Name, &Name),
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM kv WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .execute(&mut **tx)
            .await?;
        sqlx::query(
            "INSERT INTO kv (tenant, connection, key, value, version) SELECT tenant, connection, key, value, version \
             FROM kept_kv WHERE tenant = $1 AND rollout = $2 AND connection = $3",
        )
        .bind(tenant.as_str())
        .bind(rollout.as_str())
        .bind(connection.as_str())
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "UPDATE kv_usage SET keys = (SELECT COUNT(*) FROM kv WHERE kv.tenant = kv_usage.tenant AND kv.connection = kv_usage.connection), \
             bytes = (SELECT COALESCE(CAST(SUM(LENGTH(key) + LENGTH(value)) AS BIGINT), 0) FROM kv \
             WHERE kv.tenant = kv_usage.tenant AND kv.connection = kv_usage.connection) \
             WHERE tenant = $1 AND connection = $2",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Leaves out what a release has read since a moment and nobody has sent yet. `whole`: and forgets that anything of it was read, so that another
    /// release reads it again. How many were left out, and how many are on their way.
    async fn read_again(
        &self,
        tx: &mut Tx,
        (tenant, connection): (&Name, &Name),
        rollout: &Name,
        (release, since): (&Digest, i64),
        (whole, now): (bool, i64),
    ) -> Result<(u64, u64), StoreError> {
        let flows =
            sqlx::query("SELECT flow FROM readers WHERE tenant = $1 AND connection = $2 ORDER BY flow")
                .bind(tenant.as_str())
                .bind(connection.as_str())
                .fetch_all(&mut **tx)
                .await?;
        let (mut left_out, mut on_their_way) = (0, 0);
        for row in &flows {
            let flow: Name = row.parsed("flow")?;
            // Held, as by whoever begins or ends an attempt: their states must not move between the look and the change.
            let mut sql = Sql::new(
                "SELECT r.seq AS seq, r.state AS state, r.stream AS stream, r.key AS key FROM queue AS q \
                 JOIN records AS r ON r.tenant = q.tenant AND r.flow = q.flow AND r.seq = q.seq WHERE q.tenant = ",
            );
            sql.bind(tenant.as_str())
                .push(" AND q.flow = ")
                .bind(flow.as_str())
                .push(" AND r.release = ")
                .bind(release.as_str())
                .push(" AND r.accepted_at >= ")
                .bind(since)
                .push(" ORDER BY r.seq")
                .push(match self.backend() {
                    Backend::Sqlite => "",
                    Backend::Postgres => " FOR UPDATE OF r",
                });
            let open = sql.query(tx.backend())?.fetch_all(&mut **tx).await?;
            let mut seqs = Vec::with_capacity(open.len());
            let mut lanes: BTreeMap<(String, String), i64> = BTreeMap::new();
            let mut tally = Tally::default();
            for row in &open {
                let (seq, state) = (row.int("seq")?, row.text("state")?);
                let from = RecordState::parse(&state)
                    .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))?;
                // What is on its way is left to arrive or not; what is read again comes after it.
                if !(from.is_open() || from == RecordState::Quarantined) {
                    // It was delivered while this waited for it.
                    continue;
                }
                if is_at_rest(from) {
                    tally.moved(from, RecordState::Dropped, 1);
                    seqs.push(seq);
                } else {
                    on_their_way += 1;
                }
                lanes
                    .entry((row.text("stream")?, row.text("key")?))
                    .or_insert(seq);
            }
            leave_out(tx, tenant, &flow, &seqs, rollout, now).await?;
            if whole {
                for ((stream, key), first) in &lanes {
                    forget_newest(tx, (tenant, &flow, connection), (stream, key), *first).await?;
                }
            }
            tally.write(self, tx, tenant, &flow).await?;
            left_out += seqs.len() as u64;
        }
        Ok((left_out, on_their_way))
    }

    /// Leaves out what a release had read, what was on its way when the connection went back, and what came to rest since without being delivered:
    /// its place was taken by what was read again. How many were left out, and how many are still on their way.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn leave_out_rest(
        &self,
        lease: &Lease,
        rollout: &Name,
        connection: &Name,
        (to, since): (&Digest, i64),
        now: i64,
    ) -> Result<(u64, u64), StoreError> {
        let mut tx = self.begin_fenced(lease).await?;
        let of = (&lease.tenant, connection);
        let left = self
            .read_again(&mut tx, of, rollout, (to, since), (false, now))
            .await?;
        tx.commit().await?;
        Ok(left)
    }

    /// Webhooks that the release taken back has settled are taken apart anew: a system that sends them may have no other way to tell.
    async fn take_again(
        &self,
        tx: &mut Tx,
        (tenant, connection): (&Name, &Name),
        since: i64,
        now: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM webhook_events WHERE tenant = $1 AND connection = $2 AND seen_at >= $3")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .bind(since)
            .execute(&mut **tx)
            .await?;
        sqlx::query(
            "UPDATE webhooks SET state = 'received', settled_at = NULL, tries = 0, next_try_at = $1 WHERE tenant = $2 AND connection = $3 \
             AND state <> 'received' AND settled_at >= $4",
        )
        .bind(now)
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(since)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// What the calls of a moved connection's new release had come to before it was moved.
    ///
    /// # Errors
    /// The database fails.
    pub async fn numbers_before(
        &self,
        tenant: &Name,
        rollout: &Name,
        connection: &Name,
    ) -> Result<stecker_model::api::CallNumbers, StoreError> {
        let row = sqlx::query(
            "SELECT numbers FROM rollout_connections WHERE tenant = $1 AND rollout = $2 AND connection = $3",
        )
        .bind(tenant.as_str())
        .bind(rollout.as_str())
        .bind(connection.as_str())
        .fetch_optional(self.reader())
        .await?;
        let numbers = row.map(|row| row.maybe_json("numbers")).transpose()?;
        Ok(numbers.flatten().unwrap_or_default())
    }
}

const fn is_at_rest(state: RecordState) -> bool {
    matches!(
        state,
        RecordState::Queued | RecordState::Retrying | RecordState::Quarantined
    )
}

async fn leave_out(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    seqs: &[i64],
    rollout: &Name,
    now: i64,
) -> Result<(), StoreError> {
    let reason = Reason {
        code: "rolled-back".to_owned(),
        message: format!(
            "the release that read it was taken back by the rollout `{rollout}`; it is read again by the one before"
        ),
        path: None,
    };
    let json = to_json(&reason)?;
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push("UPDATE records SET state = 'dropped', next_attempt_at = NULL, updated_at = ")
            .bind(now)
            .push(", reason_code = ")
            .bind(&*reason.code)
            .push(", reason = ")
            .bind(&*json)
            .push(OF_RECORDS);
        sql.query(tx.backend())?.execute(&mut **tx).await?;
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(LEAVE_QUEUE);
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

/// The newest version of a key is the one before the first that was left out: what the source has since is new again.
async fn forget_newest(
    tx: &mut Tx,
    (tenant, flow, connection): (&Name, &Name, &Name),
    (stream, key): (&str, &str),
    first: i64,
) -> Result<(), StoreError> {
    let id = fingerprint(&[connection.as_str(), stream, key]);
    let before = sqlx::query(
        "SELECT source_version FROM records WHERE tenant = $1 AND key = $2 AND flow = $3 AND seq < $4 AND stream = $5 \
         ORDER BY seq DESC LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(key)
    .bind(flow.as_str())
    .bind(first)
    .bind(stream)
    .fetch_optional(&mut **tx)
    .await?;
    let query = match before {
        Some(row) => sqlx::query("UPDATE heads SET newest = $1 WHERE tenant = $2 AND flow = $3 AND id = $4")
            .bind(row.text("source_version")?),
        None => sqlx::query("DELETE FROM heads WHERE tenant = $1 AND flow = $2 AND id = $3"),
    };
    query
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(id.to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
