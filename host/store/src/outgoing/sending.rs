//! From the outbox to whoever sends: an event is handed to one node at a time, under a claim with a number. The claim ends with what came
//! of it, or runs out, and then another node sends the event again, with the same id.
//!
//! Clocks may differ: as with leases, it is the number that fences and not the time. Who was overtaken writes nothing. A claim lasts many
//! times longer than an attempt, so that a skew of seconds does not even lead to a second attempt.

use sqlx::any::AnyRow;
use stecker_model::{
    Name,
    api::{DeliveryFilter, DeliveryState, EventType, WebhookAttempt, WebhookDelivery},
};

use super::disable;
use crate::{
    Store, StoreError,
    sql::{Columns, Sql, Tx, readable, storable, to_json},
};

/// Attempts that are kept of one event.
const ATTEMPTS: usize = 20;
/// Characters of an attempt's error.
const ERROR_CHARS: usize = 300;
/// Deliveries in a list that says no number.
const USUAL_LIST: u32 = 100;
/// Who disables a webhook that a person did not.
const HOST: &str = "host";

/// An event that its holder has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEvent {
    /// The tenant.
    pub tenant: Name,
    /// The webhook.
    pub webhook: Name,
    /// Where it is sent.
    pub url: String,
    /// The event's id, the same at every attempt.
    pub id: String,
    /// What happened.
    pub event: EventType,
    /// JSON.
    pub body: String,
    /// Attempts before.
    pub tries: u32,
    /// Since when the webhook has answered nothing but failures, if the last answer was one.
    pub failing_since: Option<i64>,
    subscription: String,
    /// How often the webhook had been enabled when it was claimed.
    enabled: i64,
    claim: i64,
    attempts: Vec<WebhookAttempt>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOutcome {
    /// The attempt, to be kept.
    pub attempt: WebhookAttempt,
    /// What is to become of the event.
    pub next: WhatNext,
    /// Whether the webhook is told nothing more.
    pub disable: Option<Disabling>,
}

/// Disabling a webhook because of what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabling {
    /// Why.
    pub reason: String,
    /// Whatever else it has answered since the event was claimed. Else only if it has gone on failing. Never if a person has enabled it since.
    pub at_once: bool,
}

/// What is to become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatNext {
    /// It was delivered.
    Delivered,
    /// It is sent again.
    Retry {
        /// Not before this moment.
        at: i64,
    },
    /// It is given up.
    Failed,
}

fn tries(row: &AnyRow) -> Result<u32, StoreError> {
    u32::try_from(row.int("tries")?).map_err(|error| StoreError::corrupt("column tries", error))
}

fn event_type(row: &AnyRow) -> Result<EventType, StoreError> {
    row.text("event")?
        .parse()
        .map_err(|error: String| StoreError::corrupt("column event", error))
}

fn delivery(row: &AnyRow) -> Result<WebhookDelivery, StoreError> {
    let state: DeliveryState = row
        .text("state")?
        .parse()
        .map_err(|error: String| StoreError::corrupt("column state", error))?;
    let next_try_at = row.int("next_try_at")?;
    Ok(WebhookDelivery {
        id: row.text("id")?,
        event: event_type(row)?,
        created_at: row.int("created_at")?,
        state,
        tries: tries(row)?,
        next_try_at: (state == DeliveryState::Waiting).then_some(next_try_at),
        settled_at: row.maybe_int("settled_at")?,
        attempts: row.json("attempts")?,
    })
}

impl Store {
    /// The enabled webhooks, of all tenants, for which an event is due.
    ///
    /// # Errors
    /// The database fails.
    pub async fn webhooks_due(&self, now: i64) -> Result<Vec<(Name, Name)>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.tenant, s.name FROM subscriptions AS s WHERE s.disabled_at IS NULL AND EXISTS \
             (SELECT 1 FROM outbox AS o WHERE o.tenant = s.tenant AND o.subscription = s.id AND o.state = 'waiting' \
             AND o.next_try_at <= $1) ORDER BY s.tenant, s.name",
        )
        .bind(now)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, row.parsed("name")?)))
            .collect()
    }

    /// Hands up to `limit` due events of an enabled webhook to `owner`, those first that have been due for longest; nobody else gets them
    /// before `until`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim_events(
        &self,
        (tenant, webhook): (&Name, &Name),
        owner: &str,
        now: i64,
        until: i64,
        limit: u32,
    ) -> Result<Vec<ClaimedEvent>, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let found = sqlx::query(
            "SELECT id, url, enabled, failing_since FROM subscriptions WHERE tenant = $1 AND name = $2 AND disabled_at IS NULL",
        )
        .bind(tenant.as_str())
        .bind(webhook.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(found) = found else {
            tx.rollback().await?;
            return Ok(Vec::new());
        };
        let (subscription, url) = (found.text("id")?, found.text("url")?);
        let (enabled, failing_since) = (found.int("enabled")?, found.maybe_int("failing_since")?);
        // The conditions stand twice: who waited for another node's claim looks at the row again.
        let rows = sqlx::query(
            "UPDATE outbox SET claim = claim + 1, owner = $1, next_try_at = $2 \
             WHERE state = 'waiting' AND next_try_at <= $3 AND (tenant, id) IN \
             (SELECT tenant, id FROM outbox WHERE tenant = $4 AND subscription = $5 AND state = 'waiting' \
             AND next_try_at <= $3 ORDER BY next_try_at LIMIT $6) \
             RETURNING id, event, created_at, body, tries, claim, attempts",
        )
        .bind(storable("the owner of a claim", owner)?)
        .bind(until)
        .bind(now)
        .bind(tenant.as_str())
        .bind(&*subscription)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut events = rows
            .iter()
            .map(|row| {
                Ok(ClaimedEvent {
                    tenant: tenant.clone(),
                    webhook: webhook.clone(),
                    url: url.clone(),
                    id: row.text("id")?,
                    event: event_type(row)?,
                    body: row.text("body")?,
                    tries: tries(row)?,
                    failing_since,
                    subscription: subscription.clone(),
                    enabled,
                    claim: row.int("claim")?,
                    attempts: row.json("attempts")?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        // Ids grow with time. Order is not promised, but there is no reason to spoil it.
        events.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(events)
    }

    /// Writes down what came of an attempt, and ends the claim. `false` if the claim had run out and somebody else has the event, or it is
    /// gone with its webhook: then nothing was written.
    ///
    /// # Errors
    /// The database fails; the claim runs out by itself then.
    pub async fn finish_event(
        &self,
        event: &ClaimedEvent,
        outcome: &EventOutcome,
        now: i64,
    ) -> Result<bool, StoreError> {
        let tenant = &event.tenant;
        let mut attempt = outcome.attempt.clone();
        attempt.error = attempt
            .error
            .map(|error| readable(&error).chars().take(ERROR_CHARS).collect());
        let mut attempts = event.attempts.clone();
        attempts.push(attempt);
        let kept = attempts.split_off(attempts.len().saturating_sub(ATTEMPTS));
        let (state, next_try_at, settled_at) = match outcome.next {
            WhatNext::Delivered => ("delivered", now, Some(now)),
            WhatNext::Retry { at } => ("waiting", at, None),
            WhatNext::Failed => ("failed", now, Some(now)),
        };
        let mut tx = self.begin_tx_of(tenant).await?;
        // The webhook before its events, as everybody else has it.
        if outcome.next == WhatNext::Delivered {
            sqlx::query(
                "UPDATE subscriptions SET failing_since = NULL \
                 WHERE tenant = $1 AND name = $2 AND id = $3 AND failing_since IS NOT NULL",
            )
            .bind(tenant.as_str())
            .bind(event.webhook.as_str())
            .bind(&*event.subscription)
            .execute(&mut *tx)
            .await?;
        } else {
            self.note_failure(&mut tx, event, outcome.disable.as_ref(), now)
                .await?;
        }
        let done = sqlx::query(
            "UPDATE outbox SET state = $1, tries = tries + 1, next_try_at = $2, settled_at = $3, owner = NULL, attempts = $4 \
             WHERE tenant = $5 AND id = $6 AND claim = $7 AND state = 'waiting' AND owner IS NOT NULL",
        )
        .bind(state)
        .bind(next_try_at)
        .bind(settled_at)
        .bind(to_json(&kept)?)
        .bind(tenant.as_str())
        .bind(&*event.id)
        .bind(event.claim)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn note_failure(
        &self,
        tx: &mut Tx,
        event: &ClaimedEvent,
        disabling: Option<&Disabling>,
        now: i64,
    ) -> Result<(), StoreError> {
        let (tenant, webhook, id) = (&event.tenant, &event.webhook, &*event.subscription);
        let mut sql = Sql::new("SELECT enabled, failing_since FROM subscriptions WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND name = ")
            .bind(webhook.as_str())
            .push(" AND id = ")
            .bind(id)
            .push(self.lock());
        let Some(row) = sql.query(tx.backend())?.fetch_optional(&mut **tx).await? else {
            return Ok(());
        };
        let failing_since = row.maybe_int("failing_since")?;
        if failing_since.is_none() {
            sqlx::query(
                "UPDATE subscriptions SET failing_since = $1 WHERE tenant = $2 AND name = $3 AND id = $4",
            )
            .bind(now)
            .bind(tenant.as_str())
            .bind(webhook.as_str())
            .bind(id)
            .execute(&mut **tx)
            .await?;
        }
        if let Some(disabling) = disabling
            && row.int("enabled")? == event.enabled
            && (disabling.at_once || failing_since == event.failing_since)
        {
            disable(tx, tenant, (webhook, id), (&disabling.reason, HOST, now)).await?;
        }
        Ok(())
    }

    /// Gives back what an owner claimed and will not send: its process ended, or begins anew under its old name. How many events.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_events(&self, owner: &str, now: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx().await?;
        let released = sqlx::query(
            "UPDATE outbox SET owner = NULL, claim = claim + 1, next_try_at = $1 WHERE owner IS NOT NULL AND owner = $2",
        )
        .bind(now)
        .bind(storable("the owner of a claim", owner)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(released.rows_affected())
    }

    /// The events of a webhook with what came of them, the newest first.
    ///
    /// # Errors
    /// The webhook is unknown, or the database fails.
    pub async fn webhook_deliveries(
        &self,
        tenant: &Name,
        webhook: &Name,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WebhookDelivery>, StoreError> {
        let found = sqlx::query("SELECT id FROM subscriptions WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(webhook.as_str())
            .fetch_optional(self.reader())
            .await?
            .ok_or_else(|| StoreError::not_found("webhook", webhook))?;
        let mut sql = Sql::new(
            "SELECT id, event, created_at, state, tries, next_try_at, settled_at, attempts FROM outbox WHERE tenant = ",
        );
        sql.bind(tenant.as_str())
            .push(" AND subscription = ")
            .bind(found.text("id")?);
        if let Some(state) = filter.state {
            sql.push(" AND state = ").bind(state.as_str());
        }
        sql.push(" ORDER BY id DESC LIMIT ")
            .bind(i64::from(filter.limit.unwrap_or(USUAL_LIST)));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(delivery).collect()
    }
}
