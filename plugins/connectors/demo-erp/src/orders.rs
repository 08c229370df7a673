//! Writing sales orders.

use crate::DemoErp;
use serde_json::Value;
use stecker_sdk::http::Response;
use stecker_sdk::prelude::*;

pub(crate) const STREAM: &str = "orders";
/// The most items of one batch.
const BATCH: usize = 50;
/// The most references of one lookup.
const LOOKUP: usize = 100;

/// A sales order as this connector takes it. The record's key has to be the reference, by which `lookup` finds it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SalesOrder {
    /// The order's number at its origin.
    pub(crate) reference: String,
    /// Counts the changes of the order at its origin; left out, it is taken from the record's source version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    pub(crate) customer: Customer,
    /// ISO 4217.
    pub(crate) currency: String,
    /// Decimal text, in the currency; the lines have to add up to it.
    pub(crate) total: String,
    pub(crate) lines: Vec<Line>,
}

/// The buyer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Customer {
    /// The origin's own number of the buyer, a number or a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    name: String,
    email: String,
}

/// One position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    sku: String,
    name: String,
    /// Pieces, at least 1.
    quantity: u32,
    /// Decimal text, in the order's currency.
    unit_price: String,
}

/// The item of a batch: the order with the key of its delivery.
#[derive(Serialize)]
struct Item {
    idempotency_key: String,
    #[serde(flatten)]
    order: SalesOrder,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct ItemResult {
    status: String,
    id: Option<String>,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    code: String,
    message: String,
    path: String,
}

#[derive(Deserialize)]
struct Sales {
    sales_orders: Vec<Sale>,
}

#[derive(Deserialize)]
pub(crate) struct Sale {
    pub(crate) id: String,
    pub(crate) reference: String,
    version: u64,
    idempotency_keys: Vec<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// A sale as it would have to be written to become what it is.
pub(crate) fn payload(sale: &Sale) -> Value {
    serde_json::json!({
        "reference": sale.reference,
        "version": sale.version,
        "customer": sale.rest.get("customer"),
        "currency": sale.rest.get("currency"),
        "total": sale.rest.get("total"),
        "lines": sale.rest.get("lines"),
    })
}

impl Destination for DemoErp {
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for chunk in batch.chunk_by(|a, b| is_correction(a) == is_correction(b)) {
            if chunk.first().is_some_and(is_correction) {
                outcomes.extend(chunk.iter().map(|item| self.correct(item)));
                continue;
            }
            self.book_all(chunk, &mut outcomes);
        }
        Outcome::settle(outcomes)
    }

    fn lookup(&self, stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let mut findings = Vec::with_capacity(items.len());
        for chunk in items.chunks(LOOKUP) {
            let request = chunk.iter().fold(self.api.get("/sales-orders"), |request, item| {
                request.query("reference", &item.key)
            });
            let sales: Sales = request.send()?.error_for_status()?.json()?;
            for item in chunk {
                findings.push(finding(&sales.sales_orders, item)?);
            }
        }
        Ok(findings)
    }
}

fn item(item: &WriteItem) -> Result<Item, Rejection> {
    let record = &item.record;
    if record.operation == Operation::Delete {
        return Err(Rejection::new(
            "delete-unsupported",
            "the ERP cannot delete a booked sale; cancel it there",
        ));
    }
    let mut order: SalesOrder = record.payload_as()?;
    if order.reference != record.key {
        return Err(Rejection::new(
            "key-mismatch",
            format!(
                "the record's key is `{}`, its reference `{}`; they have to be the same",
                record.key, order.reference
            ),
        )
        .at("/reference"));
    }
    order.version = order.version.or_else(|| record.source_version.parse().ok());
    Ok(Item {
        idempotency_key: item.idempotency_key.clone(),
        order,
    })
}

/// The host found this sale changed. Under a key that it knows, the ERP would leave it so.
fn is_correction(item: &WriteItem) -> bool {
    let attributes = &item.record.attributes;
    attributes.contains(&("repair".to_owned(), "different".to_owned()))
}

impl DemoErp {
    /// Puts one sale right, by its reference.
    fn correct(&self, one: &WriteItem) -> Result<Outcome> {
        let prepared = match item(one) {
            Ok(prepared) => prepared,
            Err(rejection) => return Ok(rejection.into()),
        };
        let answer = self.api.post("/sales-orders/correct").json(&prepared).send();
        let response = match answer {
            Ok(response) if matches!(response.status, 200 | 201 | 409 | 422) => response,
            Ok(response) => return Outcome::from_error(refused(&response)),
            Err(error) => return Outcome::from_error(error),
        };
        // It was taken, by the status; what became of it is in an answer that cannot be read.
        Ok(response.json().map_or_else(Outcome::Unknown, outcome))
    }

    /// Books items, each with an outcome of its own.
    fn book_all(&self, batch: &[WriteItem], outcomes: &mut Vec<Result<Outcome>>) {
        for chunk in batch.chunks(BATCH) {
            let prepared: Vec<Result<Item, Rejection>> = chunk.iter().map(item).collect();
            let items: Vec<&Item> = prepared.iter().filter_map(|item| item.as_ref().ok()).collect();
            let mut booked = if items.is_empty() {
                Vec::new()
            } else {
                self.book(&items)
            }
            .into_iter();
            outcomes.extend(prepared.into_iter().map(|item| {
                match item {
                    Err(rejection) => Ok(rejection.into()),
                    Ok(_) => booked
                        .next()
                        .unwrap_or_else(|| Err(Error::fatal("an item was left without an outcome"))),
                }
            }));
        }
    }

    /// One result per item, in their order.
    fn book(&self, items: &[&Item]) -> Vec<Result<Outcome>> {
        let answer = self
            .api
            .post("/sales-orders/batch")
            .json(&serde_json::json!({ "items": items }))
            .send();
        let response = match answer {
            Ok(response) if !response.is_success() => Err(refused(&response)),
            other => other,
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return items.iter().map(|_| Outcome::from_error(error.clone())).collect(),
        };
        let results = response.json::<Results>().and_then(|Results { results }| {
            if results.len() == items.len() {
                return Ok(results);
            }
            Err(Error::schema(format!(
                "the ERP gave {} results for {} items",
                results.len(),
                items.len()
            )))
        });
        match results {
            Ok(results) => results.into_iter().map(|result| Ok(outcome(result))).collect(),
            // They were taken, by the status; which of them is in an answer that cannot be read.
            Err(error) => items
                .iter()
                .map(|_| Ok(Outcome::Unknown(error.clone())))
                .collect(),
        }
    }
}

/// The ERP documents that nothing was done where it answers 429, 500 or 503. That the address is not there is no fault of a record: all of
/// them wait until somebody has seen to it.
fn refused(response: &Response) -> Error {
    let error = response.status_error();
    match response.status {
        429 | 500 | 503 => error.detail("sent", "no"),
        404 | 410 => Error::unsupported(format!(
            "the ERP does not offer this version of its API (any more): {}",
            error.message()
        )),
        _ => error,
    }
}

fn outcome(result: ItemResult) -> Outcome {
    let receipt = Receipt {
        external_id: result.id,
        attributes: Vec::new(),
    };
    let error = result.error.unwrap_or_else(|| ItemError {
        code: "unexplained".to_owned(),
        message: format!("the ERP answered `{}` without an error", result.status),
        path: String::new(),
    });
    match result.status.as_str() {
        "created" => Outcome::Delivered(receipt),
        "exists" => Outcome::Duplicate(receipt),
        "busy" => Outcome::Retry(Error::transient(error.message).detail("reason", error.code)),
        "rejected" => {
            let rejection = Rejection::new(error.code, error.message);
            Outcome::Rejected(if error.path.is_empty() {
                rejection
            } else {
                rejection.at(error.path)
            })
        }
        other => Outcome::Unknown(Error::schema(format!(
            "the ERP answered with the status `{other}`, which is not known"
        ))),
    }
}

/// A booked item leaves its key with the sale, so a key that is nowhere was never booked.
fn finding(sales: &[Sale], item: &LookupItem) -> Result<Finding> {
    let asked: Option<u64> = item.source_version.parse().ok();
    let of_this = || sales.iter().filter(|sale| sale.reference == item.key);
    let by_key = of_this().find(|sale| sale.idempotency_keys.contains(&item.idempotency_key));
    let found = by_key.or_else(|| of_this().find(|sale| asked.is_some_and(|asked| sale.version >= asked)));
    match found {
        Some(sale) => Finding::present_as(sale.id.clone(), &payload(sale)),
        None => Ok(Finding::Absent),
    }
}
