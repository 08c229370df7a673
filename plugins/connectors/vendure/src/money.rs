//! Amounts.
//!
//! Vendure keeps money in whole hundredths, whatever the currency (`DefaultMoneyStrategy`, precision 2). A shop may configure
//! another precision; `check` finds that out.

/// The precision that the amounts are read with.
pub(crate) const PRECISION: u32 = 2;

/// Hundredths as a decimal text with two decimals: `-1234` is `-12.34`.
pub(crate) fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let amount = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_are_written_with_two_decimals() {
        assert_eq!(decimal(0), "0.00");
        assert_eq!(decimal(5), "0.05");
        assert_eq!(decimal(-5), "-0.05");
        assert_eq!(decimal(123_456), "1234.56");
        assert_eq!(decimal(i64::MIN), "-92233720368547758.08");
    }
}
