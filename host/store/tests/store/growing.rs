//! A long history must not make today's work slower.

use std::time::{Duration, Instant};

use stecker_model::{Name, RecordState};

use crate::world::{START, World, delivered, name, record, scenarios, settlement};

scenarios!(history_does_not_slow_work_down);

async fn fastest_of(world: &World, flow: &Name) -> Duration {
    let mut fastest = Duration::MAX;
    // The best of several, so that a busy machine is not taken for a slow query.
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(world.due(START).await.len(), 10);
        world.store.counts(&world.tenant, flow).await.unwrap();
        world.store.next_due_at(&world.tenant, flow).await.unwrap();
        fastest = fastest.min(began.elapsed());
    }
    fastest
}

async fn history_does_not_slow_work_down(world: World) {
    let lease = world.lease("node-1").await;
    let first = name("first");
    // Ten records that wait, of the very keys that have a long history.
    let waiting = |version: &str| {
        (0..10)
            .map(|n| record(&format!("k{n}"), version))
            .collect::<Vec<_>>()
    };
    world.commit(&lease, waiting("0"), "c").await.unwrap();
    let before = fastest_of(&world, &first).await;
    for page in 1..=20 {
        let due: Vec<_> = world.due(START).await.iter().map(|record| record.seq).collect();
        world.begin(&lease, &due).await.unwrap();
        let settlements = due.iter().map(|seq| settlement(*seq, delivered())).collect();
        world
            .store
            .settle(&lease, &first, settlements, START)
            .await
            .unwrap();
        let mut records: Vec<_> = (0..990).map(|n| record(&format!("p{page}-{n}"), "1")).collect();
        records.extend(waiting(&format!("{page:03}")));
        world.commit(&lease, records, "c").await.unwrap();
        // All but the ten are dealt with at once.
        let seqs = world.all_queued(&first).await;
        let settlements: Vec<_> = seqs.into_iter().map(|seq| settlement(seq, delivered())).collect();
        world
            .store
            .settle(&lease, &first, settlements, START)
            .await
            .unwrap();
    }
    let after = fastest_of(&world, &first).await;
    println!(
        "before {before:?}, with {} delivered {after:?}",
        world.count(RecordState::Delivered).await
    );
    assert!(
        after < before * 10 + Duration::from_millis(20),
        "{before:?} became {after:?}"
    );
}

impl World {
    /// Numbers of the queued records whose key begins with `p`.
    async fn all_queued(&self, flow: &Name) -> Vec<i64> {
        let filter = stecker_model::api::RecordFilter {
            flow: Some(flow.clone()),
            state: Some(RecordState::Queued),
            limit: Some(1_000),
            ..Default::default()
        };
        let page = self.store.list_records(&self.tenant, &filter).await.unwrap();
        page.records
            .iter()
            .filter(|record| record.key.starts_with('p'))
            .map(|record| record.id.seq)
            .collect()
    }
}
