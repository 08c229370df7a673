//! Creating refunds.
//!
//! Stripe remembers an idempotency key for a day at least (<https://docs.stripe.com/api/idempotent_requests>). So that a refund is made once
//! however long a record was under way, the key is also put into the refund's metadata: `lookup` finds it there among the newest
//! refunds, and so does every attempt but the first before it sends anything.

use crate::Stripe;
use crate::api::{List, Part, pointer};
use crate::money;
use crate::objects::{Kind, Refund};
use std::collections::{BTreeMap, HashMap};
use stecker_sdk::prelude::*;

/// The metadata's name for the idempotency key.
const KEY: &str = "stecker_key";
/// How many refunds one page has, and how many pages are looked at: what is looked for was made a moment ago.
const PAGE: u32 = 100;
const PAGES: usize = 10;

/// A refund to make. The record's key is the caller's own name for it, such as the number of a return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRequest {
    /// `pi_…`: the payment of which money is given back; this or `charge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_intent: Option<String>,
    /// `ch_…`: the charge of which money is given back; this or `payment_intent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<String>,
    /// Decimal text in the currency; left out, all that is left of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// ISO 4217. It has to be the payment's.
    pub currency: String,
    /// `duplicate`, `fraudulent` or `requested_by_customer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Texts of your own, under names of up to 40 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Paid {
    currency: String,
}

impl Stripe {
    pub(crate) fn refund(&self, item: &WriteItem) -> Result<Outcome> {
        let wanted: RefundRequest = match item.record.payload_as() {
            Ok(wanted) => wanted,
            Err(rejection) => return Ok(rejection.into()),
        };
        match self.refunded(&wanted, item) {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                let error = match error.detail_of("param").map(pointer) {
                    Some(path) => error.detail("path", path),
                    None => error,
                };
                Outcome::from_error(error)
            }
        }
    }

    fn refunded(&self, wanted: &RefundRequest, item: &WriteItem) -> Result<Outcome> {
        let (name, kind, id) = match (&wanted.payment_intent, &wanted.charge) {
            (Some(id), None) => ("payment_intent", Kind::PaymentIntent, id),
            (None, Some(id)) => ("charge", Kind::Charge, id),
            _ => {
                let reason = "give exactly one of `payment_intent` and `charge`";
                return Ok(Rejection::new("payment", reason).at("/payment_intent").into());
            }
        };
        if item.attempt > 1
            && let Some(refund) = self.newest_refunds()?.0.remove(&item.idempotency_key)
        {
            return Ok(Outcome::Duplicate(receipt(&refund)));
        }
        // Nothing was sent yet, whatever becomes of the question.
        let paid: Paid = self
            .api
            .one(kind.stream(), id)
            .map_err(|error| error.context(name).detail("sent", "no").detail("param", name))?;
        if !paid.currency.eq_ignore_ascii_case(&wanted.currency) {
            let reason = format!(
                "the payment {id} is in {}, the refund in {}",
                paid.currency.to_ascii_uppercase(),
                wanted.currency
            );
            return Ok(Rejection::new("currency-differs", reason).at("/currency").into());
        }
        let mut form = vec![(name.to_owned(), id.clone())];
        if let Some(amount) = &wanted.amount {
            let Some(units) = money::units(amount, &paid.currency) else {
                let reason = format!(
                    "`{amount}` is no amount of {}: write a positive decimal with at most {} decimals",
                    wanted.currency,
                    money::decimals(&paid.currency)
                );
                return Ok(Rejection::new("amount", reason).at("/amount").into());
            };
            form.push(("amount".to_owned(), units.to_string()));
        }
        if let Some(reason) = &wanted.reason {
            form.push(("reason".to_owned(), reason.clone()));
        }
        for (name, value) in &wanted.metadata {
            form.push((format!("metadata[{name}]"), value.clone()));
        }
        form.push((format!("metadata[{KEY}]"), item.idempotency_key.clone()));
        let refund: Refund = self
            .api
            .post(Kind::Refund.stream(), &form, &item.idempotency_key)?;
        if matches!(refund.status.as_deref(), Some("failed" | "canceled")) {
            let why = refund.failure_reason.as_deref().unwrap_or("no reason given");
            let reason = format!("Stripe made the refund {} and it failed: {why}", refund.id);
            return Ok(Rejection::new("refund-failed", reason).into());
        }
        Ok(Outcome::Delivered(receipt(&refund)))
    }

    pub(crate) fn find_refunds(&self, items: &[LookupItem]) -> Result<Vec<Finding>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (refunds, all) = self.newest_refunds()?;
        let finding = |item: &LookupItem| match refunds.get(&item.idempotency_key) {
            Some(refund) => Finding::present(&refund.id),
            None if all => Finding::Absent,
            // There are older ones; sent again, Stripe itself knows the key.
            None => Finding::Undecided,
        };
        Ok(items.iter().map(finding).collect())
    }

    /// Refunds that were made here, by their idempotency keys, and whether no older ones were left out.
    fn newest_refunds(&self) -> Result<(HashMap<String, Refund>, bool)> {
        let mut found = HashMap::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let part = Part {
                limit: PAGE,
                starting_after: after.as_deref(),
                created_from: None,
            };
            let List { data, has_more }: List<Refund> = self
                .api
                .list(Kind::Refund.stream(), &part)
                .map_err(|error| error.context("looking for refunds").detail("sent", "no"))?;
            after = data.last().map(|refund| refund.id.clone());
            for refund in data {
                let key = refund
                    .metadata
                    .as_ref()
                    .and_then(|metadata| metadata.get(KEY))
                    .cloned();
                if let Some(key) = key {
                    found.insert(key, refund);
                }
            }
            if !has_more || after.is_none() {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }
}

fn receipt(refund: &Refund) -> Receipt {
    let status = refund.status.as_deref().unwrap_or("unknown");
    Receipt::with_id(&refund.id).attribute("status", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_has_to_have() {
        let schema = stecker_sdk::schema_of::<RefundRequest>();
        assert_eq!(schema["required"], serde_json::json!(["currency"]));
    }
}
