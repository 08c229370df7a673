//! The connector for the demo ERP: sales orders written, stock read.
//!
//! The ERP's reference is the module documentation of `tests/simulators/src/erp`. What shapes this connector: sales are
//! recognised by their idempotency key and *not* by their reference, so the key of the delivery has to arrive; a connection
//! that ends without an answer says nothing; and a batch of at most 50 has a result per item. A sale that somebody changed in the ERP is put
//! right by its own address: under a key that it knows, the ERP leaves everything as it is.

mod compare;
mod orders;
mod stock;

use orders::SalesOrder;
use stecker_sdk::prelude::*;
use stock::StockLevel;

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the ERP is, for example `https://erp.example`, without `/v2`.
    #[schemars(extend("format" = "uri"))]
    pub base_url: String,
}

/// The plugin.
#[derive(Debug)]
pub struct DemoErp {
    api: Client,
}

impl Plugin for DemoErp {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Demo ERP")
            .description("Books sales orders, each once, and reads stock levels.")
            .credential("api", "basic", "User and password of an API account")
            .host("{config:/base_url}")
            .stream("orders", "Sales orders, by reference", &["write", "lookup"])
            .compare(&[
                "/customer/name",
                "/customer/email",
                "/currency",
                "/total",
                "/lines",
            ])
            .stream("stock", "Stock levels, by article number", &["read"])
            .upstream("Demo ERP", "v2")
            .operation("destination.lookup")
            .operation("reconcile.digest")
    }

    fn open(config: Config) -> Result<Self> {
        Ok(Self {
            api: Client::new(format!("{}/v2", config.base_url.trim_end_matches('/'))).credential("api"),
        })
    }
}

impl Connection for DemoErp {
    fn check(&self) -> Result<Vec<Probe>> {
        let ping = self
            .api
            .get("/ping")
            .send()
            .and_then(http::Response::error_for_status);
        let stock = self
            .api
            .get("/stock")
            .query("limit", 1)
            .send()
            .and_then(http::Response::error_for_status);
        Ok(vec![
            Probe::from_result("reach", "the ERP answers and knows the account", &ping),
            Probe::from_result("stock", "stock can be read", &stock),
        ])
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        Ok(vec![
            StreamInfo::of::<SalesOrder>("orders")
                .key(&["/reference"])
                .modes(&["write", "lookup"]),
            StreamInfo::of::<StockLevel>("stock")
                .key(&["/sku"])
                .incremental_by("/seq")
                .modes(&["read"]),
        ])
    }
}

stecker_sdk::export_plugin!(DemoErp: connection, source, destination, reconcile);
