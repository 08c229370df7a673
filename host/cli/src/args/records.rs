//! The words of `stecker records`.

use clap::{Args, Subcommand};
use stecker_model::{Name, Period, RecordId, RecordState};

#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// List records
    #[command(after_help = "Examples:
  stecker records list --flow orders-to-erp
  stecker records list --state quarantined --all --json
  stecker records list --flow orders-to-erp --key ORD-1042")]
    List(RecordQuery),
    /// Show a record and every attempt to deliver it
    #[command(after_help = "Examples:
  stecker records show orders-to-erp/1042
  stecker records show orders-to-erp/1042 --steps

--steps runs the flow's transforms again on its payload, now, on the current releases, and shows what each makes of it and what
would be sent. Nothing is sent.")]
    Show {
        /// The record: flow and number
        id: RecordId,
        /// What each transform makes of it, and what would be sent
        #[arg(long)]
        steps: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RecordQuery {
    /// Of this flow
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<Name>,
    /// In this state: queued, sending, retrying, unknown, delivered, quarantined, dropped, discarded
    #[arg(long, value_name = "STATE", value_parser = record_state)]
    pub(crate) state: Option<RecordState>,
    /// Of exactly this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// With this code of the last error
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// At most this many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Those after this one
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<RecordId>,
    /// All of them, page after page
    #[arg(long)]
    pub(crate) all: bool,
}

/// A moment (RFC 3339; without an offset in UTC; a day is its midnight), or a period ago; milliseconds since 1970.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(period) = text.parse::<Period>() {
        let ago = i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
        return Ok(jiff::Timestamp::now().as_millisecond().saturating_sub(ago));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.as_millisecond());
    }
    text.parse::<jiff::civil::DateTime>()
        .and_then(|local| local.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|moment| moment.timestamp().as_millisecond())
        .map_err(|_| {
            "give a moment such as 2026-11-27T10:00:00Z, a day such as 2026-11-27, or a period ago such as 2h"
                .to_owned()
        })
}

pub(super) fn record_state(text: &str) -> Result<RecordState, String> {
    RecordState::parse(text).ok_or_else(|| {
        let states = RecordState::ALL.map(RecordState::as_str);
        format!("there is no such state; the states are {}", states.join(", "))
    })
}
