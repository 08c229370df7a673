//! What an upstream in trouble costs: time, and no order its attempts; and what a tenant with a mountain of work costs its neighbours.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::time::Duration;

use stecker_model::{RecordState, api::FlowStatus};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, Progress, Scene};
use stecker_simulators::{Config, Faults, Running, Simulators};

/// Budgets that an outage of a few seconds would use up several times over.
const SHORT: &str = r#"retry = { max-attempts = 6, base = "20ms", cap = "100ms" }"#;

/// Orders come by webhooks alone, so that they come in whatever happens to calls.
async fn set_up() -> Option<Scene> {
    let artifacts = Artifacts::or_skip()?;
    let scene = Scene::by_webhook(&artifacts, Faults::off(), |setup| {
        let usual = r#"retry = { max-attempts = 20, base = "100ms", cap = "3s" }"#;
        assert_eq!(setup.matches(usual).count(), 2);
        setup.replace(usual, SHORT)
    })
    .await
    .unwrap();
    scene.systems.set_webhook_url(Some(scene.url()));
    Some(scene)
}

fn is_all_there(progress: &Progress) -> bool {
    progress
        .orders
        .iter()
        .all(|(state, count)| !state.is_open() || *count == 0)
}

/// Orders meet an ERP that answers every call like this, much longer than their own budgets last; then it is well again.
async fn nothing_is_given_up_over(trouble: Faults) {
    let Some(scene) = set_up().await else {
        return;
    };
    scene.systems.set_faults(trouble).unwrap();
    scene.systems.create_orders(40);
    scene
        .until("every order came in", |progress, _| {
            progress.orders.values().sum::<u64>() == 40
        })
        .await
        .unwrap();
    let injected = |systems: &Running| systems.account().faults.values().sum::<u64>();
    // The upstream is left alone soon, so there are not many; and one order is allowed six attempts.
    scene
        .until("the trouble was met again and again", |_, systems| {
            injected(systems) > 8
        })
        .await
        .unwrap();
    scene.systems.set_faults(Faults::off()).unwrap();
    let progress = scene
        .until("all is delivered", |progress, _| is_all_there(progress))
        .await
        .unwrap();
    let verdict = scene.systems.account().verdict();
    assert_eq!(progress.orders_in(RecordState::Quarantined), 0, "{progress:?}");
    assert_eq!(progress.orders_in(RecordState::Delivered), 40, "{progress:?}");
    assert_eq!(
        (
            verdict.booked,
            verdict.missing.len(),
            verdict.duplicated.len(),
            verdict.out_of_order
        ),
        (40, 0, 0, 0),
        "{verdict:?}"
    );
    scene.host.stop().await.unwrap();
    drop(scene.folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_no_order_its_attempts() {
    let mut trouble = Faults::off();
    trouble.unavailable = 1.0;
    trouble.max_in_a_row = u32::MAX;
    nothing_is_given_up_over(trouble).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_costs_no_order_its_attempts() {
    let mut trouble = Faults::off();
    trouble.too_many_requests = 1.0;
    trouble.retry_after_seconds = 0;
    trouble.max_in_a_row = u32::MAX;
    nothing_is_given_up_over(trouble).await;
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to this: {what}");
}

/// A tenant that has thousands of records to move, on a database with one writer, while another one gets an order now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mountain_of_one_tenant_does_not_stand_in_the_way_of_anothers_order() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let start = async |orders| {
        let config = Config {
            orders,
            faults: Faults::off(),
            ..Config::default()
        };
        Simulators::start(config).await.unwrap()
    };
    let apply = |tenant: &str, systems: &Running| {
        let job = Job::write(&folder.path().join(tenant), &artifacts, systems.announcement()).unwrap();
        let setup = job.setup().display().to_string();
        host.cli(["--tenant", tenant, "apply", "-f", &setup]).unwrap();
    };
    let delivered = |tenant: &str| -> u64 {
        let list = host.cli(["--tenant", tenant, "flow", "list", "--json"]).unwrap();
        let flows: Vec<FlowStatus> = serde_json::from_str(&list).unwrap();
        flows
            .iter()
            .filter_map(|flow| flow.counts.get(&RecordState::Delivered))
            .sum()
    };
    let mountain = 4_000;
    let (busy, calm) = (start(mountain).await, start(0).await);
    apply("calm", &calm);
    calm.set_webhook_url(Some(format!("{}/hooks/calm/shop", host.url())));
    apply("busy", &busy);
    until("the mountain is being moved", || delivered("busy") >= 100).await;
    for booked in 1..=20 {
        calm.create_orders(1);
        until("an order is booked", || calm.account().verdict().booked >= booked).await;
    }
    let done = busy.account().verdict().booked;
    assert!(
        done < mountain,
        "twenty orders, one after the other, took as long as {done} of the neighbour's"
    );
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_which_too_much_waits_takes_no_more_and_says_so() {
    let Some(scene) = set_up().await else {
        return;
    };
    let limits = scene.folder.path().join("limits.toml");
    std::fs::write(&limits, "max-waiting = 5\n").unwrap();
    scene
        .host
        .cli(["tenant", "limit", &limits.display().to_string()])
        .unwrap();
    let pause = ["flow", "pause", "orders-to-erp", "--reason", "stock-taking"];
    scene.host.cli(pause).unwrap();
    // The bound is looked at once a second, so some more come in before it holds.
    scene.systems.create_orders(5);
    let held_back = async || {
        let flows = scene.host.flows().await.unwrap();
        let orders = flows
            .iter()
            .find(|flow| flow.spec.name.as_str() == "orders-to-erp");
        orders.unwrap().held_back
    };
    for _ in 0..900 {
        if held_back().await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let held = held_back().await.expect("the flow says why it takes nothing");
    assert!(held.waiting >= 5 && held.max_waiting == 5, "{held:?}");
    let shown = scene.host.cli(["flow", "status", "orders-to-erp"]).unwrap();
    assert!(shown.contains("max-waiting"), "{shown}");

    // What comes now is refused, and the shop keeps it.
    scene.systems.create_orders(1);
    scene
        .until("the shop was told to come again", |_, systems| {
            systems.account().shop.webhooks.pending > 0
        })
        .await
        .unwrap();
    scene.host.cli(["flow", "resume", "orders-to-erp"]).unwrap();
    scene
        .until("all is booked", |_, systems| {
            systems.account().verdict().booked == 6
        })
        .await
        .unwrap();
    assert_eq!(held_back().await, None, "there is room again");
}
