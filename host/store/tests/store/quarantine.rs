//! What people decide about quarantined records.

use stecker_model::{RecordId, RecordState, api::QuarantineSelection};
use stecker_store::{Lease, SettledState};

use crate::world::{START, World, delivered, name, reason, record, scenarios, settlement};

scenarios!(
    causes_are_grouped,
    sending_on_begins_anew_and_keeps_the_story,
    giving_up_frees_the_key_and_says_why,
    only_what_is_selected_moves,
    a_frozen_selection_meets_nothing_that_comes_later,
    pieces_come_to_an_end_and_can_be_repeated,
);

pub(crate) async fn quarantined(world: &World, codes: &[&str]) -> Lease {
    let lease = world.lease("node-1").await;
    let page = (1..=codes.len()).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for (seq, code) in (1..).zip(codes) {
        let to = SettledState::Quarantined { reason: reason(code) };
        world.deliver(&lease, seq, to).await;
    }
    lease
}

pub(crate) fn everything() -> QuarantineSelection {
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
    let late = vec![settlement(
        3,
        SettledState::Quarantined {
            reason: reason("data"),
        },
    )];
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
