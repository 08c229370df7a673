//! What is looked up to explain a key: by its parts and ids, from both ends, with bounds.

use stecker_model::{RawRequest, RecordState, api::Reason};
use stecker_store::{AuditEntry, SettleWebhook, SettledState, WebhookVerdict};

use crate::world::{START, World, delivered, name, reason, record, scenarios};

scenarios!(
    a_key_is_found_by_what_a_person_may_call_it,
    a_record_waits_for_the_first_that_is_in_its_way,
    attempts_are_read_from_both_ends,
    what_is_stuck_and_what_went_through_is_counted_with_bounds,
    the_trail_of_one_thing_is_its_own,
    calls_that_led_to_no_record_are_found_by_what_they_name,
);

fn waits(message: &str) -> SettledState {
    SettledState::Retry {
        at: START,
        reason: Reason {
            code: "transient".to_owned(),
            message: message.to_owned(),
            path: None,
        },
    }
}

fn at_erp(id: &str) -> SettledState {
    SettledState::Delivered {
        external_id: Some(id.to_owned()),
        duplicate: false,
    }
}

async fn a_key_is_found_by_what_a_person_may_call_it(world: World) {
    let lease = world.lease("node-1").await;
    let keys = ["SO-1", "SO-10", "SO-11", "SP-1", "mug%"];
    let page = keys.iter().map(|key| record(key, "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    world.deliver(&lease, 1, at_erp("SALE-7")).await;
    world.deliver(&lease, 2, at_erp("SALE-8,PART-9")).await;
    world.deliver(&lease, 3, at_erp("SALE-81")).await;
    let other = world.for_tenant("globex").await;
    let (store, tenant) = (&world.store, &world.tenant);
    let newest = store
        .records_of_key(tenant, &name("first"), "SO-1", 5)
        .await
        .unwrap();
    assert_eq!(newest.len(), 1);
    assert_eq!(newest[0].summary.external_id.as_deref(), Some("SALE-7"));
    for (flow, key, found) in [
        ("second", "SO-1", 0),
        ("first", "so-1", 0),
        ("first", "SO-1\0", 0),
    ] {
        let records = store.records_of_key(tenant, &name(flow), key, 5).await.unwrap();
        assert_eq!(records.len(), found, "{flow} {key:?}");
    }
    for (id, found) in [
        ("SALE-7", vec!["SO-1"]),
        // The first of several ids, and not what only begins so.
        ("SALE-8", vec!["SO-10"]),
        ("PART-9", vec![]),
        ("SALE", vec![]),
        ("\0", vec![]),
    ] {
        let keys = store.keys_of_external_id(tenant, id, 10).await.unwrap();
        let keys: Vec<_> = keys.iter().map(|(_, key)| key.as_str()).collect();
        assert_eq!(keys, found, "{id:?}");
    }
    for (text, found) in [
        ("SO-1", vec!["SO-1", "SO-10", "SO-11"]),
        ("SO-10", vec!["SO-10"]),
        ("m", vec!["mug%"]),
        ("%", vec![]),
        ("SO-\0", vec![]),
    ] {
        assert_eq!(
            store.keys_that_begin(tenant, text, 10).await.unwrap(),
            found,
            "{text:?}"
        );
    }
    assert_eq!(
        store.keys_that_begin(tenant, "S", 2).await.unwrap(),
        ["SO-1", "SO-10"]
    );
    assert_eq!(
        store.newest_keys(tenant, &name("first"), 2).await.unwrap(),
        ["mug%", "SP-1"]
    );
    for (text, found) in [
        ("\"key\":\"SO-1\"", vec!["SO-1"]),
        ("mug%", vec!["mug%"]),
        ("S_-1", vec![]),
        ("\0", vec![]),
    ] {
        let payloads = store
            .payloads_with(tenant, &name("first"), text, 100)
            .await
            .unwrap();
        let keys: Vec<_> = payloads.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, found, "{text:?}");
    }
    assert!(
        store
            .payloads_with(tenant, &name("first"), "SO-1", 1)
            .await
            .unwrap()
            .is_empty()
    );
    let asked = ["SO-11", "SO-12", "\0"].map(str::to_owned);
    assert_eq!(store.known_keys(tenant, &asked).await.unwrap(), ["SO-11"]);
    // Nothing of it is anybody else's.
    assert!(store.known_keys(&other.tenant, &asked).await.unwrap().is_empty());
    assert!(
        store
            .keys_that_begin(&other.tenant, "S", 5)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .keys_of_external_id(&other.tenant, "SALE-7", 5)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_record_waits_for_the_first_that_is_in_its_way(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("a", "1"),
        record("b", "1"),
        record("a", "2"),
        record("a", "3"),
    ];
    world.commit(&lease, page, "c").await.unwrap();
    world
        .deliver(
            &lease,
            1,
            SettledState::Quarantined {
                reason: reason("data"),
            },
        )
        .await;
    let last = world.detail(4).await.summary;
    let in_its_way = async |quarantine_holds| {
        let found = world
            .store
            .in_its_way(&world.tenant, &last, quarantine_holds)
            .await
            .unwrap();
        found.map(|id| id.seq)
    };
    assert_eq!(in_its_way(true).await, Some(1));
    assert_eq!(in_its_way(false).await, Some(3));
    let first = world.detail(1).await.summary;
    assert_eq!(
        world.store.in_its_way(&world.tenant, &first, true).await.unwrap(),
        None
    );
}

async fn attempts_are_read_from_both_ends(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c").await.unwrap();
    for n in 1..=9 {
        world.deliver(&lease, 1, waits(&format!("try {n}"))).await;
    }
    let id = world.detail(1).await.summary.id;
    let read = async |first, last| {
        let attempts = world
            .store
            .attempts_from_both_ends(&world.tenant, &id, first, last)
            .await
            .unwrap();
        attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>()
    };
    assert_eq!(read(2, 3).await, [1, 2, 7, 8, 9]);
    assert_eq!(read(6, 6).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(read(20, 20).await, (1..=9).collect::<Vec<_>>());
    let record = world
        .store
        .explained_record(&world.tenant, &id)
        .await
        .unwrap()
        .unwrap();
    assert!(record.cause.is_some(), "{record:?}");
    assert_eq!(
        world.store.removed_payload(&world.tenant, &id).await.unwrap(),
        None
    );
}

async fn what_is_stuck_and_what_went_through_is_counted_with_bounds(world: World) {
    let lease = world.lease("node-1").await;
    let page = (1..=12).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    for seq in 1..=7 {
        world
            .deliver(&lease, seq, waits(&format!("order {seq} came too early")))
            .await;
    }
    world
        .deliver(
            &lease,
            8,
            SettledState::Quarantined {
                reason: reason("data"),
            },
        )
        .await;
    world.deliver(&lease, 9, delivered()).await;
    let first = name("first");
    let causes = world.store.stuck_causes(&world.tenant, &first, 10).await.unwrap();
    assert_eq!(causes.len(), 2, "{causes:?}");
    let early = causes
        .iter()
        .find(|cause| cause.reason.code == "transient")
        .unwrap();
    assert_eq!((early.count, early.or_more, early.since), (7, false, START + 2));
    assert_eq!(early.keys, ["k1", "k2", "k3", "k4", "k5"]);
    let one = world
        .store
        .stuck_cause(&world.tenant, &first, &early.id)
        .await
        .unwrap();
    assert_eq!(one.as_ref(), Some(early));
    assert_eq!(
        world
            .store
            .stuck_causes(&world.tenant, &first, 1)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        world
            .store
            .stuck_causes(&world.tenant, &name("second"), 10)
            .await
            .unwrap(),
        []
    );
    // Those right before a number, and the newest.
    let around = world
        .store
        .settled_around(&world.tenant, &first, 4, 2)
        .await
        .unwrap();
    let seqs: Vec<_> = around.iter().map(|settled| settled.id.seq).collect();
    assert_eq!(seqs, [2, 3, 11, 12]);
    let all = world
        .store
        .settled_around(&world.tenant, &first, 4, 50)
        .await
        .unwrap();
    let states = |state| all.iter().filter(|settled| settled.state == state).count();
    assert_eq!(
        (
            all.len(),
            states(RecordState::Delivered),
            states(RecordState::Quarantined)
        ),
        (12, 1, 1)
    );
}

async fn the_trail_of_one_thing_is_its_own(world: World) {
    for n in 0..5 {
        for subject in ["connection/erp", "connection/erp2"] {
            let entry = AuditEntry {
                at: START + n,
                actor: "ada".to_owned(),
                action: format!("test.{n}"),
                subject: subject.to_owned(),
                detail: serde_json::json!({}),
            };
            world.store.audit(&world.tenant, &entry).await.unwrap();
        }
    }
    let read = async |since, limit| {
        let trail = world
            .store
            .audit_of(&world.tenant, "connection/erp", since, limit)
            .await
            .unwrap();
        assert!(trail.iter().all(|entry| entry.subject == "connection/erp"));
        trail.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    assert_eq!(read(START + 3, 10).await, ["test.3", "test.4"]);
    assert_eq!(read(START + 1, 2).await, ["test.3", "test.4"]);
}

async fn calls_that_led_to_no_record_are_found_by_what_they_name(world: World) {
    let call = |body: &str| RawRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: String::new(),
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    let shop = name("shop");
    let mut ids = Vec::new();
    for (n, body) in [
        r#"{"id":1042}"#,
        r#"{"id":10421}"#,
        r#"{"id":1042,"x":1}"#,
        "\u{0}1042",
    ]
    .iter()
    .enumerate()
    {
        let at = START + i64::try_from(n).unwrap();
        let id = world
            .store
            .store_webhook(&world.tenant, &shop, &call(body), 100, at)
            .await
            .unwrap();
        ids.push(id.unwrap());
    }
    let why = Reason {
        code: "webhook".to_owned(),
        message: "the signature does not fit".to_owned(),
        path: None,
    };
    let refused = SettleWebhook::without_records(WebhookVerdict::Refused, Some(why));
    world
        .store
        .settle_webhook(&world.tenant, &shop, ids[0], refused, START + 9)
        .await
        .unwrap();
    let taken = SettleWebhook::without_records(WebhookVerdict::Accepted, None);
    world
        .store
        .settle_webhook(&world.tenant, &shop, ids[2], taken, START + 9)
        .await
        .unwrap();
    let found = world
        .store
        .calls_that_mention(&world.tenant, "1042", 10)
        .await
        .unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|call| (call.received_at - START, call.state.as_str()))
        .collect();
    assert_eq!(seen, [(3, "received"), (0, "refused")]);
    assert_eq!(
        found[1].reason.as_ref().unwrap().message,
        "the signature does not fit"
    );
    assert_eq!(
        world
            .store
            .calls_that_mention(&world.tenant, "1042", 1)
            .await
            .unwrap()
            .len(),
        1
    );
}
