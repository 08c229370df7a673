//! What can be tried before a flow runs.

use crate::api::Part;
use crate::events;
use crate::{Kind, Stripe};
use stecker_sdk::prelude::*;
use stecker_sdk::{clock, time};

pub(crate) fn probes(plugin: &Stripe) -> Vec<Probe> {
    let mut probes = vec![clock_probe(plugin)];
    for kind in [Kind::PaymentIntent, Kind::Charge, Kind::Refund, Kind::Customer] {
        let name = kind.stream();
        let answer = plugin.api.list_response(name, &one());
        probes.push(Probe::from_result(name, format!("{name} can be read"), &answer));
    }
    probes
}

fn one() -> Part<'static> {
    Part {
        limit: 1,
        ..Part::default()
    }
}

/// Following events trusts that Stripe's clock and the host's agree within `overlap_seconds`. The `Date` header has whole seconds.
fn clock_probe(plugin: &Stripe) -> Probe {
    let answer = plugin.api.list_response(events::STREAM, &one());
    let Ok(response) = &answer else {
        return Probe::from_result("events", "", &answer);
    };
    let Some(told) = response.header("date").and_then(http_date_millis) else {
        return Probe::passed("events", "events can be read; the API does not tell the time");
    };
    let apart = clock::now().abs_diff(told) / 1_000;
    if apart > plugin.overlap_seconds {
        return Probe::failed(
            "events",
            format!("events can be read, but Stripe's clock and the host's are {apart} seconds apart"),
            "set the host's clock (NTP); events can be missed and webhooks refused otherwise",
        );
    }
    Probe::passed("events", "events can be read, and the clocks agree")
}

/// `Sat, 21 Nov 2026 21:14:30 GMT` (RFC 9110, section 5.6.7) as milliseconds since 1970.
fn http_date_millis(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year, at) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.find(month)? / 3 + 1;
    time::millis_from_rfc3339(&format!("{year}-{month:02}-{day}T{at}Z")).ok()
}
