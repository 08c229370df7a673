//! One page of records, packed: every record a length and then its fields, each with a tag and a length of its own, so that a reader
//! can pass over fields that it does not know. Little endian. The fields are those of `record` in `wit/1.0.0/types.wit`.
//!
//! ```text
//! page   = record*
//! record = u32 (length of what follows) field*
//! field  = u8 (tag) u32 (length) bytes
//! ```
//!
//! Compiled into the guest as well.

use std::fmt;

const STREAM: u8 = 1;
const KEY: u8 = 2;
/// One byte: 0 is an upsert, 1 a delete.
const OPERATION: u8 = 3;
const PAYLOAD: u8 = 4;
const BEFORE: u8 = 5;
/// Eight bytes, milliseconds.
const EVENT_TIME: u8 = 6;
const SOURCE_VERSION: u8 = 7;
/// One for each pair: u32 (length of the key), key, value.
const ATTRIBUTE: u8 = 8;

/// A record whose texts stay where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View<'a> {
    /// As in the contract.
    pub stream: &'a str,
    /// As in the contract.
    pub key: &'a str,
    /// Whether the operation is a delete; otherwise an upsert.
    pub delete: bool,
    /// As in the contract.
    pub payload: &'a str,
    /// As in the contract.
    pub before: Option<&'a str>,
    /// As in the contract.
    pub event_time: Option<u64>,
    /// As in the contract.
    pub source_version: &'a str,
    /// As in the contract.
    pub attributes: Vec<(&'a str, &'a str)>,
}

/// Why a page cannot be read. What is here would have to be told to a plugin's author, who sees no type checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A length goes beyond the end.
    Truncated,
    /// A text is not UTF-8.
    NotUtf8,
    /// A field of fixed size has another one, or an operation that there is not.
    BadField,
    /// A field that every record has is not there.
    Missing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the page ends within a record",
            Self::NotUtf8 => "a text in the page is not UTF-8",
            Self::BadField => "a field in the page has no valid value",
            Self::Missing => "a record in the page lacks a field",
        })
    }
}

impl std::error::Error for Fault {}

/// Appends a record.
///
/// # Panics
/// If a field has 4 GiB or more, which no 32-bit guest can hold.
pub fn write(record: &View<'_>, page: &mut Vec<u8>) {
    let start = page.len();
    page.extend([0; 4]);
    field(page, STREAM, record.stream.as_bytes());
    field(page, KEY, record.key.as_bytes());
    field(page, OPERATION, &[u8::from(record.delete)]);
    field(page, PAYLOAD, record.payload.as_bytes());
    if let Some(before) = record.before {
        field(page, BEFORE, before.as_bytes());
    }
    if let Some(time) = record.event_time {
        field(page, EVENT_TIME, &time.to_le_bytes());
    }
    field(page, SOURCE_VERSION, record.source_version.as_bytes());
    for (key, value) in &record.attributes {
        page.push(ATTRIBUTE);
        page.extend(length(4 + key.len() + value.len()));
        page.extend(length(key.len()));
        page.extend(key.as_bytes());
        page.extend(value.as_bytes());
    }
    let bytes = length(page.len() - start - 4);
    page[start..start + 4].copy_from_slice(&bytes);
}

fn field(page: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    page.push(tag);
    page.extend(length(bytes.len()));
    page.extend(bytes);
}

fn length(bytes: usize) -> [u8; 4] {
    let Ok(bytes) = u32::try_from(bytes) else {
        unreachable!("a field of 4 GiB")
    };
    bytes.to_le_bytes()
}

/// The records of a page, in order. Ends with the first fault.
pub fn read(page: &[u8]) -> impl Iterator<Item = Result<View<'_>, Fault>> {
    let mut rest = page;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = sized(&mut rest).and_then(view);
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn view(mut fields: &[u8]) -> Result<View<'_>, Fault> {
    let mut view = View::default();
    let mut seen = 0_u16;
    while let Some((tag, rest)) = fields.split_first() {
        fields = rest;
        let bytes = sized(&mut fields)?;
        match *tag {
            STREAM => view.stream = text(bytes)?,
            KEY => view.key = text(bytes)?,
            OPERATION => {
                view.delete = match bytes {
                    [0] => false,
                    [1] => true,
                    _ => return Err(Fault::BadField),
                };
            }
            PAYLOAD => view.payload = text(bytes)?,
            BEFORE => view.before = Some(text(bytes)?),
            EVENT_TIME => {
                let time = bytes.try_into().map_err(|_| Fault::BadField)?;
                view.event_time = Some(u64::from_le_bytes(time));
            }
            SOURCE_VERSION => view.source_version = text(bytes)?,
            ATTRIBUTE => {
                let mut pair = bytes;
                let key = text(sized(&mut pair)?)?;
                view.attributes.push((key, text(pair)?));
            }
            _ => continue,
        }
        seen |= 1 << *tag;
    }
    let all = 1 << STREAM | 1 << KEY | 1 << OPERATION | 1 << PAYLOAD | 1 << SOURCE_VERSION;
    if seen & all == all {
        Ok(view)
    } else {
        Err(Fault::Missing)
    }
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let (length, behind) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Fault::Truncated)?;
    let (bytes, behind) = behind.split_at_checked(length).ok_or(Fault::Truncated)?;
    *rest = behind;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> View<'static> {
        View {
            stream: "orders",
            key: "1",
            delete: true,
            payload: "{}",
            before: Some(r#"{"a":"ü"}"#),
            event_time: Some(7),
            source_version: "0001",
            attributes: vec![("a", "b"), ("", "")],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let plain = View {
            before: None,
            event_time: None,
            attributes: Vec::new(),
            ..sample()
        };
        let mut page = Vec::new();
        write(&sample(), &mut page);
        write(&plain, &mut page);
        assert_eq!(
            read(&page).collect::<Result<Vec<_>, _>>(),
            Ok(vec![sample(), plain])
        );
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let mut page = Vec::new();
        write(&sample(), &mut page);
        field(&mut page, 99, b"later");
        let longer = length(page.len() - 4);
        page[..4].copy_from_slice(&longer);
        assert_eq!(read(&page).next(), Some(Ok(sample())));
    }

    #[test]
    fn broken_pages_are_faults() {
        let mut page = Vec::new();
        write(&sample(), &mut page);
        for end in 1..page.len() {
            let records: Vec<_> = read(&page[..end]).collect();
            assert_eq!(records, [Err(Fault::Truncated)], "cut at {end}");
        }
        assert_eq!(read(&[0; 4]).next(), Some(Err(Fault::Missing)));
        let at = page.windows(6).position(|window| window == b"orders").unwrap();
        page[at] = 0xff;
        assert_eq!(read(&page).next(), Some(Err(Fault::NotUtf8)));
    }
}
