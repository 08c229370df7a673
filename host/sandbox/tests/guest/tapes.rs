//! A call that is played again is told the same time and gets the same random bytes, through the contract and through WASI, warm or not.

use std::sync::Arc;

use stecker_model::{Instances, Transformed};
use stecker_sandbox::{Binding, CallOptions, Recorder, Session, TapeBounds};

use crate::support::{MANIFEST, answer, apply, binding, component, load, record, sandbox};

/// Drops its record, and says as the reason what it was given: random bytes in four ways, and the time, each in the letters that its bits come to.
fn telling() -> Vec<u8> {
    let packages = "
        package wasi:random@0.2.0 {
            interface random { get-random-u64: func() -> u64; }
            interface insecure { get-insecure-random-u64: func() -> u64; }
            interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }
        }";
    let world = "import stecker:plugin/random@1.0.0; import stecker:plugin/clock@1.0.0; import wasi:random/random@0.2.0;
        import wasi:random/insecure@0.2.0; import wasi:random/insecure-seed@0.2.0;
        export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;";
    let code = format!(
        r#"(import "stecker:plugin/random@1.0.0" "bytes" (func $bytes (param i32 i32)))
        (import "stecker:plugin/clock@1.0.0" "now" (func $now (result i64)))
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $number (result i64)))
        (import "wasi:random/insecure@0.2.0" "get-insecure-random-u64" (func $insecure (result i64)))
        (import "wasi:random/insecure-seed@0.2.0" "insecure-seed" (func $seed (param i32)))
;; imports end
        (func $tell (param $at i32) (param $bits i64)
            (i64.store (local.get $at) (i64.or (i64.const 0x4040404040404040) (i64.and (i64.const 0x3f3f3f3f3f3f3f3f) (local.get $bits)))))
        {}"#,
        apply(&format!(
            "(call $bytes (i32.const 8) (i32.const 4200))
             (call $tell (i32.const 4400) (i64.load (i32.load (i32.const 4200))))
             (call $tell (i32.const 4408) (call $number))
             (call $tell (i32.const 4416) (call $insecure))
             (call $seed (i32.const 4304))
             (call $tell (i32.const 4424) (i64.load (i32.const 4304)))
             (call $tell (i32.const 4432) (call $now))
             (call $tell (i32.const 4440) (i64.shr_u (call $now) (i64.const 6)))
             {} (i32.const 2048)",
            answer(1, 4400, 48)
        ))
    );
    component(world, packages, &code, MANIFEST)
}

async fn told(session: &Session, options: CallOptions) -> String {
    let called = session.clone().with(options).apply(vec![record()]).await;
    match called.result.unwrap().as_slice() {
        [Transformed::Drop(reason)] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_recorded_can_be_played_again() {
    let release = load(&sandbox(), telling()).await;
    for instances in [Instances::Fresh, Instances::Warm] {
        let session = release
            .bind(Binding {
                instances,
                ..binding()
            })
            .unwrap();
        let usual = told(&session, CallOptions::Usual).await;
        let recorder = Arc::new(Recorder::new(TapeBounds::default()));
        let first = told(&session, CallOptions::Recorded(Arc::clone(&recorder))).await;
        let recorded = recorder.recorded();
        assert_eq!(
            recorded.circumstances.readings.len(),
            2,
            "the clock was asked twice"
        );
        assert!(!recorded.truncated && recorded.exchanges.is_empty());
        let of = Arc::new(recorded.circumstances);
        for _ in 0..3 {
            assert_eq!(told(&session, CallOptions::Played(Arc::clone(&of))).await, first);
        }
        let again = told(&session, CallOptions::Usual).await;
        assert!(usual != first && again != first && usual != again);
    }
}
