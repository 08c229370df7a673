//! Recorded calls: switched on for a while, sealed, bounded, and gone with the key.

use std::sync::Arc;

use sqlx::{AnyConnection, Connection, Row};
use stecker_model::Name;
use stecker_store::{Forget, KvCondition, KvQuota, NewTape, Place, Vault, VaultError, VaultSecret};

use crate::{
    vault::{Keys, host},
    world::{START, World, connection_spec, digest, name, scenarios},
};

scenarios!(
    a_recording_ends_by_time_and_by_number,
    a_tape_opens_at_its_place_and_nowhere_else,
    the_oldest_tapes_make_room,
    tapes_go_with_the_key_and_with_time,
    a_copy_of_the_storage_is_bounded,
);

async fn set_up(world: &World) -> Vault {
    world
        .store
        .apply(
            &world.tenant,
            &[connection_spec("shop"), connection_spec("erp")],
            &[],
            "ada",
            START,
        )
        .await
        .unwrap();
    host(world, &Arc::<Keys>::default()).await
}

async fn start(world: &World, connection: &Name, until: i64, calls: u32) {
    let taping = (until, calls);
    let started = world
        .store
        .start_taping(&world.tenant, connection, taping, "ada", START);
    started.await.unwrap();
}

async fn keep(world: &World, vault: &Vault, connection: &Name, at: i64, bytes: &[u8]) -> bool {
    let release = digest('a');
    let tape = NewTape {
        tenant: &world.tenant,
        connection,
        at,
        release: &release,
        function: "read",
        bytes,
    };
    vault.keep_tape(&tape, at).await.unwrap()
}

async fn a_recording_ends_by_time_and_by_number(world: World) {
    let vault = set_up(&world).await;
    let (shop, erp) = (name("shop"), name("erp"));
    assert!(
        !keep(&world, &vault, &shop, START, b"call").await,
        "it was never on"
    );
    start(&world, &shop, START + 100, 2).await;
    let taped = async || {
        let binder = world.store.binder(&world.tenant, &shop).await.unwrap().unwrap();
        binder.taped_until
    };
    assert_eq!(taped().await, Some(START + 100), "whoever calls it knows");
    for (at, kept) in [
        (START, true),
        (START + 100, false),
        (START + 1, true),
        (START + 2, false),
    ] {
        assert_eq!(keep(&world, &vault, &shop, at, b"call").await, kept, "{at}");
    }
    assert_eq!(taped().await, None, "nothing is left of it");
    assert!(
        !keep(&world, &vault, &erp, START, b"call").await,
        "another connection"
    );

    start(&world, &shop, START + 100, 2).await;
    assert!(
        world
            .store
            .stop_taping(&world.tenant, &shop, "ada", START)
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .stop_taping(&world.tenant, &shop, "ada", START)
            .await
            .unwrap()
    );
    assert_eq!(
        world.store.taping(&world.tenant, &shop, START).await.unwrap(),
        None
    );
    let unknown = world
        .store
        .start_taping(&world.tenant, &name("nobody"), (START + 1, 1), "ada", START)
        .await;
    assert!(unknown.is_err());
    let log = world.store.audit_log(&world.tenant, 20).await.unwrap();
    for action in ["tape.start", "tape.stop"] {
        assert!(log.iter().any(|entry| entry.action == action), "{action}");
    }
}

async fn a_tape_opens_at_its_place_and_nowhere_else(world: World) {
    let vault = set_up(&world).await;
    let (shop, erp) = (name("shop"), name("erp"));
    start(&world, &shop, START + 100, 10).await;
    assert!(keep(&world, &vault, &shop, START, b"what the shop answered").await);
    let tapes = world.store.tapes(&world.tenant, &shop).await.unwrap();
    let id = &tapes[0].id;
    let opened = vault.open_tape(&world.tenant, &shop, id).await.unwrap().unwrap();
    assert_eq!(opened.as_slice(), b"what the shop answered");
    assert!(vault.open_tape(&world.tenant, &erp, id).await.unwrap().is_none());

    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    let row = sqlx::query("SELECT sealed FROM tapes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let sealed: Vec<u8> = row.get("sealed");
    assert!(!String::from_utf8_lossy(&sealed).contains("shop"));
    sqlx::query("UPDATE tapes SET connection = 'erp'")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let moved = vault.open_tape(&world.tenant, &erp, id).await.unwrap_err();
    assert!(matches!(moved, VaultError::Damaged { .. }), "{moved}");
    assert_eq!(
        world
            .store
            .clear_tapes(&world.tenant, &erp, "ada", START)
            .await
            .unwrap(),
        1
    );
}

async fn the_oldest_tapes_make_room(world: World) {
    let vault = set_up(&world).await;
    let shop = name("shop");
    start(&world, &shop, START + 10_000, 500).await;
    let large = vec![b'x'; 30 << 20];
    for at in 0..3 {
        assert!(keep(&world, &vault, &shop, START + at, &large).await);
    }
    let tapes = world.store.tapes(&world.tenant, &shop).await.unwrap();
    let at: Vec<_> = tapes.iter().map(|tape| tape.at - START).collect();
    assert_eq!(at, [2, 1], "the newest first, and no more than 64 MiB");
}

async fn tapes_go_with_the_key_and_with_time(world: World) {
    let vault = set_up(&world).await;
    let (shop, api) = (name("shop"), name("api"));
    let place = Place {
        tenant: &world.tenant,
        connection: &shop,
        credential: &api,
    };
    let secret = VaultSecret {
        username: None,
        value: "0123456789abcdef".to_owned().into(),
    };
    vault.set(place, &secret, "ada", START).await.unwrap();
    start(&world, &shop, START + 100, 10).await;
    for at in [START, START + 50] {
        assert!(keep(&world, &vault, &shop, at, b"call").await);
    }
    let tapes = async || world.store.tapes(&world.tenant, &shop).await.unwrap().len();
    assert_eq!(world.store.forget(Forget::Tapes, START + 1, 10).await.unwrap(), 1);
    assert_eq!(tapes().await, 1);
    let rotated = vault
        .rotate(&world.tenant, "ada", START, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(
        (rotated.key_version, rotated.items),
        (2, 1),
        "the secret is sealed again"
    );
    assert_eq!(tapes().await, 0, "tapes are not");
    assert!(keep(&world, &vault, &shop, START + 60, b"call").await);
    let id = world.store.tapes(&world.tenant, &shop).await.unwrap()[0]
        .id
        .clone();
    assert!(
        vault
            .open_tape(&world.tenant, &shop, &id)
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_copy_of_the_storage_is_bounded(world: World) {
    let shop = name("shop");
    let (tenant, quota) = (
        &world.tenant,
        KvQuota {
            max_bytes: 1_000,
            max_keys: 10,
        },
    );
    for key in ["a", "b"] {
        let put = world.store.kv_put(
            stecker_store::KvRoom::of(tenant, &shop),
            key,
            &[7; 100],
            KvCondition::Always,
            quota,
        );
        put.await.unwrap();
    }
    let all = world
        .store
        .kv_snapshot(tenant, &shop, 1_000)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((all["b"].version, all["b"].value.len()), (1, 100));
    assert_eq!(world.store.kv_snapshot(tenant, &shop, 201).await.unwrap(), None);
    let none = world.store.kv_snapshot(tenant, &name("erp"), 1).await.unwrap();
    assert_eq!(none, Some(std::collections::BTreeMap::new()));
}
