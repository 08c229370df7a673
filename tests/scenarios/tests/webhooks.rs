//! Events that a shop sends by itself: taken once, only if genuine, in whatever order they come.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{fs, time::Duration};

use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Progress, Scene};
use stecker_simulators::Faults;

async fn set_up(faults: Faults) -> Option<Scene> {
    let artifacts = Artifacts::or_skip()?;
    Some(
        Scene::by_webhook(&artifacts, faults, |setup| setup)
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubled_and_disordered_events_end_as_one_sale_at_the_latest_version() {
    let mut faults = Faults::off();
    faults.webhook_duplicate = 0.5;
    faults.webhook_reorder = 0.5;
    let Some(scene) = set_up(faults).await else {
        return;
    };
    scene.systems.set_webhook_url(Some(scene.url()));
    scene.systems.create_orders(30);
    let ids: Vec<u64> = scene
        .systems
        .account()
        .shop
        .orders
        .values()
        .map(|order| order.id)
        .collect();
    scene.systems.update_orders(&ids).unwrap();
    let progress = scene
        .until(
            "all events settled and every order booked",
            |progress, systems| {
                let account = systems.account();
                account.shop.webhooks.pending == 0
                    && account.verdict().missing.is_empty()
                    && !progress
                        .orders
                        .iter()
                        .any(|(state, count)| state.is_open() && *count > 0)
            },
        )
        .await
        .unwrap();
    let account = scene.systems.account();
    let verdict = account.verdict();
    assert!(
        account.shop.webhooks.duplicated > 0,
        "the shop doubled nothing, so nothing was shown"
    );
    assert_eq!(
        (verdict.duplicated.len(), verdict.out_of_order),
        (0, 0),
        "{verdict:?}"
    );
    assert_eq!(verdict.booked, 30, "{progress:?}");
    assert!(
        progress.orders_in(RecordState::Delivered) <= 60,
        "an event was taken twice: {progress:?}"
    );
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_call_is_refused_and_leaves_no_record() {
    let Some(scene) = set_up(Faults::off()).await else {
        return;
    };
    let body = r#"{"event_id":"e-1","type":"order.created","order":{"id":1}}"#;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = |signature: String| {
        client
            .post(scene.url())
            .header("x-shop-event-id", "e-1")
            .header("x-shop-timestamp", &now)
            .header("x-shop-signature", signature)
            .body(body)
            .send()
    };
    let forged = call(format!("sha256={}", "0".repeat(64))).await.unwrap();
    assert_eq!(forged.status(), 401);
    let other_secret = call(stecker_simulators::signature(
        "not the secret",
        &now,
        body.as_bytes(),
    ))
    .await
    .unwrap();
    assert_eq!(other_secret.status(), 401);
    let nobody = client
        .post(format!("{}/hooks/default/nobody", scene.host.url()))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 404);
    let huge = client
        .post(scene.url())
        .body(vec![b'x'; 3 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(huge.status(), 413);
    let progress = Progress::of(&scene.host).await.unwrap();
    assert_eq!(progress.orders.values().sum::<u64>(), 0, "{progress:?}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

/// A scene whose shop takes few calls.
async fn with_limits(limits: &str) -> Option<Scene> {
    let scene = set_up(Faults::off()).await?;
    let setup = scene.folder.path().join("job/setup.toml");
    let text = fs::read_to_string(&setup).unwrap();
    let limited = text.replacen(
        "[[connection]]\nname = \"shop\"\n",
        &format!("[[connection]]\nname = \"shop\"\nlimits.webhook = {limits}\n"),
        1,
    );
    assert_ne!(text, limited);
    fs::write(&setup, limited).unwrap();
    scene.host.cli(["apply", "-f", setup.to_str().unwrap()]).unwrap();
    Some(scene)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_turned_away_with_the_time_to_come_again() {
    let Some(scene) = with_limits("{ per-second = 1, burst = 3 }").await else {
        return;
    };
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut statuses = Vec::new();
    for _ in 0..8 {
        // No UTF-8, as some systems send: it is stored as it is, and refused by the plugin and not before.
        let answer = client
            .post(scene.url())
            .body(vec![0xff, 0xfe, 0x00])
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let retry_after = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry_after.is_some(), status == 429, "{status}");
        if let Some(seconds) = retry_after {
            assert!((1..=2).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
        }
        statuses.push(status);
    }
    assert_eq!(statuses[..3], [401; 3]);
    assert!(statuses.contains(&429), "{statuses:?}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_kept_than_may_wait() {
    let Some(scene) = with_limits("{ backlog = 2 }").await else {
        return;
    };
    scene
        .host
        .cli(["connection", "open-circuit", "shop", "--reason", "a test"])
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async || client.post(scene.url()).body("{}").send().await.unwrap();
    assert_eq!(call().await.status(), 202);
    assert_eq!(call().await.status(), 202);
    let beyond = call().await;
    assert_eq!(beyond.status(), 503);
    assert_eq!(beyond.headers()["retry-after"], "60");
    scene.host.cli(["connection", "close-circuit", "shop"]).unwrap();
    // What was kept is understood now, and there is room again.
    let mut status = 503;
    for _ in 0..600 {
        status = call().await.status().as_u16();
        if status != 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 401);
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}
