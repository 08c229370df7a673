//! The part of a flow's specification that says when its two ends are compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Period;

/// When a flow's ends are compared by themselves, what is compared, and what is done about differences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReconcilePolicy {
    /// Again and again, this long after the comparison before was asked for; at least a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// At these moments: five cron fields (minute hour day month weekday), UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// What comparisons that begin by themselves repair; none: they only tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repair: Vec<RepairKind>,
    /// Whether they read the source again from its beginning, in place of going by the ledger.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// JSON Pointers into what is written: only these places are compared. Empty: those that the destination's plugin names, else all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// A kind of difference that is repaired.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RepairKind {
    /// What is not at the destination is delivered again.
    Missing,
    /// What is otherwise there than it should be is delivered again.
    Different,
    /// What is there and not known here is deleted there.
    ExtraDelete,
}

impl RepairKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Different, Self::ExtraDelete];

    /// As it is written and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::ExtraDelete => "extra-delete",
        }
    }
}

impl std::str::FromStr for RepairKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                format!("`{text}` is nothing that can be repaired; give missing, different or extra-delete")
            })
    }
}

impl ReconcilePolicy {
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.every.is_some_and(|every| every < Period::from_secs(60)) {
            faults.push(("every", "has to be at least 1m".to_owned()));
        }
        if self.every.is_some() && self.cron.is_some() {
            faults.push(("every", "give `every` or `cron`, not both".to_owned()));
        }
        if self.fields.len() > 100 {
            faults.push(("fields", format!("has {} places; at most 100", self.fields.len())));
        }
        for field in &self.fields {
            if !field.starts_with('/') || field.len() > 512 {
                let reason = format!("`{field}` is no JSON Pointer of 1 to 512 bytes, such as /total");
                faults.push(("fields", reason));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_of_comparisons_is_checked() {
        let mut policy = ReconcilePolicy {
            every: Some(Period::from_secs(86_400)),
            repair: vec![RepairKind::Missing],
            fields: vec!["/total".to_owned()],
            ..ReconcilePolicy::default()
        };
        assert_eq!(policy.faults(), []);
        policy.every = Some(Period::from_secs(1));
        policy.cron = Some("0 3 * * *".to_owned());
        policy.fields.push("total".to_owned());
        let places: Vec<_> = policy.faults().into_iter().map(|(field, _)| field).collect();
        assert_eq!(places, ["every", "every", "fields"]);
        assert!(
            "everything"
                .parse::<RepairKind>()
                .unwrap_err()
                .contains("extra-delete")
        );
    }
}
