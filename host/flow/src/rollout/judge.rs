//! Whether a new release does worse than the one that ran before, beyond chance. Pure.
//!
//! Shares are compared by their Wilson score intervals (Wilson, J. Am. Stat. Assoc. 22, 1927): a share of failures only counts as worse where
//! the least that it is likely to be is more than the most that the other one is likely to be, by a margin. So three failures among five calls say
//! nothing against a system that fails now and then, and a hundred among two hundred do. What was found once has to be found again before
//! anything is done about it, with more calls behind it; only a release that never answers is taken back at once.

use stecker_model::api::{CallNumbers, RolloutSignal, RolloutWatch};

/// Standard deviations: one in some hundred looks fires for nothing, and two in a row are needed.
const Z: f64 = 2.58;
/// What a share has to be worse by, at least.
const MARGIN: f64 = 0.02;
/// Calls below which a share says nothing, unless everything failed.
const FEW: u64 = 20;
/// Calls that fail without a single one that does not, after which nobody waits for more.
const HOPELESS: u64 = 5;
/// What is taken for the share of failures where the running release has no calls to be held against.
const UNKNOWN: f64 = 0.05;
/// Buckets of twice the time: slower than four times is slow.
const SLOWER: u32 = 2;
/// In milliseconds: 2^8. What takes less is quick, however much longer it takes than before.
const QUICK: u32 = 8;
/// Looks in a row that have to find something.
const IN_A_ROW: u32 = 2;
/// Records that the running release would have read by now, of which the new one read none.
const EXPECTED: f64 = 20.0;
/// Records of which one should have arrived, several batches of them.
const MANY: u64 = 200;

/// What is known of both releases.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Of the new one, since the move.
    pub(crate) candidate: CallNumbers,
    /// Of the one before.
    pub(crate) baseline: CallNumbers,
    /// Milliseconds since the move.
    pub(crate) elapsed: i64,
    /// Milliseconds for which it is watched.
    pub(crate) bake: i64,
}

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too early to say.
    Wait,
    /// It did well.
    Well,
    /// It goes back.
    Back,
}

fn get(numbers: &CallNumbers, what: &str, class: &str) -> u64 {
    numbers
        .get(what)
        .and_then(|classes| classes.get(class))
        .copied()
        .unwrap_or(0)
}

fn sum(numbers: &CallNumbers, what: &str) -> u64 {
    numbers.get(what).map_or(0, |classes| classes.values().sum())
}

/// Functions that were called; not the other things that are counted.
fn functions(numbers: &CallNumbers) -> impl Iterator<Item = &str> {
    let other = |what: &str| {
        what.contains('/')
            || matches!(
                what,
                "record" | "record-read" | "records" | "api-version" | "check"
            )
    };
    numbers
        .keys()
        .map(String::as_str)
        .filter(move |what| !other(what))
}

#[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
fn real(n: u64) -> f64 {
    n as f64
}

/// The least and the most that a share is likely to be.
fn interval(bad: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (real(n), real(bad) / real(n));
    let z2 = Z * Z;
    let middle = share + z2 / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let width = 1.0 + z2 / n;
    ((middle - half) / width, (middle + half) / width)
}

/// Says what is worse about a share, if anything is.
fn worse(signal: &str, what: &str, new: (u64, u64), old: (u64, u64)) -> Option<RolloutSignal> {
    let ((bad, n), (old_bad, old_n)) = (new, old);
    let all_failed = bad == n && n >= HOPELESS && old_bad < old_n.max(1);
    if n < FEW && !all_failed {
        return None;
    }
    let most = if old_n == 0 {
        UNKNOWN
    } else {
        // A short history says little about what is usual.
        interval(old_bad, old_n)
            .1
            .min(if old_n < FEW { 0.5 } else { 1.0 })
    };
    (interval(bad, n).0 > most + MARGIN).then(|| RolloutSignal {
        signal: signal.to_owned(),
        what: format!("{what}: {bad} of {n}; before: {old_bad} of {old_n}"),
    })
}

/// The bucket below which most of the times are.
fn most(numbers: &CallNumbers, what: &str) -> Option<(u32, u64)> {
    let buckets = numbers.get(&format!("time/{what}"))?;
    let mut buckets: Vec<(u32, u64)> = buckets
        .iter()
        .filter_map(|(bucket, n)| Some((bucket.parse().ok()?, *n)))
        .collect();
    buckets.sort_unstable();
    let n: u64 = buckets.iter().map(|(_, n)| n).sum();
    let mut left = n * 95 / 100;
    for (bucket, n) in buckets {
        if left < n {
            return Some((bucket, sum(numbers, &format!("time/{what}"))));
        }
        left -= n;
    }
    None
}

/// Everything that is worse.
pub(crate) fn signals(figures: &Figures) -> Vec<RolloutSignal> {
    let (new, old) = (&figures.candidate, &figures.baseline);
    let mut found = Vec::new();
    for function in functions(new) {
        let (n, old_n) = (sum(new, function), sum(old, function));
        let classes = new
            .get(function)
            .into_iter()
            .flatten()
            .map(|(class, _)| class.as_str());
        for class in classes.filter(|class| *class != "ok" && *class != "busy") {
            let bad = (get(new, function, class), n);
            let before = (get(old, function, class), old_n);
            found.extend(worse(
                class,
                &format!("{function} came to `{class}`"),
                bad,
                before,
            ));
        }
        // Many kinds of failures, none of them often.
        let failed = (n - get(new, function, "ok"), n);
        let before = (old_n - get(old, function, "ok"), old_n);
        if found.is_empty() {
            found.extend(worse("failures", &format!("{function} failed"), failed, before));
        }
        if let (Some((new, n)), Some((old, old_n))) = (most(new, function), most(old, function))
            && n >= FEW
            && old_n >= FEW
            && new > QUICK
            && new >= old + SLOWER
        {
            found.push(RolloutSignal {
                signal: "latency".to_owned(),
                what: format!(
                    "{function}: nineteen of twenty calls take up to {} ms; before: {} ms",
                    1_u64 << new.min(40),
                    1_u64 << old.min(40)
                ),
            });
        }
    }
    for (what, of) in [
        ("record-read", "records that it read"),
        ("record", "records that it was given"),
    ] {
        // Retries come in whole batches, from systems that are down for a moment: a share of them says nothing about a release. Calls that fail are
        // counted above.
        let bad = (get(new, what, "quarantined"), sum(new, what));
        let before = (get(old, what, "quarantined"), sum(old, what));
        found.extend(worse(
            "quarantine",
            &format!("{of} came to quarantine"),
            bad,
            before,
        ));
    }
    found.extend(quieter(new, old));
    found.extend(nothing_delivered(new, old));
    found.extend(stall(figures));
    found
}

/// Reads that go well and bring nothing, where they always brought something.
fn quieter(new: &CallNumbers, old: &CallNumbers) -> Option<RolloutSignal> {
    let (reads, old_reads) = (get(new, "read", "ok"), get(old, "read", "ok"));
    let (records, old_records) = (get(new, "records", "read"), get(old, "records", "read"));
    if old_reads < FEW || reads == 0 || records > 0 {
        return None;
    }
    let expected = real(old_records) / real(old_reads) * real(reads);
    (expected >= EXPECTED).then(|| RolloutSignal {
        signal: "record-rate".to_owned(),
        what: format!("{reads} reads brought no record; before, they would have brought {expected:.0}"),
    })
}

/// Writes that go well as calls, and of which no record arrives.
fn nothing_delivered(new: &CallNumbers, old: &CallNumbers) -> Option<RolloutSignal> {
    let (tried, arrived) = (sum(new, "record"), get(new, "record", "delivered"));
    let before = get(old, "record", "delivered");
    (tried >= MANY && arrived == 0 && before > 0).then(|| RolloutSignal {
        signal: "nothing-delivered".to_owned(),
        what: format!("none of {tried} records that it was given arrived"),
    })
}

/// It was called, and nothing of it went well.
fn stall(figures: &Figures) -> Option<RolloutSignal> {
    let new = &figures.candidate;
    let calls: u64 = functions(new).map(|function| sum(new, function)).sum();
    let well: u64 = functions(new).map(|function| get(new, function, "ok")).sum();
    let before: u64 = functions(&figures.baseline)
        .map(|function| get(&figures.baseline, function, "ok"))
        .sum();
    (calls >= HOPELESS && well == 0 && before > 0).then(|| RolloutSignal {
        signal: "stall".to_owned(),
        what: format!("none of {calls} calls went well"),
    })
}

/// Looks at those that were moved; `last` is what the look before found.
pub(crate) fn look(figures: &Figures, last: Option<&RolloutWatch>, now: i64) -> (Verdict, RolloutWatch) {
    let calls = |numbers: &CallNumbers| functions(numbers).map(|function| sum(numbers, function)).sum();
    let signals = signals(figures);
    let watch = RolloutWatch {
        at: now,
        calls: calls(&figures.candidate),
        baseline_calls: calls(&figures.baseline),
        in_a_row: if signals.is_empty() {
            0
        } else {
            let before = last.filter(|last| !last.signals.is_empty());
            match before {
                // Only what more calls say, too, is found again.
                Some(last) if last.calls == calls(&figures.candidate) => last.in_a_row.max(1),
                Some(last) => last.in_a_row + 1,
                None => 1,
            }
        },
        signals,
    };
    let hopeless = watch.signals.iter().any(|signal| signal.signal == "stall");
    let verdict = if hopeless || watch.in_a_row >= IN_A_ROW {
        Verdict::Back
    } else if figures.elapsed >= figures.bake && watch.signals.is_empty() {
        Verdict::Well
    } else if figures.elapsed >= figures.bake.saturating_mul(2) {
        // Something was found, and nothing came since that would say it again.
        Verdict::Back
    } else {
        Verdict::Wait
    };
    (verdict, watch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn numbers(entries: &[(&str, &str, u64)]) -> CallNumbers {
        let mut numbers = CallNumbers::new();
        for (what, class, n) in entries {
            *numbers
                .entry((*what).to_owned())
                .or_default()
                .entry((*class).to_owned())
                .or_default() += n;
        }
        numbers
    }

    fn found(new: &[(&str, &str, u64)], old: &[(&str, &str, u64)]) -> Vec<String> {
        let figures = Figures {
            candidate: numbers(new),
            baseline: numbers(old),
            elapsed: 0,
            bake: 1,
        };
        signals(&figures)
            .into_iter()
            .map(|signal| signal.signal)
            .collect()
    }

    #[test]
    fn what_is_worse_is_found() {
        let old = [
            ("read", "ok", 1_000),
            ("read", "transient", 10),
            ("records", "read", 5_000),
            ("time/read", "5", 1_000),
            ("write", "ok", 1_000),
            ("record", "delivered", 5_000),
            ("record-read", "delivered", 5_000),
            ("record-read", "quarantined", 25),
        ];
        for (signal, new) in [
            (
                "crash",
                vec![
                    ("read", "ok", 80),
                    ("read", "crash", 20),
                    ("records", "read", 400),
                ],
            ),
            ("auth", vec![("write", "auth", 20), ("write", "ok", 20)]),
            (
                "deadline",
                vec![
                    ("read", "deadline", 15),
                    ("read", "ok", 30),
                    ("records", "read", 150),
                ],
            ),
            (
                "quarantine",
                vec![
                    ("record-read", "quarantined", 30),
                    ("record-read", "delivered", 70),
                ],
            ),
            (
                "latency",
                vec![
                    ("read", "ok", 50),
                    ("records", "read", 250),
                    ("time/read", "10", 50),
                ],
            ),
            ("record-rate", vec![("read", "ok", 30)]),
            ("stall", vec![("read", "schema", 5)]),
            (
                "nothing-delivered",
                vec![("write", "ok", 30), ("record", "retry", 250)],
            ),
        ] {
            let found = found(&new, &old);
            assert!(found.iter().any(|name| name == signal), "{signal}: {found:?}");
        }
    }

    #[test]
    fn what_is_as_ever_or_too_little_to_say_is_not() {
        let old = [
            ("read", "ok", 900),
            ("read", "transient", 100),
            ("records", "read", 4_500),
        ];
        for new in [
            vec![
                ("read", "ok", 90),
                ("read", "transient", 12),
                ("records", "read", 450),
            ],
            vec![
                ("read", "ok", 2),
                ("read", "transient", 3),
                ("records", "read", 10),
            ],
            vec![("read", "ok", 2)],
            vec![],
        ] {
            assert_eq!(found(&new, &old), Vec::<String>::new(), "{new:?}");
        }
        assert!(
            found(&[("read", "transient", 4)], &[("read", "transient", 40)]).is_empty(),
            "it was down before"
        );
    }

    #[test]
    fn once_is_not_enough_and_the_same_calls_again_are_not_more() {
        let old = numbers(&[("read", "ok", 1_000)]);
        let mut figures = Figures {
            candidate: numbers(&[("read", "ok", 30), ("read", "schema", 20), ("records", "read", 9)]),
            baseline: old,
            elapsed: 10,
            bake: 1_000,
        };
        let (verdict, first) = look(&figures, None, 1);
        assert_eq!((verdict, first.in_a_row), (Verdict::Wait, 1));
        let (verdict, again) = look(&figures, Some(&first), 2);
        assert_eq!((verdict, again.in_a_row), (Verdict::Wait, 1));
        figures.candidate = numbers(&[("read", "ok", 31), ("read", "schema", 21), ("records", "read", 9)]);
        assert_eq!(look(&figures, Some(&again), 3).0, Verdict::Back);
        figures.candidate = numbers(&[("read", "ok", 300), ("records", "read", 9)]);
        figures.elapsed = 1_000;
        assert_eq!(look(&figures, Some(&again), 3).0, Verdict::Well);
        figures.candidate = CallNumbers::new();
        assert_eq!(
            look(&figures, None, 3).0,
            Verdict::Well,
            "nothing was called, and nothing is wrong"
        );
    }

    /// The same release, held against itself with a system that fails now and then, over a whole bake of looks.
    #[test]
    fn noise_takes_nothing_back() {
        let mut back = 0;
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let share = rng.random_range(0.0..0.3);
            let mut calls = |n: u64| (0..n).filter(|_| rng.random_bool(share)).count() as u64;
            let old_bad = calls(2_000);
            let old = numbers(&[
                ("read", "ok", 2_000 - old_bad),
                ("read", "transient", old_bad),
                ("records", "read", 1),
            ]);
            let (mut ok, mut bad, mut last) = (0, 0, None);
            for look_at in 0..60 {
                let failed = calls(5);
                ok += 5 - failed;
                bad += failed;
                let figures = Figures {
                    candidate: numbers(&[
                        ("read", "ok", ok),
                        ("read", "transient", bad),
                        ("records", "read", 1),
                    ]),
                    baseline: old.clone(),
                    elapsed: look_at,
                    bake: 60,
                };
                let (verdict, watch) = look(&figures, last.as_ref(), look_at);
                if verdict == Verdict::Back {
                    back += 1;
                    break;
                }
                last = Some(watch);
            }
        }
        assert!(back <= 2, "{back} of 200 were taken back for nothing");
    }

    proptest! {
        #[test]
        fn intervals_hold_the_share(bad in 0_u64..1_000, more in 0_u64..1_000) {
            let n = bad + more;
            let (least, most) = interval(bad, n);
            prop_assert!((-1e-9..=1.0 + 1e-9).contains(&least) && least <= most && most <= 1.0 + 1e-9);
            if n > 0 {
                let share = bad as f64 / n as f64;
                prop_assert!(least <= share + 1e-9 && share <= most + 1e-9);
            }
        }

        #[test]
        fn more_failures_never_look_better(ok in 0_u64..200, bad in 0_u64..200, old_bad in 0_u64..50) {
            let old = [("read", "ok", 1_000), ("read", "fatal", old_bad), ("records", "read", 1)];
            let of = |bad| found(&[("read", "ok", ok), ("read", "fatal", bad), ("records", "read", 1)], &old);
            if !of(bad).is_empty() {
                prop_assert!(!of(bad + 20).is_empty());
            }
        }
    }
}
