//! Webhooks (<https://docs.stripe.com/webhooks>).
//!
//! A snapshot event (`object: "event"`) has the thing as it was; it becomes a record of the event and one of the thing, with the versions that a poll
//! gives them too, so whichever comes second is recognised. A thin event (`object: "v2.core.event"`) only names the thing, which is then
//! asked for. Stripe sends an event again for up to three days until it is taken, in no particular order.

use crate::Stripe;
use crate::api::object_of;
use crate::events::Event;
use crate::objects::Kind;
use crate::version;
use serde_json::Value;
use stecker_sdk::prelude::*;
use stecker_sdk::signature::{self, Check};
use stecker_sdk::{serde_json, time};

/// The name of the secret.
const SECRET: &str = "webhook";

#[derive(Deserialize)]
struct Thin {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// RFC 3339.
    created: String,
    related_object: Option<Related>,
}

#[derive(Deserialize)]
struct Related {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Webhook for Stripe {
    fn receive(&self, request: &RawRequest) -> Result<Received> {
        if let Check::Refused(reason) = signature::stripe(request, SECRET)? {
            return Ok(Received::refuse(reason));
        }
        let body: Value = match request.json() {
            Ok(body) => body,
            Err(error) => {
                return Ok(Received::refuse(format!(
                    "signed, but not JSON: {}",
                    error.message()
                )));
            }
        };
        match object_of(&body) {
            "event" => snapshot(body),
            "v2.core.event" => self.thin(body),
            other => Ok(Received::ignore(format!(
                "signed, but of the kind `{other}`, which is no event"
            ))),
        }
    }
}

fn snapshot(body: Value) -> Result<Received> {
    let event: Event = serde_json::from_value(body)
        .map_err(|error| Error::schema(format!("a signed event does not fit: {error}")))?;
    let mut records = vec![event.record()?];
    if let Some(kind) = event.about() {
        records.push(event.record_of(kind)?);
    }
    Ok(Received::accept(event.id, records))
}

impl Stripe {
    fn thin(&self, body: Value) -> Result<Received> {
        let event: Thin = serde_json::from_value(body)
            .map_err(|error| Error::schema(format!("a signed thin event does not fit: {error}")))?;
        let about = event
            .related_object
            .and_then(|related| Some((Kind::of_object(&related.kind)?, related.id)));
        let Some((kind, id)) = about else {
            return Ok(Received::ignore(format!(
                "an event of type `{}` is about nothing that is read here",
                event.kind
            )));
        };
        let thing = kind.thing(&self.api.one(kind.stream(), &id)?)?;
        let created = time::millis_from_rfc3339(&event.created)?;
        let version = version::of_event(created / 1_000, thing.rank, &event.id);
        let record = Record::upsert(kind.stream(), thing.id, version, &thing.payload)?.at(created);
        Ok(Received::accept(event.id, vec![record]))
    }
}
