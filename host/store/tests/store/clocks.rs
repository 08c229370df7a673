//! A clock that jumps: nothing waits for as long as it was wrong.

use stecker_model::RawRequest;
use stecker_store::SettledState;

use crate::world::{START, TTL, World, name, reason, record, scenarios};

scenarios!(
    what_a_clock_that_ran_ahead_planned_is_due_when_it_is_set_right,
    a_lease_of_next_year_keeps_nobody_out,
    a_call_that_was_kept_next_year_is_taken_up,
    a_clock_that_is_set_back_by_an_hour_costs_an_hour_at_most,
);

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

fn retry(at: i64) -> SettledState {
    SettledState::Retry {
        at,
        reason: reason("transient"),
    }
}

async fn what_a_clock_that_ran_ahead_planned_is_due_when_it_is_set_right(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("a", "1"),
        record("a", "2"),
        record("b", "1"),
        record("c", "1"),
    ];
    world.commit(&lease, page, "c").await.unwrap();
    let unsure = SettledState::Unknown {
        at: START + YEAR + 2_000,
        reason: reason("transient"),
    };
    world.deliver(&lease, 1, retry(START + YEAR + 500)).await;
    world.deliver(&lease, 3, unsure).await;
    // On purpose, because the other side asked for it.
    world.deliver(&lease, 4, retry(START + 24 * HOUR)).await;
    assert_eq!(
        world.due_seqs(START).await,
        [1, 3],
        "of each key the first, as ever"
    );
    assert_eq!(
        world.due_seqs(START + YEAR).await,
        [4],
        "while it runs ahead, they wait for their time"
    );
}

async fn a_lease_of_next_year_keeps_nobody_out(world: World) {
    let store = &world.store;
    let unit = "flow/first";
    let acquire = |owner: &'static str, now| store.acquire(&world.tenant, unit, owner, now, TTL);
    let ahead = acquire("node-1", START + YEAR).await.unwrap().unwrap();
    let lease = acquire("node-2", START).await.unwrap().unwrap();
    assert!(lease.epoch > ahead.epoch, "whoever had it is fenced off");
    assert!(
        acquire("node-3", START).await.unwrap().is_none(),
        "one of today holds"
    );
}

async fn a_call_that_was_kept_next_year_is_taken_up(world: World) {
    let call = RawRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: String::new(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
    };
    let shop = name("shop");
    let kept = world
        .store
        .store_webhook(&world.tenant, &shop, &call, 100, START + YEAR)
        .await
        .unwrap();
    let open = world.store.unsettled_webhooks(START, 100).await.unwrap();
    assert_eq!(open.first().map(|call| call.id), kept);
    let again = world.store.unsettled_webhooks(START, 100).await.unwrap();
    assert!(again.is_empty(), "whoever took it has some time");
}

async fn a_clock_that_is_set_back_by_an_hour_costs_an_hour_at_most(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c").await.unwrap();
    world.deliver(&lease, 1, retry(START + 500)).await;
    assert!(world.due_seqs(START - HOUR).await.is_empty());
    assert_eq!(world.due_seqs(START + 500).await, [1]);
}
