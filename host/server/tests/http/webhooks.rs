//! Webhooks that go out, through the API.

use reqwest::Method;
use serde_json::{Value, json};
use stecker_model::{
    Period,
    api::{AddWebhook, DeliveryFilter, DeliveryState, DisableWebhook, EventType, RotateWebhookSecret},
};
use stecker_server::Operations as _;

use crate::{Running, problem};

fn wish(name: &str) -> AddWebhook {
    AddWebhook {
        name: name.parse().unwrap(),
        url: "https://hooks.acme.example/stecker".to_owned(),
        events: vec![
            EventType::FlowPaused,
            EventType::RecordDelivered,
            EventType::FlowPaused,
        ],
        flows: Vec::new(),
    }
}

#[tokio::test]
async fn every_operation_does_through_the_api_what_it_says() {
    let running = Running::start().await;
    let client = running.operations();
    let ops = "ops".parse().unwrap();
    let made = client.add_webhook(&wish("ops")).await.unwrap();
    assert!(made.secret.expose().starts_with("whsec_"));
    assert_eq!(
        made.webhook.events,
        [EventType::RecordDelivered, EventType::FlowPaused]
    );
    assert_eq!(
        client.webhooks().await.unwrap(),
        std::slice::from_ref(&made.webhook)
    );
    assert_eq!(client.webhook(&ops).await.unwrap(), made.webhook);
    let request = DisableWebhook {
        reason: "not now".to_owned(),
    };
    let off = client.disable_webhook(&ops, &request).await.unwrap();
    assert_eq!(
        (off.enabled, off.disabled.unwrap().reason.as_str()),
        (false, "not now")
    );
    let metrics = running.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        r#"stecker_webhook_disabled{tenant="default",webhook="ops"} 1"#,
        r#"stecker_webhook_events_waiting{tenant="default",webhook="ops"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(client.enable_webhook(&ops).await.unwrap().enabled);
    let rotated = client
        .rotate_webhook_secret(&ops, &RotateWebhookSecret::default())
        .await
        .unwrap();
    assert_ne!(rotated.secret, made.secret);
    assert!(rotated.webhook.old_secret_until.is_some());
    let filter = DeliveryFilter {
        state: Some(DeliveryState::Failed),
        limit: Some(5),
    };
    assert_eq!(client.webhook_deliveries(&ops, &filter).await.unwrap(), []);
    let removed = client.remove_webhook(&ops).await.unwrap();
    assert_eq!(removed, rotated.webhook);
    assert_eq!(client.webhook(&ops).await.unwrap_err().status, 404);
    let host = running.server.host().service("default".parse().unwrap(), "test");
    let log = host.store().audit_log(host.tenant(), 10).await.unwrap();
    let mut actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(
        actions,
        [
            "webhook.add",
            "webhook.disable",
            "webhook.enable",
            "webhook.remove",
            "webhook.rotate-secret"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_is_a_problem_with_its_place() {
    let running = Running::start().await;
    let client = running.operations();
    client.add_webhook(&wish("ops")).await.unwrap();
    let post = |path: &str, body: Value| running.request(Method::POST, path).json(&body).send();
    let url = "https://hooks.acme.example/";
    for (body, status, kind) in [
        (json!({ "name": "ops", "url": url }), 409, "conflict"),
        (
            json!({ "name": "new", "url": "https://localhost:8443/" }),
            422,
            "invalid",
        ),
        (
            json!({ "name": "new", "url": format!("{url}{}", "x".repeat(3_000)) }),
            422,
            "invalid",
        ),
        (
            json!({ "name": "new", "url": url, "events": ["record.lost"] }),
            422,
            "invalid",
        ),
        (
            json!({ "name": "new", "url": url, "flows": ["nowhere"] }),
            422,
            "invalid",
        ),
        (
            json!({ "name": "new", "url": url, "secret": "mine" }),
            422,
            "invalid",
        ),
        (json!({ "name": "New", "url": url }), 422, "invalid"),
    ] {
        let answer = post("/api/v1/webhooks", body.clone()).await.unwrap();
        let problem = problem(answer, status, kind).await;
        assert!(!problem.to_string().contains("whsec_"), "{problem}");
    }
    let long = json!({ "overlap": "31d" });
    problem(
        post("/api/v1/webhooks/ops/rotate-secret", long).await.unwrap(),
        422,
        "invalid",
    )
    .await;
    let empty = json!({ "reason": " " });
    problem(
        post("/api/v1/webhooks/ops/disable", empty).await.unwrap(),
        422,
        "invalid",
    )
    .await;
    for path in [
        "/api/v1/webhooks/ops/deliveries?limit=0",
        "/api/v1/webhooks/ops/deliveries?limit=1001",
    ] {
        problem(
            running.request(Method::GET, path).send().await.unwrap(),
            422,
            "invalid",
        )
        .await;
    }
    let bad = running.request(Method::GET, "/api/v1/webhooks/ops/deliveries?state=lost");
    problem(bad.send().await.unwrap(), 400, "bad-query").await;
    problem(
        post("/api/v1/webhooks/gone/test", json!({})).await.unwrap(),
        404,
        "not-found",
    )
    .await;
    assert_eq!(client.webhooks().await.unwrap().len(), 1, "nothing was made");
    let request = RotateWebhookSecret {
        overlap: Period::from_secs(0),
    };
    let ended = client
        .rotate_webhook_secret(&"ops".parse().unwrap(), &request)
        .await
        .unwrap();
    assert_eq!(ended.webhook.old_secret_until, None);
}
