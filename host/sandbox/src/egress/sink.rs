//! Answers that become blobs: read piece by piece and written piece by piece, with the same clock as any other answer.

use std::sync::Arc;

use futures_util::StreamExt as _;
use stecker_model::{Digest, ErrorCode};
use tokio::time::{Instant, timeout_at};

use super::{
    Failure, HttpResponse,
    client::{self, Bounds, Traffic},
    maybe_sent,
    scrub::Scrubber,
};
use crate::blob::{
    BlobStore, Stored,
    intake::Intake,
    room::{Fault, Room},
};

/// Where the body of a successful answer goes.
#[derive(Clone, Copy)]
pub(crate) struct Sink<'a> {
    pub(crate) store: &'a Arc<dyn BlobStore>,
    pub(crate) room: &'a Room,
    /// Bytes that the guest wants to have at most.
    pub(crate) max: u64,
    /// What the bytes have to be, if the guest knows.
    pub(crate) digest: Option<&'a Digest>,
}

impl Sink<'_> {
    /// The rest of an answer, into a blob; the response has no body then.
    pub(super) async fn receive(
        self,
        response: reqwest::Response,
        bounds: Bounds<'_>,
        traffic: Traffic<'_>,
        scrubber: &Scrubber,
    ) -> Result<(HttpResponse, Stored), Failure> {
        let status = response.status().as_u16();
        // Only as it is can it be searched for secrets, and only then is its digest that of what others mean by it.
        if is_coded(&response) {
            return Err(maybe_sent(
                ErrorCode::Fatal,
                format!(
                    "the answer (status {status}) has a content coding, although none was asked for, and blobs are kept as they are. Ask the system \
                     for the thing itself, or get it without a sink"
                ),
            )
            .into());
        }
        let headers = client::for_guest(response.headers(), None);
        let announced = response.content_length();
        let refused = |fault: Fault| self.room.failure(fault).after_sending();
        let writer = self.store.begin(self.room.quota()).await;
        let writer = writer.map_err(|error| refused(error.into()))?;
        let mut intake = Intake::new(
            writer,
            self.room.max_blob_bytes(),
            Some(self.max),
            scrubber.watch(),
        );
        if let Some(announced) = announced {
            intake.expect(announced).map_err(refused)?;
        }
        let mut chunks = response.bytes_stream();
        loop {
            let until = bounds.deadline.min(Instant::now() + bounds.idle);
            let chunk = match timeout_at(until, chunks.next()).await {
                Ok(None) => break,
                Ok(Some(chunk)) => chunk.map_err(|error| client::failed(&error))?,
                Err(_) if until == bounds.deadline => return Err(client::too_late().into()),
                Err(_) => return Err(client::stopped(status, bounds.idle).into()),
            };
            traffic.received(chunk.len());
            let kept = timeout_at(bounds.deadline, intake.push(chunk)).await;
            kept.map_err(|_| Failure::from(client::too_late()))?
                .map_err(refused)?;
        }
        let kept = timeout_at(bounds.deadline, intake.finish(self.digest)).await;
        let stored = kept
            .map_err(|_| Failure::from(client::too_late()))?
            .map_err(refused)?;
        let response = HttpResponse {
            status,
            headers,
            body: Vec::new(),
        };
        Ok((response, stored))
    }
}

/// In whatever way, also in one that the host does not know.
fn is_coded(response: &reqwest::Response) -> bool {
    let codings = response.headers().get_all(reqwest::header::CONTENT_ENCODING);
    codings
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
