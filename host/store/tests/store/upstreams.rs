//! Upstream accounts: what several nodes keep together.

use stecker_model::{
    UpstreamBudget,
    api::{Breaker, BreakerState, UpstreamHold},
};
use stecker_store::{Backend, Store, StoreOptions, Told, UpstreamRow};
use tokio::task::JoinSet;

use crate::world::{START, World, name, scenarios};

scenarios!(
    a_hold_only_gets_longer_until_a_person_ends_it,
    of_many_nodes_one_tries_a_host_that_was_down,
    a_closed_breaker_leaves_nothing_behind,
    nodes_stay_within_one_budget_together,
    what_changes_is_told,
);

fn hold(until: i64) -> UpstreamHold {
    UpstreamHold {
        since: START,
        until,
        reason: "429, which asked for 3000 ms".to_owned(),
    }
}

fn open(until: i64) -> Breaker {
    Breaker {
        state: BreakerState::Open,
        since: START,
        until: Some(until),
        reason: "no connection".to_owned(),
        trips: 1,
        connections: vec![name("erp")],
    }
}

async fn a_hold_only_gets_longer_until_a_person_ends_it(world: World) {
    let (store, tenant, shop) = (&world.store, &world.tenant, name("shopify-main"));
    let kept = async || store.upstream(tenant, &shop).await.unwrap();
    assert_eq!(kept().await.hold, None);
    for (until, expected) in [
        (START + 3_000, START + 3_000),
        (START + 1_000, START + 3_000),
        (START + 9_000, START + 9_000),
    ] {
        store
            .keep_upstream(tenant, &shop, Some(&hold(until)), &[])
            .await
            .unwrap();
        assert_eq!(kept().await.hold, Some(hold(expected)));
    }
    // Neither a budget nor another tenant's account of that name is touched by it.
    let budget = UpstreamBudget::new(1.0, Some(3));
    store.take_tokens(tenant, &shop, &budget, 1).await.unwrap();
    assert_eq!(kept().await.hold, Some(hold(START + 9_000)));
    let elsewhere = store.upstream(&name("globex"), &shop).await.unwrap();
    assert_eq!((elsewhere.hold, elsewhere.hosts.len()), (None, 0));
    let hosts = [("erp.example".to_owned(), open(START + 1_000))];
    store.keep_upstream(tenant, &shop, None, &hosts).await.unwrap();
    let all = store.upstreams().await.unwrap();
    let row = UpstreamRow {
        tenant: tenant.clone(),
        account: shop.clone(),
        hold: Some(hold(START + 9_000)),
        hosts: hosts.to_vec(),
    };
    assert_eq!(all, std::slice::from_ref(&row));
    let before = store
        .close_upstream(tenant, &shop, "ada", "they said sorry", START + 5)
        .await;
    assert_eq!(before.unwrap(), row);
    assert_eq!(store.upstreams().await.unwrap(), []);
    let audit = store.audit_log(tenant, 1).await.unwrap();
    assert_eq!(
        (audit[0].action.as_str(), audit[0].actor.as_str()),
        ("upstream.close", "ada")
    );
    assert_eq!(audit[0].subject, "upstream/shopify-main");
    assert_eq!(audit[0].detail["reason"], "they said sorry");
    // And the next one counts from its own beginning.
    store
        .keep_upstream(tenant, &shop, Some(&hold(START + 2_000)), &[])
        .await
        .unwrap();
    assert_eq!(kept().await.hold, Some(hold(START + 2_000)));
}

async fn of_many_nodes_one_tries_a_host_that_was_down(world: World) {
    let erp = name("erp");
    let at = (&world.tenant, &erp);
    let attempt = async |by_hand, now| {
        let tried = world
            .store
            .try_upstream(at, "erp.example", by_hand, now, 60_000)
            .await;
        tried.unwrap()
    };
    assert_eq!(attempt(false, START).await, None, "it is not down");
    let hosts = [("erp.example".to_owned(), open(START + 1_000))];
    world.store.keep_upstream(at.0, at.1, None, &hosts).await.unwrap();
    assert_eq!(attempt(false, START + 999).await, None, "not yet");
    let mut nodes = JoinSet::new();
    for _ in 0..16 {
        let (world, erp) = (world.clone(), erp.clone());
        nodes.spawn(async move {
            let at = (&world.tenant, &erp);
            let tried = world
                .store
                .try_upstream(at, "erp.example", false, START + 1_000, 60_000)
                .await;
            tried.unwrap()
        });
    }
    let tried: Vec<Breaker> = nodes.join_all().await.into_iter().flatten().collect();
    assert_eq!(tried.len(), 1);
    let half_open = Breaker {
        state: BreakerState::HalfOpen,
        until: Some(START + 61_000),
        ..open(0)
    };
    assert_eq!(tried[0], half_open);
    // One that was given up is as good as none; a person need not wait for that.
    assert_eq!(attempt(false, START + 60_999).await, None);
    assert!(attempt(true, START + 2_000).await.is_some());
    assert!(attempt(false, START + 62_000).await.is_some());
}

async fn a_closed_breaker_leaves_nothing_behind(world: World) {
    let (store, tenant, erp) = (&world.store, &world.tenant, name("erp"));
    let hosts = [
        ("auth.example".to_owned(), open(START + 1_000)),
        ("erp.example".to_owned(), open(START + 1_000)),
    ];
    store.keep_upstream(tenant, &erp, None, &hosts).await.unwrap();
    let closed = [("auth.example".to_owned(), Breaker::default())];
    store.keep_upstream(tenant, &erp, None, &closed).await.unwrap();
    assert_eq!(store.upstream(tenant, &erp).await.unwrap().hosts, hosts[1..]);
}

async fn nodes_stay_within_one_budget_together(world: World) {
    let other = Store::open(&world.url, StoreOptions::default()).await.unwrap();
    // Slow enough that none comes back while this runs.
    let budget = UpstreamBudget::new(0.001, Some(50));
    let mut nodes = JoinSet::new();
    for n in 0..20 {
        let store = if n % 2 == 0 {
            world.store.clone()
        } else {
            other.clone()
        };
        let tenant = world.tenant.clone();
        nodes.spawn(async move {
            store
                .take_tokens(&tenant, &name("shop"), &budget, 4)
                .await
                .unwrap()
        });
    }
    let slices = nodes.join_all().await;
    let taken: u32 = slices.iter().map(|slice| slice.tokens).sum();
    assert_eq!(taken, 50);
    let last = other
        .take_tokens(&world.tenant, &name("shop"), &budget, 4)
        .await
        .unwrap();
    assert_eq!((last.tokens, last.left), (0, 0));
    assert!((900_000..=1_000_000).contains(&last.wait_ms), "{last:?}");
    let apart = other
        .take_tokens(&world.tenant, &name("erp"), &budget, 4)
        .await
        .unwrap();
    assert_eq!((apart.tokens, apart.left), (4, 46), "another account");
    other.close().await;
}

async fn what_changes_is_told(world: World) {
    if world.store.backend() == Backend::Sqlite {
        assert!(world.store.listen().await.unwrap().is_none());
        return;
    }
    let mut listener = world.store.listen().await.unwrap().unwrap();
    let erp = name("erp");
    let told = Told::Upstream(world.tenant.clone(), erp.clone());
    world
        .store
        .keep_upstream(&world.tenant, &erp, Some(&hold(START + 1)), &[])
        .await
        .unwrap();
    assert_eq!(listener.next().await.unwrap(), told);
    world
        .store
        .close_upstream(&world.tenant, &erp, "ada", "why", START)
        .await
        .unwrap();
    assert_eq!(listener.next().await.unwrap(), told);
}
