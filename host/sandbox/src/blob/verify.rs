//! A whole blob as it is handed on to others: hashed on its way, and its last piece waits for the outcome, so that what is damaged never
//! arrives complete.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use stecker_model::Digest;

use super::{BlobError, BlobStore, BlobStream, intake};

struct Reading {
    digest: Digest,
    size: u64,
    pieces: BlobStream,
    hash: Sha256,
    seen: u64,
    held: Option<Bytes>,
}

/// All of a blob of that size.
pub(crate) fn whole(store: Arc<dyn BlobStore>, digest: Digest, size: u64) -> BlobStream {
    let begin = async move {
        let pieces = store.read(&digest, 0..size).await?;
        Ok::<_, BlobError>(stream::try_unfold(
            Some(Reading {
                digest,
                size,
                pieces,
                hash: Sha256::new(),
                seen: 0,
                held: None,
            }),
            next,
        ))
    };
    stream::once(begin)
        .flat_map(|begun| match begun {
            Ok(pieces) => pieces.boxed(),
            Err(error) => stream::once(async move { Err(error) }).boxed(),
        })
        .boxed()
}

async fn next(reading: Option<Reading>) -> Result<Option<(Bytes, Option<Reading>)>, BlobError> {
    let Some(mut reading) = reading else {
        return Ok(None);
    };
    while let Some(piece) = reading.pieces.next().await {
        let piece = piece?;
        reading.seen = reading
            .seen
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if reading.seen > reading.size {
            return Err(BlobError::Damaged {
                digest: reading.digest,
            });
        }
        reading.hash.update(&piece);
        if let Some(before) = reading.held.replace(piece) {
            return Ok(Some((before, Some(reading))));
        }
    }
    if reading.seen != reading.size || intake::of(reading.hash) != reading.digest {
        return Err(BlobError::Damaged {
            digest: reading.digest,
        });
    }
    Ok(reading.held.map(|last| (last, None)))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use async_trait::async_trait;
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::blob::{BlobQuota, BlobWriter};

    /// Hands out these pieces, whatever is asked for.
    struct Pieces(Vec<Result<&'static [u8], BlobError>>);

    #[async_trait]
    impl BlobStore for Pieces {
        async fn size(&self, _: &Digest) -> Result<Option<u64>, BlobError> {
            Ok(None)
        }

        async fn read(&self, _: &Digest, _: Range<u64>) -> Result<BlobStream, BlobError> {
            let pieces = self.0.clone().into_iter();
            Ok(stream::iter(pieces.map(|piece| piece.map(Bytes::from_static))).boxed())
        }

        async fn begin(&self, _: BlobQuota) -> Result<Box<dyn BlobWriter>, BlobError> {
            unreachable!("nothing is written")
        }
    }

    /// What arrived before the end, and how it ended.
    async fn read(pieces: &[&'static [u8]], size: u64) -> (Vec<u8>, Result<(), BlobError>) {
        let mut hash = Sha256::new();
        hash.update(b"abcdef");
        let store = Pieces(pieces.iter().map(|piece| Ok(*piece)).collect());
        let mut stream = whole(Arc::new(store), intake::of(hash), size);
        let mut arrived = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(piece)) => arrived.extend_from_slice(&piece),
                Ok(None) => return (arrived, Ok(())),
                Err(error) => return (arrived, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn what_is_whole_arrives_and_what_is_damaged_never_does_completely() {
        for pieces in [&[&b"abcdef"[..]][..], &[b"ab", b"", b"cd", b"ef"]] {
            let (arrived, ended) = read(pieces, 6).await;
            assert_eq!((arrived.as_slice(), ended), (&b"abcdef"[..], Ok(())));
        }
        for (pieces, size, most) in [
            (&[&b"abc"[..], b"deX"][..], 6, 3),
            (&[b"abc"], 6, 0),
            (&[b"abc", b"def", b"g"], 6, 3),
            (&[], 6, 0),
            (&[b"abcdef"], 7, 0),
        ] {
            let (arrived, ended) = read(pieces, size).await;
            assert!(
                matches!(ended, Err(BlobError::Damaged { .. })),
                "{pieces:?}: {ended:?}"
            );
            assert!(arrived.len() <= most, "{pieces:?}: {arrived:?} arrived");
        }
    }
}
