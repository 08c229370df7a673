//! What is kept of an attempt besides its outcome: digests over what was asked and what was answered.
//!
//! They answer, long after payloads are gone, whether two attempts sent the same, and whether the destination said the same to it. Every part
//! goes in with its length, so that no two requests are the same bytes.

use sha2::{Digest as _, Sha256};
use stecker_model::Record;

use crate::outcome::Verdict;

/// Gathers parts.
struct Parts(Sha256);

impl Parts {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn add(&mut self, part: &str) -> &mut Self {
        self.0
            .update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(part.as_bytes());
        self
    }

    fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// Over what one record became, as it is handed to the destination: stream, key, operation, payload and idempotency key of each output, in
/// their order. 64 hex digits.
pub(crate) fn of_request(stream: &str, outputs: &[(&Record, String)]) -> String {
    let mut parts = Parts::new();
    parts.add(stream);
    for (record, idempotency_key) in outputs {
        parts
            .add(&record.key)
            .add(record.operation.as_str())
            .add(&record.payload)
            .add(idempotency_key);
    }
    parts.hex()
}

/// Over what the destination said of each output, in their order: the outcome with its id, or with code, message and place. 64 hex digits.
pub(crate) fn of_answer(verdicts: &[Verdict]) -> String {
    let mut parts = Parts::new();
    for verdict in verdicts {
        parts.add(verdict.word());
        match verdict {
            Verdict::Done { external_id, .. } => parts.add(external_id.as_deref().unwrap_or_default()),
            Verdict::Again { reason, .. } | Verdict::Refused(reason) | Verdict::Unsure(reason) => parts
                .add(&reason.code)
                .add(&reason.message)
                .add(reason.path.as_deref().unwrap_or_default()),
        };
    }
    parts.hex()
}

#[cfg(test)]
mod tests {
    use stecker_model::{Operation, api::Reason};

    use super::*;

    fn record(key: &str, payload: &str) -> Record {
        Record {
            stream: "orders".to_owned(),
            key: key.to_owned(),
            operation: Operation::Upsert,
            payload: payload.to_owned(),
            before: None,
            event_time: None,
            source_version: "1".to_owned(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn the_same_request_has_the_same_digest_and_no_other_has() {
        let digest = |key: &str, payload: &str, idempotency: &str| {
            let record = record(key, payload);
            of_request("sales", &[(&record, idempotency.to_owned())])
        };
        let one = digest("a", "{}", "k");
        assert_eq!(one.len(), 64);
        assert_eq!(one, digest("a", "{}", "k"));
        for other in [
            digest("a", "{ }", "k"),
            digest("b", "{}", "k"),
            digest("a", "{}", "l"),
            // The same bytes, cut elsewhere.
            digest("a{", "}", "k"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_same_answer_has_the_same_digest() {
        let refused = |message: &str| {
            of_answer(&[Verdict::Refused(Reason {
                code: "data".to_owned(),
                message: message.to_owned(),
                path: None,
            })])
        };
        assert_eq!(refused("no such item"), refused("no such item"));
        assert_ne!(refused("no such item"), refused("no such customer"));
    }
}
