//! On virtual time: a table of stories, and what holds whatever happens.

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

fn crash(function: &str, at: i64) -> Crash {
    Crash {
        at,
        function: function.to_owned(),
        message: "the plugin crashed: unreachable".to_owned(),
        backtrace: vec!["acme!write".to_owned()],
        plugin: "acme/erp@1.0.0".to_owned(),
    }
}

/// A connection's life, step by step.
struct Life {
    circuit: Circuit,
    now: i64,
    rng: StdRng,
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            circuit: Circuit::default(),
            now: 1_000,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn crashes(&mut self, function: &str, record: Option<&str>) -> CircuitState {
        let before = std::mem::take(&mut self.circuit);
        self.circuit = crashed(before, crash(function, self.now), record, self.now, &mut self.rng);
        self.circuit.state
    }

    fn works(&mut self, function: &str) -> CircuitState {
        self.circuit = worked(std::mem::take(&mut self.circuit), function, self.now);
        self.circuit.state
    }

    /// Until a call is let through; whether it ever is.
    fn waits(&mut self) -> bool {
        match self.circuit.until {
            Some(until) => self.now = self.now.max(until),
            None => return admission(&self.circuit, self.now) != Admission::Wait,
        }
        admission(&self.circuit, self.now) != Admission::Wait
    }

    fn probes(&mut self) -> bool {
        match probe(self.circuit.clone(), self.now, 90_000) {
            Some(probing) => {
                self.circuit = probing;
                true
            }
            None => false,
        }
    }
}

#[test]
fn a_plugin_that_always_crashes_is_called_a_few_times_and_then_not_until_a_person_says_so() {
    let mut life = Life::new(1);
    let begun = life.now;
    for crash in 1..=4 {
        assert_eq!(
            life.crashes("read", None),
            CircuitState::BackingOff,
            "crash {crash}"
        );
        assert_eq!(admission(&life.circuit, life.now), Admission::Wait);
        assert!(life.waits());
        assert_eq!(
            admission(&life.circuit, life.now),
            Admission::Call,
            "no probe is needed after a pause"
        );
    }
    assert!(life.now - begun <= 500 + 1_000 + 2_000 + 4_000);
    assert_eq!(life.crashes("read", None), CircuitState::Open);
    assert!(
        life.circuit.reason.contains("`read` crashed 5 times in a row"),
        "{}",
        life.circuit.reason
    );
    let mut probes = 0;
    while life.waits() {
        assert!(life.probes());
        assert!(!life.probes(), "one probe at a time");
        assert_eq!(life.crashes("read", None), CircuitState::Open);
        probes += 1;
    }
    assert_eq!((probes, life.circuit.until), (4, None));
    assert_eq!(admission(&life.circuit, i64::MAX), Admission::Wait);
}

#[test]
fn one_record_that_crashes_the_plugin_never_stops_the_others() {
    let mut life = Life::new(2);
    for _ in 0..100 {
        assert_ne!(life.crashes("write", Some("orders/7")), CircuitState::Open);
        assert!(life.waits());
        life.works("lookup");
    }
    assert_eq!(
        life.works("write"),
        CircuitState::Closed,
        "another record went through"
    );
    assert!(life.circuit.is_quiet());
    // Many different ones in a row are the plugin's fault.
    for record in 1..=5 {
        life.waits();
        life.crashes("write", Some(&format!("orders/{record}")));
    }
    assert_eq!(life.circuit.state, CircuitState::Open);
}

#[test]
fn a_function_that_works_does_not_excuse_another_one() {
    let mut life = Life::new(3);
    for _ in 0..4 {
        life.crashes("write", None);
        life.waits();
        life.works("read");
        life.works("lookup");
    }
    assert_eq!(life.crashes("write", None), CircuitState::Open);
    // The probe happens to be a read, which works; the next write crashes, and that is enough.
    assert!(life.waits() && life.probes());
    assert_eq!(life.works("read"), CircuitState::Closed);
    assert_eq!(admission(&life.circuit, life.now), Admission::Call);
    assert_eq!(life.crashes("write", None), CircuitState::Open);
    assert_eq!(life.circuit.trips, 2);
    // And a write that works settles it.
    assert!(life.waits() && life.probes());
    life.works("write");
    assert!(life.circuit.is_quiet(), "{:?}", life.circuit);
}

#[test]
fn calls_that_were_under_way_when_it_opened_change_nothing() {
    let mut life = Life::new(4);
    for _ in 0..5 {
        life.crashes("write", None);
        life.waits();
    }
    let open = life.circuit.clone();
    life.works("write");
    assert_eq!(life.circuit, open);
    life.crashes("write", None);
    assert_eq!((life.circuit.trips, life.circuit.until), (open.trips, open.until));
}

#[test]
fn a_changed_connection_begins_anew_unless_a_person_stopped_it() {
    let mut life = Life::new(5);
    for _ in 0..5 {
        life.crashes("read", None);
        life.waits();
    }
    assert_eq!(
        admission(&current(life.circuit.clone(), 0), 1_001),
        Admission::Wait
    );
    assert_eq!(
        admission(&current(life.circuit.clone(), 1), 1_001),
        Admission::Call
    );
    let stopped = opened(life.circuit.clone(), "ada", "month end", 0, life.now);
    assert_eq!(admission(&current(stopped.clone(), 1), i64::MAX), Admission::Wait);
    assert_eq!(stopped.opened_by.as_deref(), Some("ada"));
}

#[test]
fn a_probe_that_nobody_heard_of_again_is_given_up() {
    let mut life = Life::new(6);
    for _ in 0..5 {
        life.crashes("read", None);
        life.waits();
    }
    assert!(life.probes());
    life.now += 89_999;
    assert!(!life.probes());
    life.now += 1;
    assert!(life.probes());
}

#[test]
fn what_a_plugin_answers_is_no_crash() {
    use stecker_model::{ErrorCode, PluginError};
    let answered = CallError::Plugin(PluginError::new(ErrorCode::Fatal, "no"));
    let busy = CallError::Busy {
        waited: std::time::Duration::ZERO,
    };
    assert!(!is_crash(&answered) && !is_crash(&busy));
    let late = CallError::Deadline {
        limit: std::time::Duration::ZERO,
        backtrace: Vec::new(),
    };
    assert!(is_crash(&late) && !is_worth_repeating(&late));
}

#[derive(Debug, Clone)]
enum Step {
    Crash { function: u8, record: Option<u8> },
    Work { function: u8 },
    Wait { millis: i64 },
    Probe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, proptest::option::of(0..4_u8))
            .prop_map(|(function, record)| Step::Crash { function, record }),
        (0..3_u8).prop_map(|function| Step::Work { function }),
        (0..100_000_i64).prop_map(|millis| Step::Wait { millis }),
        Just(Step::Probe),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_called_before_its_time(steps in proptest::collection::vec(step(), 0..200), seed: u64) {
        let mut life = Life::new(seed);
        for step in steps {
            let before = life.circuit.clone();
            match step {
                Step::Crash { function, record } => {
                    let record = record.map(|record| record.to_string());
                    life.crashes(&function.to_string(), record.as_deref());
                    prop_assert!(life.circuit.last_crash.is_some());
                    prop_assert!(life.circuit.state != CircuitState::Probing, "a probe has an end");
                }
                Step::Work { function } => {
                    life.works(&function.to_string());
                    if before.state != CircuitState::Open {
                        prop_assert!(!life.circuit.crashes.contains_key(&function.to_string()));
                        prop_assert!(life.circuit.state != CircuitState::Probing);
                    }
                }
                Step::Wait { millis } => life.now += millis,
                Step::Probe => {
                    let allowed = admission(&before, life.now) == Admission::Probe;
                    prop_assert_eq!(life.probes(), allowed);
                }
            }
            let circuit = &life.circuit;
            if let Some(until) = circuit.until.filter(|until| *until > life.now) {
                prop_assert_eq!(admission(circuit, until - 1), Admission::Wait);
                prop_assert!(admission(circuit, until) != Admission::Wait);
            }
            prop_assert!(circuit.crashes.values().all(|streak| (1..=CRASHES).contains(&streak.len())));
            prop_assert!(circuit.state != CircuitState::Open || circuit.trips > 0);
            prop_assert!(circuit.state != CircuitState::Closed || admission(circuit, life.now) == Admission::Call);
            // However long it is left alone, it is either tried again or waits for a person, who is told why.
            if circuit.state == CircuitState::Open && circuit.until.is_none() {
                prop_assert!(circuit.trips >= TRIPS && !circuit.reason.is_empty());
            }
        }
    }
}
