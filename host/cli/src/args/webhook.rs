//! The words of `stecker webhook`.

use clap::{Args, Subcommand};
use stecker_model::{
    Name, Period,
    api::{DeliveryState, EventType},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// List webhooks, and how many events are on their way
    #[command(after_help = "Examples:\n  stecker webhook list\n  stecker webhook list --json")]
    List,
    /// Have events sent to an address; prints its secret, this one time
    #[command(after_help = "Examples:
  stecker webhook add ops https://hooks.acme.example/stecker
  stecker webhook add ops https://hooks.acme.example/stecker --event record.quarantined --event connection.circuit-open
  stecker webhook add erp https://erp.acme.example/orders --event record.delivered --flow orders-to-erp

Events are POSTed as Standard Webhooks says (https://www.standardwebhooks.com), signed with the secret, at least once and
always with the same webhook-id. Types: record.delivered, record.quarantined, record.dropped, record.discarded,
flow.paused, flow.resumed, connection.circuit-open, connection.circuit-close. They are sent by `stecker serve`.

Addresses are https at public hosts. Whoever runs the host opens others with [[receivers]] in the tenant's limits
(`stecker tenant limit --help`).")]
    Add(AddWebhook),
    /// Show a webhook
    #[command(after_help = "Examples:\n  stecker webhook show ops\n  stecker webhook show ops --json")]
    Show {
        /// The webhook
        name: Name,
    },
    /// Have events sent again; those that waited are sent now
    #[command(after_help = "Examples:\n  stecker webhook enable ops")]
    Enable {
        /// The webhook
        name: Name,
    },
    /// Have nothing more sent; what waits stays for 30 days
    #[command(
        after_help = "Examples:\n  stecker webhook disable ops --reason 'the receiver is being moved'\n\nWhat happens while it is disabled is not kept for it."
    )]
    Disable {
        /// The webhook
        name: Name,
        /// Why; shown with the webhook
        #[arg(long, value_name = "TEXT", default_value = "disabled by hand")]
        reason: String,
    },
    /// Remove a webhook with everything that was to be sent to it
    #[command(after_help = "Examples:\n  stecker webhook remove ops")]
    Remove {
        /// The webhook
        name: Name,
    },
    /// Make a new secret; prints it, this one time
    #[command(after_help = "Examples:
  stecker webhook rotate-secret ops
  stecker webhook rotate-secret ops --overlap 7d
  stecker webhook rotate-secret ops --overlap 0s     the old one is known to others: it ends at once

Meanwhile both secrets sign, and a receiver takes an event that either of them signed.")]
    RotateSecret {
        /// The webhook
        name: Name,
        /// For how long the secret before signs too, up to 30d
        #[arg(long, value_name = "PERIOD", default_value = "1d")]
        overlap: Period,
    },
    /// Send an event of the type webhook.test, once and now; fails if the answer is not a 2xx
    #[command(after_help = "Examples:\n  stecker webhook test ops")]
    Test {
        /// The webhook
        name: Name,
    },
    /// List events with what came of them, the newest first
    #[command(after_help = "Examples:
  stecker webhook deliveries ops
  stecker webhook deliveries ops --state failed --json")]
    Deliveries {
        /// The webhook
        name: Name,
        /// In this state: waiting, delivered, failed
        #[arg(long)]
        state: Option<DeliveryState>,
        /// At most this many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddWebhook {
    /// What it is called
    pub(crate) name: Name,
    /// Where events are sent
    pub(crate) url: String,
    /// Only events of this type; may be given several times
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<EventType>,
    /// Only what happens in this flow; may be given several times
    #[arg(long = "flow", value_name = "NAME")]
    pub(crate) flows: Vec<Name>,
}
