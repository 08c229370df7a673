//! A database for one scenario, and the things that scenarios are about.

use std::{future::Future, sync::Arc};

use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use stecker_model::{
    ConnectionSpec, Digest, FlowSpec, Name, Operation, Record, RecordId, RecordState, api::Reason,
};
use stecker_store::{
    CommitPage, Committed, DueRecord, Lease, NewRecord, SettledState, Settlement, Store, StoreError,
    StoreOptions, sqlite_url,
};

/// Runs a scenario on both databases.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::world::World::sqlite(super::$name).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::world::World::postgres(super::$name).await;
            })+
        }
    };
}
pub(crate) use scenarios;

/// The time at which scenarios begin.
pub(crate) const START: i64 = 1_700_000_000_000;
/// Long enough for every scenario.
pub(crate) const TTL: i64 = 60_000;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) url: Arc<str>,
    pub(crate) tenant: Name,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

pub(crate) fn record(key: &str, version: &str) -> NewRecord {
    NewRecord {
        record: Record {
            stream: "orders".to_owned(),
            key: key.to_owned(),
            operation: Operation::Upsert,
            payload: format!(r#"{{"key":"{key}","version":"{version}"}}"#),
            before: None,
            event_time: Some(1_699_999_999_000),
            source_version: version.to_owned(),
            attributes: vec![("origin".to_owned(), "test".to_owned())],
        },
    }
}

pub(crate) fn reason(code: &str) -> Reason {
    Reason {
        code: code.to_owned(),
        message: format!("because of {code}"),
        path: Some("/key".to_owned()),
    }
}

pub(crate) fn connection_spec(connection: &str) -> ConnectionSpec {
    serde_json::from_value(serde_json::json!({ "name": connection, "plugin": { "digest": digest('a') } }))
        .unwrap()
}

pub(crate) fn flow_spec(flow: &str, source: &str) -> FlowSpec {
    serde_json::from_value(serde_json::json!({
        "name": flow,
        "source": { "connection": source, "stream": "orders" },
        "destination": { "connection": "erp", "stream": "orders" },
    }))
    .unwrap()
}

pub(crate) fn settlement(seq: i64, to: SettledState) -> Settlement {
    let outcome = match &to {
        SettledState::Delivered { duplicate: true, .. } => "duplicate",
        SettledState::Delivered { .. } => "delivered",
        SettledState::Retry { .. } => "retry",
        SettledState::Unknown { .. } => "unknown",
        SettledState::Quarantined { .. } => "rejected",
        SettledState::Dropped { .. } => "dropped",
    };
    Settlement {
        seq,
        to,
        outputs: None,
        outcome: outcome.to_owned(),
        request: None,
        answer: None,
        tries: None,
    }
}

pub(crate) fn delivered() -> SettledState {
    SettledState::Delivered {
        external_id: Some("erp-1".to_owned()),
        duplicate: false,
    }
}

impl World {
    /// Keeps a lease until a moment; `false` if somebody has taken the unit over.
    pub(crate) async fn renew(&self, lease: &Lease, until: i64) -> bool {
        let held = (lease.tenant.clone(), lease.unit.clone(), lease.epoch);
        let kept = self
            .store
            .renew_all(&lease.owner, std::slice::from_ref(&held), until)
            .await
            .unwrap();
        kept == [held]
    }

    /// Runs a scenario on a fresh file.
    pub(crate) async fn sqlite<F: Future<Output = ()> + Send + 'static>(scenario: fn(Self) -> F) {
        let folder = tempfile::tempdir().unwrap();
        let world = Self::open(&sqlite_url(&folder.path().join("a store.db"))).await;
        let ended = tokio::spawn(scenario(world.clone())).await;
        world.store.close().await;
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Runs a scenario on a fresh database of the server that is given for tests, if one is.
    pub(crate) async fn postgres<F: Future<Output = ()> + Send + 'static>(scenario: fn(Self) -> F) {
        let Ok(server) = std::env::var("STECKER_TEST_POSTGRES") else {
            println!("skipped: STECKER_TEST_POSTGRES names no server");
            return;
        };
        sqlx::any::install_default_drivers();
        let database = format!("stecker_{}", uuid::Uuid::now_v7().simple());
        administer(&server, format!("CREATE DATABASE {database}")).await;
        let url = server
            .rsplit_once('/')
            .map(|(server, _)| format!("{server}/{database}"))
            .unwrap();
        let world = Self::open(&url).await;
        let ended = tokio::spawn(scenario(world.clone())).await;
        world.store.close().await;
        administer(&server, format!("DROP DATABASE {database} WITH (FORCE)")).await;
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    async fn open(url: &str) -> Self {
        let options = StoreOptions {
            max_connections: 4,
            ..StoreOptions::default()
        };
        let store = Store::open(url, options).await.unwrap();
        let world = Self {
            store,
            url: url.into(),
            tenant: name("acme"),
        };
        world.set_up().await;
        world
    }

    /// Two connections and two flows between them.
    async fn set_up(&self) {
        self.store.ensure_tenant(&self.tenant, START).await.unwrap();
        let connections = ["shop", "erp"].map(connection_spec);
        let flows = ["first", "second"].map(|flow| flow_spec(flow, "shop"));
        self.store
            .apply(&self.tenant, &connections, &flows, "ada", START)
            .await
            .unwrap();
    }

    /// The same things for another tenant.
    pub(crate) async fn for_tenant(&self, tenant: &str) -> Self {
        let world = Self {
            tenant: name(tenant),
            ..self.clone()
        };
        world.set_up().await;
        world
    }

    pub(crate) async fn lease(&self, owner: &str) -> Lease {
        let lease = self
            .store
            .acquire(&self.tenant, "flow/first", owner, START, TTL)
            .await;
        lease.unwrap().unwrap()
    }

    /// Another node takes the flow after the lease has run out.
    pub(crate) async fn take_over(&self, owner: &str, now: i64) -> Lease {
        let lease = self
            .store
            .acquire(&self.tenant, "flow/first", owner, now + TTL + 1, TTL)
            .await;
        lease.unwrap().unwrap()
    }

    pub(crate) async fn commit(
        &self,
        lease: &Lease,
        records: Vec<NewRecord>,
        cursor: &str,
    ) -> Result<Committed, StoreError> {
        let page = CommitPage {
            flow: &name("first"),
            stream: "orders",
            release: &digest('a'),
            read_at: None,
            records,
            cursor: Some(cursor.to_owned()),
            caught_up: true,
            run: 0,
            now: START,
        };
        self.store.commit_page(lease, page).await
    }

    pub(crate) async fn due(&self, now: i64) -> Vec<DueRecord> {
        let hold = stecker_model::OnQuarantine::Hold;
        self.store
            .due(&self.tenant, &name("first"), hold, now, 100)
            .await
            .unwrap()
    }

    pub(crate) async fn due_seqs(&self, now: i64) -> Vec<i64> {
        self.due(now).await.iter().map(|record| record.seq).collect()
    }

    pub(crate) async fn begin(&self, lease: &Lease, seqs: &[i64]) -> Result<(), StoreError> {
        self.store
            .begin(lease, &name("first"), seqs, &digest('d'), START + 1)
            .await
    }

    pub(crate) async fn settle(&self, lease: &Lease, seq: i64, to: SettledState) -> Result<(), StoreError> {
        self.store
            .settle(lease, &name("first"), vec![settlement(seq, to)], START + 2)
            .await
    }

    /// Sends a record and writes down what became of it.
    pub(crate) async fn deliver(&self, lease: &Lease, seq: i64, to: SettledState) {
        self.begin(lease, &[seq]).await.unwrap();
        self.settle(lease, seq, to).await.unwrap();
    }

    pub(crate) async fn state(&self, seq: i64) -> RecordState {
        self.detail(seq).await.summary.state
    }

    pub(crate) async fn detail(&self, seq: i64) -> stecker_model::api::RecordDetail {
        let id = RecordId {
            flow: name("first"),
            seq,
        };
        self.store.record(&self.tenant, &id).await.unwrap().unwrap()
    }

    pub(crate) async fn count(&self, state: RecordState) -> u64 {
        self.store.counts(&self.tenant, &name("first")).await.unwrap()[&state]
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = AnyConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
