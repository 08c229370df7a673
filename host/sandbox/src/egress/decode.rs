//! Takes the content coding (RFC 9110, section 8.4) off an answer, into a buffer with bounds.
//!
//! The host decodes, not the guest: only then can an answer be searched for secrets, and only then do the bounds mean what the guest's
//! memory will hold. It goes chunk by chunk, and each piece of output is counted before it is kept, so that a bomb is stopped at the bound
//! and not after it.

use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::ResponseBudget;

/// What is asked for in every request; the guest has no say in it, except that it may ask for no coding at all.
pub(super) const ACCEPTED: &str = "gzip, br";
/// Beyond [`FREE`], an answer may be this many times larger than what came over the network. Tables of the same few words reach 30.
const MAX_RATIO: usize = 100;
const FREE: usize = 1 << 20;
const PIECE: usize = 16 << 10;
/// Room that is made at once because a header says so; a server may say anything.
const MAX_EXPECTED: usize = 1 << 20;

/// How an answer is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// With the zlib wrapper, as RFC 9110, section 8.4.1.2, has it.
    Deflate,
    Brotli,
    /// Not at all, or in a way that the host does not know and did not ask for: the bytes are handed on as they came.
    AsItIs,
}

/// Several codings on top of each other, which multiply their ratios, and which nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stacked;

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Stacked> {
        let mut coding = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            let names = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            for name in names.split(',').map(str::trim) {
                if name.is_empty() || name == "identity" {
                    continue;
                }
                let found = match name {
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    _ => Self::AsItIs,
                };
                if coding.replace(found).is_some() {
                    return Err(Stacked);
                }
            }
        }
        Ok(coding.unwrap_or(Self::AsItIs))
    }
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// More than there is room for.
    TooLarge,
    /// Much larger than what came over the network.
    Bomb,
    /// Not what its coding says, or cut off.
    Damaged,
}

/// Where the decoded bytes end up.
struct Sink<'a> {
    body: Vec<u8>,
    max: usize,
    budget: &'a ResponseBudget,
    received: usize,
    is_coded: bool,
    fault: Option<Fault>,
}

impl Sink<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let size = self.body.len().saturating_add(piece.len());
        let fault = if size > self.max || !self.budget.take(piece.len()) {
            Fault::TooLarge
        } else if self.is_coded && size > FREE && size / MAX_RATIO > self.received {
            Fault::Bomb
        } else {
            self.body.extend_from_slice(piece);
            return Ok(());
        };
        self.fault = Some(fault);
        Err(fault)
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.take(piece)
            .map(|()| piece.len())
            .map_err(|_| io::Error::other("the bounds are reached"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Brotli<'a> {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    piece: Box<[u8]>,
    sink: Sink<'a>,
    is_done: bool,
}

impl<'a> Brotli<'a> {
    fn new(sink: Sink<'a>) -> Self {
        let allocator = StandardAlloc::default;
        Self {
            // Strict: without the windows of up to 1 GiB that RFC 7932 does not know.
            state: Box::new(BrotliState::new_strict(allocator(), allocator(), allocator())),
            piece: vec![0; PIECE].into_boxed_slice(),
            sink,
            is_done: false,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        if self.is_done {
            return if chunk.is_empty() {
                Ok(())
            } else {
                Err(Fault::Damaged)
            };
        }
        let (mut available, mut offset, mut total) = (chunk.len(), 0, 0);
        loop {
            let (mut room, mut written) = (self.piece.len(), 0);
            let result = BrotliDecompressStream(
                &mut available,
                &mut offset,
                chunk,
                &mut room,
                &mut written,
                &mut self.piece,
                &mut total,
                &mut self.state,
            );
            self.sink.take(self.piece.get(..written).unwrap_or_default())?;
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultFailure => return Err(Fault::Damaged),
                BrotliResult::ResultSuccess => {
                    self.is_done = true;
                    return if available == 0 {
                        Ok(())
                    } else {
                        Err(Fault::Damaged)
                    };
                }
            }
        }
    }
}

/// Takes an answer's body piece by piece.
pub(super) struct Decoder<'a>(Inner<'a>);

enum Inner<'a> {
    AsItIs(Sink<'a>),
    Gzip(Box<MultiGzDecoder<Sink<'a>>>),
    Deflate(Box<ZlibDecoder<Sink<'a>>>),
    Brotli(Brotli<'a>),
}

impl<'a> Decoder<'a> {
    /// `max`: bytes after decoding, in addition to what the budget has left.
    pub(super) fn new(coding: Coding, max: usize, budget: &'a ResponseBudget) -> Self {
        let sink = Sink {
            body: Vec::new(),
            max,
            budget,
            received: 0,
            is_coded: coding != Coding::AsItIs,
            fault: None,
        };
        Self(match coding {
            Coding::AsItIs => Inner::AsItIs(sink),
            Coding::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Coding::Deflate => Inner::Deflate(Box::new(ZlibDecoder::new(sink))),
            Coding::Brotli => Inner::Brotli(Brotli::new(sink)),
        })
    }

    fn sink(&mut self) -> &mut Sink<'a> {
        match &mut self.0 {
            Inner::AsItIs(sink) => sink,
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Deflate(decoder) => decoder.get_mut(),
            Inner::Brotli(decoder) => &mut decoder.sink,
        }
    }

    /// So much is said to come, in one piece or many.
    pub(super) fn expect(&mut self, coded: u64) {
        let sink = self.sink();
        let most = MAX_EXPECTED.min(sink.max);
        sink.body
            .reserve_exact(usize::try_from(coded).map_or(most, |coded| coded.min(most)));
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let sink = self.sink();
        sink.received = sink.received.saturating_add(chunk.len());
        let written = match &mut self.0 {
            Inner::AsItIs(sink) => return sink.take(chunk),
            Inner::Brotli(decoder) => return decoder.push(chunk),
            Inner::Gzip(decoder) => decoder.write_all(chunk),
            Inner::Deflate(decoder) => decoder.write_all(chunk),
        };
        written.map_err(|_| self.fault())
    }

    /// The body, if it is complete. No body at all is complete as well: answers to HEAD say how they would be coded.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Fault> {
        if self.sink().received == 0 {
            return Ok(Vec::new());
        }
        let ended = match &mut self.0 {
            Inner::AsItIs(_) => Ok(()),
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
            Inner::Brotli(decoder) if decoder.is_done => Ok(()),
            Inner::Brotli(_) => return Err(Fault::Damaged),
        };
        match ended {
            Ok(()) => Ok(std::mem::take(&mut self.sink().body)),
            Err(_) => Err(self.fault()),
        }
    }

    /// A decoder only says that it failed; the sink knows whether the bounds were why.
    fn fault(&mut self) -> Fault {
        self.sink().fault.unwrap_or(Fault::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use reqwest::header::HeaderValue;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        {
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
            encoder.write_all(body).unwrap();
        }
        out
    }

    /// In chunks of `chunk` bytes; and how many bytes were kept when it ended.
    fn decode(coding: Coding, coded: &[u8], chunk: usize, max: usize) -> (Result<Vec<u8>, Fault>, usize) {
        let budget = ResponseBudget::of(usize::MAX);
        let mut decoder = Decoder::new(coding, max, &budget);
        for chunk in coded.chunks(chunk) {
            if let Err(fault) = decoder.push(chunk) {
                return (Err(fault), decoder.sink().body.len());
            }
        }
        let result = decoder.finish();
        let kept = result.as_ref().map_or(0, Vec::len);
        (result, kept)
    }

    #[test]
    fn what_was_coded_comes_back() {
        let body: Vec<u8> = (0..100_000_u32).flat_map(|i| (i % 251).to_be_bytes()).collect();
        for (coding, coded) in [
            (Coding::Gzip, gzip(&body)),
            (Coding::Deflate, zlib(&body)),
            (Coding::Brotli, brotli(&body)),
            (Coding::AsItIs, body.clone()),
            (Coding::Gzip, [gzip(&body[..1000]), gzip(&body[1000..])].concat()),
        ] {
            for chunk in [1, 1000, usize::MAX] {
                let (result, _) = decode(coding, &coded, chunk, body.len());
                assert!(result.unwrap() == body, "{coding:?} in chunks of {chunk}");
            }
            let (cut, _) = decode(coding, &coded[..coded.len() - 3], 1000, body.len());
            assert_eq!(cut.is_ok(), coding == Coding::AsItIs, "{coding:?} cut off");
            assert_eq!(
                decode(coding, &[], 1, 0).0,
                Ok(Vec::new()),
                "{coding:?} without a body"
            );
        }
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli] {
            let (result, _) = decode(coding, b"<html>this was never compressed</html>", 7, 1 << 20);
            assert_eq!(result, Err(Fault::Damaged), "{coding:?}");
        }
    }

    #[test]
    fn bombs_are_stopped_at_the_bound() {
        let zeros = vec![0; 64 << 20];
        for (coding, coded) in [
            (Coding::Gzip, gzip(&zeros)),
            (Coding::Deflate, zlib(&zeros)),
            (Coding::Brotli, brotli(&zeros)),
        ] {
            let (by_ratio, kept) = decode(coding, &coded, usize::MAX, usize::MAX);
            assert_eq!(by_ratio, Err(Fault::Bomb), "{coding:?}");
            assert!(
                kept <= FREE.max((coded.len() + 1) * MAX_RATIO),
                "{coding:?} kept {kept}"
            );
            let (by_size, kept) = decode(coding, &coded, 64, 1000);
            assert_eq!(by_size, Err(Fault::TooLarge), "{coding:?}");
            assert!(kept <= 1000, "{coding:?} kept {kept}");
        }
    }

    #[test]
    fn the_budget_is_shared() {
        let budget = ResponseBudget::of(1500);
        let coded = gzip(&[b'x'; 1000]);
        let mut first = Decoder::new(Coding::Gzip, 2000, &budget);
        first.push(&coded).unwrap();
        assert_eq!(first.finish().unwrap().len(), 1000);
        let mut second = Decoder::new(Coding::Gzip, 2000, &budget);
        let result = second.push(&coded).and_then(|()| second.finish());
        assert_eq!(result, Err(Fault::TooLarge));
    }

    #[test]
    fn codings_are_read_off_the_headers() {
        for (values, expected) in [
            (&[][..], Ok(Coding::AsItIs)),
            (&["gzip"], Ok(Coding::Gzip)),
            (&["X-GZIP"], Ok(Coding::Gzip)),
            (&["br"], Ok(Coding::Brotli)),
            (&["deflate"], Ok(Coding::Deflate)),
            (&["identity"], Ok(Coding::AsItIs)),
            (&["identity, gzip"], Ok(Coding::Gzip)),
            (&["zstd"], Ok(Coding::AsItIs)),
            (&["gzip, gzip"], Err(Stacked)),
            (&["gzip", "br"], Err(Stacked)),
            (&["zstd, gzip"], Err(Stacked)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(Coding::of(&headers), expected, "{values:?}");
        }
    }
}
