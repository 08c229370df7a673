//! How long a flow keeps what it moved. Pure: what is older than the cut-offs goes, and the store's transactions do it.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Period, RecordState, SpecError};

const FOREVER: &str = "forever";
/// Shorter, a record could be gone before anybody has asked where it is.
const SHORTEST: Period = Period::from_secs(3_600);

/// How long something is kept: a period such as `90d`, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Keep {
    /// For this long after it was done.
    For(Period),
    /// Always.
    Forever,
}

impl FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == FOREVER {
            return Ok(Self::Forever);
        }
        text.parse()
            .map(Self::For)
            .map_err(|error| format!("{error}, or `{FOREVER}`"))
    }
}

impl TryFrom<String> for Keep {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(period) => period.fmt(f),
            Self::Forever => f.write_str(FOREVER),
        }
    }
}

impl From<Keep> for String {
    fn from(keep: Keep) -> Self {
        keep.to_string()
    }
}

impl utoipa::PartialSchema for Keep {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("A number and a unit, such as 90d, or forever"))
            .into()
    }
}

impl ToSchema for Keep {}

impl JsonSchema for Keep {
    fn schema_name() -> Cow<'static, str> {
        "Keep".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|forever)$",
            "description": "How long: a number and a unit, such as 90d, or forever"
        })
    }
}

impl Keep {
    /// What was done before this moment goes; none: nothing does.
    #[must_use]
    pub fn cut_off(self, now: i64) -> Option<i64> {
        match self {
            Self::Forever => None,
            Self::For(period) => {
                let millis = i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
                Some(now.saturating_sub(millis))
            }
        }
    }
}

/// How long a flow keeps what it moved. What recognises a repeated read is kept for ever, whatever stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetentionPolicy {
    /// Payloads of records that are done (delivered, dropped, discarded); afterwards their digest (SHA-256) and size are kept, and the
    /// record's story. At least 1h; 90d unless said otherwise.
    pub delivered_payloads: Keep,
    /// Records that are done, with their attempts: open and quarantined ones never go. Not shorter than `delivered-payloads`; forever
    /// unless said otherwise.
    pub records: Keep,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            delivered_payloads: Keep::For(Period::from_secs(90 * 86_400)),
            records: Keep::Forever,
        }
    }
}

impl RetentionPolicy {
    /// Whether it is the usual one.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it; `at` says where a field is.
    #[must_use]
    pub fn faults(&self, at: impl Fn(&str) -> String) -> Vec<SpecError> {
        let mut faults = Vec::new();
        for (field, keep) in [
            ("retention.delivered-payloads", self.delivered_payloads),
            ("retention.records", self.records),
        ] {
            if matches!(keep, Keep::For(period) if period < SHORTEST) {
                faults.push(SpecError::new(
                    at(field),
                    format!("has to be at least {SHORTEST}"),
                ));
            }
        }
        if let (Keep::For(records), Keep::For(payloads)) = (self.records, self.delivered_payloads)
            && records < payloads
        {
            faults.push(SpecError::new(
                at("retention.records"),
                "must not be shorter than retention.delivered-payloads: the payload goes with its record",
            ));
        }
        faults
    }
}

/// Whether a record is old enough: it is done, and has been since before the cut-off.
#[must_use]
pub const fn is_past(state: RecordState, done_at: i64, cut_off: i64) -> bool {
    matches!(
        state,
        RecordState::Delivered | RecordState::Dropped | RecordState::Discarded
    ) && done_at < cut_off
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn only_what_is_done_and_old_goes() {
        for state in RecordState::ALL {
            let done = !state.is_open() && state != RecordState::Quarantined;
            assert_eq!(is_past(state, 99, 100), done, "{state:?}");
            assert!(!is_past(state, 100, 100));
        }
    }

    #[test]
    fn cut_offs_lie_the_period_back() {
        let now = 1_000 * DAY;
        for (keep, cut_off) in [
            ("30d", Some(970 * DAY)),
            ("1h", Some(now - 3_600_000)),
            ("forever", None),
            ("18446744073709551615ms", Some(now - i64::MAX)),
        ] {
            assert_eq!(keep.parse::<Keep>().unwrap().cut_off(now), cut_off, "{keep}");
        }
    }

    #[test]
    fn policies_are_read_checked_and_the_usual_one_is_known() {
        let read = |text| serde_json::from_str::<RetentionPolicy>(text).unwrap();
        let at = |field: &str| field.to_owned();
        assert!(read("{}").is_usual());
        assert_eq!(read(r#"{"records": "400d"}"#).faults(at), []);
        assert_eq!(read(r#"{"delivered-payloads": "forever"}"#).faults(at), []);
        let short = read(r#"{"delivered-payloads": "10m", "records": "5m"}"#).faults(at);
        let paths: Vec<_> = short.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "retention.delivered-payloads",
                "retention.records",
                "retention.records"
            ]
        );
        let error = serde_json::from_str::<RetentionPolicy>(r#"{"records": "ever"}"#).unwrap_err();
        assert!(error.to_string().contains("forever"), "{error}");
    }
}
