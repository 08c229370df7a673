//! Moving a connection to another release, and back.

use stecker_model::{
    Name, RecordState,
    api::{MoveState, RolloutEvent, RolloutState, StartRollout},
};
use stecker_store::{
    CommitPage, KvCondition, KvQuota, KvRoom, Lease, Moved, NewRecord, NewRollout, ReadAt, Restored,
    RolloutStep, SettledState, StoreError, rollout_unit,
};

use crate::world::{START, TTL, World, connection_spec, delivered, digest, name, reason, record, scenarios};

scenarios!(
    a_page_read_before_the_move_does_not_count_after_it,
    the_way_back_restores_cursor_and_storage_and_reads_again_what_was_not_sent,
    what_is_on_its_way_back_keeps_nothing_waiting,
    what_somebody_changed_meanwhile_is_left,
    a_connection_is_in_one_rollout_and_a_barred_release_in_none,
    what_a_person_ended_or_paused_moves_nothing,
    whoever_lost_the_rollout_changes_nothing,
);

const QUOTA: KvQuota = KvQuota {
    max_bytes: 1_000,
    max_keys: 10,
};

fn request(to: char) -> StartRollout {
    StartRollout {
        name: None,
        connection: Some(name("shop")),
        all_of: None,
        to: digest(to).to_string(),
        canary: None,
        bake: None,
        shadow: None,
        config: None,
        approved: false,
        reason: "v1 ends".to_owned(),
    }
}

impl World {
    async fn rollout(&self, rollout: &str, to: char) -> Result<Lease, StoreError> {
        let new = NewRollout {
            name: &name(rollout),
            request: &request(to),
            to: &digest(to),
            connections: &[(name("shop"), 1, digest('a'))],
            actor: "ada",
        };
        self.store.create_rollout(&self.tenant, new, START).await?;
        let unit = rollout_unit(&name(rollout));
        let lease = self
            .store
            .acquire(&self.tenant, &unit, "node-1", START, TTL)
            .await?;
        Ok(lease.unwrap())
    }

    async fn generation(&self) -> i64 {
        let shop = self.store.connection(&self.tenant, &name("shop")).await.unwrap();
        shop.unwrap().generation
    }

    /// As whoever works on it would, once it is prepared and tried.
    async fn begin_moving(&self, lease: &Lease, rollout: &str) {
        for event in [RolloutEvent::Prepared, RolloutEvent::Shadowed] {
            let step = RolloutStep {
                event: Some(event),
                ..RolloutStep::default()
            };
            self.store
                .step_rollout(lease, &name(rollout), step, START)
                .await
                .unwrap();
        }
    }

    async fn move_shop(&self, lease: &Lease, rollout: &str, to: char) -> Moved {
        let mut spec = connection_spec("shop");
        spec.plugin.digest = Some(digest(to));
        let generation = self.generation().await;
        self.store
            .move_connection(lease, &name(rollout), &spec, generation, &digest(to), START + 10)
            .await
            .unwrap()
    }

    /// A page that a release read at a generation, from a cursor on.
    async fn read(
        &self,
        lease: &Lease,
        release: char,
        (generation, from, to): (i64, Option<&str>, &str),
        records: Vec<NewRecord>,
    ) -> Result<u64, StoreError> {
        let page = CommitPage {
            flow: &name("first"),
            stream: "orders",
            release: &digest(release),
            read_at: Some(ReadAt {
                generation,
                cursor: from.map(str::to_owned),
            }),
            records,
            cursor: Some(to.to_owned()),
            caught_up: true,
            run: 0,
            now: START + 20,
        };
        Ok(self.store.commit_page(lease, page).await?.accepted)
    }

    async fn cursor(&self) -> Option<String> {
        let state = self
            .store
            .reader_state(&self.tenant, &name("first"))
            .await
            .unwrap();
        state.cursor
    }

    async fn state_of(&self, seq: i64) -> RecordState {
        let id = format!("first/{seq}").parse().unwrap();
        self.store
            .record(&self.tenant, &id)
            .await
            .unwrap()
            .unwrap()
            .summary
            .state
    }

    async fn put(&self, generation: Option<i64>, value: &[u8]) -> Result<u64, StoreError> {
        let shop = name("shop");
        let room = KvRoom {
            generation,
            ..KvRoom::of(&self.tenant, &shop)
        };
        self.store
            .kv_put(room, "k", value, KvCondition::Always, QUOTA)
            .await
    }

    async fn value(&self) -> Vec<u8> {
        let entry = self.store.kv_get(&self.tenant, &name("shop"), "k").await.unwrap();
        entry.unwrap().value
    }
}

async fn a_page_read_before_the_move_does_not_count_after_it(world: World) {
    let flow = world.lease("node-1").await;
    let rollout = world.rollout("r1", 'b').await.unwrap();
    world
        .read(&flow, 'a', (1, None, "c1"), vec![record("x", "1")])
        .await
        .unwrap();
    world.begin_moving(&rollout, "r1").await;
    assert_eq!(world.move_shop(&rollout, "r1", 'b').await, Moved::Moved(2));
    assert_eq!(world.move_shop(&rollout, "r1", 'b').await, Moved::Already);
    // Read by the old release, and committed too late.
    let late = world
        .read(&flow, 'a', (1, Some("c1"), "c2"), vec![record("y", "1")])
        .await;
    assert!(matches!(late, Err(StoreError::Superseded { .. })), "{late:?}");
    let late = world.put(Some(1), b"old").await;
    assert!(matches!(late, Err(StoreError::Superseded { .. })), "{late:?}");
    // From another place than where the flow is.
    let astray = world
        .read(&flow, 'b', (2, None, "c9"), vec![record("y", "1")])
        .await;
    assert!(matches!(astray, Err(StoreError::Superseded { .. })), "{astray:?}");
    assert_eq!(world.cursor().await.as_deref(), Some("c1"));
    let read = world
        .read(&flow, 'b', (2, Some("c1"), "c2"), vec![record("y", "1")])
        .await;
    assert_eq!(read.unwrap(), 1);
    world.put(Some(2), b"new").await.unwrap();
}

async fn the_way_back_restores_cursor_and_storage_and_reads_again_what_was_not_sent(world: World) {
    let flow = world.lease("node-1").await;
    world.put(Some(1), b"kept").await.unwrap();
    world
        .read(
            &flow,
            'a',
            (1, None, "c1"),
            vec![record("x", "1"), record("z", "1")],
        )
        .await
        .unwrap();
    let rollout = world.rollout("r1", 'b').await.unwrap();
    world.begin_moving(&rollout, "r1").await;
    world.move_shop(&rollout, "r1", 'b').await;
    world.put(Some(2), b"changed").await.unwrap();
    // The new release reads a new state of one thing, and two new ones, of which one is delivered.
    let page = vec![record("x", "2"), record("y", "1"), record("w", "1")];
    world
        .read(&flow, 'b', (2, Some("c1"), "c2"), page.clone())
        .await
        .unwrap();
    world.begin(&flow, &[4]).await.unwrap();
    world.settle(&flow, 4, delivered()).await.unwrap();
    let restored = world
        .store
        .restore_connection(&rollout, &name("r1"), &name("shop"), &digest('b'), START + 30)
        .await
        .unwrap();
    assert_eq!(restored, Restored::Restored(2));
    assert_eq!(world.cursor().await.as_deref(), Some("c1"));
    assert_eq!(world.value().await, b"kept");
    let shop = world
        .store
        .connection(&world.tenant, &name("shop"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((shop.spec, shop.generation), (connection_spec("shop"), 3));
    assert_eq!(world.state_of(3).await, RecordState::Dropped);
    assert_eq!(world.state_of(4).await, RecordState::Delivered);
    assert_eq!(world.state_of(5).await, RecordState::Dropped);
    let counts = world.store.counts(&world.tenant, &name("first")).await.unwrap();
    assert_eq!(
        (counts[&RecordState::Queued], counts[&RecordState::Dropped]),
        (2, 2)
    );
    // The old one reads the same again: what was delivered is known, the rest is new.
    let read = world.read(&flow, 'a', (3, Some("c1"), "c2"), page).await;
    assert_eq!(read.unwrap(), 2);
    assert_eq!(
        world.due_seqs(START + 40).await,
        [1, 2, 7],
        "the new state of x waits behind the one before"
    );
}

async fn what_is_on_its_way_back_keeps_nothing_waiting(world: World) {
    let flow = world.lease("node-1").await;
    let rollout = world.rollout("r1", 'b').await.unwrap();
    world.begin_moving(&rollout, "r1").await;
    world.move_shop(&rollout, "r1", 'b').await;
    world
        .read(&flow, 'b', (2, None, "c2"), vec![record("x", "1")])
        .await
        .unwrap();
    world.begin(&flow, &[1]).await.unwrap();
    let shop = name("shop");
    world
        .store
        .restore_connection(&rollout, &name("r1"), &shop, &digest('b'), START + 30)
        .await
        .unwrap();
    assert_eq!(world.state_of(1).await, RecordState::Sending);
    assert_eq!(
        world
            .read(&flow, 'a', (3, None, "c2"), vec![record("x", "1")])
            .await
            .unwrap(),
        1
    );
    let rest = async || {
        let of = (&digest('b'), START);
        world
            .store
            .leave_out_rest(&rollout, &name("r1"), &shop, of, START + 40)
            .await
            .unwrap()
    };
    assert_eq!(rest().await, (0, 1), "it is still on its way");
    assert_eq!(world.due_seqs(START + 40).await, Vec::<i64>::new());
    let refused = SettledState::Quarantined {
        reason: reason("unknown-item"),
    };
    world.settle(&flow, 1, refused).await.unwrap();
    assert_eq!(rest().await, (1, 0));
    assert_eq!(world.state_of(1).await, RecordState::Dropped);
    assert_eq!(world.due_seqs(START + 50).await, [2]);
}

async fn what_somebody_changed_meanwhile_is_left(world: World) {
    let rollout = world.rollout("r1", 'b').await.unwrap();
    world.begin_moving(&rollout, "r1").await;
    let mut changed = connection_spec("shop");
    changed.config = serde_json::json!({ "url": "http://other.example" });
    let generation = world.generation().await;
    world
        .store
        .apply(&world.tenant, &[changed.clone()], &[], "ada", START)
        .await
        .unwrap();
    let mut spec = connection_spec("shop");
    spec.plugin.digest = Some(digest('b'));
    let moved = world
        .store
        .move_connection(&rollout, &name("r1"), &spec, generation, &digest('b'), START + 10)
        .await
        .unwrap();
    assert_eq!(moved, Moved::Left);
    let shop = world
        .store
        .connection(&world.tenant, &name("shop"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shop.spec, changed);
    let info = world.store.rollout(&world.tenant, &name("r1")).await.unwrap();
    assert_eq!(info.connections[0].state, MoveState::Left);
}

async fn a_connection_is_in_one_rollout_and_a_barred_release_in_none(world: World) {
    let lease = world.rollout("r1", 'b').await.unwrap();
    let again = world.rollout("r1", 'b').await;
    assert!(
        matches!(again, Err(StoreError::Conflict { .. })),
        "the name is taken: {again:?}"
    );
    let other = world.rollout("r2", 'c').await;
    assert!(matches!(other, Err(StoreError::Conflict { .. })), "{other:?}");
    let step = |event, bar: Option<&str>| RolloutStep {
        event: Some(event),
        bar: bar.map(str::to_owned),
        ..RolloutStep::default()
    };
    let ended = world
        .store
        .step_rollout(
            &lease,
            &name("r1"),
            step(RolloutEvent::Unfit, Some("it crashed")),
            START + 5,
        )
        .await
        .unwrap();
    assert_eq!(ended, RolloutState::Failed);
    assert_eq!(world.store.open_rollouts().await.unwrap(), []);
    let barred = world.rollout("r3", 'b').await;
    assert!(matches!(&barred, Err(StoreError::Conflict { .. })), "{barred:?}");
    let (tenant, barred) = (&world.tenant, digest('b'));
    let lifted = world
        .store
        .bar_release(tenant, &barred, None, "ada", START + 6)
        .await;
    lifted.unwrap();
    world.rollout("r3", 'b').await.unwrap();
    let over = world
        .store
        .pause_rollout(&world.tenant, &name("r1"), true, "ada", START + 7)
        .await;
    assert!(matches!(over, Err(StoreError::Conflict { .. })), "{over:?}");
    let none: Name = name("none");
    let unknown = world.store.rollout(&world.tenant, &none).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

async fn what_a_person_ended_or_paused_moves_nothing(world: World) {
    let lease = world.rollout("r1", 'b').await.unwrap();
    world.begin_moving(&lease, "r1").await;
    let (tenant, rollout) = (&world.tenant, name("r1"));
    let mut spec = connection_spec("shop");
    spec.plugin.digest = Some(digest('b'));
    let moved = async || {
        let to = digest('b');
        world
            .store
            .move_connection(&lease, &rollout, &spec, 1, &to, START + 10)
            .await
    };
    world
        .store
        .pause_rollout(tenant, &rollout, true, "ada", START)
        .await
        .unwrap();
    let paused = moved().await;
    assert!(matches!(paused, Err(StoreError::Conflict { .. })), "{paused:?}");
    let abort = RolloutEvent::AbortUnmoved;
    world
        .store
        .switch_rollout(tenant, &rollout, abort, "ada", START)
        .await
        .unwrap();
    let ended = moved().await;
    assert!(matches!(ended, Err(StoreError::Conflict { .. })), "{ended:?}");
    assert_eq!(world.generation().await, 1);
}

async fn whoever_lost_the_rollout_changes_nothing(world: World) {
    let old = world.rollout("r1", 'b').await.unwrap();
    let unit = rollout_unit(&name("r1"));
    let new = world
        .store
        .acquire(&world.tenant, &unit, "node-2", START + TTL + 1, TTL)
        .await
        .unwrap()
        .unwrap();
    let mut spec = connection_spec("shop");
    spec.plugin.digest = Some(digest('b'));
    let moved = world
        .store
        .move_connection(&old, &name("r1"), &spec, 1, &digest('b'), START + 10)
        .await;
    assert!(matches!(moved, Err(StoreError::Fenced { .. })), "{moved:?}");
    let step = RolloutStep {
        event: Some(RolloutEvent::Prepared),
        ..RolloutStep::default()
    };
    let stepped = world
        .store
        .step_rollout(&old, &name("r1"), step.clone(), START)
        .await;
    assert!(matches!(stepped, Err(StoreError::Fenced { .. })), "{stepped:?}");
    assert_eq!(world.generation().await, 1);
    let stepped = world
        .store
        .step_rollout(&new, &name("r1"), step.clone(), START)
        .await
        .unwrap();
    assert_eq!(stepped, RolloutState::Shadowing);
    let twice = world.store.step_rollout(&new, &name("r1"), step, START).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
}
