//! Warm instances: what a call leaves behind reaches the next one of the same session, and nobody else.

use stecker_model::{Instances, Transformed};
use stecker_sandbox::{Binding, Release, Session};

use crate::support::{answer, apply, binding, load, record, sandbox, transform, within};

/// Says how many calls its instance has served, as one digit. A batch of two makes it crash, a batch of three makes it wait for ever.
fn counting() -> Vec<u8> {
    let code = apply(&format!(
        "(if (i32.eq (local.get $len) (i32.const 2)) (then unreachable))
         (if (i32.eq (local.get $len) (i32.const 3)) (then (loop $again (br $again))))
         (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (global.get $calls)))
         {} (i32.const 2048)",
        answer(1, 4096, 1)
    ));
    transform("", &format!("(global $calls (mut i32) (i32.const 0)) {code}"))
}

fn bind(release: &Release, mut binding: Binding, instances: Instances) -> Session {
    binding.instances = instances;
    release.bind(binding).unwrap()
}

async fn served(session: &Session) -> String {
    match session.apply(vec![record()]).await.result.unwrap().remove(0) {
        Transformed::Drop(count) => count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_fresh_instance_remembers_nothing() {
    let release = load(&sandbox(), counting()).await;
    let session = bind(&release, binding(), Instances::Fresh);
    for _ in 0..3 {
        assert_eq!(served(&session).await, "1");
    }
}

#[tokio::test]
async fn a_warm_instance_serves_the_next_call_of_its_session_and_no_other() {
    let release = load(&sandbox(), counting()).await;
    let (one, two) = (
        bind(&release, binding(), Instances::Warm),
        bind(&release, binding(), Instances::Warm),
    );
    assert_eq!(served(&one).await, "1");
    assert_eq!(served(&one).await, "2");
    assert_eq!(served(&two).await, "1");
    assert_eq!(served(&one).await, "3");
}

#[tokio::test]
async fn nothing_survives_a_call_that_did_not_end_in_order() {
    let release = load(&sandbox(), counting()).await;
    let session = bind(&release, within(100), Instances::Warm);
    assert_eq!(served(&session).await, "1");
    assert!(session.apply(vec![record(), record()]).await.result.is_err());
    assert_eq!(served(&session).await, "1", "after a crash");
    assert!(session.apply(vec![record(); 3]).await.result.is_err());
    assert_eq!(served(&session).await, "1", "after a time-out");
    let given_up = session.apply(vec![record(); 3]);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(5), given_up)
            .await
            .is_err()
    );
    assert_eq!(served(&session).await, "1", "after a caller that gave up");
    assert_eq!(served(&session).await, "2");
}

/// What lies warm counts as the tenant's memory until it goes, and goes with its session.
#[tokio::test]
async fn the_memory_of_a_warm_instance_is_accounted_for() {
    let sandbox = sandbox();
    let release = load(&sandbox, counting()).await;
    let tenant = binding().tenant;
    let (warm, fresh) = (
        bind(&release, binding(), Instances::Warm),
        bind(&release, binding(), Instances::Fresh),
    );
    let memory = || sandbox.tenant_usage(&tenant).map(|usage| usage.memory_bytes);
    served(&fresh).await;
    assert_eq!(memory(), Some(0));
    served(&warm).await;
    assert!(memory() >= Some(64 << 10), "{:?}", memory());
    drop(warm);
    assert_eq!(memory(), Some(0));
    let usage = sandbox.tenant_usage(&tenant).unwrap();
    assert_eq!((usage.calls, usage.running), (2, 0));
}

/// Warm instances never take the place of a call: there is room for half as many as calls, and the rest is not kept.
#[tokio::test]
async fn warm_instances_do_not_keep_calls_waiting() {
    let sandbox = sandbox();
    let release = load(&sandbox, counting()).await;
    let sessions: Vec<Session> = (0..10)
        .map(|_| bind(&release, binding(), Instances::Warm))
        .collect();
    let mut kept = 0;
    for session in &sessions {
        served(session).await;
    }
    for session in &sessions {
        kept += usize::from(served(session).await == "2");
    }
    assert_eq!(kept, 2, "of four instances");
}
