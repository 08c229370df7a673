//! Guests' storage: conditions, versions, and the bounds on bytes and keys.

use sqlx::{AnyConnection, Connection};
use stecker_model::Name;
use stecker_store::{KvCondition, KvQuota, KvRoom, Store, StoreError, StoreOptions, sqlite_url};

use crate::world::{World, name, scenarios};

scenarios!(
    a_write_happens_only_if_its_condition_holds,
    the_room_is_bounded,
    the_number_of_keys_is_bounded,
    bounds_hold_however_many_write_at_once,
    keys_are_listed_in_the_order_of_their_bytes,
    of_many_writers_of_a_version_one_wins_each_time,
);

const QUOTA: KvQuota = KvQuota {
    max_bytes: 1_000,
    max_keys: 10,
};

async fn put(
    world: &World,
    connection: &Name,
    key: &str,
    value: &[u8],
    when: KvCondition,
) -> Result<u64, StoreError> {
    world
        .store
        .kv_put(KvRoom::of(&world.tenant, connection), key, value, when, QUOTA)
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
    let delete = async |when| {
        world
            .store
            .kv_delete(KvRoom::of(&world.tenant, &shop), "k", when)
            .await
    };
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
        .kv_delete(KvRoom::of(&world.tenant, &shop), "a", KvCondition::Always)
        .await
        .unwrap();
    put(&world, &shop, "c", &[4; 599], KvCondition::Always)
        .await
        .unwrap();
    // A bound that was lowered forbids growth, not the way back.
    let lowered = async |value: &[u8]| {
        world
            .store
            .kv_put(
                KvRoom::of(&world.tenant, &shop),
                "c",
                value,
                KvCondition::Always,
                KvQuota {
                    max_bytes: 10,
                    ..QUOTA
                },
            )
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
    // A key that another key's wildcards would match, were they any, is just a key.
    for key in [
        "b",
        "a/2",
        "a/10",
        "ä",
        "A",
        "a/\0",
        "a",
        "z\u{10ffff}",
        "%",
        "_/",
    ] {
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
        [
            "%",
            "A",
            "_/",
            "a",
            "a/\0",
            "a/10",
            "a/2",
            "b",
            "z\u{10ffff}",
            "ä"
        ]
    );
    assert_eq!(list("a/", None, 100).await, ["a/\0", "a/10", "a/2"]);
    assert_eq!(list("a/", Some("a/\0"), 1).await, ["a/10"]);
    assert_eq!(list("z\u{10ffff}", None, 100).await, ["z\u{10ffff}"]);
    assert_eq!(list("nothing", None, 100).await, Vec::<String>::new());
    assert_eq!(list("%", None, 100).await, ["%"]);
    assert_eq!(list("_", None, 100).await, ["_/"]);
    // `after` need not be there, nor begin with the prefix; a page goes on exactly where the one before ended.
    assert_eq!(list("a/", Some("a/1"), 100).await, ["a/10", "a/2"]);
    assert_eq!(list("a/", Some("A"), 100).await, ["a/\0", "a/10", "a/2"]);
    assert_eq!(list("a/", Some("b"), 100).await, Vec::<String>::new());
    let mut pages = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = list("", after.as_deref(), 3).await;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        pages.extend(page);
    }
    assert_eq!(pages, list("", None, 100).await);
}

async fn the_number_of_keys_is_bounded(world: World) {
    let shop = name("shop");
    let three = KvQuota { max_keys: 3, ..QUOTA };
    let put = async |key: &str, quota| {
        world
            .store
            .kv_put(
                KvRoom::of(&world.tenant, &shop),
                key,
                b"v",
                KvCondition::Always,
                quota,
            )
            .await
    };
    for key in ["a", "b", "c"] {
        put(key, three).await.unwrap();
    }
    assert!(matches!(
        put("d", three).await,
        Err(StoreError::KvKeys { needed: 4, max: 3 })
    ));
    assert_eq!(
        put("a", three).await.unwrap(),
        2,
        "a key that is there is no new one"
    );
    let gone = world
        .store
        .kv_delete(KvRoom::of(&world.tenant, &shop), "a", KvCondition::Always)
        .await;
    assert!(gone.unwrap());
    put("d", three).await.unwrap();
    assert!(put("e", three).await.is_err());
    // A bound that was lowered: what is there stays and can be changed.
    let one = KvQuota { max_keys: 1, ..QUOTA };
    assert_eq!(put("b", one).await.unwrap(), 2);
    // Another connection's keys do not count.
    let erp = name("erp");
    let other = world
        .store
        .kv_put(
            KvRoom::of(&world.tenant, &erp),
            "a",
            b"v",
            KvCondition::Always,
            one,
        )
        .await;
    assert_eq!(other.unwrap(), 1);
}

async fn bounds_hold_however_many_write_at_once(world: World) {
    let shop = name("shop");
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..20_u8 {
        let (world, shop) = (world.clone(), shop.clone());
        writers.spawn(async move {
            let key = format!("key-{n:02}");
            put(&world, &shop, &key, &[n; 194], KvCondition::Always).await
        });
    }
    let mut written = 0;
    while let Some(result) = writers.join_next().await {
        match result.unwrap() {
            Ok(_) => written += 1,
            Err(error) => assert!(matches!(error, StoreError::KvQuota { max: 1_000, .. }), "{error}"),
        }
    }
    assert_eq!(written, 5, "200 bytes each, 1,000 in all");
    let keys = world
        .store
        .kv_list(&world.tenant, &shop, "", None, 100)
        .await
        .unwrap();
    assert_eq!(keys.len(), 5);
}

/// Rooms that were filled before keys were counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_from_before_they_were_counted_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
    let store = Store::open(&sqlite_url(&new), StoreOptions::default())
        .await
        .unwrap();
    store.close().await;
    // The first migration only, and some keys.
    let url = format!("{}?mode=rwc", sqlite_url(&old));
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    let first = include_str!("../../migrations/0001_ledger.sql");
    for statement in [
        first.to_owned(),
        format!("ATTACH DATABASE '{}' AS done", new.display()),
        "CREATE TABLE stecker_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
         execution_time BIGINT NOT NULL)"
            .to_owned(),
        "INSERT INTO stecker_migrations SELECT * FROM done.stecker_migrations WHERE version = 1".to_owned(),
        "INSERT INTO kv VALUES ('acme', 'shop', x'61', x'00', 1), ('acme', 'shop', x'62', x'00', 4), \
         ('acme', 'erp', x'61', x'00', 1)"
            .to_owned(),
        "INSERT INTO kv_usage VALUES ('acme', 'shop', 4), ('acme', 'erp', 2), ('acme', 'empty', 0)".to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    let store = Store::open(&sqlite_url(&old), StoreOptions::default())
        .await
        .unwrap();
    let two = KvQuota { max_keys: 2, ..QUOTA };
    for (connection, needed) in [("shop", Some(3)), ("erp", None), ("empty", None)] {
        let put = store
            .kv_put(
                KvRoom::of(&name("acme"), &name(connection)),
                "new",
                b"v",
                KvCondition::Always,
                two,
            )
            .await;
        match (put, needed) {
            (Ok(_), None) => {}
            (Err(StoreError::KvKeys { needed, max: 2 }), Some(expected)) => assert_eq!(needed, expected),
            (other, _) => panic!("{connection}: {other:?}"),
        }
    }
    store.close().await;
}

async fn of_many_writers_of_a_version_one_wins_each_time(world: World) {
    let shop = name("shop");
    put(&world, &shop, "k", b"0", KvCondition::Always).await.unwrap();
    for version in 1..=3_u64 {
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..20_u8 {
            let (world, shop) = (world.clone(), shop.clone());
            writers.spawn(async move { put(&world, &shop, "k", &[n], KvCondition::Version(version)).await });
        }
        let mut won = 0;
        while let Some(result) = writers.join_next().await {
            match result.unwrap() {
                Ok(written) => {
                    assert_eq!(written, version + 1);
                    won += 1;
                }
                Err(StoreError::KvConflict { current }) => assert_eq!(current, Some(version + 1)),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won, 1);
    }
}
