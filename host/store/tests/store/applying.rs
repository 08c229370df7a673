//! Specifications, releases, leases and the audit trail.

use sha2::{Digest as _, Sha256};
use stecker_model::{
    Digest,
    api::{ChangeKind, ReleaseInfo},
};
use stecker_store::{AuditEntry, NewRelease, StoreError};

use crate::world::{START, TTL, World, connection_spec, digest, flow_spec, name, scenarios};

scenarios!(
    a_change_counts_up_and_is_written_down,
    applying_is_all_or_none,
    a_pause_is_kept_until_it_is_ended,
    a_release_is_kept_once_and_as_it_is,
    a_lease_is_one_owners_and_its_epoch_only_grows,
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
    assert!(world.store.renew(&one, START + 1_000, TTL).await.unwrap());
    assert_eq!(acquire("node-2", START + TTL).await, None);
    // The same owner begins anew: what it held before is worth nothing.
    let again = acquire("node-1", START).await.unwrap();
    assert_eq!(again.epoch, one.epoch + 1);
    assert!(!world.store.release_lease(&one).await.unwrap());
    assert!(world.store.release_lease(&again).await.unwrap());
    assert!(!world.store.renew(&again, START, TTL).await.unwrap());
    let two = acquire("node-2", START).await.unwrap();
    assert_eq!(two.epoch, again.epoch + 1);
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
