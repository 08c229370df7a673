//! Writing stock levels.

use crate::DemoShop;
use crate::api::StockLevel;
use stecker_sdk::http::{RequestBuilder, Response};
use stecker_sdk::prelude::*;

const STREAM: &str = "stock";

#[derive(Serialize)]
struct Write {
    quantity: i64,
    /// Lets the shop ignore a level that is older than the one it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Written {
    sku: String,
    applied: bool,
}

#[derive(Deserialize, Serialize)]
struct Level {
    sku: String,
    quantity: i64,
    version: Option<u64>,
}

impl Destination for DemoShop {
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let prepared: Vec<Result<RequestBuilder, Rejection>> =
            batch.iter().map(|item| self.put(item)).collect();
        let requests = prepared
            .iter()
            .filter_map(|request| request.as_ref().ok().cloned())
            .collect();
        let mut answers = http::send_many(requests).into_iter();
        let outcomes = prepared.into_iter().map(|request| match request {
            Err(rejection) => Ok(rejection.into()),
            Ok(_) => match answers.next() {
                Some(answer) => outcome(answer),
                None => Err(Error::fatal("there are fewer answers than requests")),
            },
        });
        Outcome::settle(outcomes.collect())
    }

    fn lookup(&self, stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let requests = items.iter().map(|item| self.api.get(&path(&item.key))).collect();
        http::send_many(requests)
            .into_iter()
            .zip(items)
            .map(|(answer, item)| finding(answer?, item))
            .collect()
    }
}

fn path(sku: &str) -> String {
    format!("/stock/{}", http::segment(sku))
}

/// The version of a level, where its source counts.
fn version_of(source_version: &str) -> Option<u64> {
    source_version.parse().ok()
}

impl DemoShop {
    fn put(&self, item: &WriteItem) -> Result<RequestBuilder, Rejection> {
        let record = &item.record;
        if record.operation == Operation::Delete {
            return Err(Rejection::new(
                "delete-unsupported",
                "the shop cannot delete a stock level; send one with the quantity 0 instead",
            ));
        }
        let level: StockLevel = record.payload_as()?;
        if level.sku != record.key {
            return Err(Rejection::new(
                "key-mismatch",
                format!(
                    "the record's key is `{}`, its article `{}`; they have to be the same",
                    record.key, level.sku
                ),
            )
            .at("/sku"));
        }
        let body = Write {
            quantity: level.quantity,
            version: version_of(&record.source_version),
        };
        Ok(self
            .api
            .put(&path(&level.sku))
            .json(&body)
            .idempotency_key(&item.idempotency_key))
    }
}

fn outcome(answer: Result<Response>) -> Result<Outcome> {
    let response = match answer.and_then(Response::error_for_status) {
        Ok(response) => response,
        Err(error) => return Outcome::from_error(error),
    };
    let replayed = response.header("idempotent-replayed") == Some("true");
    match response.json::<Written>() {
        Ok(written) if !written.applied => Ok(Outcome::Duplicate(
            Receipt::with_id(written.sku).attribute("superseded", "a newer level is there"),
        )),
        Ok(written) if replayed => Ok(Outcome::duplicate(written.sku)),
        Ok(written) => Ok(Outcome::delivered(written.sku)),
        // It was taken, by its status; what exactly happened is in an answer that cannot be read.
        Err(error) => Ok(Outcome::Unknown(error)),
    }
}

fn finding(response: Response, item: &LookupItem) -> Result<Finding> {
    if response.status == 404 {
        return Ok(Finding::Absent);
    }
    let level: Level = response.error_for_status()?.json()?;
    match (version_of(&item.source_version), level.version) {
        (Some(asked), Some(there)) if there >= asked => Finding::present_as(level.sku.clone(), &level),
        (Some(_), _) => Ok(Finding::Absent),
        (None, _) => Ok(Finding::Undecided),
    }
}
