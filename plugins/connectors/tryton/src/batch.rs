//! Many records in one call, and one by one where that fails.

use crate::rpc::Failure;
use std::collections::HashSet;
use stecker_sdk::prelude::*;

/// What became of a record before it was all done: an outcome, or an error that may concern the whole batch.
pub(crate) type Early = Result<Outcome>;

/// Tries all at once; where the method refuses, each by itself. A result per thing, in their order.
pub(crate) fn all_or_each<T, R: Clone>(
    things: &[T],
    call: impl Fn(&[T]) -> Result<Vec<R>, Failure>,
) -> Vec<Result<R, Failure>> {
    if things.is_empty() {
        return Vec::new();
    }
    match call(things) {
        Ok(results) => results.into_iter().map(Ok).collect(),
        Err(failure) if failure.is_answer() && things.len() > 1 => things
            .chunks(1)
            .map(|one| {
                call(one).and_then(|results| {
                    let none = || Failure::Broken("an answer without a result".to_owned());
                    results.into_iter().next().ok_or_else(none)
                })
            })
            .collect(),
        Err(failure) => things.iter().map(|_| Err(failure.clone())).collect(),
    }
}

/// The batch's outcomes, collected in any order.
pub(crate) struct Outcomes(Vec<Option<Early>>);

impl Outcomes {
    pub(crate) fn new(batch: &[WriteItem]) -> Self {
        Self(batch.iter().map(|_| None).collect())
    }

    pub(crate) fn set(&mut self, index: usize, early: Early) {
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(early);
        }
    }

    /// One outcome per item.
    pub(crate) fn settle(self) -> Result<Vec<Outcome>> {
        let left_out = || Err(Error::fatal("an item was left without an outcome"));
        Outcome::settle(
            self.0
                .into_iter()
                .map(|early| early.unwrap_or_else(left_out))
                .collect(),
        )
    }
}

/// Parses every record of the batch; what does not fit gets its outcome, the rest comes back with its place.
pub(crate) fn parsed<T>(
    batch: &[WriteItem],
    outcomes: &mut Outcomes,
    parse: impl Fn(&Record) -> Result<T, Rejection>,
) -> Vec<(usize, T)> {
    let mut good = Vec::with_capacity(batch.len());
    for (index, item) in batch.iter().enumerate() {
        let thing = if item.record.operation == Operation::Delete {
            Err(Rejection::new(
                "delete-unsupported",
                "what others have booked on is not deleted in Tryton; deactivate or cancel it there",
            ))
        } else {
            parse(&item.record)
        };
        match thing {
            Ok(thing) => good.push((index, thing)),
            Err(rejection) => outcomes.set(index, Ok(rejection.into())),
        }
    }
    good
}

/// Things in the order of the batch, no key twice in a round and at most so many, so that the last of several has the last word.
pub(crate) fn rounds<T>(
    things: Vec<(usize, T)>,
    most: usize,
    key: impl Fn(&T) -> String,
) -> Vec<Vec<(usize, T)>> {
    struct Round<T> {
        keys: HashSet<String>,
        things: Vec<(usize, T)>,
    }
    let mut rounds: Vec<Round<T>> = Vec::new();
    for (index, thing) in things {
        let key = key(&thing);
        let behind = rounds.iter().rposition(|round| round.keys.contains(&key));
        let first = behind.map_or(0, |at| at + 1);
        let free = rounds
            .iter()
            .skip(first)
            .position(|round| round.things.len() < most);
        let round = match free {
            Some(at) => rounds.get_mut(first + at),
            None => {
                rounds.push(Round {
                    keys: HashSet::new(),
                    things: Vec::new(),
                });
                rounds.last_mut()
            }
        };
        if let Some(round) = round {
            round.keys.insert(key);
            round.things.push((index, thing));
        }
    }
    rounds.into_iter().map(|round| round.things).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_a_round_and_in_its_order() {
        let things = ["a", "b", "a", "c", "a", "b"].into_iter().enumerate().collect();
        let rounds = rounds(things, 2, |&key: &&str| key.to_owned());
        assert_eq!(
            rounds,
            [
                vec![(0, "a"), (1, "b")],
                vec![(2, "a"), (3, "c")],
                vec![(4, "a"), (5, "b")]
            ]
        );
    }
}
