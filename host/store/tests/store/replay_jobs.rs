//! Replays as jobs: their sets, what people do to them, and attempts that fail.

use stecker_model::{
    OnQuarantine, RecordState,
    api::{ReplayEvent, ReplaySelection, ReplayState},
};
use stecker_store::{Fed, NewReplay, SettledState, StoreError};

use crate::{
    replays::{delivered_records, selection},
    world::{START, World, delivered, digest, name, reason, record, scenarios},
};

scenarios!(
    people_pause_resume_and_abort,
    every_selection_meets_what_it_says,
    a_failed_attempt_of_a_replay_is_retried_with_a_fresh_budget,
    what_is_accepted_later_is_not_in_the_set,
);

async fn people_pause_resume_and_abort(world: World) {
    let lease = delivered_records(&world, 3).await;
    world.replay("again", &selection()).await;
    let (tenant, job) = (&world.tenant, name("again"));
    let switch = |event| world.store.switch_replay(tenant, &job, event, "bob", START + 300);
    assert_eq!(world.feed(&lease, "again", 1).await.queued, 1);
    switch(ReplayEvent::Pause).await.unwrap();
    assert_eq!(world.feed(&lease, "again", 1).await, Fed::default());
    assert_eq!(
        world.store.running_replay(tenant, &name("first")).await.unwrap(),
        None
    );
    switch(ReplayEvent::Resume).await.unwrap();
    switch(ReplayEvent::Resume).await.unwrap();
    assert_eq!(world.feed(&lease, "again", 1).await.queued, 1);
    switch(ReplayEvent::Abort).await.unwrap();
    assert_eq!(world.feed(&lease, "again", 1).await, Fed::default());
    let ended = world.job("again").await;
    assert_eq!(
        (ended.state, ended.left, ended.ended_at),
        (ReplayState::Aborted, 1, Some(START + 300))
    );
    let refused = switch(ReplayEvent::Resume).await.unwrap_err();
    assert!(refused.to_string().contains("aborted"), "{refused}");
    // What was queued before goes its way.
    assert_eq!(world.due_seqs(START + 300).await, [1, 2]);
    let actions: Vec<_> = world
        .store
        .audit_log(tenant, 4)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| (entry.action, entry.actor))
        .rev()
        .collect();
    let expected = [
        ("replay.start", "ada"),
        ("replay.paused", "bob"),
        ("replay.running", "bob"),
        ("replay.aborted", "bob"),
    ];
    assert_eq!(
        actions,
        expected.map(|(action, actor)| (action.to_owned(), actor.to_owned()))
    );
    let nobody = world
        .store
        .switch_replay(tenant, &name("nobody"), ReplayEvent::Pause, "bob", START)
        .await;
    assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
}

async fn every_selection_meets_what_it_says(world: World) {
    let lease = delivered_records(&world, 3).await;
    world
        .commit(&lease, vec![record("k1", "2"), record("k4", "1")], "c2")
        .await
        .unwrap();
    let dropped = SettledState::Dropped {
        reason: reason("dropped"),
    };
    world.deliver(&lease, 4, delivered()).await;
    world.deliver(&lease, 5, dropped).await;
    let only = |states: &[RecordState]| ReplaySelection {
        states: states.to_vec(),
        ..selection()
    };
    let by_key = ReplaySelection {
        key: Some("k1".to_owned()),
        from_seq: None,
        ..selection()
    };
    let by_time = |since, until| ReplaySelection {
        since,
        until,
        from_seq: None,
        ..selection()
    };
    for (selection, expected) in [
        (selection(), vec![1, 2, 3, 4]),
        (only(&[RecordState::Dropped]), vec![5]),
        (
            only(&[RecordState::Delivered, RecordState::Dropped]),
            vec![1, 2, 3, 4, 5],
        ),
        (only(&[RecordState::Discarded]), vec![]),
        (by_key, vec![1, 4]),
        (by_time(Some(START), None), vec![1, 2, 3, 4]),
        (by_time(Some(START), Some(START + 1)), vec![1, 2, 3, 4]),
        (by_time(Some(START + 1), None), vec![]),
        (by_time(None, Some(START)), vec![]),
    ] {
        // In pieces of every size it is the same.
        for limit in [1, 2, 100] {
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let (seqs, next) = world
                    .store
                    .replay_candidates(&world.tenant, &selection, after, limit)
                    .await
                    .unwrap();
                found.extend(seqs);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{selection:?} in pieces of {limit}");
        }
    }
}

async fn a_failed_attempt_of_a_replay_is_retried_with_a_fresh_budget(world: World) {
    let lease = delivered_records(&world, 1).await;
    world.replay("again", &selection()).await;
    world.feed(&lease, "again", 1).await;
    let again = SettledState::Retry {
        at: START + 500,
        reason: reason("transient"),
    };
    world.deliver(&lease, 1, again).await;
    let due = world
        .store
        .due(&world.tenant, &name("first"), OnQuarantine::Hold, START + 500, 10)
        .await
        .unwrap();
    assert_eq!((due[0].attempts, due[0].attempts_since_reset), (2, 1));
    world
        .store
        .begin(&lease, &name("first"), &[1], &digest('d'), START + 501)
        .await
        .unwrap();
    world.settle(&lease, 1, delivered()).await.unwrap();
    let detail = world.detail(1).await;
    let marks: Vec<_> = detail
        .attempts
        .iter()
        .map(|attempt| attempt.replay.is_some())
        .collect();
    assert_eq!(marks, [false, true, true]);
}

async fn what_is_accepted_later_is_not_in_the_set(world: World) {
    let lease = delivered_records(&world, 2).await;
    let job = name("again");
    let new = NewReplay {
        name: &job,
        selection: &selection(),
        reason: "why",
        actor: "ada",
        rate: 1,
    };
    world
        .store
        .create_replay(&world.tenant, new.clone(), START)
        .await
        .unwrap();
    // Accepted and delivered between the start of the job and the collecting of its set.
    world.commit(&lease, vec![record("k3", "1")], "c2").await.unwrap();
    world.deliver(&lease, 3, delivered()).await;
    assert_eq!(
        world.feed(&lease, "again", 10).await,
        Fed::default(),
        "the set is not complete"
    );
    assert!(
        !world
            .store
            .collect_replay(&world.tenant, &job, START)
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .collect_replay(&world.tenant, &job, START)
            .await
            .unwrap()
    );
    assert_eq!(world.job("again").await.total, 2);
    // And what changes afterwards does not leave it.
    assert_eq!(world.feed(&lease, "again", 10).await.queued, 2);
    let twice = world
        .store
        .create_replay(&world.tenant, new, START)
        .await
        .unwrap_err();
    assert!(twice.to_string().contains("already"), "{twice}");
}
