//! Stuck records by cause, and corrected ones.

use sqlx::{AnyConnection, Connection};
use stecker_model::{
    RecordId, RecordState,
    api::{QuarantineSelection, Reason},
};
use stecker_store::{NewEdit, SettledState, StoreError};

use crate::{
    quarantine::{everything, quarantined},
    world::{START, World, delivered, name, reason, record, scenarios},
};

scenarios!(
    messages_that_differ_in_values_are_one_cause,
    what_was_stuck_before_causes_had_names_gets_one,
    an_edit_keeps_what_it_replaces_and_the_key,
    only_a_record_in_quarantine_can_be_edited,
);

fn id(seq: i64) -> RecordId {
    RecordId {
        flow: name("first"),
        seq,
    }
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
    let read = world
        .store
        .payload_text(&world.tenant, &id(1))
        .await
        .unwrap()
        .unwrap();
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
    assert_eq!(
        (entry.actor.as_str(), entry.subject.as_str()),
        ("ada", "record/first/1")
    );
    assert!(
        !entry.detail.to_string().contains("sku"),
        "payloads are not in the trail"
    );
}

async fn only_a_record_in_quarantine_can_be_edited(world: World) {
    let lease = quarantined(&world, &["data"]).await;
    world
        .commit(&lease, vec![record("k2", "1"), record("k3", "1")], "c2")
        .await
        .unwrap();
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
    let nobody = world
        .store
        .edit_payload(&world.tenant, &id(99), edit, START)
        .await;
    assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
    let bad = NewEdit {
        payload: "\"\0\"",
        ..edit
    };
    let unstorable = world.store.edit_payload(&world.tenant, &id(1), bad, START).await;
    assert!(matches!(unstorable, Err(StoreError::Unstorable { .. })));
    assert_eq!(world.detail(1).await.edits, []);
}
