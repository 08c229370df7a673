//! Delivering: order per key, attempts and their outcomes, and what a take-over finds.

use stecker_model::{FlowSpec, OnQuarantine, RecordState};
use stecker_store::{DueRecord, SettledState, Settlement, StoreError};

use crate::world::{START, World, delivered, digest, flow_spec, name, reason, record, scenarios, settlement};

scenarios!(
    of_each_key_the_first_open_record_is_due,
    quarantine_holds_its_key_back_or_not,
    a_retry_waits_for_its_time,
    what_was_being_sent_is_unknown_after_a_take_over,
    every_attempt_is_in_the_story,
    begin_takes_all_or_none,
    settle_takes_all_or_none,
    a_record_can_be_left_out_without_an_attempt,
    progress_of_several_outputs_is_kept,
    failures_are_kept_until_somebody_sends_it_again,
    what_waits_is_counted_over_all_flows_of_a_tenant,
    lists_are_filtered_and_go_on_where_they_ended,
);

fn retry(at: i64) -> SettledState {
    SettledState::Retry {
        at,
        reason: reason("transient"),
    }
}

fn quarantined() -> SettledState {
    SettledState::Quarantined {
        reason: reason("data"),
    }
}

async fn of_each_key_the_first_open_record_is_due(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("a", "1"),
        record("a", "2"),
        record("b", "1"),
        record("a", "3"),
        record("b", "2"),
    ];
    world.commit(&lease, page, "c").await.unwrap();
    assert_eq!(world.due_seqs(START).await, [1, 3]);
    // What is being sent is in the way of its key, and of nothing else.
    world.begin(&lease, &[1]).await.unwrap();
    assert_eq!(world.due_seqs(START).await, [3]);
    world.settle(&lease, 1, delivered()).await.unwrap();
    assert_eq!(world.due_seqs(START).await, [2, 3]);
    world.deliver(&lease, 2, delivered()).await;
    world.deliver(&lease, 3, delivered()).await;
    assert_eq!(world.due_seqs(START).await, [4, 5]);
    // The same key on another stream is another key.
    let mut other = record("a", "1");
    other.record.stream = "refunds".to_owned();
    world.commit(&lease, vec![other], "c2").await.unwrap();
    assert_eq!(world.due_seqs(START).await, [4, 5, 6]);
}

async fn quarantine_holds_its_key_back_or_not(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    world
        .commit(
            &lease,
            vec![record("a", "1"), record("a", "2"), record("b", "1")],
            "c",
        )
        .await
        .unwrap();
    world.deliver(&lease, 1, quarantined()).await;
    assert_eq!(world.due_seqs(START).await, [3]);
    let go_on = world
        .store
        .due(&world.tenant, &first, OnQuarantine::Continue, START, 100)
        .await
        .unwrap();
    assert_eq!(go_on.iter().map(|record| record.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(world.store.waiting(&world.tenant, &first).await.unwrap(), 2);
}

async fn a_retry_waits_for_its_time(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    world
        .commit(
            &lease,
            vec![record("a", "1"), record("a", "2"), record("b", "1")],
            "c",
        )
        .await
        .unwrap();
    assert_eq!(
        world.store.next_due_at(&world.tenant, &first).await.unwrap(),
        None
    );
    world.deliver(&lease, 1, retry(START + 500)).await;
    world.deliver(&lease, 3, retry(START + 900)).await;
    assert_eq!(world.due_seqs(START + 499).await, Vec::<i64>::new());
    assert_eq!(
        world.store.next_due_at(&world.tenant, &first).await.unwrap(),
        Some(START + 500)
    );
    assert_eq!(world.due_seqs(START + 500).await, [1]);
    assert_eq!(world.due_seqs(START + 900).await, [1, 3]);
    let due = world.due(START + 900).await;
    assert_eq!((due[0].state, due[0].attempts), (RecordState::Retrying, 1));
    assert_eq!(world.store.retried(&world.tenant, &first).await.unwrap(), 0);
    world.begin(&lease, &[1]).await.unwrap();
    assert_eq!(world.store.retried(&world.tenant, &first).await.unwrap(), 1);
    assert_eq!(
        world.store.next_due_at(&world.tenant, &first).await.unwrap(),
        Some(START + 900)
    );
}

async fn what_was_being_sent_is_unknown_after_a_take_over(world: World) {
    let old = world.lease("node-1").await;
    world
        .commit(
            &old,
            vec![record("a", "1"), record("a", "2"), record("b", "1")],
            "c",
        )
        .await
        .unwrap();
    world.begin(&old, &[1, 3]).await.unwrap();
    world.settle(&old, 3, delivered()).await.unwrap();
    let new = world.take_over("node-2", START).await;
    let now = START + 70_000;
    assert_eq!(
        world.store.recover(&new, &name("first"), now, now).await.unwrap(),
        1
    );
    assert_eq!(
        world.store.recover(&new, &name("first"), now, now).await.unwrap(),
        0
    );
    let due = world.due(now).await;
    let found: Vec<_> = due
        .iter()
        .map(|DueRecord { seq, state, .. }| (*seq, *state))
        .collect();
    assert_eq!(found, [(1, RecordState::Unknown)]);
    // The attempt has no end yet; the lookup gives it one.
    assert_eq!(world.detail(1).await.attempts[0].finished_at, None);
    world.settle(&new, 1, delivered()).await.unwrap();
    let story = world.detail(1).await;
    assert_eq!(story.attempts.len(), 1);
    assert_eq!(story.attempts[0].outcome.as_deref(), Some("delivered"));
    assert_eq!(world.due_seqs(now).await, [2]);
}

async fn every_attempt_is_in_the_story(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    world.commit(&lease, vec![record("a", "1")], "c").await.unwrap();
    let key = world.due(START).await[0].idempotency_key.clone();
    let unknown = SettledState::Unknown {
        at: START,
        reason: reason("timeout"),
    };
    let ends = [
        retry(START),
        unknown,
        SettledState::Delivered {
            external_id: Some("erp\0-7".to_owned()),
            duplicate: true,
        },
    ];
    for (nth, end) in (0..).zip(ends) {
        let now = START + nth * 10;
        world
            .store
            .begin(&lease, &first, &[1], &digest('d'), now)
            .await
            .unwrap();
        world
            .store
            .settle(&lease, &first, vec![settlement(1, end)], now + 5)
            .await
            .unwrap();
    }
    let detail = world.detail(1).await;
    assert_eq!(detail.idempotency_key, key);
    assert_eq!(
        (detail.release, detail.payload["version"].as_str()),
        (digest('a'), Some("1"))
    );
    assert_eq!(detail.attributes, record("a", "1").record.attributes);
    assert_eq!(
        (detail.summary.attempts, detail.summary.state),
        (3, RecordState::Delivered)
    );
    assert_eq!(detail.summary.external_id.as_deref(), Some("erp\u{fffd}-7"));
    assert_eq!(detail.summary.reason, None);
    let story: Vec<_> = detail
        .attempts
        .iter()
        .map(|a| {
            let code = a.reason.as_ref().map(|reason| reason.code.as_str());
            (
                a.attempt,
                a.started_at - START,
                a.finished_at.map(|at| at - START),
                a.outcome.as_deref(),
                code,
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            (1, 0, Some(5), Some("retry"), Some("transient")),
            (2, 10, Some(15), Some("unknown"), Some("timeout")),
            (3, 20, Some(25), Some("duplicate"), None),
        ]
    );
    assert!(
        detail
            .attempts
            .iter()
            .all(|attempt| attempt.release == digest('d'))
    );
    assert_eq!(world.store.found_there(&world.tenant, &first).await.unwrap(), 1);
    assert_eq!(world.store.retried(&world.tenant, &first).await.unwrap(), 1);
}

async fn begin_takes_all_or_none(world: World) {
    let lease = world.lease("node-1").await;
    world
        .commit(
            &lease,
            vec![record("a", "1"), record("a", "2"), record("b", "1")],
            "c",
        )
        .await
        .unwrap();
    // Behind an open one of its key, given twice, not there.
    for bad in [&[3, 2][..], &[1, 2], &[1, 1]] {
        let refused = world.begin(&lease, bad).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::Conflict { .. }),
            "{bad:?}: {refused}"
        );
    }
    assert!(matches!(
        world.begin(&lease, &[1, 99]).await,
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(world.count(RecordState::Queued).await, 3);
    assert_eq!(world.detail(1).await.attempts, []);
    world.begin(&lease, &[1, 3]).await.unwrap();
    assert!(matches!(
        world.begin(&lease, &[1]).await,
        Err(StoreError::Conflict { .. })
    ));
    assert_eq!(world.count(RecordState::Sending).await, 2);
}

async fn settle_takes_all_or_none(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    world
        .commit(
            &lease,
            vec![record("a", "1"), record("b", "1"), record("c", "1")],
            "c",
        )
        .await
        .unwrap();
    world.deliver(&lease, 1, delivered()).await;
    world.begin(&lease, &[2, 3]).await.unwrap();
    for bad in [vec![2, 1], vec![2, 2]] {
        let settlements = bad.iter().map(|seq| settlement(*seq, delivered())).collect();
        let refused = world
            .store
            .settle(&lease, &first, settlements, START)
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    }
    assert_eq!(world.state(2).await, RecordState::Sending);
    let settlements = vec![settlement(2, retry(START + 9)), settlement(3, quarantined())];
    world
        .store
        .settle(&lease, &first, settlements, START)
        .await
        .unwrap();
    let counts = world.store.counts(&world.tenant, &first).await.unwrap();
    let there: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        there,
        [
            (RecordState::Retrying, 1),
            (RecordState::Delivered, 1),
            (RecordState::Quarantined, 1)
        ]
    );
    let at = world.detail(2).await.summary.next_attempt_at;
    assert_eq!(at, Some(START + 9));
}

async fn a_record_can_be_left_out_without_an_attempt(world: World) {
    let lease = world.lease("node-1").await;
    world
        .commit(&lease, vec![record("a", "1"), record("a", "2")], "c")
        .await
        .unwrap();
    let dropped = SettledState::Dropped {
        reason: reason("test-order"),
    };
    world.settle(&lease, 1, dropped).await.unwrap();
    let detail = world.detail(1).await;
    assert_eq!(
        (detail.summary.state, detail.attempts.len()),
        (RecordState::Dropped, 0)
    );
    assert_eq!(detail.summary.reason, Some(reason("test-order")));
    assert_eq!(world.due_seqs(START).await, [2]);
}

async fn progress_of_several_outputs_is_kept(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    world.commit(&lease, vec![record("a", "1")], "c").await.unwrap();
    for outputs in [Some("[[0,\"x\"]]".to_owned()), None] {
        world.begin(&lease, &[1]).await.unwrap();
        let settled = Settlement {
            outputs,
            ..settlement(1, retry(START))
        };
        world
            .store
            .settle(&lease, &first, vec![settled], START)
            .await
            .unwrap();
        assert_eq!(world.due(START).await[0].outputs.as_deref(), Some("[[0,\"x\"]]"));
    }
}

async fn failures_are_kept_until_somebody_sends_it_again(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c").await.unwrap();
    let settle = async |to: SettledState, tries: Option<&str>| {
        world.begin(&lease, &[1]).await.unwrap();
        let settled = Settlement {
            tries: tries.map(str::to_owned),
            ..settlement(1, to)
        };
        world
            .store
            .settle(&lease, &name("first"), vec![settled], START)
            .await
            .unwrap();
    };
    settle(retry(START), Some("{\"n\":1}")).await;
    assert_eq!(world.due(START).await[0].tries.as_deref(), Some("{\"n\":1}"));
    settle(retry(START), None).await;
    assert_eq!(world.due(START).await[0].tries.as_deref(), Some("{\"n\":1}"));
    settle(quarantined(), Some("{\"n\":2}")).await;
    let everything = stecker_model::api::QuarantineSelection::default();
    world
        .store
        .retry_quarantined(&world.tenant, &everything, "ada", START)
        .await
        .unwrap();
    assert_eq!(world.due(START).await[0].tries, None);
}

async fn what_waits_is_counted_over_all_flows_of_a_tenant(world: World) {
    let waiting = async |tenant: &str| world.store.tenant_waiting(&name(tenant)).await.unwrap().0;
    assert_eq!((waiting("acme").await, waiting("nobody").await), (0, 0));
    let lease = world.lease("node-1").await;
    let page = vec![record("a", "1"), record("b", "1"), record("c", "1")];
    world.commit(&lease, page, "c").await.unwrap();
    world.deliver(&lease, 1, delivered()).await;
    world.begin(&lease, &[2]).await.unwrap();
    assert_eq!(
        waiting(world.tenant.as_str()).await,
        2,
        "what is being sent waits too"
    );
    world.settle(&lease, 2, quarantined()).await.unwrap();
    assert_eq!(
        waiting(world.tenant.as_str()).await,
        1,
        "what is with a person does not"
    );
}

async fn lists_are_filtered_and_go_on_where_they_ended(world: World) {
    use stecker_model::api::RecordFilter;
    let lease = world.lease("node-1").await;
    let page = (0..7).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    world.deliver(&lease, 2, delivered()).await;
    world.deliver(&lease, 4, quarantined()).await;
    let list = async |filter: RecordFilter| {
        let page = world.store.list_records(&world.tenant, &filter).await.unwrap();
        let seqs: Vec<_> = page.records.iter().map(|record| record.id.seq).collect();
        (seqs, page.next)
    };
    let mut filter = RecordFilter {
        flow: Some(name("first")),
        limit: Some(3),
        ..RecordFilter::default()
    };
    let mut seen = Vec::new();
    loop {
        let (seqs, next) = list(filter.clone()).await;
        seen.extend(seqs);
        filter.after = next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=7).collect::<Vec<_>>());
    let by = |state, key: Option<&str>, code: Option<&str>| RecordFilter {
        state,
        key: key.map(str::to_owned),
        reason: code.map(str::to_owned),
        ..RecordFilter::default()
    };
    assert_eq!(list(by(Some(RecordState::Delivered), None, None)).await.0, [2]);
    assert_eq!(
        list(by(Some(RecordState::Quarantined), None, Some("data")))
            .await
            .0,
        [4]
    );
    assert_eq!(
        list(by(Some(RecordState::Quarantined), None, Some("auth")))
            .await
            .0,
        Vec::<i64>::new()
    );
    assert_eq!(list(by(None, Some("k4"), None)).await.0, [5]);
    assert_eq!(list(by(None, Some("\0"), None)).await.0, Vec::<i64>::new());
    let spec: FlowSpec = flow_spec("first", "shop");
    assert_eq!(
        world
            .store
            .flow(&world.tenant, &spec.name)
            .await
            .unwrap()
            .unwrap()
            .spec,
        spec
    );
}
