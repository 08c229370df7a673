//! Ranges of bytes: of a chunk that is pushed (`Content-Range: 0-99`, without a unit, as the OCI Distribution Specification has it),
//! and of a blob that is pulled (`Range: bytes=0-99`, RFC 9110 section 14).

/// Where a chunk belongs; both ends are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRange {
    /// The first byte.
    pub(crate) start: u64,
    /// The last byte, not before the first.
    pub(crate) end: u64,
}

impl ChunkRange {
    /// Reads `^[0-9]+-[0-9]+$`; none: it is something else, or ends before it begins.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (start, end) = text.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        (start <= end && end < u64::MAX).then_some(Self { start, end })
    }

    /// How many bytes.
    #[must_use]
    pub(crate) fn length(self) -> u64 {
        self.end - self.start + 1
    }
}

/// What of a blob is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything.
    Whole,
    /// From `start` to before `end`; there is at least one byte.
    Part {
        /// The first byte.
        start: u64,
        /// After the last byte.
        end: u64,
    },
    /// Bytes that the blob does not have.
    Nothing,
}

/// Reads the `Range` header of a pull of a blob of so many bytes.
///
/// Several ranges at once, another unit and nonsense are answered with the whole, as RFC 9110 allows; a range that ends before it
/// begins is [`Wanted::Nothing`], because whoever sent it did not mean everything.
#[must_use]
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(text) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = text.trim().split_once('-') else {
        return Wanted::Whole;
    };
    match (first, number(first), last, number(last)) {
        (_, Some(first), _, Some(last)) => part(first, last.saturating_add(1), size),
        (_, Some(first), "", None) => part(first, size, size),
        ("", None, _, Some(suffix)) => part(size.saturating_sub(suffix), size, size),
        _ => Wanted::Whole,
    }
}

fn part(start: u64, end: u64, size: u64) -> Wanted {
    let end = end.min(size);
    if start < end {
        Wanted::Part { start, end }
    } else {
        Wanted::Nothing
    }
}

/// The `Range` header that says how much of an upload is there. An empty one and one of a single byte have the same text, which
/// is how registries have always said it.
#[must_use]
pub(crate) fn received(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

/// Digits only: `parse` alone would take a `+`.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_are_two_numbers() {
        assert_eq!(ChunkRange::parse("0-99"), Some(ChunkRange { start: 0, end: 99 }));
        assert_eq!(ChunkRange::parse("5-5").unwrap().length(), 1);
        for bad in [
            "",
            "-",
            "1-",
            "-1",
            "2-1",
            "+1-2",
            " 1-2",
            "1-2/3",
            "bytes=1-2",
            "bytes 1-2/*",
            "0x1-2",
            "1-99999999999999999999",
        ] {
            assert_eq!(ChunkRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn pulls_get_what_there_is_of_what_they_want() {
        let table = [
            (None, Wanted::Whole),
            (
                Some("bytes=500-1499"),
                Wanted::Part {
                    start: 500,
                    end: 1500,
                },
            ),
            (
                Some("bytes=500-"),
                Wanted::Part {
                    start: 500,
                    end: 2048,
                },
            ),
            (
                Some("bytes=-500"),
                Wanted::Part {
                    start: 1548,
                    end: 2048,
                },
            ),
            (Some("bytes=-5000"), Wanted::Part { start: 0, end: 2048 }),
            (
                Some("bytes=2000-5000"),
                Wanted::Part {
                    start: 2000,
                    end: 2048,
                },
            ),
            (Some("bytes=500-0"), Wanted::Nothing),
            (Some("bytes=2048-"), Wanted::Nothing),
            (Some("bytes=5000-10000"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("items=0-1"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
        ];
        for (header, expected) in table {
            assert_eq!(wanted(header, 2048), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
        assert_eq!(
            wanted(Some("bytes=0-18446744073709551615"), 3),
            Wanted::Part { start: 0, end: 3 }
        );
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_blob(header in "(bytes=)?[0-9]{0,20}-?[0-9]{0,20}", size in any::<u64>()) {
            if let Wanted::Part { start, end } = wanted(Some(&header), size) {
                prop_assert!(start < end && end <= size);
            }
        }

        #[test]
        fn a_chunk_is_read_as_it_was_written(start in any::<u32>(), length in 1_u32..) {
            let end = u64::from(start) + u64::from(length) - 1;
            let range = ChunkRange::parse(&format!("{start}-{end}")).unwrap();
            prop_assert_eq!((range.start, range.length()), (u64::from(start), u64::from(length)));
        }
    }
}
