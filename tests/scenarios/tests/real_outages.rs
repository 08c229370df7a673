//! A real shop and a real ERP that go away in the middle of the work and come back: everything arrives, once, in its order, and nobody has
//! to help.
//!
//! A cold cache takes minutes and the network, so this runs only where `STECKER_REAL` is set (`cargo xtask test --real`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use stecker_model::{
    RecordState,
    api::{RecordDetail, RecordPage},
};
use stecker_real_systems::{End, RealSystems, RunningReal, Webhook};
use stecker_scenarios::{Artifacts, Host, HostOptions, Progress, RealAccount, RealJob};

/// How long anything may take on a machine that does other work too; confirming a few sales takes Tryton a second.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

struct Scene {
    systems: RunningReal,
    host: Host,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_and_a_shop_that_go_away_in_the_middle_cost_nothing() {
    if std::env::var_os("STECKER_REAL").is_none() {
        println!(
            "skipped: set STECKER_REAL=1 to start Vendure and Tryton (the first run installs them, minutes)"
        );
        return;
    }
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scene = set_up(&artifacts, folder.path()).await;

    // Asked to end while it works, with new orders coming in meanwhile.
    scene
        .until("some sales are made and others are being made", |progress| {
            progress.orders_in(RecordState::Delivered) > 0 && progress.orders_in(RecordState::Sending) > 0
        })
        .await;
    scene.systems.end_tryton(End::Terminated).await.unwrap();
    scene.until("the host noticed", waits_for_the_erp).await;
    let meanwhile = scene.systems.place_orders(4).await.unwrap();
    let shipped = meanwhile[..2].to_vec();
    scene.until_records_of(&shipped, 1).await;
    scene.systems.ship_orders(&shipped).await.unwrap();
    scene.until_records_of(&shipped, 2).await;
    scene.systems.start_tryton().await.unwrap();

    // Killed while it confirms sales that it has created and quoted.
    scene.until_half_made().await;
    scene.systems.end_tryton(End::Killed).await.unwrap();
    // Nobody can know whether they are booked, and with the ERP away nobody can be asked.
    scene
        .until("a write was cut off in the middle", |progress| {
            progress.orders_in(RecordState::Unknown) > 0
        })
        .await;
    scene.systems.place_orders(3).await.unwrap();
    scene.systems.start_tryton().await.unwrap();
    scene.until_all_arrived().await;

    // The shop takes its last events with it.
    for how in [End::Killed, End::Terminated] {
        scene.systems.place_orders(2).await.unwrap();
        scene.systems.end_vendure(how).await.unwrap();
        scene
            .until("the host says that the shop cannot be read", |progress| {
                progress.failing.is_some()
            })
            .await;
        scene.systems.start_vendure().await.unwrap();
        scene.systems.place_orders(1).await.unwrap();
        scene.until_all_arrived().await;
    }

    let records = scene.all_records().await;
    order_was_kept(&records, &shipped);
    let states: BTreeSet<String> = scene
        .systems
        .tryton_sales()
        .await
        .unwrap()
        .into_iter()
        .map(|sale| sale.state)
        .collect();
    assert_eq!(
        states,
        BTreeSet::from(["processing".to_owned()]),
        "no sale is half made"
    );
    scene.host.stop().await.unwrap();
    scene.systems.stop().await.unwrap();
}

async fn set_up(artifacts: &Artifacts, folder: &Path) -> Scene {
    let prepared = RealSystems::prepare(&|line| println!("{line}")).await.unwrap();
    let systems = prepared.start(&folder.join("systems")).await.unwrap();
    let host = Host::start(artifacts, &folder.join("data"), HostOptions::default())
        .await
        .unwrap();
    let secret = RunningReal::generated_secret();
    let job = RealJob::write(&folder.join("job"), artifacts, &systems, &secret).unwrap();
    // Attempts enough for an outage of minutes, and the first of them soon.
    let setup = fs::read_to_string(job.setup()).unwrap();
    let usual = "delivery = { page = 100, batch = 25, lanes = 1 }";
    assert_eq!(setup.matches(usual).count(), 2, "{setup}");
    let patient = "delivery = { page = 100, batch = 10, lanes = 1 }\n\
                   retry = { max-attempts = 100, base = \"200ms\", cap = \"4s\" }";
    let setup = setup.replace(usual, patient);
    // This is about orders: what the ERP hears of by an order it has none of, and the shop would be sold out.
    let (every, yearly) = (
        "trigger = { every = \"2s\" }",
        "trigger = { cron = \"0 0 1 1 *\" }",
    );
    assert_eq!(setup.matches(every).count(), 1, "{setup}");
    fs::write(job.setup(), setup.replace(every, yearly)).unwrap();
    job.apply(&host).unwrap();
    let url = format!("{}/hooks/default/shop", host.url());
    systems.set_webhook(Some(&Webhook { url, secret })).await.unwrap();
    Scene { systems, host }
}

/// What was being written is unsure or to be tried again; where the host stops calling a system that is away, it waits.
fn waits_for_the_erp(progress: &Progress) -> bool {
    progress.orders_in(RecordState::Sending) == 0
        && progress.orders_in(RecordState::Unknown) + progress.orders_in(RecordState::Retrying) > 0
}

impl Scene {
    async fn until(&self, what: &str, holds: impl Fn(&Progress) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let progress = Progress::of(&self.host).await.unwrap();
            self.nothing_needs_a_person(&progress);
            if holds(&progress) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it never came to this: {what}; {progress:?}; {}",
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn nothing_needs_a_person(&self, progress: &Progress) {
        assert_eq!(
            progress.orders_in(RecordState::Quarantined),
            0,
            "an outage is no reason for quarantine; {progress:?}; {}",
            self.log()
        );
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.host.data().join("host.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The host knows of that many changes of each of these orders.
    async fn until_records_of(&self, codes: &[String], changes: usize) {
        for code in codes {
            let begun = std::time::Instant::now();
            while self.records(&format!("&key={code}")).await.len() < changes {
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{changes} changes of {code} never came; {}",
                    self.log()
                );
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Sales are quotations for as long as they are being confirmed, which is what takes longest.
    async fn until_half_made(&self) {
        let begun = std::time::Instant::now();
        loop {
            let sales = self.systems.tryton_sales().await.unwrap();
            if sales.iter().any(|sale| sale.state == "quotation") {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no sale was seen half made; {}",
                self.log()
            );
        }
    }

    /// Both ends, as the systems themselves tell it: each order has one sale, to the cent.
    async fn until_all_arrived(&self) {
        let begun = std::time::Instant::now();
        loop {
            let progress = Progress::of(&self.host).await.unwrap();
            self.nothing_needs_a_person(&progress);
            let account = RealAccount::take(&self.systems, &progress).await.unwrap();
            assert_eq!(
                (account.duplicated, account.different.len()),
                (0, 0),
                "{account:?}"
            );
            let open = account.read - account.delivered;
            if progress.failing.is_none() && (account.lost, open) == (0, 0) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not everything arrived: {account:?}; {progress:?}; {}",
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The records of the orders, in the order in which the host accepted them.
    async fn records(&self, filter: &str) -> Vec<stecker_model::api::RecordSummary> {
        let path = format!("/api/v1/records?flow=orders-to-erp&limit=1000{filter}");
        let page: RecordPage = self.host.get(&path).await.unwrap();
        assert!(page.next.is_none(), "more records than this test makes");
        page.records
    }

    async fn all_records(&self) -> Vec<RecordDetail> {
        let mut all = Vec::new();
        for record in self.records("").await {
            let path = format!("/api/v1/records/{}/{}", record.id.flow, record.id.seq);
            all.push(self.host.get(&path).await.unwrap());
        }
        all
    }
}

/// No change of an order was sent before the one in front of it had arrived.
fn order_was_kept(records: &[RecordDetail], changed: &[String]) {
    for code in changed {
        let of_this: Vec<&RecordDetail> = records
            .iter()
            .filter(|record| record.summary.key == *code)
            .collect();
        assert!(of_this.len() >= 2, "{code} changed while the ERP was away");
        for pair in of_this.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            assert!(before.summary.source_version < after.summary.source_version);
            let arrived = before
                .attempts
                .iter()
                .filter_map(|attempt| attempt.finished_at)
                .max();
            let sent = after.attempts.iter().map(|attempt| attempt.started_at).min();
            assert!(arrived <= sent, "{code}: {before:?} and {after:?}");
        }
    }
}
