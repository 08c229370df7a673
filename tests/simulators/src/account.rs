//! The ground truth: what both systems really hold, kept by the systems themselves and by nobody in between.
//!
//! A synchroniser may believe what it likes about its work; [`Account::verdict`] compares the two ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::erp::ItemStatus;
use crate::faults::Fault;
use crate::money::Cents;

/// Everything that both systems know, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The end where orders come from and stock goes to.
    pub shop: ShopAccount,
    /// The end where orders go to and stock comes from.
    pub erp: ErpAccount,
    /// How many faults of each kind were injected.
    pub faults: BTreeMap<Fault, u64>,
}

/// The shop's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShopAccount {
    /// Order number (which is the ERP's reference) to what is true of the order.
    pub orders: BTreeMap<String, OrderTruth>,
    /// Order number to what was read of it. An order that is missing at the ERP and here was never read.
    pub served: BTreeMap<String, Served>,
    /// Pieces per article, as buyers see them.
    pub stock: BTreeMap<String, i64>,
    /// Stock levels that were written and took effect.
    pub stock_writes: u64,
    /// Stock levels that were ignored because a newer one was there.
    pub stale_stock_writes: u64,
    /// Calls per address, disturbed ones included.
    pub calls: BTreeMap<String, u64>,
    /// Events sent.
    pub webhooks: WebhookAccount,
}

/// What is true of one order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderTruth {
    /// The shop's id.
    pub id: u64,
    /// The latest version.
    pub version: u64,
    /// Every version that there was, with its amount.
    pub versions: BTreeMap<u64, VersionTruth>,
    /// The latest version holds an item that the ERP does not know, so it must end in quarantine.
    pub must_be_rejected: bool,
}

/// What is true of one version of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionTruth {
    /// Its total.
    pub total: Cents,
    /// Its currency.
    pub currency: String,
}

/// What was read of an order, by polling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The latest version that was ever served.
    pub version: u64,
    /// How often the order was served, all versions together.
    pub times: u64,
}

/// Events of the shop. Each event ends as `delivered` or `given_up`; until then it is `pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAccount {
    /// Events not yet taken and not yet given up.
    pub pending: u64,
    /// Events that the receiver took.
    pub delivered: u64,
    /// Events that the receiver did not take in six attempts.
    pub given_up: u64,
    /// Requests made.
    pub attempts: u64,
    /// Events that the receiver took twice.
    pub duplicated: u64,
    /// Events sent after a newer one of the same order.
    pub reordered: u64,
}

/// The ERP's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErpAccount {
    /// Reference to what was booked under it, in the order of booking.
    pub bookings: BTreeMap<String, Vec<Booking>>,
    /// Reference to the refusals for good, in their order. Items without a reference are under the empty one.
    pub rejections: BTreeMap<String, Vec<Rejection>>,
    /// Every item that reached the books, in the order of arrival, whatever became of it.
    pub received: Vec<Received>,
    /// Pieces per item.
    pub stock: BTreeMap<String, i64>,
    /// Calls per address, disturbed ones included.
    pub calls: BTreeMap<String, u64>,
}

/// One booking. A repetition that the ERP recognised is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The ERP's id of the sale.
    pub sale: String,
    /// The key it came with.
    pub idempotency_key: String,
    /// The version of the order.
    pub version: u64,
    /// Its total.
    pub total: Cents,
    /// Its currency.
    pub currency: String,
    /// Place in [`ErpAccount::received`], counted from 1.
    pub received: u64,
    /// When it was booked.
    pub at: Timestamp,
}

/// One refusal for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The version of the order.
    pub version: u64,
    /// Why, such as `unknown-item`.
    pub code: String,
    /// Where, such as `/lines/0/sku`.
    pub path: String,
    /// Place in [`ErpAccount::received`], counted from 1.
    pub received: u64,
}

/// One item that reached the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Number of the order.
    pub reference: String,
    /// Version of the order.
    pub version: u64,
    /// The key it came with.
    pub idempotency_key: String,
    /// What became of it.
    pub status: ItemStatus,
}

/// The comparison of both ends. Lists hold references, sorted, except where it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Orders that the shop holds.
    pub orders: usize,
    /// Orders that the ERP has booked at their latest version.
    pub booked: usize,
    /// Orders that must be rejected and were, at their latest version.
    pub permanently_rejected: Vec<String>,
    /// Orders neither booked nor permanently rejected at their latest version.
    pub missing: Vec<String>,
    /// Orders without an unknown item whose latest version was rejected for another reason, sooner or later: somebody
    /// damaged them on their way.
    pub wrongly_rejected: Vec<String>,
    /// One entry per booking of a reference and version beyond the first.
    pub duplicated: Vec<String>,
    /// Bookings of a version lower than one booked before.
    pub out_of_order: u64,
    /// Orders with a booking whose total or currency is not that of the version it claims to be.
    pub amount_mismatches: Vec<String>,
    /// Booked references that the shop has never heard of.
    pub invented: Vec<String>,
    /// Articles whose stock differs between the ends.
    pub stock_mismatches: Vec<String>,
}

impl Verdict {
    /// Every order arrived once, in order, to the cent, or was rejected for good reason.
    #[must_use]
    pub fn orders_are_right(&self) -> bool {
        self.missing.is_empty()
            && self.wrongly_rejected.is_empty()
            && self.duplicated.is_empty()
            && self.out_of_order == 0
            && self.amount_mismatches.is_empty()
            && self.invented.is_empty()
    }

    /// Both ends show the same stock for every article.
    #[must_use]
    pub fn stock_is_right(&self) -> bool {
        self.stock_mismatches.is_empty()
    }
}

impl Account {
    /// Compares the ends.
    ///
    /// ```
    /// use stecker_simulators::Account;
    /// let verdict = Account::default().verdict();
    /// assert!(verdict.orders_are_right() && verdict.stock_is_right());
    /// ```
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict {
            orders: self.shop.orders.len(),
            ..Verdict::default()
        };
        for (reference, order) in &self.shop.orders {
            let bookings = self.erp.bookings.get(reference).map_or(&[][..], Vec::as_slice);
            let rejections = self.erp.rejections.get(reference).map_or(&[][..], Vec::as_slice);
            let booked = bookings.iter().any(|booking| booking.version == order.version);
            let rejected = rejections
                .iter()
                .any(|rejection| rejection.version == order.version);
            if booked {
                verdict.booked += 1;
            } else if rejected && order.must_be_rejected {
                verdict.permanently_rejected.push(reference.clone());
            } else {
                verdict.missing.push(reference.clone());
            }
            if rejected && !order.must_be_rejected && !self.was_an_unknown_item(reference, order.version) {
                verdict.wrongly_rejected.push(reference.clone());
            }
            verdict.judge_bookings(reference, order, bookings);
        }
        verdict.invented = self
            .erp
            .bookings
            .keys()
            .filter(|reference| !self.shop.orders.contains_key(*reference))
            .cloned()
            .collect();
        let skus: BTreeSet<_> = self.shop.stock.keys().chain(self.erp.stock.keys()).collect();
        verdict.stock_mismatches = skus
            .into_iter()
            .filter(|sku| self.shop.stock.get(*sku) != self.erp.stock.get(*sku))
            .cloned()
            .collect();
        verdict
    }

    /// Rejected for an item that the ERP has learned since: right at its time.
    fn was_an_unknown_item(&self, reference: &str, version: u64) -> bool {
        let rejections = self.erp.rejections.get(reference).map_or(&[][..], Vec::as_slice);
        rejections
            .iter()
            .filter(|one| one.version == version)
            .all(|one| one.code == "unknown-item")
    }
}

impl Verdict {
    fn judge_bookings(&mut self, reference: &str, order: &OrderTruth, bookings: &[Booking]) {
        let mut seen = BTreeSet::new();
        for booking in bookings {
            if seen.last().is_some_and(|&newest| booking.version < newest) {
                self.out_of_order += 1;
            }
            if !seen.insert(booking.version) {
                self.duplicated.push(reference.to_owned());
            }
        }
        let wrong = |booking: &Booking| {
            order
                .versions
                .get(&booking.version)
                .is_none_or(|truth| truth.total != booking.total || truth.currency != booking.currency)
        };
        if bookings.iter().any(wrong) {
            self.amount_mismatches.push(reference.to_owned());
        }
    }
}
