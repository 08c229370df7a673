//! Write Stecker plugins in Rust.
//!
//! A plugin is a WebAssembly component that speaks the contract `stecker:plugin@1.0.0`. This crate is the contract in Rust's
//! terms: a trait per role, an [`export_plugin!`] macro, an [`http`] client, [`storage`], [`crypto`], [`log`], [`clock`],
//! [`random`] and (with the feature `blobs`, of contract 1.1.0) `blobs` over the host's imports, and a [`testing`] harness with which a plugin's tests run as plain `cargo test`.
//! It carries the contract with it: a plugin needs no WIT files and no `wit-bindgen`.
//!
//! # A complete connector, with its test
//!
//! ```
//! use stecker_sdk::prelude::*;
//!
//! /// What an operator enters; the JSON Schema, and with it the form, comes from this type.
//! #[derive(Deserialize, JsonSchema)]
//! struct Config {
//!     /// Where the shop is, for example `https://shop.example`.
//!     base_url: String,
//! }
//!
//! struct Shop {
//!     api: Client,
//! }
//!
//! /// As the shop sends it; unknown fields are left out.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Order {
//!     id: u64,
//!     /// Goes up with every change.
//!     version: u64,
//!     updated_at: String,
//!     total: String,
//! }
//!
//! /// Where reading goes on: after this order.
//! #[derive(Serialize, Deserialize)]
//! struct After {
//!     updated_at: String,
//!     id: u64,
//! }
//!
//! impl Plugin for Shop {
//!     type Config = Config;
//!
//!     fn describe() -> Description {
//!         Description::new("Example shop")
//!             .credential("api", "api-key-header", "API key, from the shop's settings")
//!             .host("{config:/base_url}")
//!             .stream("orders", "Orders", &["read"])
//!             .upstream("Example shop", "v1")
//!     }
//!
//!     fn open(config: Config) -> Result<Self> {
//!         Ok(Self { api: Client::new(config.base_url).credential("api") })
//!     }
//! }
//!
//! impl Connection for Shop {
//!     fn check(&self) -> Result<Vec<Probe>> {
//!         let answer = self.api.get("/orders").query("limit", 1).send().and_then(|answer| answer.error_for_status());
//!         Ok(vec![Probe::from_result("orders", "orders can be read", &answer)])
//!     }
//!
//!     fn discover(&self) -> Result<Vec<StreamInfo>> {
//!         Ok(vec![StreamInfo::of::<Order>("orders").key(&["/id"]).incremental_by("/updated_at").modes(&["read"])])
//!     }
//! }
//!
//! impl Source for Shop {
//!     fn read(&self, request: &ReadRequest) -> Result<Page> {
//!         if request.stream != "orders" {
//!             return Err(unknown_stream(&request.stream, &["orders"]));
//!         }
//!         let after: Option<After> = request.cursor_as()?;
//!         let limit = request.limit(100);
//!         let orders: Vec<Order> = self
//!             .api
//!             .get("/orders")
//!             .query("limit", limit)
//!             .query_opt("updated_since", after.as_ref().map(|after| &after.updated_at))
//!             .query_opt("after_id", after.as_ref().map(|after| after.id))
//!             .send()?
//!             .error_for_status()?
//!             .json()?;
//!         let mut records = Vec::new();
//!         for order in &orders {
//!             let version = source_version::counter(order.version);
//!             records.push(Record::upsert("orders", order.id.to_string(), version, order)?);
//!         }
//!         let more = orders.len() == limit as usize;
//!         match orders.last() {
//!             Some(last) => {
//!                 let after = After { updated_at: last.updated_at.clone(), id: last.id };
//!                 Ok(Page::new(records).resume_at(&after)?.more(more))
//!             }
//!             None => Ok(Page::new(records).resume_where(request)),
//!         }
//!     }
//! }
//!
//! stecker_sdk::export_plugin!(Shop: connection, source);
//!
//! // In `#[cfg(test)] mod tests`:
//! use serde_json::json;
//! use stecker_sdk::testing::{self, Harness, Reply, Script};
//!
//! let first = json!({"id": 1, "version": 7, "updated_at": "2026-01-01T10:00:00Z", "total": "9.90"});
//! let second = json!({"id": 2, "version": 1, "updated_at": "2026-01-01T10:00:00Z", "total": "1.00"});
//! let shop = Harness::<Shop>::new(json!({"base_url": "https://shop.example/"})).script(
//!     Script::new()
//!         .expect(testing::get("/orders").query("limit", 1).no_query("after_id").credential("api"))
//!         .reply(200, [&first])
//!         .expect(testing::get("/orders").query("updated_since", "2026-01-01T10:00:00Z").query("after_id", 1))
//!         .reply(200, [&second])
//!         .expect(testing::get("/orders").query("after_id", 2))
//!         .reply(200, json!([]))
//!         .expect(testing::get("/orders"))
//!         .reply_with(Reply::status(429).header("Retry-After", 7)),
//! );
//! shop.describe();
//! let streams = shop.discover().unwrap();
//! let orders = shop.read("orders").max_records(1).conforming_to(&streams).all_pages().unwrap();
//! assert_eq!(orders.iter().map(|order| order.key.as_str()).collect::<Vec<_>>(), ["1", "2"]);
//!
//! let error = shop.read("orders").page().unwrap_err();
//! assert_eq!(error.code(), "rate-limited");
//! assert_eq!(error.retry_in(), Some(std::time::Duration::from_secs(7)));
//! shop.finish(); // fails if an expected request never came
//! ```
//!
//! # The package
//!
//! `Cargo.toml` has `crate-type = ["cdylib", "rlib"]` (a component, and something that tests can link), and beside it lies
//! the manifest `plugin.toml`: name, version, the hosts it asks for, the credentials it names. `stecker plugin build` makes
//! the component.
//!
//! # What to keep in mind
//!
//! - **Deliver at least once, take effect once.** Give the system [`WriteItem::idempotency_key`] wherever it takes one. When
//!   [`Error::maybe_sent`] is true, the outcome is [`Outcome::Unknown`]; [`Outcome::from_error`] gets all of this right.
//! - **One bad record is a [`Rejection`]**, an [`Error`] stands for the whole call.
//! - **An instance has no memory.** What has to be kept goes into the cursor or into [`storage`].
//! - **[`Record::source_version`] orders the states of a thing**; [`source_version`] makes texts that compare rightly.
//! - **Secrets are named, never seen.**

#[doc(hidden)]
pub mod bindings;
#[cfg(feature = "blobs")]
pub mod blobs;
pub mod clock;
pub mod crypto;
mod description;
mod error;
#[doc(hidden)]
pub mod export;
pub mod http;
mod imports;
mod json;
pub mod log;
pub mod random;
pub mod reconcile;
mod roles;
pub mod signature;
pub mod source_version;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
mod types;

pub use description::{Credential, Description, StreamSummary, Upstream, description_schema, schema_of};
pub use error::{Error, Result};
pub use roles::{Connection, Destination, Plugin, Reconcile, Source, Transform, Webhook, unknown_stream};
pub use types::{
    Attributes, Bucket, Budget, Deletes, Entry, Finding, Found, Listing, LookupItem, Operation, Outcome,
    Page, Probe, Question, Range, RawRequest, ReadRequest, Receipt, Received, Record, Rejection, Reply,
    StreamInfo, Subscription, Transformed, Verdict, WriteItem,
};

/// The crates that a plugin's own types are derived with, in the versions that the SDK uses.
pub use {schemars, serde, serde_json};

/// What nearly every plugin needs: `use stecker_sdk::prelude::*;`
pub mod prelude {
    pub use crate::http::Client;
    pub use crate::{
        Bucket, Budget, Connection, Deletes, Description, Destination, Entry, Error, Finding, Listing,
        LookupItem, Operation, Outcome, Page, Plugin, Probe, Question, RawRequest, ReadRequest, Receipt,
        Received, Reconcile, Record, Rejection, Result, Source, StreamInfo, Subscription, Transform,
        Transformed, Webhook, WriteItem,
    };
    pub use crate::{http, source_version, unknown_stream};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}
