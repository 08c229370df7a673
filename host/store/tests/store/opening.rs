//! Databases that must not be touched, cannot be reached, or are full.

use std::{fs, path::Path};

use sqlx::{AnyConnection, Connection};
use stecker_model::RecordState;
use stecker_store::{Backend, Store, StoreError, StoreOptions, sqlite_url};

use crate::world::{START, World, name, record, scenarios};

scenarios!(
    a_newer_schema_is_left_alone,
    opening_again_finds_everything,
    two_hosts_open_at_the_same_time
);

async fn a_newer_schema_is_left_alone(world: World) {
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    let known = sqlx::query("SELECT version FROM stecker_migrations")
        .fetch_all(&mut connection)
        .await
        .unwrap()
        .len();
    sqlx::query(
        "INSERT INTO stecker_migrations (version, description, success, checksum, execution_time) \
         SELECT 4711, 'from the future', success, checksum, 0 FROM stecker_migrations WHERE version = 1",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let refused = Store::open(&world.url, StoreOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::NewerSchema { found: 4711, known } if known < 4711),
        "{refused}"
    );
    assert!(refused.to_string().contains("newer program"));
    let rows = sqlx::query("SELECT version FROM stecker_migrations")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), known + 1);
    connection.close().await.unwrap();
}

async fn opening_again_finds_everything(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c1").await.unwrap();
    world.store.ping().await.unwrap();
    world.store.close().await;
    assert!(matches!(
        world.store.ping().await,
        Err(StoreError::Unavailable { .. })
    ));
    let store = Store::open(&world.url, StoreOptions::default()).await.unwrap();
    let again = World { store, ..world };
    assert_eq!(again.due_seqs(START).await, [1]);
    assert_eq!(
        again.store.tenants().await.unwrap(),
        std::slice::from_ref(&again.tenant)
    );
    again.store.close().await;
}

async fn two_hosts_open_at_the_same_time(world: World) {
    // A database of its own that nobody has migrated yet, beside the world's.
    let url = match world.store.backend() {
        Backend::Sqlite => format!("{}-fresh", world.url),
        // Databases are made by whoever runs the server; here, reopening one has to do.
        Backend::Postgres => world.url.to_string(),
    };
    let (one, two) = tokio::join!(
        Store::open(&url, StoreOptions::default()),
        Store::open(&url, StoreOptions::default())
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    one.ensure_tenant(&name("globex"), START).await.unwrap();
    assert!(two.tenants().await.unwrap().contains(&name("globex")));
    one.close().await;
    two.close().await;
}

async fn refused(path: &Path) -> StoreError {
    Store::open(&sqlite_url(path), StoreOptions::default())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "these are notes, not a database\n".repeat(200);
    fs::write(&path, &text).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    sqlx::any::install_default_drivers();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let mut connection = AnyConnection::connect(&format!("{}?mode=rwc", sqlite_url(&path)))
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (a TEXT); INSERT INTO theirs VALUES ('x')")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&folder.path().join("no/such/folder/store.db")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let open = async |url: &str| Store::open(url, StoreOptions::default()).await.unwrap_err();
    let error = open("postgres://stecker@127.0.0.1:1/stecker").await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    for url in [
        "mysql://root:sesame@localhost/x",
        "sqlite::memory:",
        "nonsense",
        "",
    ] {
        let error = open(url).await;
        assert!(matches!(error, StoreError::BadUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("sesame"));
    }
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_page() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(&folder.path().join("small.db"));
    let bounded = StoreOptions {
        max_pages: Some(300),
        ..StoreOptions::default()
    };
    let store = Store::open(&url, bounded).await.unwrap();
    let world = World {
        store,
        url: url.as_str().into(),
        tenant: name("acme"),
    };
    let world = world.for_tenant("acme").await;
    let lease = world.lease("node-1").await;
    let page = |page: u64| {
        let large = |n: u64| {
            let mut record = record(&format!("k{page}-{n}"), "1");
            record.record.payload = format!("\"{}\"", "x".repeat(2_000));
            record
        };
        (0..50).map(large).collect::<Vec<_>>()
    };
    let mut pages = 0;
    let error = loop {
        match world.commit(&lease, page(pages), &format!("c{pages}")).await {
            Ok(committed) => assert_eq!(committed.accepted, 50),
            Err(error) => break error,
        }
        pages += 1;
        assert!(pages < 100, "the disk is never full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(pages > 0);
    // Everything is as it was after the last good page, again and again, and what needs no room still works.
    for _ in 0..3 {
        let state = world
            .store
            .reader_state(&world.tenant, &name("first"))
            .await
            .unwrap();
        assert_eq!(state.cursor, Some(format!("c{}", pages - 1)));
        assert_eq!(world.count(RecordState::Queued).await, pages * 50);
        assert!(world.renew(&lease, START + 60_000).await);
        let again = world.commit(&lease, page(pages), "never").await.unwrap_err();
        assert!(matches!(again, StoreError::Full { .. }), "{again}");
    }
    world.store.close().await;
    // With room again, it goes on where it was, and no number is missing.
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let world = World { store, ..world };
    assert_eq!(
        world.commit(&lease, page(pages), "next").await.unwrap().accepted,
        50
    );
    let last = i64::try_from(pages * 50 + 50).unwrap();
    assert_eq!(world.state(last).await, RecordState::Queued);
    assert_eq!(
        world.store.counts(&world.tenant, &name("first")).await.unwrap()[&RecordState::Queued],
        pages * 50 + 50
    );
    world.store.close().await;
}
