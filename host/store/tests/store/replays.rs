//! Replays: a frozen set, queued again once, in order, and never over something newer.

use std::collections::BTreeMap;

use stecker_model::{
    RecordState,
    api::{ReplayInfo, ReplaySelection, ReplaySkipped, ReplayState},
};
use stecker_store::{Fed, Lease, NewReplay, SettledState, StoreError};

use crate::world::{START, World, delivered, flow_spec, name, reason, record, scenarios};

scenarios!(
    a_range_is_sent_again_with_the_same_keys,
    a_newer_state_is_never_overwritten_without_saying_so,
    a_newer_state_counts_whichever_source_it_came_from,
    all_versions_wait_for_what_is_on_its_way,
    what_is_open_or_gone_is_left_out_and_counted,
    a_kill_between_any_two_pieces_neither_doubles_nor_skips,
);

pub(crate) fn selection() -> ReplaySelection {
    ReplaySelection {
        flow: name("first"),
        since: None,
        until: None,
        key: None,
        from_seq: Some(1),
        to_seq: None,
        states: Vec::new(),
        all_versions: false,
    }
}

/// Delivers `count` records of keys k1, k2, …
pub(crate) async fn delivered_records(world: &World, count: i64) -> Lease {
    let lease = world.lease("node-1").await;
    let page = (1..=count).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for seq in 1..=count {
        world.deliver(&lease, seq, delivered()).await;
    }
    lease
}

impl World {
    pub(crate) async fn replay(&self, job: &str, selection: &ReplaySelection) -> ReplayInfo {
        let (job, tenant) = (name(job), &self.tenant);
        let new = NewReplay {
            name: &job,
            selection,
            reason: "the ERP was restored",
            actor: "ada",
            rate: 100,
        };
        self.store.create_replay(tenant, new, START + 100).await.unwrap();
        while self
            .store
            .collect_replay(tenant, &job, START + 100)
            .await
            .unwrap()
        {}
        self.job(job.as_str()).await
    }

    pub(crate) async fn job(&self, job: &str) -> ReplayInfo {
        self.store
            .replay(&self.tenant, &name(job))
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn feed(&self, lease: &Lease, job: &str, limit: u32) -> Fed {
        self.store
            .feed_replay(lease, &name("first"), &name(job), limit, START + 200)
            .await
            .unwrap()
    }
}

async fn a_range_is_sent_again_with_the_same_keys(world: World) {
    let lease = delivered_records(&world, 4).await;
    let keys: Vec<_> = [2, 3].map(|seq| (seq, world.detail(seq))).into();
    let mut before = Vec::new();
    for (seq, detail) in keys {
        before.push((seq, detail.await.idempotency_key));
    }
    let retried = world.store.retried(&world.tenant, &name("first")).await.unwrap();
    let range = ReplaySelection {
        from_seq: Some(2),
        to_seq: Some(3),
        ..selection()
    };
    let job = world.replay("again", &range).await;
    assert_eq!(
        (job.total, job.left, job.collecting, job.state),
        (2, 2, false, ReplayState::Running)
    );
    assert_eq!(world.due_seqs(START + 200).await, Vec::<i64>::new());
    let fed = world.feed(&lease, "again", 10).await;
    assert_eq!((fed.queued, fed.skipped, fed.done), (2, 0, true));
    let due = world.due(START + 200).await;
    let queued: Vec<_> = due
        .iter()
        .map(|due| (due.seq, due.idempotency_key.clone()))
        .collect();
    assert_eq!(queued, before);
    assert_eq!(due[0].state, RecordState::Queued);
    assert_eq!((due[0].attempts, due[0].attempts_since_reset), (1, 0));
    let job = world.job("again").await;
    assert_eq!((job.queued, job.left, job.state), (2, 0, ReplayState::Done));
    assert_eq!(job.not_done, BTreeMap::from([(RecordState::Queued, 2)]));
    assert_eq!(world.count(RecordState::Delivered).await, 2);
    for seq in [2, 3] {
        let there = SettledState::Delivered {
            external_id: None,
            duplicate: true,
        };
        world.deliver(&lease, seq, there).await;
    }
    assert_eq!(world.count(RecordState::Delivered).await, 4);
    assert_eq!(world.job("again").await.not_done, BTreeMap::new());
    // The numbers: nothing needed a second attempt, and that they were there is no finding.
    assert_eq!(
        world.store.retried(&world.tenant, &name("first")).await.unwrap(),
        retried
    );
    assert_eq!(
        world
            .store
            .found_there(&world.tenant, &name("first"))
            .await
            .unwrap(),
        0
    );
    let (deliveries, removed) = world
        .store
        .deliveries_and_removed(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!((deliveries, removed), (6, 0));
    // The story says who sent it.
    let detail = world.detail(2).await;
    assert_eq!(detail.summary.external_id.as_deref(), Some("erp-1"));
    let marks: Vec<_> = detail
        .attempts
        .iter()
        .map(|attempt| attempt.replay.clone())
        .collect();
    assert_eq!(marks, [None, Some(name("again"))]);
    assert_eq!(
        (detail.replays[0].actor.as_str(), detail.replays[0].at),
        ("ada", START + 200)
    );
    assert_eq!(world.detail(1).await.replays, []);
    let log = world.store.audit_log(&world.tenant, 100).await.unwrap();
    let entry = log.iter().find(|entry| entry.action == "replay.start").unwrap();
    assert_eq!(
        (entry.actor.as_str(), entry.subject.as_str()),
        ("ada", "replay/again")
    );
}

async fn a_newer_state_is_never_overwritten_without_saying_so(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("a", "1"),
        record("a", "2"),
        record("b", "1"),
        record("b", "2"),
        record("c", "1"),
        record("c", "2"),
    ];
    world.commit(&lease, page, "c").await.unwrap();
    for seq in [1, 2, 3, 5] {
        world.deliver(&lease, seq, delivered()).await;
    }
    // The newer b is left out on purpose, the newer c is on its way: neither older one is the newest any more.
    let dropped = SettledState::Dropped {
        reason: reason("dropped"),
    };
    world.deliver(&lease, 4, dropped).await;
    let job = world.replay("newest", &selection()).await;
    assert_eq!(job.total, 4);
    let skips = world
        .store
        .replay_skips(&world.tenant, &name("first"), &[1, 2, 3, 5], false)
        .await
        .unwrap();
    assert_eq!(skips, BTreeMap::from([(1, "older"), (3, "older"), (5, "older")]));
    let fed = world.feed(&lease, "newest", 10).await;
    assert_eq!((fed.queued, fed.skipped, fed.done), (1, 3, true));
    let skipped = world.job("newest").await.skipped;
    assert_eq!((skipped.older, skipped.open, skipped.gone), (3, 0, 0));
    assert_eq!(world.state(1).await, RecordState::Delivered);
    assert_eq!(world.state(2).await, RecordState::Queued);
}

/// What was read from another system before has no newest version in the words of the present one: the ledger knows.
async fn a_newer_state_counts_whichever_source_it_came_from(world: World) {
    let lease = world.lease("node-1").await;
    world
        .commit(&lease, vec![record("a", "1"), record("a", "2")], "c")
        .await
        .unwrap();
    for seq in [1, 2] {
        world.deliver(&lease, seq, delivered()).await;
    }
    let moved = flow_spec("first", "erp");
    world
        .store
        .apply(&world.tenant, &[], &[moved], "ada", START)
        .await
        .unwrap();
    let skips = world
        .store
        .replay_skips(&world.tenant, &name("first"), &[1, 2], false)
        .await
        .unwrap();
    assert_eq!(skips, BTreeMap::from([(1, "older")]));
}

async fn all_versions_wait_for_what_is_on_its_way(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("b", "1"),
        record("a", "1"),
        record("a", "2"),
        record("a", "3"),
    ];
    world.commit(&lease, page, "c").await.unwrap();
    for seq in [1, 2, 3] {
        world.deliver(&lease, seq, delivered()).await;
    }
    // The newest of a is being sent at this very moment.
    world.begin(&lease, &[4]).await.unwrap();
    let all = ReplaySelection {
        all_versions: true,
        ..selection()
    };
    world.replay("all", &all).await;
    let fed = world.feed(&lease, "all", 10).await;
    assert_eq!((fed.queued, fed.held, fed.done), (1, true, false));
    assert_eq!(world.state(2).await, RecordState::Delivered);
    assert_eq!(world.feed(&lease, "all", 10).await.queued, 0);
    world.settle(&lease, 4, delivered()).await.unwrap();
    let fed = world.feed(&lease, "all", 10).await;
    assert_eq!((fed.queued, fed.held, fed.done), (2, false, true));
    // In order: the older one is in the way of the newer one.
    assert_eq!(world.due_seqs(START + 200).await, [1, 2]);
    world.deliver(&lease, 2, delivered()).await;
    assert_eq!(world.due_seqs(START + 200).await, [1, 3]);
}

async fn what_is_open_or_gone_is_left_out_and_counted(world: World) {
    let lease = delivered_records(&world, 4).await;
    world.replay("again", &selection()).await;
    // Between the start and its turn, one is queued by another job, one loses its payload, one goes altogether.
    let other = ReplaySelection {
        to_seq: Some(1),
        ..selection()
    };
    world.replay("other", &other).await;
    assert_eq!(world.feed(&lease, "other", 10).await.queued, 1);
    let first = name("first");
    for (seq, whole) in [(2, false), (3, true)] {
        // Everything is old by then; the limit of one keeps it to this record.
        let cut_off = START + 1_000_000;
        if whole {
            let gone = world
                .store
                .forget_records(&lease, &first, cut_off, seq - 1, 1)
                .await
                .unwrap();
            assert_eq!(gone.count, 1);
        } else {
            let gone = world
                .store
                .forget_payloads(&lease, &first, cut_off, seq - 1, 1, START + 150)
                .await
                .unwrap();
            assert_eq!(gone.count, 1);
        }
    }
    let fed = world.feed(&lease, "again", 10).await;
    assert_eq!((fed.queued, fed.skipped, fed.done), (1, 3, true));
    let job = world.job("again").await;
    assert_eq!(
        job.skipped,
        ReplaySkipped {
            older: 0,
            open: 1,
            gone: 2
        }
    );
    assert_eq!(job.left, 0);
    assert_eq!(world.due_seqs(START + 200).await, [1, 4]);
}

async fn a_kill_between_any_two_pieces_neither_doubles_nor_skips(world: World) {
    let mut lease = delivered_records(&world, 9).await;
    world.replay("again", &selection()).await;
    let mut queued = Vec::new();
    let mut now = START;
    loop {
        // Each piece by another node; the one before goes on trying, and writes nothing.
        now += 100_000;
        let next = world.take_over(&format!("node-{now}"), now).await;
        let late = world
            .store
            .feed_replay(&lease, &name("first"), &name("again"), 2, now)
            .await;
        assert!(matches!(late, Err(StoreError::Fenced { .. })));
        lease = next;
        let fed = world.feed(&lease, "again", 2).await;
        for due in world.due(now).await {
            queued.push(due.seq);
            world.deliver(&lease, due.seq, delivered()).await;
        }
        if fed.done {
            break;
        }
    }
    assert_eq!(queued, (1..=9).collect::<Vec<_>>());
    let job = world.job("again").await;
    assert_eq!((job.queued, job.left, job.state), (9, 0, ReplayState::Done));
    assert_eq!(world.feed(&lease, "again", 2).await, Fed::default());
}
