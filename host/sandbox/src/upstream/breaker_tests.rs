//! When a host is down, and when it is tried.

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn erp() -> Name {
    "erp".parse().unwrap()
}

fn ended(watch: &mut Watch, ending: Ending, now: i64) -> bool {
    let mut rng = StdRng::seed_from_u64(1);
    watch.ended(ending, || "no connection".to_owned(), None, now, &mut rng)
}

fn open() -> Watch {
    let mut watch = Watch::default();
    watch.used_by(&erp(), NOW);
    for _ in 0..ROW {
        ended(&mut watch, Ending::Down, NOW);
    }
    watch.is_news = false;
    watch
}

fn trial(watch: &mut Watch, now: i64) {
    assert!(watch.is_over(now));
    let half_open = Breaker {
        state: BreakerState::HalfOpen,
        until: Some(now + 90_000),
        ..watch.breaker.clone()
    };
    let trial = Trial {
        connection: erp(),
        unit: "deliver/orders".to_owned(),
    };
    watch.tried(half_open, trial);
}

#[test]
fn what_an_answer_means() {
    for (status, ending) in [
        (200, Ending::Answered),
        (404, Ending::Answered),
        (429, Ending::Answered),
        (500, Ending::Faulty),
        (501, Ending::Faulty),
        (502, Ending::Down),
        (503, Ending::Down),
        (504, Ending::Down),
        (599, Ending::Faulty),
    ] {
        assert_eq!(Ending::of_status(status), ending, "{status}");
    }
}

#[test]
fn failures_in_a_row_open_it_and_an_answer_ends_the_row() {
    let mut watch = Watch::default();
    for _ in 0..ROW - 1 {
        assert!(!ended(&mut watch, Ending::Down, NOW));
    }
    assert!(!ended(&mut watch, Ending::Faulty, NOW), "does not end the row");
    assert!(!ended(&mut watch, Ending::Answered, NOW));
    for _ in 0..ROW - 1 {
        assert!(!ended(&mut watch, Ending::Down, NOW));
    }
    assert_eq!(watch.admission(&erp(), NOW), Admission::Yes);
    assert!(ended(&mut watch, Ending::Down, NOW));
    assert_eq!(
        (watch.breaker.state, watch.breaker.since),
        (BreakerState::Open, NOW)
    );
    assert!(watch.breaker.reason.contains("no connection") && watch.is_news);
    let until = watch.breaker.until.unwrap();
    assert!((NOW + FIRST_OPEN..=NOW + FIRST_OPEN * 5 / 4).contains(&until));
    assert_eq!(watch.admission(&erp(), NOW + 10), Admission::No(until));
    assert!(
        !ended(&mut watch, Ending::Answered, NOW),
        "a late answer changes nothing"
    );
    assert!(!watch.is_over(until - 1) && watch.is_over(until));
}

#[test]
fn so_does_a_share_of_many() {
    let mut watch = Watch::default();
    for n in 0..SAMPLE - 1 {
        let ending = if n % 4 == 0 {
            Ending::Answered
        } else {
            Ending::Faulty
        };
        assert!(!ended(&mut watch, ending, NOW), "{n}");
    }
    assert!(ended(&mut watch, Ending::Faulty, NOW));
    assert!(
        watch.breaker.reason.contains("15 of the last 20"),
        "{}",
        watch.breaker.reason
    );
    // The same within a longer time says nothing.
    let mut watch = Watch::default();
    for n in 0..200 {
        let ending = if n % 4 == 0 {
            Ending::Answered
        } else {
            Ending::Faulty
        };
        assert!(!ended(&mut watch, ending, NOW + n * 2_000), "{n}");
    }
}

#[test]
fn one_request_at_a_time_tries_it_and_a_few_answers_close_it() {
    let mut watch = open();
    let now = watch.breaker.until.unwrap();
    trial(&mut watch, now);
    let other: Name = "other".parse().unwrap();
    assert!(matches!(watch.admission(&other, now), Admission::No(_)));
    assert!(watch.is_tried_by(&erp(), "deliver/orders", now));
    assert!(!watch.is_tried_by(&erp(), "deliver/stock", now));
    for answer in 1..=ENOUGH {
        assert_eq!(watch.admission(&erp(), now), Admission::Yes);
        watch.sent();
        assert!(
            matches!(watch.admission(&erp(), now), Admission::No(_)),
            "one is under way"
        );
        assert_eq!(ended(&mut watch, Ending::Answered, now), answer == ENOUGH);
    }
    assert_eq!(watch.breaker.state, BreakerState::Closed);
    assert_eq!((watch.breaker.trips, watch.breaker.connections.len()), (0, 1));
}

#[test]
fn a_trial_that_fails_doubles_the_pause_up_to_a_minute() {
    let mut watch = open();
    for trip in 1..12_u32 {
        let now = watch.breaker.until.unwrap();
        trial(&mut watch, now);
        watch.sent();
        let ending = if trip % 2 == 0 {
            Ending::Down
        } else {
            Ending::Faulty
        };
        assert!(ended(&mut watch, ending, now));
        watch.is_news = false;
        let pause = (FIRST_OPEN << trip).min(LONGEST_OPEN);
        let waits = watch.breaker.until.unwrap() - now;
        assert!((pause..=pause * 5 / 4).contains(&waits), "{trip}: {waits}");
        assert_eq!((watch.breaker.since, watch.breaker.trips), (NOW, trip + 1));
    }
}

#[test]
fn a_host_that_asks_for_time_gets_it() {
    let mut watch = open();
    let now = watch.breaker.until.unwrap();
    trial(&mut watch, now);
    let mut rng = StdRng::seed_from_u64(1);
    watch.ended(Ending::Down, || "503".to_owned(), Some(600_000), now, &mut rng);
    assert_eq!(watch.breaker.until, Some(now + 600_000));
}

#[test]
fn a_trial_elsewhere_is_not_this_ones() {
    let mut watch = open();
    let now = watch.breaker.until.unwrap();
    let half_open = Breaker {
        state: BreakerState::HalfOpen,
        until: Some(now + 5_000),
        ..watch.breaker.clone()
    };
    watch.learn(half_open);
    assert_eq!(watch.admission(&erp(), now), Admission::No(now + 5_000));
    assert!(!ended(&mut watch, Ending::Answered, now));
    assert!(
        !watch.is_over(now + 4_999) && watch.is_over(now + 5_000),
        "given up"
    );
    watch.learn(Breaker::default());
    assert_eq!(watch.admission(&erp(), now), Admission::Yes);
    assert!(watch.is_used_by(&erp()));
}

proptest! {
    /// Whatever happens: nothing is admitted while it is open, its time always comes, and it never stays open for longer than asked.
    #[test]
    fn it_never_locks_anybody_out_for_good(
        steps in prop::collection::vec((0_u8..4, 0_i64..20_000), 1..300), seed in any::<u64>(),
    ) {
        let (mut watch, mut now, mut rng) = (Watch::default(), NOW, StdRng::seed_from_u64(seed));
        for (what, passed) in steps {
            now += passed;
            watch.is_news = false;
            if watch.is_over(now) {
                trial(&mut watch, now);
            }
            match watch.admission(&erp(), now) {
                Admission::Yes => {
                    watch.sent();
                    let ending = match what {
                        0 => Ending::Answered,
                        1 => Ending::Faulty,
                        _ => Ending::Down,
                    };
                    watch.ended(ending, String::new, None, now, &mut rng);
                }
                Admission::No(until) => {
                    prop_assert_eq!(watch.breaker.state, BreakerState::Open);
                    prop_assert!(until > now && until - now <= LONGEST_OPEN * 5 / 4);
                }
            }
        }
    }
}
