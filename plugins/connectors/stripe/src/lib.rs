//! The connector for Stripe: payments, charges, refunds, customers and events read; refunds and metadata written; webhooks taken.
//!
//! The API is described at <https://docs.stripe.com/api>. What shapes the connector:
//!
//! - Lists are ordered by creation and cannot be asked for what changed. What changed is in the events, which are kept for 30 days. So a
//!   stream of things is listed once and then followed by its events; the module `follow` says how nothing falls in between.
//! - A poll and a webhook bring the same event under the same id, and so with the same version; `version` says how versions order.
//! - Amounts are whole numbers of the currency's smallest unit, and how small that is differs; see `money`.
//! - A write takes an `Idempotency-Key`, which Stripe remembers for a day at least. Beyond that, what was written is found again by the
//!   metadata that the connector puts there; see `refund` and `metadata`.

mod api;
mod check;
mod events;
mod follow;
mod metadata;
mod money;
mod objects;
mod refund;
mod version;
mod webhook;
mod write;

use api::Api;
use objects::Kind;
use stecker_sdk::prelude::*;

pub use events::EventPayload;
pub use metadata::MetadataPayload;
pub use objects::{AddressPayload, ChargePayload, CustomerPayload, PaymentIntentPayload, RefundPayload};
pub use refund::RefundRequest;

/// The version of the API that this release was made for, and asks for unless the connection says otherwise.
pub const API_VERSION: &str = "2023-08-16";

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API is: `https://api.stripe.com`.
    #[schemars(extend("format" = "uri"))]
    pub base_url: String,
    /// The version of the API, sent as `Stripe-Version` with every request, so that an upgrade of the account changes nothing here. Give
    /// the webhook endpoint the same version.
    #[serde(default = "default_api_version")]
    #[schemars(length(min = 1, max = 64))]
    pub api_version: String,
    /// The connected account to work for (`acct_…`), for platforms. Left out, the account of the key.
    #[serde(default)]
    pub account: Option<String>,
    /// How many things to ask for at once, 1 to 100.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = 100))]
    pub page_size: u32,
    /// Events of the last so many seconds are read again at each poll, 1 to 3,600, because Stripe's list may show one a moment late and
    /// clocks differ. What was taken already is recognised.
    #[serde(default = "default_overlap_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub overlap_seconds: u64,
}

fn default_api_version() -> String {
    API_VERSION.to_owned()
}

fn default_page_size() -> u32 {
    100
}

fn default_overlap_seconds() -> u64 {
    60
}

/// The plugin.
#[derive(Debug)]
pub struct Stripe {
    api: Api,
    page_size: u32,
    overlap_seconds: u64,
}

impl Plugin for Stripe {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Stripe")
            .description(
                "Reads payments, charges, refunds, customers and events, takes signed webhooks, creates refunds, and writes metadata of \
                 payments.",
            )
            .documentation("https://docs.stripe.com/api")
            .credential("api", "bearer", "Secret or restricted key")
            .optional_credential("webhook", "hmac-secret", "Signing secret of the webhook endpoint")
            .host("{config:/base_url}")
            .stream(
                Kind::PaymentIntent.stream(),
                "Payment intents, by id; written: their metadata",
                &["read", "webhook", "write", "lookup"],
            )
            .compare(&["/metadata"])
            .stream(Kind::Charge.stream(), "Charges, by id", &["read", "webhook"])
            .stream(
                Kind::Refund.stream(),
                "Refunds, by id; written: new ones",
                &["read", "webhook", "write", "lookup"],
            )
            .stream(Kind::Customer.stream(), "Customers, by id", &["read", "webhook"])
            .stream(events::STREAM, "Events of the last 30 days, by id", &["read", "webhook"])
            .upstream("Stripe", API_VERSION)
            .operation("destination.lookup")
    }

    fn open(config: Config) -> Result<Self> {
        if !(1..=100).contains(&config.page_size) {
            return Err(Error::config("page_size has to be 1 to 100").detail("path", "/page_size"));
        }
        if !(1..=3_600).contains(&config.overlap_seconds) {
            return Err(
                Error::config("overlap_seconds has to be 1 to 3600").detail("path", "/overlap_seconds")
            );
        }
        Ok(Self {
            api: Api::new(&config.base_url, &config.api_version, config.account.as_deref()),
            page_size: config.page_size,
            overlap_seconds: config.overlap_seconds,
        })
    }
}

impl Connection for Stripe {
    fn check(&self) -> Result<Vec<Probe>> {
        Ok(check::probes(self))
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        let read = ["read", "webhook"];
        Ok(vec![
            StreamInfo::of::<PaymentIntentPayload>(Kind::PaymentIntent.stream())
                .key(&["/id"])
                .modes(&["read", "webhook", "write", "lookup"]),
            StreamInfo::of::<ChargePayload>(Kind::Charge.stream())
                .key(&["/id"])
                .modes(&read),
            StreamInfo::of::<RefundPayload>(Kind::Refund.stream())
                .key(&["/id"])
                .modes(&["read", "webhook", "write", "lookup"]),
            StreamInfo::of::<CustomerPayload>(Kind::Customer.stream())
                .key(&["/id"])
                .modes(&read)
                .deletes(Deletes::Tombstone),
            StreamInfo::of::<EventPayload>(events::STREAM)
                .key(&["/id"])
                .incremental_by("/created")
                .modes(&read),
        ])
    }
}

impl Source for Stripe {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        if request.stream == events::STREAM {
            return follow::events(self, request);
        }
        match Kind::of_stream(&request.stream) {
            Some(kind) => follow::things(self, request, kind),
            None => Err(unknown_stream(
                &request.stream,
                &[
                    "payment_intents",
                    "charges",
                    "refunds",
                    "customers",
                    events::STREAM,
                ],
            )),
        }
    }
}

stecker_sdk::export_plugin!(Stripe: connection, source, destination, webhook);
