//! Taking order events.

use crate::DemoShop;
use crate::api::{Listed as _, Order};
use stecker_sdk::crypto::{self, Digest};
use stecker_sdk::prelude::*;
use stecker_sdk::{clock, serde_json};

/// How far the shop's clock and ours may be apart. A recorded call is of no use after that; within it, the event's id keeps
/// it from taking effect twice.
const WINDOW_SECONDS: u64 = 300;

#[derive(Deserialize)]
struct Event {
    event_id: String,
    #[serde(rename = "type")]
    kind: String,
    order: Option<serde_json::Value>,
}

impl Webhook for DemoShop {
    fn receive(&self, request: &RawRequest) -> Result<Received> {
        let header = |name: &str| request.header(name).unwrap_or_default();
        let (timestamp, signature) = (header("x-shop-timestamp"), header("x-shop-signature"));
        let Ok(sent_at) = timestamp.parse::<u64>() else {
            return Ok(Received::refuse(
                "the header X-Shop-Timestamp is missing or no number",
            ));
        };
        let Some(tag) = signature
            .strip_prefix("sha256=")
            .and_then(|hex| crypto::from_hex(hex).ok())
        else {
            return Ok(Received::refuse(
                "the header X-Shop-Signature is missing or not `sha256=` and hexadecimal",
            ));
        };
        let signed = [timestamp.as_bytes(), b".", &request.body].concat();
        if !crypto::hmac_verify("webhook", Digest::Sha256, &signed, &tag)? {
            return Ok(Received::refuse(
                "the signature is not that of the configured secret",
            ));
        }
        // Only now: before, the time was anybody's to write.
        if sent_at.abs_diff(clock::now() / 1_000) > WINDOW_SECONDS {
            return Ok(Received::refuse(
                "the call is signed, but more than 5 minutes old or ahead: replayed, or a wrong clock",
            ));
        }
        let event: Event = match request.json() {
            Ok(event) => event,
            Err(error) => return Ok(Received::refuse(error.message())),
        };
        if header("x-shop-event-id") != event.event_id {
            return Ok(Received::refuse(
                "the header X-Shop-Event-Id is not the signed event's id",
            ));
        }
        if !matches!(event.kind.as_str(), "order.created" | "order.updated") {
            return Ok(Received::ignore(format!(
                "events of type `{}` are of no interest",
                event.kind
            )));
        }
        let order = event
            .order
            .ok_or_else(|| Error::schema("the event has no `order`"))?;
        let order: Order = serde_json::from_value(order).map_err(|error| {
            Error::schema(format!(
                "the order of event {} does not fit: {error}",
                event.event_id
            ))
        })?;
        Ok(Received::accept(event.event_id, vec![order.to_record()?]))
    }
}
