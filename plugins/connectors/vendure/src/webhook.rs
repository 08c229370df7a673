//! Order events.
//!
//! The body is `{"id", "type": "order.<State>", "occurredAt", "order": {"id", "code", "state"}}`, the header
//! `x-vendure-signature` the hexadecimal HMAC-SHA256 of its bytes, and `x-vendure-event-id` the event's id, the same when a
//! delivery is tried again. An event says only that something happened: the order is then read, so that its record is the
//! same, with the same version, as the one that a later poll finds. If the shop cannot be asked, the call fails and the host
//! tries again later with the stored event.

use crate::{Vendure, orders};
use stecker_sdk::crypto::{self, Digest};
use stecker_sdk::prelude::*;

/// The name of the secret.
const SECRET: &str = "webhook";

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    order: Option<About>,
}

#[derive(Deserialize)]
struct About {
    id: String,
}

impl Webhook for Vendure {
    fn receive(&self, request: &RawRequest) -> Result<Received> {
        let Some(signature) = request.header("x-vendure-signature") else {
            return Ok(Received::refuse("the header x-vendure-signature is missing"));
        };
        let Ok(tag) = crypto::from_hex(signature.trim()) else {
            return Ok(Received::refuse("the signature is not hexadecimal"));
        };
        if !crypto::hmac_verify(SECRET, Digest::Sha256, &request.body, &tag)? {
            return Ok(Received::refuse(
                "the signature does not fit the body; do the shop and this connection have the same secret?",
            ));
        }
        let event: Event = match request.json() {
            Ok(event) => event,
            Err(error) => {
                return Ok(Received::refuse(format!(
                    "signed, but not an event: {}",
                    error.message()
                )));
            }
        };
        // The header is not signed; the id in the body is.
        if request
            .header("x-vendure-event-id")
            .is_some_and(|id| id != event.id)
        {
            return Ok(Received::refuse(
                "the header x-vendure-event-id differs from the id in the body",
            ));
        }
        let about = match event.order {
            Some(about) if event.kind.starts_with("order.") => about,
            _ => {
                return Ok(Received::ignore(format!(
                    "an event of type `{}` is not about an order",
                    event.kind
                )));
            }
        };
        let Some(order) = orders::one(&self.api, &about.id)? else {
            return Ok(Received::ignore(format!("the shop has no order {}", about.id)));
        };
        match order.record(&self.order_states)? {
            Some(record) => Ok(Received::accept(event.id, vec![record])),
            None => Ok(Received::ignore(format!(
                "order {} is not placed, or in a state that is not read",
                order.code()
            ))),
        }
    }
}
