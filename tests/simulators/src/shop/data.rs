//! The shop's seeded data: the same seed gives the same products, customers and orders, to the byte.

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom, index};
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::money::Cents;

/// Prefix of the items that the ERP does not know, and never will unless it is told.
pub const DISCONTINUED: &str = "DISCONTINUED-";

pub(crate) const CURRENCY: &str = "EUR";
const FIRST_ORDER_ID: u64 = 1001;
/// One order in this many holds a discontinued item.
const ORDERS_PER_REJECTION: usize = 200;

const ITEMS: [(&str, &str); 12] = [
    ("MUG", "Mug"),
    ("TEA", "Teapot"),
    ("PLT", "Plate"),
    ("BWL", "Bowl"),
    ("VAS", "Vase"),
    ("JUG", "Jug"),
    ("CUP", "Espresso cup"),
    ("TRY", "Tray"),
    ("LMP", "Lamp"),
    ("CLK", "Wall clock"),
    ("CND", "Candle"),
    ("BSK", "Basket"),
];
const COLOURS: [(&str, &str); 5] = [
    ("BLU", "blue"),
    ("GRN", "green"),
    ("RED", "red"),
    ("WHT", "white"),
    ("SND", "sand"),
];
const FIRST_NAMES: [&str; 12] = [
    "Ada", "Boris", "Chloé", "Dörte", "Emil", "Farah", "Goran", "Hanna", "Inês", "Jörg", "Kemal", "Łucja",
];
const LAST_NAMES: [&str; 12] = [
    "Abel",
    "Brandt",
    "Costa",
    "Dvořák",
    "Eriksen",
    "Ferrari",
    "Grünwald",
    "Huber",
    "Ito",
    "Jansen",
    "Kowalska",
    "Lind",
];

/// A buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Number of the customer.
    pub id: u64,
    /// Address, unique per customer.
    pub email: String,
    /// First and last name.
    pub name: String,
}

/// One position of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Article number.
    pub sku: String,
    /// Name of the article when it was sold.
    pub name: String,
    /// Pieces, at least 1.
    pub quantity: u32,
    /// Price of one piece.
    pub unit_price: Cents,
}

/// An order as the shop serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Identity; never reused.
    pub id: u64,
    /// What people and the ERP call the order, `SO-<id>`.
    pub number: String,
    /// Time of the last change, with three fractional digits, so that the order of texts is the order of times.
    #[serde(with = "millis")]
    pub updated_at: Timestamp,
    /// 1 at first, one more with every change.
    pub version: u64,
    /// Who bought.
    pub customer: Customer,
    /// ISO 4217 code.
    pub currency: String,
    /// Sum of quantity × unit price over the lines, to the cent.
    pub total: Cents,
    /// At least one.
    pub lines: Vec<Line>,
    /// `paid`, `packed` or `shipped`.
    pub status: String,
}

/// An article of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Identity.
    pub id: u64,
    /// Article number.
    pub sku: String,
    /// Name.
    pub name: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Price of one piece.
    pub price: Cents,
    /// Time of the last change.
    #[serde(with = "millis")]
    pub updated_at: Timestamp,
    /// 1 at first, one more with every change.
    pub version: u64,
}

/// Timestamps as `2026-01-05T08:00:00.000Z`.
pub(crate) mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that `serde(with)` asks for"
    )]
    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{at:.3}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

/// Sum of the lines; `None` if it is more than an amount can hold.
pub(crate) fn sum(lines: &[Line]) -> Option<Cents> {
    lines
        .iter()
        .try_fold(0_i64, |sum, line| {
            line.unit_price
                .0
                .checked_mul(i64::from(line.quantity))
                .and_then(|amount| sum.checked_add(amount))
        })
        .map(Cents)
}

/// Makes customers, products and orders, one after the other, from one seed.
pub(crate) struct Generator {
    rng: StdRng,
    next_order_id: u64,
    customers: Vec<Customer>,
    products: Vec<Product>,
}

impl Generator {
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let opening = opening();
        let mut products = Vec::new();
        for (code, name) in ITEMS {
            for (colour_code, colour) in COLOURS {
                products.push(Product {
                    id: products.len() as u64 + 1,
                    sku: format!("{code}-{colour_code}"),
                    name: format!("{name}, {colour}"),
                    currency: CURRENCY.to_owned(),
                    price: Cents(rng.random_range(195..8_990)),
                    // A whole item family was imported in one go, so its articles share one time.
                    updated_at: opening + SignedDuration::from_mins(products.len() as i64 / 20),
                    version: 1,
                });
            }
        }
        let customers = (1..=(orders as u64 / 5).max(1))
            .map(|id| customer(&mut rng, id))
            .collect();
        Self {
            rng,
            next_order_id: FIRST_ORDER_ID,
            customers,
            products,
        }
    }

    pub(crate) fn products(&self) -> &[Product] {
        &self.products
    }

    /// The orders that the shop opens with.
    ///
    /// Imports and bulk edits of real shops stamp hundreds of orders with one time, more than fit on a page. Orders
    /// are stamped here the same way, in an order that is not the order of their ids.
    pub(crate) fn opening_orders(&mut self, count: usize) -> Vec<Order> {
        let mut orders: Vec<_> = (0..count).map(|_| self.order(opening())).collect();
        let rejections = if count < 20 {
            0
        } else {
            (count / ORDERS_PER_REJECTION).max(1)
        };
        for chosen in index::sample(&mut self.rng, count, rejections) {
            let line = self.rng.random_range(0..orders[chosen].lines.len());
            let number = self.rng.random_range(100..1000);
            orders[chosen].lines[line].sku = format!("{DISCONTINUED}{number}");
        }

        let mut sequence: Vec<_> = (0..count).collect();
        sequence.shuffle(&mut self.rng);
        let mut at = opening();
        let mut rest = sequence.as_slice();
        while !rest.is_empty() {
            let size = self.rng.random_range(1..=250).min(rest.len());
            let (same_time, later) = rest.split_at(size);
            for &place in same_time {
                orders[place].updated_at = at;
            }
            at += SignedDuration::from_secs(self.rng.random_range(1..=3600));
            rest = later;
        }
        orders
    }

    /// One more order, at version 1.
    pub(crate) fn order(&mut self, at: Timestamp) -> Order {
        let id = self.next_order_id;
        self.next_order_id += 1;
        let customer = match self.customers.choose(&mut self.rng) {
            Some(known) => known.clone(),
            None => customer(&mut self.rng, 1),
        };
        let count = self.rng.random_range(1..=4);
        let lines: Vec<_> = index::sample(&mut self.rng, self.products.len(), count)
            .into_iter()
            .map(|chosen| {
                let product = &self.products[chosen];
                Line {
                    sku: product.sku.clone(),
                    name: product.name.clone(),
                    quantity: self.rng.random_range(1..=5),
                    unit_price: product.price,
                }
            })
            .collect();
        Order {
            id,
            number: format!("SO-{id:06}"),
            updated_at: at,
            version: 1,
            customer,
            currency: CURRENCY.to_owned(),
            total: sum(&lines).unwrap_or_default(),
            lines,
            status: "paid".to_owned(),
        }
    }
}

/// The shop opened on 5 January 2026, 08:00 UTC. Fixed, so that a seed says everything about the data.
fn opening() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_767_600_000)
}

fn customer(rng: &mut StdRng, id: u64) -> Customer {
    let mut pick = |names: &[&'static str]| names.choose(rng).copied().unwrap_or("Nemo");
    Customer {
        id,
        email: format!("customer{id}@example.com"),
        name: format!("{} {}", pick(&FIRST_NAMES), pick(&LAST_NAMES)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_seed_says_everything_about_the_data() {
        let orders = |seed| Generator::new(seed, 300).opening_orders(300);
        assert_eq!(orders(7), orders(7));
        assert_ne!(orders(7), orders(8));
        assert_eq!(opening().to_string(), "2026-01-05T08:00:00Z");
    }

    #[test]
    fn the_data_is_what_its_documentation_promises() {
        let mut generator = Generator::new(7, 1000);
        let orders = generator.opening_orders(1000);
        assert!(orders.iter().all(|order| sum(&order.lines) == Some(order.total)));
        let rejected = |order: &&Order| order.lines.iter().any(|line| line.sku.starts_with(DISCONTINUED));
        assert_eq!(orders.iter().filter(rejected).count(), 5);
        let mut per_time = BTreeMap::<_, usize>::new();
        orders
            .iter()
            .for_each(|order| *per_time.entry(order.updated_at).or_default() += 1);
        assert!(
            per_time.values().any(|&count| count > 100),
            "one time must hold more orders than one page"
        );
        let skus: BTreeSet<_> = generator.products().iter().map(|product| &product.sku).collect();
        assert_eq!(skus.len(), 60);
    }
}
