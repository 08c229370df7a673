//! What the shop holds. Everything here is synchronous and under one lock, so each call is one step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::data::{DISCONTINUED, Generator, Order, Product, millis, sum};
use crate::account::{OrderTruth, Served, ShopAccount, VersionTruth, WebhookAccount};
use crate::misconduct::Paging;

/// A stock level as the shop shows it to buyers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StockLevel {
    pub(crate) sku: String,
    pub(crate) quantity: i64,
    pub(crate) version: Option<u64>,
    #[serde(with = "millis")]
    pub(crate) updated_at: Timestamp,
}

/// The body of a `PUT` of a stock level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockWrite {
    pub(crate) quantity: i64,
    #[serde(default)]
    pub(crate) version: Option<u64>,
}

/// The answer to it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StockWritten {
    #[serde(flatten)]
    pub(crate) level: StockLevel,
    pub(crate) applied: bool,
}

pub(crate) enum StockOutcome {
    Done { written: StockWritten, replayed: bool },
    Refused(StatusCode, &'static str, String),
}

struct Held {
    order: Order,
    /// Every version that there ever was, because a late delivery is right by the version that it carries.
    versions: BTreeMap<u64, VersionTruth>,
}

pub(crate) struct ShopState {
    generator: Generator,
    orders: BTreeMap<u64, Held>,
    by_change: BTreeSet<(Timestamp, u64)>,
    stock: BTreeMap<String, StockLevel>,
    stock_replies: HashMap<String, (String, StockWrite, StockWritten)>,
    served: BTreeMap<String, Served>,
    calls: BTreeMap<String, u64>,
    stock_writes: u64,
    stale_stock_writes: u64,
}

impl ShopState {
    pub(crate) fn new(seed: u64, orders: usize) -> Self {
        let mut generator = Generator::new(seed, orders);
        let opening = generator.opening_orders(orders);
        let stock = generator.products().iter().map(|product| {
            // Nothing is on stock until the ERP has said so: a level that never arrived is a visible difference.
            let level = StockLevel {
                sku: product.sku.clone(),
                quantity: 0,
                version: None,
                updated_at: product.updated_at,
            };
            (product.sku.clone(), level)
        });
        let stock = stock.collect();
        let mut state = Self {
            generator,
            orders: BTreeMap::new(),
            by_change: BTreeSet::new(),
            stock,
            stock_replies: HashMap::new(),
            served: BTreeMap::new(),
            calls: BTreeMap::new(),
            stock_writes: 0,
            stale_stock_writes: 0,
        };
        for order in opening {
            state.keep(order);
        }
        state
    }

    fn keep(&mut self, order: Order) {
        let truth = VersionTruth {
            total: order.total,
            currency: order.currency.clone(),
        };
        self.by_change.insert((order.updated_at, order.id));
        let held = self.orders.entry(order.id).or_insert_with(|| Held {
            order: order.clone(),
            versions: BTreeMap::new(),
        });
        held.versions.insert(order.version, truth);
        held.order = order;
    }

    /// The time of a change: now, or just so much later that the change sorts after everything ever listed. So a
    /// client whose cursor is (`updated_at`, `id`) cannot be overtaken.
    fn stamp(&self, now: Timestamp, id: u64) -> Timestamp {
        match self.by_change.last() {
            Some(&last) if (now, id) <= last => {
                if id > last.1 {
                    last.0
                } else {
                    last.0 + SignedDuration::from_millis(1)
                }
            }
            _ => now,
        }
    }

    pub(crate) fn products(&self) -> &[Product] {
        self.generator.products()
    }

    pub(crate) fn count_call(&mut self, route: &str) {
        *self.calls.entry(route.to_owned()).or_default() += 1;
    }

    /// Orders after the pair, ascending; and whether there are more. Remembers what it served.
    pub(crate) fn page(&mut self, after: (Timestamp, u64), limit: usize) -> (Vec<Order>, bool) {
        let mut keys = self.by_change.range(after..).filter(|&&key| key > after);
        let ids: Vec<_> = keys.by_ref().take(limit).map(|key| key.1).collect();
        let more = keys.next().is_some();
        let orders: Vec<_> = ids
            .iter()
            .filter_map(|id| self.orders.get(id))
            .map(|held| held.order.clone())
            .collect();
        orders.iter().for_each(|order| self.note_served(order));
        (orders, more)
    }

    /// As [`Self::page`], the way that a list goes wrong.
    pub(crate) fn odd_page(
        &mut self,
        after: (Timestamp, u64),
        limit: usize,
        paging: Paging,
    ) -> (Vec<Order>, bool) {
        let asked = self.by_change.range(..=after).count();
        let begin = paging.begin(asked, limit);
        // The row in front of the first one; none: from the very beginning.
        let before = begin
            .checked_sub(1)
            .and_then(|row| self.by_change.iter().nth(row));
        let after = before.copied().unwrap_or((Timestamp::MIN, 0));
        let (mut orders, more) = self.page(after, limit);
        if paging == Paging::Backwards {
            orders.reverse();
        }
        (orders, more || paging.promises())
    }

    pub(crate) fn order(&mut self, id: u64) -> Option<Order> {
        let order = self.orders.get(&id)?.order.clone();
        self.note_served(&order);
        Some(order)
    }

    fn note_served(&mut self, order: &Order) {
        let served = self.served.entry(order.number.clone()).or_default();
        served.version = served.version.max(order.version);
        served.times += 1;
    }

    pub(crate) fn products_page(&self, after: (Timestamp, u64), limit: usize) -> (Vec<Product>, bool) {
        let mut sorted: Vec<_> = self.generator.products().iter().collect();
        sorted.sort_by_key(|product| (product.updated_at, product.id));
        let mut rest = sorted
            .into_iter()
            .filter(|product| (product.updated_at, product.id) > after);
        let page = rest.by_ref().take(limit).cloned().collect();
        (page, rest.next().is_some())
    }

    pub(crate) fn create(&mut self, count: usize) -> Vec<Order> {
        let now = now();
        (0..count)
            .map(|_| {
                let mut order = self.generator.order(now);
                order.updated_at = self.stamp(now, order.id);
                self.keep(order.clone());
                order
            })
            .collect()
    }

    /// A new version of each order: one more piece of its first line, the next status. Unknown ids are returned.
    ///
    /// With `repair`, lines of discontinued items become lines of a known one instead.
    pub(crate) fn update(&mut self, ids: &[u64], repair: bool) -> Result<Vec<Order>, Vec<u64>> {
        let unknown: Vec<_> = ids
            .iter()
            .copied()
            .filter(|id| !self.orders.contains_key(id))
            .collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let now = now();
        let substitute = self.generator.products().first().cloned();
        let mut changed = Vec::new();
        for id in ids {
            let Some(mut order) = self.orders.get(id).map(|held| held.order.clone()) else {
                continue;
            };
            self.by_change.remove(&(order.updated_at, order.id));
            if repair {
                for line in &mut order.lines {
                    if let (true, Some(product)) = (line.sku.starts_with(DISCONTINUED), &substitute) {
                        line.sku.clone_from(&product.sku);
                        line.name.clone_from(&product.name);
                        line.unit_price = product.price;
                    }
                }
            } else if let Some(line) = order.lines.first_mut() {
                line.quantity = line.quantity.saturating_add(1);
            }
            order.total = sum(&order.lines).unwrap_or_default();
            let status = if order.status == "paid" {
                "packed"
            } else {
                "shipped"
            };
            status.clone_into(&mut order.status);
            order.version += 1;
            order.updated_at = self.stamp(now, order.id);
            self.keep(order.clone());
            changed.push(order);
        }
        Ok(changed)
    }

    /// Current orders by id; unknown ids are returned.
    pub(crate) fn find(&self, ids: &[u64]) -> Result<Vec<Order>, Vec<u64>> {
        let unknown: Vec<_> = ids
            .iter()
            .copied()
            .filter(|id| !self.orders.contains_key(id))
            .collect();
        if unknown.is_empty() {
            Ok(ids
                .iter()
                .filter_map(|id| self.orders.get(id))
                .map(|held| held.order.clone())
                .collect())
        } else {
            Err(unknown)
        }
    }

    /// The ids of the first `count` orders.
    pub(crate) fn first_ids(&self, count: usize) -> Vec<u64> {
        self.orders.keys().take(count).copied().collect()
    }

    pub(crate) fn stock(&self) -> Vec<StockLevel> {
        self.stock.values().cloned().collect()
    }

    pub(crate) fn stock_of(&self, sku: &str) -> Option<StockLevel> {
        self.stock.get(sku).cloned()
    }

    pub(crate) fn write_stock(&mut self, sku: &str, write: &StockWrite, key: Option<&str>) -> StockOutcome {
        if let Some((known_sku, known, written)) = key.and_then(|key| self.stock_replies.get(key)) {
            if known_sku != sku || known != write {
                let detail = "This Idempotency-Key was used for another request.".to_owned();
                return StockOutcome::Refused(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency-key-reused",
                    detail,
                );
            }
            return StockOutcome::Done {
                written: written.clone(),
                replayed: true,
            };
        }
        let Some(level) = self.stock.get_mut(sku) else {
            return StockOutcome::Refused(
                StatusCode::NOT_FOUND,
                "unknown-sku",
                format!("There is no article `{sku}`."),
            );
        };
        let stale = matches!((write.version, level.version), (Some(new), Some(held)) if new < held);
        if stale {
            self.stale_stock_writes += 1;
        } else {
            level.quantity = write.quantity;
            level.version = write.version.or(level.version);
            level.updated_at = now();
            self.stock_writes += 1;
        }
        let written = StockWritten {
            level: level.clone(),
            applied: !stale,
        };
        if let Some(key) = key {
            self.stock_replies
                .insert(key.to_owned(), (sku.to_owned(), write.clone(), written.clone()));
        }
        StockOutcome::Done {
            written,
            replayed: false,
        }
    }

    /// `knows` tells whether the ERP knows an item.
    pub(crate) fn account(&self, knows: impl Fn(&str) -> bool) -> ShopAccount {
        let orders = self.orders.values().map(|held| {
            let truth = OrderTruth {
                id: held.order.id,
                version: held.order.version,
                versions: held.versions.clone(),
                must_be_rejected: held.order.lines.iter().any(|line| !knows(&line.sku)),
            };
            (held.order.number.clone(), truth)
        });
        ShopAccount {
            orders: orders.collect(),
            served: self.served.clone(),
            stock: self
                .stock
                .iter()
                .map(|(sku, level)| (sku.clone(), level.quantity))
                .collect(),
            stock_writes: self.stock_writes,
            stale_stock_writes: self.stale_stock_writes,
            calls: self.calls.clone(),
            webhooks: WebhookAccount::default(),
        }
    }
}

/// The clock of both systems, in whole milliseconds.
pub(crate) fn now() -> Timestamp {
    let exact = Timestamp::now();
    exact.round((Unit::Millisecond, 1)).unwrap_or(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_always_sorts_after_everything_listed_before() {
        let mut shop = ShopState::new(1, 50);
        let mut last = *shop.by_change.last().unwrap();
        for id in (1001..1050).rev() {
            let changed = shop.update(&[id], false).unwrap().remove(0);
            assert!((changed.updated_at, changed.id) > last);
            last = (changed.updated_at, changed.id);
        }
        assert_eq!(shop.by_change.len(), 50);
        assert_eq!(shop.update(&[1001, 1], false), Err(vec![1]));
    }

    #[test]
    fn an_older_stock_level_never_replaces_a_newer_one() {
        let mut shop = ShopState::new(1, 0);
        let mut put = |quantity, version| {
            shop.write_stock(
                "MUG-BLU",
                &StockWrite {
                    quantity,
                    version: Some(version),
                },
                None,
            )
        };
        assert!(matches!(
            put(5, 10),
            StockOutcome::Done {
                written: StockWritten { applied: true, .. },
                ..
            }
        ));
        assert!(matches!(
            put(9, 9),
            StockOutcome::Done {
                written: StockWritten { applied: false, .. },
                ..
            }
        ));
        assert_eq!(shop.stock_of("MUG-BLU").unwrap().quantity, 5);
        assert_eq!(shop.account(|_| true).stale_stock_writes, 1);
    }
}
