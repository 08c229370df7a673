//! What a record of `sales` says, and what has to hold for it.

use crate::addresses::Address;
use crate::amounts::{self, FINE, MONEY, Priced};
use crate::parties::PartyRef;
use crate::values;
use serde_json::{Number, Value};
use stecker_sdk::prelude::*;

/// A sale. Amounts are decimal texts; the lines' totals add up to `total`, to the cent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SalePayload {
    /// By which it is found again: the number of the order at its origin. Has to be the record's key.
    #[schemars(length(min = 1))]
    pub reference: String,
    /// ISO 4217; has to be the currency of the company.
    pub currency: String,
    /// What the customer pays in all.
    pub total: String,
    /// The day, RFC 3339, with or without the time. Left out: the day on which it is booked.
    #[serde(default)]
    pub date: Option<String>,
    /// A line about the sale.
    #[serde(default)]
    pub description: Option<String>,
    /// Who buys.
    pub party: PartyRef,
    /// Where the invoice goes.
    pub invoice_address: Address,
    /// Where the goods go; left out, where the invoice goes.
    #[serde(default)]
    pub shipment_address: Option<Address>,
    /// What is sold, at least one line; discounts, shipping and surcharges are lines without a product.
    #[schemars(length(min = 1))]
    pub lines: Vec<SaleLine>,
}

/// A line of a sale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SaleLine {
    /// The product's code. Left out: a line without a product.
    #[serde(default)]
    pub sku: Option<String>,
    /// What is on the line; the product's name, if it has to be created.
    pub description: String,
    /// More than 0, at most four decimals.
    #[schemars(with = "f64")]
    pub quantity: Number,
    /// What the line costs. The unit price follows from it, with four decimals; where none gives the total back, the last piece
    /// gets a line of its own.
    pub total: String,
}

/// A sale that is fit to be booked.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) payload: SalePayload,
    /// In hundredths.
    pub(crate) total: i128,
    /// The lines, each as one or two of Tryton's.
    pub(crate) lines: Vec<Vec<Priced>>,
    pub(crate) date: Option<Value>,
}

impl Order {
    pub(crate) fn parse(record: &Record) -> Result<Self, Rejection> {
        let payload: SalePayload = record.payload_as()?;
        if payload.reference != record.key || record.key.trim().is_empty() {
            return Err(Rejection::new(
                "key-mismatch",
                format!(
                    "the record's key is `{}`, its reference `{}`; they have to be the same and not blank, because the sale \
                     is found again by it",
                    record.key, payload.reference
                ),
            )
            .at("/reference"));
        }
        if payload.party.code.trim().is_empty() {
            return Err(Rejection::new("no-code", "a party needs a code to be found by").at("/party/code"));
        }
        if payload.lines.is_empty() {
            return Err(Rejection::new("no-lines", "a sale needs at least one line").at("/lines"));
        }
        let date = match &payload.date {
            None => None,
            Some(text) => Some(values::date(text).ok_or_else(|| {
                Rejection::new("not-a-day", format!("`{text}` is no day such as 2026-11-21")).at("/date")
            })?),
        };
        let total = money(&payload.total, "/total")?;
        let mut sum = 0;
        let mut lines = Vec::with_capacity(payload.lines.len());
        for (at, line) in payload.lines.iter().enumerate() {
            let of_line = money(&line.total, &format!("/lines/{at}/total"))?;
            sum += of_line;
            lines.push(priced(line, of_line, at)?);
        }
        if sum != total {
            return Err(Rejection::new(
                "unbalanced",
                format!(
                    "the lines come to {}, the total is {}",
                    amounts::text(sum, MONEY),
                    amounts::text(total, MONEY)
                ),
            )
            .at("/total"));
        }
        Ok(Self {
            payload,
            total,
            lines,
            date,
        })
    }
}

fn money(text: &str, path: &str) -> Result<i128, Rejection> {
    amounts::parse(text, MONEY).ok_or_else(|| {
        Rejection::new(
            "not-an-amount",
            format!("`{text}` is no decimal with at most two decimals, such as \"12.90\""),
        )
        .at(path)
    })
}

fn priced(line: &SaleLine, total: i128, at: usize) -> Result<Vec<Priced>, Rejection> {
    let refused = |code: &str, reason: String, field: &str| {
        Err(Rejection::new(code, reason).at(format!("/lines/{at}/{field}")))
    };
    let Some(quantity) = amounts::quantity(&line.quantity).filter(|quantity| *quantity > 0) else {
        return refused(
            "not-a-quantity",
            format!(
                "the quantity {} is not more than 0 with at most four decimals",
                line.quantity
            ),
            "quantity",
        );
    };
    match amounts::lines_for(total, quantity) {
        Some(lines) => Ok(lines),
        None => refused(
            "not-divisible",
            format!(
                "no unit price with four decimals gives {} for {}",
                line.total,
                amounts::text(quantity, FINE)
            ),
            "total",
        ),
    }
}
