//! Blobs: what stays with the host and is only named by guests. Who may and how much is decided in [`room`](crate::blob::room), for every way
//! in and out.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use stecker_model::{Attributes, Digest, ErrorCode, PluginError};

use crate::{
    blob::{
        Stored,
        intake::Intake,
        room::{Access, Fault, Room},
    },
    call::{Caller, DeadlinePassed},
    capability::http,
    egress::{
        HttpRequest, HttpResponse, ResponseBudget,
        body::{Piece, Pieces},
        scrub::Watch,
        sink::Sink,
    },
};

/// Of one `read`.
const MAX_READ: u32 = 1 << 20;
/// Of one `write`: what is larger comes from another system, and goes through `http-blobs`.
const MAX_WRITE: usize = 8 << 20;
/// Of one body.
const MAX_PIECES: usize = 64;
/// For one operation that is not a request: a file system that takes longer is in trouble, and an instance that waits for it is missing
/// elsewhere.
const OPERATION: Duration = Duration::from_secs(10);

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

/// A part of a body, as a guest names it.
#[derive(Debug)]
pub(crate) enum NamedPiece {
    Bytes(Vec<u8>),
    Blob(String),
}

/// Where an answer goes, as a guest says it.
#[derive(Debug)]
pub(crate) struct WantedSink {
    pub(crate) max_bytes: u64,
    pub(crate) digest: Option<String>,
}

pub(crate) async fn stat(caller: &Caller, digest: &str) -> Answer<Option<Stored>> {
    let (room, digest) = match allowed(caller).and_then(|room| Ok((room, parse(digest)?))) {
        Ok(allowed) => allowed,
        Err(error) => return Ok(Err(error)),
    };
    let size = within(caller, room, async {
        Ok::<_, Fault>(caller.bound.binding.blobs.size(&digest).await?)
    });
    Ok(size.await?.map(|size| size.map(|size| Stored { digest, size })))
}

pub(crate) async fn read(caller: &Caller, digest: &str, offset: u64, len: u32) -> Answer<Vec<u8>> {
    let (room, digest) = match allowed(caller).and_then(|room| Ok((room, parse(digest)?))) {
        Ok(allowed) => allowed,
        Err(error) => return Ok(Err(error)),
    };
    let len = len.clamp(1, MAX_READ);
    let end = offset.saturating_add(len.into());
    within(caller, room, async {
        let mut pieces = caller.bound.binding.blobs.read(&digest, offset..end).await?;
        let (mut bytes, len) = (Vec::new(), usize::try_from(len).unwrap_or(usize::MAX));
        while let Some(piece) = pieces.try_next().await? {
            let rest = len.saturating_sub(bytes.len());
            bytes.extend_from_slice(piece.get(..rest).unwrap_or(&piece));
        }
        // What another connection put there was searched for that one's secrets, and not for this one's.
        if caller.bound.scrubber.watch().sees(&bytes) {
            return Err(Fault::Secret);
        }
        Ok(bytes)
    })
    .await
}

pub(crate) async fn write(caller: &Caller, bytes: Vec<u8>, options: &Attributes) -> Answer<Stored> {
    let fits = |room| {
        if bytes.len() > MAX_WRITE {
            return Err(unsupported(format!(
                "`write` takes {MAX_WRITE} bytes, and these are {}; what is larger goes into a blob with `http-blobs`",
                bytes.len()
            )));
        }
        let digest = options.iter().rev().find(|(name, _)| name == "digest");
        let digest = digest.map(|(_, digest)| parse(digest)).transpose()?;
        Ok((room, digest))
    };
    let (room, digest) = match allowed(caller).and_then(fits) {
        Ok(allowed) => allowed,
        Err(error) => return Ok(Err(error)),
    };
    within(caller, room, async {
        let writer = caller.bound.binding.blobs.begin(room.quota()).await?;
        // Its own bytes hold no secrets.
        let mut intake = Intake::new(writer, room.max_blob_bytes(), None, Watch::nothing());
        intake.expect(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        intake.push(Bytes::from(bytes)).await?;
        intake.finish(digest.as_ref()).await
    })
    .await
}

/// A request whose body comes out of blobs, or whose answer becomes one.
pub(crate) async fn exchange(
    caller: &Caller,
    request: HttpRequest,
    body: Vec<NamedPiece>,
    sink: Option<WantedSink>,
) -> Answer<(HttpResponse, Option<Stored>)> {
    let prepare = |room| {
        let digest = sink.as_ref().and_then(|sink| sink.digest.as_deref());
        Ok((room, named(body)?, digest.map(parse).transpose()?))
    };
    let (room, pieces, digest) = match allowed(caller).and_then(prepare) {
        Ok(allowed) => allowed,
        Err(error) => return Ok(Err(error.with_detail("sent", "no"))),
    };
    let pieces = match within(caller, room, found(caller, room, pieces)).await? {
        Ok(pieces) => pieces,
        Err(error) => return Ok(Err(error.with_detail("sent", "no"))),
    };
    let sink = sink.map(|sink| Sink {
        store: &caller.bound.binding.blobs,
        room,
        max: sink.max_bytes,
        digest: digest.as_ref(),
    });
    let budget = ResponseBudget::for_guest(caller.bound.memory_limit);
    let sent = caller
        .bound
        .egress
        .exchange(request, pieces, sink, http::exchange_of(caller, &budget));
    Ok(sent.await.map_err(|failure| http::told(caller, failure)))
}

enum Asked {
    Bytes(Bytes),
    Blob(Digest),
}

fn named(body: Vec<NamedPiece>) -> Result<Vec<Asked>, PluginError> {
    if body.len() > MAX_PIECES {
        return Err(unsupported(format!(
            "a body may have {MAX_PIECES} pieces, and this one has {}",
            body.len()
        )));
    }
    let pieces = body.into_iter().map(|piece| match piece {
        NamedPiece::Bytes(bytes) => Ok(Asked::Bytes(Bytes::from(bytes))),
        NamedPiece::Blob(digest) => parse(&digest).map(Asked::Blob),
    });
    pieces.collect()
}

/// The pieces with their sizes: a body's length is sent ahead of it. None: there are none.
async fn found(caller: &Caller, room: &Room, asked: Vec<Asked>) -> Result<Option<Arc<Pieces>>, Fault> {
    if asked.is_empty() {
        return Ok(None);
    }
    let store = &caller.bound.binding.blobs;
    let (mut pieces, mut in_blobs) = (Vec::with_capacity(asked.len()), 0_u64);
    for piece in asked {
        pieces.push(match piece {
            Asked::Bytes(bytes) => Piece::Bytes(bytes),
            Asked::Blob(digest) => {
                let size = store.size(&digest).await?;
                let size = size.ok_or_else(|| Fault::missing(&digest))?;
                in_blobs = in_blobs.saturating_add(size);
                Piece::Blob { digest, size }
            }
        });
    }
    if in_blobs > room.max_blob_bytes() {
        return Err(Fault::TooLarge { needed: in_blobs });
    }
    Ok(Some(Arc::new(Pieces::new(pieces, Arc::clone(store)))))
}

/// Whether there are blobs, and whether they are not used too often.
fn allowed(caller: &Caller) -> Result<&Room, PluginError> {
    let observer = &*caller.bound.binding.observer;
    match &caller.bound.blobs {
        Access::Refused(denial) => Err(http::denied(observer, denial.clone())),
        Access::Granted(room) => match room.admit(Instant::now()) {
            Ok(()) => Ok(room),
            Err(denial) => {
                let mut error = http::denied(observer, denial);
                // A denial of its kind for the operator; for the guest it passes by itself.
                ErrorCode::RateLimited.as_str().clone_into(&mut error.code);
                error.retry_after_ms = Some(1_000);
                Err(error)
            }
        },
    }
}

/// Nothing but a digest ever gets to where blobs are.
fn parse(digest: &str) -> Result<Digest, PluginError> {
    digest.parse().map_err(|_| {
        let shown: String = digest.chars().take(100).collect();
        unsupported(format!(
            "{shown:?} is not the digest of a blob: that is `sha256:` and 64 hexadecimal digits in lower case"
        ))
    })
}

fn unsupported(message: String) -> PluginError {
    PluginError::new(ErrorCode::Unsupported, message)
}

async fn within<T>(
    caller: &Caller,
    room: &Room,
    operation: impl Future<Output = Result<T, Fault>> + Send,
) -> Answer<T> {
    let remaining = caller.remaining();
    match tokio::time::timeout(remaining.min(OPERATION), operation).await {
        Err(_elapsed) if remaining > OPERATION => Ok(Err(PluginError::new(
            ErrorCode::Transient,
            format!("blobs did not answer within {} s; try again", OPERATION.as_secs()),
        ))),
        Err(_elapsed) => Err(wasmtime::Error::new(DeadlinePassed)),
        Ok(answer) => Ok(answer.map_err(|fault| http::told(caller, room.failure(fault)))),
    }
}
