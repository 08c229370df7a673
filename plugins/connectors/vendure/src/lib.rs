//! The connector for Vendure: orders, products and customers read, stock written, order events taken.
//!
//! It speaks to the admin API, which is GraphQL (<https://docs.vendure.io/reference/graphql-api/admin/queries>). What shapes it:
//!
//! - `updatedAt` has whole seconds on some of the databases that Vendure runs on, and lists can only be paged by position.
//!   The module `window` says how nothing gets lost all the same.
//! - Only one of the several prices of an order's line adds up to the order's total; the module `orders` says which.
//! - Errors come inside of an HTTP 200, a wrong key included.
//! - Vendure has no webhooks of its own. The README beside this crate's manifest shows the few lines that a shop needs to
//!   send the events that `webhook` takes.

mod api;
mod catalogue;
mod check;
mod money;
mod orders;
mod source;
mod stock;
mod webhook;
mod window;

use api::Api;
use stecker_sdk::prelude::*;

pub use catalogue::{CustomerPayload, ProductPayload};
pub use orders::{Address, Buyer, OrderLine, OrderPayload, Shipping, Surcharge};
pub use stock::StockPayload;

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address of the admin API, for example `https://shop.example/admin-api`.
    #[schemars(extend("format" = "uri"))]
    pub admin_api_url: String,
    /// The token of the channel to work in; left out, the default channel. It is an identifier, not a secret.
    #[serde(default)]
    pub channel_token: Option<String>,
    /// How many things to ask for at once, 1 to 500.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = 500))]
    pub page_size: u32,
    /// Which orders to read, by their state, for example `PaymentSettled`. Left out or empty: every order that was placed. An
    /// order is read when it enters one of these states, and again whenever it changes in one.
    #[serde(default)]
    pub order_states: Vec<String>,
    /// The stock location to write to, by its name or id. Can be left out where the shop has only one.
    #[serde(default)]
    pub stock_location: Option<String>,
    /// A change is read when it is this many seconds old, 1 to 3,600. It has to be more than the clocks of host and shop
    /// differ plus the longest transaction of the shop; changes that come as events are not delayed.
    #[serde(default = "default_settle_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub settle_seconds: u64,
}

fn default_page_size() -> u32 {
    100
}

fn default_settle_seconds() -> u64 {
    5
}

/// The plugin.
#[derive(Debug)]
pub struct Vendure {
    api: Api,
    page_size: u32,
    order_states: Vec<String>,
    stock_location: Option<String>,
    settle_ms: u64,
}

impl Plugin for Vendure {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Vendure")
            .description("Reads orders, products and customers, sets stock levels, and takes order events.")
            .documentation("https://docs.vendure.io")
            .credential("api", "api-key-header", "API key of the shop's administration")
            .optional_credential(
                "webhook",
                "hmac-secret",
                "Secret that the shop signs order events with",
            )
            .host("{config:/admin_api_url}")
            .stream(orders::STREAM, "Placed orders, by code", &["read", "webhook"])
            .stream(catalogue::PRODUCTS, "Product variants, by SKU", &["read"])
            .stream(catalogue::CUSTOMERS, "Customers, by id", &["read"])
            .stream(stock::STREAM, "Stock on hand, by SKU", &["write", "lookup"])
            .upstream("Vendure", "3.7")
            .operation("destination.lookup")
    }

    fn open(config: Config) -> Result<Self> {
        if !(1..=500).contains(&config.page_size) {
            return Err(Error::config("page_size has to be 1 to 500").detail("path", "/page_size"));
        }
        if !(1..=3_600).contains(&config.settle_seconds) {
            return Err(Error::config("settle_seconds has to be 1 to 3600").detail("path", "/settle_seconds"));
        }
        Ok(Self {
            api: Api::new(&config.admin_api_url, config.channel_token.as_deref()),
            page_size: config.page_size,
            order_states: config.order_states,
            stock_location: config.stock_location,
            settle_ms: config.settle_seconds * 1_000,
        })
    }
}

impl Connection for Vendure {
    fn check(&self) -> Result<Vec<Probe>> {
        Ok(check::probes(self))
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        Ok(vec![
            StreamInfo::of::<OrderPayload>(orders::STREAM)
                .key(&["/code"])
                .incremental_by("/updated_at")
                .modes(&["read", "webhook"]),
            StreamInfo::of::<ProductPayload>(catalogue::PRODUCTS)
                .key(&["/sku"])
                .incremental_by("/updated_at")
                .modes(&["read"]),
            StreamInfo::of::<CustomerPayload>(catalogue::CUSTOMERS)
                .key(&["/id"])
                .incremental_by("/updated_at")
                .modes(&["read"]),
            StreamInfo::of::<StockPayload>(stock::STREAM)
                .key(&["/sku"])
                .modes(&["write", "lookup"]),
        ])
    }
}

stecker_sdk::export_plugin!(Vendure: connection, source, destination, webhook);
