//! Commands that an operator is told to run. One place writes them, so that the command line can hold all of them against its own parser.

use crate::{Name, RecordId};

/// A command of `stecker`, by its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Tries every quarantined record of a cause again.
    RetryGroup {
        /// As [`crate::api::CauseGroup::id`].
        group: String,
    },
    /// Tries one quarantined record again.
    RetryRecord {
        /// Which.
        record: RecordId,
    },
    /// Corrects the payload of a quarantined record.
    Edit {
        /// Which.
        record: RecordId,
        /// Why.
        reason: String,
    },
    /// Gives a quarantined record up.
    Discard {
        /// Which.
        record: RecordId,
        /// Why.
        reason: String,
    },
    /// What stuck records have in common.
    Groups {
        /// Of this flow.
        flow: Name,
    },
    /// One record and its attempts.
    ShowRecord {
        /// Which.
        record: RecordId,
    },
    /// What each transform makes of a record.
    Steps {
        /// Which.
        record: RecordId,
    },
    /// Every event of a key.
    Explain {
        /// Which.
        key: String,
        /// In this flow.
        flow: Option<Name>,
    },
    /// Tries a connection.
    Check {
        /// Which.
        connection: Name,
    },
    /// A connection with its last crash.
    ShowConnection {
        /// Which.
        connection: Name,
    },
    /// Has a connection called again.
    CloseCircuit {
        /// Which.
        connection: Name,
        /// Why.
        reason: String,
    },
    /// Puts a secret into the vault.
    SetSecret {
        /// Of which connection.
        connection: Name,
        /// For which credential.
        credential: Name,
        /// Whether it is a refresh token.
        refresh_token: bool,
        /// User name or client id, where one goes with it.
        username: Option<String>,
    },
    /// Has a person allow access.
    Authorize {
        /// Of which connection.
        connection: Name,
        /// For which credential.
        credential: Name,
    },
    /// What is known of the secrets.
    Secrets,
    /// One kind of refusals.
    ShowDenial {
        /// As [`crate::api::DenialInfo::id`].
        id: String,
    },
    /// What a connection was refused.
    Denials {
        /// Which.
        connection: Name,
    },
    /// How far a flow is.
    FlowStatus {
        /// Which.
        flow: Name,
    },
    /// Reads a flow's source now.
    RunFlow {
        /// Which.
        flow: Name,
    },
    /// Ends a pause.
    ResumeFlow {
        /// Which.
        flow: Name,
    },
    /// Compares a flow's two ends.
    Reconcile {
        /// Which.
        flow: Name,
    },
    /// Sends a key again that a person had given up.
    Replay {
        /// In which flow.
        flow: Name,
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// Changes a setup.
    Apply,
    /// Looks at the host.
    Doctor,
}

impl OperatorCommand {
    /// As it is typed into a POSIX shell, in the name of a tenant.
    #[must_use]
    pub fn line(&self, tenant: &Name) -> String {
        let mut words = vec!["stecker".to_owned()];
        // In front, because behind `--` there are no options any more.
        if *tenant != Name::default_tenant() {
            words.extend(["--tenant".to_owned(), tenant.to_string()]);
        }
        words.extend(self.words().iter().map(|word| quoted(word)));
        words.join(" ")
    }

    /// Whether it names a record.
    #[must_use]
    pub const fn is_about_a_record(&self) -> bool {
        matches!(
            self,
            Self::RetryRecord { .. }
                | Self::Edit { .. }
                | Self::Discard { .. }
                | Self::ShowRecord { .. }
                | Self::Steps { .. }
        )
    }

    /// The words after `stecker`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::RetryGroup { group } => text(&["quarantine", "retry", "--group", group]),
            Self::RetryRecord { record } => text(&["quarantine", "retry", &record.to_string()]),
            Self::Edit { record, reason } => {
                text(&["quarantine", "edit", &record.to_string(), "--reason", reason])
            }
            Self::Discard { record, reason } => {
                text(&["quarantine", "discard", &record.to_string(), "--reason", reason])
            }
            Self::Groups { flow } => text(&["quarantine", "groups", "--flow", flow.as_str()]),
            Self::ShowRecord { record } => text(&["records", "show", &record.to_string()]),
            Self::Steps { record } => text(&["records", "show", &record.to_string(), "--steps"]),
            Self::Explain { key, flow } => {
                let mut words: Vec<String> = text(&["explain", "--full"]);
                if let Some(flow) = flow {
                    words.extend(["--flow".to_owned(), flow.to_string()]);
                }
                if key.starts_with('-') {
                    words.push("--".to_owned());
                }
                words.push(key.clone());
                words
            }
            Self::Check { connection } => text(&["connection", "check", connection.as_str()]),
            Self::ShowConnection { connection } => text(&["connection", "show", connection.as_str()]),
            Self::CloseCircuit { connection, reason } => text(&[
                "connection",
                "close-circuit",
                connection.as_str(),
                "--reason",
                reason,
            ]),
            Self::SetSecret {
                connection,
                credential,
                refresh_token,
                username,
            } => {
                let mut words: Vec<String> =
                    text(&["secret", "set", connection.as_str(), credential.as_str()]);
                if *refresh_token {
                    words.push("--refresh-token".to_owned());
                } else if let Some(username) = username {
                    words.push(format!("--username={username}"));
                }
                words
            }
            Self::Authorize {
                connection,
                credential,
            } => text(&[
                "secret",
                "authorize",
                connection.as_str(),
                credential.as_str(),
                "--redirect-uri",
                "http://127.0.0.1/callback",
            ]),
            Self::Secrets => text(&["secret", "list"]),
            Self::ShowDenial { id } => text(&["denials", "show", id]),
            Self::Denials { connection } => text(&["denials", "list", "--connection", connection.as_str()]),
            Self::FlowStatus { flow } => text(&["flow", "status", flow.as_str()]),
            Self::RunFlow { flow } => text(&["flow", "run", flow.as_str()]),
            Self::ResumeFlow { flow } => text(&["flow", "resume", flow.as_str()]),
            Self::Reconcile { flow } => text(&["reconcile", flow.as_str()]),
            Self::Replay { flow, key, reason } => vec![
                "replay".to_owned(),
                "start".to_owned(),
                flow.to_string(),
                format!("--key={key}"),
                "--only-state=discarded".to_owned(),
                "--reason".to_owned(),
                reason.clone(),
            ],
            Self::Apply => text(&["apply", "-f", "setup.toml"]),
            Self::Doctor => text(&["doctor"]),
        }
    }

    /// One of each kind, with values that are hard to quote, for whoever checks that all of them are commands.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let name = Name::default_tenant;
        let record = || RecordId { flow: name(), seq: 7 };
        let nasty = || "it's \"so\" $HOME `x`; --yes".to_owned();
        let secret = |refresh_token, username| Self::SetSecret {
            connection: name(),
            credential: name(),
            refresh_token,
            username,
        };
        let explain = |key: &str, flow| Self::Explain {
            key: key.to_owned(),
            flow,
        };
        vec![
            Self::RetryGroup {
                group: "4df508ddcd79".to_owned(),
            },
            Self::RetryRecord { record: record() },
            Self::Edit {
                record: record(),
                reason: nasty(),
            },
            Self::Discard {
                record: record(),
                reason: nasty(),
            },
            Self::Groups { flow: name() },
            Self::ShowRecord { record: record() },
            Self::Steps { record: record() },
            explain(&nasty(), None),
            explain("--full", Some(name())),
            explain("", None),
            Self::Check { connection: name() },
            Self::ShowConnection { connection: name() },
            Self::CloseCircuit {
                connection: name(),
                reason: nasty(),
            },
            secret(false, None),
            secret(true, None),
            secret(false, Some("-user name".to_owned())),
            Self::Authorize {
                connection: name(),
                credential: name(),
            },
            Self::Secrets,
            Self::ShowDenial {
                id: "3f1c0d9a5b7e2468".to_owned(),
            },
            Self::Denials { connection: name() },
            Self::FlowStatus { flow: name() },
            Self::RunFlow { flow: name() },
            Self::ResumeFlow { flow: name() },
            Self::Reconcile { flow: name() },
            Self::Replay {
                flow: name(),
                key: "-1 '".to_owned(),
                reason: nasty(),
            },
            Self::Apply,
            Self::Doctor,
        ]
    }
}

/// A word for a POSIX shell (Shell Command Language, 2.2): as it is if nothing in it means anything, else in single quotes.
fn quoted(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '=' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_for_something_else() {
        for (word, line) in [
            ("SO-1042", "SO-1042"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(rm x)", "'$(rm x)'"),
            ("#1", "'#1'"),
        ] {
            assert_eq!(quoted(word), line);
        }
    }

    #[test]
    fn another_tenant_is_named() {
        let command = OperatorCommand::Doctor;
        assert_eq!(command.line(&Name::default_tenant()), "stecker doctor");
        assert_eq!(
            command.line(&"acme".parse().unwrap()),
            "stecker --tenant acme doctor"
        );
    }

    #[test]
    fn every_cause_is_listed_once_and_written_as_it_is_serialized() {
        use crate::api::Cause;
        let mut words: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        for cause in Cause::ALL {
            assert_eq!(
                serde_json::to_value(cause).unwrap(),
                serde_json::json!(cause.as_str())
            );
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Cause::ALL.len());
    }
}
