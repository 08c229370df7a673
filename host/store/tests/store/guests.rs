//! Guests' storage: conditions, versions, and the bound on bytes.

use stecker_model::Name;
use stecker_store::{KvCondition, StoreError};

use crate::world::{World, name, scenarios};

scenarios!(
    a_write_happens_only_if_its_condition_holds,
    the_room_is_bounded,
    keys_are_listed_in_the_order_of_their_bytes,
    of_many_writers_of_a_version_one_wins,
);

async fn put(
    world: &World,
    connection: &Name,
    key: &str,
    value: &[u8],
    when: KvCondition,
) -> Result<u64, StoreError> {
    world
        .store
        .kv_put(&world.tenant, connection, key, value, when, 1_000)
        .await
}

async fn a_write_happens_only_if_its_condition_holds(world: World) {
    let shop = name("shop");
    assert_eq!(world.store.kv_get(&world.tenant, &shop, "k").await.unwrap(), None);
    assert_eq!(
        put(&world, &shop, "k", b"one", KvCondition::Absent)
            .await
            .unwrap(),
        1
    );
    let conflict = put(&world, &shop, "k", b"x", KvCondition::Absent).await;
    assert!(matches!(
        conflict,
        Err(StoreError::KvConflict { current: Some(1) })
    ));
    assert_eq!(
        put(&world, &shop, "k", b"two", KvCondition::Version(1))
            .await
            .unwrap(),
        2
    );
    let conflict = put(&world, &shop, "k", b"x", KvCondition::Version(1)).await;
    assert!(matches!(
        conflict,
        Err(StoreError::KvConflict { current: Some(2) })
    ));
    assert_eq!(
        put(&world, &shop, "k", b"", KvCondition::Always).await.unwrap(),
        3
    );
    let entry = world
        .store
        .kv_get(&world.tenant, &shop, "k")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((entry.value, entry.version), (Vec::new(), 3));
    // Another connection and another tenant have rooms of their own.
    assert_eq!(
        world
            .store
            .kv_get(&world.tenant, &name("erp"), "k")
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        world.store.kv_get(&name("globex"), &shop, "k").await.unwrap(),
        None
    );
    let delete = async |when| world.store.kv_delete(&world.tenant, &shop, "k", when).await;
    assert!(matches!(
        delete(KvCondition::Version(2)).await,
        Err(StoreError::KvConflict { .. })
    ));
    assert!(delete(KvCondition::Version(3)).await.unwrap());
    assert!(!delete(KvCondition::Always).await.unwrap());
    let conflict = put(&world, &shop, "k", b"x", KvCondition::Version(3)).await;
    assert!(matches!(conflict, Err(StoreError::KvConflict { current: None })));
}

async fn the_room_is_bounded(world: World) {
    let shop = name("shop");
    put(&world, &shop, "a", &[1; 599], KvCondition::Always)
        .await
        .unwrap();
    let full = put(&world, &shop, "b", &[2; 400], KvCondition::Always).await;
    assert!(matches!(
        full,
        Err(StoreError::KvQuota {
            used: 600,
            needed: 1_001,
            max: 1_000
        })
    ));
    assert_eq!(world.store.kv_get(&world.tenant, &shop, "b").await.unwrap(), None);
    put(&world, &shop, "b", &[2; 399], KvCondition::Always)
        .await
        .unwrap();
    // Replacing counts what is replaced; deleting gives back.
    put(&world, &shop, "a", &[3; 599], KvCondition::Always)
        .await
        .unwrap();
    world
        .store
        .kv_delete(&world.tenant, &shop, "a", KvCondition::Always)
        .await
        .unwrap();
    put(&world, &shop, "c", &[4; 599], KvCondition::Always)
        .await
        .unwrap();
    // A bound that was lowered forbids growth, not the way back.
    let lowered = async |value: &[u8]| {
        world
            .store
            .kv_put(&world.tenant, &shop, "c", value, KvCondition::Always, 10)
            .await
    };
    assert!(matches!(
        lowered(&[5; 600]).await,
        Err(StoreError::KvQuota { .. })
    ));
    lowered(&[5; 100]).await.unwrap();
}

async fn keys_are_listed_in_the_order_of_their_bytes(world: World) {
    let shop = name("shop");
    for key in ["b", "a/2", "a/10", "ä", "A", "a/\0", "a", "z\u{10ffff}"] {
        put(&world, &shop, key, b"v", KvCondition::Always).await.unwrap();
    }
    let list = async |prefix: &str, after: Option<&str>, limit| {
        world
            .store
            .kv_list(&world.tenant, &shop, prefix, after, limit)
            .await
            .unwrap()
    };
    assert_eq!(
        list("", None, 100).await,
        ["A", "a", "a/\0", "a/10", "a/2", "b", "z\u{10ffff}", "ä"]
    );
    assert_eq!(list("a/", None, 100).await, ["a/\0", "a/10", "a/2"]);
    assert_eq!(list("a/", Some("a/\0"), 1).await, ["a/10"]);
    assert_eq!(list("z\u{10ffff}", None, 100).await, ["z\u{10ffff}"]);
    assert_eq!(list("nothing", None, 100).await, Vec::<String>::new());
}

async fn of_many_writers_of_a_version_one_wins(world: World) {
    let shop = name("shop");
    put(&world, &shop, "k", b"0", KvCondition::Always).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8_u8 {
        let (world, shop) = (world.clone(), shop.clone());
        writers.spawn(async move { put(&world, &shop, "k", &[n], KvCondition::Version(1)).await });
    }
    let mut won = 0;
    while let Some(result) = writers.join_next().await {
        match result.unwrap() {
            Ok(version) => {
                assert_eq!(version, 2);
                won += 1;
            }
            Err(error) => assert!(
                matches!(error, StoreError::KvConflict { current: Some(2) }),
                "{error}"
            ),
        }
    }
    assert_eq!(won, 1);
}
