//! Writing the metadata of payments, such as the number of the order in the ERP.
//!
//! What is written is set, so writing it again is harmless. Beside it stands the record's source version, by which `lookup` tells whether
//! a request whose answer was lost has arrived.

use crate::Stripe;
use crate::api::pointer;
use crate::objects::{Kind, PaymentIntent};
use std::collections::BTreeMap;
use stecker_sdk::prelude::*;

/// The metadata's name for the source version.
const VERSION: &str = "stecker_version";
/// The longest value that Stripe keeps, in characters.
const LONGEST: usize = 500;

/// Metadata to set. The record's key is the payment intent's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetadataPayload {
    /// Texts under names of up to 40 characters; null takes a name away. Names that are not there stay as they are.
    pub metadata: BTreeMap<String, Option<String>>,
}

impl Stripe {
    pub(crate) fn annotate(&self, item: &WriteItem) -> Result<Outcome> {
        let wanted: MetadataPayload = match item.record.payload_as() {
            Ok(wanted) => wanted,
            Err(rejection) => return Ok(rejection.into()),
        };
        let mut form: Vec<(String, String)> = Vec::with_capacity(wanted.metadata.len() + 1);
        for (name, value) in wanted.metadata {
            // To Stripe, an empty text takes it away.
            form.push((format!("metadata[{name}]"), value.unwrap_or_default()));
        }
        form.push((format!("metadata[{VERSION}]"), mark(&item.record.source_version)));
        let path = format!(
            "{}/{}",
            Kind::PaymentIntent.stream(),
            http::segment(&item.record.key)
        );
        match self
            .api
            .post::<PaymentIntent>(&path, &form, &item.idempotency_key)
        {
            Ok(intent) => Ok(Outcome::delivered(intent.id)),
            Err(error) => {
                let error = match error.detail_of("param").map(pointer) {
                    Some(path) => error.detail("path", path),
                    None => error,
                };
                Outcome::from_error(error)
            }
        }
    }

    pub(crate) fn find_annotated(&self, item: &LookupItem) -> Result<Finding> {
        let intent: PaymentIntent = match self.api.one(Kind::PaymentIntent.stream(), &item.key) {
            Ok(intent) => intent,
            Err(error) if error.code() == "not-found" => return Ok(Finding::Absent),
            Err(error) => return Err(error),
        };
        let there = intent
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get(VERSION));
        Ok(match there {
            Some(there) if *there >= mark(&item.source_version) => Finding::present(intent.id),
            _ => Finding::Absent,
        })
    }
}

/// As much of a version as Stripe keeps.
fn mark(version: &str) -> String {
    version.chars().take(LONGEST).collect()
}
