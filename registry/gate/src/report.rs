//! What the gate says.

use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::PluginName;

use crate::{Code, Conformance, Severity, Stage, Step};

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What, by its stable name.
    pub code: Code,
    /// Where in the order of the gate.
    pub step: Step,
    /// How much it counts.
    pub severity: Severity,
    /// What was seen, at most 2,000 characters.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do about it.
    pub todo: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.code,
            self.severity.as_str(),
            self.seen.trim_end()
        )
    }
}

/// The report on one release. At most some 100 KiB as JSON, whatever the plugin is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GateReport {
    /// Which gate.
    pub stage: Stage,
    /// When.
    pub examined_at: Timestamp,
    /// Whether the release passes: nothing was found that is a refusal.
    pub passes: bool,
    /// Of the component's bytes; none if it did not come so far that they could be loaded.
    pub digest: Option<Digest>,
    /// What the release calls itself.
    pub plugin: Option<PluginName>,
    /// Its version.
    pub version: Option<Version>,
    /// The version of the contract that it names.
    pub contract: Option<Version>,
    /// The versions of the contract that it was linked against here.
    pub linked: Vec<Version>,
    /// The release that it was compared with, if there is one.
    pub compared_with: Option<Digest>,
    /// What was found, in the order of the gate.
    pub findings: Vec<Finding>,
    /// What became of the run in the sandbox, if there was one.
    pub conformance: Option<Conformance>,
}

impl GateReport {
    /// What was found of this severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.severity == severity)
    }

    /// Whether this was found.
    #[must_use]
    pub fn has(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }
}

/// A release that does not pass, and why: as a text, every refusal with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The whole report; something in it is a refusal.
    pub report: Box<GateReport>,
}

impl Refusals {
    /// What it is refused for.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.report.of(Severity::Refusal)
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", finding.seen.trim_end())?;
            // What the first steps find says by itself what to do.
            if finding.step > Step::Link {
                write!(f, ". {} {}", finding.why, finding.todo)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}
