//! The connector for Tryton: parties, products and sales written, stock and shipments read.
//!
//! It speaks JSON-RPC with the server itself (`POST <database>/rpc/`), as Tryton's own clients do. What shapes it:
//!
//! - Every call costs 0.2 s of the server for checking the password, so a batch becomes a handful of calls with many records
//!   each, and a call that fails as a whole is repeated record by record, so that a bad record refuses only itself.
//! - A sale's `reference` is not unique for Tryton. So it is looked for first, always, and a sale that is there is continued or
//!   recognised, never made again. This holds as long as one writer is at work: **a connection has one write in flight** (a
//!   flow with one lane). Tryton's own numbering of parties would fail as well, otherwise, on SQLite.
//! - Errors come inside of an HTTP 200, decimals and times wrapped in objects; the modules `rpc` and `values` know.

mod addresses;
mod amounts;
mod batch;
mod check;
mod masters;
mod parties;
mod products;
mod rpc;
mod sales;
mod shipments;
mod stock;
mod values;

use rpc::Rpc;
use stecker_sdk::prelude::*;

pub use addresses::Address;
pub use parties::{PartyPayload, PartyRef};
pub use products::ProductPayload;
pub use sales::{SaleLine, SalePayload};
pub use shipments::{Shipment, ShipmentPayload};
pub use stock::StockPayload;

const WRITTEN: &[&str] = &[parties::STREAM, products::STREAM, sales::STREAM];
const READ: &[&str] = &[stock::STREAM, shipments::STREAM];

/// The connection's configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address of the server with the name of the database, for example `https://erp.example/production/`.
    #[schemars(extend("format" = "uri"))]
    pub url: String,
    /// The id of the company to work in.
    #[schemars(range(min = 1))]
    pub company: i64,
    /// The payment term of sales, by its name. Left out: what Tryton has for the party, or none.
    #[serde(default)]
    pub payment_term: Option<String>,
    /// The warehouse of sales, by its code. Left out: Tryton's default.
    #[serde(default)]
    pub warehouse: Option<String>,
    /// Whether a product that Tryton does not know is created when a sale or the stream `products` brings it. If not, it is
    /// refused.
    #[serde(default = "yes")]
    pub create_missing_products: bool,
    /// The unit of products that are created, by its symbol.
    #[serde(default = "piece")]
    pub unit: String,
    /// The accounting category of products that are created, by its name. Without one, a sale of such a product could not be
    /// processed.
    #[serde(default)]
    pub category: Option<String>,
    /// The locations whose stock is read, by their codes. Left out or empty: all warehouses.
    #[serde(default)]
    pub stock_locations: Vec<String>,
    /// How long a transaction of Tryton may take, in seconds, 1 to 3,600: changes are looked for again for so long, because
    /// a change bears the time at which its transaction began and is seen when it ends.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 3600))]
    pub overlap_seconds: u32,
}

fn yes() -> bool {
    true
}

fn piece() -> String {
    "u".to_owned()
}

fn minute() -> u32 {
    60
}

/// The plugin.
#[derive(Debug)]
pub struct Tryton {
    rpc: Rpc,
    config: Config,
}

impl Plugin for Tryton {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Tryton")
            .description(
                "Books sales, each once, with their parties and products; reads stock and shipments.",
            )
            .documentation("https://docs.tryton.org")
            .credential("rpc", "basic", "User and password of a Tryton user of its own")
            .host("{config:/url}")
            .stream(parties::STREAM, "Parties, by code", &["write", "lookup"])
            .stream(products::STREAM, "Products, by code", &["write", "lookup"])
            .stream(sales::STREAM, "Sales, by reference", &["write", "lookup"])
            .compare(&sales::COMPARED)
            .stream(stock::STREAM, "Quantities, by product code", &["read"])
            .stream(
                shipments::STREAM,
                "What was shipped of a sale, by reference",
                &["read"],
            )
            .upstream("Tryton", "8.2")
            .operation("destination.lookup")
    }

    fn open(config: Config) -> Result<Self> {
        if config.company < 1 {
            return Err(
                Error::config("company has to be the id of a company, 1 or more").detail("path", "/company")
            );
        }
        if !(1..=3_600).contains(&config.overlap_seconds) {
            return Err(
                Error::config("overlap_seconds has to be 1 to 3600").detail("path", "/overlap_seconds")
            );
        }
        Ok(Self {
            rpc: Rpc::new(&config.url, config.company),
            config,
        })
    }
}

impl Connection for Tryton {
    fn check(&self) -> Result<Vec<Probe>> {
        Ok(self.probes())
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        Ok(vec![
            StreamInfo::of::<PartyPayload>(parties::STREAM)
                .key(&["/code"])
                .modes(&["write", "lookup"]),
            StreamInfo::of::<ProductPayload>(products::STREAM)
                .key(&["/sku"])
                .modes(&["write", "lookup"]),
            StreamInfo::of::<SalePayload>(sales::STREAM)
                .key(&["/reference"])
                .modes(&["write", "lookup"]),
            StreamInfo::of::<StockPayload>(stock::STREAM)
                .key(&["/sku"])
                .modes(&["read"]),
            StreamInfo::of::<ShipmentPayload>(shipments::STREAM)
                .key(&["/reference"])
                .incremental_by("/changed_at")
                .modes(&["read"]),
        ])
    }
}

impl Source for Tryton {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        match request.stream.as_str() {
            stock::STREAM => self.read_stock(request),
            shipments::STREAM => self.read_shipments(request),
            other => Err(unknown_stream(other, READ)),
        }
    }
}

impl Destination for Tryton {
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        match stream {
            parties::STREAM => self.write_parties(batch),
            products::STREAM => self.write_products(batch),
            sales::STREAM => self.write_sales(batch),
            other => Err(unknown_stream(other, WRITTEN)),
        }
    }

    fn lookup(&self, stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
        match stream {
            parties::STREAM => self.lookup_parties(&keys),
            products::STREAM => self.lookup_products(&keys),
            sales::STREAM => self.lookup_sales(&keys),
            other => Err(unknown_stream(other, WRITTEN)),
        }
    }
}

impl Reconcile for Tryton {
    fn list_keys(&self, question: &Question, after: Option<&str>, limit: u32) -> Result<Listing> {
        match question.stream.as_str() {
            sales::STREAM => self.list_sales(question, after, limit),
            parties::STREAM | products::STREAM => Err(Error::unsupported(
                "of parties and products, Tryton has many that nobody wrote; they are looked up by their codes",
            )),
            other => Err(unknown_stream(other, WRITTEN)),
        }
    }
}

stecker_sdk::export_plugin!(Tryton: connection, source, destination, reconcile);
