//! Calls from systems: kept first, settled once, never ahead of what is newer.

use stecker_model::{RawRequest, RecordState};
use stecker_store::{Fanout, Forget, NewRecord, SettleWebhook, SettledWebhook, StoreError, WebhookVerdict};

use crate::world::{START, World, digest, name, reason, record, scenarios};

scenarios!(
    a_call_is_kept_byte_for_byte_until_it_is_settled,
    an_event_counts_once,
    pages_and_calls_share_what_was_seen,
    a_call_is_settled_as_a_whole,
    an_unsettled_call_comes_back_later_and_later,
    no_more_calls_are_kept_than_may_wait,
    what_is_over_is_forgotten_in_bounded_steps,
);

fn call() -> RawRequest {
    RawRequest {
        method: "POST".to_owned(),
        path: "/orders".to_owned(),
        query: "a=1".to_owned(),
        headers: vec![("x-signature".to_owned(), "abc".to_owned())],
        body: vec![0, 159, 146, 150, b'{'],
    }
}

fn accepted(event: Option<&str>, flow: &str, records: Vec<NewRecord>) -> SettleWebhook {
    SettleWebhook {
        verdict: WebhookVerdict::Accepted,
        event_id: event.map(str::to_owned),
        reason: None,
        fanout: vec![Fanout {
            flow: name(flow),
            stream: "orders".to_owned(),
            release: digest('a'),
            records,
        }],
        generation: None,
    }
}

impl World {
    async fn called(&self, settle: SettleWebhook) -> Result<SettledWebhook, StoreError> {
        let shop = name("shop");
        let id = self
            .store
            .store_webhook(&self.tenant, &shop, &call(), 100, START)
            .await
            .unwrap()
            .unwrap();
        self.store
            .settle_webhook(&self.tenant, &shop, id, settle, START)
            .await
    }

    async fn unsettled(&self, now: i64) -> usize {
        self.store.unsettled_webhooks(now, 100).await.unwrap().len()
    }
}

async fn a_call_is_kept_byte_for_byte_until_it_is_settled(world: World) {
    let shop = name("shop");
    let id = world
        .store
        .store_webhook(&world.tenant, &shop, &call(), 100, START)
        .await
        .unwrap()
        .unwrap();
    // Whoever took the call has some time before others are given it.
    assert_eq!(world.unsettled(START).await, 0);
    let open = world.store.unsettled_webhooks(START + 10_000, 100).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0].tenant, open[0].id, &open[0].connection),
        (&world.tenant, id, &shop)
    );
    assert_eq!(open[0].request, call());
    let refused = SettleWebhook::without_records(WebhookVerdict::Refused, Some(reason("signature")));
    let settled = world
        .store
        .settle_webhook(&world.tenant, &shop, id, refused.clone(), START)
        .await
        .unwrap();
    assert_eq!(settled, SettledWebhook::default());
    assert_eq!(world.unsettled(START + 10_000_000).await, 0);
    let again = world
        .store
        .settle_webhook(&world.tenant, &shop, id, refused.clone(), START)
        .await
        .unwrap();
    assert!(again.settled_before);
    let missing = world
        .store
        .settle_webhook(&world.tenant, &shop, 1, refused, START)
        .await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

async fn an_event_counts_once(world: World) {
    let first = world
        .called(accepted(Some("evt-1"), "first", vec![record("a", "1")]))
        .await
        .unwrap();
    assert_eq!((first.accepted, first.duplicate_event), (1, false));
    // The vendor repeats the event, with another state in it.
    let again = world
        .called(accepted(Some("evt-1"), "first", vec![record("a", "2")]))
        .await
        .unwrap();
    assert_eq!((again.accepted, again.duplicate_event), (0, true));
    assert_eq!(world.count(RecordState::Queued).await, 1);
    // A call that was not genuine must not spend the id of a genuine one.
    let mut forged = SettleWebhook::without_records(WebhookVerdict::Refused, None);
    forged.event_id = Some("evt-2".to_owned());
    world.called(forged).await.unwrap();
    let genuine = world
        .called(accepted(Some("evt-2"), "first", vec![record("a", "2")]))
        .await
        .unwrap();
    assert_eq!((genuine.accepted, genuine.duplicate_event), (1, false));
}

async fn pages_and_calls_share_what_was_seen(world: World) {
    let lease = world.lease("node-1").await;
    let called = world
        .called(accepted(None, "first", vec![record("a", "2")]))
        .await
        .unwrap();
    assert_eq!(called.accepted, 1);
    // A poll that is behind the call, then one that is ahead, then the call for what the poll has brought.
    let behind = world
        .commit(&lease, vec![record("a", "1"), record("a", "2")], "c1")
        .await
        .unwrap();
    assert_eq!((behind.accepted, behind.duplicates), (0, 2));
    let ahead = world.commit(&lease, vec![record("a", "3")], "c2").await.unwrap();
    assert_eq!((ahead.accepted, ahead.duplicates), (1, 0));
    let late = world
        .called(accepted(None, "first", vec![record("a", "3")]))
        .await
        .unwrap();
    assert_eq!((late.accepted, late.duplicates), (0, 1));
    assert_eq!(world.count(RecordState::Queued).await, 2);
    let state = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!(state.duplicates, 3);
}

async fn a_call_is_settled_as_a_whole(world: World) {
    let mut settle = accepted(Some("evt-1"), "first", vec![record("a", "1")]);
    settle.fanout.push(Fanout {
        flow: name("gone"),
        stream: "orders".to_owned(),
        release: digest('a'),
        records: vec![record("a", "1")],
    });
    let failed = world.called(settle.clone()).await;
    assert!(matches!(failed, Err(StoreError::NotFound { what: "flow", .. })));
    assert_eq!(world.count(RecordState::Queued).await, 0);
    assert_eq!(world.unsettled(START + 10_000).await, 1);
    // The event id was not spent by the failure.
    settle.fanout[1].flow = name("second");
    let done = world.called(settle).await.unwrap();
    assert_eq!((done.accepted, done.duplicate_event), (2, false));
}

async fn an_unsettled_call_comes_back_later_and_later(world: World) {
    world
        .store
        .store_webhook(&world.tenant, &name("shop"), &call(), 100, START)
        .await
        .unwrap();
    let mut now = START;
    for pause in [10, 10, 40, 90, 160, 250, 360, 600, 600] {
        now += pause * 1_000;
        assert_eq!(world.unsettled(now - 1).await, 0, "{pause}");
        assert_eq!(world.unsettled(now).await, 1, "{pause}");
        assert_eq!(world.unsettled(now).await, 0, "it is given to one at a time");
    }
}

async fn no_more_calls_are_kept_than_may_wait(world: World) {
    let (shop, erp) = (name("shop"), name("erp"));
    let keep = async |connection, backlog| {
        world
            .store
            .store_webhook(&world.tenant, connection, &call(), backlog, START)
            .await
            .unwrap()
    };
    let first = keep(&shop, 2).await.unwrap();
    assert!(keep(&shop, 2).await.is_some());
    assert_eq!(keep(&shop, 2).await, None);
    assert!(keep(&erp, 2).await.is_some(), "every connection has its own");
    assert_eq!(
        world.unsettled(START + 10_000).await,
        3,
        "what was turned away is not kept"
    );
    let refused = SettleWebhook::without_records(WebhookVerdict::Refused, None);
    world
        .store
        .settle_webhook(&world.tenant, &shop, first, refused, START)
        .await
        .unwrap();
    assert!(keep(&shop, 2).await.is_some(), "there is room again");
}

async fn what_is_over_is_forgotten_in_bounded_steps(world: World) {
    for n in 0..5 {
        let event = format!("evt-{n}");
        world
            .called(accepted(Some(&event), "first", vec![record("a", &n.to_string())]))
            .await
            .unwrap();
    }
    world
        .store
        .store_webhook(&world.tenant, &name("shop"), &call(), 100, START)
        .await
        .unwrap();
    let forget = async |what, before| world.store.forget(what, before, 2).await.unwrap();
    assert_eq!(forget(Forget::SettledCalls, START).await, 0, "not over yet");
    let steps = [
        forget(Forget::SettledCalls, START + 1).await,
        forget(Forget::SettledCalls, START + 1).await,
        forget(Forget::SettledCalls, START + 1).await,
    ];
    assert_eq!(steps, [2, 2, 1]);
    assert_eq!(
        world.unsettled(START + 10_000).await,
        1,
        "what is not settled stays"
    );
    let again = async || {
        world
            .called(accepted(Some("evt-4"), "first", vec![record("b", "1")]))
            .await
            .unwrap()
    };
    assert!(again().await.duplicate_event, "the id outlives the call");
    let mut forgotten = 0;
    while forgotten < 5 {
        forgotten += forget(Forget::VendorEvents, START + 1).await;
    }
    assert!(!again().await.duplicate_event);
}
