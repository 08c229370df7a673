//! Comparisons: asked for one at a time, begun anew after a kill, ended by a person; and records that are sent once more.

use std::collections::BTreeSet;

use stecker_model::{
    RecordState, RepairKind,
    api::{
        Difference, DifferenceKind, ReconcileCounts, ReconcileFilter, ReconcileReport, ReconcileRequest,
        ReconcileRun, ReconcileState,
    },
};
use stecker_store::{ExpectedKey, Lease, Repair, Repaired, SettledState, StoreError};

use crate::world::{START, World, delivered, digest, name, reason, record, scenarios};

scenarios!(
    one_at_a_time_and_the_trail_tells,
    one_that_was_cut_off_begins_anew,
    a_person_ends_it,
    only_the_last_hundred_are_kept,
    the_ledger_says_what_should_be_there,
    what_is_repaired_goes_the_way_of_every_record,
    what_was_overtaken_is_left_alone,
    what_the_ledger_never_had_is_accepted,
    an_overtaken_worker_repairs_nothing,
);

async fn asked(world: &World, request: &ReconcileRequest) -> ReconcileRun {
    world
        .store
        .request_reconcile(&world.tenant, &name("first"), request, "ada", START)
        .await
        .unwrap()
}

async fn begun(world: &World, lease: &Lease) -> ReconcileRun {
    let run = asked(world, &ReconcileRequest::default()).await;
    world
        .store
        .begin_reconcile(lease, &run.id, START + 1)
        .await
        .unwrap()
        .unwrap()
}

fn difference(key: &str) -> Difference {
    Difference {
        kind: DifferenceKind::Missing,
        key: key.to_owned(),
        record: None,
        external_id: None,
        fields: Vec::new(),
        repair: None,
    }
}

fn again(seq: i64) -> Repair {
    Repair {
        seq,
        kind: RepairKind::Missing,
        outputs: None,
    }
}

fn queued(seqs: &[i64]) -> Repaired {
    Repaired::Queued(seqs.iter().copied().collect::<BTreeSet<_>>())
}

async fn actions(world: &World) -> Vec<(String, String)> {
    let log = world.store.audit_log(&world.tenant, 100).await.unwrap();
    let of_reconciles = log
        .into_iter()
        .filter(|entry| entry.action.starts_with("reconcile."));
    let mut actions: Vec<_> = of_reconciles.map(|entry| (entry.action, entry.actor)).collect();
    actions.reverse();
    actions
}

async fn one_at_a_time_and_the_trail_tells(world: World) {
    let lease = world.lease("node-1").await;
    let request = ReconcileRequest {
        repair: vec![RepairKind::Missing],
        ..ReconcileRequest::default()
    };
    let run = asked(&world, &request).await;
    assert_eq!(run.id.len(), 12);
    let (store, tenant) = (&world.store, &world.tenant);
    let second = store
        .request_reconcile(tenant, &name("first"), &request, "bob", START)
        .await;
    assert!(
        matches!(&second, Err(StoreError::Conflict { what }) if what.contains(&run.id)),
        "{second:?}"
    );
    let other = store
        .request_reconcile(tenant, &name("second"), &request, "bob", START)
        .await;
    assert!(other.is_ok(), "another flow has its own");
    let nowhere = store
        .request_reconcile(tenant, &name("nowhere"), &request, "bob", START)
        .await;
    assert!(matches!(nowhere, Err(StoreError::NotFound { .. })));

    let open = store
        .open_reconcile(tenant, &name("first"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open, run);
    let run = store
        .begin_reconcile(&lease, &run.id, START + 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((run.state, run.starts), (ReconcileState::Running, 1));
    let mut report = ReconcileReport {
        step: Some("comparing".to_owned()),
        counts: ReconcileCounts {
            missing: 2,
            ..ReconcileCounts::default()
        },
        ..ReconcileReport::default()
    };
    assert!(store.note_reconcile(&lease, &run.id, &report).await.unwrap());
    let found = [difference("a"), difference("b\u{0}c")];
    assert_eq!(store.put_differences(&lease, &run.id, &found).await.unwrap(), 0);
    report.step = None;
    let done = ReconcileState::Done;
    assert!(
        store
            .end_reconcile(&lease, &run, done, &report, START + 9)
            .await
            .unwrap()
    );
    assert!(
        !store
            .end_reconcile(&lease, &run, done, &report, START + 9)
            .await
            .unwrap()
    );
    let detail = store.reconcile_detail(tenant, &run.id).await.unwrap().unwrap();
    assert_eq!(
        (detail.run.state, detail.run.finished_at),
        (done, Some(START + 9))
    );
    assert_eq!(detail.run.report, report);
    assert_eq!(detail.differences, found);
    assert_eq!(store.open_reconcile(tenant, &name("first")).await.unwrap(), None);
    assert_eq!(
        store.last_reconcile_at(tenant, &name("first")).await.unwrap(),
        Some(START)
    );
    let of_first = ReconcileFilter {
        flow: Some(name("first")),
        limit: None,
    };
    assert_eq!(store.reconciles(tenant, &of_first).await.unwrap().len(), 1);
    assert_eq!(
        store
            .reconciles(tenant, &ReconcileFilter::default())
            .await
            .unwrap()
            .len(),
        2
    );
    let elsewhere = world.for_tenant("other").await;
    assert_eq!(store.reconcile(&elsewhere.tenant, &run.id).await.unwrap(), None);
    let trail = actions(&world).await;
    let host = ("reconcile.end".to_owned(), "host".to_owned());
    assert_eq!(
        trail.first().unwrap(),
        &("reconcile.start".to_owned(), "ada".to_owned())
    );
    assert_eq!(trail.last().unwrap(), &host);
}

async fn one_that_was_cut_off_begins_anew(world: World) {
    let lease = world.lease("node-1").await;
    let run = begun(&world, &lease).await;
    let (store, tenant) = (&world.store, &world.tenant);
    store
        .put_differences(&lease, &run.id, &[difference("a")])
        .await
        .unwrap();
    let successor = world.take_over("node-2", START).await;
    let open = store
        .open_reconcile(tenant, &name("first"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open.state, ReconcileState::Running, "it is not forgotten");
    let fenced = store
        .note_reconcile(&lease, &run.id, &ReconcileReport::default())
        .await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })));
    let again = store
        .begin_reconcile(&successor, &run.id, START + 5)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.starts, again.started_at), (2, Some(START + 5)));
    let detail = store.reconcile_detail(tenant, &run.id).await.unwrap().unwrap();
    assert_eq!(detail.differences, []);
}

async fn a_person_ends_it(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("k1", "1")], "c").await.unwrap();
    world.deliver(&lease, 1, delivered()).await;
    let run = begun(&world, &lease).await;
    let (store, tenant) = (&world.store, &world.tenant);
    let ended = store
        .abort_reconcile(tenant, &run.id, "bob", START + 2)
        .await
        .unwrap();
    assert_eq!(ended.state, ReconcileState::Aborted);
    assert!(
        !store
            .note_reconcile(&lease, &run.id, &ReconcileReport::default())
            .await
            .unwrap()
    );
    let repaired = store.repair(&lease, &run, &[again(1)], START + 3).await.unwrap();
    assert_eq!(repaired, Repaired::Ended, "nothing is repaired after that");
    let taken = store
        .accept_found(&lease, &run, &digest('a'), vec![record("k2", "1")], START + 3)
        .await;
    assert_eq!(taken.unwrap(), None);
    assert_eq!(world.state(1).await, RecordState::Delivered);
    assert_eq!(
        store.begin_reconcile(&lease, &run.id, START + 4).await.unwrap(),
        None
    );
    let twice = store.abort_reconcile(tenant, &run.id, "bob", START + 5).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })));
    let unknown = store.abort_reconcile(tenant, "nothing", "bob", START).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    assert_eq!(
        actions(&world).await.last().unwrap(),
        &("reconcile.abort".to_owned(), "bob".to_owned())
    );
}

async fn only_the_last_hundred_are_kept(world: World) {
    let lease = world.lease("node-1").await;
    let first = begun(&world, &lease).await;
    let (store, tenant) = (&world.store, &world.tenant);
    store
        .put_differences(&lease, &first.id, &[difference("a")])
        .await
        .unwrap();
    store
        .abort_reconcile(tenant, &first.id, "ada", START)
        .await
        .unwrap();
    for n in 1..=101 {
        let request = ReconcileRequest::default();
        let run = store
            .request_reconcile(tenant, &name("first"), &request, "ada", START + n)
            .await
            .unwrap();
        store
            .abort_reconcile(tenant, &run.id, "ada", START + n)
            .await
            .unwrap();
    }
    let filter = ReconcileFilter {
        flow: None,
        limit: Some(1_000),
    };
    let kept = store.reconciles(tenant, &filter).await.unwrap();
    assert_eq!(kept.len(), 101, "a hundred that are over, and the new one");
    assert_eq!(kept[0].requested_at, START + 101);
    assert_eq!(store.reconcile_detail(tenant, &first.id).await.unwrap(), None);
}

async fn the_ledger_says_what_should_be_there(world: World) {
    let lease = world.lease("node-1").await;
    let page = ["a", "b", "c", "d", "e"].map(|key| record(key, "1")).into();
    world.commit(&lease, page, "c1").await.unwrap();
    for seq in [1, 2, 3] {
        world.deliver(&lease, seq, delivered()).await;
    }
    let dropped = SettledState::Dropped {
        reason: reason("dropped"),
    };
    world.deliver(&lease, 4, dropped.clone()).await;
    // Of a there is a newer one that is left out, of b one that waits, of c one in quarantine.
    let page = vec![record("a", "2"), record("b", "2"), record("c", "2")];
    world.commit(&lease, page, "c2").await.unwrap();
    world.deliver(&lease, 6, dropped).await;
    let quarantined = SettledState::Quarantined {
        reason: reason("data"),
    };
    world.deliver(&lease, 8, quarantined).await;
    let key = |key: &str, delivered, waiting| ExpectedKey {
        key: key.to_owned(),
        delivered,
        waiting,
    };
    let place = (&world.tenant, &name("first"));
    let all = [
        key("a", Some(1), None),
        key("b", Some(2), Some(7)),
        key("c", Some(3), Some(8)),
        key("d", None, None),
        key("e", None, Some(5)),
    ];
    let store = &world.store;
    let page = |after, limit| store.expected_keys(place, "orders", after, limit);
    let (found, last) = page("", 100).await.unwrap().unwrap();
    assert_eq!((&found[..], last.as_str()), (&all[..], "e"));
    assert_eq!(page("e", 100).await.unwrap(), None);
    let mut paged = Vec::new();
    let mut after = String::new();
    while let Some((found, last)) = store.expected_keys(place, "orders", &after, 2).await.unwrap() {
        paged.extend(found);
        assert!(last > after);
        after = last;
    }
    assert_eq!(paged, all, "page by page, and no key is cut");
    let elsewhere = store.expected_keys(place, "products", "", 100).await.unwrap();
    assert_eq!(elsewhere, Some((Vec::new(), "e".to_owned())));
    let keys = ["c", "a", "nothing", "with\u{0}"].map(str::to_owned);
    let mut found = store.expected_of(place, "orders", &keys).await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, [all[0].clone(), all[2].clone()]);
    let records = store.ledger_records(place, &[3, 1, 99]).await.unwrap();
    let keys: Vec<_> = records.iter().map(|found| found.record.key.as_str()).collect();
    assert_eq!(keys, ["a", "c"]);
    let since = store.accepted_after(place, 6, 10).await.unwrap();
    assert_eq!(since.iter().map(|found| found.seq).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(store.newest_seq(&world.tenant, &name("first")).await.unwrap(), 8);
}

async fn what_is_repaired_goes_the_way_of_every_record(world: World) {
    let lease = world.lease("node-1").await;
    world
        .commit(&lease, vec![record("k1", "1"), record("k2", "1")], "c")
        .await
        .unwrap();
    for seq in [1, 2] {
        world.deliver(&lease, seq, delivered()).await;
    }
    let key = world.detail(1).await.idempotency_key;
    let run = begun(&world, &lease).await;
    let now = START + 50;
    let repairs = [
        Repair {
            kind: RepairKind::Different,
            outputs: Some("progress".to_owned()),
            ..again(1)
        },
        again(1),
        again(99),
    ];
    let repaired = world.store.repair(&lease, &run, &repairs, now).await.unwrap();
    assert_eq!(repaired, queued(&[1]), "once, and only what there is");
    assert_eq!(world.count(RecordState::Retrying).await, 1);
    assert_eq!(world.count(RecordState::Delivered).await, 1);
    let due = world.due(now).await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].repair.as_deref(), Some("different"));
    assert_eq!(due[0].outputs.as_deref(), Some("progress"));
    assert_eq!(due[0].idempotency_key, key);
    assert_eq!((due[0].attempts, due[0].attempts_since_reset), (1, 0));
    // A newer state of the key waits behind it.
    world.commit(&lease, vec![record("k1", "2")], "c2").await.unwrap();
    assert_eq!(world.due_seqs(now).await, [1]);
    world.deliver(&lease, 1, delivered()).await;
    assert_eq!(world.due_seqs(now).await, [3]);
    let trail = actions(&world).await;
    assert_eq!(
        trail.last().unwrap(),
        &("reconcile.repair".to_owned(), "ada".to_owned())
    );
}

async fn what_was_overtaken_is_left_alone(world: World) {
    let lease = world.lease("node-1").await;
    world
        .commit(&lease, vec![record("k1", "1"), record("k2", "1")], "c")
        .await
        .unwrap();
    for seq in [1, 2] {
        world.deliver(&lease, seq, delivered()).await;
    }
    let run = begun(&world, &lease).await;
    world.commit(&lease, vec![record("k1", "2")], "c2").await.unwrap();
    let repaired = world
        .store
        .repair(&lease, &run, &[again(1), again(2), again(3)], START)
        .await;
    assert_eq!(
        repaired.unwrap(),
        queued(&[2]),
        "a newer state of the first is on its way"
    );
    world.deliver(&lease, 3, delivered()).await;
    let repaired = world.store.repair(&lease, &run, &[again(1)], START).await;
    assert_eq!(repaired.unwrap(), queued(&[]), "or is there");
}

async fn what_the_ledger_never_had_is_accepted(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("k1", "2")], "c").await.unwrap();
    let run = begun(&world, &lease).await;
    let found = vec![record("k1", "1"), record("k1", "2"), record("k2", "1")];
    let taken = world
        .store
        .accept_found(&lease, &run, &digest('a'), found, START)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((taken.accepted, taken.duplicates), (1, 2));
    assert_eq!(world.due_seqs(START).await, [1, 2]);
    let cursor = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap()
        .cursor;
    assert_eq!(cursor.as_deref(), Some("c"), "the cursor stays where it is");
}

async fn an_overtaken_worker_repairs_nothing(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("k1", "1")], "c").await.unwrap();
    world.deliver(&lease, 1, delivered()).await;
    let run = begun(&world, &lease).await;
    world.take_over("node-2", START).await;
    let repaired = world.store.repair(&lease, &run, &[again(1)], START).await;
    assert!(matches!(repaired, Err(StoreError::Fenced { .. })));
    let begun = world.store.begin_reconcile(&lease, &run.id, START).await;
    assert!(matches!(begun, Err(StoreError::Fenced { .. })));
    assert_eq!(world.state(1).await, RecordState::Delivered);
}
