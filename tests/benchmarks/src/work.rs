//! What the contestants of the benchmark `sandbox` do with a payload: an order of a shop becomes a sale of an ERP.
//!
//! Typed, as an author would write it, and borrowing what it can. Compiled into the guests as well, so that everybody runs the same code.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// As [`sample`](crate::sample) makes them.
#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    billing: Billing<'a>,
    #[serde(borrow)]
    lines: Vec<Line<'a>>,
    #[serde(borrow)]
    note: Cow<'a, str>,
    paid: bool,
    total: f64,
}

#[derive(Deserialize)]
struct Billing<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    city: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    title: Cow<'a, str>,
    quantity: u32,
    price: f64,
}

#[derive(Serialize)]
struct Sale<'a> {
    reference: &'a str,
    state: &'static str,
    currency: String,
    customer: String,
    items: Vec<Item<'a>>,
    comment: &'a str,
    total: f64,
}

#[derive(Serialize)]
struct Item<'a> {
    product: &'a str,
    description: &'a str,
    quantity: u32,
    amount: f64,
}

/// The sale that an order becomes, as JSON.
///
/// # Errors
/// If the payload is no such order.
pub fn transform(payload: &str) -> Result<String, String> {
    let order: Order<'_> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    let sale = Sale {
        reference: &order.id,
        state: if order.paid { "paid" } else { "open" },
        currency: order.currency.to_lowercase(),
        customer: format!(
            "{}, {}, {}",
            order.billing.name, order.billing.city, order.billing.country
        ),
        items: order
            .lines
            .iter()
            .map(|line| Item {
                product: &line.sku,
                description: &line.title,
                quantity: line.quantity,
                amount: f64::from(line.quantity) * line.price,
            })
            .collect(),
        comment: &order.note,
        total: order.total,
    };
    serde_json::to_string(&sale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_becomes_a_sale() {
        let order = r#"{"billing":{"city":"Köln","country":"DE","name":"Änne"},"currency":"EUR","id":"7",
            "lines":[{"price":1.5,"quantity":2,"sku":"A","title":"Kaffee \"groß\""}],"note":"","paid":true,"total":3.0}"#;
        let sale = r#"{"reference":"7","state":"paid","currency":"eur","customer":"Änne, Köln, DE","items":[{"product":"A","description":"Kaffee \"groß\"","quantity":2,"amount":3.0}],"comment":"","total":3.0}"#;
        assert_eq!(transform(order).as_deref(), Ok(sale));
        assert!(transform("{}").is_err());
    }
}
