//! Contestants that take turns, and what is to be said about the times they took.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long the contestants of one case run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// One turn of one contestant takes about this long; as many calls as fit are averaged.
    pub turn: Duration,
    /// All turns together.
    pub total: Duration,
    /// At least this many turns each, however long they take.
    pub min_rounds: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            turn: Duration::from_millis(2),
            total: Duration::from_secs(6),
            min_rounds: 15,
        }
    }
}

/// Times of one contestant, in microseconds per call, in the order of the rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Times(Vec<f64>);

/// Least, middle and greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least: the run that was disturbed least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        Self {
            min: at(0),
            median: f64::midpoint(at(last / 2), at(numbers.len() / 2)),
            max: at(last),
        }
    }
}

impl Times {
    /// Microseconds per call.
    #[must_use]
    pub fn spread(&self) -> Spread {
        Spread::of(self.0.iter().copied())
    }

    /// How many turns there were.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.0.len()
    }

    /// How many times as long as `other`.
    #[must_use]
    pub fn over(&self, other: &Self) -> Ratio {
        Ratio {
            // Two turns of one round are neighbours, so a disturbance that lasts hits both.
            paired: Spread::of(self.0.iter().zip(&other.0).map(|(this, that)| this / that)).median,
            least: self.spread().min / other.spread().min,
        }
    }
}

/// How many times as long one took as another, said in two ways that noise bends differently.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The median over the rounds of the ratio within a round.
    pub paired: f64,
    /// Least time to least time.
    pub least: f64,
}

/// Has the contestants take turns; every round starts with another one, so that no place in the order is anybody's.
///
/// # Errors
/// The first that a contestant has.
pub fn alternate<E>(
    contestants: &mut [&mut dyn FnMut() -> Result<(), E>],
    effort: Effort,
) -> Result<Vec<Times>, E> {
    let mut timed: Vec<_> = contestants
        .iter_mut()
        .map(|contestant| {
            |calls: u32| {
                let start = Instant::now();
                for _ in 0..calls {
                    contestant()?;
                }
                Ok(start.elapsed())
            }
        })
        .collect();
    let mut turns: Vec<&mut Turn<'_, E>> = timed.iter_mut().map(|turn| turn as _).collect();
    take_turns(&mut turns, effort)
}

/// A contestant that measures itself, because it is in another process or has something to do between its calls that is not to count:
/// makes that many calls and returns how long they took.
pub type Turn<'a, E> = dyn FnMut(u32) -> Result<Duration, E> + 'a;

/// As [`alternate`], with contestants that measure themselves.
///
/// # Errors
/// The first that a contestant has.
pub fn take_turns<E>(contestants: &mut [&mut Turn<'_, E>], effort: Effort) -> Result<Vec<Times>, E> {
    let mut calls = Vec::new();
    for contestant in &mut *contestants {
        // The first warms up; the second says how long one takes.
        contestant(1)?;
        let one = contestant(1)?.as_nanos().max(1);
        calls.push(
            u32::try_from(effort.turn.as_nanos() / one)
                .unwrap_or(u32::MAX)
                .max(1),
        );
    }
    let mut times = vec![Times(Vec::new()); contestants.len()];
    let start = Instant::now();
    let mut round = 0;
    while round < effort.min_rounds || start.elapsed() < effort.total {
        for offset in 0..contestants.len() {
            let turn = (round + offset) % contestants.len();
            let took = contestants[turn](calls[turn])?;
            times[turn]
                .0
                .push(took.as_secs_f64() * 1e6 / f64::from(calls[turn]));
        }
        round += 1;
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_min_median_max() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Spread {
                min: 1.0,
                median: 2.0,
                max: 3.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn a_ratio_pairs_the_rounds() {
        // A machine that gets ten times slower half-way through.
        let ratio = Times(vec![2.0, 2.0, 20.0]).over(&Times(vec![1.0, 1.0, 10.0]));
        assert_eq!(
            ratio,
            Ratio {
                paired: 2.0,
                least: 2.0
            }
        );
    }

    #[test]
    fn all_take_part_equally_often() {
        let effort = Effort {
            turn: Duration::ZERO,
            total: Duration::ZERO,
            min_rounds: 7,
        };
        let (mut a, mut b) = (0, 0);
        let mut first = || {
            a += 1;
            Ok::<_, ()>(())
        };
        let mut second = || {
            b += 1;
            Ok(())
        };
        let times = alternate(&mut [&mut first, &mut second], effort).unwrap();
        assert_eq!((a, b), (9, 9));
        assert!(times.iter().all(|times| times.rounds() == 7));
    }
}
