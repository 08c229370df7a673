//! What systems do wrong all the time and not by chance: lists that lead nowhere, and versions of an API that end.

use serde::{Deserialize, Serialize};

/// How the shop pages its list of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// As its reference says.
    #[default]
    Right,
    /// Every page is the first one, and more is promised.
    Stuck,
    /// After the second page comes the first again, and more is promised.
    Circling,
    /// Every page begins with some rows of the page before.
    Repeating,
    /// Rows are in descending order, so that the last one of a page leads back to its beginning.
    Backwards,
}

impl Paging {
    /// Whether more is promised although nothing new will come.
    pub(crate) const fn promises(self) -> bool {
        matches!(self, Self::Stuck | Self::Circling)
    }

    /// From which row on a page really is, given from which it was asked for.
    pub(crate) fn begin(self, asked: usize, limit: usize) -> usize {
        match self {
            Self::Right | Self::Backwards => asked,
            Self::Stuck => 0,
            Self::Circling if asked >= 2 * limit => 0,
            Self::Circling => asked,
            // Half a page at most, or a short page would never get anywhere.
            Self::Repeating => asked.saturating_sub(10.min(limit / 2)),
        }
    }
}

/// What became of the version of the APIs that clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiVersion {
    /// It is the current one.
    #[default]
    Current,
    /// It is switched off: every call is answered with 410, and nothing is done.
    Retired,
    /// Calls fall forward to the next version, whose lists and results have other names. What is asked for is done.
    Reshaped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_page_begins() {
        for (paging, asked, begin) in [
            (Paging::Right, 200, 200),
            (Paging::Backwards, 200, 200),
            (Paging::Stuck, 200, 0),
            (Paging::Circling, 100, 100),
            (Paging::Circling, 200, 0),
            (Paging::Repeating, 0, 0),
            (Paging::Repeating, 200, 190),
        ] {
            assert_eq!(paging.begin(asked, 100), begin, "{paging:?} {asked}");
        }
        assert_eq!(Paging::Repeating.begin(7, 1), 7);
    }
}
