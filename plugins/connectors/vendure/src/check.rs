//! What can be tried before a flow runs.

use crate::money::PRECISION;
use crate::{Vendure, catalogue, orders};
use serde_json::json;
use stecker_sdk::prelude::*;
use stecker_sdk::{clock, time};

const BEGINNING: &str = "1970-01-01T00:00:00.000Z";

pub(crate) fn probes(plugin: &Vendure) -> Vec<Probe> {
    let api = &plugin.api;
    // The channel is told to anybody; only the lists show what the key may do.
    vec![
        clock_probe(plugin),
        Probe::from_result(
            "orders",
            "orders can be read",
            &orders::list(api, BEGINNING, 0, 1),
        ),
        Probe::from_result(
            "products",
            "products can be read",
            &catalogue::variants(api, BEGINNING, 0, 1),
        ),
        Probe::from_result(
            "customers",
            "customers can be read",
            &catalogue::people(api, BEGINNING, 0, 1),
        ),
        match api.stock_location(plugin.stock_location.as_deref()) {
            Ok(location) => Probe::passed("stock", format!("stock is written to `{}`", location.name)),
            failed => Probe::from_result("stock", "", &failed),
        },
        money_probe(plugin),
    ]
}

/// Reading trusts that the shop's clock and the host's agree within `settle_seconds`. The `Date` header has whole seconds.
fn clock_probe(plugin: &Vendure) -> Probe {
    let answer = plugin.api.ping();
    let Ok(response) = &answer else {
        return Probe::from_result("reach", "", &answer);
    };
    let told = response.header("date").and_then(http_date_millis);
    let Some(told) = told else {
        return Probe::passed("reach", "the shop answers; it does not tell the time");
    };
    let apart = clock::now().abs_diff(told);
    if apart > plugin.settle_ms + 1_000 {
        return Probe::failed(
            "reach",
            format!(
                "the shop answers, but its clock and the host's are {} seconds apart",
                apart / 1_000
            ),
            "set the clocks (NTP), or make settle_seconds larger than the difference; otherwise changes can be missed",
        );
    }
    Probe::passed("reach", "the shop answers, and its clock agrees")
}

/// `Sat, 21 Nov 2026 21:14:30 GMT` (RFC 9110, section 5.6.7) as milliseconds since 1970.
fn http_date_millis(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year, at) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.find(month)? / 3 + 1;
    time::millis_from_rfc3339(&format!("{year}-{month:02}-{day}T{at}Z")).ok()
}

/// Amounts are read as hundredths; a shop that keeps money otherwise would be read wrongly, without any error.
fn money_probe(plugin: &Vendure) -> Probe {
    const SETTINGS: &str = "{ globalSettings { serverConfig { moneyStrategyPrecision } } }";
    let answer = plugin.api.ask::<serde_json::Value>(SETTINGS, &json!({}));
    let Ok(data) = &answer else {
        return Probe::from_result("money", "", &answer);
    };
    match data["globalSettings"]["serverConfig"]["moneyStrategyPrecision"].as_u64() {
        Some(precision) if precision == u64::from(PRECISION) => {
            Probe::passed("money", "amounts have two decimals")
        }
        other => Probe::failed(
            "money",
            format!(
                "the shop keeps money with {} decimals, this connector reads two",
                other.map_or("unknown".to_owned(), |precision| precision.to_string())
            ),
            "use the shop's default money strategy; amounts would be wrong otherwise",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shops_clock_is_read_from_the_date_header() {
        assert_eq!(
            http_date_millis("Sat, 21 Nov 2026 21:14:30 GMT"),
            time::millis_from_rfc3339("2026-11-21T21:14:30Z").ok()
        );
        assert_eq!(http_date_millis("yesterday"), None);
    }
}
