//! The orders that are moved, and the sales that they become. Everybody who moves them does the same: a few fields get other names, a few
//! are left out.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The same mapping for the transform `jq`.
pub const ORDER_TO_SALE: &str = "{reference: .number, version, customer: {name: .customer.name, email: .customer.email}, currency, total, \
     lines: [.lines[] | {sku, name, quantity, unit_price}]}";

/// An order of the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// From 1, without gaps; the cursor of a listing.
    pub id: u64,
    /// What people call it.
    pub number: String,
    /// Always 1 here.
    pub version: u64,
    /// RFC 3339 in UTC.
    pub updated_at: String,
    /// `paid`.
    pub status: String,
    /// Who bought.
    pub customer: Customer,
    /// ISO 4217.
    pub currency: String,
    /// Decimal.
    pub total: String,
    /// What was bought.
    pub lines: Vec<Line>,
}

/// A customer of the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    /// Is left out of a sale.
    pub id: u64,
    /// Address.
    pub email: String,
    /// Name.
    pub name: String,
}

/// One position.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The article.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// Pieces.
    pub quantity: u32,
    /// Decimal.
    pub unit_price: String,
}

/// A sale of the ERP.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sale {
    /// The order's number.
    pub reference: String,
    /// The order's.
    pub version: u64,
    /// Who bought.
    pub customer: Buyer,
    /// ISO 4217.
    pub currency: String,
    /// Decimal.
    pub total: String,
    /// What was bought.
    pub lines: Vec<Line>,
}

/// A customer of the ERP.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buyer {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

impl From<Order> for Sale {
    fn from(order: Order) -> Self {
        Self {
            reference: order.number,
            version: order.version,
            customer: Buyer {
                name: order.customer.name,
                email: order.customer.email,
            },
            currency: order.currency,
            total: order.total,
            lines: order.lines,
        }
    }
}

impl Sale {
    /// A number for all that is in it; sums of it tell whether two sets of sales are the same, in whatever order they came.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The order of that number. Always the same.
#[must_use]
pub fn order(id: u64) -> Order {
    let lines = (0..=id % 3).map(|position| {
        let article = (id * 7 + position * 13) % 500;
        Line {
            sku: format!("ART-{article:04}"),
            name: format!("Kaffee „Größe {}“, gemahlen", article % 5),
            quantity: u32::try_from((id + position) % 4).unwrap_or(0) + 1,
            unit_price: format!("{}.{:02}", article % 90 + 1, article % 100),
        }
    });
    Order {
        id,
        number: reference(id),
        version: 1,
        updated_at: "2026-01-05T08:00:00.000Z".to_owned(),
        status: "paid".to_owned(),
        customer: Customer {
            id: id % 977,
            email: format!("customer{}@example.com", id % 977),
            name: "Änne Müller".to_owned(),
        },
        currency: "EUR".to_owned(),
        total: format!("{}.{:02}", id % 900 + 10, id % 100),
        lines: lines.collect(),
    }
}

/// What people call an order.
#[must_use]
pub fn reference(id: u64) -> String {
    format!("SO-{id:08}")
}

/// The number of an order that people call so.
#[must_use]
pub fn id_of(reference: &str) -> Option<u64> {
    reference.strip_prefix("SO-")?.parse().ok()
}

/// The header `X-Signature` of a call with this body: HMAC-SHA256 in hexadecimal.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length; there is no error to have.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_sales_apart() {
        let digests: std::collections::HashSet<u64> =
            (1..=1_000).map(|id| Sale::from(order(id)).digest()).collect();
        assert_eq!(digests.len(), 1_000);
        assert_eq!(Sale::from(order(7)).digest(), Sale::from(order(7)).digest());
        assert_eq!(id_of(&reference(7)), Some(7));
    }

    #[test]
    fn an_order_has_the_size_of_an_order() {
        let bytes = serde_json::to_vec(&order(5)).unwrap().len();
        assert!((350..700).contains(&bytes), "{bytes}");
    }
}
