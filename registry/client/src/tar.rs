//! As much of tar archives as image layouts need (POSIX.1-2024, pax, "ustar Interchange Format"): plain files with short names. What else an archive has
//! is passed over: nothing of it is ever written to a disk.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
};

const BLOCK: usize = 512;
/// Entries that are looked at, at most.
const ENTRIES: usize = 10_000;
/// Bytes of all files that are kept, at most.
const KEPT: u64 = 256 * 1024 * 1024;
/// Bytes of the whole, at most.
const WHOLE: u64 = 1024 * 1024 * 1024;

/// An archive of these files. Names have at most 99 bytes. The same files become the same bytes: there is no time in it, and no owner.
pub(crate) fn write(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| {
            for (place, byte) in header.iter_mut().skip(at).zip(text) {
                *place = *byte;
            }
        };
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", bytes.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
            *place = byte;
        }
        out.extend_from_slice(&header);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// The plain files whose names are wanted. Of two with the same name the first counts.
///
/// # Errors
/// It is no archive, breaks off, or is beyond the bounds.
pub(crate) fn read(
    mut archive: impl Read,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<HashMap<String, Vec<u8>>> {
    let bad = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let mut files = HashMap::new();
    let (mut kept, mut all) = (0_u64, 0_u64);
    for _ in 0..ENTRIES {
        let mut header = [0_u8; BLOCK];
        archive.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(files);
        }
        let field = |at: usize, length: usize| header.get(at..at + length).unwrap_or_default();
        if !field(257, 5).starts_with(b"ustar") {
            return Err(bad("it is no tar archive"));
        }
        let size = octal(field(124, 12)).ok_or_else(|| bad("the size of an entry cannot be read"))?;
        let padded = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        all = all.saturating_add(padded);
        if all > WHOLE {
            return Err(bad("the archive is larger than what is taken"));
        }
        let prefix = text(field(345, 155));
        let name = text(field(0, 100)).unwrap_or_default();
        let name = name.strip_prefix("./").unwrap_or(name);
        let is_plain = matches!(field(156, 1), b"0" | b"\0") && prefix == Some("");
        let mut body = archive.by_ref().take(padded);
        if is_plain && wanted(name) && !files.contains_key(name) {
            kept += size;
            if kept > KEPT {
                return Err(bad("there is more in the archive than what is taken"));
            }
            let mut bytes = Vec::new();
            body.by_ref().take(size).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != size {
                return Err(bad("the archive breaks off"));
            }
            files.insert(name.to_owned(), bytes);
        }
        io::copy(&mut body, &mut io::sink())?;
    }
    Err(bad("there are more entries in the archive than are looked at"))
}

/// A text that ends with the first zero.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(field.get(..end)?).ok()
}

fn octal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(text(field)?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        write(
            &files
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
                .collect(),
        )
    }

    #[test]
    fn what_was_written_is_read_and_nothing_that_was_not_asked_for() {
        let long = vec![7; 1_500];
        let bytes = archive(&[("a", b""), ("b", b"x"), ("c/d", &long), ("../e", b"no")]);
        assert_eq!(bytes.len() % BLOCK, 0);
        let read = read(&*bytes, |name| name != "../e").unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!(read["c/d"], long);
    }

    #[test]
    fn what_is_no_plain_file_is_passed_over() {
        let mut bytes = archive(&[("index.json", b"x")]);
        // A symbolic link.
        bytes[156] = b'2';
        assert!(read(&*bytes, |_| true).unwrap().is_empty());
    }

    #[test]
    fn what_breaks_off_or_has_no_end_is_refused() {
        let bytes = archive(&[("index.json", &[1; 600])]);
        for length in [0, 100, 512, 700, 1_536] {
            assert!(read(&bytes[..length], |_| true).is_err(), "{length}");
        }
        let mut huge = archive(&[("index.json", b"x")]);
        huge[124..135].copy_from_slice(b"77777777777");
        assert!(read(io::Cursor::new(huge).chain(io::repeat(0)), |_| true).is_err());
        let entry = archive(&[("index.json", b"")]);
        let endless = entry[..BLOCK].repeat(ENTRIES + 1);
        assert!(read(&*endless, |_| true).is_err());
        assert!(read(&b"PK\x03\x04".repeat(200)[..], |_| true).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000), at in 0_usize..600, to in any::<u8>()) {
            let _ = read(&*bytes, |_| true);
            let mut changed = archive(&[("index.json", b"{}")]);
            changed[at] = to;
            let _ = read(&*changed, |_| true);
        }
    }
}
