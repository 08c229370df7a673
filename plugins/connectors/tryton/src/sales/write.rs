//! The steps of a batch; the module above says which.

use super::{MODEL, Order, Row};
use crate::Tryton;
use crate::addresses::{Kept, Wanted};
use crate::amounts::{self, FINE, MONEY};
use crate::batch::{Early, Outcomes, all_or_each, parsed, rounds};
use crate::parties::{Ensured, PartyRef};
use crate::products::{Product, ProductPayload, unknown_product};
use crate::rpc::Failure;
use crate::values::decimal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use stecker_sdk::prelude::*;

/// Keeps a call at some seconds: confirming books and reserves within it.
const AT_ONCE: usize = 50;

/// A sale on its way.
struct Going<'a> {
    /// Its place in the batch.
    index: usize,
    order: &'a Order,
    row: Row,
    /// Whether this call made it, and may take it back.
    made: bool,
}

/// What the new sales need.
struct Needed {
    products: HashMap<String, Result<Product, Early>>,
    parties: HashMap<String, Result<Ensured, Early>>,
    addresses: HashMap<Wanted, Result<Kept, Early>>,
    payment_term: Option<i64>,
    warehouse: Option<i64>,
}

impl Tryton {
    pub(crate) fn write_sales(&self, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        let mut outcomes = Outcomes::new(batch);
        let orders = parsed(batch, &mut outcomes, Order::parse);
        for round in rounds(orders, AT_ONCE, |order: &Order| order.payload.reference.clone()) {
            if let Err(error) = self.write_sales_once(&round, &mut outcomes) {
                for (index, _) in &round {
                    outcomes.set(*index, Err(error.clone()));
                }
            }
        }
        outcomes.settle()
    }

    /// Every reference once. An error means that none of them was touched.
    fn write_sales_once(&self, round: &[(usize, Order)], outcomes: &mut Outcomes) -> Result<()> {
        let references: Vec<&str> = round
            .iter()
            .map(|(_, order)| order.payload.reference.as_str())
            .collect();
        let there = self.sales_by_reference(&references)?;
        let mut new: Vec<(usize, &Order)> = Vec::new();
        let mut going: Vec<Going<'_>> = Vec::new();
        for (index, order) in round {
            match recognised(order, &there) {
                None => new.push((*index, order)),
                Some(Ok(row)) if row.is_booked() => {
                    outcomes.set(*index, Ok(Outcome::Duplicate(row.receipt())));
                }
                Some(Ok(row)) => going.push(Going {
                    index: *index,
                    order,
                    row: row.clone(),
                    made: false,
                }),
                Some(Err(rejection)) => outcomes.set(*index, Ok(rejection.into())),
            }
        }
        if !new.is_empty() {
            match self.needed_by(&new) {
                Ok(needed) => going.extend(self.create_drafts(&new, &needed, outcomes)),
                Err(error) if going.is_empty() => return Err(error),
                Err(error) => new
                    .iter()
                    .for_each(|(index, _)| outcomes.set(*index, Err(error.clone()))),
            }
        }
        self.book(going, outcomes);
        Ok(())
    }

    fn needed_by(&self, new: &[(usize, &Order)]) -> Result<Needed> {
        let (payment_term, warehouse) = (self.payment_term()?, self.warehouse()?);
        let mut wanted: BTreeMap<String, ProductPayload> = BTreeMap::new();
        for (_, order) in new {
            for (line, priced) in order.payload.lines.iter().zip(&order.lines) {
                let Some(sku) = &line.sku else { continue };
                wanted.entry(sku.clone()).or_insert_with(|| ProductPayload {
                    sku: sku.clone(),
                    name: line.description.clone(),
                    list_price: priced
                        .first()
                        .map(|priced| amounts::text(priced.unit_price, FINE)),
                });
            }
        }
        let products = if wanted.is_empty() {
            HashMap::new()
        } else {
            self.ensure_products(&wanted)?
        };
        let who: Vec<&PartyRef> = new.iter().map(|(_, order)| &order.payload.party).collect();
        let parties = self.ensure_parties(&who)?;
        let mut addresses: Vec<Wanted> = Vec::new();
        for (_, order) in new {
            if let Some(Ok(party)) = parties.get(&order.payload.party.code) {
                addresses.extend(addresses_of(order, party.id));
            }
        }
        let addresses = self.addresses(&addresses)?;
        Ok(Needed {
            products,
            parties,
            addresses,
            payment_term,
            warehouse,
        })
    }

    /// Creates drafts; those that come to the right total go on.
    fn create_drafts<'a>(
        &self,
        new: &[(usize, &'a Order)],
        needed: &Needed,
        outcomes: &mut Outcomes,
    ) -> Vec<Going<'a>> {
        let mut ready: Vec<(usize, &'a Order)> = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        for (index, order) in new {
            match needed.values_of(order) {
                Ok(value) => {
                    ready.push((*index, order));
                    values.push(value);
                }
                Err(early) => outcomes.set(*index, early),
            }
        }
        let mut made: Vec<(usize, &'a Order, i64)> = Vec::new();
        for ((index, order), result) in ready
            .into_iter()
            .zip(all_or_each(&values, |values| self.rpc.create(MODEL, values)))
        {
            match result {
                Ok(id) => made.push((index, order, id)),
                Err(failure) => outcomes.set(index, failure.outcome()),
            }
        }
        if made.is_empty() {
            return Vec::new();
        }
        let ids: Vec<i64> = made.iter().map(|(_, _, id)| *id).collect();
        let rows = match self.sales_by_id(&ids) {
            Ok(rows) => rows,
            Err(error) => {
                // They are drafts, which the next attempt finds and goes on with.
                let error = error.context("the sales were created and could not be read back");
                made.iter()
                    .for_each(|(index, _, _)| outcomes.set(*index, Ok(Outcome::Retry(error.clone()))));
                return Vec::new();
            }
        };
        let mut going = Vec::new();
        for (index, order, id) in made {
            let Some(row) = rows.iter().find(|row| row.id == id) else {
                let error = Error::transient(format!("sale {id} was created and is not shown to this user"));
                outcomes.set(index, Ok(Outcome::Retry(error)));
                continue;
            };
            let one = Going {
                index,
                order,
                row: row.clone(),
                made: true,
            };
            match differs(order, row) {
                None => going.push(one),
                Some(rejection) => outcomes.set(index, Ok(self.take_back(&one, rejection).into())),
            }
        }
        going
    }

    /// Quotes and confirms; each gets its outcome.
    fn book(&self, going: Vec<Going<'_>>, outcomes: &mut Outcomes) {
        if going.is_empty() {
            return;
        }
        let (drafts, mut quoted): (Vec<_>, Vec<_>) =
            going.into_iter().partition(|going| going.row.state == "draft");
        quoted.extend(self.press_each("quote", drafts, outcomes));
        let confirmed = self.press_each("confirm", quoted, outcomes);
        if confirmed.is_empty() {
            return;
        }
        let ids: Vec<i64> = confirmed.iter().map(|going| going.row.id).collect();
        let rows = self.sales_by_id(&ids).unwrap_or_else(|error| {
            // They are confirmed, that is known; only their numbers are not.
            stecker_sdk::warn!("confirmed sales could not be read back: {error}");
            Vec::new()
        });
        for going in confirmed {
            let row = rows.iter().find(|row| row.id == going.row.id);
            outcomes.set(going.index, Ok(delivered(&going, row)));
        }
    }

    /// Presses a button; those that it worked for go on.
    fn press_each<'a>(&self, button: &str, going: Vec<Going<'a>>, outcomes: &mut Outcomes) -> Vec<Going<'a>> {
        let ids: Vec<i64> = going.iter().map(|going| going.row.id).collect();
        let results = all_or_each(&ids, |ids| {
            self.rpc.press(MODEL, button, ids).map(|()| vec![(); ids.len()])
        });
        let mut on = Vec::with_capacity(going.len());
        for (going, result) in going.into_iter().zip(results) {
            match result.map_err(Failure::outcome) {
                Ok(()) => on.push(going),
                Err(Ok(Outcome::Rejected(rejection))) => {
                    outcomes.set(going.index, Ok(self.take_back(&going, rejection).into()));
                }
                Err(early) => outcomes.set(going.index, early),
            }
        }
        on
    }

    /// Takes back what this call made, and says in the refusal what stays.
    fn take_back(&self, going: &Going<'_>, mut rejection: Rejection) -> Rejection {
        let id = going.row.id;
        if !going.made {
            rejection.reason.push_str(&format!(
                "; the unfinished sale {id} was there before and stays in Tryton: finish or delete it there, then retry"
            ));
            return rejection;
        }
        // Tryton deletes only what is cancelled.
        let taken = self
            .rpc
            .press(MODEL, "cancel", &[id])
            .and_then(|()| self.rpc.press(MODEL, "delete", &[id]));
        if let Err(failure) = taken {
            let error = Error::from(failure);
            rejection.reason.push_str(&format!(
                "; the unfinished sale {id} could not be taken back ({}): delete it in Tryton before retrying",
                error.message()
            ));
        }
        rejection
    }
}

impl Needed {
    /// The sale as Tryton takes it, or what became of the record instead.
    fn values_of(&self, order: &Order) -> Result<Value, Early> {
        let payload = &order.payload;
        let party = match self.parties.get(&payload.party.code) {
            Some(Ok(party)) => party.id,
            Some(Err(early)) => return Err(early.clone()),
            None => {
                return Err(Ok(Outcome::Retry(Error::transient(
                    "the party was created and is not found",
                ))));
            }
        };
        let mut address_ids = Vec::with_capacity(2);
        for wanted in addresses_of(order, party) {
            match self.addresses.get(&wanted) {
                Some(Ok(kept)) => address_ids.push(kept.id),
                Some(Err(early)) => return Err(early.clone()),
                None => {
                    return Err(Ok(Outcome::Retry(Error::transient(
                        "an address was created and is not found",
                    ))));
                }
            }
        }
        let mut lines = Vec::new();
        for (at, (line, priced)) in payload.lines.iter().zip(&order.lines).enumerate() {
            let product = match line.sku.as_ref().map(|sku| (sku, self.products.get(sku))) {
                None => None,
                Some((_, Some(Ok(product)))) => Some(*product),
                Some((_, Some(Err(early)))) => return Err(early.clone()),
                Some((sku, None)) => {
                    return Err(Ok(unknown_product(sku, &format!("/lines/{at}/sku")).into()));
                }
            };
            for priced in priced {
                let mut value = json!({
                    "type": "line",
                    "quantity": amounts::as_number(priced.quantity),
                    "unit_price": decimal(&amounts::text(priced.unit_price, FINE)),
                    "description": line.description,
                });
                if let Some(product) = product {
                    value["product"] = product.id.into();
                    value["unit"] = product.unit.into();
                }
                lines.push(value);
            }
        }
        let mut sale = json!({
            "party": party,
            "reference": payload.reference,
            "description": payload.description,
            "invoice_address": address_ids.first(),
            "shipment_address": address_ids.last(),
            "lines": [["create", lines]],
        });
        let optional = [
            ("sale_date", order.date.clone()),
            ("payment_term", self.payment_term.map(Value::from)),
            ("warehouse", self.warehouse.map(Value::from)),
        ];
        for (field, value) in optional {
            // A null would keep Tryton from using its default.
            if let Some(value) = value {
                sale[field] = value;
            }
        }
        Ok(sale)
    }
}

/// The address of the invoice first, that of the goods last.
fn addresses_of(order: &Order, party: i64) -> Vec<Wanted> {
    let payload = &order.payload;
    let of = |address: &crate::Address, path: &str| Wanted {
        party,
        address: address.tidy(),
        path: path.to_owned(),
    };
    let invoice = of(&payload.invoice_address, "/invoice_address");
    match &payload.shipment_address {
        None => vec![invoice],
        Some(shipment) => vec![invoice, of(shipment, "/shipment_address")],
    }
}

/// The sale of this order among those that are there: none, the one to go on with, or why it cannot be.
fn recognised<'r>(order: &Order, there: &'r [Row]) -> Option<Result<&'r Row, Rejection>> {
    let reference = order.payload.reference.as_str();
    let of_this: Vec<&Row> = there
        .iter()
        .filter(|row| row.reference.as_deref() == Some(reference))
        .collect();
    // Beside one that counts, cancelled ones are history.
    let alive: Vec<&&Row> = of_this.iter().filter(|row| row.state != "cancelled").collect();
    let row: &Row = match (alive.as_slice(), of_this.as_slice()) {
        ([row], _) => row,
        ([], []) => return None,
        ([], [row, ..]) => row,
        (several, _) => {
            let ids: Vec<String> = several.iter().map(|row| row.id.to_string()).collect();
            return Some(Err(Rejection::new(
                "ambiguous-reference",
                format!(
                    "Tryton has several sales with the reference `{reference}` (ids {}); cancel all but one there",
                    ids.join(", ")
                ),
            )
            .at("/reference")));
        }
    };
    Some(match differs(order, row) {
        None => Ok(row),
        Some(rejection) => Err(rejection),
    })
}

/// Whether the sale is not what the record says, in money.
fn differs(order: &Order, row: &Row) -> Option<Rejection> {
    let payload = &order.payload;
    if row.currency() != payload.currency {
        return Some(
            Rejection::new(
                "currency-differs",
                format!(
                    "sale {} is in {}, the record in {}",
                    row.id,
                    row.currency(),
                    payload.currency
                ),
            )
            .at("/currency"),
        );
    }
    if row.total() == Some(order.total) {
        return None;
    }
    let (wanted, now) = (amounts::text(order.total, MONEY), row.total_text());
    Some(
        Rejection::new(
            "amount-differs",
            format!(
                "sale {} ({}) comes to {now}, the record to {wanted}",
                row.id, row.state
            ),
        )
        .at("/total")
        .detail("sale-total", now)
        .detail("record-total", wanted),
    )
}

/// The outcome of a sale that was confirmed.
fn delivered(going: &Going<'_>, row: Option<&Row>) -> Outcome {
    let Some(row) = row else {
        return Outcome::delivered(going.row.id.to_string());
    };
    if !row.is_booked() {
        return Outcome::Retry(Error::transient(format!(
            "sale {} was confirmed and is `{}` again",
            row.id, row.state
        )));
    }
    if row.state == "confirmed" {
        // Processing has a transaction of its own, behind the confirmation; Tryton answers the same if it fails.
        stecker_sdk::warn!(
            "a sale is confirmed, but Tryton could not process it; look at it there",
            sale = row.id,
            reference = going.order.payload.reference
        );
    }
    Outcome::Delivered(row.receipt())
}
