//! The steady flow: orders come by webhook, one every so often, become sales and are booked.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use stecker_simulators::{Order, Running, signature};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{Artifacts, Host, Job};

/// How often an event is offered at most, as the demo shop does.
const ATTEMPTS: u32 = 6;
/// How long after the last record a delivery is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Steady<'a> {
    systems: &'a Running,
    offer: Arc<Offer>,
    per_second: u32,
}

/// What it takes to offer an event.
struct Offer {
    client: reqwest::Client,
    url: String,
    secret: String,
}

/// One phase.
pub(super) struct Phase {
    pub(super) offered: usize,
    pub(super) refused: usize,
    pub(super) lost: usize,
    /// Milliseconds, ascending.
    latencies: Vec<f64>,
}

impl Phase {
    /// The latency that so many of 100 records do not exceed; a lost record is in none of them.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        self.latencies
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl<'a> Steady<'a> {
    pub(super) fn set_up(
        host: &Host,
        systems: &'a Running,
        artifacts: &Artifacts,
        folder: &Path,
        per_second: u32,
    ) -> Result<Self> {
        Job::write(folder, artifacts, systems.announcement())?.apply(host)?;
        Ok(Self {
            systems,
            offer: Arc::new(Offer {
                client: crate::host::client()?,
                url: format!("{}/hooks/default/shop", host.url()),
                secret: systems.announcement().webhook_secret.clone(),
            }),
            per_second,
        })
    }

    /// Offers records for so long, and waits for the last of them.
    pub(super) async fn run(&self, period: Duration) -> Result<Phase> {
        let mut offers = JoinSet::new();
        let mut offered_at = BTreeMap::new();
        let end = Instant::now() + period;
        let mut due = interval(Duration::from_secs(1) / self.per_second.max(1));
        // A record that could not be offered in time is offered later, so that a busy machine does not make for fewer records.
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while due.tick().await < end {
            let order = self
                .systems
                .create_orders(1)
                .pop()
                .context("the shop made no order")?;
            offered_at.insert(order.number.clone(), now_ms());
            let offer = Arc::clone(&self.offer);
            offers.spawn(async move {
                let accepted = offer.event(&order).await;
                (order.number, accepted)
            });
        }
        let offered = offered_at.len();
        ensure!(offered > 0, "the phase is too short for a single record");
        while let Some(ended) = offers.join_next().await {
            let (number, accepted) = ended?;
            if !accepted {
                offered_at.remove(&number);
            }
        }
        let booked = self.booked(&offered_at).await;
        let mut latencies: Vec<f64> = offered_at
            .iter()
            .filter_map(|(number, offered)| Some(booked.get(number)? - offered))
            .collect();
        latencies.sort_by(f64::total_cmp);
        Ok(Phase {
            offered,
            refused: offered - offered_at.len(),
            lost: offered_at.len() - latencies.len(),
            latencies,
        })
    }

    /// When each was first booked, in milliseconds since 1970; waits for all of them, though not for ever.
    async fn booked(&self, wanted: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        let begun = Instant::now();
        loop {
            let booked: BTreeMap<String, f64> = self
                .systems
                .account()
                .erp
                .bookings
                .into_iter()
                .filter(|(reference, _)| wanted.contains_key(reference))
                .filter_map(|(reference, bookings)| {
                    let at = bookings.first()?.at.as_microsecond();
                    Some((reference, at as f64 / 1e3))
                })
                .collect();
            if booked.len() == wanted.len() || begun.elapsed() > PATIENCE {
                return booked;
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}

impl Offer {
    /// Whether the host took the event, at the first or a later attempt.
    async fn event(&self, order: &Order) -> bool {
        let id = format!("event-{}", order.number);
        let body = json!({"event_id": id, "type": "order.created", "order": order}).to_string();
        for attempt in 0..ATTEMPTS {
            let timestamp = (now_ms() / 1e3).floor().to_string();
            let answer = self
                .client
                .post(&self.url)
                .header("content-type", "application/json")
                .header("x-shop-event-id", &id)
                .header(
                    "x-shop-signature",
                    signature(&self.secret, &timestamp, body.as_bytes()),
                )
                .header("x-shop-timestamp", timestamp)
                .body(body.clone())
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            sleep(Duration::from_millis(100 << attempt)).await;
        }
        false
    }
}

fn now_ms() -> f64 {
    // A clock before 1970 makes all latencies wrong alike, which is seen.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64() * 1e3)
}
