//! Replays as jobs: started, watched, paused, resumed, aborted. How their sets come about is in [`crate::replay_set`], how they
//! are queued in [`crate::replay_feed`].

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use stecker_model::{
    Name, RecordId, RecordState,
    api::{ReplayCursor, ReplayEvent, ReplayInfo, ReplayMark, ReplaySelection, ReplaySkipped, ReplayState},
};

use crate::{
    AuditEntry, Store, StoreError, Told, audit,
    due::parse_state,
    nodes,
    replay_set::NOT_BEGUN,
    sql::{Columns, Sql, Tx, readable, storable, to_json},
};

/// The most replays that one list shows.
const MOST: i64 = 1_000;

/// A replay to be started.
#[derive(Debug, Clone)]
pub struct NewReplay<'r> {
    /// Its name, unique within the tenant.
    pub name: &'r Name,
    /// Which records.
    pub selection: &'r ReplaySelection,
    /// Why.
    pub reason: &'r str,
    /// Who.
    pub actor: &'r str,
    /// Records a second at most.
    pub rate: u32,
}

/// A replay with where it goes on.
pub(crate) struct HeldReplay {
    pub(crate) info: ReplayInfo,
    pub(crate) collect_from: ReplayCursor,
    pub(crate) fed_to: i64,
}

fn info(row: &AnyRow) -> Result<ReplayInfo, StoreError> {
    let state = row.text("state")?;
    let total = row.count("total")?;
    let queued = row.count("queued")?;
    let skipped = ReplaySkipped {
        older: row.count("skipped_older")?,
        open: row.count("skipped_open")?,
        gone: row.count("skipped_gone")?,
    };
    Ok(ReplayInfo {
        name: row.parsed("name")?,
        state: ReplayState::parse(&state)
            .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))?,
        collecting: row.int("collected")? == 0,
        selection: row.json("selection")?,
        reason: row.text("reason")?,
        actor: row.text("actor")?,
        rate: u32::try_from(row.int("rate")?).map_err(|error| StoreError::corrupt("column rate", error))?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
        ended_at: row.maybe_int("ended_at")?,
        total,
        queued,
        skipped,
        left: total.saturating_sub(queued).saturating_sub(skipped.sum()),
        not_done: BTreeMap::new(),
    })
}

fn held_replay(row: &AnyRow) -> Result<HeldReplay, StoreError> {
    Ok(HeldReplay {
        info: info(row)?,
        collect_from: row.json("collect_from")?,
        fed_to: row.int("fed_to")?,
    })
}

impl Store {
    /// Starts a replay of what the ledger holds at this moment. Its set is empty yet: [`Store::collect_replay`] puts it together.
    ///
    /// # Errors
    /// The flow is unknown, the name is taken, or the database fails.
    pub async fn create_replay(
        &self,
        tenant: &Name,
        new: NewReplay<'_>,
        now: i64,
    ) -> Result<ReplayInfo, StoreError> {
        let selection = new.selection;
        let mut tx = self.begin_tx().await?;
        let place = self.place(&mut tx, tenant, &selection.flow).await?;
        let begin = ReplayCursor {
            seq: NOT_BEGUN,
            up_to: place.next_seq - 1,
        };
        let made = sqlx::query(
            "INSERT INTO replays (tenant, name, flow, state, selection, reason, actor, rate, created_at, updated_at, \
             collected, collect_from, fed_to, total, queued, skipped_older, skipped_open, skipped_gone) \
             VALUES ($1, $2, $3, 'running', $4, $5, $6, $7, $8, $8, 0, $9, 0, 0, 0, 0, 0, 0) \
             ON CONFLICT (tenant, name) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(new.name.as_str())
        .bind(selection.flow.as_str())
        .bind(storable("the selection", &to_json(selection)?)?.to_owned())
        .bind(readable(new.reason).into_owned())
        .bind(readable(new.actor).into_owned())
        .bind(i64::from(new.rate))
        .bind(now)
        .bind(to_json(&begin)?)
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            return Err(StoreError::conflict(format!(
                "there is a replay named `{}` already",
                new.name
            )));
        }
        let entry = AuditEntry {
            at: now,
            actor: new.actor.to_owned(),
            action: "replay.start".to_owned(),
            subject: format!("replay/{}", new.name),
            detail: serde_json::json!({
                "selection": selection, "reason": new.reason, "rate": new.rate, "up-to": begin.up_to,
            }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        let held = self.hold_replay(&mut tx, tenant, new.name).await?;
        let told = Told::Replay(tenant.clone(), selection.flow.clone());
        nodes::tell(self, &mut tx, &told).await?;
        tx.commit().await?;
        Ok(held.info)
    }

    /// A tenant's replays, the newest first; at most 1,000.
    ///
    /// # Errors
    /// The database fails.
    pub async fn replays(&self, tenant: &Name, flow: Option<&Name>) -> Result<Vec<ReplayInfo>, StoreError> {
        let mut sql = Sql::new("SELECT * FROM replays WHERE tenant = ");
        sql.bind(tenant.as_str());
        if let Some(flow) = flow {
            sql.push(" AND flow = ").bind(flow.as_str());
        }
        sql.push(" ORDER BY created_at DESC, name LIMIT ").bind(MOST);
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(info).collect()
    }

    /// A replay, with those of its records that were queued and are not done.
    ///
    /// # Errors
    /// The database fails.
    pub async fn replay(&self, tenant: &Name, name: &Name) -> Result<Option<ReplayInfo>, StoreError> {
        let Some(HeldReplay { mut info, .. }) = self.replay_row(tenant, name).await? else {
            return Ok(None);
        };
        // From the queue, which holds what is not done, to the set by its whole key: as long as what is open, not as the replay. A
        // question for each row and no join, which Postgres without statistics begins at the wrong end.
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS records FROM (SELECT q.state, (SELECT i.outcome FROM replay_items AS i \
             WHERE i.tenant = q.tenant AND i.replay = $1 AND i.seq = q.seq) AS outcome FROM queue AS q \
             WHERE q.tenant = $2 AND q.flow = $3) AS o WHERE outcome = 'queued' GROUP BY state",
        )
        .bind(name.as_str())
        .bind(tenant.as_str())
        .bind(info.selection.flow.as_str())
        .fetch_all(self.reader())
        .await?;
        for row in rows {
            let state: RecordState = parse_state(&row.text("state")?)?;
            info.not_done.insert(state, row.count("records")?);
        }
        Ok(Some(info))
    }

    /// The replay of a flow that is worked on now: of those that run, the oldest. Served by `replays_at_work`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn running_replay(&self, tenant: &Name, flow: &Name) -> Result<Option<ReplayInfo>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM replays WHERE state = 'running' AND tenant = $1 AND flow = $2 ORDER BY created_at, name LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .fetch_optional(self.reader())
        .await?;
        row.as_ref().map(info).transpose()
    }

    /// Pauses, resumes or aborts a replay. When this returns, nothing more is queued by one that was paused or aborted.
    ///
    /// # Errors
    /// There is no such replay, it is over ([`StoreError::Conflict`]), or the database fails.
    pub async fn switch_replay(
        &self,
        tenant: &Name,
        name: &Name,
        event: ReplayEvent,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        let held = self.hold_replay(&mut tx, tenant, name).await?;
        let before = held.info.state;
        let after = before
            .after(event)
            .map_err(|why| StoreError::conflict(format!("the replay `{name}` cannot be changed: {why}")))?;
        if after == before {
            return Ok(tx.rollback().await?);
        }
        set_state(&mut tx, tenant, name, after, now).await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: format!("replay.{}", after.as_str()),
            subject: format!("replay/{name}"),
            detail: serde_json::json!({
                "before": before, "after": after, "queued": held.info.queued, "left": held.info.left,
            }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        let told = Told::Replay(tenant.clone(), held.info.selection.flow);
        nodes::tell(self, &mut tx, &told).await?;
        Ok(tx.commit().await?)
    }

    /// A replay, kept from everybody else until the transaction ends.
    pub(crate) async fn hold_replay(
        &self,
        tx: &mut Tx,
        tenant: &Name,
        name: &Name,
    ) -> Result<HeldReplay, StoreError> {
        let mut sql = Sql::new("SELECT * FROM replays WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND name = ")
            .bind(name.as_str())
            .push(self.lock());
        let row = sql
            .query(tx.backend())?
            .fetch_optional(&mut **tx)
            .await?
            .ok_or_else(|| StoreError::not_found("replay", name))?;
        held_replay(&row)
    }

    /// The same without keeping it.
    pub(crate) async fn replay_row(
        &self,
        tenant: &Name,
        name: &Name,
    ) -> Result<Option<HeldReplay>, StoreError> {
        let row = sqlx::query("SELECT * FROM replays WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(held_replay).transpose()
    }

    /// The replays that sent a record again, oldest first. Served by `replay_items_by_record`.
    pub(crate) async fn replay_marks(
        &self,
        tenant: &Name,
        id: &RecordId,
    ) -> Result<Vec<ReplayMark>, StoreError> {
        let rows = sqlx::query(
            "SELECT i.replay, i.at, i.after_attempt, j.actor, j.reason FROM replay_items AS i \
             JOIN replays AS j ON j.tenant = i.tenant AND j.name = i.replay \
             WHERE i.tenant || '' = $1 AND i.flow = $2 AND i.seq = $3 AND i.outcome = 'queued' ORDER BY i.after_attempt, i.at",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ReplayMark {
                    replay: row.parsed("replay")?,
                    actor: row.text("actor")?,
                    reason: row.text("reason")?,
                    at: row.int("at")?,
                    after_attempt: u32::try_from(row.int("after_attempt")?)
                        .map_err(|error| StoreError::corrupt("column after_attempt", error))?,
                })
            })
            .collect()
    }
}

/// Moves a replay to a state that it may go to.
pub(crate) async fn set_state(
    tx: &mut Tx,
    tenant: &Name,
    name: &Name,
    state: ReplayState,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE replays SET state = $1, updated_at = $2, ended_at = $3 WHERE tenant = $4 AND name = $5",
    )
    .bind(state.as_str())
    .bind(now)
    .bind(state.is_over().then_some(now))
    .bind(tenant.as_str())
    .bind(name.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
