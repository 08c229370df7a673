//! Webhooks that go out: who is told of which events, and what came of it.
//!
//! What is sent follows Standard Webhooks (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, and a body of `type`, `timestamp` and `data`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Name, Period, SecretText};

/// What can happen that somebody may want to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// A record is at its destination.
    #[serde(rename = "record.delivered")]
    RecordDelivered,
    /// A record needs a person or a fix.
    #[serde(rename = "record.quarantined")]
    RecordQuarantined,
    /// A transform left a record out on purpose.
    #[serde(rename = "record.dropped")]
    RecordDropped,
    /// A person gave a record up.
    #[serde(rename = "record.discarded")]
    RecordDiscarded,
    /// A person paused a flow.
    #[serde(rename = "flow.paused")]
    FlowPaused,
    /// A person ended a pause.
    #[serde(rename = "flow.resumed")]
    FlowResumed,
    /// A connection is not called any more: its plugin kept crashing, or a person stopped it.
    #[serde(rename = "connection.circuit-open")]
    CircuitOpen,
    /// A connection is called again.
    #[serde(rename = "connection.circuit-close")]
    CircuitClose,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RecordDelivered,
        Self::RecordQuarantined,
        Self::RecordDropped,
        Self::RecordDiscarded,
        Self::FlowPaused,
        Self::FlowResumed,
        Self::CircuitOpen,
        Self::CircuitClose,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordDelivered => "record.delivered",
            Self::RecordQuarantined => "record.quarantined",
            Self::RecordDropped => "record.dropped",
            Self::RecordDiscarded => "record.discarded",
            Self::FlowPaused => "flow.paused",
            Self::FlowResumed => "flow.resumed",
            Self::CircuitOpen => "connection.circuit-open",
            Self::CircuitClose => "connection.circuit-close",
        }
    }
}

impl FromStr for EventType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is not a type of event; there are {all}")
        })
    }
}

/// A webhook: somebody's address, and what it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookInfo {
    /// Unique within the tenant.
    pub name: Name,
    /// Where events are sent.
    pub url: String,
    /// Which types of events; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub events: Vec<EventType>,
    /// Only what happens in these flows; empty: whatever happens. Circuits are of connections, so a webhook of some flows is not told of
    /// them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flows: Vec<Name>,
    /// When it was made.
    pub created_at: i64,
    /// Whether events are kept for it and sent to it.
    pub enabled: bool,
    /// Why and since when it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disabled: Option<WebhookDisabled>,
    /// Since when it has answered nothing but failures, if the last answer was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing_since: Option<i64>,
    /// Until when the secret before signs too, after a rotation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_secret_until: Option<i64>,
    /// Events on their way to it.
    pub waiting: u64,
}

/// Why a webhook is told nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookDisabled {
    /// Since when.
    pub since: i64,
    /// Why.
    pub reason: String,
}

/// A webhook to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AddWebhook {
    /// Unique within the tenant.
    pub name: Name,
    /// Where events are sent: an https URL of a public host, or what the tenant's limits allow besides (`receivers`).
    pub url: String,
    /// Which types of events; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventType>,
    /// Only what happens in these flows; empty: whatever happens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<Name>,
}

/// A webhook with its secret, which is shown this one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookSecret {
    /// The webhook.
    pub webhook: WebhookInfo,
    /// `whsec_` and base64, as every library of Standard Webhooks takes it.
    pub secret: SecretText,
}

/// Telling a webhook nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DisableWebhook {
    /// Why; shown with the webhook.
    pub reason: String,
}

/// Giving a webhook a new secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RotateWebhookSecret {
    /// For how long the secret before signs too, up to 30 days; a day unless said otherwise. Secrets of earlier rotations end then at the
    /// latest.
    pub overlap: Period,
}

impl Default for RotateWebhookSecret {
    fn default() -> Self {
        Self {
            overlap: Period::from_secs(24 * 60 * 60),
        }
    }
}

/// What came of an event that was sent by way of trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookTest {
    /// Whether the answer was a 2xx.
    pub ok: bool,
    /// The event's id, as sent in `webhook-id`.
    pub id: String,
    /// The status of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Milliseconds until the answer.
    pub took_ms: u64,
}

/// How far an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is sent, now or again later.
    Waiting,
    /// It was answered with a 2xx.
    Delivered,
    /// It was tried for as long as events are.
    Failed,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for DeliveryState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is not a state of a delivery; there are {all}")
        })
    }
}

/// An event on its way to a webhook, or there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookDelivery {
    /// The event's id, the same at every attempt.
    pub id: String,
    /// What happened.
    pub event: EventType,
    /// When.
    pub created_at: i64,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts since the webhook was last enabled.
    pub tries: u32,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_try_at: Option<i64>,
    /// When it was delivered or given up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settled_at: Option<i64>,
    /// The newest 20 attempts, oldest first.
    pub attempts: Vec<WebhookAttempt>,
}

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookAttempt {
    /// When.
    pub at: i64,
    /// The status of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Why it counts as a failure, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// At most this many, 1 to 1,000; 100 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_the_same_everywhere() {
        for event in EventType::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        for state in DeliveryState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!(
            "record.lost"
                .parse::<EventType>()
                .unwrap_err()
                .contains("record.dropped")
        );
    }
}
