//! Sends the shop's events: signed, repeated until they are taken, sometimes twice and sometimes in the wrong order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::data::Order;
use crate::faults::Fault;
use crate::world::World;

/// Attempts per event, the first one included.
const ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One thing that happened to an order.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) order: Order,
}

/// The value of `X-Shop-Signature`: `sha256=` and the hexadecimal HMAC-SHA256 of `<timestamp>.<body>`.
///
/// ```
/// let signature = stecker_simulators::signature("secret", "1767600000", b"{}");
/// assert!(signature.starts_with("sha256="));
/// assert_ne!(signature, stecker_simulators::signature("secret", "1767600001", b"{}"));
/// ```
#[must_use]
pub fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length; there is no error to have.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Sends events until the simulators stop.
pub(crate) async fn run(
    world: Arc<World>,
    client: reqwest::Client,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut sender = Sender {
        world,
        client,
        held: BTreeMap::new(),
    };
    let working = async {
        loop {
            let due = sender.held.values().map(|held| held.1).min();
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => sender.take(event).await,
                    None => break,
                },
                () = next => sender.release_due().await,
            }
        }
    };
    tokio::select! {
        () = working => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

struct Sender {
    world: Arc<World>,
    client: reqwest::Client,
    /// At most one event per order, and until when it may be kept back.
    held: BTreeMap<u64, (Event, Instant)>,
}

impl Sender {
    async fn take(&mut self, event: Event) {
        let order = event.order.id;
        let older = self.held.remove(&order);
        if older.is_none()
            && self
                .world
                .faults
                .event_is_disturbed(Fault::WebhookReordered, &event.id)
        {
            let hold = Duration::from_millis(self.world.faults.current().webhook_hold_ms);
            self.held.insert(order, (event, Instant::now() + hold));
            return;
        }
        self.send(&event).await;
        if let Some((older, _)) = older {
            self.world.webhook_counts().reordered += 1;
            self.send(&older).await;
        }
    }

    async fn release_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| held.1 <= now)
            .map(|(order, _)| *order)
            .collect();
        for order in due {
            if let Some((event, _)) = self.held.remove(&order) {
                self.send(&event).await;
            }
        }
    }

    async fn send(&self, event: &Event) {
        let taken = self.attempt(event).await;
        if self
            .world
            .faults
            .event_is_disturbed(Fault::WebhookDuplicated, &event.id)
            && self.attempt(event).await
        {
            self.world.webhook_counts().duplicated += 1;
        }
        let mut counts = self.world.webhook_counts();
        counts.pending = counts.pending.saturating_sub(1);
        if taken {
            counts.delivered += 1;
        } else {
            counts.given_up += 1;
        }
    }

    /// Whether the receiver took the event, at the first or a later attempt.
    async fn attempt(&self, event: &Event) -> bool {
        let body = json!({ "event_id": event.id, "type": event.kind, "order": event.order }).to_string();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            // Read anew each time: the receiver may have moved while we waited.
            let Some(target) = self.world.webhook_target() else {
                return false;
            };
            let timestamp = Timestamp::now().as_second().to_string();
            self.world.webhook_counts().attempts += 1;
            let answer = self
                .client
                .post(&target)
                .timeout(PATIENCE)
                .header("content-type", "application/json")
                .header("x-shop-event-id", &event.id)
                .header(
                    "x-shop-signature",
                    signature(&self.world.secrets.webhook_secret, &timestamp, body.as_bytes()),
                )
                .header("x-shop-timestamp", timestamp)
                .body(body.clone())
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            if attempt < ATTEMPTS {
                sleep(pause).await;
                pause *= 2;
            }
        }
        false
    }
}
