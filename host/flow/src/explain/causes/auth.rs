//! A system does not take the credentials: a key that was revoked, a password that was changed, tokens that cannot be renewed.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Evidence, Reason},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, elsewhere, others, system, with_failure};
use crate::explain::{
    facts::{CredentialFacts, Kept},
    text::{http_status, last_message, says, time},
};

/// What OAuth servers say when a refresh token or client is not taken (RFC 6749, section 5.2), and what the host says of its own.
const TOKENS: [&str; 5] = [
    "invalid_grant",
    "invalid_client",
    "refresh token",
    "token has expired",
    "token is expired",
];

fn is_auth(reason: &Reason) -> bool {
    let message = last_message(&reason.message);
    reason.code == ErrorCode::Auth.as_str()
        || (reason.code != ErrorCode::Denied.as_str()
            && (matches!(http_status(message), Some(401 | 407)) || says(message, &TOKENS)))
}

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage == Stage::Transform || !is_auth(&failure.reason) {
        return None;
    }
    let message = last_message(&failure.reason.message);
    let forbidden = http_status(message) == Some(403);
    let system = system(case, failure);
    // Credentials that others got through with are not expired; what is missing is a right for this one thing.
    if case.others.good_since > 0 {
        let sentence = format!(
            "{system} refused the access for this record, and let others through since then: the account probably lacks a right that this \
             one needs, and is not expired."
        );
        return Some(
            with_failure(
                Finding::new(Cause::AuthExpired, Confidence::Possible, sentence),
                failure,
            )
            .all_shown([others(case, failure)])
            .then(
                format!(
                    "Give the account of {system} the right to do this, there. {}",
                    by_itself(case)
                ),
                [check(case)].into_iter().chain(again(case)),
            ),
        );
    }
    let what = if says(message, &TOKENS) {
        "does not renew its tokens: access has to be given anew"
    } else if forbidden {
        "knows the account and does not let it do this any more: a right was taken away, or the credentials are of somebody else"
    } else {
        "does not accept the credentials: they expired, were revoked, or were changed there"
    };
    let finding = with_failure(
        Finding::new(
            Cause::AuthExpired,
            Confidence::Certain,
            format!("{system} {what}."),
        ),
        failure,
    )
    .all_shown([others(case, failure)])
    .all_shown(
        case.connection
            .credentials
            .iter()
            .map(|credential| age(case, credential)),
    )
    .all_shown(elsewhere(case, is_auth));
    let (action, command) = renewal(case);
    Some(finding.then(
        format!("{action} {}", by_itself(case)),
        command.into_iter().chain([check(case)]).chain(again(case)),
    ))
}

fn check(case: &Case) -> OperatorCommand {
    OperatorCommand::Check {
        connection: case.connection.name.clone(),
    }
}

fn age(case: &Case, credential: &CredentialFacts) -> Evidence {
    let mut what = format!("the credential `{}` ", credential.name);
    match (&credential.kept, credential.set_at) {
        (Kept::File(path), _) => {
            what.push_str(&format!("is read from the file {path} of the host at each use"));
        }
        (Kept::Env(variable), _) => {
            what.push_str(&format!("is the host's environment variable {variable}"));
        }
        (Kept::Vault, Some(at)) => what.push_str(&format!("was set at {}", time(at))),
        (Kept::Vault, None) => what.push_str("is not in the vault"),
    }
    if let Some(at) = credential.tokens_at {
        what.push_str(&format!(", its tokens were got at {}", time(at)));
    }
    if let Some(at) = credential.expires_at {
        let word = if at < case.now { "ended" } else { "end" };
        what.push_str(&format!(" and {word} at {}", time(at)));
    }
    Evidence {
        what,
        place: format!("secret/{}/{}", case.connection.name, credential.name),
    }
}

/// What renews the credential that is most probably meant: keys for webhooks are none that a system is asked with.
fn renewal(case: &Case) -> (String, Option<OperatorCommand>) {
    let connection = &case.connection.name;
    let asks = |credential: &&CredentialFacts| credential.kind.as_deref() != Some("hmac-secret");
    let Some(credential) = case.connection.credentials.iter().find(asks) else {
        return (
            format!("Look up which credentials `{connection}` has, and renew them in the setup."),
            Some(OperatorCommand::Secrets),
        );
    };
    let name = &credential.name;
    if credential.kind.as_deref() == Some("oauth2-authorization-code") {
        let text = "Have somebody who may give it allow the access anew (with the redirect URI that is registered there), and try the connection.";
        return (
            text.to_owned(),
            Some(OperatorCommand::Authorize {
                connection: connection.clone(),
                credential: name.clone(),
            }),
        );
    }
    match &credential.kept {
        Kept::Vault => (
            format!(
                "Get a new secret from the system, put it into the vault as `{name}`, and try the connection."
            ),
            Some(OperatorCommand::SetSecret {
                connection: connection.clone(),
                credential: name.clone(),
                refresh_token: credential.kind.as_deref() == Some("oauth2-refresh-token"),
                username: credential.username.clone(),
            }),
        ),
        Kept::File(path) => (
            format!(
                "Get a new secret from the system, write it into {path} on the host, and try the connection."
            ),
            None,
        ),
        Kept::Env(variable) => (
            format!(
                "Get a new secret from the system, put it into the host's environment variable {variable}, start the host again, and try the \
                 connection."
            ),
            None,
        ),
    }
}
