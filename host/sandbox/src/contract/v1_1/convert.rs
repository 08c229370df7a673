//! Between the generated types and the model's. Moves what it can; decides nothing.

use stecker_model::{
    Finding, KeyRange, LookupItem, Operation, Outcome, Page, PluginError, Probe, Question, RawRequest,
    ReadRequest, Received, Record, Rejection, Reply, Transformed, Verdict, WriteItem,
};

use super::bindings::{
    exports::stecker::plugin::{connection, destination, reconcile, source, transform, webhook},
    stecker::plugin::{blobs, http, http_blobs, log, storage, types},
};
use crate::{
    binding::{Condition, LogLevel, StoredEntry},
    blob::Stored,
    capability::blobs::{NamedPiece, WantedSink},
    check::{RawBucket, RawEntry, RawListing, RawStreamInfo},
    egress::{HttpRequest, HttpResponse},
    session::Subscription,
};

pub(super) fn all<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

impl From<Record> for types::Record {
    fn from(record: Record) -> Self {
        Self {
            stream: record.stream,
            key: record.key,
            operation: match record.operation {
                Operation::Upsert => types::Operation::Upsert,
                Operation::Delete => types::Operation::Delete,
            },
            payload: record.payload,
            before: record.before,
            event_time: record.event_time,
            source_version: record.source_version,
            attributes: record.attributes,
        }
    }
}

impl From<types::Record> for Record {
    fn from(record: types::Record) -> Self {
        Self {
            stream: record.stream,
            key: record.key,
            operation: match record.operation {
                types::Operation::Upsert => Operation::Upsert,
                types::Operation::Delete => Operation::Delete,
            },
            payload: record.payload,
            before: record.before,
            event_time: record.event_time,
            source_version: record.source_version,
            attributes: record.attributes,
        }
    }
}

impl From<types::Error> for PluginError {
    fn from(error: types::Error) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            details: error.details,
        }
    }
}

impl From<PluginError> for types::Error {
    fn from(error: PluginError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            details: error.details,
        }
    }
}

impl From<types::Rejection> for Rejection {
    fn from(rejection: types::Rejection) -> Self {
        Self {
            code: rejection.code,
            reason: rejection.reason,
            path: rejection.path,
            details: rejection.details,
        }
    }
}

impl From<connection::Probe> for Probe {
    fn from(probe: connection::Probe) -> Self {
        Self {
            name: probe.name,
            ok: probe.ok,
            message: probe.message,
            hint: probe.hint,
        }
    }
}

impl From<connection::StreamInfo> for RawStreamInfo {
    fn from(info: connection::StreamInfo) -> Self {
        Self {
            name: info.name,
            schema: info.schema,
            primary_key: info.primary_key,
            cursor_field: info.cursor_field,
            modes: info.modes,
            deletes: info.deletes,
        }
    }
}

impl From<ReadRequest> for source::ReadRequest {
    fn from(request: ReadRequest) -> Self {
        Self {
            stream: request.stream,
            cursor: request.cursor,
            max_records: request.max_records,
            max_bytes: request.max_bytes,
            deadline_ms: request.deadline_ms,
            options: request.options,
        }
    }
}

impl From<source::Page> for Page {
    fn from(page: source::Page) -> Self {
        Self {
            records: all(page.records),
            cursor: page.cursor,
            more: page.more,
            hints: page.hints,
        }
    }
}

impl From<WriteItem> for destination::WriteItem {
    fn from(item: WriteItem) -> Self {
        Self {
            record: item.record.into(),
            idempotency_key: item.idempotency_key,
            attempt: item.attempt,
        }
    }
}

impl From<destination::Outcome> for Outcome {
    fn from(outcome: destination::Outcome) -> Self {
        match outcome {
            destination::Outcome::Delivered(receipt) => Self::Delivered(receipt.external_id),
            destination::Outcome::Duplicate(receipt) => Self::Duplicate(receipt.external_id),
            destination::Outcome::Retry(error) => Self::Retry(error.into()),
            destination::Outcome::Rejected(rejection) => Self::Rejected(rejection.into()),
            destination::Outcome::Unknown(error) => Self::Unknown(error.into()),
        }
    }
}

impl From<LookupItem> for destination::LookupItem {
    fn from(item: LookupItem) -> Self {
        Self {
            key: item.key,
            idempotency_key: item.idempotency_key,
            source_version: item.source_version,
        }
    }
}

impl From<destination::Finding> for Finding {
    fn from(finding: destination::Finding) -> Self {
        match finding {
            destination::Finding::Present(found) => Self::Present {
                external_id: found.external_id,
                payload: found.payload,
            },
            destination::Finding::Absent => Self::Absent,
            destination::Finding::Undecided => Self::Undecided,
        }
    }
}

impl From<KeyRange> for reconcile::Range {
    fn from(range: KeyRange) -> Self {
        Self {
            bits: range.bits(),
            prefix: range.prefix(),
        }
    }
}

impl From<Question> for reconcile::Question {
    fn from(question: Question) -> Self {
        Self {
            stream: question.stream,
            fields: question.fields,
            ranges: all(question.ranges),
            options: Vec::new(),
        }
    }
}

impl From<reconcile::Bucket> for RawBucket {
    fn from(bucket: reconcile::Bucket) -> Self {
        Self {
            count: bucket.count,
            sum: bucket.sum,
        }
    }
}

impl From<reconcile::Entry> for RawEntry {
    fn from(entry: reconcile::Entry) -> Self {
        Self {
            key: entry.key,
            digest: entry.digest,
            copies: entry.copies,
            external_id: entry.external_id,
            source_version: entry.source_version,
        }
    }
}

impl From<reconcile::Listing> for RawListing {
    fn from(listing: reconcile::Listing) -> Self {
        Self {
            entries: all(listing.entries),
            next: listing.next,
        }
    }
}

impl From<RawRequest> for webhook::RawRequest {
    fn from(request: RawRequest) -> Self {
        Self {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
        }
    }
}

impl From<webhook::Received> for Received {
    fn from(received: webhook::Received) -> Self {
        Self {
            verdict: match received.verdict {
                webhook::Verdict::Accept => Verdict::Accept,
                webhook::Verdict::Ignore => Verdict::Ignore,
                webhook::Verdict::Refuse => Verdict::Refuse,
            },
            event_id: received.event_id,
            records: all(received.records),
            reply: received.reply.map(|reply| Reply {
                status: reply.status,
                headers: reply.headers,
                body: reply.body,
            }),
            reason: received.reason,
        }
    }
}

impl From<webhook::Subscription> for Subscription {
    fn from(subscription: webhook::Subscription) -> Self {
        Self {
            id: subscription.id,
            attributes: subscription.attributes,
        }
    }
}

impl From<Subscription> for webhook::Subscription {
    fn from(subscription: Subscription) -> Self {
        Self {
            id: subscription.id,
            attributes: subscription.attributes,
        }
    }
}

impl From<transform::Transformed> for Transformed {
    fn from(transformed: transform::Transformed) -> Self {
        match transformed {
            transform::Transformed::Emit(records) => Self::Emit(all(records)),
            transform::Transformed::Drop(reason) => Self::Drop(reason),
            transform::Transformed::Reject(rejection) => Self::Reject(rejection.into()),
        }
    }
}

impl From<http::Request> for HttpRequest {
    fn from(request: http::Request) -> Self {
        Self {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            credential: request.credential,
            idempotency_key: request.idempotency_key,
            timeout_ms: request.timeout_ms,
            options: request.options,
        }
    }
}

impl From<HttpResponse> for http::Response {
    fn from(response: HttpResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            body: response.body,
        }
    }
}

impl From<StoredEntry> for storage::Entry {
    fn from(entry: StoredEntry) -> Self {
        Self {
            value: entry.value,
            version: entry.version,
        }
    }
}

impl From<storage::Condition> for Condition {
    fn from(condition: storage::Condition) -> Self {
        match condition {
            storage::Condition::Always => Self::Always,
            storage::Condition::Absent => Self::Absent,
            storage::Condition::Version(version) => Self::Version(version),
        }
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Self::Trace,
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

impl From<Stored> for blobs::Blob {
    fn from(blob: Stored) -> Self {
        Self {
            digest: blob.digest.to_string(),
            size: blob.size,
            attributes: Vec::new(),
        }
    }
}

impl From<http_blobs::Piece> for NamedPiece {
    fn from(piece: http_blobs::Piece) -> Self {
        match piece {
            http_blobs::Piece::Bytes(bytes) => Self::Bytes(bytes),
            http_blobs::Piece::Blob(digest) => Self::Blob(digest),
        }
    }
}

impl From<http_blobs::Sink> for WantedSink {
    fn from(sink: http_blobs::Sink) -> Self {
        Self {
            max_bytes: sink.max_bytes,
            digest: sink.digest,
        }
    }
}

impl From<(HttpResponse, Option<Stored>)> for http_blobs::Answer {
    fn from((response, blob): (HttpResponse, Option<Stored>)) -> Self {
        Self {
            response: response.into(),
            blob: blob.map(Into::into),
            attributes: Vec::new(),
        }
    }
}
