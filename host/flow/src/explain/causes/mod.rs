//! The rules: from facts about a record to causes, each with what speaks for it. One file for each family of causes; none of them asks
//! anybody anything. A rule says nothing where nothing speaks for its cause, and says how sure it is where something does; which is named
//! first is decided here.

mod auth;
pub(crate) mod bug;
mod configuration;
mod denial;
mod dependency;
mod duplicate;
mod rate;
mod rule;
mod schema;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod transform;
mod upstream;

use stecker_model::{
    OperatorCommand,
    api::{Cause, Confidence, Evidence, Reason},
};

use super::{
    facts::{Case, Failure, Stage},
    text::{counted, first_line, last_message, span, time},
};

/// A cause that something speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    pub(crate) confidence: Confidence,
    pub(crate) sentence: String,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) field: Option<String>,
    pub(crate) action: String,
    pub(crate) commands: Vec<OperatorCommand>,
}

impl Finding {
    fn new(cause: Cause, confidence: Confidence, sentence: impl Into<String>) -> Self {
        Self {
            cause,
            confidence,
            sentence: sentence.into(),
            evidence: Vec::new(),
            field: None,
            action: String::new(),
            commands: Vec::new(),
        }
    }

    fn shown(mut self, what: impl Into<String>, place: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            what: what.into(),
            place: place.into(),
        });
        self
    }

    fn all_shown(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn at(mut self, field: Option<String>) -> Self {
        self.field = field.filter(|field| !field.is_empty());
        self
    }

    fn then(
        mut self,
        action: impl Into<String>,
        commands: impl IntoIterator<Item = OperatorCommand>,
    ) -> Self {
        self.action = action.into();
        self.commands = commands.into_iter().collect();
        self
    }
}

/// Of two causes that are as sure as each other, the one that says more comes first: what the host itself saw, then what the system said in
/// so many words, then what is left.
const ORDER: [Cause; 20] = [
    Cause::FlowPaused,
    Cause::Denial,
    Cause::PluginBug,
    Cause::HostBug,
    Cause::ConnectionStopped,
    Cause::AuthExpired,
    Cause::RateLimit,
    Cause::TransformError,
    Cause::MissingDependency,
    Cause::Duplicate,
    Cause::SchemaMismatch,
    Cause::Configuration,
    Cause::UpstreamDown,
    Cause::BusinessRule,
    Cause::Discarded,
    Cause::Dropped,
    Cause::Delivered,
    Cause::InProgress,
    Cause::NotRead,
    Cause::Unknown,
];

/// The causes that something speaks for, the best first. Never empty: that nothing is known is said too.
pub(crate) fn of(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(failure) = &case.failure {
        let rules = [
            denial::look,
            auth::look,
            rate::look,
            bug::look,
            duplicate::look,
            dependency::look,
            schema::look,
            transform::look,
            configuration::look,
            upstream::look,
            rule::look,
        ];
        findings.extend(rules.iter().filter_map(|rule| rule(case, failure)));
    }
    // What is missing, there already or of another shape is a rule of the system's too; only the better word for it is sure.
    let has_better = findings.iter().any(|finding| {
        finding.confidence > Confidence::Possible
            && matches!(
                finding.cause,
                Cause::MissingDependency | Cause::Duplicate | Cause::SchemaMismatch
            )
    });
    for finding in &mut findings {
        if has_better && finding.cause == Cause::BusinessRule {
            finding.confidence = Confidence::Possible;
        }
    }
    findings.extend(state::look(case));
    let place = |finding: &Finding| ORDER.iter().position(|cause| *cause == finding.cause);
    findings.sort_by(|a, b| b.confidence.cmp(&a.confidence).then(place(a).cmp(&place(b))));
    if findings.is_empty() {
        findings.push(unknown(case));
    }
    if let Some(first) = findings.first_mut() {
        first.evidence.extend(changes(case));
    }
    findings
}

fn unknown(case: &Case) -> Finding {
    let record = &case.record;
    let said = case.failure.as_ref().map_or_else(
        || {
            format!(
                "it is {} since {}",
                record.state.as_str(),
                time(record.updated_at)
            )
        },
        |failure| {
            format!(
                "`{}`: {}",
                failure.reason.code,
                first_line(&failure.reason.message)
            )
        },
    );
    let finding = Finding::new(
        Cause::Unknown,
        Confidence::Possible,
        format!(
            "I do not know why {} is {}: {said}.",
            record.id,
            record.state.as_str()
        ),
    );
    let finding = match &case.failure {
        Some(failure) => with_failure(finding, failure),
        None => finding.shown(said, format!("record/{}", record.id)),
    };
    finding.then(
        "Look at the record with all of its attempts, and at the host's log around the last one.",
        [
            OperatorCommand::ShowRecord {
                record: record.id.clone(),
            },
            OperatorCommand::Doctor,
        ],
    )
}

/// What was said, and how often.
fn with_failure(finding: Finding, failure: &Failure) -> Finding {
    let reason = &failure.reason;
    let place = reason
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .map_or_else(String::new, |path| format!(" at {path}"));
    let said = format!(
        "{}{place}: {}",
        reason.code,
        first_line(last_message(&reason.message))
    );
    let finding = finding.shown(said, failure.place.clone());
    if failure.times > 1 {
        return finding.shown(
            format!(
                "{} ended so, the first at {}, the last at {}",
                counted(failure.times, "attempt"),
                time(failure.first_at),
                time(failure.last_at)
            ),
            failure.place.split(',').next().unwrap_or_default().to_owned(),
        );
    }
    finding
}

/// What was changed right before it began: "4 minutes after release 1.3.0 was applied" is often all that one needs to know.
fn changes(case: &Case) -> Vec<Evidence> {
    const MOST: usize = 3;
    let Some(failure) = &case.failure else {
        return Vec::new();
    };
    let newest = case.changes.iter().rev().take(MOST);
    newest
        .map(|change| Evidence {
            what: format!(
                "it began {} after this: {} ({})",
                span(failure.first_at - change.at),
                change.what,
                time(change.at)
            ),
            place: change.place.clone(),
        })
        .collect()
}

/// That other records went through, or did not.
fn others(case: &Case, failure: &Failure) -> Evidence {
    let place = format!("flow/{}", case.flow.name);
    let what = match (&case.others.latest_good, case.others.last_good) {
        (Some((key, at)), _) if case.others.good_since > 0 => format!(
            "{} of the flow went through since, the last {key} at {}",
            counted(case.others.good_since, "other record"),
            time(*at)
        ),
        (_, Some(at)) => format!(
            "nothing of the flow went through since {}; the last before that at {}",
            time(failure.first_at),
            time(at)
        ),
        (_, None) => "nothing else of the flow went through, as far as was looked".to_owned(),
    };
    Evidence { what, place }
}

/// Other flows that fail in the same way.
fn elsewhere(case: &Case, is_like: impl Fn(&Reason) -> bool) -> Vec<Evidence> {
    let found = case.elsewhere_like(is_like);
    found
        .iter()
        .take(3)
        .map(|other| {
            let what = if other.reading {
                format!("its source `{}` cannot be read", other.connection)
            } else {
                format!("{} stuck", counted(other.count, "record"))
            };
            Evidence {
                what: format!(
                    "the flow {} has the same trouble with the same system since {}: {what} ({})",
                    other.flow,
                    time(other.since),
                    other.reason.code
                ),
                place: format!("flow/{}", other.flow),
            }
        })
        .collect()
}

/// Sends what is in quarantine for the same cause on its way again, once the cause is gone. What is not in quarantine goes by itself.
fn again(case: &Case) -> Option<OperatorCommand> {
    if !case.is_quarantined() {
        return None;
    }
    Some(match &case.same_cause {
        Some(same) if same.count > 1 => OperatorCommand::RetryGroup {
            group: same.id.clone(),
        },
        _ => OperatorCommand::RetryRecord {
            record: case.record.id.clone(),
        },
    })
}

/// What happens by itself, for the end of an action.
fn by_itself(case: &Case) -> String {
    match (case.is_quarantined(), case.record.next_attempt_at) {
        (true, _) => "Then send what is in quarantine for it on its way again.".to_owned(),
        (false, Some(at)) if at > case.now => format!("The host tries again at {} by itself.", time(at)),
        (false, _) if case.is_open() => "The host goes on by itself.".to_owned(),
        (false, _) => String::new(),
    }
}

/// The system that failed, as a person calls it.
fn system(case: &Case, failure: &Failure) -> String {
    match failure.stage {
        Stage::Reading => format!("the source `{}`", case.connection.name),
        Stage::Transform | Stage::Writing => format!("`{}`", case.connection.name),
    }
}
