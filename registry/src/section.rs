//! The outermost framing of a WebAssembly file: an eight-byte header, then sections of one id byte, a LEB128 length and that many bytes
//! (core specification 3.0, section 5.5.2; components share the framing).
//!
//! Adding and removing custom sections needs no more than this, and a reader this small can be seen to stay within bounds.

use std::ops::Range;

/// The first four bytes of every WebAssembly file.
pub const MAGIC: [u8; 4] = *b"\0asm";
/// Magic, version and layer together.
pub const HEADER_LEN: usize = 8;
const CUSTOM: u8 = 0;

/// One section of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// Where it lies in the file, id and length included.
    pub range: Range<usize>,
    /// What it is; 0 is a custom section.
    pub id: u8,
    /// Its content; of a custom section, without the name.
    pub data: &'a [u8],
    /// The name of a custom section. Not valid UTF-8 counts as no name.
    pub name: Option<&'a str>,
}

/// The file ends inside of a section, or a length is no LEB128 number of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFraming {
    /// The file ends too early.
    #[error("the section at byte {offset} needs {needed} more bytes than there are")]
    Truncated {
        /// Where the section begins.
        offset: usize,
        /// How many bytes are missing, at least.
        needed: usize,
    },
    /// A length that is none.
    #[error("the section at byte {offset} has no valid length")]
    Length {
        /// Where the section begins.
        offset: usize,
    },
}

/// The sections after the header, in order.
///
/// # Errors
/// [`BadFraming`] if a section reaches beyond the end of the file.
pub fn sections(wasm: &[u8]) -> Result<Vec<Section<'_>>, BadFraming> {
    let mut found = Vec::new();
    let mut at = HEADER_LEN;
    if wasm.len() < HEADER_LEN {
        return Err(BadFraming::Truncated {
            offset: wasm.len(),
            needed: HEADER_LEN - wasm.len(),
        });
    }
    while let Some(&id) = wasm.get(at) {
        let (len, body) = read_len(wasm, at + 1, at)?;
        let end = body.saturating_add(len);
        let Some(content) = wasm.get(body..end) else {
            return Err(BadFraming::Truncated {
                offset: at,
                needed: end.saturating_sub(wasm.len()),
            });
        };
        let (name, data) = if id == CUSTOM {
            split_name(content)
        } else {
            (None, content)
        };
        found.push(Section {
            range: at..end,
            id,
            data,
            name,
        });
        at = end;
    }
    Ok(found)
}

/// A copy without the custom sections of the outermost level whose name `unwanted` answers to with `true`.
///
/// # Errors
/// [`BadFraming`] if the file's framing is broken.
pub fn without_custom_sections(wasm: &[u8], unwanted: impl Fn(&str) -> bool) -> Result<Vec<u8>, BadFraming> {
    let sections = sections(wasm)?;
    let mut kept = Vec::with_capacity(wasm.len());
    kept.extend(wasm.iter().take(HEADER_LEN));
    for section in sections {
        if !section.name.is_some_and(&unwanted) {
            kept.extend_from_slice(wasm.get(section.range).unwrap_or_default());
        }
    }
    Ok(kept)
}

/// Reads a LEB128 number of at most 32 bits; returns it and where it ends.
fn read_len(bytes: &[u8], mut at: usize, section: usize) -> Result<(usize, usize), BadFraming> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let Some(&byte) = bytes.get(at) else {
            return Err(BadFraming::Truncated {
                offset: section,
                needed: 1,
            });
        };
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| BadFraming::Length { offset: section })?;
            return Ok((usize::try_from(value).unwrap_or(usize::MAX), at));
        }
    }
    Err(BadFraming::Length { offset: section })
}

fn split_name(content: &[u8]) -> (Option<&str>, &[u8]) {
    let split = || {
        let (len, start) = read_len(content, 0, 0).ok()?;
        let end = start.checked_add(len)?;
        Some((
            std::str::from_utf8(content.get(start..end)?).ok()?,
            content.get(end..)?,
        ))
    };
    split().map_or((None, content), |(name, data)| (Some(name), data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for (name, data) in sections {
            let custom = wasm_encoder::CustomSection {
                name: (*name).into(),
                data: (*data).into(),
            };
            wasm_encoder::ComponentSection::append_to_component(&custom, &mut wasm);
        }
        wasm
    }

    #[test]
    fn removes_only_the_unwanted() {
        let wasm = file(&[
            ("name", b"n"),
            (".debug_info", &[7; 300]),
            ("producers", b"p"),
            (".debug_line", b""),
        ]);
        let kept = without_custom_sections(&wasm, |name| name.starts_with(".debug_")).unwrap();
        assert_eq!(kept, file(&[("name", b"n"), ("producers", b"p")]));
    }

    #[test]
    fn a_cut_file_is_seen_wherever_it_is_cut() {
        let wasm = file(&[("name", &[1; 200])]);
        for len in 0..wasm.len() {
            let read = sections(&wasm[..len]);
            assert_eq!(read.is_ok(), len == HEADER_LEN, "cut at {len}: {read:?}");
        }
    }
}
