//! What a flow reads: pages into the ledger together with the cursor, and the state of reading.

use stecker_model::{Digest, Name, api::FlowError};

use crate::{
    Committed, Lease, NewRecord, Store, StoreError,
    sql::{Columns, Tx, storable, to_json},
};

/// A page that was read.
#[derive(Debug, Clone)]
pub struct CommitPage<'p> {
    /// The flow.
    pub flow: &'p Name,
    /// The source's stream.
    pub stream: &'p str,
    /// The release that read it.
    pub release: &'p Digest,
    /// Where it was read: the page only counts if that still holds. None: it counts in any case.
    pub read_at: Option<ReadAt>,
    /// In the order of the source.
    pub records: Vec<NewRecord>,
    /// Where the next page begins; none: at the beginning of the stream.
    pub cursor: Option<String>,
    /// Whether the source has nothing more at the moment.
    pub caught_up: bool,
    /// The number of the requested run that this page is read for (see [`Store::request_run`]); the run counts as served
    /// when the page is caught up.
    pub run: i64,
    /// When.
    pub now: i64,
}

/// What a page was read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAt {
    /// The generation of the connection, when its plugin was bound.
    pub generation: i64,
    /// The cursor that the plugin was given.
    pub cursor: Option<String>,
}

/// How far a flow's source was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReaderState {
    /// Where the next page begins.
    pub cursor: Option<String>,
    /// Whether the last page was the last one that the source had.
    pub caught_up: bool,
    /// When the last page was committed.
    pub last_read_at: Option<i64>,
    /// How many times the source was read to its end.
    pub reads_completed: u64,
    /// The newest requested run that was read to its end.
    pub runs_served: i64,
    /// What went wrong since the last page, if anything did.
    pub last_error: Option<FlowError>,
    /// The newest cursor that the source was told to be safe.
    pub acknowledged: Option<String>,
    /// Records left out, because they were read before or overtaken.
    pub duplicates: u64,
}

async fn is_current(tx: &mut Tx, tenant: &Name, flow: &Name, read_at: &ReadAt) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT c.name AS name, c.generation AS generation, r.cursor_value AS cursor_value FROM readers AS r \
         JOIN connections AS c ON c.tenant = r.tenant AND c.name = r.connection WHERE r.tenant = $1 AND r.flow = $2",
    )
    .bind(tenant.as_str())
    .bind(flow.as_str())
    .fetch_one(&mut **tx)
    .await?;
    if row.int("generation")? == read_at.generation && row.maybe_text("cursor_value")? == read_at.cursor {
        return Ok(());
    }
    Err(StoreError::Superseded {
        connection: row.text("name")?,
    })
}

impl Store {
    /// Commits a page as a whole: ledger, dedupe keys, cursor, in one transaction under the lease.
    ///
    /// # Errors
    /// The lease is not the current one, the flow is unknown or reads another stream by now, its connection was changed since
    /// ([`StoreError::Superseded`]), a record cannot be stored, or the database fails. Nothing of the page is kept then.
    pub async fn commit_page(&self, lease: &Lease, page: CommitPage<'_>) -> Result<Committed, StoreError> {
        let CommitPage {
            flow,
            stream,
            release,
            read_at,
            records,
            cursor,
            caught_up,
            run,
            now,
        } = page;
        storable("a cursor", cursor.as_deref().unwrap_or_default())?;
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let committed = self
            .accept(&mut tx, (tenant, flow), release, records, now)
            .await?;
        if let Some(read_at) = &read_at {
            // The row of the reader is held by now, as it is by whoever moves the connection.
            is_current(&mut tx, tenant, flow, read_at).await?;
        }
        let completed = i64::from(caught_up);
        let written = sqlx::query(
            "UPDATE readers SET cursor_value = $1, release = $2, caught_up = $3, last_read_at = $4, updated_at = $4, \
             reads_completed = reads_completed + $3, last_error = NULL, \
             runs_served = CASE WHEN $3 = 1 AND runs_served < $5 THEN $5 ELSE runs_served END \
             WHERE tenant = $6 AND flow = $7 AND stream = $8",
        )
        .bind(cursor)
        .bind(release.as_str())
        .bind(completed)
        .bind(now)
        .bind(run)
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(stream)
        .execute(&mut *tx)
        .await?;
        if written.rows_affected() == 0 {
            let what = format!("the flow `{flow}` does not read the stream `{stream}` any more");
            return Err(StoreError::conflict(what));
        }
        tx.commit().await?;
        Ok(committed)
    }

    /// Writes down what went wrong at reading; the next page takes it away.
    ///
    /// # Errors
    /// The lease is not the current one, the flow is unknown, or the database fails.
    pub async fn set_read_error(
        &self,
        lease: &Lease,
        flow: &Name,
        failure: FlowError,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_fenced(lease).await?;
        let written = sqlx::query(
            "UPDATE readers SET last_error = $1, updated_at = $2 WHERE tenant = $3 AND flow = $4",
        )
        .bind(to_json(&failure)?)
        .bind(now)
        .bind(lease.tenant.as_str())
        .bind(flow.as_str())
        .execute(&mut *tx)
        .await?;
        if written.rows_affected() == 0 {
            return Err(StoreError::not_found("flow", flow));
        }
        Ok(tx.commit().await?)
    }

    /// Writes down that the source was told that everything up to a cursor is safe.
    ///
    /// # Errors
    /// The lease is not the current one, the flow is unknown or reads another stream, or the database fails.
    pub async fn mark_acknowledged(
        &self,
        lease: &Lease,
        flow: &Name,
        stream: &str,
        cursor: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_fenced(lease).await?;
        let written = sqlx::query(
            "UPDATE readers SET acknowledged = $1 WHERE tenant = $2 AND flow = $3 AND stream = $4",
        )
        .bind(storable("a cursor", cursor)?)
        .bind(lease.tenant.as_str())
        .bind(flow.as_str())
        .bind(stream)
        .execute(&mut *tx)
        .await?;
        if written.rows_affected() == 0 {
            let what = format!("the flow `{flow}` does not read the stream `{stream}` any more");
            return Err(StoreError::conflict(what));
        }
        Ok(tx.commit().await?)
    }

    /// How far a flow's source was read; the beginning if it never was.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reader_state(&self, tenant: &Name, flow: &Name) -> Result<ReaderState, StoreError> {
        let row = sqlx::query(
            "SELECT cursor_value, caught_up, last_read_at, reads_completed, runs_served, last_error, acknowledged, duplicates \
             FROM readers WHERE tenant = $1 AND flow = $2",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .fetch_optional(self.reader())
        .await?;
        let Some(row) = row else {
            return Ok(ReaderState::default());
        };
        Ok(ReaderState {
            cursor: row.maybe_text("cursor_value")?,
            caught_up: row.int("caught_up")? != 0,
            last_read_at: row.maybe_int("last_read_at")?,
            reads_completed: row.count("reads_completed")?,
            runs_served: row.int("runs_served")?,
            last_error: row.maybe_json("last_error")?,
            acknowledged: row.maybe_text("acknowledged")?,
            duplicates: row.count("duplicates")?,
        })
    }
}
