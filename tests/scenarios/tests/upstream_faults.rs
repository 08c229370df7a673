//! Systems that do wrong all the time and not by chance: limits that say nothing, lists that lead in circles, versions of an API that end.
//! Nothing is lost or doubled, an operator can read what is wrong, and when it has passed, the work goes on by itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::time::{Duration, Instant};

use stecker_model::{
    RecordState,
    api::{FlowHealth, FlowStatus},
};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{ApiVersion, Config, Fault, Faults, Paging, Running, Simulators};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(30);

struct Scene {
    systems: Running,
    host: Host,
    _folder: TempDir,
}

impl Scene {
    /// The job of the demo, with 250 orders: three pages.
    async fn set_up(faults: Faults) -> Option<Self> {
        let artifacts = Artifacts::or_skip()?;
        let systems = Simulators::start(Config {
            orders: 250,
            faults,
            ..Config::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
            .await
            .unwrap();
        let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
        job.apply(&host).unwrap();
        Some(Self {
            systems,
            host,
            _folder: folder,
        })
    }

    async fn flow(&self) -> FlowStatus {
        let flows = self.host.flows().await.unwrap();
        let orders = |flow: &FlowStatus| flow.spec.name.as_str() == "orders-to-erp";
        flows.into_iter().find(orders).unwrap()
    }

    async fn until(&self, what: &str, holds: impl Fn(&FlowStatus) -> bool) -> FlowStatus {
        let begun = Instant::now();
        loop {
            let flow = self.flow().await;
            if holds(&flow) {
                return flow;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it never came to this: {what}; {flow:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything is where it belongs, to the cent, and nobody had to help.
    async fn until_done(self) {
        let begun = Instant::now();
        loop {
            let progress = Progress::of(&self.host).await.unwrap();
            let account = JobAccount::of(&progress, &self.systems.account());
            if progress.idle && progress.failing.is_none() && account.holds().is_ok() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?}; {progress:?}; {:?}",
                account.holds(),
                self.flow().await
            );
            tokio::time::sleep(LOOK).await;
        }
        self.host.stop().await.unwrap();
        self.systems.stop().await;
    }

    fn nothing_is_doubled(&self) {
        let verdict = self.systems.account().verdict();
        assert_eq!(
            (verdict.duplicated.len(), verdict.out_of_order),
            (0, 0),
            "{verdict:?}"
        );
    }
}

fn count(flow: &FlowStatus, state: RecordState) -> u64 {
    flow.counts.get(&state).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_kept_to_whether_or_not_they_say_for_how_long() {
    let faults = Faults {
        too_many_requests: 0.05,
        bare_too_many_requests: 0.1,
        ..Faults::off()
    };
    let Some(scene) = Scene::set_up(faults).await else {
        return;
    };
    let begun = Instant::now();
    loop {
        let met = scene.systems.account().faults;
        let of = |fault| met.get(&fault).copied().unwrap_or_default();
        if of(Fault::TooManyRequests) > 0 && of(Fault::BareTooManyRequests) > 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no limit was met: {met:?}");
        tokio::time::sleep(LOOK).await;
    }
    scene.until_done().await;
}

/// A list without an end: read again and again, ever less often, and said.
async fn a_list_without_an_end(paging: Paging, says: &str) {
    let faults = Faults {
        paging,
        ..Faults::off()
    };
    let Some(scene) = Scene::set_up(faults).await else {
        return;
    };
    let flow = scene
        .until("the operator is told", |flow| {
            flow.last_error
                .as_ref()
                .is_some_and(|error| error.code == "fatal")
        })
        .await;
    let error = flow.last_error.unwrap();
    assert!(error.message.contains(says), "{error:?}");
    assert!(error.next_try_at.is_some());
    assert_eq!(flow.health, FlowHealth::Failing);
    // What was read on the way is delivered meanwhile, each once.
    scene
        .until("what was read is delivered", |flow| {
            count(flow, RecordState::Delivered) >= 90
        })
        .await;
    scene.nothing_is_doubled();
    scene.systems.set_faults(Faults::off()).unwrap();
    scene.until_done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_stands_still_is_said_and_read_on_when_it_moves() {
    a_list_without_an_end(Paging::Stuck, "its cursor has not moved on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_leads_in_circles_is_said_and_read_on_when_it_does_not() {
    a_list_without_an_end(Paging::Circling, "every 2 pages its cursor is again at").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_overlap_or_go_backwards_cost_only_time() {
    for paging in [Paging::Repeating, Paging::Backwards] {
        let faults = Faults {
            paging,
            ..Faults::off()
        };
        let Some(scene) = Scene::set_up(faults).await else {
            return;
        };
        let flow = scene.until("it is read to its end", |flow| flow.caught_up).await;
        assert!(flow.duplicates > 0, "nothing came twice, so nothing was shown");
        scene.until_done().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_switched_off_is_said_and_what_waits_is_delivered_when_it_is_back() {
    let Some(scene) = Scene::set_up(Faults::off()).await else {
        return;
    };
    scene
        .until("some are delivered", |flow| {
            count(flow, RecordState::Delivered) > 0
        })
        .await;
    scene.systems.create_orders(120);
    let retired = Faults {
        api: ApiVersion::Retired,
        ..Faults::off()
    };
    scene.systems.set_faults(retired).unwrap();
    let flow = scene
        .until("the operator is told", |flow| flow.last_error.is_some())
        .await;
    let error = flow.last_error.unwrap();
    assert!(
        error.message.contains("410") && error.message.contains("switched off"),
        "{error:?}"
    );
    scene.systems.set_faults(Faults::off()).unwrap();
    // No record is at fault for an address that is not there: what is in quarantine then is what always is.
    scene.until_done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_falls_forward_is_said_and_nothing_is_done_twice() {
    let Some(scene) = Scene::set_up(Faults::off()).await else {
        return;
    };
    scene
        .until("some are delivered and others wait", |flow| {
            count(flow, RecordState::Delivered) > 0
        })
        .await;
    let reshaped = Faults {
        api: ApiVersion::Reshaped,
        ..Faults::off()
    };
    scene.systems.set_faults(reshaped).unwrap();
    scene.systems.create_orders(10);
    let flow = scene
        .until("the operator is told", |flow| {
            flow.last_error
                .as_ref()
                .is_some_and(|error| error.code == "schema")
        })
        .await;
    let error = flow.last_error.unwrap();
    assert!(
        error.message.contains("orders"),
        "it does not say what is missing: {error:?}"
    );
    // What the ERP books and answers in words that nobody understands is looked up, not sent again.
    scene
        .until("all that was read is delivered", |flow| {
            !flow
                .counts
                .iter()
                .any(|(state, count)| state.is_open() && *count > 0)
        })
        .await;
    scene.nothing_is_doubled();
    scene.systems.set_faults(Faults::off()).unwrap();
    scene.until_done().await;
}
