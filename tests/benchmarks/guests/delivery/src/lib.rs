//! A connector as an author would write it, for measuring what it costs to run one. Its API is `tests/benchmarks/src/bin/delivery/api.rs`.

use serde_json::Value;
use stecker_sdk::crypto::{self, Digest};
use stecker_sdk::http::Response;
use stecker_sdk::prelude::*;

/// The most that the API lists at once.
const MOST: u32 = 250;

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API is.
    url: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Benchmark {
    api: Client,
}

/// An order. What is not named here is carried along.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    version: u64,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl Order {
    fn to_record(&self) -> Result<Record> {
        let version = source_version::counter(self.version);
        Record::upsert("orders", self.id.to_string(), version, self)
    }
}

#[derive(Deserialize)]
struct Orders {
    orders: Vec<Order>,
    next: Option<u64>,
}

/// The last order read.
#[derive(Serialize, Deserialize)]
struct After {
    id: u64,
}

#[derive(Deserialize)]
struct Booked {
    id: String,
}

impl Plugin for Benchmark {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Delivery benchmark")
            .optional_credential("webhook", "hmac-secret", "The secret that calls are signed with")
            .host("{config:/url}")
            .stream("orders", "Orders", &["read", "webhook"])
            .stream("sales", "Sales", &["write"])
            .upstream("Delivery benchmark", "v1")
    }

    fn open(config: Config) -> Result<Self> {
        Ok(Self {
            api: Client::new(config.url.trim_end_matches('/')),
        })
    }
}

impl Connection for Benchmark {
    fn check(&self) -> Result<Vec<Probe>> {
        let one = self
            .api
            .get("/orders")
            .query("limit", 1)
            .send()
            .and_then(Response::error_for_status);
        Ok(vec![Probe::from_result("reach", "the API answers", &one)])
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        Ok(vec![])
    }
}

impl Source for Benchmark {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        let after: Option<After> = request.cursor_as()?;
        let listing: Orders = self
            .api
            .get("/orders")
            .query("limit", request.limit(MOST))
            .query_opt("after", after.map(|after| after.id))
            .send()?
            .error_for_status()?
            .json()?;
        let mut page = Page::new(Vec::with_capacity(listing.orders.len()))
            .resume_where(request)
            .more(listing.next.is_some());
        for order in &listing.orders {
            page.records.push(order.to_record()?);
        }
        match listing.orders.last() {
            Some(last) => page.resume_at(&After { id: last.id }),
            None => Ok(page.more(false)),
        }
    }
}

impl Destination for Benchmark {
    fn write(&self, _stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        let requests = batch
            .iter()
            .map(|item| {
                self.api
                    .post("/sales")
                    .body("application/json", item.record.payload.as_bytes())
                    .idempotency_key(&item.idempotency_key)
            })
            .collect();
        let outcomes = stecker_sdk::http::send_many(requests).into_iter().map(|answer| {
            match answer.and_then(Response::error_for_status) {
                Ok(response) => match response.json::<Booked>() {
                    Ok(booked) => Ok(Outcome::delivered(booked.id)),
                    Err(error) => Ok(Outcome::Unknown(error)),
                },
                Err(error) => Outcome::from_error(error),
            }
        });
        Outcome::settle(outcomes.collect())
    }
}

impl Webhook for Benchmark {
    fn receive(&self, request: &RawRequest) -> Result<Received> {
        let Some(tag) = request
            .header("x-signature")
            .and_then(|header| crypto::from_hex(header).ok())
        else {
            return Ok(Received::refuse(
                "the header X-Signature is missing or not hexadecimal",
            ));
        };
        if !crypto::hmac_verify("webhook", Digest::Sha256, &request.body, &tag)? {
            return Ok(Received::refuse(
                "the signature is not that of the configured secret",
            ));
        }
        let order: Order = match request.json() {
            Ok(order) => order,
            Err(error) => return Ok(Received::refuse(error.message())),
        };
        Ok(Received::accept(
            format!("order-{}-{}", order.id, order.version),
            vec![order.to_record()?],
        ))
    }
}

stecker_sdk::export_plugin!(Benchmark: connection, source, destination, webhook);
