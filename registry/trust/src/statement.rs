//! What is signed of a release: an in-toto Statement (<https://github.com/in-toto/attestation>, v1) over the digests of component and manifest.
//!
//! Ours says which release it is, by name and version, so that a signed component cannot be passed off as another plugin or another version. Statements
//! of cosign name only a digest; since the manifest lies inside of the component, its digest covers name and version as well.
//!
//! A statement about a release is not a release: a bill of materials, or a report of what a scanner found, is also signed, and with the same key. So
//! the predicate's type decides what a signature is good for.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::PluginName;

use crate::text;

/// The payload type of in-toto statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Our predicate: "this is that release".
pub const RELEASE_PREDICATE: &str = "urn:stecker:release:v1";
/// What `cosign sign` says: "this is signed".
pub const COSIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What cosign wrote before in-toto 1.0. It has the fields that count in the same places.
const STATEMENT_BEFORE: &str = "https://in-toto.io/Statement/v0.1";
const COMPONENT: &str = "component";
const MANIFEST: &str = "manifest";

/// A release as it is named where it is signed and where it is loaded. Take name and version from the manifest inside of the component, never from
/// where the bytes came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSubject {
    /// As its manifest says.
    pub name: PluginName,
    /// As its manifest says.
    pub version: Version,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the manifest's canonical JSON (`Manifest::to_canonical_json`).
    pub manifest: Digest,
    /// Of the OCI image manifest that the component was pulled by, where the caller has checked that its one layer is the component. `cosign sign` signs that.
    pub image: Option<Digest>,
}

/// What a good signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Name, version, component and manifest.
    Release,
    /// The component, and so the manifest in it.
    Component,
    /// The OCI image that the component is the layer of.
    Image,
}

/// What is wrong with what was signed, not with the signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementFault {
    /// Not a statement.
    #[error("what was signed is not an in-toto statement: {0}")]
    NotAStatement(String),
    /// Something else is said of it.
    #[error(
        "the signed statement says `{found}` of the release, not that it was released; `{RELEASE_PREDICATE}` and `{COSIGN_PREDICATE}` do"
    )]
    OtherPredicate {
        /// Its type.
        found: String,
    },
    /// A signature for something else.
    #[error("the signature is for another {what}: for {found}, and this is {expected}")]
    OtherDigest {
        /// `component` or `manifest`.
        what: &'static str,
        /// What it would have to be.
        expected: Digest,
        /// What it is for.
        found: String,
    },
    /// A signature for another plugin or version.
    #[error("the signature is for {found}, and this release calls itself {expected}")]
    OtherRelease {
        /// `name@version` of the release.
        expected: String,
        /// `name@version` that was signed.
        found: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatementJson {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    subject: Vec<SubjectJson>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct SubjectJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReleasePredicate {
    name: PluginName,
    version: Version,
    signed_at: Timestamp,
}

fn label(name: &PluginName, version: &Version) -> String {
    format!("{name}@{version}")
}

impl ReleaseSubject {
    /// The statement that says of these digests that they are this release. `signed_at` is for people: a signer can write any time there.
    #[must_use]
    pub fn statement(&self, signed_at: Timestamp) -> Vec<u8> {
        let subject = |name: &str, digest: &Digest| SubjectJson {
            name: name.to_owned(),
            digest: [("sha256".to_owned(), digest.hex().to_owned())].into(),
        };
        let predicate = serde_json::json!({
            "name": self.name,
            "version": self.version,
            "signed-at": signed_at,
        });
        let statement = StatementJson {
            kind: STATEMENT.to_owned(),
            subject: vec![
                subject(COMPONENT, &self.component),
                subject(MANIFEST, &self.manifest),
            ],
            predicate_type: RELEASE_PREDICATE.to_owned(),
            predicate,
        };
        serde_json::to_vec(&statement)
            .unwrap_or_else(|error| unreachable!("texts and lists have a JSON form: {error}"))
    }

    /// Whether a statement that somebody signed says of this release that it was released.
    ///
    /// # Errors
    /// [`StatementFault`] if it is about something else, or says something else.
    pub fn covered_by(&self, statement: &[u8]) -> Result<Coverage, StatementFault> {
        let not_one = |why: String| StatementFault::NotAStatement(text::short(&why));
        let statement: StatementJson =
            serde_json::from_slice(statement).map_err(|error| not_one(error.to_string()))?;
        if statement.kind != STATEMENT && statement.kind != STATEMENT_BEFORE {
            return Err(not_one(format!("its type is `{}`", statement.kind)));
        }
        match statement.predicate_type.as_str() {
            RELEASE_PREDICATE => self.is_released_by(&statement),
            COSIGN_PREDICATE => self.is_signed_by(&statement),
            other => Err(StatementFault::OtherPredicate {
                found: text::short(other),
            }),
        }
    }

    fn is_released_by(&self, statement: &StatementJson) -> Result<Coverage, StatementFault> {
        let predicate = ReleasePredicate::deserialize(&statement.predicate).map_err(|error| {
            StatementFault::NotAStatement(text::short(&format!("its predicate: {error}")))
        })?;
        for (what, expected) in [(COMPONENT, &self.component), (MANIFEST, &self.manifest)] {
            let mut named = statement.subject.iter().filter(|subject| subject.name == what);
            let (Some(subject), None) = (named.next(), named.next()) else {
                return Err(StatementFault::NotAStatement(format!(
                    "it has to name the {what} once"
                )));
            };
            is_digest(subject, what, expected)?;
        }
        if (&predicate.name, &predicate.version) != (&self.name, &self.version) {
            return Err(StatementFault::OtherRelease {
                expected: label(&self.name, &self.version),
                found: label(&predicate.name, &predicate.version),
            });
        }
        Ok(Coverage::Release)
    }

    fn is_signed_by(&self, statement: &StatementJson) -> Result<Coverage, StatementFault> {
        let names = |digest: &Digest| {
            let mut subjects = statement.subject.iter();
            subjects.any(|subject| is_digest(subject, COMPONENT, digest).is_ok())
        };
        if names(&self.component) {
            return Ok(Coverage::Component);
        }
        if self.image.as_ref().is_some_and(names) {
            return Ok(Coverage::Image);
        }
        Err(StatementFault::OtherDigest {
            what: COMPONENT,
            expected: self.component.clone(),
            found: statement
                .subject
                .first()
                .map_or_else(|| "nothing".to_owned(), shown),
        })
    }
}

fn shown(subject: &SubjectJson) -> String {
    subject.digest.get("sha256").map_or_else(
        || "something without a SHA-256".to_owned(),
        |hex| text::short(&format!("sha256:{hex}")),
    )
}

fn is_digest(subject: &SubjectJson, what: &'static str, expected: &Digest) -> Result<(), StatementFault> {
    let found = subject.digest.get("sha256");
    if found.is_some_and(|hex| hex.eq_ignore_ascii_case(expected.hex())) {
        return Ok(());
    }
    Err(StatementFault::OtherDigest {
        what,
        expected: expected.clone(),
        found: shown(subject),
    })
}
