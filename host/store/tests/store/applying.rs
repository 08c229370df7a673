//! Specifications, releases, leases and the audit trail.

use sha2::{Digest as _, Sha256};
use stecker_model::{
    Digest,
    api::{ChangeKind, ReleaseInfo},
};
use stecker_store::{AuditEntry, NewRelease, StoreError, Told};

use crate::world::{
    START, TTL, World, connection_spec, delivered, digest, flow_spec, name, record, scenarios,
};

scenarios!(
    a_change_counts_up_and_is_written_down,
    applying_is_all_or_none,
    a_pause_is_kept_until_it_is_ended,
    a_release_is_kept_once_and_as_it_is,
    a_lease_is_one_owners_and_its_epoch_only_grows,
    many_leases_are_taken_at_once_and_those_of_others_are_left_out,
    what_waits_for_the_holders_of_flows_is_found,
    the_audit_trail_is_newest_first,
);

async fn a_change_counts_up_and_is_written_down(world: World) {
    let same = world
        .store
        .apply(
            &world.tenant,
            &[connection_spec("shop")],
            &[flow_spec("first", "shop")],
            "bob",
            START + 1,
        )
        .await
        .unwrap();
    let kinds: Vec<_> = same
        .into_iter()
        .map(|applied| (applied.kind, applied.generation))
        .collect();
    assert_eq!(kinds, [(ChangeKind::Unchanged, 1), (ChangeKind::Unchanged, 1)]);
    let mut changed = connection_spec("shop");
    changed.config = serde_json::json!({ "base": "https://shop.test" });
    let done = world
        .store
        .apply(&world.tenant, &[changed.clone()], &[], "bob", START + 2)
        .await
        .unwrap();
    assert_eq!((done[0].kind, done[0].generation), (ChangeKind::Update, 2));
    let stored = world
        .store
        .connection(&world.tenant, &name("shop"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (stored.spec, stored.generation, stored.updated_at),
        (changed, 2, START + 2)
    );
    let log = world.store.audit_log(&world.tenant, 1).await.unwrap();
    assert_eq!(
        (log[0].actor.as_str(), log[0].action.as_str()),
        ("bob", "connection.update")
    );
    assert_eq!(log[0].detail["after"]["config"]["base"], "https://shop.test");
    let flows = world.store.all_flows().await.unwrap();
    assert_eq!(
        flows
            .iter()
            .map(|(tenant, row)| format!("{tenant}/{}", row.spec.name))
            .collect::<Vec<_>>(),
        ["acme/first", "acme/second"]
    );
    assert_eq!(world.store.connections(&world.tenant).await.unwrap().len(), 2);
    assert_eq!(world.store.flows(&world.tenant).await.unwrap().len(), 2);
}

async fn applying_is_all_or_none(world: World) {
    let refused = world
        .store
        .apply(
            &world.tenant,
            &[connection_spec("new")],
            &[flow_spec("x", "nowhere")],
            "ada",
            START,
        )
        .await;
    assert!(matches!(
        refused,
        Err(StoreError::NotFound {
            what: "connection",
            ..
        })
    ));
    assert_eq!(
        world.store.connection(&world.tenant, &name("new")).await.unwrap(),
        None
    );
    let refused = world
        .store
        .apply(&name("nobody"), &[connection_spec("new")], &[], "ada", START)
        .await;
    assert!(matches!(
        refused,
        Err(StoreError::NotFound { what: "tenant", .. })
    ));
}

async fn a_pause_is_kept_until_it_is_ended(world: World) {
    let first = name("first");
    let pause = async |reason: &str| {
        world
            .store
            .pause_flow(&world.tenant, &first, reason, "ada", START)
            .await
            .unwrap()
    };
    assert!(pause("stocktaking").await);
    assert!(!pause("another reason").await);
    let row = world.store.flow(&world.tenant, &first).await.unwrap().unwrap();
    assert_eq!(row.paused.unwrap().reason, "stocktaking");
    assert_eq!(row.generation, 1);
    let resume = async || {
        world
            .store
            .resume_flow(&world.tenant, &first, "ada", START)
            .await
            .unwrap()
    };
    assert!(resume().await);
    assert!(!resume().await);
    let missing = world
        .store
        .pause_flow(&world.tenant, &name("gone"), "x", "ada", START)
        .await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    let log = world.store.audit_log(&world.tenant, 100).await.unwrap();
    let actions: Vec<_> = log.iter().take(2).map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["flow.resume", "flow.pause"]);
}

async fn a_release_is_kept_once_and_as_it_is(world: World) {
    let component = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>();
    let own: Digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)))
        .parse()
        .unwrap();
    let info = ReleaseInfo {
        digest: own.clone(),
        name: "stecker/shop".to_owned(),
        version: "1.0.0".to_owned(),
        roles: vec!["source".to_owned()],
        size: component.len() as u64,
        added_at: START,
    };
    let release = NewRelease {
        info: info.clone(),
        inspection_json: "{\"a\":1}".to_owned(),
        component: component.clone(),
    };
    for _ in 0..2 {
        world
            .store
            .put_release(&world.tenant, release.clone(), START)
            .await
            .unwrap();
    }
    assert_eq!(
        world.store.releases(&world.tenant).await.unwrap(),
        std::slice::from_ref(&info)
    );
    let row = world.store.release(&world.tenant, &own).await.unwrap().unwrap();
    assert_eq!(
        (row.info, row.inspection_json.as_str()),
        (info.clone(), "{\"a\":1}")
    );
    assert_eq!(
        world.store.release_component(&world.tenant, &own).await.unwrap(),
        Some(component)
    );
    assert_eq!(
        world
            .store
            .release_component(&name("globex"), &own)
            .await
            .unwrap(),
        None
    );
    let wrong = NewRelease {
        info: ReleaseInfo {
            digest: digest('f'),
            ..info
        },
        ..release
    };
    let refused = world.store.put_release(&world.tenant, wrong, START).await;
    assert!(matches!(refused, Err(StoreError::Unstorable { .. })));
}

async fn a_lease_is_one_owners_and_its_epoch_only_grows(world: World) {
    let acquire = async |owner: &str, now: i64| {
        world
            .store
            .acquire(&world.tenant, "flow/first", owner, now, TTL)
            .await
            .unwrap()
    };
    let one = acquire("node-1", START).await.unwrap();
    assert_eq!(acquire("node-2", START + TTL - 1).await, None);
    assert!(world.renew(&one, START + 1_000 + TTL).await);
    assert_eq!(acquire("node-2", START + TTL).await, None);
    // The same owner begins anew: what it held before is worth nothing.
    let again = acquire("node-1", START).await.unwrap();
    assert_eq!(again.epoch, one.epoch + 1);
    assert!(!world.store.release_lease(&one).await.unwrap());
    assert!(world.store.release_lease(&again).await.unwrap());
    assert!(!world.renew(&again, START + TTL).await);
    let two = acquire("node-2", START).await.unwrap();
    assert_eq!(two.epoch, again.epoch + 1);
}

async fn many_leases_are_taken_at_once_and_those_of_others_are_left_out(world: World) {
    let units: Vec<_> = (0..600)
        .map(|n| (world.tenant.clone(), format!("flow/f{n}")))
        .collect();
    let acquire = async |owner: &str, now: i64| {
        let leases = world.store.acquire_all(&units, owner, now, TTL).await.unwrap();
        assert!(leases.iter().all(|lease| lease.owner == owner));
        leases
    };
    let taken = world
        .store
        .acquire(&world.tenant, "flow/f7", "node-2", START, TTL)
        .await
        .unwrap()
        .unwrap();
    let leases = acquire("node-1", START).await;
    assert_eq!(leases.len(), 599);
    assert!(
        leases
            .iter()
            .all(|lease| lease.epoch == 1 && lease.unit != taken.unit)
    );
    assert_eq!(acquire("node-2", START + 1).await.len(), 1);
    // All of node-1's have run out.
    assert_eq!(acquire("node-3", START + TTL).await.len(), 599);
    assert!(!world.renew(&leases[0], START + TTL).await);
}

async fn what_waits_for_the_holders_of_flows_is_found(world: World) {
    let other = world.for_tenant("zenith").await;
    assert_eq!(world.store.waiting_flows().await.unwrap(), []);
    for world in [&world, &other] {
        let lease = world.lease("node-1").await;
        let page = vec![record("a", "1"), record("b", "1")];
        world.commit(&lease, page, "c1").await.unwrap();
    }
    let first = || (world.tenant.clone(), name("first"));
    let deliver = [
        Told::Deliver(first().0, first().1),
        Told::Deliver(other.tenant.clone(), name("first")),
    ];
    assert_eq!(world.store.waiting_flows().await.unwrap(), deliver);
    let lease = world.take_over("node-1", START).await;
    world.deliver(&lease, 1, delivered()).await;
    assert_eq!(
        world.store.waiting_flows().await.unwrap(),
        deliver,
        "one is left of two"
    );
    world.deliver(&lease, 2, delivered()).await;
    world
        .store
        .request_run(&world.tenant, &name("first"), START)
        .await
        .unwrap();
    let request = stecker_model::api::ReconcileRequest::default();
    world
        .store
        .request_reconcile(&world.tenant, &name("first"), &request, "ada", START)
        .await
        .unwrap();
    let expected = [
        Told::Deliver(other.tenant.clone(), name("first")),
        Told::Compare(first().0, first().1),
        Told::Read(first().0, first().1),
    ];
    assert_eq!(world.store.waiting_flows().await.unwrap(), expected);
}

async fn the_audit_trail_is_newest_first(world: World) {
    for n in 0..5 {
        let entry = AuditEntry {
            at: START + 100,
            actor: "ada".to_owned(),
            action: format!("thing.{n}"),
            subject: "thing\0".to_owned(),
            detail: serde_json::json!({ "text": "a\u{0}b" }),
        };
        world.store.audit(&world.tenant, &entry).await.unwrap();
    }
    let log = world.store.audit_log(&world.tenant, 3).await.unwrap();
    assert_eq!(
        log.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(),
        ["thing.4", "thing.3", "thing.2"]
    );
    assert_eq!(log[0].detail["text"], "a\u{0}b");
}
