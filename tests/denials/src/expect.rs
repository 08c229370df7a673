//! What a scenario expects: the tables `expect` of its `scenario.toml`.

use serde::Deserialize;
use stecker_model::Period;

/// What has to come of it. What is not said is not looked at, except for what holds for every scenario: the canary is not reached, no
/// secret gets out, nobody is denied anything that is not named here, memory stays within its limit, and the neighbour works on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Expect {
    /// How the call ends: one of [`ENDINGS`]. Several, where more than one is right.
    #[serde(default = "fine")]
    pub(crate) ends: Ends,
    /// Of several calls, how at least one of them ends.
    #[serde(default)]
    pub(crate) once: Option<Ends>,
    /// Parts of the answer, or of the error.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    /// Must not be in the answer, the error, or the log.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// One for each step of a scripted guest.
    #[serde(default)]
    pub(crate) step: Vec<Step>,
    /// Denials of guests without a script.
    #[serde(default)]
    pub(crate) denied: Vec<Denied>,
    /// Requests that the upstream got: exactly so many.
    #[serde(default)]
    pub(crate) requests: Option<u64>,
    /// Requests that the upstream got, at most.
    #[serde(default)]
    pub(crate) requests_at_most: Option<u64>,
    /// Requests that the upstream had to answer at the same time, at most.
    #[serde(default)]
    pub(crate) at_once_at_most: Option<u64>,
    /// Parts of what the upstream got in its requests' heads.
    #[serde(default)]
    pub(crate) upstream_got: Vec<String>,
    /// What the upstream must not have got.
    #[serde(default)]
    pub(crate) upstream_lacks: Vec<String>,
    /// Lines in the operator's log, at most, for each call.
    #[serde(default)]
    pub(crate) lines_at_most: Option<u64>,
    /// Bytes in the operator's log, at most, for each call.
    #[serde(default)]
    pub(crate) log_bytes_at_most: Option<u64>,
    /// What is in the log.
    #[serde(default)]
    pub(crate) logged: Vec<String>,
    /// Every call is over by then, although it was hostile. Generous: it tells "bounded" from "not bounded" and no more.
    #[serde(default)]
    pub(crate) within: Option<Period>,
    /// Keys and values of the connection's store afterwards, as `key=value`.
    #[serde(default)]
    pub(crate) stored: Option<Vec<String>>,
    /// How many blobs count for the connection afterwards.
    #[serde(default)]
    pub(crate) blobs: Option<usize>,
}

fn fine() -> Ends {
    Ends(OneOrMore::One("ok".to_owned()))
}

/// How a call can end: `ok`, a kind of `CallError`, of `BindError` (with `bind-` before it) or of `LoadError` (with `load-`; where the
/// component itself is the reason, the code of `InspectError`).
const ENDINGS: [&str; 36] = [
    "ok",
    "plugin",
    "trap",
    "deadline",
    "out-of-memory",
    "tenant-out-of-memory",
    "stack-overflow",
    "busy",
    "no-role",
    "contract",
    "host",
    "bind-config",
    "bind-grant",
    "bind-limits",
    "load-compile",
    "load-compile-bounds",
    "load-does-not-fit",
    "load-link",
    "load-host",
    "load-too-large",
    "load-not-wasm",
    "load-core-module",
    "load-truncated",
    "load-invalid",
    "load-too-deep",
    "load-too-many",
    "load-too-large-at-first",
    "load-function-too-large",
    "load-wrong-contract",
    "load-unknown-import",
    "load-no-meta",
    "load-incomplete-role",
    "load-no-manifest",
    "load-several-manifests",
    "load-bad-manifest",
    "load-contract-mismatch",
];

/// Some of [`ENDINGS`]. A name that is none would be an expectation that nothing can meet, so it is refused when the scenario is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OneOrMore")]
pub(crate) struct Ends(pub(crate) OneOrMore);

impl TryFrom<OneOrMore> for Ends {
    type Error = String;

    fn try_from(names: OneOrMore) -> Result<Self, String> {
        match names.iter().find(|name| !ENDINGS.contains(&name.as_str())) {
            Some(name) => Err(format!(
                "no call ends with `{name}`; there are {}",
                ENDINGS.join(", ")
            )),
            None => Ok(Self(names)),
        }
    }
}

/// A text, or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn iter(&self) -> std::slice::Iter<'_, String> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::More(more) => more.iter(),
        }
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        self.iter().any(|one| one == text)
    }
}

/// A denial.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Denied {
    pub(crate) rule: String,
    /// Who says no: `manifest`, `grant`, `ceiling` or `host`.
    pub(crate) layer: String,
    /// A part of what was asked for.
    #[serde(default)]
    pub(crate) asked: String,
    /// A part of the smallest grant. With the layer `host` there is none, otherwise there is one, and it is TOML.
    #[serde(default)]
    pub(crate) grant: String,
    /// How often.
    #[serde(default = "once")]
    pub(crate) times: usize,
}

const fn once() -> usize {
    1
}

/// What becomes of one step of a script.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Step {
    /// Refused by this rule.
    pub(crate) denied: Option<Denied>,
    /// Failed with one of these codes.
    pub(crate) code: Option<OneOrMore>,
    /// Answered with this status.
    pub(crate) status: Option<u16>,
    /// Answered, whatever with.
    pub(crate) ok: Option<bool>,
    /// Parts of the answer or of the error, headers and details included.
    pub(crate) contains: Vec<String>,
    /// Must not be in there.
    pub(crate) lacks: Vec<String>,
    /// What becomes of it through `wasi:http`, where that is something else: its own types refuse some of it before the host is asked.
    pub(crate) wasi: Option<Box<Self>>,
}
