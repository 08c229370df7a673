//! Every failure as a [`Problem`], made in one place so that the same thing is always said in the same words.

use std::fmt::Display;

use stecker_flow::FlowError;
use stecker_model::{
    ErrorCode,
    api::{Fault, Problem},
};
use stecker_store::{StoreError, VaultError};

/// Bounds that a request did not keep.
pub(crate) fn invalid(detail: impl Into<String>, faults: Vec<Fault>) -> Problem {
    Problem::new(422, "invalid", "Not valid", detail)
        .with_hint("correct the places named under `errors` and send it again; nothing was changed")
        .with_faults(faults)
}

/// A single fault.
pub(crate) fn invalid_field(path: &str, reason: impl Into<String>) -> Problem {
    let reason = reason.into();
    invalid(
        format!("{path}: {reason}"),
        vec![Fault {
            path: path.to_owned(),
            reason,
        }],
    )
}

/// Something that this tenant does not have.
pub(crate) fn not_found(what: &str, name: impl Display) -> Problem {
    let hint = match what {
        "flow" => {
            "`stecker flow list` shows the flows that there are; `stecker apply` makes new ones".to_owned()
        }
        "connection" => {
            "`stecker connection list` shows the connections that there are; `stecker apply` makes new ones"
                .to_owned()
        }
        "release" => {
            "`stecker release list` shows the releases that there are; `stecker release add` adds one"
                .to_owned()
        }
        "secret" => "`stecker secret list` shows the secrets that there are".to_owned(),
        "tenant" => "`stecker tenant list` shows the tenants that there are; `stecker apply` and `stecker tenant limit` make new ones".to_owned(),
        "denial" => {
            "`stecker denials list` shows what is kept; a kind of refusals goes when 200 newer ones of its connection came".to_owned()
        }
        "tape" => "`stecker tape list CONNECTION` shows the recorded calls that are kept".to_owned(),
        "webhook" => {
            "`stecker webhook list` shows the webhooks that there are; `stecker webhook add` makes one".to_owned()
        }
        "comparison" => {
            "`stecker reconcile list FLOW` shows the comparisons that are kept; the last 100 of each flow are".to_owned()
        }
        "replay" => "`stecker replay list` shows the replays that there are".to_owned(),
        "record" => "`stecker records list` shows the records that there are".to_owned(),
        other => format!("look up which {other}s there are"),
    };
    Problem::new(
        404,
        "not-found",
        "Not found",
        format!("there is no {what} `{name}`"),
    )
    .with_hint(hint)
}

/// It is not the moment for this.
pub(crate) fn conflict(detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(409, "conflict", "Not possible now", detail).with_hint(hint)
}

/// A fault of the host itself.
pub(crate) fn internal(detail: impl Into<String>) -> Problem {
    Problem::new(500, "internal", "The host failed", detail)
        .with_hint("`stecker doctor` looks at the host; its log says more")
}

/// What the store says, in the words of the API.
pub(crate) fn store(error: &StoreError) -> Problem {
    let (status, kind, title, hint) = match error {
        StoreError::NotFound { what, name } => return not_found(what, name),
        StoreError::Conflict { what } => {
            return conflict(what, "look at its state, and try again if that has changed");
        }
        StoreError::Unstorable { what, reason } => {
            return invalid_field(what, format!("cannot be stored: {reason}"));
        }
        StoreError::Full { .. } => (
            507,
            "no-room",
            "No room left",
            "make room for the database; the same request is safe to repeat then",
        ),
        passing if passing.passes_by_itself() => (
            503,
            "database-away",
            "The database does not answer",
            "nothing was changed; the same request is safe to repeat in a moment",
        ),
        _ => (
            500,
            "database",
            "The database failed",
            "nothing was changed; `stecker doctor` looks at the database, and the host's log says more",
        ),
    };
    tracing::error!(%error, "the store failed");
    Problem::new(status, kind, title, error.to_string()).with_hint(hint)
}

/// What the vault says, in the words of the API.
pub(crate) fn vault(error: &VaultError) -> Problem {
    let (status, kind, title, hint) = match error {
        VaultError::Store(error) => return store(error),
        VaultError::Length { .. } => return invalid_field("value", error.to_string()),
        VaultError::Damaged { .. } => (
            500,
            "damaged-secret",
            "The secret does not open",
            "every other secret is as it was; `stecker secret set` replaces this one",
        ),
        _ => (
            503,
            "master-key",
            "The master key cannot be used",
            "nothing was changed; see `stecker serve --help` for where the master key comes from",
        ),
    };
    tracing::error!(%error, "the vault failed");
    Problem::new(status, kind, title, error.to_string()).with_hint(hint)
}

/// What the engine says, in the words of the API.
pub(crate) fn flow(error: FlowError) -> Problem {
    match error {
        FlowError::NotFound { what, name } => not_found(what, name),
        FlowError::Invalid(faults) => faulty_setup(faults),
        FlowError::Load(message) => {
            Problem::new(422, "not-a-plugin", "Not a plugin that this host runs", message)
                .with_hint("`stecker plugin inspect FILE` shows what a component is; nothing was kept")
        }
        FlowError::Call {
            code,
            message,
            backtrace,
        } => call(code, message, backtrace),
        FlowError::Circuit { ref connection, .. } => Problem::new(
            503,
            "circuit-open",
            "The connection is not called",
            error.to_string(),
        )
        .with_hint(format!(
            "`stecker connection show {connection}` shows the last crash; `stecker connection close-circuit {connection}` has it called again"
        )),
        FlowError::TooManyCalls { retry_after, .. } => Problem::new(
            429,
            "too-many-calls",
            "Too many calls",
            error.to_string(),
        )
        .with_hint(format!(
            "nothing was kept of this call; call again after {retry_after} second(s)"
        )),
        FlowError::Backlog { ref connection, retry_after, .. } => Problem::new(
            503,
            "backlog",
            "Too many calls wait",
            error.to_string(),
        )
        .with_hint(format!(
            "nothing was kept of this call; call again after {retry_after} seconds. `stecker connection show {connection}` shows why calls wait"
        )),
        FlowError::TenantFull { ref tenant, retry_after, .. } => Problem::new(
            503,
            "tenant-full",
            "Too many records wait",
            error.to_string(),
        )
        .with_hint(format!(
            "nothing was kept of this call; call again after {retry_after} seconds. `stecker --tenant {tenant} flow list` shows where records wait"
        )),
        FlowError::Ambiguous { ref candidates, .. } => {
            let faults: Vec<Fault> = candidates
                .iter()
                .map(|key| Fault {
                    path: "key".to_owned(),
                    reason: key.clone(),
                })
                .collect();
            Problem::new(409, "ambiguous-key", "Several keys fit", error.to_string())
                .with_hint("give the whole key, such as `stecker explain KEY`")
                .with_faults(faults)
        }
        FlowError::Untrusted { code, .. } => Problem::new(
            403,
            code,
            "The release is not trusted",
            error.to_string(),
        )
        .with_hint(
            "`stecker trust show` shows what the tenant trusts; `stecker trust sign` hands in a signature that is missing. Nothing was kept",
        ),
        FlowError::Root(ref root) => Problem::new(
            422,
            root.code(),
            "The trust root was not taken",
            error.to_string(),
        )
        .with_hint("the one before is still in force; `stecker trust show` shows it"),
        FlowError::Registry(_) => Problem::new(503, "registry", "The registry cannot be asked", error.to_string())
            .with_hint("try again; the host's log says more. Nothing was changed"),
        FlowError::Signature(_) => invalid_field("bundle", error.to_string()),
        FlowError::Busy { what, by } => conflict(
            format!("{what} is busy: {by}"),
            "wait until it is done and try again",
        ),
        FlowError::Store(error) => store(&error),
    }
}

/// A setup that cannot be applied.
pub(crate) fn faulty_setup(faults: Vec<Fault>) -> Problem {
    faulty("the setup", faults)
}

/// Something that has faults, each with its place.
pub(crate) fn faulty(what: &str, faults: Vec<Fault>) -> Problem {
    let detail = match faults.as_slice() {
        [only] => format!("{}: {}", only.path, only.reason),
        several => format!("{what} has {} faults", several.len()),
    };
    invalid(detail, faults)
}

fn call(code: ErrorCode, message: String, backtrace: Vec<String>) -> Problem {
    let hint = match code {
        ErrorCode::Config => "correct the connection's `config` and apply it again",
        ErrorCode::Auth => {
            "check the connection's credentials: the variable or file that the secret comes from, and the account"
        }
        ErrorCode::Transient | ErrorCode::RateLimited | ErrorCode::Conflict => {
            "this passes by itself; try again in a moment"
        }
        ErrorCode::Denied => {
            "add the grant that the message names to the connection, if it is to be allowed, and apply it again"
        }
        ErrorCode::Unsupported => "this plugin cannot do that; `stecker plugin inspect` shows its roles",
        ErrorCode::NotFound => {
            "the plugin or its system does not have it; `stecker connection discover` shows the streams"
        }
        ErrorCode::Schema | ErrorCode::Data | ErrorCode::Fatal => {
            "this is a fault of the plugin or an answer that it does not expect; show the message to its author"
        }
    };
    let frames = backtrace.into_iter().enumerate().map(|(index, frame)| Fault {
        path: format!("backtrace[{index}]"),
        reason: frame,
    });
    Problem::new(
        502,
        &format!("plugin-{}", code.as_str()),
        "The plugin or its system failed",
        message,
    )
    .with_hint(hint)
    .with_faults(frames)
}
