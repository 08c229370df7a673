//! Several hosts, or several tasks of one, on the same database.

use stecker_model::RecordState;
use stecker_store::{Fanout, SettleWebhook, Store, StoreOptions, WebhookVerdict};
use tokio::task::JoinSet;

use crate::world::{START, TTL, World, delivered, digest, name, record, scenarios};

scenarios!(
    of_many_takers_one_gets_the_lease,
    two_hosts_write_at_the_same_time,
    pages_and_calls_number_records_without_gaps,
);

async fn another_host(world: &World) -> World {
    World {
        store: Store::open(&world.url, StoreOptions::default()).await.unwrap(),
        ..world.clone()
    }
}

async fn of_many_takers_one_gets_the_lease(world: World) {
    let other = another_host(&world).await;
    let mut takers = JoinSet::new();
    for n in 0..16 {
        let store = if n % 2 == 0 {
            world.store.clone()
        } else {
            other.store.clone()
        };
        let tenant = world.tenant.clone();
        takers.spawn(async move {
            store
                .acquire(&tenant, "flow/first", &format!("node-{n}"), START, TTL)
                .await
        });
    }
    let mut got = Vec::new();
    while let Some(lease) = takers.join_next().await {
        got.extend(lease.unwrap().unwrap());
    }
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].epoch, 1);
    other.store.close().await;
}

/// Each host works on a tenant of its own, with all its lanes at once.
async fn two_hosts_write_at_the_same_time(world: World) {
    let other = World {
        store: another_host(&world).await.store,
        ..world.for_tenant("globex").await
    };
    let mut hosts = JoinSet::new();
    for world in [world.clone(), other.clone()] {
        hosts.spawn(async move {
            let lease = world.lease("node").await;
            for page in 0..10 {
                let records = (0..40)
                    .map(|n| record(&format!("k{}", page * 40 + n), "1"))
                    .collect();
                world.commit(&lease, records, &format!("c{page}")).await.unwrap();
                let mut lanes = JoinSet::new();
                for record in world.due(START).await {
                    let (world, lease) = (world.clone(), lease.clone());
                    lanes.spawn(async move { world.deliver(&lease, record.seq, delivered()).await });
                }
                while let Some(lane) = lanes.join_next().await {
                    lane.unwrap();
                }
            }
        });
    }
    while let Some(host) = hosts.join_next().await {
        host.unwrap();
    }
    for world in [&world, &other] {
        assert_eq!(world.count(RecordState::Delivered).await, 400);
        assert_eq!(
            world.store.waiting(&world.tenant, &name("first")).await.unwrap(),
            0
        );
    }
    other.store.close().await;
}

async fn pages_and_calls_number_records_without_gaps(world: World) {
    let lease = world.lease("node-1").await;
    let other = another_host(&world).await;
    let mut writers = JoinSet::new();
    for n in 0..10 {
        let (reading, lease) = (world.clone(), lease.clone());
        let keys = move |n: i32| {
            (0..10)
                .map(|k| record(&format!("k{n}-{k}"), "1"))
                .collect::<Vec<_>>()
        };
        writers.spawn(async move { reading.commit(&lease, keys(n), "c").await.unwrap().accepted });
        // The call brings the same records at the same time: each has to be accepted from one of the two.
        let called = other.clone();
        writers.spawn(async move {
            let shop = name("shop");
            let call = stecker_model::RawRequest {
                method: "POST".to_owned(),
                path: String::new(),
                query: String::new(),
                headers: Vec::new(),
                body: Vec::new(),
            };
            let id = called
                .store
                .store_webhook(&called.tenant, &shop, &call, 100, START)
                .await
                .unwrap()
                .unwrap();
            let part = |flow: &str| Fanout {
                flow: name(flow),
                stream: "orders".to_owned(),
                release: digest('a'),
                records: keys(n),
            };
            let settle = SettleWebhook {
                verdict: WebhookVerdict::Accepted,
                event_id: None,
                reason: None,
                fanout: vec![part("second"), part("first")],
                generation: None,
            };
            let done = called
                .store
                .settle_webhook(&called.tenant, &shop, id, settle, START)
                .await
                .unwrap();
            // All of "second" came from calls.
            done.accepted - 10
        });
    }
    let mut accepted = 0;
    while let Some(writer) = writers.join_next().await {
        accepted += writer.unwrap();
    }
    assert_eq!(accepted, 100);
    assert_eq!(world.due_seqs(START).await, (1..=100).collect::<Vec<_>>());
    other.store.close().await;
}
