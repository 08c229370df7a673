//! What a flow keeps no longer goes; what is open, and what recognises a repeated read, never does.

use stecker_model::RecordState;
use stecker_store::{Lease, NewEdit, SettledState, StoreError};

use crate::world::{START, World, delivered, name, reason, record, scenarios};

scenarios!(
    old_payloads_become_digests,
    old_records_go_with_their_attempts,
    open_and_quarantined_records_never_go,
    what_was_forgotten_is_still_recognised,
    a_walk_goes_on_where_it_ended,
    storage_is_known_without_counting,
    space_is_given_back,
);

/// Three delivered records, one in quarantine, one that is open.
async fn some(world: &World) -> Lease {
    let lease = world.lease("node-1").await;
    let page = (1..=5).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for seq in [1, 2, 3] {
        world.deliver(&lease, seq, delivered()).await;
    }
    let to = SettledState::Quarantined {
        reason: reason("data"),
    };
    world.deliver(&lease, 4, to).await;
    lease
}

const LATER: i64 = START + 1_000_000;

async fn old_payloads_become_digests(world: World) {
    let lease = some(&world).await;
    let first = name("first");
    let young = world
        .store
        .forget_payloads(&lease, &first, START, 0, 100, LATER)
        .await
        .unwrap();
    assert_eq!((young.count, young.next), (0, None));
    let text = world.detail(1).await.payload;
    let gone = world
        .store
        .forget_payloads(&lease, &first, LATER, 0, 100, LATER)
        .await
        .unwrap();
    assert_eq!((gone.count, gone.next), (3, None));
    let detail = world.detail(1).await;
    assert_eq!(detail.payload, serde_json::Value::Null);
    assert_eq!(detail.attempts.len(), 1);
    let removed = detail.payload_removed.unwrap();
    assert_eq!((removed.sha256.len(), removed.removed_at), (64, LATER));
    assert_eq!(removed.size, text.to_string().len() as u64);
    let refused = world
        .store
        .payload_text(&world.tenant, &detail.summary.id)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("not kept any more"), "{refused}");
    // The others have theirs.
    assert_eq!(world.detail(4).await.payload["key"], "k4");
    assert_eq!(world.detail(5).await.payload["key"], "k5");
    let storage = world.store.tenant_storage(&world.tenant).await.unwrap();
    assert_eq!(
        (storage.flows[0].payloads, storage.flows[0].payloads_removed),
        (2, 3)
    );
    let lost = world.take_over("node-2", LATER).await;
    let late = world
        .store
        .forget_payloads(&lease, &first, LATER, 0, 100, LATER)
        .await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })));
    drop(lost);
}

async fn old_records_go_with_their_attempts(world: World) {
    let lease = some(&world).await;
    let first = name("first");
    // One of them as a digest already.
    world
        .store
        .forget_payloads(&lease, &first, LATER, 0, 1, LATER)
        .await
        .unwrap();
    let gone = world
        .store
        .forget_records(&lease, &first, LATER, 0, 100)
        .await
        .unwrap();
    assert_eq!(gone.count, 3);
    for seq in [1, 2, 3] {
        let id = stecker_model::RecordId {
            flow: first.clone(),
            seq,
        };
        assert_eq!(world.store.record(&world.tenant, &id).await.unwrap(), None);
    }
    assert_eq!(world.count(RecordState::Delivered).await, 0);
    let flow = world
        .store
        .tenant_storage(&world.tenant)
        .await
        .unwrap()
        .flows
        .remove(0);
    assert_eq!(
        (
            flow.records,
            flow.waiting,
            flow.attempts,
            flow.payloads,
            flow.payloads_removed,
            flow.records_removed
        ),
        (2, 2, 1, 2, 0, 3)
    );
    let (deliveries, removed) = world
        .store
        .deliveries_and_removed(&world.tenant, &first)
        .await
        .unwrap();
    assert_eq!((deliveries, removed), (3, 3));
}

async fn open_and_quarantined_records_never_go(world: World) {
    let lease = some(&world).await;
    let first = name("first");
    let edit = NewEdit {
        payload: "{}",
        reason: "why",
        actor: "ada",
        after_edits: None,
    };
    let id = world.detail(4).await.summary.id;
    world
        .store
        .edit_payload(&world.tenant, &id, edit, START)
        .await
        .unwrap();
    for _ in 0..2 {
        world
            .store
            .forget_records(&lease, &first, i64::MAX, 0, 100)
            .await
            .unwrap();
        world
            .store
            .forget_payloads(&lease, &first, i64::MAX, 0, 100, LATER)
            .await
            .unwrap();
    }
    assert_eq!(world.state(4).await, RecordState::Quarantined);
    assert!(world.detail(4).await.edits[0].replaced.is_some());
    assert_eq!(world.state(5).await, RecordState::Queued);
    // Given up, they go like the others, what was edited too.
    let all = stecker_model::api::QuarantineSelection {
        flow: Some(first.clone()),
        ..Default::default()
    };
    world
        .store
        .discard_quarantined(&world.tenant, &all, "enough", "ada", START)
        .await
        .unwrap();
    world
        .store
        .forget_payloads(&lease, &first, LATER, 0, 100, LATER)
        .await
        .unwrap();
    let detail = world.detail(4).await;
    assert_eq!(detail.edits[0].replaced, None);
    assert_eq!(detail.edits[0].reason, "why");
    let flow = world
        .store
        .tenant_storage(&world.tenant)
        .await
        .unwrap()
        .flows
        .remove(0);
    assert_eq!(flow.payloads, 1);
    assert_eq!(
        flow.payload_bytes,
        world.detail(5).await.payload.to_string().len() as u64
    );
}

async fn what_was_forgotten_is_still_recognised(world: World) {
    let lease = some(&world).await;
    world
        .store
        .forget_records(&lease, &name("first"), LATER, 0, 100)
        .await
        .unwrap();
    let again = world
        .commit(&lease, vec![record("k1", "1"), record("k1", "2")], "c2")
        .await
        .unwrap();
    assert_eq!((again.accepted, again.duplicates), (1, 1));
}

async fn a_walk_goes_on_where_it_ended(world: World) {
    let lease = world.lease("node-1").await;
    let page = (1..=7).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for seq in 1..=7 {
        world.deliver(&lease, seq, delivered()).await;
    }
    let mut after = 0;
    let mut counts = Vec::new();
    loop {
        let forgotten = world
            .store
            .forget_payloads(&lease, &name("first"), LATER, after, 3, LATER)
            .await
            .unwrap();
        counts.push(forgotten.count);
        let Some(next) = forgotten.next else { break };
        after = next;
    }
    assert_eq!(counts, [3, 3, 1]);
}

async fn storage_is_known_without_counting(world: World) {
    let lease = some(&world).await;
    let storage = world.store.tenant_storage(&world.tenant).await.unwrap();
    let names: Vec<_> = storage.flows.iter().map(|flow| flow.flow.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    let flow = &storage.flows[0];
    let mut bytes = 0;
    for seq in 1..=5 {
        bytes += world.detail(seq).await.payload.to_string().len() as u64;
    }
    assert_eq!(
        (
            flow.records,
            flow.waiting,
            flow.payloads,
            flow.payload_bytes,
            flow.attempts
        ),
        (5, 2, 5, bytes, 4)
    );
    let kinds: Vec<_> = storage.other.iter().map(|kind| kind.kind.as_str()).collect();
    assert_eq!(kinds, ["releases", "guest-storage", "tapes", "webhooks", "audit"]);
    assert!(storage.other[4].rows > 0);
    drop(lease);
}

async fn space_is_given_back(world: World) {
    let lease = world.lease("node-1").await;
    let mut page = Vec::new();
    for n in 1..=200 {
        let mut large = record(&format!("k{n}"), "1");
        large.record.payload = format!("{{\"text\":\"{}\"}}", "x".repeat(10_000));
        page.push(large);
    }
    world.commit(&lease, page, "c").await.unwrap();
    let seqs: Vec<i64> = (1..=200).collect();
    world.begin(&lease, &seqs).await.unwrap();
    for seq in seqs {
        world.settle(&lease, seq, delivered()).await.unwrap();
    }
    let before = world.store.database_size().await.unwrap();
    world
        .store
        .forget_payloads(&lease, &name("first"), LATER, 0, 1_000, LATER)
        .await
        .unwrap();
    let would = world.store.vacuum(false, true).await.unwrap();
    assert!(!would.done);
    for full in [false, true] {
        let done = world.store.vacuum(full, false).await.unwrap();
        assert!(done.done, "{done:?}");
        assert!(done.after_bytes.unwrap() <= done.before_bytes, "{done:?}");
    }
    let after = world.store.database_size().await.unwrap();
    assert!(after.bytes < before.bytes, "{before:?} {after:?}");
    // It works on as before.
    world
        .commit(&lease, vec![record("new", "1")], "c2")
        .await
        .unwrap();
    assert_eq!(world.due_seqs(START).await, [201]);
}
