//! The connectors as components in the real sandbox, between a real shop and a real ERP: every order arrives once, to the cent,
//! and stock goes back.
//!
//! Needs both systems (a cold cache takes minutes and the network) and the built components, so it runs only where
//! `STECKER_REAL` is set. `cargo xtask plugins` builds the components; `STECKER_PLUGINS` names another folder of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says where"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use stecker_model::{
    Finding, Limits, LookupItem, Name, Outcome, Page, RawRequest, ReadRequest, Record, Transformed, Verdict,
    WriteItem,
};
use stecker_real_systems::{RealSystems, RunningReal, Webhook};
use stecker_sandbox::{
    Binding, Condition, CredentialError, Credentials, Quota, Sandbox, SandboxOptions, Secret, Session,
    Storage, StorageError, StoredEntry, TracingObserver,
};

/// How long the shop may take to have its second over.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_arrives_once_and_stock_goes_back() {
    if std::env::var_os("STECKER_REAL").is_none() {
        println!(
            "skipped: set STECKER_REAL=1 to start Vendure and Tryton (the first run installs them, minutes)"
        );
        return;
    }
    let prepared = RealSystems::prepare(&|line| println!("{line}")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let real = prepared.start(dir.path()).await.unwrap();
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 8,
        ..SandboxOptions::default()
    })
    .unwrap();
    let secret = RunningReal::generated_secret();
    let shop = shop(&sandbox, &real, &secret).await;
    let erp = erp(&sandbox, &real).await;
    let mapping = mapping(&sandbox).await;

    for session in [&shop, &erp] {
        let probes = session.check().await.result.unwrap();
        assert!(probes.iter().all(|probe| probe.ok), "{probes:?}");
        assert!(!session.discover().await.result.unwrap().is_empty());
    }

    let (orders, cursor) = read_all(&shop, "orders", None).await;
    let sales = transformed(&mapping, orders).await;
    let begun = Instant::now();
    let outcomes = write_all(&erp, "sales", &sales).await;
    println!("{} sales in {:.1} s", sales.len(), begun.elapsed().as_secs_f32());
    for (sale, outcome) in sales.iter().zip(&outcomes) {
        assert!(
            matches!(outcome, Outcome::Delivered(_)),
            "{}: {outcome:?}",
            sale.key
        );
    }
    amounts_are_equal(&real).await;

    let again = write_all(&erp, "sales", &sales).await;
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Duplicate(_))),
        "{again:?}"
    );
    amounts_are_equal(&real).await;
    all_are_found(&erp, &sales).await;
    bad_sales_refuse_only_themselves(&erp, &sales[0]).await;
    amounts_are_equal(&real).await;

    stock_goes_back(&real, &shop, &erp).await;
    shipments_are_told(&erp, &sales).await;

    let pushed = a_new_order_is_announced(&real, &shop, &secret).await;
    let polled = a_new_order_is_polled(&shop, cursor, &pushed).await;
    assert_eq!(
        (polled.source_version, polled.payload),
        (pushed.source_version.clone(), pushed.payload.clone()),
        "the event's record and the poll's are one to the host"
    );
    let sale = transformed(&mapping, vec![pushed]).await;
    let outcomes = write_all(&erp, "sales", &sale).await;
    assert!(matches!(outcomes[0], Outcome::Delivered(_)), "{outcomes:?}");
    amounts_are_equal(&real).await;
    real.stop().await.unwrap();
}

async fn amounts_are_equal(real: &RunningReal) {
    let orders = real.vendure_orders().await.unwrap();
    let sales = real.tryton_sales().await.unwrap();
    assert!(orders.len() >= 60, "{} orders", orders.len());
    let amounts = |list: &[stecker_real_systems::Amount]| -> Vec<(String, String)> {
        list.iter()
            .map(|one| (one.reference.clone(), one.total.clone()))
            .collect()
    };
    assert_eq!(amounts(&sales), amounts(&orders), "each once, to the cent");
    assert!(sales.iter().all(|sale| sale.state == "processing"), "{sales:?}");
}

async fn all_are_found(erp: &Session, sales: &[Record]) {
    let item = |sale: &Record| LookupItem {
        key: sale.key.clone(),
        idempotency_key: "k".to_owned(),
        source_version: sale.source_version.clone(),
    };
    let mut items: Vec<LookupItem> = sales.iter().map(item).collect();
    items.push(LookupItem {
        key: "NEVER-ORDERED".to_owned(),
        ..items[0].clone()
    });
    let mut findings = erp.lookup("sales", items).await.result.unwrap();
    assert_eq!(findings.pop(), Some(Finding::Absent));
    assert!(
        findings
            .iter()
            .all(|finding| matches!(finding, Finding::Present { .. })),
        "{findings:?}"
    );
}

/// A batch with some that are not what they say or that Tryton does not take: nothing is left of them, and the rest is done.
async fn bad_sales_refuse_only_themselves(erp: &Session, good: &Record) {
    let with = |change: &dyn Fn(&mut Value), reference: &str| {
        let mut payload: Value = serde_json::from_str(&good.payload).unwrap();
        payload["reference"] = json!(reference);
        change(&mut payload);
        Record {
            key: reference.to_owned(),
            payload: payload.to_string(),
            ..good.clone()
        }
    };
    let batch = [
        with(&|payload| payload["total"] = json!("0.01"), "BAD-TOTAL"),
        with(
            &|payload| payload["invoice_address"]["country"] = json!("ZZ"),
            "BAD-COUNTRY",
        ),
        with(&|payload| payload["currency"] = json!("USD"), "BAD-CURRENCY"),
        good.clone(),
    ];
    let outcomes = write_all(erp, "sales", &batch).await;
    let codes: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Rejected(rejection) => rejection.code.as_str(),
            Outcome::Duplicate(_) => "duplicate",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        codes,
        ["unbalanced", "unknown-country", "currency-differs", "duplicate"]
    );
}

async fn stock_goes_back(real: &RunningReal, shop: &Session, erp: &Session) {
    let before = real.vendure_stock().await.unwrap();
    let (levels, cursor) = read_all(erp, "stock", None).await;
    assert_eq!(
        levels.len(),
        before.len(),
        "the products that were missing came with the orders"
    );
    let outcomes = write_all(shop, "stock", &levels).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Delivered(_))),
        "{outcomes:?}"
    );
    assert_eq!(
        real.vendure_stock().await.unwrap(),
        real.tryton_stock().await.unwrap()
    );
    let again = write_all(shop, "stock", &levels).await;
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Duplicate(_))),
        "{again:?}"
    );

    let (changes, _) = read_all(erp, "stock", cursor).await;
    let of = |records: &[Record]| -> BTreeMap<String, Value> {
        let levels = records.iter().map(|record| {
            let payload: Value = serde_json::from_str(&record.payload).unwrap();
            (record.key.clone(), payload["quantity"].clone())
        });
        levels.collect()
    };
    let all = of(&levels);
    for (sku, quantity) in of(&changes) {
        assert_eq!(
            all[&sku], quantity,
            "nothing was sent, so the quantity on hand is as it was"
        );
    }
}

async fn shipments_are_told(erp: &Session, sales: &[Record]) {
    let (shipments, cursor) = read_all(erp, "shipments", None).await;
    assert_eq!(shipments.len(), sales.len());
    let waiting = |record: &Record| record.payload.contains(r#""shipment_state":"waiting""#);
    assert!(shipments.iter().all(waiting), "{:?}", shipments[0]);
    let (again, _) = read_all(erp, "shipments", cursor).await;
    assert!(again.is_empty(), "{again:?}");
}

/// Returns the record that the event brought.
async fn a_new_order_is_announced(real: &RunningReal, shop: &Session, secret: &str) -> Record {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let call = tokio::task::spawn_blocking(move || one_call(&listener));
    let hook = Webhook {
        url,
        secret: secret.to_owned(),
    };
    real.set_webhook(Some(&hook)).await.unwrap();
    let codes = real.place_orders(1).await.unwrap();
    let call = call.await.unwrap();
    real.set_webhook(None).await.unwrap();

    let mut forged = call.clone();
    forged.body.push(b' ');
    let refused = shop.receive(forged).await.result.unwrap();
    assert_eq!(refused.verdict, Verdict::Refuse);
    let mut received = shop.receive(call).await.result.unwrap();
    assert_eq!(received.verdict, Verdict::Accept, "{received:?}");
    let record = received.records.pop().unwrap();
    assert_eq!(record.key, codes[0]);
    record
}

/// The stream goes on with the order as soon as its second is over, and with nothing else.
async fn a_new_order_is_polled(shop: &Session, mut cursor: Option<String>, expected: &Record) -> Record {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (mut records, next) = read_all(shop, "orders", cursor).await;
        cursor = next;
        if let Some(record) = records.pop() {
            assert!(records.is_empty(), "{records:?}");
            assert_eq!(record.key, expected.key);
            return record;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the order {} was not read within {PATIENCE:?}", expected.key);
}

/// One request, answered with 204.
fn one_call(listener: &TcpListener) -> RawRequest {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = stream.read(&mut part).unwrap();
        assert!(n > 0, "the connection ended in the middle of a request");
        bytes.extend_from_slice(&part[..n]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let headers: Vec<(String, String)> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").unwrap();
        let length: usize = length.1.parse().unwrap();
        if bytes.len() >= end + 4 + length {
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .unwrap();
            return RawRequest {
                method: "POST".to_owned(),
                path: String::new(),
                query: String::new(),
                headers,
                body: bytes[end + 4..end + 4 + length].to_vec(),
            };
        }
    }
}

/// All that there is, in pages of 25, from a cursor on.
async fn read_all(
    session: &Session,
    stream: &str,
    mut cursor: Option<String>,
) -> (Vec<Record>, Option<String>) {
    let mut records = Vec::new();
    loop {
        let request = ReadRequest {
            stream: stream.to_owned(),
            cursor: cursor.clone(),
            max_records: 25,
            max_bytes: 1 << 20,
            deadline_ms: 60_000,
            options: Vec::new(),
        };
        let Page {
            records: some,
            cursor: next,
            more,
            ..
        } = session.read(request).await.result.unwrap();
        records.extend(some);
        cursor = next;
        if !more {
            return (records, cursor);
        }
    }
}

async fn transformed(mapping: &Session, records: Vec<Record>) -> Vec<Record> {
    let answers = mapping.apply(records).await.result.unwrap();
    let emitted = answers.into_iter().flat_map(|answer| match answer {
        Transformed::Emit(records) => records,
        other => panic!("{other:?}"),
    });
    emitted.collect()
}

/// In batches of 32, one at a time.
async fn write_all(session: &Session, stream: &str, records: &[Record]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for batch in records.chunks(32) {
        let items = batch
            .iter()
            .map(|record| WriteItem {
                record: record.clone(),
                idempotency_key: format!("{}:{}", record.key, record.source_version),
                attempt: 1,
            })
            .collect();
        outcomes.extend(session.write(stream, items).await.result.unwrap());
    }
    outcomes
}

async fn shop(sandbox: &Sandbox, real: &RunningReal, webhook_secret: &str) -> Session {
    let config = json!({ "admin_api_url": real.vendure_admin_url(), "page_size": 20, "settle_seconds": 2 });
    let secrets = BTreeMap::from([
        ("api".to_owned(), Secret::new(real.vendure_api_key().to_owned())),
        ("webhook".to_owned(), Secret::new(webhook_secret.to_owned())),
    ]);
    bound(sandbox, "vendure", &config, secrets).await
}

async fn erp(sandbox: &Sandbox, real: &RunningReal) -> Session {
    let config = json!({
        "url": real.tryton_url(), "company": real.tryton_company(), "payment_term": "Vorkasse", "category": "Waren",
    });
    let user = Secret::with_username(real.tryton_user().to_owned(), real.tryton_password().to_owned());
    bound(
        sandbox,
        "tryton",
        &config,
        BTreeMap::from([("rpc".to_owned(), user)]),
    )
    .await
}

async fn mapping(sandbox: &Sandbox) -> Session {
    let program = include_str!("../assets/orders-to-sales.jq");
    bound(sandbox, "jq", &json!({ "program": program }), BTreeMap::new()).await
}

/// The component, with all that it asks for.
async fn bound(
    sandbox: &Sandbox,
    plugin: &str,
    config: &Value,
    secrets: BTreeMap<String, Secret>,
) -> Session {
    let folder = std::env::var_os("STECKER_PLUGINS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"),
        PathBuf::from,
    );
    let path = folder.join(format!("stecker-{plugin}-0.1.0.wasm"));
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo xtask plugins`", path.display()));
    let release = sandbox.load(bytes).await.unwrap();
    let grants = release
        .inspection()
        .manifest
        .capabilities
        .as_grants(config)
        .unwrap();
    release
        .bind(Binding {
            tenant: "test".parse::<Name>().unwrap(),
            connection: plugin.parse::<Name>().unwrap(),
            config: config.to_string(),
            grants,
            limits: Limits::default(),
            http_bytes_today: 0,
            tenant_limits: stecker_model::TenantLimits::default(),
            instances: stecker_model::Instances::Fresh,
            credentials: Arc::new(Known(secrets)),
            storage: Arc::new(InMemory::default()),
            blobs: Arc::new(stecker_sandbox::NoBlobs),
            observer: Arc::new(TracingObserver),
        })
        .unwrap()
}

struct Known(BTreeMap<String, Secret>);

#[async_trait]
impl Credentials for Known {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        Ok(self.0[name].clone())
    }
}

#[derive(Default)]
struct InMemory(Mutex<BTreeMap<String, StoredEntry>>);

#[async_trait]
impl Storage for InMemory {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        _always: Condition,
        _endless: Quota,
    ) -> Result<u64, StorageError> {
        let mut entries = self.0.lock().unwrap();
        let version = entries.get(key).map_or(1, |entry| entry.version + 1);
        entries.insert(key.to_owned(), StoredEntry { value, version });
        Ok(version)
    }

    async fn delete(&self, key: &str, _always: Condition) -> Result<bool, StorageError> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        let entries = self.0.lock().unwrap();
        let keys = entries
            .keys()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit as usize).cloned().collect())
    }
}
