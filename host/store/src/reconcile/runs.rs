//! The comparisons themselves. Their requests are a person's, their progress is the lease holder's.

use sqlx::any::AnyRow;
use stecker_model::{
    Name,
    api::{
        Difference, ReconcileDetail, ReconcileFilter, ReconcileReport, ReconcileRequest, ReconcileRun,
        ReconcileState,
    },
};

use crate::{
    AuditEntry, Lease, Store, StoreError, Told, audit, nodes,
    sql::{Columns, Sql, Tx, pieces, readable, to_i64, to_json},
};

/// Finished comparisons that are kept of a flow.
const KEPT: i64 = 100;
/// Differences that are kept of a comparison.
const DIFFERENCES: usize = 10_000;
/// The most that one list shows.
const MOST: u32 = 1_000;

const COLUMNS: &str = "SELECT id, flow, state, request, requested_by, requested_at, started_at, finished_at, starts, report \
    FROM reconciles WHERE tenant = ";

fn run(row: &AnyRow) -> Result<ReconcileRun, StoreError> {
    let state = row.text("state")?;
    Ok(ReconcileRun {
        id: row.text("id")?,
        flow: row.parsed("flow")?,
        state: ReconcileState::parse(&state)
            .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))?,
        request: row.json("request")?,
        requested_by: row.text("requested_by")?,
        requested_at: row.int("requested_at")?,
        started_at: row.maybe_int("started_at")?,
        finished_at: row.maybe_int("finished_at")?,
        starts: u32::try_from(row.int("starts")?)
            .map_err(|error| StoreError::corrupt("column starts", error))?,
        report: row.json("report")?,
    })
}

fn entry(action: &str, actor: &str, at: i64, flow: &Name, detail: serde_json::Value) -> AuditEntry {
    AuditEntry {
        at,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("flow/{flow}"),
        detail,
    }
}

impl Store {
    /// Asks for a comparison of a flow, which the holder of its lease begins.
    ///
    /// # Errors
    /// The flow is unknown, another comparison of it is not over, or the database fails.
    pub async fn request_reconcile(
        &self,
        tenant: &Name,
        flow: &Name,
        request: &ReconcileRequest,
        actor: &str,
        now: i64,
    ) -> Result<ReconcileRun, StoreError> {
        let mut tx = self.begin_tx().await?;
        let mut sql = Sql::new("SELECT name FROM flows WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND name = ")
            .bind(flow.as_str())
            .push(self.lock());
        if sql.query(tx.backend())?.fetch_optional(&mut *tx).await?.is_none() {
            return Err(StoreError::not_found("flow", flow));
        }
        let open = sqlx::query(
            "SELECT id FROM reconciles WHERE tenant = $1 AND flow = $2 AND state IN ('requested', 'running')",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(open) = open {
            return Err(StoreError::conflict(format!(
                "the flow {flow} is being compared already: `stecker reconcile show {}` shows how far, `stecker reconcile abort` ends it",
                open.text("id")?
            )));
        }
        let id = new_id();
        sqlx::query(
            "INSERT INTO reconciles (tenant, id, flow, state, request, requested_by, requested_at, starts, report) \
             VALUES ($1, $2, $3, 'requested', $4, $5, $6, 0, $7)",
        )
        .bind(tenant.as_str())
        .bind(&*id)
        .bind(flow.as_str())
        .bind(to_json(request)?)
        .bind(readable(actor).into_owned())
        .bind(now)
        .bind(to_json(&ReconcileReport::default())?)
        .execute(&mut *tx)
        .await?;
        let detail = serde_json::json!({ "reconcile": id, "request": request });
        audit::write(
            &mut tx,
            tenant,
            &entry("reconcile.start", actor, now, flow, detail),
        )
        .await?;
        forget_old(&mut tx, tenant, flow).await?;
        nodes::tell(self, &mut tx, &Told::Compare(tenant.clone(), flow.clone())).await?;
        tx.commit().await?;
        Ok(ReconcileRun {
            id,
            flow: flow.clone(),
            state: ReconcileState::Requested,
            request: request.clone(),
            requested_by: actor.to_owned(),
            requested_at: now,
            started_at: None,
            finished_at: None,
            starts: 0,
            report: ReconcileReport::default(),
        })
    }

    /// Ends a comparison before it is over. What it queued for delivery stays queued.
    ///
    /// # Errors
    /// It is unknown or over, or the database fails.
    pub async fn abort_reconcile(
        &self,
        tenant: &Name,
        id: &str,
        actor: &str,
        now: i64,
    ) -> Result<ReconcileRun, StoreError> {
        let known = self
            .reconcile(tenant, id)
            .await?
            .ok_or_else(|| StoreError::not_found("comparison", id))?;
        let mut tx = self.begin_tx().await?;
        let done = sqlx::query(
            "UPDATE reconciles SET state = 'aborted', finished_at = $1 \
             WHERE tenant = $2 AND id = $3 AND state IN ('requested', 'running')",
        )
        .bind(now)
        .bind(tenant.as_str())
        .bind(id)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::conflict(format!(
                "the comparison {id} is over already"
            )));
        }
        let detail = serde_json::json!({ "reconcile": id });
        audit::write(
            &mut tx,
            tenant,
            &entry("reconcile.abort", actor, now, &known.flow, detail),
        )
        .await?;
        tx.commit().await?;
        Ok(ReconcileRun {
            state: ReconcileState::Aborted,
            finished_at: Some(now),
            ..known
        })
    }

    /// One comparison.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reconcile(&self, tenant: &Name, id: &str) -> Result<Option<ReconcileRun>, StoreError> {
        // No id has such a character.
        if id.contains('\0') {
            return Ok(None);
        }
        let mut sql = Sql::new(COLUMNS);
        sql.bind(tenant.as_str()).push(" AND id = ").bind(id);
        let row = sql.query(self.backend())?.fetch_optional(self.reader()).await?;
        row.as_ref().map(run).transpose()
    }

    /// The comparison of a flow that is asked for or at work.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_reconcile(
        &self,
        tenant: &Name,
        flow: &Name,
    ) -> Result<Option<ReconcileRun>, StoreError> {
        let mut sql = Sql::new(COLUMNS);
        sql.bind(tenant.as_str())
            .push(" AND flow = ")
            .bind(flow.as_str())
            .push(" AND state IN ('requested', 'running')");
        let row = sql.query(self.backend())?.fetch_optional(self.reader()).await?;
        row.as_ref().map(run).transpose()
    }

    /// When a comparison of a flow was last asked for.
    ///
    /// # Errors
    /// The database fails.
    pub async fn last_reconcile_at(&self, tenant: &Name, flow: &Name) -> Result<Option<i64>, StoreError> {
        let row =
            sqlx::query("SELECT MAX(requested_at) AS last FROM reconciles WHERE tenant = $1 AND flow = $2")
                .bind(tenant.as_str())
                .bind(flow.as_str())
                .fetch_one(self.reader())
                .await?;
        row.maybe_int("last")
    }

    /// Comparisons, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reconciles(
        &self,
        tenant: &Name,
        filter: &ReconcileFilter,
    ) -> Result<Vec<ReconcileRun>, StoreError> {
        let mut sql = Sql::new(COLUMNS);
        sql.bind(tenant.as_str());
        if let Some(flow) = &filter.flow {
            sql.push(" AND flow = ").bind(flow.as_str());
        }
        sql.push(" ORDER BY requested_at DESC, id DESC LIMIT ")
            .bind(i64::from(filter.limit.unwrap_or(20).clamp(1, MOST)));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(run).collect()
    }

    /// A comparison with up to 1,000 of its differences.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reconcile_detail(
        &self,
        tenant: &Name,
        id: &str,
    ) -> Result<Option<ReconcileDetail>, StoreError> {
        let Some(run) = self.reconcile(tenant, id).await? else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT difference FROM reconcile_differences WHERE tenant = $1 AND reconcile = $2 ORDER BY nr LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(i64::from(MOST))
        .fetch_all(self.reader())
        .await?;
        let differences = rows
            .iter()
            .map(|row| row.json("difference"))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(ReconcileDetail { run, differences }))
    }

    /// Begins a comparison, or begins one anew that was cut off: what was found before is forgotten. `None` if it was ended meanwhile.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn begin_reconcile(
        &self,
        lease: &Lease,
        id: &str,
        now: i64,
    ) -> Result<Option<ReconcileRun>, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let begun = sqlx::query(
            "UPDATE reconciles SET state = 'running', started_at = $1, starts = starts + 1, report = $2 \
             WHERE tenant = $3 AND id = $4 AND state IN ('requested', 'running')",
        )
        .bind(now)
        .bind(to_json(&ReconcileReport::default())?)
        .bind(tenant.as_str())
        .bind(id)
        .execute(&mut *tx)
        .await?;
        forget_differences(&mut tx, tenant, id).await?;
        tx.commit().await?;
        if begun.rows_affected() == 0 {
            return Ok(None);
        }
        self.reconcile(tenant, id).await
    }

    /// Writes down how far a comparison is; `false` if it was ended meanwhile, and then nothing more is to be done for it.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn note_reconcile(
        &self,
        lease: &Lease,
        id: &str,
        report: &ReconcileReport,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_fenced(lease).await?;
        let noted = sqlx::query(
            "UPDATE reconciles SET report = $1 WHERE tenant = $2 AND id = $3 AND state = 'running'",
        )
        .bind(to_json(report)?)
        .bind(lease.tenant.as_str())
        .bind(id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(noted.rows_affected() == 1)
    }

    /// Writes down what a comparison found, in the given order, in place of what was found before. At most 10,000 are kept; returns how many
    /// are not.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn put_differences(
        &self,
        lease: &Lease,
        id: &str,
        differences: &[Difference],
    ) -> Result<u64, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        forget_differences(&mut tx, tenant, id).await?;
        let rows = differences
            .iter()
            .take(DIFFERENCES)
            .zip(1_i64..)
            .map(|(difference, nr)| Ok((nr, to_json(difference)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        for piece in pieces(&rows) {
            let mut sql =
                Sql::new("INSERT INTO reconcile_differences (tenant, reconcile, nr, difference) VALUES ");
            sql.rows(piece, |row, (nr, difference)| {
                row.value(tenant.as_str())
                    .value(id)
                    .value(*nr)
                    .value(&**difference);
            });
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(differences.len().saturating_sub(DIFFERENCES) as u64)
    }

    /// Ends a comparison that is at work, and writes into the audit trail how; `false` if it was ended meanwhile.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn end_reconcile(
        &self,
        lease: &Lease,
        run: &ReconcileRun,
        state: ReconcileState,
        report: &ReconcileReport,
        now: i64,
    ) -> Result<bool, StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let ended = sqlx::query(
            "UPDATE reconciles SET state = $1, report = $2, finished_at = $3 \
             WHERE tenant = $4 AND id = $5 AND state = 'running'",
        )
        .bind(state.as_str())
        .bind(to_json(report)?)
        .bind(now)
        .bind(tenant.as_str())
        .bind(&*run.id)
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        let detail = serde_json::json!({
            "reconcile": run.id, "state": state, "counts": report.counts, "repaired": report.repaired, "error": report.error,
        });
        audit::write(
            &mut tx,
            tenant,
            &entry("reconcile.end", "host", now, &run.flow, detail),
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Random, because on Postgres several nodes hand them out at once.
fn new_id() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last digits are the random ones (RFC 9562, section 5.7).
    id.get(20..).unwrap_or(&id).to_owned()
}

async fn forget_differences(tx: &mut Tx, tenant: &Name, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM reconcile_differences WHERE tenant = $1 AND reconcile = $2")
        .bind(tenant.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Of the finished ones, the oldest beyond those that are kept.
async fn forget_old(tx: &mut Tx, tenant: &Name, flow: &Name) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT id FROM reconciles WHERE tenant = $1 AND flow = $2 AND state NOT IN ('requested', 'running') \
         ORDER BY requested_at DESC, id DESC LIMIT 100 OFFSET $3",
    )
    .bind(tenant.as_str())
    .bind(flow.as_str())
    .bind(to_i64(KEPT))
    .fetch_all(&mut **tx)
    .await?;
    for row in rows {
        let id = row.text("id")?;
        forget_differences(tx, tenant, &id).await?;
        sqlx::query("DELETE FROM reconciles WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
