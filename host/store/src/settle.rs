//! The end of an attempt: what became of each record, written down before it is forgotten.

use std::collections::BTreeSet;

use stecker_model::{Name, RecordState, api::Reason};

use crate::{
    Lease, Store, StoreError,
    causes::cause,
    counters::{DELIVERIES, Tally},
    outgoing::events,
    sql::{LEAVE_QUEUE, OF_QUEUE, OF_RECORDS, Sql, Tx, pieces, readable, storable, to_json},
};

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Its number within the flow.
    pub seq: i64,
    /// Where it goes.
    pub to: SettledState,
    /// How far a record that became several outputs got, as a text that the store does not look into; none: as before.
    pub outputs: Option<String>,
    /// For the attempt: `delivered`, `duplicate`, `retry`, `rejected`, `unknown`, `dropped`, or what a lookup found.
    pub outcome: String,
    /// For the attempt: the digest of what was asked, in hex; none: as before.
    pub request: Option<String>,
    /// For the attempt: the digest of what was answered, in hex; none: as before.
    pub answer: Option<String>,
    /// How often it failed, as a text that the store does not look into; none: as before.
    pub tries: Option<String>,
}

/// Where a record goes after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettledState {
    /// It is at the destination.
    Delivered {
        /// Its id there.
        external_id: Option<String>,
        /// Whether it was there already.
        duplicate: bool,
    },
    /// It is tried again.
    Retry {
        /// Not before this moment.
        at: i64,
        /// Why.
        reason: Reason,
    },
    /// Nobody knows; it is looked up.
    Unknown {
        /// Not before this moment.
        at: i64,
        /// Why.
        reason: Reason,
    },
    /// It needs a person or a fix.
    Quarantined {
        /// Why.
        reason: Reason,
    },
    /// It is left out on purpose.
    Dropped {
        /// Why.
        reason: Reason,
    },
}

impl SettledState {
    const fn state(&self) -> RecordState {
        match self {
            Self::Delivered { .. } => RecordState::Delivered,
            Self::Retry { .. } => RecordState::Retrying,
            Self::Unknown { .. } => RecordState::Unknown,
            Self::Quarantined { .. } => RecordState::Quarantined,
            Self::Dropped { .. } => RecordState::Dropped,
        }
    }

    const fn at(&self) -> Option<i64> {
        match self {
            Self::Retry { at, .. } | Self::Unknown { at, .. } => Some(*at),
            Self::Delivered { .. } | Self::Quarantined { .. } | Self::Dropped { .. } => None,
        }
    }

    const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Delivered { .. } => None,
            Self::Retry { reason, .. }
            | Self::Unknown { reason, .. }
            | Self::Quarantined { reason }
            | Self::Dropped { reason } => Some(reason),
        }
    }

    fn external_id(&self) -> Option<&str> {
        match self {
            Self::Delivered { external_id, .. } => external_id.as_deref(),
            _ => None,
        }
    }
}

/// A settlement with everything that goes into its rows.
struct Row {
    settlement: Settlement,
    reason: Option<String>,
    /// The attempt that it ends; none if none was begun.
    attempt: Option<i64>,
}

impl Store {
    /// Writes down what became of records. All or none.
    ///
    /// A record that is being sent or unknown takes the outcome into its newest attempt: an attempt whose end nobody knew
    /// ends with what the lookup found. A record that was never begun (left out by a transform, say) changes its state only.
    ///
    /// # Errors
    /// The lease is not the current one, a record is not open or given twice, or the database fails.
    pub async fn settle(
        &self,
        lease: &Lease,
        flow: &Name,
        settlements: Vec<Settlement>,
        now: i64,
    ) -> Result<(), StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let seqs: Vec<i64> = settlements.iter().map(|settlement| settlement.seq).collect();
        if seqs.iter().collect::<BTreeSet<_>>().len() != seqs.len() {
            return Err(StoreError::conflict(format!(
                "a record of flow {flow} is settled twice at once"
            )));
        }
        let held = self.hold(&mut tx, tenant, flow, &seqs).await?;
        let mut tally = Tally::default();
        let mut rows = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let seq = settlement.seq;
            let record = held
                .get(&seq)
                .ok_or_else(|| StoreError::not_found("record", &format!("{flow}/{seq}")))?;
            if !record.state.is_open() {
                let what = format!("the record {flow}/{seq} is {} already", record.state.as_str());
                return Err(StoreError::conflict(what));
            }
            storable(
                "the progress of a record",
                settlement.outputs.as_deref().unwrap_or_default(),
            )?;
            tally.moved(record.state, settlement.to.state(), 1);
            if let SettledState::Delivered { duplicate, .. } = settlement.to {
                tally.count(DELIVERIES, 1);
                // That what was sent again on purpose is there already is no news.
                if duplicate && !record.sent_again {
                    tally.found_there();
                }
            }
            let tried = matches!(record.state, RecordState::Sending | RecordState::Unknown);
            rows.push(Row {
                reason: settlement.to.reason().map(to_json).transpose()?,
                attempt: (tried && record.attempts > 0).then_some(record.attempts),
                settlement,
            });
        }
        for piece in pieces(&rows) {
            move_records(&mut tx, tenant, flow, piece, now).await?;
            end_attempts(&mut tx, tenant, flow, piece, now).await?;
        }
        move_in_queue(&mut tx, tenant, flow, &rows).await?;
        let told: Vec<i64> = rows
            .iter()
            .filter(|row| events::of_state(row.settlement.to.state()).is_some())
            .map(|row| row.settlement.seq)
            .collect();
        events::records(&mut tx, tenant, flow, &told, now).await?;
        tally.write(self, &mut tx, tenant, flow).await?;
        Ok(tx.commit().await?)
    }
}

async fn move_records(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    piece: &[Row],
    now: i64,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "WITH v (tenant, flow, seq, state, next_attempt_at, external_id, reason_code, reason, outputs, tries) AS (VALUES ",
    );
    sql.rows(piece, |values, row| {
        let to = &row.settlement.to;
        values
            .value(tenant.as_str())
            .value(flow.as_str())
            .value(row.settlement.seq)
            .value(to.state().as_str())
            .value(to.at())
            .value(to.external_id().map(readable).map(String::from))
            .value(to.reason().map(|reason| readable(&reason.code).into_owned()))
            .value(row.reason.as_deref())
            .value(row.settlement.outputs.as_deref())
            .value(row.settlement.tries.as_deref());
    });
    sql.push(
        ") UPDATE records SET state = v.state, next_attempt_at = v.next_attempt_at, \
         external_id = COALESCE(v.external_id, records.external_id), reason_code = v.reason_code, reason = v.reason, \
         outputs = COALESCE(v.outputs, records.outputs), tries = COALESCE(v.tries, records.tries), updated_at = ",
    )
    .bind(now)
    .push(OF_RECORDS);
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    Ok(())
}

/// What is done leaves the queue; the rest waits there for its time or for a person.
async fn move_in_queue(tx: &mut Tx, tenant: &Name, flow: &Name, rows: &[Row]) -> Result<(), StoreError> {
    let (stay, done): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| {
        let state = row.settlement.to.state();
        state.is_open() || state == RecordState::Quarantined
    });
    let done: Vec<i64> = done.iter().map(|row| row.settlement.seq).collect();
    for piece in pieces(&done) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(LEAVE_QUEUE);
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    for piece in pieces(&stay) {
        let mut sql = Sql::new("WITH v (tenant, flow, seq, state, next_attempt_at, cause) AS (VALUES ");
        sql.rows(piece, |values, row| {
            let to = &row.settlement.to;
            values
                .value(tenant.as_str())
                .value(flow.as_str())
                .value(row.settlement.seq)
                .value(to.state().as_str())
                .value(to.at())
                .value(to.reason().map(|reason| cause(flow, reason)));
        });
        sql.push(") UPDATE queue SET state = v.state, next_attempt_at = v.next_attempt_at, cause = v.cause")
            .push(OF_QUEUE);
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn end_attempts(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    piece: &[Row],
    now: i64,
) -> Result<(), StoreError> {
    if piece.iter().all(|row| row.attempt.is_none()) {
        return Ok(());
    }
    let mut sql =
        Sql::new("WITH v (tenant, flow, seq, attempt, outcome, reason, request, answer) AS (VALUES ");
    sql.rows(piece, |values, row| {
        values
            .value(tenant.as_str())
            .value(flow.as_str())
            .value(row.settlement.seq)
            // Attempts count from 1: 0 meets none.
            .value(row.attempt.unwrap_or(0))
            .value(readable(&row.settlement.outcome).into_owned())
            .value(row.reason.as_deref())
            .value(row.settlement.request.as_deref())
            .value(row.settlement.answer.as_deref());
    });
    sql.push(
        ") UPDATE attempts SET outcome = v.outcome, reason = COALESCE(v.reason, attempts.reason), \
         request = COALESCE(v.request, attempts.request), answer = COALESCE(v.answer, attempts.answer), finished_at = ",
    )
    .bind(now)
    .push(
        " FROM v WHERE attempts.tenant = v.tenant AND attempts.flow = v.flow AND attempts.seq = v.seq \
         AND attempts.attempt = v.attempt",
    );
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    Ok(())
}
