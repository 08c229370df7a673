//! What the runs say about the plugin. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stecker_model::{ErrorCode, PluginError, Verdict};
use stecker_registry::{Manifest, manifest::CredentialKind};
use stecker_sandbox::CallError;

use super::{
    Behaviour, Check, CheckOutcome, CheckResult, DESCRIPTION,
    seen::{Ended, Run, Written, cut},
};

/// Places that are shown of one check.
const SHOWN: usize = 5;

/// What is known besides the runs.
pub(super) struct Facts<'a> {
    pub(super) manifest: &'a Manifest,
    /// What the plugin said of itself.
    pub(super) description: &'a Value,
    /// What it said when it was asked again.
    pub(super) again: &'a Result<Value, CallError>,
}

/// How often something was looked at, and where it did not hold.
#[derive(Default)]
struct Tally {
    times: u32,
    failed: u32,
    seen: Vec<String>,
}

impl Tally {
    fn look(&mut self, holds: bool, seen: impl FnOnce() -> String) {
        self.times = self.times.saturating_add(1);
        if !holds {
            self.failed = self.failed.saturating_add(1);
            if self.seen.len() < SHOWN {
                self.seen.push(seen());
            }
        }
    }
}

/// Every check.
pub(super) fn all(facts: &Facts<'_>, runs: &[Run], mandatory: &BTreeSet<Check>) -> Vec<CheckResult> {
    let result = |check: &Check| {
        let mut tally = Tally::default();
        judge(*check, facts, runs, &mut tally);
        CheckResult {
            check: *check,
            outcome: match (tally.times, tally.failed) {
                (0, _) => CheckOutcome::NotApplicable,
                (_, 0) => CheckOutcome::Passed,
                _ => CheckOutcome::Failed,
            },
            mandatory: mandatory.contains(check),
            times: tally.times,
            seen: tally.seen,
        }
    };
    Check::ALL.iter().map(result).collect()
}

fn judge(check: Check, facts: &Facts<'_>, runs: &[Run], tally: &mut Tally) {
    match check {
        Check::NoTrap | Check::NoTimeout | Check::BoundsKept => {
            for run in runs.iter().filter(|run| !matches!(run.ended, Ended::NotRun(_))) {
                let fault = match (check, &run.ended) {
                    (Check::NoTrap, Ended::Crashed(what)) => Some(what.as_str()),
                    (Check::NoTimeout, Ended::TimedOut) => Some("it was stopped"),
                    (Check::BoundsKept, Ended::Broke(what)) => Some(what.as_str()),
                    _ => None,
                };
                tally.look(fault.is_none(), || at(run, fault.unwrap_or_default()));
            }
        }
        Check::DescribedAlike => described_alike(facts, tally),
        Check::DescriptionFits => description_fits(facts.description, tally),
        Check::ProbesAnswer => {
            for run in of(runs, "connection.check") {
                if let Ended::Probes(probes) = &run.ended {
                    tally.look(!probes.is_empty(), || at(run, "there is no probe"));
                }
            }
        }
        Check::ProbesHonest => {
            for run in of(runs, "connection.check").filter(|run| was_refused(run)) {
                if let Ended::Probes(probes) = &run.ended {
                    let honest = probes.iter().any(|ok| !ok);
                    tally.look(honest, || at(run, "every probe went well"));
                }
            }
        }
        Check::SameKeys => same_keys(runs, tally),
        Check::KnownCodes => {
            for run in runs {
                for error in errors(&run.ended) {
                    let is_known = ErrorCode::parse(&error.code).as_str() == error.code;
                    tally.look(is_known, || at(run, &format!("the code `{}`", cut(&error.code))));
                }
            }
        }
        Check::AuthTold => told(runs, Behaviour::Unauthorized, tally, |error| {
            error.kind() == ErrorCode::Auth
        }),
        Check::RateTold => told(runs, Behaviour::TooMany, tally, |error| {
            error.kind() == ErrorCode::RateLimited && error.retry_after_ms.is_some_and(|wait| wait > 0)
        }),
        Check::TransientTold => told(runs, Behaviour::Broken, tally, |error| {
            error.kind() == ErrorCode::Transient
        }),
        Check::NothingInvented => {
            let speaks = !facts.manifest.capabilities.http.is_empty();
            for run in of(runs, "destination.write") {
                if let Ended::Outcomes(outcomes) = &run.ended {
                    let claims = outcomes
                        .iter()
                        .any(|one| matches!(one, Written::Delivered | Written::Duplicate));
                    let silent = speaks && run.requests.is_empty();
                    tally.look(!(claims && (silent || was_refused(run))), || {
                        at(run, "a record is called delivered")
                    });
                }
            }
        }
        Check::IdempotencySent => idempotency_sent(facts.manifest, runs, tally),
        Check::ForgeryRefused => {
            let mut credentials = facts.manifest.credentials.values();
            if credentials.any(|credential| credential.kind == CredentialKind::HmacSecret) {
                for run in of(runs, "webhook.receive") {
                    if let Ended::Webhook(verdict) = &run.ended {
                        let refused = *verdict != Verdict::Accept;
                        tally.look(refused, || at(run, "it was accepted"));
                    }
                }
            }
        }
        Check::WithinManifest => {
            for run in runs {
                tally.look(run.denied.is_empty(), || at(run, &run.denied.join("; ")));
            }
        }
    }
}

fn at(run: &Run, what: &str) -> String {
    format!("{}: {}", run.place(), cut(what))
}

fn of<'r>(runs: &'r [Run], function: &'static str) -> impl Iterator<Item = &'r Run> {
    runs.iter().filter(move |run| run.function == function)
}

/// Whether it asked, and every request was answered with an error.
fn was_refused(run: &Run) -> bool {
    run.behaviour.is_refusal() && !run.requests.is_empty()
}

fn errors(ended: &Ended) -> Vec<&PluginError> {
    match ended {
        Ended::Error(error) => vec![error],
        Ended::Outcomes(outcomes) => outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Written::Retry(error) | Written::Unknown(error) => Some(error),
                Written::Delivered | Written::Duplicate | Written::Rejected => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// What an upstream that answers like this is told as.
fn told(runs: &[Run], behaviour: Behaviour, tally: &mut Tally, is_it: impl Fn(&PluginError) -> bool) {
    let asked = runs
        .iter()
        .filter(|run| run.behaviour == behaviour && !run.requests.is_empty());
    for run in asked {
        let unknown = behaviour == Behaviour::Broken;
        let (holds, what) = match &run.ended {
            Ended::Error(error) => (is_it(error), format!("the error is {}", short(error))),
            Ended::Outcomes(outcomes) => {
                let wrong = outcomes.iter().find(|outcome| match outcome {
                    Written::Retry(error) => !is_it(error),
                    Written::Unknown(error) => !unknown && !is_it(error),
                    Written::Delivered | Written::Duplicate | Written::Rejected => true,
                });
                let what = match wrong {
                    Some(Written::Retry(error) | Written::Unknown(error)) => {
                        format!("an outcome is {}", short(error))
                    }
                    Some(Written::Rejected) => "a record is rejected for good".to_owned(),
                    _ => "a record is called delivered".to_owned(),
                };
                (wrong.is_none(), what)
            }
            Ended::Findings(findings) => (
                findings.iter().all(|told| !told),
                "a record is said to be there or not".to_owned(),
            ),
            Ended::Records(_) | Ended::Done => (false, "it went well".to_owned()),
            // Probes have a check of their own; a webhook is not the upstream's answer; the rest is told elsewhere.
            Ended::Probes(_)
            | Ended::Webhook(_)
            | Ended::Crashed(_)
            | Ended::TimedOut
            | Ended::Broke(_)
            | Ended::NotRun(_) => continue,
        };
        tally.look(holds, || at(run, &what));
    }
}

fn short(error: &PluginError) -> String {
    let wait = if error.retry_after_ms.is_some() {
        ""
    } else {
        ", without a time to come back"
    };
    format!("`{}`{wait}", cut(&error.code))
}

fn same_keys(runs: &[Run], tally: &mut Tally) {
    type Place<'a> = (&'static str, Option<&'a str>);
    let mut rounds: BTreeMap<Place<'_>, [Vec<&Ended>; 2]> = BTreeMap::new();
    for run in runs {
        if run.behaviour == Behaviour::Plain && matches!(run.ended, Ended::Records(_)) {
            let place = rounds.entry((run.function, run.stream.as_deref())).or_default();
            let [first, second] = place;
            if run.round == 0 {
                first.push(&run.ended);
            } else {
                second.push(&run.ended);
            }
        }
    }
    for ((function, stream), [first, second]) in &rounds {
        // Something that was cut short was not done twice.
        if !first.is_empty() && !second.is_empty() {
            tally.look(first == second, || {
                let of = stream.map_or_else(String::new, |stream| format!(" of `{}`", cut(stream)));
                format!("{function}{of}: other keys or source versions the second time")
            });
        }
    }
}

fn described_alike(facts: &Facts<'_>, tally: &mut Tally) {
    match facts.again {
        Ok(again) => tally.look(again == facts.description, || {
            "`meta.describe` said something else the second time".to_owned()
        }),
        Err(CallError::Busy { .. } | CallError::Host { .. } | CallError::TenantOutOfMemory { .. }) => {}
        Err(error) => tally.look(false, || {
            format!(
                "`meta.describe` failed the second time: {}",
                cut(&error.to_string())
            )
        }),
    }
}

fn description_fits(description: &Value, tally: &mut Tally) {
    let schema: Option<Value> = serde_json::from_str(DESCRIPTION).ok();
    let validator = schema.and_then(|schema| jsonschema::draft202012::new(&schema).ok());
    if let Some(validator) = validator {
        let fault = validator.iter_errors(description).next();
        tally.look(fault.is_none(), || {
            fault.map_or_else(String::new, |fault| {
                let place = fault.instance_path().to_string();
                format!("{place}: {}", cut(&fault.to_string()))
            })
        });
    }
    if let Some(config) = description.get("config").filter(|config| !config.is_null()) {
        let fault = jsonschema::draft202012::new(config).err();
        tally.look(fault.is_none(), || {
            let fault = fault.map_or_else(String::new, |fault| fault.to_string());
            format!("/config is not a JSON Schema: {}", cut(&fault))
        });
    }
}

fn idempotency_sent(manifest: &Manifest, runs: &[Run], tally: &mut Tally) {
    let names = manifest
        .upstream
        .iter()
        .filter_map(|upstream| upstream.idempotency_header.as_deref());
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    if names.is_empty() {
        return;
    }
    for run in of(runs, "destination.write") {
        let writes = run
            .requests
            .iter()
            .filter(|request| !matches!(request.method.as_str(), "GET" | "HEAD"));
        for request in writes {
            let carries = |name: &String| request.headers.iter().any(|(header, _)| header == name);
            tally.look(names.iter().any(carries), || {
                at(
                    run,
                    &format!("{} {} carries no key", request.method, request.url.path()),
                )
            });
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
