//! Payments of localstripe, an imitation of Stripe that other people wrote, booked in the simulated ERP: by webhooks that it signs, by
//! polls, and by both; each payment once, to the cent. Some are given back, once too, though localstripe knows no idempotency keys.
//!
//! It is installed with pip, so this runs only where `STECKER_REAL` is set (`cargo xtask test --real`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use stecker_model::{RecordState, api::FlowStatus};
use stecker_real_systems::{LocalStripe, RealSystems, RunningReal};
use stecker_scenarios::{Artifacts, Host, HostOptions};
use stecker_simulators::{Cents, Config, Faults, Running, Simulators};

const PATIENCE: Duration = Duration::from_secs(120);

/// What is booked of an event: payments that succeeded, under their own id.
const EVENT_TO_SALE: &str = r#"select(.type == "payment_intent.succeeded") | .thing
| { reference: .id,
    customer: { name: "Order \(.metadata.order)", email: "payments@example.com" },
    currency,
    total: .amount,
    lines: [{ sku: "@SKU@", name: "Payment", quantity: 1, unit_price: .amount }] }"#;

/// Orders that come back are refunded.
const RETURN_TO_REFUND: &str = r#"select(.type == "payment_intent.succeeded" and (.thing.metadata.order | startswith("return")))
| .thing | { payment_intent: .id, amount, currency }"#;

struct Scene {
    stripe: LocalStripe,
    erp: Running,
    host: Host,
    setup: PathBuf,
    secret: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_payment_is_booked_once_whichever_way_it_comes() {
    if std::env::var_os("STECKER_REAL").is_none() {
        println!(
            "skipped: set STECKER_REAL=1 to start localstripe (the first run installs it, half a minute)"
        );
        return;
    }
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut scene = set_up(&artifacts, folder.path()).await;

    // Signed webhooks alone: nothing is polled yet.
    for amount in [1, 999, 1_990, 123_456] {
        scene.pay(amount).await;
    }
    scene.stripe.pay(5_000, "eur", "declined", false).await.unwrap();
    scene.until_booked("by webhooks").await;
    assert_eq!(scene.account().await.reads_completed, 0, "nothing was polled");
    scene.forged_calls_are_refused().await;

    // The same events by a poll: recognised, every one.
    scene.poll();
    scene
        .until("the poll brought what was there", |flow| {
            flow.caught_up && flow.duplicates >= 5
        })
        .await;
    scene.pay(2_501).await;
    scene.until_booked("by both").await;

    // While the host is down, localstripe's webhooks go nowhere, and it never sends them again.
    scene.host.terminate().await.unwrap();
    for amount in [77, 10_001, 31] {
        scene.pay(amount).await;
    }
    // localstripe sends a second after it happened.
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.host.start_again().await.unwrap();
    scene.until_booked("by the poll after a pause").await;

    let returned = scene.stripe.pay(1_999, "eur", "return of 1", true).await.unwrap();
    scene.until_booked("what comes back").await;
    scene.until_refunded(&returned, 1_999).await;

    // And it goes on as before.
    scene.listen().await;
    scene.pay(4_242).await;
    scene.until_booked("by a webhook again").await;

    for flow in scene.host.flows().await.unwrap() {
        assert_eq!(
            flow.counts[&RecordState::Quarantined],
            0,
            "a payment is no reason for a person"
        );
    }
    scene.until_refunded(&returned, 1_999).await;
    scene.host.stop().await.unwrap();
    scene.erp.stop().await;
    scene.stripe.stop().await.unwrap();
}

async fn set_up(artifacts: &Artifacts, folder: &Path) -> Scene {
    let prepared = RealSystems::prepare_stripe(&|line| println!("{line}"))
        .await
        .unwrap();
    let stripe = prepared.start(&folder.join("stripe")).await.unwrap();
    // An ERP on a bad day: limits, failures, answers that get lost after it has booked.
    let erp = Simulators::start(Config {
        orders: 0,
        faults: Faults::demo(),
        ..Config::default()
    })
    .await
    .unwrap();
    let host = Host::start(artifacts, &folder.join("data"), HostOptions::default())
        .await
        .unwrap();
    let secret = format!("whsec_{}", RunningReal::generated_secret());
    let private = |name: &str, value: &str| {
        let path = folder.join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let systems = erp.announcement();
    let sku = erp.account().erp.stock.keys().next().unwrap().clone();
    let host_of = |url: &str| url.trim_start_matches("http://").to_owned();
    let plugin = |name: &str| artifacts.plugin(name).unwrap().display().to_string();
    let text = format!(
        r#"
[[connection]]
name = "stripe"
plugin = {{ path = {stripe_plugin:?} }}
config = {{ base_url = {stripe_url:?}, page_size = 3 }}
grants.http = [{{ host = {stripe_host:?}, schemes = ["http"], methods = ["GET", "POST"] }}]
credentials.api = {{ secret = {{ file = {api_key:?} }} }}
credentials.webhook = {{ secret = {{ file = {webhook:?} }} }}

[[connection]]
name = "erp"
plugin = {{ path = {erp_plugin:?} }}
config = {{ base_url = {erp_url:?} }}
grants.http = [{{ host = {erp_host:?}, schemes = ["http"], methods = ["GET", "POST"] }}]
credentials.api = {{ username = {erp_user:?}, secret = {{ file = {erp_password:?} }} }}

[[flow]]
name = "payments-to-erp"
source = {{ connection = "stripe", stream = "events" }}
destination = {{ connection = "erp", stream = "orders" }}
trigger = {{ webhook = true }}
retry = {{ max-attempts = 50, base = "100ms", cap = "2s" }}

[[flow.transform]]
plugin = {{ path = {jq:?} }}
config = {{ key = ".reference", program = '''
{program}
''' }}

[[flow]]
name = "returns-to-stripe"
source = {{ connection = "stripe", stream = "events" }}
destination = {{ connection = "stripe", stream = "refunds" }}
trigger = {{ webhook = true }}
retry = {{ max-attempts = 50, base = "100ms", cap = "2s" }}

[[flow.transform]]
plugin = {{ path = {jq:?} }}
config = {{ key = ".payment_intent", program = '''
{RETURN_TO_REFUND}
''' }}
"#,
        stripe_plugin = plugin("stripe"),
        stripe_url = stripe.url(),
        stripe_host = host_of(&stripe.url()),
        api_key = private("stripe-key", stripe.secret_key()),
        webhook = private("stripe-webhook", &secret),
        erp_plugin = plugin("demo-erp"),
        erp_url = systems.erp_url,
        erp_host = host_of(&systems.erp_url),
        erp_user = systems.erp_user,
        erp_password = private("erp-password", &systems.erp_password),
        jq = plugin("jq"),
        program = EVENT_TO_SALE.replace("@SKU@", &sku),
    );
    let setup = folder.join("setup.toml");
    fs::write(&setup, text).unwrap();
    let scene = Scene {
        stripe,
        erp,
        host,
        setup,
        secret,
    };
    scene.apply();
    scene.listen().await;
    scene
}

impl Scene {
    fn apply(&self) {
        let setup = self.setup.to_str().unwrap();
        self.host.cli(["apply", "-f", setup]).unwrap();
    }

    /// From now on the events are read, too.
    fn poll(&self) {
        let text = fs::read_to_string(&self.setup).unwrap();
        let polled = text.replace(
            "trigger = { webhook = true }",
            "trigger = { every = \"1s\", webhook = true }",
        );
        assert_ne!(text, polled);
        fs::write(&self.setup, polled).unwrap();
        self.apply();
    }

    /// localstripe sends its events to where the host is now.
    async fn listen(&self) {
        let url = format!("{}/hooks/default/stripe", self.host.url());
        self.stripe.set_webhook(&url, &self.secret).await.unwrap();
    }

    async fn pay(&self, amount: i64) -> String {
        let order = format!("of {amount}");
        self.stripe.pay(amount, "eur", &order, true).await.unwrap()
    }

    async fn account(&self) -> FlowStatus {
        let flows = self.host.flows().await.unwrap();
        let payments = |flow: &FlowStatus| flow.spec.name.as_str() == "payments-to-erp";
        flows.into_iter().find(payments).unwrap()
    }

    /// There is one refund, of that payment and all of it, as localstripe tells it.
    async fn until_refunded(&self, payment: &str, amount: i64) {
        let begun = Instant::now();
        loop {
            let refunds = self.stripe.all("refunds").await.unwrap();
            assert!(refunds.len() <= 1, "{refunds:?}");
            if let Some(refund) = refunds.first() {
                assert_eq!(
                    (refund["payment_intent"].as_str(), refund["amount"].as_i64()),
                    (Some(payment), Some(amount))
                );
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing was given back: {:?}; {}",
                self.host.flows().await,
                self.host.text("/api/v1/quarantine").await.unwrap()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until(&self, what: &str, holds: impl Fn(&FlowStatus) -> bool) {
        let begun = Instant::now();
        loop {
            let flow = self.account().await;
            if holds(&flow) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it never came to this: {what}; {flow:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Both ends as they tell it themselves: what was paid at localstripe and what is booked in the ERP, and nothing else.
    async fn until_booked(&self, how: &str) {
        let begun = Instant::now();
        let payments = self.stripe.payments().await.unwrap();
        let paid: BTreeMap<&str, String> = payments
            .iter()
            .filter(|(_, payment)| payment.status == "succeeded")
            .map(|(id, payment)| {
                let currency = payment.currency.to_uppercase();
                (id.as_str(), format!("{} {currency}", Cents(payment.amount)))
            })
            .collect();
        loop {
            let bookings = self.erp.account().erp.bookings;
            for (reference, booked) in &bookings {
                assert_eq!(
                    booked.len(),
                    1,
                    "{reference} is booked more than once: {booked:?}"
                );
            }
            let booked: BTreeMap<&str, String> = bookings
                .iter()
                .map(|(reference, booked)| {
                    let total = format!("{} {}", booked[0].total, booked[0].currency);
                    (reference.as_str(), total)
                })
                .collect();
            if booked == paid {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{how}: paid {paid:?}, booked {booked:?}; {:?}",
                self.account().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.until("everything is settled", |flow| {
            !flow
                .counts
                .iter()
                .any(|(state, count)| state.is_open() && *count > 0)
        })
        .await;
    }

    /// An event about a payment that nobody made.
    async fn forged_calls_are_refused(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let body = r#"{"id":"evt_forged","object":"event","type":"payment_intent.succeeded","created":1,"data":{"object":
            {"id":"pi_forged","object":"payment_intent","amount":1,"currency":"eur","status":"succeeded","created":1}}}"#;
        let url = format!("{}/hooks/default/stripe", self.host.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for signature in [format!("t={now},v1={}", "0".repeat(64)), "nonsense".to_owned()] {
            let answer = client
                .post(&url)
                .header("stripe-signature", signature)
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 401);
        }
        let unsigned = client.post(&url).body(body).send().await.unwrap();
        assert_eq!(unsigned.status(), 401);
    }
}
