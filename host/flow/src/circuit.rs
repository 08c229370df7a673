//! When a connection's plugin is called after it crashed: soon, later, or not until a person says so. Pure; the clock, the dice and the
//! store are the caller's. Why it decides so is in `docs/decisions/0008-crashes-open-a-circuit.md`.

use rand::Rng;
use stecker_model::api::{Circuit, CircuitState, Crash};
use stecker_sandbox::CallError;

/// Crashes of one function in a row that open the circuit.
const CRASHES: usize = 5;
/// The pause after the first crash, in milliseconds; it doubles with each.
const FIRST_PAUSE: i64 = 500;
/// The first time that the circuit stays open, in milliseconds; it doubles each time that a probe fails.
const FIRST_OPEN: i64 = 60_000;
/// After so many times only a person closes it.
const TRIPS: u32 = 5;
/// A crash that cannot be put down to one record.
const NO_RECORD: &str = "-";

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Yes.
    Call,
    /// One, to see whether it works again, by whoever marks it first.
    Probe,
    /// Not now.
    Wait,
}

/// Ended by the plugin's or the host's fault, with nobody knowing what it had done. An error that the plugin answers with is none.
pub(crate) const fn is_crash(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Trap { .. }
            | CallError::OutOfMemory { .. }
            | CallError::StackOverflow { .. }
            | CallError::Deadline { .. }
            | CallError::Contract { .. }
            | CallError::Host { .. }
    )
}

/// Whether the same call is worth repeating at once. One that took all of its time would most likely take it again.
pub(crate) const fn is_worth_repeating(error: &CallError) -> bool {
    is_crash(error) && !matches!(error, CallError::Deadline { .. })
}

/// What counts for a connection's specification as it is now: crashes of an earlier one do not, but a person's word does.
pub(crate) fn current(circuit: Circuit, generation: i64) -> Circuit {
    if circuit.generation == generation || (circuit.by_hand() && circuit.state == CircuitState::Open) {
        circuit
    } else {
        Circuit {
            generation,
            ..Circuit::default()
        }
    }
}

/// Whether a call may be made now, by a circuit that is [`current`].
pub(crate) fn admission(circuit: &Circuit, now: i64) -> Admission {
    let over = circuit.until.is_some_and(|until| until <= now);
    match circuit.state {
        CircuitState::Closed => Admission::Call,
        CircuitState::BackingOff if over => Admission::Call,
        // A probe that nobody heard of again is as good as none.
        CircuitState::Open | CircuitState::Probing if over => Admission::Probe,
        CircuitState::BackingOff | CircuitState::Open | CircuitState::Probing => Admission::Wait,
    }
}

/// The probe is the caller's, for `patience` milliseconds; none if somebody else has it already.
pub(crate) fn probe(circuit: Circuit, now: i64, patience: i64) -> Option<Circuit> {
    (admission(&circuit, now) == Admission::Probe).then(|| Circuit {
        state: CircuitState::Probing,
        since: now,
        until: Some(now.saturating_add(patience)),
        ..circuit
    })
}

/// After a crash. `record` is the one record that the call was about; crashes on the same record count once, because it may be the record.
pub(crate) fn crashed(
    circuit: Circuit,
    crash: Crash,
    record: Option<&str>,
    now: i64,
    rng: &mut impl Rng,
) -> Circuit {
    let mut circuit = circuit;
    let (function, message) = (crash.function.clone(), crash.message.clone());
    circuit.last_crash = Some(crash);
    if circuit.state == CircuitState::Open {
        // Of a call that was under way when it opened.
        return circuit;
    }
    let record = record.unwrap_or(NO_RECORD);
    let streak = circuit.crashes.entry(function.clone()).or_default();
    let known = record != NO_RECORD && streak.iter().any(|before| before == record);
    if !known && streak.len() < CRASHES {
        streak.push(record.to_owned());
    }
    let crashes = streak.len();
    let on_probation = circuit.trips > 0 || circuit.state == CircuitState::Probing;
    if (crashes >= CRASHES && !known) || on_probation {
        circuit.trips = circuit.trips.saturating_add(1);
        let open_for = doubled(FIRST_OPEN, circuit.trips, i64::MAX);
        let until = now
            .saturating_add(open_for)
            .saturating_add(rng.random_range(0..=open_for / 4));
        let what = message.lines().next().unwrap_or_default();
        circuit.reason = if circuit.trips == 1 {
            format!("`{function}` crashed {crashes} times in a row; the last time: {what}")
        } else {
            format!(
                "`{function}` still crashes, tried {} times after it was left alone: {what}",
                circuit.trips - 1
            )
        };
        return Circuit {
            state: CircuitState::Open,
            since: now,
            until: (circuit.trips < TRIPS).then_some(until),
            ..circuit
        };
    }
    if known {
        // The record has its own pauses; others need not wait for it.
        return circuit;
    }
    let ceiling = doubled(
        FIRST_PAUSE,
        u32::try_from(crashes).unwrap_or(u32::MAX),
        FIRST_OPEN,
    );
    let until = now
        .saturating_add(ceiling / 2)
        .saturating_add(rng.random_range(0..=ceiling / 2));
    Circuit {
        state: CircuitState::BackingOff,
        since: now,
        until: Some(until),
        reason: format!("`{function}` crashed"),
        ..circuit
    }
}

/// Whether a success of a function has anything to change.
pub(crate) fn matters(circuit: &Circuit, function: &str) -> bool {
    circuit.state == CircuitState::Probing || circuit.crashes.contains_key(function)
}

/// After a function did its work. A function that never crashed closes the circuit, but on probation: the next crash of another one opens it
/// again at once.
pub(crate) fn worked(mut circuit: Circuit, function: &str, now: i64) -> Circuit {
    if circuit.state == CircuitState::Open || !matters(&circuit, function) {
        return circuit;
    }
    circuit.crashes.remove(function);
    if circuit.crashes.is_empty() {
        return Circuit {
            generation: circuit.generation,
            ..Circuit::default()
        };
    }
    Circuit {
        state: CircuitState::Closed,
        since: now,
        until: None,
        reason: String::new(),
        ..circuit
    }
}

/// A person stops the connection.
pub(crate) fn opened(circuit: Circuit, actor: &str, reason: &str, generation: i64, now: i64) -> Circuit {
    Circuit {
        state: CircuitState::Open,
        since: now,
        until: None,
        reason: reason.to_owned(),
        opened_by: Some(actor.to_owned()),
        generation,
        ..circuit
    }
}

/// `first`, doubled each time from the second on, at most `longest`.
fn doubled(first: i64, time: u32, longest: i64) -> i64 {
    let doublings = time.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
