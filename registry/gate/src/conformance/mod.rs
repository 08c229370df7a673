//! A run of every role in the sandbox, against a scripted upstream, and what is checked about it.
//!
//! No request reaches the network: each is answered by a script ([`Behaviour`]), and the whole run is done once for each way in which an upstream can
//! behave. Nobody knows what a stranger's system would answer, so nothing is checked about the plugin's business. What is checked are the invariants of the
//! contract, which hold whatever comes back: no trap, bounds kept, an error with a known code, nothing called delivered that was not.
//!
//! `play` runs, `script` answers, `stage` is what a session has besides; `judge` is pure and decides about what was seen.

mod given;
mod judge;
mod play;
mod sample;
mod script;
mod seen;
mod stage;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stecker_sandbox::Release;

use crate::{Code, ConformancePolicy, findings::Findings};
use play::Player;
pub use script::Behaviour;

/// The schema of what `meta.describe` returns, as it lies beside the contract.
const DESCRIPTION: &str = include_str!("../../../../wit/1.0.0/description.schema.json");

macro_rules! checks {
    ($($variant:ident, $name:literal, $holds:literal;)*) => {
        /// Something that holds of every plugin.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Check {
            $(#[doc = $holds] #[serde(rename = $name)] $variant,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What has to hold.
            #[must_use]
            pub const fn holds(self) -> &'static str {
                match self { $(Self::$variant => $holds,)* }
            }
        }
    };
}

checks! {
    NoTrap, "no-trap", "No call traps, runs out of memory or overflows its stack, whatever the upstream answers.";
    NoTimeout, "no-timeout", "Every call ends by itself within its time.";
    BoundsKept, "bounds-kept", "What comes back keeps to the contract: pages within the limits that were asked for, cursors that move on, one answer per record in the order of the batch, payloads and schemas that are JSON, keys of 1 to 512 bytes.";
    DescribedAlike, "described-alike", "`meta.describe` says the same every time.";
    DescriptionFits, "description-fits", "The description fits the contract's description.schema.json, and its `config` is a JSON Schema.";
    ProbesAnswer, "probes-answer", "`connection.check` answers with at least one probe, or with a coded error.";
    ProbesHonest, "probes-honest", "In front of an upstream that answers every request with an error, not every probe goes well.";
    SameKeys, "same-keys", "The same answers of the upstream, or the same records, give the same keys and source versions in the same order.";
    KnownCodes, "known-codes", "Errors have one of the contract's codes.";
    AuthTold, "auth-told", "Where the upstream answers 401, the error's code is `auth`.";
    RateTold, "rate-told", "Where the upstream answers 429 with Retry-After, the error's code is `rate-limited` and says when to come back.";
    TransientTold, "transient-told", "Where the upstream answers 500, the error's code is `transient`, or the outcome of a write is `unknown`.";
    NothingInvented, "nothing-invented", "No record is called delivered or duplicate where no request was sent, or where every request was answered with an error.";
    IdempotencySent, "idempotency-sent", "If an `[[upstream]]` names an `idempotency-header`, every request of `destination.write` that is not a GET or HEAD carries it.";
    ForgeryRefused, "forgery-refused", "A webhook without a signature is not accepted, if the plugin has a secret to verify signatures with.";
    WithinManifest, "within-manifest", "With everything granted that the manifest asks for, no use of a capability is denied.";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// It held wherever it could be looked at.
    Passed,
    /// It did not hold at least once.
    Failed,
    /// There was nothing to look at.
    NotApplicable,
}

/// A check, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckResult {
    /// Which.
    pub check: Check,
    /// What became of it.
    pub outcome: CheckOutcome,
    /// Whether a release may not fail it.
    pub mandatory: bool,
    /// How often it was looked at.
    pub times: u32,
    /// Where it did not hold, at most five times.
    pub seen: Vec<String>,
}

/// The report on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Conformance {
    /// Each check, in their order.
    pub checks: Vec<CheckResult>,
    /// Calls to the plugin.
    pub calls: u32,
    /// Requests that it sent, and that the script answered.
    pub requests: u32,
    /// What could not be run, and why.
    pub left_out: Vec<String>,
}

impl Conformance {
    /// What became of one check.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<CheckOutcome> {
        self.checks
            .iter()
            .find(|result| result.check == check)
            .map(|result| result.outcome)
    }

    pub(crate) fn tell(&self, findings: &mut Findings<'_>) {
        for code in [Code::ConformanceMandatory, Code::ConformanceFailed] {
            let failed = self.checks.iter().filter(|result| {
                result.outcome == CheckOutcome::Failed
                    && result.mandatory == (code == Code::ConformanceMandatory)
            });
            findings.add_each(
                code,
                failed.map(|result| {
                    let first = result.seen.first().map_or("", String::as_str);
                    format!("{}: {first}", result.check)
                }),
            );
        }
        findings.add_each(Code::ConformancePartial, self.left_out.iter().cloned());
    }
}

/// Runs a release.
pub(crate) async fn run(release: &Release, description: &Value, policy: &ConformancePolicy) -> Conformance {
    let again = release.describe_afresh().await;
    let mut player = Player::new(release, description, policy);
    player.play_all().await;
    let played = player.end();
    let facts = judge::Facts {
        manifest: &release.inspection().manifest,
        description,
        again: &again,
    };
    Conformance {
        checks: judge::all(&facts, &played.runs, &policy.mandatory),
        calls: u32::try_from(played.runs.len()).unwrap_or(u32::MAX),
        requests: played
            .runs
            .iter()
            .map(|run| run.requests.len())
            .sum::<usize>()
            .try_into()
            .unwrap_or(u32::MAX),
        left_out: played.left_out,
    }
}
