//! What may go when, whatever a system says.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn window(limit: u64, left: u64, reset_ms: u64) -> Said {
    Said {
        retry_after_ms: None,
        window: Some(Window {
            header: "RateLimit",
            limit: Some(limit),
            left,
            reset_ms: Some(reset_ms),
            each_ms: None,
        }),
    }
}

fn asked(retry_after_ms: Option<u64>) -> Said {
    Said {
        retry_after_ms,
        window: None,
    }
}

#[test]
fn nobody_goes_before_the_moment_that_was_asked_for() {
    let mut bucket = Bucket::default();
    assert_eq!(bucket.ready(NOW, Some(Priority::Low)), Ready::Now);
    bucket.answered(429, &asked(Some(3_000)), NOW);
    assert!(std::mem::take(&mut bucket.is_news));
    assert_eq!(bucket.ready(NOW, None), Ready::At(NOW + 3_000));
    // Another one that asks for less changes nothing, one for more does.
    bucket.answered(429, &asked(Some(1_000)), NOW + 1_000);
    assert_eq!(
        (bucket.ready(NOW + 1_000, None), bucket.is_news),
        (Ready::At(NOW + 3_000), false)
    );
    bucket.answered(503, &asked(Some(9_000)), NOW + 1_000);
    let hold = bucket.hold(NOW + 1_000).unwrap();
    assert_eq!((hold.since, hold.until), (NOW, NOW + 10_000));
    assert!(hold.reason.starts_with("503"), "{}", hold.reason);
    assert_eq!(bucket.ready(NOW + 10_000, None), Ready::Now);
    // A 503 that asks for nothing is the breaker's business.
    bucket.answered(503, &asked(None), NOW + 10_000);
    assert_eq!(bucket.ready(NOW + 10_000, None), Ready::Now);
}

#[test]
fn a_refusal_that_does_not_say_how_long_doubles() {
    let (mut bucket, mut now) = (Bucket::default(), NOW);
    for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        bucket.answered(429, &asked(None), now);
        assert_eq!(bucket.ready(now, None), Ready::At(now + pause));
        now += pause;
    }
    bucket.answered(200, &asked(None), now);
    bucket.answered(429, &asked(None), now);
    assert_eq!(bucket.ready(now, None), Ready::At(now + 1_000));
}

#[test]
fn what_is_left_of_a_window_is_spread_and_spared() {
    let mut bucket = Bucket::default();
    bucket.answered(200, &window(100, 60, 10_000), NOW);
    for _ in 0..10 {
        assert_eq!(bucket.ready(NOW, None), Ready::Now);
        bucket.sent(NOW);
    }
    assert_eq!(bucket.ready(NOW, Some(Priority::Low)), Ready::Now, "half is left");
    bucket.sent(NOW);
    // 49 are left for ten seconds: one each 200 ms.
    assert_eq!(bucket.ready(NOW, None), Ready::At(NOW + 200));
    assert_eq!(bucket.ready(NOW + 200, None), Ready::Now);
    assert_eq!(bucket.ready(NOW + 200, Some(Priority::Normal)), Ready::Now);
    assert_eq!(
        bucket.ready(NOW + 200, Some(Priority::Low)),
        Ready::At(NOW + 10_000)
    );
    assert_eq!(
        bucket.ready(NOW + 10_000, Some(Priority::Low)),
        Ready::Now,
        "a new window"
    );
    // Those that are under way are taken off what an answer says.
    bucket.answered(200, &window(100, 25, 10_000), NOW);
    assert_eq!(bucket.learned(NOW).unwrap().left, 15);
    assert_eq!(
        bucket.ready(NOW + 5_000, Some(Priority::Normal)),
        Ready::At(NOW + 10_000)
    );
    assert_eq!(bucket.ready(NOW + 5_000, None), Ready::Now);
    bucket.answered(200, &window(100, 0, 4_000), NOW);
    assert_eq!(bucket.ready(NOW, None), Ready::At(NOW + 4_000));
}

#[test]
fn a_bucket_that_leaks_gives_one_back_at_a_time() {
    let mut bucket = Bucket::default();
    let said = Said {
        retry_after_ms: None,
        window: Some(Window {
            header: "X-Shopify-Shop-Api-Call-Limit",
            limit: Some(40),
            left: 2,
            reset_ms: Some(19_000),
            each_ms: Some(500),
        }),
    };
    bucket.answered(200, &said, NOW);
    assert_eq!(bucket.ready(NOW, None), Ready::Now);
    bucket.sent(NOW);
    assert_eq!(bucket.ready(NOW, None), Ready::At(NOW + 500));
    bucket.sent(NOW + 500);
    assert_eq!(
        bucket.ready(NOW + 500, None),
        Ready::At(NOW + 1_000),
        "none left, one comes back"
    );
}

#[test]
fn a_configured_budget_comes_in_slices() {
    let mut bucket = Bucket::default();
    bucket.set_budget(Some(UpstreamBudget::new(10.0, Some(20))));
    assert_eq!(bucket.ready(NOW, None), Ready::Fetch(5));
    bucket.filled(
        Slice {
            tokens: 2,
            left: 0,
            wait_ms: 80,
        },
        NOW,
    );
    for _ in 0..2 {
        assert_eq!(bucket.ready(NOW, None), Ready::Now);
        bucket.sent(NOW);
    }
    assert_eq!(bucket.ready(NOW, None), Ready::At(NOW + 80));
    assert_eq!(bucket.ready(NOW + 80, None), Ready::Fetch(5));
    bucket.filled(
        Slice {
            tokens: 1,
            left: 0,
            wait_ms: 0,
        },
        NOW + 80,
    );
    assert_eq!(bucket.ready(NOW + 80, Some(Priority::Low)), Ready::At(NOW + 181));
    assert_eq!(
        bucket.ready(NOW + 2_000, None),
        Ready::Fetch(5),
        "what is not used is given up"
    );
    bucket.unfilled(NOW + 2_000);
    assert_eq!(bucket.ready(NOW + 2_000, None), Ready::At(NOW + 3_000));
    bucket.set_budget(None);
    assert_eq!(bucket.ready(NOW, None), Ready::Now);
}

#[test]
fn what_has_nothing_left_for_long_does_not_begin() {
    let mut bucket = Bucket::default();
    bucket.answered(200, &window(100, 0, 4_000), NOW);
    assert_eq!(bucket.rest(NOW), None, "short enough to be waited for");
    bucket.answered(200, &window(100, 0, 60_000), NOW);
    let rest = bucket.rest(NOW + 10_000).unwrap();
    assert_eq!((rest.since, rest.until), (NOW, NOW + 60_000));
    assert!(rest.reason.contains("RateLimit"), "{}", rest.reason);
    assert_eq!(
        (bucket.hold(NOW), bucket.is_news),
        (None, false),
        "others need not know"
    );
    let mut bucket = Bucket::default();
    bucket.set_budget(Some(UpstreamBudget::new(0.01, Some(1))));
    assert_eq!(bucket.rest(NOW), None, "nobody knows yet");
    bucket.filled(
        Slice {
            tokens: 0,
            left: 0,
            wait_ms: 90_000,
        },
        NOW,
    );
    assert_eq!(bucket.rest(NOW).map(|rest| rest.until), Some(NOW + 90_000));
}

#[test]
fn others_do_not_overwrite_news() {
    let mut bucket = Bucket::default();
    bucket.answered(429, &asked(Some(3_000)), NOW);
    bucket.learn_hold(None);
    assert!(bucket.hold(NOW).is_some());
    bucket.is_news = false;
    bucket.learn_hold(None);
    assert!(bucket.hold(NOW).is_none());
}

proptest! {
    /// Whatever a system says, the moment to wait for is in the future and within a day, and then somebody goes or asks.
    #[test]
    fn there_is_always_a_moment_to_wait_for(
        steps in prop::collection::vec(
            (
                0_i64..5_000,
                prop_oneof![Just(200_u16), Just(429), Just(503)],
                prop::option::of(0_u64..100_000_000),
                prop::option::of((prop::option::of(0_u64..1_000), 0_u64..1_000, prop::option::of(0_u64..100_000_000), prop::option::of(1_u64..20_000))),
            ),
            1..100,
        ),
        keeps in prop_oneof![Just(None), Just(Some(Priority::Normal)), Just(Some(Priority::Low))],
    ) {
        let (mut bucket, mut now) = (Bucket::default(), NOW);
        for (passed, status, retry_after_ms, window) in steps {
            now += passed;
            let window = window.map(|(limit, left, reset_ms, each_ms)| Window {
                header: "RateLimit", limit, left, reset_ms, each_ms,
            });
            bucket.sent(now);
            bucket.answered(status, &Said { retry_after_ms: retry_after_ms.map(|ms| ms.min(LONGEST_MS)), window }, now);
            if let Ready::At(at) = bucket.ready(now, keeps) {
                prop_assert!(at > now && at - now <= i64::try_from(LONGEST_MS).unwrap());
            }
            prop_assert_eq!(bucket.ready(now + i64::try_from(LONGEST_MS).unwrap() + 1, keeps), Ready::Now);
        }
    }
}
