//! The shop's events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use stecker_simulators::{Faults, Running, signature};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::client::{brief, start};

/// A request as it came in.
struct Hook {
    headers: HeaderMap,
    body: Bytes,
}

impl Hook {
    fn event_id(&self) -> String {
        self.headers["x-shop-event-id"].to_str().unwrap().to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone)]
struct Receiver {
    hooks: mpsc::UnboundedSender<Hook>,
    refusals: Arc<AtomicI64>,
}

/// A receiver that refuses the first requests and takes the others.
async fn receiver(running: &Running, refusals: i64) -> mpsc::UnboundedReceiver<Hook> {
    async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
        receiver.hooks.send(Hook { headers, body }).unwrap();
        if receiver.refusals.fetch_sub(1, Ordering::SeqCst) > 0 {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::NO_CONTENT
        }
    }
    let (hooks, received) = mpsc::unbounded_channel();
    let refusals = Arc::new(AtomicI64::new(refusals));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    running.set_webhook_url(Some(format!("http://{}/hooks", listener.local_addr().unwrap())));
    let app = Router::new()
        .route("/hooks", post(take))
        .with_state(Receiver { hooks, refusals });
    tokio::spawn(async move { axum::serve(listener, app).await });
    received
}

async fn take(hooks: &mut mpsc::UnboundedReceiver<Hook>, count: usize) -> Vec<Hook> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(hooks.recv().await.unwrap());
    }
    taken
}

#[tokio::test]
async fn events_are_signed_and_repeated_until_they_are_taken() {
    let (running, _) = start(10, Faults::off()).await;
    let mut hooks = receiver(&running, 1).await;
    let created = running.create_orders(1).remove(0);
    let taken = take(&mut hooks, 2).await;
    for hook in &taken {
        let timestamp = hook.headers["x-shop-timestamp"].to_str().unwrap();
        let expected = signature(&running.webhook_secret, timestamp, &hook.body);
        assert_eq!(hook.headers["x-shop-signature"].to_str().unwrap(), expected);
        assert_ne!(signature("another secret", timestamp, &hook.body), expected);
    }
    assert_eq!(taken[0].event_id(), taken[1].event_id());
    let event = taken[1].json();
    assert_eq!(
        (event["type"].as_str(), event["order"]["id"].as_u64()),
        (Some("order.created"), Some(created.id))
    );
    assert_eq!(event["event_id"].as_str().unwrap(), taken[1].event_id());
    running.stop().await;
}

/// Computed with Python's `hmac`, so that the doc of the header and the code are not wrong together.
#[test]
fn the_signature_is_what_the_reference_says() {
    let known = "sha256=ac7f4553bd5fd9b7d11b55a9bbd9095cf95f040759a4ec7d72b719411233125e";
    assert_eq!(
        signature("top secret", "1767600000", b"{\"event_id\":\"evt_1\"}"),
        known
    );
}

#[tokio::test]
async fn events_come_twice_and_older_ones_after_newer_ones_when_told_to() {
    let faults = Faults {
        webhook_duplicate: 1.0,
        webhook_reorder: 1.0,
        webhook_hold_ms: 600_000,
        ..Faults::off()
    };
    let (running, _) = start(10, faults).await;
    let mut hooks = receiver(&running, 0).await;
    running.update_orders(&[1001]).unwrap();
    running.update_orders(&[1001]).unwrap();
    let taken = take(&mut hooks, 4).await;
    let versions: Vec<_> = taken
        .iter()
        .map(|hook| hook.json()["order"]["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [3, 3, 2, 2]);
    let ids: BTreeSet<_> = taken.iter().map(Hook::event_id).collect();
    assert_eq!(ids.len(), 2, "a duplicate carries the id of its event");
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_is_held_back_comes_even_if_nothing_follows() {
    let (running, _) = start(
        10,
        Faults {
            webhook_reorder: 1.0,
            ..brief(Faults::off())
        },
    )
    .await;
    let mut hooks = receiver(&running, 0).await;
    running.update_orders(&[1002]).unwrap();
    assert_eq!(take(&mut hooks, 1).await[0].json()["order"]["id"], 1002);
    running.stop().await;
}
