//! Every role and every import of one version of the contract, straight from its WIT: no SDK is between, so that what lies in the corpus depends on
//! nothing but the contract.
//!
//! `connection.check` uses every import and returns a probe for each. The configuration is `{"url":"http://…"}`, of a server that answers every
//! request with the body that came in. Since 1.1.0, reading the stream `transfer` moves the body of one address (option `from`) to another one (`to`)
//! without looking at it.

mod bindings {
    #![allow(clippy::all, reason = "generated")]
    #[cfg(not(feature = "v1-1-0"))]
    wit_bindgen::generate!({ path: "../../../wit/1.0.0", world: "stecker:plugin/all-roles", generate_all });
    #[cfg(feature = "v1-1-0")]
    wit_bindgen::generate!({ path: "../../../wit/1.1.0", world: "stecker:plugin/all-roles", generate_all });
}

#[cfg(feature = "v1-1-0")]
mod blobs;
mod imports;

use bindings::{
    exports::stecker::plugin::{connection, destination, meta, reconcile, source, transform, webhook},
    stecker::plugin::types,
};

struct Corpus;

/// Without a parser: the host has seen to it that this is JSON, and the test to it that there is nothing else in it.
fn url_of(config: &str) -> String {
    config.split('"').nth(3).unwrap_or_default().to_owned()
}

fn record(key: &str) -> types::Record {
    types::Record {
        stream: "things".to_owned(),
        key: key.to_owned(),
        operation: types::Operation::Upsert,
        payload: format!("{{\"id\":\"{key}\"}}"),
        before: Some("{}".to_owned()),
        event_time: Some(1_767_268_800_000),
        source_version: "1".to_owned(),
        attributes: vec![("a".to_owned(), "b".to_owned())],
    }
}

fn error(code: &str, message: &str) -> types::Error {
    types::Error {
        code: code.to_owned(),
        message: message.to_owned(),
        retry_after_ms: Some(7),
        details: vec![("key".to_owned(), "value".to_owned())],
    }
}

impl meta::Guest for Corpus {
    fn describe() -> String {
        r#"{"title":"Corpus","config":{"type":"object"},"streams":[{"name":"things","title":"Things","modes":["read","write"]}]}"#
            .to_owned()
    }
}

impl connection::Guest for Corpus {
    fn check(config: String) -> Result<Vec<connection::Probe>, types::Error> {
        let url = url_of(&config);
        let mut tried = imports::all(&url);
        #[cfg(feature = "v1-1-0")]
        tried.extend(blobs::all(&url));
        let probe = |(name, result): (&str, Result<String, types::Error>)| connection::Probe {
            name: name.to_owned(),
            ok: result.is_ok(),
            message: result.unwrap_or_else(|error| format!("{}: {}", error.code, error.message)),
            hint: None,
        };
        Ok(tried.into_iter().map(probe).collect())
    }

    fn discover(_: String) -> Result<Vec<connection::StreamInfo>, types::Error> {
        Ok(vec![connection::StreamInfo {
            name: "things".to_owned(),
            schema: "{\"type\":\"object\"}".to_owned(),
            primary_key: vec!["/id".to_owned()],
            cursor_field: None,
            modes: vec!["read".to_owned(), "write".to_owned()],
            deletes: "tombstone".to_owned(),
            attributes: Vec::new(),
        }])
    }
}

impl source::Guest for Corpus {
    fn read(_: String, request: source::ReadRequest) -> Result<source::Page, types::Error> {
        #[cfg(feature = "v1-1-0")]
        if request.stream == "transfer" {
            return blobs::transfer(&request);
        }
        if request.stream != "things" {
            return Err(error("not-found", "there is no such stream"));
        }
        let (key, cursor, more) = match request.cursor.as_deref() {
            None => ("one", "1", true),
            Some(_) => ("two", "2", false),
        };
        Ok(source::Page {
            records: vec![record(key)],
            cursor: Some(cursor.to_owned()),
            more,
            hints: vec![("watermark".to_owned(), "now".to_owned())],
        })
    }

    fn acknowledge(_: String, _: String, _: String) -> Result<(), types::Error> {
        Ok(())
    }
}

impl destination::Guest for Corpus {
    /// Each kind of outcome, in turn.
    fn write(
        _: String,
        _: String,
        batch: Vec<destination::WriteItem>,
    ) -> Result<Vec<destination::Outcome>, types::Error> {
        let outcomes = batch.into_iter().enumerate().map(|(i, item)| {
            let receipt = destination::Receipt {
                external_id: Some(format!("{}/{}", item.record.key, item.idempotency_key)),
                attributes: Vec::new(),
            };
            match i {
                0 => destination::Outcome::Delivered(receipt),
                1 => destination::Outcome::Duplicate(receipt),
                2 => destination::Outcome::Retry(error("transient", "later")),
                3 => destination::Outcome::Rejected(types::Rejection {
                    code: "unknown-item".to_owned(),
                    reason: "there is no such thing".to_owned(),
                    path: Some("/id".to_owned()),
                    details: Vec::new(),
                }),
                _ => destination::Outcome::Unknown(error("transient", "no answer")),
            }
        });
        Ok(outcomes.collect())
    }

    fn lookup(
        _: String,
        _: String,
        items: Vec<destination::LookupItem>,
    ) -> Result<Vec<destination::Finding>, types::Error> {
        let findings = items.into_iter().enumerate().map(|(i, item)| match i {
            0 => destination::Finding::Present(destination::Found {
                external_id: Some(item.key),
                payload: Some("{}".to_owned()),
                attributes: Vec::new(),
            }),
            1 => destination::Finding::Absent,
            _ => destination::Finding::Undecided,
        });
        Ok(findings.collect())
    }
}

impl reconcile::Guest for Corpus {
    fn digest(
        _: String,
        question: reconcile::Question,
        split: u32,
    ) -> Result<Vec<reconcile::Bucket>, types::Error> {
        let empty = reconcile::Bucket {
            count: 0,
            sum: vec![0; 32],
        };
        Ok(vec![empty; question.ranges.len() << split])
    }

    fn list_keys(
        _: String,
        _: reconcile::Question,
        _: Option<String>,
        _: u32,
    ) -> Result<reconcile::Listing, types::Error> {
        Ok(reconcile::Listing {
            entries: vec![reconcile::Entry {
                key: "one".to_owned(),
                digest: vec![7; 32],
                copies: 1,
                external_id: None,
                source_version: Some("1".to_owned()),
            }],
            next: None,
        })
    }
}

impl webhook::Guest for Corpus {
    fn receive(_: String, request: webhook::RawRequest) -> Result<webhook::Received, types::Error> {
        Ok(webhook::Received {
            verdict: webhook::Verdict::Accept,
            event_id: Some("event".to_owned()),
            records: vec![record("called")],
            reply: Some(webhook::Reply {
                status: 202,
                headers: vec![("x-path".to_owned(), request.path)],
                body: request.body,
            }),
            reason: None,
            attributes: Vec::new(),
        })
    }

    fn subscribe(
        _: String,
        url: String,
        topics: Vec<String>,
    ) -> Result<Vec<webhook::Subscription>, types::Error> {
        let subscription = |topic: String| webhook::Subscription {
            id: format!("{topic} at {url}"),
            attributes: Vec::new(),
        };
        Ok(topics.into_iter().map(subscription).collect())
    }

    fn unsubscribe(_: String, _: Vec<webhook::Subscription>) -> Result<(), types::Error> {
        Ok(())
    }
}

impl transform::Guest for Corpus {
    /// Each kind of answer, in turn.
    fn apply(_: String, batch: Vec<types::Record>) -> Result<Vec<transform::Transformed>, types::Error> {
        let answers = batch.into_iter().enumerate().map(|(i, record)| match i {
            0 => transform::Transformed::Emit(vec![record]),
            1 => transform::Transformed::Drop("not wanted".to_owned()),
            _ => transform::Transformed::Reject(types::Rejection {
                code: "odd".to_owned(),
                reason: "an odd one".to_owned(),
                path: None,
                details: Vec::new(),
            }),
        });
        Ok(answers.collect())
    }
}

bindings::export!(Corpus with_types_in bindings);
