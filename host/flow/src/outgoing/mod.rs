//! Events on their way to those who asked for them: the rows of the outbox, sent one by one and kept until they are answered.
//!
//! What happened was written down by the transaction in which it happened, so all that is left here is to send, and to send again: at least
//! once, always with the same id. One worker for each webhook that has something due takes a few events under a claim, sends some of them at
//! a time, and takes the next. So a receiver that is slow or dead keeps nobody but itself waiting. Order is not promised.

mod policy;
mod signature;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use stecker_model::{
    HttpGrant, Name,
    api::{WebhookAttempt, WebhookTest},
};
use stecker_sandbox::{PostError, Posted, Poster};
use stecker_store::{ClaimedEvent, EventOutcome, NewWebhook, Store, StoreError, VaultError, WhatNext};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::Clock;
use policy::{Answer, Decision, Standing};

/// For one attempt, connecting included. The specification recommends 15 to 30 seconds.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Events that a worker takes at once.
const BATCH: u32 = 16;
/// Events that are sent to one receiver at the same time.
const AT_ONCE: usize = 4;
/// How long a claim lasts: for a whole batch of which every attempt takes its full time, twice over.
const CLAIM: Duration = Duration::from_secs(120);
/// Receivers of one tenant that are sent to at the same time.
const PER_TENANT: usize = 8;
/// Receivers that are sent to at the same time.
const PER_NODE: usize = 256;

/// Who a webhook is: its tenant and its name.
type Key = (Name, Name);

/// Sends events. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    store: Store,
    poster: Poster,
    clock: Arc<dyn Clock>,
    owner: String,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Outgoing {
    pub(crate) fn new(store: Store, poster: Poster, clock: Arc<dyn Clock>, owner: String) -> Self {
        Self {
            store,
            poster,
            clock,
            owner,
        }
    }

    /// Whether events may be sent to a URL, as far as that can be told without asking for the addresses of its host.
    ///
    /// # Errors
    /// Why not, and what would have to be allowed; or the store fails.
    pub async fn check(&self, tenant: &Name, url: &str) -> Result<Result<(), PostError>, StoreError> {
        Ok(Poster::check(url, &self.receivers(tenant).await?))
    }

    /// Makes a webhook; its secret, which is not to be had again.
    ///
    /// # Errors
    /// The webhook is there already; the vault or the store fails.
    pub async fn add(
        &self,
        tenant: &Name,
        new: &NewWebhook,
        actor: &str,
    ) -> Result<Zeroizing<String>, VaultError> {
        let secret = signature::new_secret();
        self.store
            .vault()?
            .add_webhook(tenant, new, &secret, actor, self.clock.now_ms())
            .await?;
        Ok(secret)
    }

    /// Gives a webhook a new secret, which is not to be had again; the one before signs too for `overlap`.
    ///
    /// # Errors
    /// No such webhook; the vault or the store fails.
    pub async fn rotate(
        &self,
        tenant: &Name,
        webhook: &Name,
        overlap: Duration,
        actor: &str,
    ) -> Result<Zeroizing<String>, VaultError> {
        let (secret, now) = (signature::new_secret(), self.clock.now_ms());
        let until = now.saturating_add(millis(overlap));
        self.store
            .vault()?
            .rotate_webhook(tenant, webhook, &secret, until, actor, now)
            .await?;
        Ok(secret)
    }

    /// Sends an event of the type `webhook.test`, once, also to a webhook that is disabled. It is kept nowhere.
    ///
    /// # Errors
    /// No such webhook; the vault or the store fails.
    pub async fn test(&self, tenant: &Name, webhook: &Name) -> Result<Option<WebhookTest>, VaultError> {
        let Some(info) = self.store.webhook(tenant, webhook).await? else {
            return Ok(None);
        };
        let now = self.clock.now_ms();
        let id = format!("msg_test_{}", hex::encode(rand::random::<[u8; 12]>()));
        let body = serde_json::json!({
            "type": "webhook.test",
            "timestamp": jiff::Timestamp::from_millisecond(now).unwrap_or_default().to_string(),
            "data": { "tenant": tenant, "webhook": webhook },
        });
        let secrets = self.store.vault()?.webhook_secrets(tenant, webhook, now).await?;
        let receivers = self.receivers(tenant).await?;
        let begun = Instant::now();
        let to = (info.url.as_str(), &receivers[..]);
        let answer = self.send(tenant, to, &secrets, (&id, &body.to_string())).await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, error) = match answer {
            Ok(posted) => (Some(posted.status), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Some(WebhookTest {
            ok: status.is_some_and(|status| (200..=299).contains(&status)),
            id,
            status,
            error,
            took_ms,
        }))
    }

    /// Sends what is due, until it is told to stop; then what is being sent is sent to its end, and the rest is given back.
    pub(crate) async fn run(self, poll: Duration, stop: &CancellationToken) {
        self.give_back("of a former life").await;
        let mut workers = Workers::default();
        while !stop.is_cancelled() {
            let due = self.store.webhooks_due(self.clock.now_ms()).await;
            let due = due.unwrap_or_else(|error| {
                tracing::error!(%error, "the outbox could not be looked at; tried again");
                Vec::new()
            });
            for key in due {
                if workers.has_room_for(&key) {
                    let (this, stop) = (self.clone(), stop.clone());
                    workers.start(key.clone(), async move {
                        if !this.send_due(&key.0, &key.1, &stop).await {
                            tokio::time::sleep(poll).await;
                        }
                    });
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = workers.ended(), if !workers.is_empty() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
        while !workers.is_empty() {
            workers.ended().await;
        }
        self.give_back("at the end").await;
    }

    async fn give_back(&self, when: &str) {
        match self.store.release_events(&self.owner, self.clock.now_ms()).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "claims on events were given back, {when}"),
            // They run out by themselves.
            Err(error) => tracing::warn!(%error, "claims on events could not be given back, {when}"),
        }
    }

    /// Sends what is due to one webhook, until nothing is; false if the store needs a rest.
    async fn send_due(&self, tenant: &Name, webhook: &Name, stop: &CancellationToken) -> bool {
        while !stop.is_cancelled() {
            let now = self.clock.now_ms();
            let claimed = self
                .store
                .claim_events(
                    (tenant, webhook),
                    &self.owner,
                    now,
                    now.saturating_add(millis(CLAIM)),
                    BATCH,
                )
                .await;
            let events = match claimed {
                Ok(events) if events.is_empty() => return true,
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%tenant, %webhook, %error, "events could not be taken from the outbox; tried again");
                    return false;
                }
            };
            // What is not begun by then is left to whoever takes it when the claim runs out.
            let begin_until = Instant::now() + CLAIM.saturating_sub(2 * ATTEMPT);
            let secrets = self.secrets(tenant, webhook, now).await;
            let receivers = match self.receivers(tenant).await {
                Ok(receivers) => receivers,
                Err(error) => {
                    tracing::error!(%tenant, %webhook, %error, "the tenant's limits could not be read; its events are sent later");
                    return false;
                }
            };
            let batch = Batch {
                secrets: secrets.as_deref().map_err(Clone::clone),
                receivers: &receivers,
                begin_until,
                stop,
            };
            let attempts: Vec<_> = events.iter().map(|event| self.attempt(event, &batch)).collect();
            let went_on: Vec<bool> = stream::iter(attempts).buffer_unordered(AT_ONCE).collect().await;
            if went_on.contains(&false) {
                return false;
            }
        }
        true
    }

    async fn secrets(
        &self,
        tenant: &Name,
        webhook: &Name,
        now: i64,
    ) -> Result<Vec<Zeroizing<String>>, String> {
        let vault = self.store.vault().map_err(|error| error.to_string())?;
        vault
            .webhook_secrets(tenant, webhook, now)
            .await
            .map_err(|error| format!("the secret cannot be read: {error}"))
    }

    /// Sends an event once and writes down what came of it; false if that was not possible, and the store needs a rest.
    async fn attempt(&self, event: &ClaimedEvent, batch: &Batch<'_>) -> bool {
        if batch.stop.is_cancelled() || Instant::now() > batch.begin_until {
            return true;
        }
        let answer = match batch.secrets.as_ref() {
            Ok(secrets) => {
                let to = (event.url.as_str(), batch.receivers);
                self.send(&event.tenant, to, secrets, (&event.id, &event.body))
                    .await
            }
            Err(error) => Err(PostError::Failed(error.clone())),
        };
        let now = self.clock.now_ms();
        let outcome = outcome(event, &answer, now);
        let (tenant, webhook, id) = (&event.tenant, &event.webhook, &event.id);
        if let Some(disabling) = &outcome.disable {
            tracing::warn!(%tenant, %webhook, reason = disabling.reason, "the webhook is disabled");
        }
        match self.store.finish_event(event, &outcome, now).await {
            Ok(true) => {
                tracing::debug!(%tenant, %webhook, id, next = ?outcome.next, error = outcome.attempt.error, "an event was sent");
                true
            }
            Ok(false) => {
                tracing::warn!(%tenant, %webhook, id, "an event was sent, and meanwhile it had gone to another node or its webhook was removed");
                true
            }
            Err(error) => {
                tracing::error!(%tenant, %webhook, id, %error, "what came of an event could not be written down; it is sent again");
                false
            }
        }
    }

    async fn send(
        &self,
        tenant: &Name,
        to: (&str, &[HttpGrant]),
        secrets: &[Zeroizing<String>],
        (id, body): (&str, &str),
    ) -> Result<Posted, PostError> {
        let timestamp = self.clock.now_ms().div_euclid(1_000);
        let signature = signature::sign(secrets, id, timestamp, body)
            .ok_or_else(|| PostError::Failed("the secret is not written as secrets are".to_owned()))?;
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        self.poster
            .post(tenant, to, &headers, body.to_owned(), ATTEMPT)
            .await
    }

    async fn receivers(&self, tenant: &Name) -> Result<Vec<HttpGrant>, StoreError> {
        let row = self.store.tenant_row(tenant).await?;
        let limits = row.and_then(|row| row.limits);
        Ok(limits.map(|limits| limits.receivers).unwrap_or_default())
    }
}

/// What the events of a batch are sent with.
struct Batch<'a> {
    secrets: Result<&'a [Zeroizing<String>], String>,
    receivers: &'a [HttpGrant],
    /// No attempt begins later.
    begin_until: Instant,
    /// No attempt begins once this is cancelled.
    stop: &'a CancellationToken,
}

fn outcome(event: &ClaimedEvent, answer: &Result<Posted, PostError>, now: i64) -> EventOutcome {
    let standing = Standing {
        tries: event.tries,
        failing_since: event.failing_since,
    };
    let (status, seen) = match answer {
        Ok(posted) => (
            Some(posted.status),
            Answer::Status(posted.status, posted.retry_after.as_deref()),
        ),
        Err(_) => (None, Answer::Nothing),
    };
    let Decision { next, disable, error } = policy::decide(seen, standing, now, &mut rand::rng());
    let error = match answer {
        Err(error) => Some(error.to_string()),
        Ok(posted) if next != WhatNext::Delivered => Some(error.map_or_else(
            || format!("answered with the status {}", posted.status),
            str::to_owned,
        )),
        Ok(_) => None,
    };
    EventOutcome {
        attempt: WebhookAttempt {
            at: now,
            status,
            error,
        },
        next,
        disable,
    }
}

/// One worker for each webhook that is being sent to.
#[derive(Default)]
struct Workers {
    set: JoinSet<()>,
    keys: HashMap<tokio::task::Id, Key>,
    busy: HashSet<Key>,
}

impl Workers {
    fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// A tenant with many dead receivers is not to keep those of others waiting.
    fn has_room_for(&self, key: &Key) -> bool {
        let of_tenant = self.busy.iter().filter(|(tenant, _)| *tenant == key.0).count();
        self.busy.len() < PER_NODE && of_tenant < PER_TENANT && !self.busy.contains(key)
    }

    fn start(&mut self, key: Key, work: impl Future<Output = ()> + Send + 'static) {
        self.busy.insert(key.clone());
        let task = self.set.spawn(work);
        self.keys.insert(task.id(), key);
    }

    /// Waits for the next one that ends.
    async fn ended(&mut self) {
        let id = match self.set.join_next_with_id().await {
            None => return,
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(%error, "a worker of a webhook broke off");
                error.id()
            }
        };
        if let Some(key) = self.keys.remove(&id) {
            self.busy.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
