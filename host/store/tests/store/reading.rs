//! Pages: as a whole or not at all, under the lease, each state of a thing once.

use stecker_model::{RecordState, api::FlowError};
use stecker_store::{Committed, StoreError};

use crate::world::{START, World, connection_spec, digest, flow_spec, name, record, scenarios};

scenarios!(
    a_page_brings_records_cursor_and_numbers_together,
    a_stale_epoch_writes_nothing,
    the_same_page_again_brings_only_duplicates,
    an_overtaken_state_is_left_out,
    a_record_that_cannot_be_stored_takes_its_page_along,
    an_error_stays_until_the_next_page,
    a_run_is_served_when_its_last_page_is_in,
    another_source_means_reading_from_the_beginning,
    flows_and_tenants_do_not_share_dedupe,
);

async fn a_page_brings_records_cursor_and_numbers_together(world: World) {
    let lease = world.lease("node-1").await;
    let records = (0..1_000).map(|n| record(&format!("k{n}"), "1")).collect();
    let committed = world.commit(&lease, records, "c1").await.unwrap();
    assert_eq!(
        committed,
        Committed {
            accepted: 1_000,
            duplicates: 0
        }
    );
    let state = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!(state.cursor.as_deref(), Some("c1"));
    assert_eq!(
        (state.caught_up, state.reads_completed, state.last_read_at),
        (true, 1, Some(START))
    );
    assert_eq!(world.count(RecordState::Queued).await, 1_000);
    assert_eq!(
        world.store.waiting(&world.tenant, &name("first")).await.unwrap(),
        1_000
    );
    let due = world.due(START).await;
    assert_eq!(
        due.iter().map(|record| record.seq).collect::<Vec<_>>(),
        (1..=100).collect::<Vec<_>>()
    );
    assert_eq!(due[0].record, record("k0", "1").record);
    assert_eq!(due[0].idempotency_key.len(), 32);
    assert_ne!(due[0].idempotency_key, due[1].idempotency_key);
}

async fn a_stale_epoch_writes_nothing(world: World) {
    let old = world.lease("node-1").await;
    world.commit(&old, vec![record("a", "1")], "c1").await.unwrap();
    let new = world.take_over("node-2", START).await;
    assert_eq!(new.epoch, old.epoch + 1);
    let fenced = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Fenced { epoch: 1, .. }));
    let first = name("first");
    assert!(fenced(
        world.commit(&old, vec![record("b", "1")], "c2").await.map(drop)
    ));
    assert!(fenced(world.begin(&old, &[1]).await));
    assert!(fenced(world.settle(&old, 1, crate::world::delivered()).await));
    assert!(fenced(
        world.store.recover(&old, &first, START, START).await.map(drop)
    ));
    assert!(fenced(
        world.store.mark_acknowledged(&old, &first, "orders", "c1").await
    ));
    assert!(!world.renew(&old, START + 1_000).await);
    let state = world.store.reader_state(&world.tenant, &first).await.unwrap();
    assert_eq!(state.cursor.as_deref(), Some("c1"));
    assert_eq!(state.acknowledged, None);
    assert_eq!(world.count(RecordState::Queued).await, 1);
    world.commit(&new, vec![record("b", "1")], "c2").await.unwrap();
    assert_eq!(world.due_seqs(START).await, [1, 2]);
}

async fn the_same_page_again_brings_only_duplicates(world: World) {
    let lease = world.lease("node-1").await;
    let page = || {
        (0..300)
            .map(|n| record(&format!("k{n}"), "1"))
            .collect::<Vec<_>>()
    };
    world.commit(&lease, page(), "c1").await.unwrap();
    let before = world.due(START).await;
    let again = world.commit(&lease, page(), "c1").await.unwrap();
    assert_eq!(
        again,
        Committed {
            accepted: 0,
            duplicates: 300
        }
    );
    assert_eq!(world.due(START).await, before);
    let state = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!((state.duplicates, state.reads_completed), (300, 2));
    // A new record gets the next number: duplicates leave no gaps.
    world
        .commit(&lease, vec![record("new", "1")], "c2")
        .await
        .unwrap();
    assert_eq!(world.detail(301).await.summary.key, "new");
}

async fn an_overtaken_state_is_left_out(world: World) {
    let lease = world.lease("node-1").await;
    let page = vec![
        record("a", "2"),
        record("a", "1"),
        record("a", "3"),
        record("b", "1"),
        record("a", "3"),
    ];
    let committed = world.commit(&lease, page, "c1").await.unwrap();
    assert_eq!(
        committed,
        Committed {
            accepted: 3,
            duplicates: 2
        }
    );
    let late = world
        .commit(&lease, vec![record("a", "2z"), record("a", "ä")], "c2")
        .await
        .unwrap();
    // Byte by byte "2z" < "3" < "ä", whatever a locale would say.
    assert_eq!(
        late,
        Committed {
            accepted: 1,
            duplicates: 1
        }
    );
    let versions: Vec<_> = [1, 2, 3, 4].map(|seq| seq).into_iter().collect();
    let mut found = Vec::new();
    for seq in versions {
        let summary = world.detail(seq).await.summary;
        found.push(format!("{}{}", summary.key, summary.source_version));
    }
    assert_eq!(found, ["a2", "a3", "b1", "aä"]);
}

async fn a_record_that_cannot_be_stored_takes_its_page_along(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c1").await.unwrap();
    for bad in [
        record("b\0", "1"),
        record("", "1"),
        record(&"k".repeat(513), "1"),
        record("b", "\0"),
    ] {
        let page = vec![record("good", "1"), bad];
        let refused = world.commit(&lease, page, "c2").await.unwrap_err();
        assert!(matches!(refused, StoreError::Unstorable { .. }), "{refused}");
    }
    let state = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!(state.cursor.as_deref(), Some("c1"));
    assert_eq!(world.count(RecordState::Queued).await, 1);
    assert_eq!(
        world
            .commit(&lease, vec![record("good", "1")], "c2")
            .await
            .unwrap()
            .accepted,
        1
    );
}

async fn an_error_stays_until_the_next_page(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    let error = FlowError {
        at: START,
        code: "auth".to_owned(),
        message: "401 with a \0 in it".to_owned(),
        next_try_at: Some(START + 500),
    };
    world
        .store
        .set_read_error(&lease, &first, error.clone(), START)
        .await
        .unwrap();
    let state = world.store.reader_state(&world.tenant, &first).await.unwrap();
    assert_eq!(state.last_error, Some(error));
    world.commit(&lease, Vec::new(), "c1").await.unwrap();
    world
        .store
        .mark_acknowledged(&lease, &first, "orders", "c1")
        .await
        .unwrap();
    let state = world.store.reader_state(&world.tenant, &first).await.unwrap();
    assert_eq!(
        (state.last_error, state.acknowledged.as_deref()),
        (None, Some("c1"))
    );
}

async fn a_run_is_served_when_its_last_page_is_in(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    assert_eq!(
        world.store.runs_requested(&world.tenant, &first).await.unwrap(),
        0
    );
    let run = world
        .store
        .request_run(&world.tenant, &first, START)
        .await
        .unwrap();
    assert_eq!(
        world.store.runs_requested(&world.tenant, &first).await.unwrap(),
        run
    );
    for (caught_up, served) in [(false, 0), (true, run)] {
        let page = stecker_store::CommitPage {
            flow: &first,
            stream: "orders",
            release: &digest('a'),
            read_at: None,
            records: Vec::new(),
            cursor: None,
            caught_up,
            run,
            now: START,
        };
        world.store.commit_page(&lease, page).await.unwrap();
        let state = world.store.reader_state(&world.tenant, &first).await.unwrap();
        assert_eq!(
            (state.runs_served, state.reads_completed),
            (served, u64::from(caught_up))
        );
    }
}

async fn another_source_means_reading_from_the_beginning(world: World) {
    let lease = world.lease("node-1").await;
    world.commit(&lease, vec![record("a", "1")], "c1").await.unwrap();
    let key = world.due(START).await[0].idempotency_key.clone();
    world
        .store
        .apply(
            &world.tenant,
            &[connection_spec("other")],
            &[flow_spec("first", "other")],
            "ada",
            START,
        )
        .await
        .unwrap();
    let state = world
        .store
        .reader_state(&world.tenant, &name("first"))
        .await
        .unwrap();
    assert_eq!((state.cursor, state.caught_up), (None, false));
    // Whoever was reading the old source cannot bring its cursor back.
    let fenced = world.commit(&lease, vec![record("a", "2")], "c2").await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })));
    // The same key of another system is another thing.
    let lease = world.lease("node-1").await;
    assert_eq!(
        world
            .commit(&lease, vec![record("a", "1")], "d1")
            .await
            .unwrap()
            .accepted,
        1
    );
    assert_ne!(world.detail(2).await.idempotency_key, key);
}

async fn flows_and_tenants_do_not_share_dedupe(world: World) {
    let other = world.for_tenant("globex").await;
    let mut keys = Vec::new();
    for world in [&world, &other] {
        let lease = world.lease("node-1").await;
        assert_eq!(
            world
                .commit(&lease, vec![record("a", "1")], "c")
                .await
                .unwrap()
                .accepted,
            1
        );
        assert_eq!(world.count(RecordState::Queued).await, 1);
        keys.push(world.due(START).await[0].idempotency_key.clone());
    }
    assert_ne!(keys[0], keys[1]);
}
