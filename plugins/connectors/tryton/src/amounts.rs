//! Exact amounts: money in hundredths, quantities and unit prices in ten-thousandths.
//!
//! Tryton keeps unit prices with four decimals and rounds quantity times unit price to the currency, half to even
//! (`Currency.round`). The shop's line totals are what the customer paid, so the unit price is found from them, and where
//! no unit price gives the total back, the last piece gets a line of its own.

use serde_json::Number;

/// Decimals of money.
pub(crate) const MONEY: u32 = 2;
/// Decimals of quantities and unit prices.
pub(crate) const FINE: u32 = 4;

/// A quantity with the price of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priced {
    /// In ten-thousandths.
    pub(crate) quantity: i128,
    /// In ten-thousandths.
    pub(crate) unit_price: i128,
}

/// A decimal text as a whole number of its last decimals: `12.9` with two is 1290. None if it is no decimal, or finer.
pub(crate) fn parse(text: &str, decimals: u32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let decimals = decimals as usize;
    let (kept, finer) = fraction.split_at(fraction.len().min(decimals));
    if finer.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let value: i128 = format!("{whole}{kept:0<decimals$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

/// The opposite of [`parse`].
pub(crate) fn text(value: i128, decimals: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let scale = 10_u128.pow(decimals);
    let magnitude = value.unsigned_abs();
    let width = decimals as usize;
    if width == 0 {
        return format!("{sign}{magnitude}");
    }
    format!("{sign}{}.{:0width$}", magnitude / scale, magnitude % scale)
}

/// A JSON number as a quantity.
pub(crate) fn quantity(number: &Number) -> Option<i128> {
    parse(&number.to_string(), FINE)
}

/// A quantity as Tryton takes it: a plain number.
pub(crate) fn as_number(quantity: i128) -> f64 {
    // Four decimals of a quantity of goods are far within what a float holds exactly enough; Tryton rounds to the unit.
    text(quantity, FINE).parse().unwrap_or(0.0)
}

/// What Tryton makes of a quantity and a unit price, in hundredths.
pub(crate) fn amount(priced: Priced) -> i128 {
    divide_half_even(
        priced.quantity * priced.unit_price,
        10_i128.pow(FINE + FINE - MONEY),
    )
}

/// Lines that give exactly this total: one, or two where one cannot. None if it cannot be done, which takes a quantity that is
/// not whole, or not positive.
pub(crate) fn lines_for(total: i128, quantity: i128) -> Option<Vec<Priced>> {
    let one = 10_i128.pow(FINE);
    if quantity <= 0 {
        return None;
    }
    let unit_price = divide_half_even(total * 10_i128.pow(FINE + FINE - MONEY), quantity);
    let all = Priced { quantity, unit_price };
    if amount(all) == total {
        return Some(vec![all]);
    }
    if quantity % one != 0 || quantity == one {
        return None;
    }
    let most = Priced {
        quantity: quantity - one,
        unit_price,
    };
    let rest = Priced {
        quantity: one,
        unit_price: (total - amount(most)) * 10_i128.pow(FINE - MONEY),
    };
    Some(vec![most, rest])
}

fn divide_half_even(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value.div_euclid(by), value.rem_euclid(by));
    match (rest * 2).cmp(&by) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        assert_eq!(parse("12.9", MONEY), Some(1_290));
        assert_eq!(parse("-0.05", MONEY), Some(-5));
        assert_eq!(parse("7", FINE), Some(70_000));
        assert_eq!(parse("1.2300", MONEY), Some(123));
        for bad in [
            "",
            ".5",
            "1.234",
            "1,5",
            "1e3",
            "--1",
            "+1",
            "9999999999999999999",
        ] {
            assert_eq!(parse(bad, MONEY), None, "{bad}");
        }
        assert_eq!(text(-5, MONEY), "-0.05");
        assert_eq!(text(129_833, FINE), "12.9833");
        assert_eq!(quantity(&Number::from_f64(1.5).unwrap()), Some(15_000));
        assert!((as_number(15_000) - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn lines_give_their_total_back_for_every_quantity() {
        let one = 10_i128.pow(FINE);
        for quantity in (1..=400).chain([999, 5_000]) {
            for total in [1, 7, 99, 709, 3_895, 6_597, 10_001, 123_457, -1_250] {
                let lines = lines_for(total, quantity * one).unwrap();
                let sum: i128 = lines.iter().copied().map(amount).sum();
                let pieces: i128 = lines.iter().map(|line| line.quantity).sum();
                assert_eq!((sum, pieces), (total, quantity * one), "{total} for {quantity}");
                assert!(
                    lines.len() == 1 || quantity > 100,
                    "{total} for {quantity}: {lines:?}"
                );
            }
        }
        assert_eq!(
            lines_for(3_895, 3 * one),
            Some(vec![Priced {
                quantity: 3 * one,
                unit_price: 129_833
            }])
        );
        assert_eq!(lines_for(500, 0), None);
        assert!(lines_for(500, 25_000).is_some(), "2.5 of something for 5.00");
    }

    #[test]
    fn halves_go_to_even_as_tryton_rounds() {
        let of = |quantity, unit_price| amount(Priced { quantity, unit_price });
        assert_eq!(of(10_000, 12_050), 120);
        assert_eq!(of(10_000, 12_150), 122);
        assert_eq!(of(10_000, -12_150), -122);
    }
}
