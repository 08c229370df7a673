//! The sender on virtual time: a real store, a real receiver on loopback, and weeks that pass at once.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicU16, Ordering},
};

use stecker_model::{
    TenantLimits,
    api::{DeliveryFilter, DeliveryState, WebhookInfo},
};
use stecker_sandbox::{Sandbox, SandboxOptions};
use stecker_store::{MasterKey, MasterKeySource, MasterKeys, StoreOptions, sqlite_url};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

struct At(AtomicI64);

impl Clock for At {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct OneKey(String);

impl MasterKeySource for OneKey {
    fn load(&self) -> Result<Option<MasterKeys>, VaultError> {
        Ok(MasterKeys::parse(&self.0).ok())
    }
    fn create(&self) -> Result<(), VaultError> {
        Ok(())
    }
    fn add(&self) -> Result<(), VaultError> {
        Ok(())
    }
    fn forget_old(&self) -> Result<(), VaultError> {
        Ok(())
    }
}

/// Answers every request with a status that can be changed, and keeps the ids that came.
struct Receiver {
    address: String,
    status: Arc<AtomicU16>,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap().to_string(),
            status: Arc::new(AtomicU16::new(status)),
            ids: Arc::default(),
        };
        let (status, ids) = (Arc::clone(&receiver.status), Arc::clone(&receiver.ids));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = String::new();
                // A body is JSON of one object, and nothing else ends like it.
                while !request.ends_with("}}") {
                    let mut piece = [0; 1_024];
                    let length = socket.read(&mut piece).await.unwrap();
                    request.push_str(std::str::from_utf8(&piece[..length]).unwrap());
                }
                let id = request.split("webhook-id: ").nth(1).unwrap();
                ids.lock().unwrap().push(id.lines().next().unwrap().to_owned());
                let status = status.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        receiver
    }
}

struct Scene {
    clock: Arc<At>,
    store: Store,
    outgoing: Outgoing,
    tenant: Name,
    webhook: Name,
    flow: Name,
    _folder: TempDir,
}

impl Scene {
    async fn set_up(receiver: &Receiver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::generate().unwrap().to_text().to_string();
        let store = Store::open(
            &sqlite_url(&folder.path().join("store.db")),
            StoreOptions::default(),
        )
        .await
        .unwrap()
        .with_master_key(Arc::new(OneKey(key)));
        let sandbox = Sandbox::new(SandboxOptions {
            max_instances: 1,
            ..SandboxOptions::default()
        })
        .unwrap();
        let clock = Arc::new(At(AtomicI64::new(START)));
        let outgoing = Outgoing::new(
            store.clone(),
            sandbox.poster(),
            Arc::clone(&clock) as _,
            "node-1".to_owned(),
        );
        let scene = Self {
            clock,
            store,
            outgoing,
            tenant: Name::default_tenant(),
            webhook: "ops".parse().unwrap(),
            flow: "orders".parse().unwrap(),
            _folder: folder,
        };
        scene.fill(receiver).await;
        scene
    }

    async fn fill(&self, receiver: &Receiver) {
        let limits = TenantLimits {
            receivers: vec![HttpGrant {
                host: receiver.address.clone(),
                schemes: vec!["http".to_owned()],
                ..HttpGrant::default()
            }],
            ..TenantLimits::default()
        };
        let tenant = &self.tenant;
        self.store
            .limit_tenant(tenant, &limits, "ada", START)
            .await
            .unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let connection = |name: &str| {
            serde_json::from_value(serde_json::json!({ "name": name, "plugin": { "digest": digest } }))
                .unwrap()
        };
        let flow = serde_json::from_value(serde_json::json!({
            "name": "orders",
            "source": { "connection": "shop", "stream": "orders" },
            "destination": { "connection": "erp", "stream": "orders" },
        }))
        .unwrap();
        let connections = [connection("shop"), connection("erp")];
        self.store
            .apply(tenant, &connections, &[flow], "ada", START)
            .await
            .unwrap();
        let new = NewWebhook {
            name: self.webhook.clone(),
            url: format!("http://{}/hook", receiver.address),
            events: Vec::new(),
            flows: Vec::new(),
        };
        self.outgoing.add(tenant, &new, "ada").await.unwrap();
    }

    fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    fn go_to(&self, moment: i64) {
        self.clock.0.store(moment, Ordering::SeqCst);
    }

    /// Something happens.
    async fn pause(&self) {
        self.store
            .pause_flow(&self.tenant, &self.flow, "a test", "ada", self.now())
            .await
            .unwrap();
    }

    async fn resume(&self) {
        self.store
            .resume_flow(&self.tenant, &self.flow, "ada", self.now())
            .await
            .unwrap();
    }

    async fn send_due(&self) {
        let stop = CancellationToken::new();
        assert!(self.outgoing.send_due(&self.tenant, &self.webhook, &stop).await);
    }

    async fn deliveries(&self) -> Vec<stecker_model::api::WebhookDelivery> {
        let filter = DeliveryFilter::default();
        let mut all = self
            .store
            .webhook_deliveries(&self.tenant, &self.webhook, &filter)
            .await
            .unwrap();
        all.reverse();
        all
    }

    async fn info(&self) -> WebhookInfo {
        let found = self.store.webhook(&self.tenant, &self.webhook).await;
        found.unwrap().unwrap()
    }
}

#[tokio::test]
async fn an_event_is_given_up_after_three_days_and_its_webhook_after_five() {
    let receiver = Receiver::start(500).await;
    let scene = Scene::set_up(&receiver).await;
    scene.pause().await;
    let mut attempts = 0;
    while let Some(next) = scene.deliveries().await[0].next_try_at {
        scene.go_to(next - 1);
        scene.send_due().await;
        assert_eq!(
            receiver.ids.lock().unwrap().len(),
            attempts,
            "not before its time"
        );
        scene.go_to(next);
        scene.send_due().await;
        attempts += 1;
    }
    let given_up = scene.deliveries().await.remove(0);
    assert_eq!((given_up.state, attempts), (DeliveryState::Failed, 10));
    assert!(
        given_up
            .attempts
            .iter()
            .all(|attempt| attempt.status == Some(500))
    );
    let took = (scene.now() - START) / HOUR;
    assert!((75..=90).contains(&took), "{took} hours");
    assert!(scene.info().await.enabled);

    let failing_since = scene.info().await.failing_since.unwrap();
    scene.go_to(failing_since + 5 * 24 * HOUR);
    scene.resume().await;
    scene.send_due().await;
    let info = scene.info().await;
    assert!(!info.enabled && info.disabled.unwrap().reason.contains("500"));
    assert_eq!(info.waiting, 1, "the event waits for a person");
    let log = scene.store.audit_log(&scene.tenant, 1).await.unwrap();
    assert_eq!(
        (log[0].action.as_str(), log[0].actor.as_str()),
        ("webhook.disable", "host")
    );

    receiver.status.store(204, Ordering::SeqCst);
    scene.go_to(scene.now() + 24 * HOUR);
    scene.send_due().await;
    assert_eq!(
        scene.info().await.waiting,
        1,
        "nothing goes to a webhook that is disabled"
    );
    scene
        .store
        .enable_webhook(&scene.tenant, &scene.webhook, "ada", scene.now())
        .await
        .unwrap();
    scene.send_due().await;
    let arrived = scene.deliveries().await.remove(1);
    assert_eq!(arrived.state, DeliveryState::Delivered);
    let ids = receiver.ids.lock().unwrap().clone();
    assert_eq!((ids.len(), &ids[10], &ids[11]), (12, &arrived.id, &arrived.id));
    assert!(
        ids[..10].iter().all(|id| *id == given_up.id),
        "always the same id"
    );
    scene.store.close().await;
}

#[tokio::test]
async fn a_node_that_was_killed_leaves_its_events_to_others() {
    let receiver = Receiver::start(204).await;
    let scene = Scene::set_up(&receiver).await;
    scene.pause().await;
    let until = scene.now() + millis(CLAIM);
    let claimed = scene
        .store
        .claim_events(
            (&scene.tenant, &scene.webhook),
            "node-2",
            scene.now(),
            until,
            BATCH,
        )
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    scene.go_to(until - 1);
    scene.send_due().await;
    assert!(
        receiver.ids.lock().unwrap().is_empty(),
        "the other one may still be at it"
    );
    scene.go_to(until);
    scene.send_due().await;
    assert_eq!(*receiver.ids.lock().unwrap(), [claimed[0].id.clone()]);
    scene.store.close().await;
}

#[tokio::test]
async fn what_the_limits_no_longer_allow_is_not_sent_and_says_so() {
    let receiver = Receiver::start(204).await;
    let scene = Scene::set_up(&receiver).await;
    scene.pause().await;
    scene
        .store
        .limit_tenant(&scene.tenant, &TenantLimits::default(), "ada", START)
        .await
        .unwrap();
    scene.send_due().await;
    assert!(receiver.ids.lock().unwrap().is_empty());
    let refused = scene.deliveries().await.remove(0);
    let error = refused.attempts[0].error.as_deref().unwrap();
    assert!(error.contains("[[receivers]]"), "{error}");
    scene.store.close().await;
}
