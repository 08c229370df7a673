//! Writing: each record by itself, because Stripe has no calls for many.

use crate::Stripe;
use crate::objects::Kind;
use stecker_sdk::prelude::*;

const WRITTEN: &[&str] = &["refunds", "payment_intents"];

impl Destination for Stripe {
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        let one: fn(&Self, &WriteItem) -> Result<Outcome> = match Kind::of_stream(stream) {
            Some(Kind::Refund) => Self::refund,
            Some(Kind::PaymentIntent) => Self::annotate,
            _ => return Err(unknown_stream(stream, WRITTEN)),
        };
        let write = |item: &WriteItem| {
            if item.record.operation == Operation::Delete {
                return Ok(Rejection::new(
                    "delete-unsupported",
                    "what was paid or given back is not deleted; cancel it in Stripe",
                )
                .into());
            }
            one(self, item)
        };
        Outcome::settle(batch.iter().map(write).collect())
    }

    fn lookup(&self, stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        match Kind::of_stream(stream) {
            Some(Kind::Refund) => self.find_refunds(items),
            Some(Kind::PaymentIntent) => items.iter().map(|item| self.find_annotated(item)).collect(),
            _ => Err(unknown_stream(stream, WRITTEN)),
        }
    }
}
