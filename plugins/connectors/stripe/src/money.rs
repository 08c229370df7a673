//! Amounts: whole numbers of the currency's smallest unit at Stripe, decimal texts in records.
//!
//! How small the unit is, is Stripe's to say and not ISO 4217's (<https://docs.stripe.com/currencies#zero-decimal> and the sections behind
//! it): the króna and the Ugandan shilling have no cents any more and are still counted in hundredths.

/// Currencies without a smaller unit.
const ZERO: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
];
/// Currencies counted in thousandths.
const THREE: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// How many decimals an amount in this currency has at Stripe.
pub(crate) fn decimals(currency: &str) -> usize {
    let currency = currency.to_ascii_lowercase();
    if ZERO.contains(&currency.as_str()) {
        0
    } else if THREE.contains(&currency.as_str()) {
        3
    } else {
        2
    }
}

/// `1990` in `eur` is `19.90`.
pub(crate) fn decimal(amount: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// `19.90` in `eur` is `1990`; none for what is no positive amount or is finer than the currency.
pub(crate) fn units(text: &str, currency: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || text.ends_with('.') {
        return None;
    }
    let decimals = decimals(currency);
    let (kept, beyond) = fraction.split_at(fraction.len().min(decimals));
    if beyond.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let units: i64 = format!("{whole}{kept:0<decimals$}").parse().ok()?;
    (units > 0).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_currency_has_them() {
        for (amount, currency, text) in [
            (1990, "eur", "19.90"),
            (5, "EUR", "0.05"),
            (-5, "eur", "-0.05"),
            (0, "usd", "0.00"),
            (500, "jpy", "500"),
            (0, "jpy", "0"),
            (5120, "kwd", "5.120"),
            (500, "isk", "5.00"),
            (i64::MIN, "eur", "-92233720368547758.08"),
        ] {
            assert_eq!(decimal(amount, currency), text, "{currency}");
        }
    }

    #[test]
    fn texts_become_units_or_nothing() {
        for (text, currency, amount) in [
            ("19.90", "eur", Some(1990)),
            ("19.9", "eur", Some(1990)),
            ("19.9000", "eur", Some(1990)),
            ("19", "eur", Some(1900)),
            ("500", "jpy", Some(500)),
            ("500.00", "jpy", Some(500)),
            ("5.12", "kwd", Some(5120)),
            ("500.5", "jpy", None),
            ("19.905", "eur", None),
            ("0", "eur", None),
            ("0.00", "eur", None),
            ("-1", "eur", None),
            ("1e3", "eur", None),
            ("1,5", "eur", None),
            (".5", "eur", None),
            ("5.", "eur", None),
            ("", "eur", None),
            ("99999999999999999999", "eur", None),
        ] {
            assert_eq!(units(text, currency), amount, "{text} {currency}");
        }
    }
}
