//! The record names something that the system does not have, or not yet: a customer, a product. The ledger often knows more: the thing is on
//! its way itself, or is stuck.

use stecker_model::{
    ErrorCode, OperatorCommand, RecordState,
    api::{Cause, Confidence, Evidence},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, others, system, with_failure};
use crate::explain::{
    facts::{KnownThing, Named},
    text::{code_has, http_status, last_message, says, time},
};

/// Words of codes for what is not there.
const ABSENT: [&str; 6] = [
    "unknown",
    "missing",
    "nonexistent",
    "notfound",
    "unresolved",
    "dangling",
];
/// How systems say it.
const SAYS: [&str; 14] = [
    "there is no ",
    "does not exist",
    "doesn't exist",
    "has no product",
    "has no customer",
    "has no variant",
    "no such ",
    "not found",
    "cannot find",
    "could not find",
    "could not be found",
    "unknown customer",
    "unknown product",
    "unknown sku",
];
/// What a record consists of; that a system does not know one of these is a matter of the shape.
const PARTS: [&str; 7] = [
    "field",
    "property",
    "attribute",
    "column",
    "variant type",
    "endpoint",
    "path",
];

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage != Stage::Writing {
        return None;
    }
    let reason = &failure.reason;
    let message = last_message(&reason.message);
    let code = &reason.code;
    let of_parts = code_has(code, &["field", "property", "attribute", "column"])
        || (says(message, &PARTS) && !says(message, &["product", "customer", "item", "sku", "article"]));
    let by_code = code_has(code, &ABSENT)
        || (code_has(code, &["no", "not"]) && code_has(code, &["such", "found"]))
        || *code == ErrorCode::NotFound.as_str();
    let by_word = says(message, &SAYS);
    if of_parts || !(by_code || by_word) {
        return None;
    }
    // An address of the system that is not there is no thing of its own: every record would fail so.
    let is_address =
        http_status(message) == Some(404) && case.others.good_since == 0 && case.named.is_empty();
    let system = system(case, failure);
    let on_its_way = case.named.iter().find_map(|named| {
        let known = named.known.iter().find(|known| !is_there(known))?;
        Some((named, known))
    });
    let there = case
        .named
        .iter()
        .find_map(|named| Some((named, named.known.iter().find(|known| is_there(known))?)));
    let named = on_its_way
        .map(|(named, _)| named)
        .or_else(|| there.map(|(named, _)| named))
        .or_else(|| case.named.first());
    let thing = named.map_or_else(
        || "something that".to_owned(),
        |named| format!("`{}`, which", named.text),
    );
    let confidence = if on_its_way.is_some() {
        Confidence::Certain
    } else if is_address {
        Confidence::Possible
    } else if by_code && *code != ErrorCode::NotFound.as_str() && !code_has(code, &["missing"]) {
        // A code of the system's own for just this.
        Confidence::Certain
    } else if by_code || named.is_some() {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let more = match (on_its_way, there) {
        (Some((_, known)), _) => format!("; the ledger has it, and it is {} itself", known.state.as_str()),
        (None, Some((_, known))) => format!(
            "; it was delivered at {}, so it was removed there, or is another one of the same name",
            time(known.since)
        ),
        (None, None) if named.is_some() => "; no flow of this host ever carried it there".to_owned(),
        (None, None) => String::new(),
    };
    let finding = with_failure(
        Finding::new(
            Cause::MissingDependency,
            confidence,
            format!("The record names {thing} {system} does not have{more}."),
        ),
        failure,
    )
    .at(reason.path.clone())
    .all_shown(case.named.iter().map(|named| known(case, named)))
    .all_shown([others(case, failure)]);
    let first = match (on_its_way, there) {
        (Some((_, known)), _) => Some(OperatorCommand::Explain {
            key: named.map(|named| named.text.clone()).unwrap_or_default(),
            flow: Some(known.id.flow.clone()),
        }),
        (None, Some((_, known))) => Some(OperatorCommand::ShowRecord {
            record: known.id.clone(),
        }),
        (None, None) => None,
    };
    let action = match (on_its_way, named) {
        (Some((named, known)), _) => format!(
            "Get `{}` through first (record {}). {}",
            named.text,
            known.id,
            by_itself(case)
        ),
        (None, Some(named)) => format!(
            "Create `{}` in {system}, or correct the record if it is a mistake. {}",
            named.text,
            by_itself(case)
        ),
        (None, None) => format!("Create in {system} what the record names. {}", by_itself(case)),
    };
    let look = first.is_none().then(|| OperatorCommand::ShowRecord {
        record: case.record.id.clone(),
    });
    Some(finding.then(action, first.into_iter().chain(again(case)).chain(look)))
}

const fn is_there(known: &KnownThing) -> bool {
    matches!(known.state, RecordState::Delivered)
}

fn known(case: &Case, named: &Named) -> Evidence {
    let Some(first) = named.known.first() else {
        return Evidence {
            what: format!(
                "no flow of this host that writes to `{}` has a record with the key `{}`",
                case.connection.name, named.text
            ),
            place: "ledger".to_owned(),
        };
    };
    Evidence {
        what: format!(
            "`{}` is a record of the flow {} itself: {} since {}",
            named.text,
            first.id.flow,
            first.state.as_str(),
            time(first.since)
        ),
        place: format!("record/{}", first.id),
    }
}
