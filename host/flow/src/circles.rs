//! Whether a source leads in circles: from page to page back to a place where it was before, with more promised each time. Pure; the reader
//! tells it where each page leads.
//!
//! One cursor is kept and compared with those that follow, and after twice as many pages as the time before it is replaced (Brent's
//! algorithm, *An improved Monte Carlo factorization algorithm*, BIT 20, 1980). So a circle is found within a few times its own length and the way to it,
//! whatever that is, and an honest source of any length costs one text.

/// The way of one read, from its trigger on.
#[derive(Debug, Default)]
pub(crate) struct Way {
    kept: Option<String>,
    /// Pages since it was kept.
    pages: u64,
    /// For how many pages it is kept.
    patience: u64,
}

impl Way {
    /// The next page begins here. The length of the circle in pages, if it was here before.
    pub(crate) fn leads_to(&mut self, cursor: &str) -> Option<u64> {
        self.pages += 1;
        if self.kept.as_deref() == Some(cursor) {
            return Some(self.pages);
        }
        if self.pages >= self.patience {
            self.kept = Some(cursor.to_owned());
            self.patience = (self.patience * 2).max(1);
            self.pages = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// After how many pages a circle is found, and how long it is said to be.
    fn found(before: u64, circle: u64, most: u64) -> Option<(u64, u64)> {
        let mut way = Way::default();
        (0..most).find_map(|page| {
            let place = if page < before {
                page
            } else {
                before + (page - before) % circle
            };
            way.leads_to(&place.to_string()).map(|length| (page, length))
        })
    }

    #[test]
    fn a_source_that_goes_on_never_circles() {
        let mut way = Way::default();
        assert!((0..10_000).all(|page| way.leads_to(&page.to_string()).is_none()));
    }

    #[test]
    fn short_circles_are_found_at_once() {
        assert_eq!(found(0, 1, 10), Some((1, 1)));
        assert_eq!(found(0, 2, 10), Some((3, 2)));
        assert_eq!(found(1, 2, 10), Some((3, 2)));
    }

    proptest! {
        #[test]
        fn every_circle_is_found_with_its_length(before in 0_u64..300, circle in 1_u64..300) {
            let (page, length) = found(before, circle, 10_000).unwrap();
            prop_assert_eq!(length, circle);
            prop_assert!(page <= 3 * (before + circle) + 3, "after {} pages", page);
        }
    }
}
