//! Random lives of a flow, held against what must always be true of it.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use stecker_model::{
    OnQuarantine, RecordState,
    api::{QuarantineSelection, RecordFilter, RecordSummary},
};
use stecker_store::{Lease, SettledState, StoreError};

use crate::world::{START, World, delivered, digest, name, reason, record, scenarios, settlement};

scenarios!(whatever_happens_nothing_is_lost_and_keys_keep_their_order);

#[derive(Debug, Clone)]
enum Step {
    /// A page of (key, version).
    Commit(Vec<(u8, u8)>),
    /// Up to this many due records are begun together.
    Begin(usize),
    /// The oldest record being sent ends so.
    Settle(End),
    /// Another node takes the flow; the one before goes on trying.
    TakeOver,
    Retry,
    Discard,
    Wait,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Delivered,
    Retry,
    Unknown,
    Quarantined,
    Dropped,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        4 => Just(End::Delivered), 2 => Just(End::Retry), 1 => Just(End::Unknown), 1 => Just(End::Quarantined),
        1 => Just(End::Dropped),
    ];
    let step = prop_oneof![
        3 => prop::collection::vec((0..3_u8, 0..9_u8), 0..5).prop_map(Step::Commit),
        5 => (1..4_usize).prop_map(Step::Begin),
        6 => end.prop_map(Step::Settle),
        1 => Just(Step::TakeOver),
        1 => Just(Step::Retry),
        1 => Just(Step::Discard),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

struct Life {
    world: World,
    policy: OnQuarantine,
    lease: Lease,
    stale: Option<Lease>,
    now: i64,
    accepted: u64,
    newest: BTreeMap<u8, u8>,
    /// The number of the newest delivered record of each key.
    delivered: BTreeMap<String, i64>,
}

impl Life {
    async fn records(&self) -> Vec<RecordSummary> {
        let filter = RecordFilter {
            limit: Some(1_000),
            ..RecordFilter::default()
        };
        self.world
            .store
            .list_records(&self.world.tenant, &filter)
            .await
            .unwrap()
            .records
    }

    async fn due(&self) -> Vec<i64> {
        let store = &self.world.store;
        let due = store
            .due(&self.world.tenant, &name("first"), self.policy, self.now, 100)
            .await
            .unwrap();
        due.iter().map(|record| record.seq).collect()
    }

    async fn step(&mut self, step: &Step) {
        let store = self.world.store.clone();
        let first = name("first");
        match step {
            Step::Commit(page) => {
                let records = page
                    .iter()
                    .map(|(key, version)| record(&format!("k{key}"), &version.to_string()))
                    .collect();
                let mut fresh = 0;
                for (key, version) in page {
                    if self.newest.get(key).is_none_or(|newest| newest < version) {
                        self.newest.insert(*key, *version);
                        fresh += 1;
                    }
                }
                let committed = self.world.commit(&self.lease, records, "c").await.unwrap();
                assert_eq!(
                    (committed.accepted, committed.duplicates),
                    (fresh, page.len() as u64 - fresh)
                );
                self.accepted += fresh;
            }
            Step::Begin(many) => {
                let seqs: Vec<_> = self.due().await.into_iter().take(*many).collect();
                self.in_order(&seqs).await;
                store
                    .begin(&self.lease, &first, &seqs, &digest('d'), self.now)
                    .await
                    .unwrap();
            }
            Step::Settle(end) => self.settle(*end).await,
            Step::TakeOver => {
                let before = self.records().await;
                self.now += 100_000;
                let owner = format!("node-{}", self.now);
                let lease = self.world.take_over(&owner, self.now).await;
                self.stale = Some(std::mem::replace(&mut self.lease, lease));
                let sending = before
                    .iter()
                    .filter(|record| record.state == RecordState::Sending)
                    .count();
                let found = store
                    .recover(&self.lease, &first, self.now, self.now)
                    .await
                    .unwrap();
                assert_eq!(found, sending as u64);
            }
            Step::Retry => {
                store
                    .retry_quarantined(
                        &self.world.tenant,
                        &QuarantineSelection::default(),
                        "ada",
                        self.now,
                    )
                    .await
                    .unwrap();
            }
            Step::Discard => {
                let oldest = self
                    .records()
                    .await
                    .into_iter()
                    .find(|record| record.state == RecordState::Quarantined);
                let Some(oldest) = oldest else { return };
                let selection = QuarantineSelection {
                    ids: vec![oldest.id],
                    ..QuarantineSelection::default()
                };
                let gone = store
                    .discard_quarantined(&self.world.tenant, &selection, "enough", "ada", self.now)
                    .await;
                assert_eq!(gone.unwrap().records, 1);
            }
            Step::Wait => self.now += 1_000,
        }
        if let Some(stale) = &self.stale {
            let late = self.world.commit(stale, vec![record("late", "9")], "stale").await;
            assert!(matches!(late, Err(StoreError::Fenced { .. })));
        }
    }

    async fn settle(&mut self, end: End) {
        let sending = self
            .records()
            .await
            .into_iter()
            .find(|record| record.state == RecordState::Sending);
        let Some(RecordSummary { id, key, .. }) = sending else {
            return;
        };
        let to = match end {
            End::Delivered => delivered(),
            End::Retry => SettledState::Retry {
                at: self.now + 1_500,
                reason: reason("transient"),
            },
            End::Unknown => SettledState::Unknown {
                at: self.now,
                reason: reason("timeout"),
            },
            End::Quarantined => SettledState::Quarantined {
                reason: reason("data"),
            },
            End::Dropped => SettledState::Dropped {
                reason: reason("boring"),
            },
        };
        let settlements = vec![settlement(id.seq, to)];
        self.world
            .store
            .settle(&self.lease, &name("first"), settlements, self.now)
            .await
            .unwrap();
        if matches!(end, End::Delivered) {
            let before = self.delivered.insert(key.clone(), id.seq);
            if self.policy == OnQuarantine::Hold {
                assert!(
                    before.is_none_or(|before| before < id.seq),
                    "{key} was delivered out of order"
                );
            }
        }
    }

    /// No record is begun while an earlier one of its key is on its way, or is held back by quarantine.
    async fn in_order(&self, seqs: &[i64]) {
        let records = self.records().await;
        for seq in seqs {
            let own = records.iter().find(|record| record.id.seq == *seq).unwrap();
            for earlier in records
                .iter()
                .filter(|other| other.id.seq < *seq && other.key == own.key)
            {
                let held = self.policy == OnQuarantine::Hold && earlier.state == RecordState::Quarantined;
                assert!(
                    !earlier.state.is_open() && !held,
                    "{own:?} is due before {earlier:?}"
                );
            }
        }
    }

    /// The account is complete, and the numbers kept beside it agree with it.
    async fn account(&self) {
        let mut found: BTreeMap<RecordState, u64> =
            RecordState::ALL.into_iter().map(|state| (state, 0)).collect();
        for record in self.records().await {
            *found.entry(record.state).or_default() += 1;
        }
        let counts = self
            .world
            .store
            .counts(&self.world.tenant, &name("first"))
            .await
            .unwrap();
        assert_eq!(counts, found);
        assert_eq!(counts.values().sum::<u64>(), self.accepted);
    }

    /// From here on everything goes well: then everything ends.
    async fn drain(&mut self) {
        loop {
            self.step(&Step::TakeOver).await;
            self.step(&Step::Retry).await;
            let seqs = self.due().await;
            if seqs.is_empty() {
                break;
            }
            self.in_order(&seqs).await;
            self.step(&Step::Begin(100)).await;
            for _ in seqs {
                self.settle(End::Delivered).await;
            }
        }
        assert_eq!(
            self.world
                .store
                .waiting(&self.world.tenant, &name("first"))
                .await
                .unwrap(),
            0
        );
        assert_eq!(self.world.count(RecordState::Quarantined).await, 0);
    }
}

async fn whatever_happens_nothing_is_lost_and_keys_keep_their_order(world: World) {
    let mut runner = TestRunner::new(Config::default());
    for case in 0..24 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let world = world.for_tenant(&format!("tenant-{case}")).await;
        let lease = world.lease("node-1").await;
        let policy = if case % 2 == 0 {
            OnQuarantine::Hold
        } else {
            OnQuarantine::Continue
        };
        // A failure is told with the life that led to it.
        println!("{policy:?} {steps:?}");
        let mut life = Life {
            world,
            policy,
            lease,
            stale: None,
            now: START,
            accepted: 0,
            newest: BTreeMap::new(),
            delivered: BTreeMap::new(),
        };
        for step in &steps {
            life.step(step).await;
            life.account().await;
        }
        life.drain().await;
        life.account().await;
    }
}
