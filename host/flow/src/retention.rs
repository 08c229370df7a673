//! How long things are kept that nobody will ask for again, and forgetting them after that.

use std::{sync::Arc, time::Duration};

use stecker_store::{BlobFolder, Forget, Store, StoreError, VaultError, day_of};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often blobs are looked through: every one of them is a file.
const BLOB_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Rows of one transaction.
const STEP: u32 = 500;
/// Between two of them, so that the work of flows gets in.
const PAUSE: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Calls that came in, as they came, after they were settled. Seven days unless said otherwise.
    pub calls: Duration,
    /// The ids of vendors' events: one that is repeated later than this is taken again. 30 days unless said otherwise; vendors repeat for
    /// some days at most.
    pub event_ids: Duration,
    /// Events that went out, after they were delivered or given up. Seven days unless said otherwise.
    pub settled_events: Duration,
    /// Events that could not go out, because their webhook is disabled. 30 days unless said otherwise.
    pub waiting_events: Duration,
    /// Recorded calls, after they were made. 14 days unless said otherwise: a release is tried on what happens now.
    pub tapes: Duration,
    /// Blobs that nobody has used. 90 days unless said otherwise, as payloads of records are kept.
    pub blobs: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            calls: 7 * DAY,
            event_ids: 30 * DAY,
            settled_events: 7 * DAY,
            waiting_events: 30 * DAY,
            tapes: 14 * DAY,
            blobs: 90 * DAY,
        }
    }
}

impl Retention {
    const fn of(&self, what: Forget) -> Duration {
        match what {
            Forget::SettledCalls => self.calls,
            Forget::VendorEvents => self.event_ids,
            Forget::SettledEvents => self.settled_events,
            Forget::WaitingEvents => self.waiting_events,
            Forget::Tapes => self.tapes,
        }
    }
}

/// Forgets what is over, again and again, until it is told to stop. Every node does, which does no harm.
pub(crate) async fn keep(
    store: &Store,
    clock: &Arc<dyn Clock>,
    retention: &Retention,
    blobs: Option<&BlobFolder>,
    stop: &CancellationToken,
) {
    let mut sweep_at = Instant::now() + BLOB_INTERVAL;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Some(blobs) = blobs.filter(|_| Instant::now() >= sweep_at) {
            sweep_at = Instant::now() + BLOB_INTERVAL;
            match blobs.forget(cut_off(clock.now_ms(), retention.blobs)).await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, "blobs that nobody used were forgotten"),
                Err(error) => tracing::warn!(%error, "unused blobs could not be forgotten; tried again"),
            }
        }
        if let Err(error) = forget(store, clock.now_ms(), retention, stop).await {
            tracing::warn!(%error, "what is over could not be forgotten; tried again");
        }
        if let Err(error) = store.forget_calls(day_of(clock.now_ms())).await {
            tracing::warn!(%error, "what calls came to long ago could not be forgotten; tried again");
        }
        if let Err(error) = forget_secrets(store, clock.now_ms()).await {
            tracing::warn!(%error, "secrets of webhooks that are over could not be forgotten; tried again");
        }
    }
}

/// What was done before this moment is forgotten.
fn cut_off(now: i64, kept: Duration) -> i64 {
    now.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

async fn forget(
    store: &Store,
    now: i64,
    retention: &Retention,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    for what in Forget::ALL {
        let before = cut_off(now, retention.of(what));
        while store.forget(what, before, STEP).await? >= u64::from(STEP) {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
    Ok(())
}

async fn forget_secrets(store: &Store, now: i64) -> Result<(), VaultError> {
    // A host without a vault has no secrets.
    let Ok(vault) = store.vault() else {
        return Ok(());
    };
    for (tenant, webhook) in vault.webhooks_with_old_secrets(now).await? {
        vault.forget_old_webhook_secrets(&tenant, &webhook, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stecker_model::{Name, RawRequest};
    use stecker_store::{SettleWebhook, StoreOptions, WebhookVerdict, sqlite_url};

    const START: i64 = 1_700_000_000_000;
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    /// Whether an event of a vendor is new, said by a call that brings it.
    async fn is_new(store: &Store, now: i64) -> bool {
        let (tenant, shop): (Name, Name) = ("acme".parse().unwrap(), "shop".parse().unwrap());
        let request = RawRequest {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let id = store
            .store_webhook(&tenant, &shop, &request, 10, now)
            .await
            .unwrap()
            .unwrap();
        let mut settle = SettleWebhook::without_records(WebhookVerdict::Accepted, None);
        settle.event_id = Some("evt-1".to_owned());
        let settled = store
            .settle_webhook(&tenant, &shop, id, settle, now)
            .await
            .unwrap();
        !settled.duplicate_event
    }

    #[tokio::test]
    async fn each_thing_is_kept_for_its_own_time() {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("store.db"));
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let (retention, stop) = (Retention::default(), CancellationToken::new());
        assert!(is_new(&store, START).await);
        forget(&store, START + 30 * DAY_MS, &retention, &stop)
            .await
            .unwrap();
        assert!(!is_new(&store, START + 30 * DAY_MS).await, "not over yet");
        forget(&store, START + 30 * DAY_MS + 1, &retention, &stop)
            .await
            .unwrap();
        assert!(is_new(&store, START + 30 * DAY_MS + 1).await);
        // Of the calls, those of the last days are left: what was settled more than seven days ago is gone.
        let left = store.forget(Forget::SettledCalls, i64::MAX, 100).await.unwrap();
        assert_eq!(left, 2);
        store.close().await;
    }
}
