//! What guests say of what their systems hold is checked before it is compared with anything.

use std::collections::HashSet;

use stecker_model::{Bucket, Fingerprint, KeyRange, ListedKey, Listing, point};

use crate::{
    check::{MAX_CURSOR, MAX_KEY, MAX_SOURCE_VERSION, RawBucket, RawEntry, RawListing, broken, shown},
    error::CallError,
};

/// Bytes of an id at the destination.
const MAX_EXTERNAL_ID: usize = 1_024;

pub(crate) fn buckets(raw: Vec<RawBucket>, expected: usize) -> Result<Vec<Bucket>, CallError> {
    if raw.len() != expected {
        return broken(format!(
            "`reconcile.digest` returned {} buckets; {expected} were asked for",
            raw.len()
        ));
    }
    raw.into_iter()
        .enumerate()
        .map(|(i, bucket)| {
            let Ok(sum) = Fingerprint::try_from(bucket.sum.as_slice()) else {
                return broken(format!(
                    "the sum of bucket {i} has {} bytes; it has to have 32",
                    bucket.sum.len()
                ));
            };
            if bucket.count == 0 && sum != [0; 32] {
                return broken(format!("bucket {i} holds nothing, and its sum is not zero"));
            }
            Ok(Bucket {
                count: bucket.count,
                sum,
            })
        })
        .collect()
}

pub(crate) fn listing(
    raw: RawListing,
    ranges: &[KeyRange],
    asked: Option<&str>,
    limit: u32,
) -> Result<Listing, CallError> {
    if raw.entries.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        return broken(format!(
            "`reconcile.list-keys` returned {} entries; at most {limit} were asked for",
            raw.entries.len()
        ));
    }
    if raw.next.as_ref().is_some_and(|next| next.len() > MAX_CURSOR) {
        return broken(format!(
            "`reconcile.list-keys` returned a cursor of more than {MAX_CURSOR} bytes"
        ));
    }
    // Asked again with the same cursor, it would give the same page for ever.
    if raw.next.is_some() && raw.next.as_deref() == asked {
        return broken(
            "`reconcile.list-keys` says that there is more, but its cursor has not moved on".to_owned(),
        );
    }
    let mut seen = HashSet::with_capacity(raw.entries.len());
    let mut entries = Vec::with_capacity(raw.entries.len());
    for raw in raw.entries {
        let entry = entry(raw, ranges)?;
        if !seen.insert(entry.key.clone()) {
            return broken(format!(
                "`reconcile.list-keys` returned the key `{}` twice",
                shown(&entry.key)
            ));
        }
        entries.push(entry);
    }
    Ok(Listing {
        entries,
        next: raw.next,
    })
}

fn entry(raw: RawEntry, ranges: &[KeyRange]) -> Result<ListedKey, CallError> {
    let of = shown(&raw.key);
    if !(1..=MAX_KEY).contains(&raw.key.len()) {
        return broken(format!(
            "`reconcile.list-keys` returned a key of {} bytes; it has to have 1 to {MAX_KEY}",
            raw.key.len()
        ));
    }
    let at = point(&raw.key);
    if !ranges.iter().any(|range| range.contains(at)) {
        return broken(format!(
            "`reconcile.list-keys` returned the key `{of}`, which is in none of the asked ranges"
        ));
    }
    let Ok(digest) = Fingerprint::try_from(raw.digest.as_slice()) else {
        return broken(format!(
            "the digest of the key `{of}` has {} bytes; it has to have 32",
            raw.digest.len()
        ));
    };
    if raw.copies == 0 {
        return broken(format!("the key `{of}` is listed with no copies"));
    }
    let too_long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.len() > most);
    if too_long(&raw.external_id, MAX_EXTERNAL_ID) || too_long(&raw.source_version, MAX_SOURCE_VERSION) {
        return broken(format!(
            "the key `{of}` has an id of more than {MAX_EXTERNAL_ID} bytes, or a source-version of more than {MAX_SOURCE_VERSION}"
        ));
    }
    Ok(ListedKey {
        key: raw.key,
        digest,
        copies: raw.copies,
        external_id: raw.external_id,
        source_version: raw.source_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(key: &str) -> RawEntry {
        RawEntry {
            key: key.to_owned(),
            digest: vec![1; 32],
            copies: 1,
            external_id: None,
            source_version: None,
        }
    }

    fn of(entries: Vec<RawEntry>, next: Option<&str>) -> RawListing {
        RawListing {
            entries,
            next: next.map(str::to_owned),
        }
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, CallError>, because: &str) {
        match result {
            Err(CallError::Contract { message }) => assert!(message.contains(because), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn buckets_are_as_many_as_asked_for_and_make_sense() {
        let bucket = |count, sum: Vec<u8>| RawBucket { count, sum };
        assert!(buckets(vec![bucket(0, vec![0; 32]), bucket(3, vec![7; 32])], 2).is_ok());
        refused(buckets(vec![bucket(0, vec![0; 32])], 2), "1 buckets; 2 were");
        refused(buckets(vec![bucket(1, vec![0; 31])], 1), "31 bytes");
        refused(buckets(vec![bucket(0, vec![1; 32])], 1), "holds nothing");
    }

    #[test]
    fn listings_keep_to_what_was_asked() {
        let all = [KeyRange::ALL];
        assert!(listing(of(vec![good("a"), good("b")], Some("2")), &all, Some("1"), 2).is_ok());
        refused(
            listing(of(vec![good("a"), good("b")], None), &all, None, 1),
            "2 entries; at most 1",
        );
        refused(listing(of(vec![], Some("1")), &all, Some("1"), 5), "not moved on");
        refused(
            listing(of(vec![good("a"), good("a")], None), &all, None, 5),
            "the key `a` twice",
        );
        refused(listing(of(vec![good("")], None), &all, None, 5), "0 bytes");
        let elsewhere = KeyRange::ALL
            .parts(1)
            .find(|range| !range.contains(point("a")))
            .unwrap();
        refused(
            listing(of(vec![good("a")], None), &[elsewhere], None, 5),
            "none of the asked ranges",
        );
        let short = RawEntry {
            digest: vec![0; 4],
            ..good("a")
        };
        refused(listing(of(vec![short], None), &all, None, 5), "4 bytes");
        let none = RawEntry {
            copies: 0,
            ..good("a")
        };
        refused(listing(of(vec![none], None), &all, None, 5), "no copies");
        let long = "x".repeat(MAX_CURSOR + 1);
        refused(
            listing(of(vec![], Some(&long)), &all, None, 5),
            "a cursor of more",
        );
    }
}
