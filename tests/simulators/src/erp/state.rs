//! What the ERP books. Everything here is synchronous and under one lock, so each item is booked wholly or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account::{Booking, ErpAccount, Received, Rejection};
use crate::money::Cents;
use crate::shop::state::now;
use crate::shop::{Line, Product, sum};

/// The buyer on a sales order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buyer {
    name: String,
    email: String,
    /// The origin's own number of the buyer, as a number or as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
}

/// One sales order of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) reference: String,
    pub(crate) idempotency_key: String,
    #[serde(default = "first_version")]
    pub(crate) version: u64,
    pub(super) customer: Buyer,
    pub(super) currency: String,
    pub(super) total: Cents,
    pub(super) lines: Vec<Line>,
}

fn first_version() -> u64 {
    1
}

/// What became of an item. `Booked` covers both a new sale and a newer version of a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words of the ERP's reference, see `demo_erp`")]
pub enum ItemStatus {
    Created,
    Exists,
    Rejected,
    Busy,
}

/// The answer for one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ItemResult {
    pub(crate) reference: Option<String>,
    pub(crate) status: ItemStatus,
    pub(crate) id: Option<String>,
    pub(crate) error: Option<ItemError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ItemError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) path: String,
}

impl ItemError {
    fn new(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: path.into(),
        }
    }
}

/// A sale in the books.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sale {
    pub(super) id: String,
    pub(super) reference: String,
    pub(super) version: u64,
    pub(super) idempotency_keys: Vec<String>,
    pub(super) customer: Buyer,
    pub(super) currency: String,
    pub(super) total: Cents,
    pub(super) lines: Vec<Line>,
    #[serde(with = "crate::shop::millis")]
    pub(super) booked_at: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stock {
    sku: String,
    quantity: i64,
    seq: u64,
    #[serde(with = "crate::shop::millis")]
    updated_at: Timestamp,
}

pub(crate) struct ErpState {
    /// Also those that are not there any more: a place is never given twice.
    pub(super) sales: Vec<Sale>,
    pub(super) by_reference: HashMap<String, Vec<usize>>,
    pub(super) by_key: HashMap<String, (usize, Item)>,
    items: BTreeSet<String>,
    stock: BTreeMap<String, Stock>,
    stock_seq: u64,
    pub(super) bookings: BTreeMap<String, Vec<Booking>>,
    rejections: BTreeMap<String, Vec<Rejection>>,
    pub(super) received: Vec<Received>,
    calls: BTreeMap<String, u64>,
}

impl ErpState {
    /// Knows the products, each with between 1,000 and 1,590 pieces on stock.
    pub(crate) fn new(products: &[Product]) -> Self {
        let levels = products.iter().zip(1_u64..).map(|(product, seq)| {
            let quantity = 1_000 + i64::from(u32::try_from(seq % 60).unwrap_or(0)) * 10;
            (
                product.sku.clone(),
                Stock {
                    sku: product.sku.clone(),
                    quantity,
                    seq,
                    updated_at: product.updated_at,
                },
            )
        });
        Self {
            sales: Vec::new(),
            by_reference: HashMap::new(),
            by_key: HashMap::new(),
            items: products.iter().map(|product| product.sku.clone()).collect(),
            stock: levels.collect(),
            stock_seq: products.len() as u64,
            bookings: BTreeMap::new(),
            rejections: BTreeMap::new(),
            received: Vec::new(),
            calls: BTreeMap::new(),
        }
    }

    pub(crate) fn count_call(&mut self, route: &str) {
        *self.calls.entry(route.to_owned()).or_default() += 1;
    }

    pub(crate) fn knows(&self, sku: &str) -> bool {
        self.items.contains(sku)
    }

    /// From now on sales of this item are booked. It has no stock of its own.
    pub(crate) fn learn(&mut self, sku: &str) {
        self.items.insert(sku.to_owned());
    }

    /// An item that is not shaped like one. There may be no reference to file it under.
    pub(crate) fn refuse_shape(&mut self, value: &Value, error: &serde_json::Error) -> ItemResult {
        let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let reference = text("reference");
        let version = value.get("version").and_then(Value::as_u64).unwrap_or(1);
        let key = text("idempotency_key").unwrap_or_default();
        let error = ItemError::new("invalid-item", "", format!("This is not a sales order: {error}."));
        let filed = reference.clone().unwrap_or_default();
        self.receive(&filed, version, &key, ItemStatus::Rejected);
        self.reject(&filed, version, &error);
        ItemResult {
            reference,
            status: ItemStatus::Rejected,
            id: None,
            error: Some(error),
        }
    }

    pub(crate) fn is_booked(&self, idempotency_key: &str) -> bool {
        self.by_key.contains_key(idempotency_key)
    }

    pub(crate) fn busy(&mut self, item: &Item) -> ItemResult {
        self.receive(
            &item.reference,
            item.version,
            &item.idempotency_key,
            ItemStatus::Busy,
        );
        let error = ItemError::new(
            "busy",
            "",
            "Somebody else is working on this sale; send it again soon.",
        );
        ItemResult {
            reference: Some(item.reference.clone()),
            status: ItemStatus::Busy,
            id: None,
            error: Some(error),
        }
    }

    pub(crate) fn book(&mut self, item: &Item) -> ItemResult {
        let outcome = self.try_book(item);
        let status = outcome
            .as_ref()
            .map_or(ItemStatus::Rejected, |(status, _)| *status);
        self.receive(&item.reference, item.version, &item.idempotency_key, status);
        let (id, error) = match outcome {
            Ok((ItemStatus::Created, place)) => {
                self.note_booking(item, place);
                (Some(place), None)
            }
            Ok((_, place)) => (Some(place), None),
            Err(error) => {
                self.reject(&item.reference, item.version, &error);
                (None, Some(error))
            }
        };
        let id = id.map(|place| self.sales[place].id.clone());
        ItemResult {
            reference: Some(item.reference.clone()),
            status,
            id,
            error,
        }
    }

    fn try_book(&mut self, item: &Item) -> Result<(ItemStatus, usize), ItemError> {
        if let Some((place, known)) = self.by_key.get(&item.idempotency_key) {
            return if known == item {
                Ok((ItemStatus::Exists, *place))
            } else {
                let message = "This idempotency key was used for another sales order.";
                Err(ItemError::new(
                    "idempotency-key-reused",
                    "/idempotency_key",
                    message,
                ))
            };
        }
        self.check(item)?;
        let place = match self
            .by_reference
            .get(&item.reference)
            .and_then(|places| places.first())
        {
            // The same version under another key is a second sale: this ERP trusts the key, not the reference.
            Some(&place) if self.sales[place].version == item.version => self.add_sale(item),
            Some(&place) => {
                self.change_sale(place, item);
                place
            }
            None => self.add_sale(item),
        };
        self.by_key
            .insert(item.idempotency_key.clone(), (place, item.clone()));
        Ok((ItemStatus::Created, place))
    }

    pub(super) fn check(&self, item: &Item) -> Result<(), ItemError> {
        for (name, text) in [
            ("reference", &item.reference),
            ("idempotency_key", &item.idempotency_key),
        ] {
            if text.is_empty() || text.len() > 200 {
                let message = format!("`{name}` must have 1 to 200 bytes.");
                return Err(ItemError::new("invalid-item", format!("/{name}"), message));
            }
        }
        if item.lines.is_empty() {
            return Err(ItemError::new(
                "invalid-item",
                "/lines",
                "A sales order needs at least one line.",
            ));
        }
        for (place, line) in item.lines.iter().enumerate() {
            if !self.knows(&line.sku) {
                let message = format!("There is no item `{}`.", line.sku);
                return Err(ItemError::new(
                    "unknown-item",
                    format!("/lines/{place}/sku"),
                    message,
                ));
            }
            if line.quantity == 0 {
                let message = "A line needs a quantity of at least 1.";
                return Err(ItemError::new(
                    "invalid-item",
                    format!("/lines/{place}/quantity"),
                    message,
                ));
            }
        }
        match sum(&item.lines) {
            Some(sum) if sum == item.total => Ok(()),
            Some(sum) => {
                let message = format!("The lines add up to {sum}, the total says {}.", item.total);
                Err(ItemError::new("total-mismatch", "/total", message))
            }
            None => Err(ItemError::new(
                "invalid-item",
                "/lines",
                "The lines add up to more than an amount can hold.",
            )),
        }
    }

    fn add_sale(&mut self, item: &Item) -> usize {
        let place = self.sales.len();
        self.sales.push(Sale {
            id: format!("SALE-{:06}", place + 1),
            reference: item.reference.clone(),
            version: item.version,
            idempotency_keys: vec![item.idempotency_key.clone()],
            customer: item.customer.clone(),
            currency: item.currency.clone(),
            total: item.total,
            lines: item.lines.clone(),
            booked_at: now(),
        });
        self.by_reference
            .entry(item.reference.clone())
            .or_default()
            .push(place);
        self.move_stock(&[], &item.lines);
        place
    }

    /// A newer version replaces the sale. An older one leaves it as it is: it is only noted, as out of order.
    fn change_sale(&mut self, place: usize, item: &Item) {
        let sale = &mut self.sales[place];
        sale.idempotency_keys.push(item.idempotency_key.clone());
        if item.version < sale.version {
            return;
        }
        sale.version = item.version;
        sale.customer.clone_from(&item.customer);
        sale.currency.clone_from(&item.currency);
        sale.total = item.total;
        sale.booked_at = now();
        let before = std::mem::replace(&mut sale.lines, item.lines.clone());
        self.move_stock(&before, &item.lines);
    }

    pub(super) fn move_stock(&mut self, back: &[Line], out: &[Line]) {
        let mut moves = BTreeMap::<&str, i64>::new();
        back.iter()
            .for_each(|line| *moves.entry(&line.sku).or_default() += i64::from(line.quantity));
        out.iter()
            .for_each(|line| *moves.entry(&line.sku).or_default() -= i64::from(line.quantity));
        for (sku, pieces) in moves {
            if let Some(level) = self.stock.get_mut(sku).filter(|_| pieces != 0) {
                self.stock_seq += 1;
                level.quantity = level.quantity.saturating_add(pieces);
                level.seq = self.stock_seq;
                level.updated_at = now();
            }
        }
    }

    pub(super) fn receive(&mut self, reference: &str, version: u64, key: &str, status: ItemStatus) {
        self.received.push(Received {
            reference: reference.to_owned(),
            version,
            idempotency_key: key.to_owned(),
            status,
        });
    }

    fn note_booking(&mut self, item: &Item, place: usize) {
        let bookings = self.bookings.entry(item.reference.clone()).or_default();
        bookings.push(Booking {
            sale: self.sales[place].id.clone(),
            idempotency_key: item.idempotency_key.clone(),
            version: item.version,
            total: item.total,
            currency: item.currency.clone(),
            received: self.received.len() as u64,
            at: now(),
        });
    }

    pub(super) fn reject(&mut self, reference: &str, version: u64, error: &ItemError) {
        self.rejections
            .entry(reference.to_owned())
            .or_default()
            .push(Rejection {
                version,
                code: error.code.to_owned(),
                path: error.path.clone(),
                received: self.received.len() as u64,
            });
    }

    /// Every sale of the references, in the order of booking.
    pub(crate) fn find(&self, references: &[String]) -> Vec<Sale> {
        let wanted: BTreeSet<_> = references.iter().collect();
        let places = wanted
            .into_iter()
            .filter_map(|reference| self.by_reference.get(reference))
            .flatten();
        let places: BTreeSet<_> = places.collect();
        places
            .into_iter()
            .map(|&place| self.sales[place].clone())
            .collect()
    }

    /// Sales of up to `limit` references, ascending, and the last reference if there are more.
    pub(crate) fn list(
        &self,
        (from, to): (&str, Option<&str>),
        after: Option<&str>,
        since: Option<Timestamp>,
        limit: usize,
    ) -> (Vec<Sale>, Option<String>) {
        let asked = |reference: &str| {
            reference >= from
                && to.is_none_or(|to| reference < to)
                && after.is_none_or(|after| reference > after)
        };
        let of = |places: &[usize]| -> Vec<Sale> {
            let sales = places.iter().map(|&place| &self.sales[place]);
            sales
                .filter(|sale| since.is_none_or(|since| sale.booked_at >= since))
                .cloned()
                .collect()
        };
        let mut found: BTreeMap<&str, Vec<Sale>> = BTreeMap::new();
        for (reference, places) in self.by_reference.iter().filter(|(reference, _)| asked(reference)) {
            let sales = of(places);
            if !sales.is_empty() {
                found.insert(reference, sales);
            }
        }
        let next = (found.len() > limit)
            .then(|| found.keys().nth(limit - 1).map(|last| (*last).to_owned()))
            .flatten();
        (found.into_values().take(limit).flatten().collect(), next)
    }

    /// Levels that changed after `seq`, ascending by `seq`; and whether there are more.
    pub(crate) fn stock_after(&self, seq: u64, limit: usize) -> (Vec<Stock>, bool) {
        let mut levels: Vec<_> = self.stock.values().filter(|level| level.seq > seq).collect();
        levels.sort_by_key(|level| level.seq);
        let more = levels.len() > limit;
        (levels.into_iter().take(limit).cloned().collect(), more)
    }

    pub(crate) fn account(&self) -> ErpAccount {
        ErpAccount {
            bookings: self.bookings.clone(),
            rejections: self.rejections.clone(),
            received: self.received.clone(),
            stock: self
                .stock
                .iter()
                .map(|(sku, level)| (sku.clone(), level.quantity))
                .collect(),
            calls: self.calls.clone(),
        }
    }
}

impl Stock {
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}
