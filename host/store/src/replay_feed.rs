//! Queueing the set of a replay again, piece by piece: what is queued and how far the replay is are written in one transaction, so
//! that a kill at any moment neither doubles nor skips a record.
//!
//! The transaction holds the row of the flow's reader. Whoever accepts a newer state of a thing holds it too, so a state that looks like
//! the newest one here stays so until it is in the queue, where order is kept.

use std::collections::{BTreeMap, BTreeSet};

use stecker_model::{
    Name, RecordState,
    api::{ReplayEvent, ReplayState},
};

use crate::{
    Backend, Lease, Store, StoreError,
    accept::{fingerprint, lane, newest},
    counters::Tally,
    due::parse_state,
    replay_rules::{Known, Turn, turn},
    replays::set_state,
    sql::{Columns, OF_RECORDS, Sql, Tx, pieces, to_i64},
};

/// What one piece of a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fed {
    /// Records queued.
    pub queued: u64,
    /// Records left out.
    pub skipped: u64,
    /// The next record cannot be decided on yet: a newer state of the same thing is on its way, and must not be overtaken.
    pub held: bool,
    /// Nothing is left: the replay is done.
    pub done: bool,
}

/// A record of the set as the ledger has it.
struct Found {
    lane: [u8; 32],
    state: RecordState,
    attempts: i64,
    payload: bool,
    /// A newer state of the same thing was accepted.
    newer: bool,
}

impl Found {
    const fn known(&self) -> Known {
        Known {
            state: Some(self.state),
            payload: self.payload,
            newer: self.newer,
        }
    }
}

/// Goes on after [`Sql::with_keys`]: records of the set, by their whole keys.
const LOOK: &str = "SELECT r.seq, r.stream, r.key, r.source_version, r.state, r.attempts, \
    CAST(CASE WHEN EXISTS (SELECT 1 FROM payloads AS p WHERE p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq) \
      THEN 1 ELSE 0 END AS BIGINT) AS payload \
    FROM v JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq ORDER BY r.seq";

/// Which of these have a later record of the same thing. The flow is compared as something that no index holds, so that there is one
/// that fits (`records_by_key`) for a Postgres without statistics too, which else reads all later records of the flow.
const LATER: &str = " SELECT v.seq FROM v JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq \
    WHERE EXISTS (SELECT 1 FROM records AS n WHERE n.tenant = r.tenant AND n.key = r.key AND n.flow || '' = r.flow \
      AND n.seq > r.seq AND n.stream = r.stream)";

const NOT_THERE: Known = Known {
    state: None,
    payload: false,
    newer: false,
};

impl Store {
    /// Queues the next records of a replay's set, at most `limit`, in the order of their numbers, with a fresh budget of attempts and
    /// the same idempotency keys. A replay that is not running, or whose set is not complete, is left alone.
    ///
    /// # Errors
    /// The lease is not the current one, flow or replay are not there, or the database fails.
    pub async fn feed_replay(
        &self,
        lease: &Lease,
        flow: &Name,
        name: &Name,
        limit: u32,
        now: i64,
    ) -> Result<Fed, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let place = self.place(&mut tx, tenant, flow).await?;
        let replay = self.hold_replay(&mut tx, tenant, name).await?;
        if replay.info.state != ReplayState::Running || replay.info.collecting {
            tx.rollback().await?;
            return Ok(Fed::default());
        }
        let rows = sqlx::query(
            "SELECT seq FROM replay_items WHERE tenant = $1 AND replay = $2 AND seq > $3 ORDER BY seq LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .bind(replay.fed_to)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        let mut next = rows
            .iter()
            .map(|row| row.int("seq"))
            .collect::<Result<Vec<_>, _>>()?;
        let last_piece = next.len() < limit as usize;
        let all_versions = replay.info.selection.all_versions;
        let found = self
            .look(&mut tx, (tenant, flow), &place.connection, &next)
            .await?;
        let held = all_versions && cut_at_held(&mut tx, &found, &mut next).await?;
        let decided: Vec<(i64, Turn)> = next
            .iter()
            .map(|seq| {
                let known = found.get(seq).map_or(NOT_THERE, Found::known);
                (*seq, turn(known, all_versions))
            })
            .collect();
        let mut fed = Fed {
            held,
            ..Fed::default()
        };
        self.queue_again(&mut tx, (tenant, flow), &found, &decided, now)
            .await?;
        note(&mut tx, (tenant, name), &found, &decided, now).await?;
        let count = |wanted: Turn| to_i64(decided.iter().filter(|(_, turn)| *turn == wanted).count());
        fed.queued = count(Turn::Queue).unsigned_abs();
        fed.skipped = decided.len() as u64 - fed.queued;
        sqlx::query(
            "UPDATE replays SET fed_to = $1, queued = queued + $2, skipped_older = skipped_older + $3, \
             skipped_open = skipped_open + $4, skipped_gone = skipped_gone + $5, updated_at = $6 \
             WHERE tenant = $7 AND name = $8",
        )
        .bind(next.last().copied().unwrap_or(replay.fed_to))
        .bind(count(Turn::Queue))
        .bind(count(Turn::Older))
        .bind(count(Turn::Open))
        .bind(count(Turn::Gone))
        .bind(now)
        .bind(tenant.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
        if last_piece
            && !held
            && let Ok(done) = replay.info.state.after(ReplayEvent::Exhausted)
        {
            set_state(&mut tx, tenant, name, done, now).await?;
            fed.done = true;
        }
        tx.commit().await?;
        Ok(fed)
    }

    /// Which of these records would be left out if they were replayed now, and why: older, open, gone. Nothing is
    /// changed.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn replay_skips(
        &self,
        tenant: &Name,
        flow: &Name,
        seqs: &[i64],
        all_versions: bool,
    ) -> Result<BTreeMap<i64, &'static str>, StoreError> {
        let mut tx = self.begin_tx().await?;
        let place = self.place(&mut tx, tenant, flow).await?;
        let found = self
            .look(&mut tx, (tenant, flow), &place.connection, seqs)
            .await?;
        tx.rollback().await?;
        let mut skips = BTreeMap::new();
        for seq in seqs {
            let known = found.get(seq).map_or(NOT_THERE, Found::known);
            let turn = turn(known, all_versions);
            if turn != Turn::Queue {
                skips.insert(*seq, turn.as_str());
            }
        }
        Ok(skips)
    }

    /// Records of the set as they are, kept from everybody else until the transaction ends.
    async fn look(
        &self,
        tx: &mut Tx,
        (tenant, flow): (&Name, &Name),
        connection: &str,
        seqs: &[i64],
    ) -> Result<BTreeMap<i64, Found>, StoreError> {
        let mut found = BTreeMap::new();
        let mut versions = Vec::with_capacity(seqs.len());
        for piece in pieces(seqs) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push(LOOK).push(match self.backend() {
                Backend::Sqlite => "",
                Backend::Postgres => " FOR UPDATE OF r",
            });
            for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
                let (seq, stream, key) = (row.int("seq")?, row.text("stream")?, row.text("key")?);
                let head = fingerprint(&[connection, &stream, &key]);
                versions.push((seq, head, row.text("source_version")?));
                let record = Found {
                    lane: lane(tenant, flow, &stream, &key),
                    state: parse_state(&row.text("state")?)?,
                    attempts: row.int("attempts")?,
                    payload: row.int("payload")? != 0,
                    newer: false,
                };
                found.insert(seq, record);
            }
        }
        for seq in overtaken(tx, (tenant, flow), &versions).await? {
            if let Some(record) = found.get_mut(&seq) {
                record.newer = true;
            }
        }
        Ok(found)
    }

    async fn queue_again(
        &self,
        tx: &mut Tx,
        (tenant, flow): (&Name, &Name),
        found: &BTreeMap<i64, Found>,
        decided: &[(i64, Turn)],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tally = Tally::default();
        let queued: Vec<(i64, &Found)> = decided
            .iter()
            .filter(|(_, turn)| *turn == Turn::Queue)
            .filter_map(|(seq, _)| found.get(seq).map(|record| (*seq, record)))
            .collect();
        for (_, record) in &queued {
            tally.moved(record.state, RecordState::Queued, 1);
        }
        for piece in pieces(&queued) {
            let seqs: Vec<i64> = piece.iter().map(|(seq, _)| *seq).collect();
            let mut sql = Sql::with_keys(tenant, flow, &seqs);
            // Without the outputs that were written the last time: they are to be written again.
            sql.push(
                "UPDATE records SET state = 'queued', attempts_at_reset = attempts, tries = NULL, next_attempt_at = NULL, \
                 outputs = NULL, reason_code = NULL, reason = NULL, updated_at = ",
            )
            .bind(now)
            .push(OF_RECORDS);
            sql.query(tx.backend())?.execute(&mut **tx).await?;
            let mut sql = Sql::new("INSERT INTO queue (tenant, flow, seq, lane, state) VALUES ");
            sql.rows(piece, |row, (seq, record)| {
                row.value(tenant.as_str())
                    .value(flow.as_str())
                    .value(*seq)
                    .value(record.lane.to_vec())
                    .value(RecordState::Queued.as_str());
            });
            sql.query(tx.backend())?.execute(&mut **tx).await?;
        }
        tally.write(self, tx, tenant, flow).await
    }
}

/// Those of which a newer state was accepted. The newest version of each thing is known for ever (heads), also when its record is not
/// kept any more. Only a thing that the flow's present source never told of has none: then the ledger has to say.
async fn overtaken(
    tx: &mut Tx,
    (tenant, flow): (&Name, &Name),
    versions: &[(i64, [u8; 32], String)],
) -> Result<Vec<i64>, StoreError> {
    let heads: BTreeSet<[u8; 32]> = versions.iter().map(|(_, head, _)| *head).collect();
    let newest = newest(tx, tenant, flow, &heads.into_iter().collect::<Vec<_>>()).await?;
    let mut overtaken = Vec::new();
    let mut unknown = Vec::new();
    for (seq, head, version) in versions {
        match newest.get(head) {
            Some(newest) if newest > version => overtaken.push(*seq),
            Some(_) => {}
            None => unknown.push(*seq),
        }
    }
    for piece in pieces(&unknown) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(LATER);
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            overtaken.push(row.int("seq")?);
        }
    }
    Ok(overtaken)
}

/// Where all versions are replayed: ends the piece before the first record of which a newer one is on its way, because that one may
/// be sent at this very moment. Whether there was one.
async fn cut_at_held(
    tx: &mut Tx,
    found: &BTreeMap<i64, Found>,
    next: &mut Vec<i64>,
) -> Result<bool, StoreError> {
    let lanes: Vec<(i64, &Found)> = found.iter().map(|(seq, record)| (*seq, record)).collect();
    let mut first: Option<i64> = None;
    for piece in pieces(&lanes) {
        let mut sql = Sql::new("WITH v (lane, seq) AS (VALUES ");
        sql.rows(piece, |row, (seq, record)| {
            row.value(record.lane.to_vec()).value(*seq);
        });
        // Served by queue_by_lane.
        sql.push(
            ") SELECT v.seq FROM v WHERE EXISTS (SELECT 1 FROM queue AS q WHERE q.lane = v.lane AND q.seq > v.seq \
             AND q.state <> 'quarantined')",
        );
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            let seq = row.int("seq")?;
            first = Some(first.map_or(seq, |first| first.min(seq)));
        }
    }
    if let Some(first) = first {
        next.retain(|seq| *seq < first);
    }
    Ok(first.is_some())
}

/// Writes down what was decided on each record.
async fn note(
    tx: &mut Tx,
    (tenant, name): (&Name, &Name),
    found: &BTreeMap<i64, Found>,
    decided: &[(i64, Turn)],
    now: i64,
) -> Result<(), StoreError> {
    for piece in pieces(decided) {
        let mut sql = Sql::new("WITH v (tenant, replay, seq, outcome, after_attempt) AS (VALUES ");
        sql.rows(piece, |row, (seq, turn)| {
            row.value(tenant.as_str())
                .value(name.as_str())
                .value(*seq)
                .value(turn.as_str())
                .value(found.get(seq).map_or(0, |record| record.attempts));
        });
        sql.push(") UPDATE replay_items SET outcome = v.outcome, after_attempt = v.after_attempt, at = ")
            .bind(now)
            .push(
                " FROM v WHERE replay_items.tenant = v.tenant AND replay_items.replay = v.replay \
                 AND replay_items.seq = v.seq",
            );
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}
