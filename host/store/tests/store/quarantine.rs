//! What people decide about quarantined records.

use sqlx::{AnyConnection, Connection};
use stecker_model::{
    RecordId, RecordState,
    api::{QuarantineSelection, Reason},
};
use stecker_store::{Lease, NewEdit, SettledState, StoreError};

use crate::world::{START, World, delivered, name, reason, record, scenarios, settlement};

scenarios!(
    causes_are_grouped,
    sending_on_begins_anew_and_keeps_the_story,
    giving_up_frees_the_key_and_says_why,
    only_what_is_selected_moves,
    a_frozen_selection_meets_nothing_that_comes_later,
    pieces_come_to_an_end_and_can_be_repeated,
    messages_that_differ_in_values_are_one_cause,
    what_was_stuck_before_causes_had_names_gets_one,
    an_edit_keeps_what_it_replaces_and_the_key,
    only_a_record_in_quarantine_can_be_edited,
);

async fn quarantined(world: &World, codes: &[&str]) -> Lease {
    let lease = world.lease("node-1").await;
    let page = (1..=codes.len()).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for (seq, code) in (1..).zip(codes) {
        let to = SettledState::Quarantined { reason: reason(code) };
        world.deliver(&lease, seq, to).await;
    }
    lease
}

fn everything() -> QuarantineSelection {
    QuarantineSelection {
        flow: Some(name("first")),
        ..QuarantineSelection::default()
    }
}

async fn causes_are_grouped(world: World) {
    quarantined(&world, &["data", "auth", "data", "data"]).await;
    let groups = world.store.quarantine_groups(&world.tenant, None).await.unwrap();
    let found: Vec<_> = groups
        .iter()
        .map(|group| (group.reason.code.as_str(), group.count, group.example.to_string()))
        .collect();
    assert_eq!(
        found,
        [
            ("data", 3, "first/1".to_owned()),
            ("auth", 1, "first/2".to_owned())
        ]
    );
    assert_eq!(groups[0].reason, reason("data"));
    let none = world
        .store
        .quarantine_groups(&world.tenant, Some(&name("second")))
        .await
        .unwrap();
    assert_eq!(none, []);
}

async fn sending_on_begins_anew_and_keeps_the_story(world: World) {
    let lease = quarantined(&world, &["data"]).await;
    let now = START + 9_000;
    let moved = world
        .store
        .retry_quarantined(&world.tenant, &everything(), "ada", now)
        .await
        .unwrap();
    assert_eq!((moved.records, moved.more), (1, false));
    let due = world.due(now).await;
    assert_eq!((due[0].attempts, due[0].attempts_since_reset), (1, 0));
    world.deliver(&lease, 1, delivered()).await;
    let detail = world.detail(1).await;
    assert_eq!((detail.summary.attempts, detail.attempts.len()), (2, 2));
    let log = world.store.audit_log(&world.tenant, 1).await.unwrap();
    assert_eq!(
        (log[0].actor.as_str(), log[0].action.as_str(), log[0].at),
        ("ada", "quarantine.retry", now)
    );
    assert_eq!(log[0].detail["records"], 1);
    // There is nothing left to decide about, and nothing to write down about that.
    let again = world
        .store
        .retry_quarantined(&world.tenant, &everything(), "ada", now)
        .await
        .unwrap();
    assert_eq!(again.records, 0);
    assert_eq!(
        world
            .store
            .audit_log(&world.tenant, 100)
            .await
            .unwrap()
            .iter()
            .filter(|entry| entry.at == now)
            .count(),
        1
    );
}

async fn giving_up_frees_the_key_and_says_why(world: World) {
    let lease = quarantined(&world, &["data"]).await;
    world.commit(&lease, vec![record("k1", "2")], "c2").await.unwrap();
    assert_eq!(world.due_seqs(START).await, Vec::<i64>::new());
    let moved = world
        .store
        .discard_quarantined(&world.tenant, &everything(), "a test order", "ada", START)
        .await
        .unwrap();
    assert_eq!((moved.records, moved.more), (1, false));
    assert_eq!(world.due_seqs(START).await, [2]);
    let summary = world.detail(1).await.summary;
    assert_eq!(summary.state, RecordState::Discarded);
    assert_eq!(summary.reason.unwrap().message, "a test order");
    let log = world.store.audit_log(&world.tenant, 1).await.unwrap();
    assert_eq!(
        (log[0].action.as_str(), &log[0].detail["reason"]),
        ("quarantine.discard", &"a test order".into())
    );
    assert_eq!(world.count(RecordState::Discarded).await, 1);
    assert_eq!(world.count(RecordState::Quarantined).await, 0);
}

async fn only_what_is_selected_moves(world: World) {
    quarantined(&world, &["data", "auth", "data", "data", "auth", "data"]).await;
    let id = |seq| RecordId {
        flow: name("first"),
        seq,
    };
    let named = QuarantineSelection {
        ids: vec![id(1), id(2), id(99)],
        code: Some("data".to_owned()),
        ..QuarantineSelection::default()
    };
    assert_eq!(
        world
            .store
            .retry_quarantined(&world.tenant, &named, "ada", START)
            .await
            .unwrap()
            .records,
        1
    );
    assert_eq!(world.state(1).await, RecordState::Retrying);
    assert_eq!(world.state(2).await, RecordState::Quarantined);
    let cause = QuarantineSelection {
        code: Some("auth".to_owned()),
        ..everything()
    };
    assert_eq!(
        world
            .store
            .retry_quarantined(&world.tenant, &cause, "ada", START)
            .await
            .unwrap()
            .records,
        2
    );
    let elsewhere = QuarantineSelection {
        flow: Some(name("second")),
        ..QuarantineSelection::default()
    };
    assert_eq!(
        world
            .store
            .discard_quarantined(&world.tenant, &elsewhere, "x", "ada", START)
            .await
            .unwrap()
            .records,
        0
    );
    assert_eq!(world.count(RecordState::Quarantined).await, 3);
}

fn id(seq: i64) -> RecordId {
    RecordId {
        flow: name("first"),
        seq,
    }
}

async fn a_frozen_selection_meets_nothing_that_comes_later(world: World) {
    let lease = quarantined(&world, &["data", "data"]).await;
    let moment = START + 5;
    let preview = world
        .store
        .quarantine_preview(&world.tenant, &everything(), moment)
        .await
        .unwrap();
    assert_eq!((preview.records, preview.as_of), (2, moment));
    assert_eq!(preview.samples.len(), 2);
    // The third goes into quarantine after the command began.
    world.commit(&lease, vec![record("k3", "1")], "c2").await.unwrap();
    world.begin(&lease, &[3]).await.unwrap();
    let late = vec![settlement(3, SettledState::Quarantined { reason: reason("data") })];
    world
        .store
        .settle(&lease, &name("first"), late, moment + 1)
        .await
        .unwrap();
    let frozen = QuarantineSelection {
        until: Some(preview.as_of),
        ..everything()
    };
    let moved = world
        .store
        .retry_quarantined(&world.tenant, &frozen, "ada", moment + 2)
        .await
        .unwrap();
    assert_eq!(moved.records, 2);
    assert_eq!(world.state(3).await, RecordState::Quarantined);
    let since = QuarantineSelection {
        since: Some(moment + 1),
        key: Some("k3".to_owned()),
        ..everything()
    };
    let found = world
        .store
        .quarantine_preview(&world.tenant, &since, moment + 9)
        .await
        .unwrap();
    assert_eq!(found.records, 1);
}

async fn pieces_come_to_an_end_and_can_be_repeated(world: World) {
    quarantined(&world, &["data"; 7]).await;
    let piece = QuarantineSelection {
        until: Some(START + 5),
        limit: Some(3),
        ..everything()
    };
    let mut moved = Vec::new();
    loop {
        let affected = world
            .store
            .discard_quarantined(&world.tenant, &piece, "enough", "ada", START + 6)
            .await
            .unwrap();
        moved.push(affected.records);
        if !affected.more {
            break;
        }
    }
    assert_eq!(moved, [3, 3, 1]);
    assert_eq!(world.count(RecordState::Discarded).await, 7);
    let again = world
        .store
        .discard_quarantined(&world.tenant, &piece, "enough", "ada", START + 6)
        .await
        .unwrap();
    assert_eq!((again.records, again.more), (0, false));
}

fn unknown_item(line: u32, sku: &str) -> SettledState {
    SettledState::Quarantined {
        reason: Reason {
            code: "unknown-item".to_owned(),
            message: format!("There is no item `{sku}`."),
            path: Some(format!("/lines/{line}/sku")),
        },
    }
}

async fn messages_that_differ_in_values_are_one_cause(world: World) {
    let lease = world.lease("node-1").await;
    let page = (1..=5).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    world.deliver(&lease, 1, unknown_item(0, "A")).await;
    world.deliver(&lease, 2, unknown_item(3, "B-2")).await;
    let waits = SettledState::Retry {
        at: START + 900,
        reason: reason("transient"),
    };
    world.deliver(&lease, 3, waits).await;
    world.deliver(&lease, 4, delivered()).await;
    let groups = world.store.cause_groups(&world.tenant, None, 100).await.unwrap();
    let found: Vec<_> = groups
        .iter()
        .map(|group| (group.code.as_str(), group.count, group.quarantined, group.trying))
        .collect();
    assert_eq!(found, [("unknown-item", 2, 2, 0), ("transient", 1, 0, 1)]);
    let items = &groups[0];
    assert_eq!(items.message, "There is no item `…`.");
    assert_eq!(items.path.as_deref(), Some("/lines/*/sku"));
    assert_eq!((items.first_seen_at, items.last_seen_at), (START + 2, START + 2));
    let keys: Vec<_> = items.samples.iter().map(|sample| sample.key.as_str()).collect();
    assert_eq!(keys, ["k1", "k2"]);
    // The id is what decisions take; another flow has nothing of it.
    let group = QuarantineSelection {
        group: Some(items.id.clone()),
        ..QuarantineSelection::default()
    };
    let elsewhere = QuarantineSelection {
        flow: Some(name("second")),
        ..group.clone()
    };
    for (selection, records) in [(&elsewhere, 0), (&group, 2)] {
        let moved = world
            .store
            .retry_quarantined(&world.tenant, selection, "ada", START + 3)
            .await
            .unwrap();
        assert_eq!(moved.records, records);
    }
    // On their way again they still are what they are stuck for, until they are not.
    let groups = world.store.cause_groups(&world.tenant, None, 100).await.unwrap();
    assert_eq!((groups[0].id.as_str(), groups[0].trying), (items.id.as_str(), 2));
    world.deliver(&lease, 1, delivered()).await;
    world.deliver(&lease, 2, unknown_item(0, "B")).await;
    let groups = world
        .store
        .cause_groups(&world.tenant, Some(&name("first")), 100)
        .await
        .unwrap();
    let same = groups.iter().find(|group| group.id == items.id).unwrap();
    assert_eq!((same.count, same.quarantined), (1, 1));
}

async fn what_was_stuck_before_causes_had_names_gets_one(world: World) {
    quarantined(&world, &["data", "auth", "data"]).await;
    let before = world.store.cause_groups(&world.tenant, None, 100).await.unwrap();
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    sqlx::query("UPDATE queue SET cause = NULL")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(before.len(), 2);
    assert_eq!(
        world.store.cause_groups(&world.tenant, None, 100).await.unwrap(),
        before
    );
}

async fn an_edit_keeps_what_it_replaces_and_the_key(world: World) {
    let lease = quarantined(&world, &["data"]).await;
    let read = world.store.payload_text(&world.tenant, &id(1)).await.unwrap().unwrap();
    assert_eq!((read.state, read.edits), (RecordState::Quarantined, 0));
    let edit = |payload, after_edits| NewEdit {
        payload,
        reason: "wrong SKU",
        actor: "ada",
        after_edits,
    };
    let done = world
        .store
        .edit_payload(&world.tenant, &id(1), edit(r#"{"sku":"B"}"#, Some(0)), START + 50)
        .await
        .unwrap();
    assert_eq!((done.changed, done.edits), (true, 1));
    // Somebody who has not seen that edit does not write over it.
    let late = world
        .store
        .edit_payload(&world.tenant, &id(1), edit("{}", Some(0)), START + 51)
        .await
        .unwrap_err();
    assert!(late.to_string().contains("meanwhile"), "{late}");
    let same = world
        .store
        .edit_payload(&world.tenant, &id(1), edit(r#"{"sku":"B"}"#, None), START + 52)
        .await
        .unwrap();
    assert_eq!((same.changed, same.edits), (false, 1));
    let key = world.detail(1).await.idempotency_key;
    world
        .store
        .retry_quarantined(&world.tenant, &everything(), "ada", START + 60)
        .await
        .unwrap();
    let due = world.due(START + 60).await;
    assert_eq!(due[0].record.payload, r#"{"sku":"B"}"#);
    assert_eq!(due[0].idempotency_key, key);
    world.deliver(&lease, 1, delivered()).await;
    let detail = world.detail(1).await;
    assert_eq!(detail.payload["sku"], "B");
    let kept = &detail.edits[0];
    assert_eq!(
        (kept.edit, kept.at, kept.actor.as_str(), kept.reason.as_str()),
        (1, START + 50, "ada", "wrong SKU")
    );
    assert_eq!(kept.replaced.as_deref(), Some(read.payload.as_str()));
    let log = world.store.audit_log(&world.tenant, 100).await.unwrap();
    let entry = log.iter().find(|entry| entry.action == "record.edit").unwrap();
    assert_eq!((entry.actor.as_str(), entry.subject.as_str()), ("ada", "record/first/1"));
    assert!(!entry.detail.to_string().contains("sku"), "payloads are not in the trail");
}

async fn only_a_record_in_quarantine_can_be_edited(world: World) {
    let lease = quarantined(&world, &["data"]).await;
    world.commit(&lease, vec![record("k2", "1"), record("k3", "1")], "c2").await.unwrap();
    world.deliver(&lease, 2, delivered()).await;
    let edit = NewEdit {
        payload: "{}",
        reason: "why",
        actor: "ada",
        after_edits: None,
    };
    for (seq, state) in [(2, "delivered"), (3, "queued")] {
        let refused = world
            .store
            .edit_payload(&world.tenant, &id(seq), edit, START)
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }));
        assert!(refused.to_string().contains(state), "{refused}");
    }
    let nobody = world.store.edit_payload(&world.tenant, &id(99), edit, START).await;
    assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
    let bad = NewEdit {
        payload: "\"\0\"",
        ..edit
    };
    let unstorable = world.store.edit_payload(&world.tenant, &id(1), bad, START).await;
    assert!(matches!(unstorable, Err(StoreError::Unstorable { .. })));
    assert_eq!(world.detail(1).await.edits, []);
}
