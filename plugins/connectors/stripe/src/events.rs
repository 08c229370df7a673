//! Events (<https://docs.stripe.com/api/events>): what happened, with the thing as it was then.
//!
//! Stripe keeps them for 30 days; what happened before cannot be read, here or there.

use crate::api::object_of;
use crate::objects::{Kind, moment};
use crate::version;
use serde_json::Value;
use stecker_sdk::prelude::*;

pub(crate) const STREAM: &str = "events";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPayload {
    /// `evt_…`
    pub id: String,
    /// Such as `payment_intent.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub created: String,
    /// The version that `object` is written in: of the webhook endpoint or of the account, and not of this connection.
    pub api_version: Option<String>,
    /// The connected account that it happened at, for platforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether real money moves.
    pub livemode: bool,
    /// What it happened to, as Stripe writes it.
    pub object: Value,
    /// The thing as its own stream has it, with amounts as decimal texts, where there is such a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing: Option<Value>,
}

/// An event as Stripe gives it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) created: u64,
    api_version: Option<String>,
    account: Option<String>,
    #[serde(default)]
    livemode: bool,
    data: Data,
}

#[derive(Clone, Debug, Deserialize)]
struct Data {
    object: Value,
}

impl Event {
    /// The kind of thing that it happened to, if that has a stream.
    pub(crate) fn about(&self) -> Option<Kind> {
        Kind::of_object(object_of(&self.data.object))
    }

    /// The record of the event itself.
    pub(crate) fn record(&self) -> Result<Record> {
        let thing = match self.about() {
            Some(kind) => Some(kind.thing(&self.data.object)?.payload),
            None => None,
        };
        let payload = EventPayload {
            id: self.id.clone(),
            kind: self.kind.clone(),
            created: moment(self.created),
            api_version: self.api_version.clone(),
            account: self.account.clone(),
            livemode: self.livemode,
            object: self.data.object.clone(),
            thing,
        };
        // An event never changes.
        let version = source_version::counter(self.created);
        Ok(Record::upsert(STREAM, &self.id, version, &payload)?
            .at(self.created.saturating_mul(1_000))
            .attribute("type", &self.kind))
    }

    /// The record of the thing that it happened to, as it was then.
    pub(crate) fn record_of(&self, kind: Kind) -> Result<Record> {
        let thing = kind.thing(&self.data.object)?;
        let version = version::of_event(self.created, thing.rank, &self.id);
        let record = if self.kind == "customer.deleted" {
            Record::delete(kind.stream(), thing.id, version).with_payload(&thing.payload)?
        } else {
            Record::upsert(kind.stream(), thing.id, version, &thing.payload)?
        };
        let record = record.at(self.created.saturating_mul(1_000));
        Ok(match &self.api_version {
            Some(api_version) => record.attribute("api-version", api_version),
            None => record,
        })
    }
}
