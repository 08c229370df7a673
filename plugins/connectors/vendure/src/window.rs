//! Reading what changed, without losing anything, from lists that can only be paged by position.
//!
//! Three things are in the way. Many changes share one `updatedAt` (whole seconds on SQLite; one value for a bulk change
//! everywhere), so "later than the last one" skips some. Positions shift while the list is read, because a thing that changes
//! again moves to the end. And a second that is still running, or a transaction that is not committed yet, can put more things
//! in front of the place that was reached.
//!
//! So: the cursor is a moment that all that follows is strictly later than, a position in the list behind that moment, and
//! the id of what was last read there. Every request begins with that last thing. If something else is found in its place,
//! positions have shifted, and the list is read again from the moment on; the host recognises what it has. And nothing is read
//! before it is a few seconds old, when nothing can be put in front of it any more. For the same reason a time of change is
//! enough of a source version: of two changes within one second only the second is ever read.
//!
//! The position is never larger than the things that share one moment and one page together, and reading always moves on,
//! however many share it: things only ever leave a past second.

use stecker_sdk::prelude::*;
use stecker_sdk::{clock, time};

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// RFC 3339 with milliseconds; everything up to and including it was read.
    after: String,
    /// How many of the things behind it were read.
    skip: u32,
    /// The id of the last of these.
    last: Option<String>,
}

/// A thing in a list that is ordered by its last change.
pub(crate) trait Changing {
    fn id(&self) -> &str;
    /// RFC 3339.
    fn updated_at(&self) -> &str;
}

impl Cursor {
    fn beginning() -> Self {
        Self {
            after: time::rfc3339_from_millis(0),
            skip: 0,
            last: None,
        }
    }

    /// Behind these, which follow on each other from `self.skip` on.
    ///
    /// The moment moves up to just before the last group of things, if it is told apart from the one before by two
    /// milliseconds: databases with microseconds show milliseconds, so of neighbours it is not sure which is behind what.
    fn moved_on(&self, read: &[(u64, &str)]) -> Self {
        let gap = (1..read.len()).rev().find(|&i| read[i].0 >= read[i - 1].0 + 2);
        let count = |from: usize| u32::try_from(read.len() - from).unwrap_or(u32::MAX);
        Self {
            after: match gap {
                Some(i) => time::rfc3339_from_millis(read[i].0 - 1),
                None => self.after.clone(),
            },
            skip: match gap {
                Some(i) => count(i),
                None => self.skip.saturating_add(count(0)),
            },
            last: read.last().map(|(_, id)| (*id).to_owned()),
        }
    }
}

/// The page that the request asks for. `fetch` lists what changed after a moment, by `updatedAt` and id, from a position on and
/// at most so many; `record` makes a record of a thing, or none of one that is not wanted.
pub(crate) fn read<T: Changing>(
    request: &ReadRequest,
    most: u32,
    settle_ms: u64,
    fetch: impl Fn(&str, u32, u32) -> Result<Vec<T>>,
    record: impl Fn(&T) -> Result<Option<Record>>,
) -> Result<Page> {
    let settled = clock::now().saturating_sub(settle_ms);
    let start = request.cursor_as()?.unwrap_or_else(Cursor::beginning);
    let limit = request.limit(most);
    let (start, things) = continued(start, limit, fetch)?;

    let full = things.len() == limit as usize;
    let (mut running, mut cut) = (false, false);
    let mut budget = request.budget();
    let mut records = Vec::new();
    let mut read: Vec<(u64, &str)> = Vec::with_capacity(things.len());
    for thing in &things {
        let changed = changed_at(thing)?;
        if changed >= settled {
            running = true;
            break;
        }
        if let Some(record) = record(thing)? {
            if !budget.take(&record) {
                cut = true;
                break;
            }
            records.push(record);
        }
        read.push((changed, thing.id()));
    }
    let page = Page::new(records).more(!running && (cut || full));
    let page = if running {
        page.hint("retry-after-ms", settle_ms)
    } else {
        page
    };
    if read.is_empty() {
        return match &request.cursor {
            None => Ok(page),
            Some(_) => page.resume_at(&start),
        };
    }
    page.resume_at(&start.moved_on(&read))
}

/// What follows on the cursor, and the cursor that it really follows on: this one, or the beginning of its list where
/// positions have shifted.
fn continued<T>(
    start: Cursor,
    limit: u32,
    fetch: impl Fn(&str, u32, u32) -> Result<Vec<T>>,
) -> Result<(Cursor, Vec<T>)>
where
    T: Changing,
{
    if let (Some(last), true) = (&start.last, start.skip > 0) {
        let mut things = fetch(&start.after, start.skip - 1, limit + 1)?;
        if things.first().is_some_and(|first| first.id() == last) {
            things.remove(0);
            return Ok((start, things));
        }
    }
    let start = Cursor {
        skip: 0,
        last: None,
        ..start
    };
    let things = fetch(&start.after, 0, limit)?;
    Ok((start, things))
}

fn changed_at(thing: &impl Changing) -> Result<u64> {
    time::millis_from_rfc3339(thing.updated_at())
        .map_err(|error| Error::schema(format!("updatedAt of {}: {}", thing.id(), error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::time::Duration;
    use stecker_sdk::testing::TestHost;

    const SETTLE: u64 = 5_000;

    #[derive(Clone, Debug)]
    struct Thing {
        id: String,
        updated_at: String,
        change: u64,
    }

    impl Changing for Thing {
        fn id(&self) -> &str {
            &self.id
        }

        fn updated_at(&self) -> &str {
            &self.updated_at
        }
    }

    /// A list as the shop keeps it: by (whole second, id), one row per thing. Its values: (second, number of the change).
    #[derive(Default)]
    struct Shop {
        rows: RefCell<BTreeMap<u64, (u64, u64)>>,
        changes: Cell<u64>,
        requests: Cell<u64>,
    }

    impl Shop {
        fn change(&self, id: u64) {
            self.changes.set(self.changes.get() + 1);
            let second = clock::now() / 1_000;
            self.rows.borrow_mut().insert(id, (second, self.changes.get()));
        }

        fn list(&self, after: &str, skip: u32, take: u32) -> Result<Vec<Thing>> {
            self.requests.set(self.requests.get() + 1);
            let after = time::millis_from_rfc3339(after)?;
            let mut rows: Vec<(u64, u64, u64)> = self
                .rows
                .borrow()
                .iter()
                .map(|(&id, &(second, change))| (second, id, change))
                .filter(|(second, _, _)| second * 1_000 > after)
                .collect();
            rows.sort_unstable();
            let rows = rows.into_iter().skip(skip as usize).take(take as usize);
            Ok(rows
                .map(|(second, id, change)| Thing {
                    id: id.to_string(),
                    updated_at: time::rfc3339_from_millis(second * 1_000),
                    change,
                })
                .collect())
        }

        fn page(&self, cursor: Option<String>, limit: u32) -> Page {
            let request = ReadRequest {
                stream: "things".to_owned(),
                cursor,
                max_records: limit,
                max_bytes: 1 << 20,
                deadline_ms: 1_000,
                options: Vec::new(),
            };
            read(
                &request,
                100,
                SETTLE,
                |after, skip, take| self.list(after, skip, take),
                |thing| {
                    let version = source_version::timestamp(&thing.updated_at)?;
                    Record::upsert("things", &thing.id, version, &thing.change).map(Some)
                },
            )
            .unwrap()
        }
    }

    fn dice(state: &mut u64, sides: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % sides
    }

    #[test]
    fn whatever_changes_while_it_is_read_nothing_is_lost() {
        for seed in 0..60 {
            let host = TestHost::new();
            let shop = Shop::default();
            let mut state = seed;
            // Many in one second, more than a page.
            for id in 0..40 {
                shop.change(id);
            }
            let limit = 1 + u32::try_from(dice(&mut state, 7)).unwrap();
            // What a host keeps: for each key and version the payload that came first, and the latest version.
            let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
            let mut cursor = None;
            let mut busy = 300;
            loop {
                let at_rest = busy == 0;
                if !at_rest {
                    busy -= 1;
                    host.advance(Duration::from_millis(dice(&mut state, 700)));
                    for _ in 0..dice(&mut state, 3) {
                        shop.change(dice(&mut state, 50));
                    }
                } else {
                    host.advance(Duration::from_secs(6));
                }
                let page = shop.page(cursor.clone(), limit);
                assert!(
                    page.records.is_empty() || page.cursor != cursor,
                    "seed {seed}: the cursor has to move on"
                );
                for record in page.records {
                    seen.entry((record.key, record.source_version))
                        .or_insert(record.payload);
                }
                cursor = page.cursor;
                if at_rest && !page.more {
                    break;
                }
            }
            let rows = shop.rows.borrow();
            for (id, (_, change)) in rows.iter() {
                let of_this = |((key, _), _): &(&(String, String), &String)| *key == id.to_string();
                let latest = seen
                    .iter()
                    .filter(of_this)
                    .max_by_key(|((_, version), _)| version);
                assert_eq!(
                    latest.map(|(_, payload)| payload.clone()),
                    Some(change.to_string()),
                    "seed {seed}, page size {limit}: the last change of {id}"
                );
            }
        }
    }

    #[test]
    fn a_list_at_rest_costs_one_request_and_brings_nothing_again() {
        let host = TestHost::new();
        let shop = Shop::default();
        (0..25).for_each(|id| shop.change(id));
        host.advance(Duration::from_secs(60));
        let mut cursor = None;
        let mut records = 0;
        loop {
            let page = shop.page(cursor, 10);
            records += page.records.len();
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        assert_eq!((records, shop.requests.get()), (25, 3));
        let again = shop.page(cursor.clone(), 10);
        assert!(again.records.is_empty() && !again.more);
        assert_eq!((again.cursor, shop.requests.get()), (cursor, 4));
    }

    #[test]
    fn neighbouring_milliseconds_are_not_taken_for_an_order() {
        let start = Cursor::beginning();
        let moved = start.moved_on(&[(5_000, "a"), (5_001, "b")]);
        assert_eq!((moved.after.as_str(), moved.skip), (start.after.as_str(), 2));
        let moved = moved.moved_on(&[(5_002, "c"), (9_000, "d"), (9_001, "e")]);
        assert_eq!(
            (moved.after.as_str(), moved.skip, moved.last.as_deref()),
            ("1970-01-01T00:00:08.999Z", 2, Some("e"))
        );
    }
}
