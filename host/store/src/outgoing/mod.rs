//! Webhooks that go out: who wants to be told of events. Their secrets are the vault's; what happened lies in the outbox until it is sent.
//!
//! - `events` writes events down, in the transaction in which they happen.
//! - `sending` hands them to whoever sends them, and keeps what came of it.

pub(crate) mod events;
mod sending;

use sqlx::any::AnyRow;
use stecker_model::{
    Name,
    api::{EventType, WebhookDisabled, WebhookInfo},
};

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, Sql, Tx, readable, storable, to_json},
    tenants, vault,
};

pub use sending::{ClaimedEvent, Disabling, EventOutcome, WhatNext};

/// Webhooks of one tenant. The transaction of every delivery looks at all of them.
const MAX_WEBHOOKS: i64 = 50;

/// A webhook to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Unique within the tenant.
    pub name: Name,
    /// Where events are sent.
    pub url: String,
    /// Which types of events; empty: all.
    pub events: Vec<EventType>,
    /// Only what happens in these flows; empty: whatever happens.
    pub flows: Vec<Name>,
}

fn info(row: &AnyRow) -> Result<WebhookInfo, StoreError> {
    let disabled = row
        .maybe_int("disabled_at")?
        .map(|since| {
            let reason = row.maybe_text("disabled_reason")?.unwrap_or_default();
            Ok::<_, StoreError>(WebhookDisabled { since, reason })
        })
        .transpose()?;
    Ok(WebhookInfo {
        name: row.parsed("name")?,
        url: row.text("url")?,
        events: row.maybe_json("events")?.unwrap_or_default(),
        flows: row.maybe_json("flows")?.unwrap_or_default(),
        created_at: row.int("created_at")?,
        enabled: disabled.is_none(),
        disabled,
        failing_since: row.maybe_int("failing_since")?,
        old_secret_until: row.maybe_int("old_secret_until")?,
        waiting: row.count("waiting")?,
    })
}

const INFOS: &str = "SELECT s.*, (SELECT COUNT(*) FROM outbox AS o WHERE o.tenant = s.tenant AND o.subscription = s.id \
                     AND o.state = 'waiting') AS waiting FROM subscriptions AS s WHERE s.tenant = ";

/// An entry about a webhook for the audit trail.
pub(crate) fn entry(
    name: &Name,
    action: &str,
    actor: &str,
    now: i64,
    detail: serde_json::Value,
) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("webhook/{name}"),
        detail,
    }
}

/// Adds the row of a webhook. Whoever does has to put its secret into the vault in the same transaction.
pub(crate) async fn insert(
    store: &Store,
    tx: &mut Tx,
    tenant: &Name,
    new: &NewWebhook,
    actor: &str,
    now: i64,
) -> Result<(), StoreError> {
    // One at a time for a tenant, so that the count is right.
    tenants::require(tx, tenant, store.lock()).await?;
    let count = sqlx::query("SELECT COUNT(*) AS n FROM subscriptions WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut **tx)
        .await?
        .int("n")?;
    if count >= MAX_WEBHOOKS {
        let what =
            format!("the tenant has {count} webhooks already, and every delivery looks at all of them");
        return Err(StoreError::conflict(what));
    }
    let added = sqlx::query(
        "INSERT INTO subscriptions (tenant, name, id, url, events, flows, created_at, enabled) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1) \
         ON CONFLICT (tenant, name) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(new.name.as_str())
    .bind(uuid::Uuid::now_v7().simple().to_string())
    .bind(storable("the URL of a webhook", &new.url)?)
    .bind(
        (!new.events.is_empty())
            .then(|| to_json(&new.events))
            .transpose()?,
    )
    .bind((!new.flows.is_empty()).then(|| to_json(&new.flows)).transpose()?)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    if added.rows_affected() == 0 {
        let what = format!("there is a webhook `{}` already", new.name);
        return Err(StoreError::conflict(what));
    }
    let detail = serde_json::json!({ "url": new.url, "events": new.events, "flows": new.flows });
    audit::write(tx, tenant, &entry(&new.name, "webhook.add", actor, now, detail)).await
}

/// The id of a webhook, which nobody else changes before the transaction ends.
async fn held(store: &Store, tx: &mut Tx, tenant: &Name, name: &Name) -> Result<(String, bool), StoreError> {
    let mut sql = Sql::new("SELECT id, disabled_at FROM subscriptions WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND name = ")
        .bind(name.as_str())
        .push(store.lock());
    let row = sql.query(tx.backend())?.fetch_optional(&mut **tx).await?;
    let row = row.ok_or_else(|| StoreError::not_found("webhook", name))?;
    Ok((row.text("id")?, row.maybe_int("disabled_at")?.is_none()))
}

impl Store {
    /// A tenant's webhooks, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn webhooks(&self, tenant: &Name) -> Result<Vec<WebhookInfo>, StoreError> {
        let mut sql = Sql::new(INFOS);
        sql.bind(tenant.as_str()).push(" ORDER BY s.name");
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(info).collect()
    }

    /// A webhook.
    ///
    /// # Errors
    /// The database fails.
    pub async fn webhook(&self, tenant: &Name, name: &Name) -> Result<Option<WebhookInfo>, StoreError> {
        let mut sql = Sql::new(INFOS);
        sql.bind(tenant.as_str())
            .push(" AND s.name = ")
            .bind(name.as_str());
        let row = sql.query(self.backend())?.fetch_optional(self.reader()).await?;
        row.as_ref().map(info).transpose()
    }

    /// Has events kept for a webhook and sent to it again; those that waited are sent now, as if they had never been tried. `false` if it
    /// was enabled already.
    ///
    /// # Errors
    /// The webhook is unknown, or the database fails.
    pub async fn enable_webhook(
        &self,
        tenant: &Name,
        name: &Name,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let (id, enabled) = held(self, &mut tx, tenant, name).await?;
        if enabled {
            tx.rollback().await?;
            return Ok(false);
        }
        sqlx::query(
            "UPDATE subscriptions SET enabled = enabled + 1, disabled_at = NULL, disabled_reason = NULL, failing_since = NULL \
             WHERE tenant = $1 AND name = $2",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
        // Who sends one at this moment writes down what came of it.
        let waiting = sqlx::query(
            "UPDATE outbox SET next_try_at = $1, tries = 0 \
             WHERE tenant = $2 AND subscription = $3 AND state = 'waiting' AND owner IS NULL",
        )
        .bind(now)
        .bind(tenant.as_str())
        .bind(&*id)
        .execute(&mut *tx)
        .await?;
        let detail = serde_json::json!({ "waiting": waiting.rows_affected() });
        audit::write(
            &mut tx,
            tenant,
            &entry(name, "webhook.enable", actor, now, detail),
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Has nothing more kept for a webhook or sent to it; what waits stays. `false` if it was disabled already, with that reason kept.
    ///
    /// # Errors
    /// The webhook is unknown, or the database fails.
    pub async fn disable_webhook(
        &self,
        tenant: &Name,
        name: &Name,
        reason: &str,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let (id, _) = held(self, &mut tx, tenant, name).await?;
        let done = disable(&mut tx, tenant, (name, &id), (reason, actor, now)).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Removes a webhook with its secret and everything that was to be sent to it.
    ///
    /// # Errors
    /// The webhook is unknown, or the database fails.
    pub async fn remove_webhook(
        &self,
        tenant: &Name,
        name: &Name,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        let (id, _) = held(self, &mut tx, tenant, name).await?;
        sqlx::query("DELETE FROM subscriptions WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
        let events = sqlx::query("DELETE FROM outbox WHERE tenant = $1 AND subscription = $2")
            .bind(tenant.as_str())
            .bind(&*id)
            .execute(&mut *tx)
            .await?;
        vault::remove_signing(&mut tx, tenant, name).await?;
        let detail = serde_json::json!({ "events": events.rows_affected() });
        audit::write(
            &mut tx,
            tenant,
            &entry(name, "webhook.remove", actor, now, detail),
        )
        .await?;
        Ok(tx.commit().await?)
    }
}

/// Disables a webhook if it is enabled; whether it was. The caller holds its row.
async fn disable(
    tx: &mut Tx,
    tenant: &Name,
    (name, id): (&Name, &str),
    (reason, actor, now): (&str, &str, i64),
) -> Result<bool, StoreError> {
    let reason = readable(reason).into_owned();
    let done = sqlx::query(
        "UPDATE subscriptions SET disabled_at = $1, disabled_reason = $2 \
         WHERE tenant = $3 AND name = $4 AND id = $5 AND disabled_at IS NULL",
    )
    .bind(now)
    .bind(&*reason)
    .bind(tenant.as_str())
    .bind(name.as_str())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let detail = serde_json::json!({ "reason": reason });
    audit::write(tx, tenant, &entry(name, "webhook.disable", actor, now, detail)).await?;
    Ok(true)
}
