//! The connector for the demo shop: orders and products read and pushed, stock levels written.
//!
//! The shop's reference is the module documentation of `tests/simulators/src/shop`. What shapes this connector: listings are
//! ascending by (`updated_at`, `id`) and that pair is the cursor; `version` counts the changes of a thing, so it and not the
//! time orders its states; a `PUT` of a stock level carries a version of ours and ignores older ones.

#[cfg(feature = "v2")]
mod amount;
mod api;
mod source;
mod stock;
mod webhook;

use api::{Order, Product, StockLevel};
use stecker_sdk::prelude::*;

/// The version of the shop's API. In version 2, an order's `number` is its `reference`, and its `total` an object; webhooks are as in version 1.
const API: &str = if cfg!(feature = "v2") { "v2" } else { "v1" };

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the shop is, for example `https://shop.example`, without `/api/…`.
    #[schemars(extend("format" = "uri"))]
    pub base_url: String,
}

/// The plugin.
#[derive(Debug)]
pub struct DemoShop {
    api: Client,
}

impl Plugin for DemoShop {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Demo shop")
            .description("Reads orders and products, takes order events, and writes stock levels.")
            .credential(
                "api",
                "api-key-header",
                "API key, from the shop's settings under API access",
            )
            .optional_credential(
                "webhook",
                "hmac-secret",
                "Secret of the webhooks, from the shop's settings",
            )
            .host("{config:/base_url}")
            .stream("orders", "Orders with customer and lines", &["read", "webhook"])
            .stream("products", "Articles of the catalogue", &["read"])
            .stream("stock", "Stock levels, by article number", &["write", "lookup"])
            .compare(&["/quantity"])
            .upstream("Demo shop", API)
            .operation("destination.lookup")
    }

    fn open(config: Config) -> Result<Self> {
        Ok(Self {
            api: Client::new(format!("{}/api/{API}", config.base_url.trim_end_matches('/')))
                .credential("api"),
        })
    }
}

impl Connection for DemoShop {
    fn check(&self) -> Result<Vec<Probe>> {
        let ping = self
            .api
            .get("/ping")
            .send()
            .and_then(http::Response::error_for_status);
        let orders = self
            .api
            .get("/orders")
            .query("limit", 1)
            .send()
            .and_then(http::Response::error_for_status);
        Ok(vec![
            Probe::from_result("reach", "the shop answers and knows the key", &ping),
            Probe::from_result("orders", "orders can be read", &orders),
        ])
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        Ok(vec![
            StreamInfo::of::<Order>("orders")
                .key(&["/id"])
                .incremental_by("/updated_at")
                .modes(&["read", "webhook"]),
            StreamInfo::of::<Product>("products")
                .key(&["/id"])
                .incremental_by("/updated_at")
                .modes(&["read"]),
            StreamInfo::of::<StockLevel>("stock")
                .key(&["/sku"])
                .modes(&["write", "lookup"]),
        ])
    }
}

stecker_sdk::export_plugin!(DemoShop: connection, source, destination, webhook);
