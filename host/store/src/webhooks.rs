//! Calls from systems: kept byte for byte before anything is answered, and settled into the ledger once.

use sqlx::any::AnyRow;
use stecker_model::{Digest, Name, RawRequest, api::Reason};

use crate::{
    Committed, NewRecord, Store, StoreError,
    accept::fingerprint,
    ahead::beyond,
    kv::KvRoom,
    nodes::{self, Told},
    sql::{Columns, Tx, readable, to_json},
};

/// How long the one who stored a call has to settle it before others take it up, in milliseconds.
const FIRST_TRY: i64 = 10_000;
/// The longest pause between two tries, in milliseconds.
const LONGEST_PAUSE: i64 = 600_000;

/// A call that is kept and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWebhook {
    /// The tenant.
    pub tenant: Name,
    /// The call's number, unique within its tenant; later calls have higher ones.
    pub id: i64,
    /// The connection that was called.
    pub connection: Name,
    /// When.
    pub received_at: i64,
    /// As it came.
    pub request: RawRequest,
}

/// What the connector thinks of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookVerdict {
    /// Genuine; its records are taken.
    Accepted,
    /// Genuine, of no interest.
    Ignored,
    /// Not genuine or not understood.
    Refused,
}

impl WebhookVerdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// The records that one flow gets out of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fanout {
    /// The flow.
    pub flow: Name,
    /// The source's stream.
    pub stream: String,
    /// The release that took the call apart.
    pub release: Digest,
    /// In the order of the call.
    pub records: Vec<NewRecord>,
}

/// What is to become of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleWebhook {
    /// What the connector thinks of it.
    pub verdict: WebhookVerdict,
    /// The vendor's id of the event.
    pub event_id: Option<String>,
    /// Why it was ignored or refused.
    pub reason: Option<Reason>,
    /// What each flow gets; each flow at most once.
    pub fanout: Vec<Fanout>,
    /// The generation of the connection that its plugin was bound at: it only counts if that is the current one. None: it counts in any case.
    pub generation: Option<i64>,
}

impl SettleWebhook {
    /// A call that leads to no records.
    #[must_use]
    pub fn without_records(verdict: WebhookVerdict, reason: Option<Reason>) -> Self {
        Self {
            verdict,
            event_id: None,
            reason,
            fanout: Vec::new(),
            generation: None,
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettledWebhook {
    /// Records new in the ledger, over all flows.
    pub accepted: u64,
    /// Records left out, read before or overtaken, over all flows.
    pub duplicates: u64,
    /// The vendor sent this event before; nothing of it was taken.
    pub duplicate_event: bool,
    /// The call itself was settled before; nothing was done.
    pub settled_before: bool,
}

impl Store {
    /// Keeps a call, so that a 2xx can be answered; returns its number. None: `backlog` calls of the connection are kept and not settled,
    /// and this one was not kept. (Calls that come at the same moment on Postgres can end up a few beyond that.)
    ///
    /// # Errors
    /// The database fails; the caller must not answer with a 2xx then.
    pub async fn store_webhook(
        &self,
        tenant: &Name,
        connection: &Name,
        request: &RawRequest,
        backlog: u32,
        now: i64,
    ) -> Result<Option<i64>, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let open = sqlx::query(
            "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM webhooks \
             WHERE tenant = $1 AND connection = $2 AND state = 'received' LIMIT $3) AS kept",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(i64::from(backlog))
        .fetch_one(&mut *tx)
        .await?;
        if open.int("n")? >= i64::from(backlog) {
            tx.rollback().await?;
            return Ok(None);
        }
        loop {
            // Time and 20 random bits: no counter that every call of a tenant would have to wait for.
            let random = uuid::Uuid::now_v7().as_u128() & 0xf_ffff;
            let id = ((now & 0x7ff_ffff_ffff) << 20) | i64::try_from(random).unwrap_or(0);
            let added = sqlx::query(
                "INSERT INTO webhooks (tenant, id, connection, received_at, state, tries, next_try_at, method, path, query, \
                 headers, body) VALUES ($1, $2, $3, $4, 'received', 0, $5, $6, $7, $8, $9, $10) \
                 ON CONFLICT (tenant, id) DO NOTHING",
            )
            .bind(tenant.as_str())
            .bind(id)
            .bind(connection.as_str())
            .bind(now)
            .bind(now.saturating_add(FIRST_TRY))
            .bind(readable(&request.method).into_owned())
            .bind(readable(&request.path).into_owned())
            .bind(readable(&request.query).into_owned())
            .bind(to_json(&request.headers)?)
            .bind(&*request.body)
            .execute(&mut *tx)
            .await?;
            if added.rows_affected() == 1 {
                tx.commit().await?;
                return Ok(Some(id));
            }
        }
    }

    /// Settles a call as a whole: its verdict, the vendor's event id, and the records for each flow, in one transaction. A call
    /// that is settled already stays as it is.
    ///
    /// Needs no lease: records are numbered under a lock of their flow, and a state that a page or another call has brought
    /// already is left out.
    ///
    /// # Errors
    /// The call or a flow is unknown, a record cannot be stored, or the database fails.
    pub async fn settle_webhook(
        &self,
        tenant: &Name,
        connection: &Name,
        id: i64,
        settle: SettleWebhook,
        now: i64,
    ) -> Result<SettledWebhook, StoreError> {
        let SettleWebhook {
            verdict,
            event_id,
            reason,
            mut fanout,
            generation,
        } = settle;
        let mut tx = self.begin_tx_of(tenant).await?;
        let open = sqlx::query(
            "UPDATE webhooks SET state = $1, settled_at = $2, event_id = $3, reason = $4 \
             WHERE tenant = $5 AND id = $6 AND connection = $7 AND state = 'received'",
        )
        .bind(verdict.as_str())
        .bind(now)
        .bind(event_id.as_deref().map(readable).map(String::from))
        .bind(reason.as_ref().map(to_json).transpose()?)
        .bind(tenant.as_str())
        .bind(id)
        .bind(connection.as_str())
        .execute(&mut *tx)
        .await?;
        if open.rows_affected() == 0 {
            return settled_before(tx, tenant, connection, id).await;
        }
        let mut settled = SettledWebhook::default();
        if let Some(event_id) = &event_id
            && verdict == WebhookVerdict::Accepted
            && !first_time(&mut tx, tenant, connection, event_id, now).await?
        {
            sqlx::query("UPDATE webhooks SET state = 'duplicate' WHERE tenant = $1 AND id = $2")
                .bind(tenant.as_str())
                .bind(id)
                .execute(&mut *tx)
                .await?;
            settled.duplicate_event = true;
            fanout.clear();
        }
        // One order for everybody who locks several flows.
        fanout.sort_by(|a, b| a.flow.cmp(&b.flow));
        for part in fanout {
            let Committed { accepted, duplicates } = self
                .accept(&mut tx, (tenant, &part.flow), &part.release, part.records, now)
                .await?;
            settled.accepted += accepted;
            settled.duplicates += duplicates;
            nodes::tell(self, &mut tx, &Told::Deliver(tenant.clone(), part.flow)).await?;
        }
        // The rows of the readers are held by now, as they are by whoever moves the connection.
        let room = KvRoom {
            tenant,
            connection,
            generation,
        };
        room.is_current(&mut tx).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// Takes up to `limit` calls, of all tenants, that nobody has settled in time: the process was killed, or the connector
    /// failed. Whoever gets them has a while to settle them, longer with each try, until somebody else may take them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unsettled_webhooks(&self, now: i64, limit: u32) -> Result<Vec<StoredWebhook>, StoreError> {
        // Nearly always there is none, and readers need not wait for writers.
        let any =
            sqlx::query("SELECT id FROM webhooks WHERE state = 'received' AND (next_try_at <= $1 OR next_try_at > $2) LIMIT 1")
                .bind(now)
                .bind(beyond(now))
                .fetch_optional(self.reader())
                .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_tx().await?;
        let rows = sqlx::query(
            "UPDATE webhooks SET tries = tries + 1, next_try_at = $1 + \
             CASE WHEN tries >= 6 THEN $2 ELSE $3 * (tries + 1) * (tries + 1) END \
             WHERE state = 'received' AND (next_try_at <= $1 OR next_try_at > $5) AND (tenant, id) IN \
             (SELECT tenant, id FROM webhooks WHERE state = 'received' AND (next_try_at <= $1 OR next_try_at > $5) \
             ORDER BY next_try_at LIMIT $4) \
             RETURNING tenant, id, connection, received_at, method, path, query, headers, body",
        )
        .bind(now)
        .bind(LONGEST_PAUSE)
        .bind(FIRST_TRY)
        .bind(i64::from(limit))
        .bind(beyond(now))
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut calls = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        calls.sort_by_key(|call| (call.received_at, call.id));
        Ok(calls)
    }
}

fn stored(row: &AnyRow) -> Result<StoredWebhook, StoreError> {
    Ok(StoredWebhook {
        tenant: row.parsed("tenant")?,
        id: row.int("id")?,
        connection: row.parsed("connection")?,
        received_at: row.int("received_at")?,
        request: RawRequest {
            method: row.text("method")?,
            path: row.text("path")?,
            query: row.text("query")?,
            headers: row.json("headers")?,
            body: row.bytes("body")?,
        },
    })
}

async fn settled_before(
    mut tx: Tx,
    tenant: &Name,
    connection: &Name,
    id: i64,
) -> Result<SettledWebhook, StoreError> {
    let row = sqlx::query("SELECT state FROM webhooks WHERE tenant = $1 AND id = $2 AND connection = $3")
        .bind(tenant.as_str())
        .bind(id)
        .bind(connection.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    tx.rollback().await?;
    match row {
        Some(row) => Ok(SettledWebhook {
            duplicate_event: row.text("state")? == "duplicate",
            settled_before: true,
            ..SettledWebhook::default()
        }),
        None => Err(StoreError::not_found("webhook call", &id)),
    }
}

/// Whether a vendor's event comes for the first time; from now on it has come.
async fn first_time(
    tx: &mut Tx,
    tenant: &Name,
    connection: &Name,
    event_id: &str,
    now: i64,
) -> Result<bool, StoreError> {
    let added = sqlx::query(
        "INSERT INTO webhook_events (tenant, connection, id, seen_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, connection, id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(connection.as_str())
    .bind(fingerprint(&[event_id]).to_vec())
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(added.rows_affected() == 1)
}
