//! What a request carries: nothing, bytes, or pieces that are read while they are sent, so that a blob of any size is never in memory.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream as _, StreamExt as _, stream};
use http_body::{Frame, SizeHint};
use stecker_model::Digest;

use crate::blob::{BlobError, BlobStore, BlobStream, verify};

/// A body. A clone is the same body once more: it may be sent again, after a redirect or with another token.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    #[default]
    None,
    Bytes(Bytes),
    Pieces(Arc<Pieces>),
}

/// One after the other.
pub(crate) struct Pieces {
    pieces: Vec<Piece>,
    len: u64,
    store: Arc<dyn BlobStore>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Bytes),
    Blob { digest: Digest, size: u64 },
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => length(bytes),
            Self::Blob { size, .. } => *size,
        }
    }
}

impl Pieces {
    pub(crate) fn new(pieces: Vec<Piece>, store: Arc<dyn BlobStore>) -> Self {
        Self {
            len: pieces
                .iter()
                .fold(0, |sum, piece| sum.saturating_add(piece.len())),
            pieces,
            store,
        }
    }

    /// Bytes that came from the guest's memory.
    pub(super) fn inline(&self) -> u64 {
        let inline = self
            .pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Bytes(_)));
        inline.fold(0, |sum, piece| sum.saturating_add(piece.len()))
    }

    fn stream(&self) -> BlobStream {
        let store = Arc::clone(&self.store);
        stream::iter(self.pieces.clone())
            .flat_map(move |piece| match piece {
                Piece::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
                Piece::Blob { digest, size } => verify::whole(Arc::clone(&store), digest, size),
            })
            .boxed()
    }
}

impl Body {
    /// Bytes as they are sent.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => length(bytes),
            Self::Pieces(pieces) => pieces.len,
        }
    }

    /// The bytes, if they are in memory.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::None => Some(&[]),
            Self::Bytes(bytes) => Some(bytes),
            Self::Pieces(_) => None,
        }
    }

    pub(super) fn into_wire(self) -> Option<reqwest::Body> {
        match self {
            Self::None => None,
            Self::Bytes(bytes) => Some(bytes.into()),
            Self::Pieces(pieces) => Some(reqwest::Body::wrap(Wire {
                left: pieces.len,
                stream: Mutex::new(pieces.stream()),
            })),
        }
    }
}

/// Says its length ahead, which a mere stream does not: many systems want to know it.
struct Wire {
    /// Never locked: it only makes the stream one that threads may share, as the client wants it.
    stream: Mutex<BlobStream>,
    left: u64,
}

impl http_body::Body for Wire {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let piece = match Pin::new(stream).poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        if let Some(Ok(bytes)) = &piece {
            self.left = self.left.saturating_sub(length(bytes));
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
