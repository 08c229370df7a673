//! Driving a plugin as the host does.

use super::{Reading, Script, Tape, TestHost, WebhookCall};
use crate::bindings::{connection, destination, meta, transform, webhook};
use crate::export::Adapter;
use crate::{
    Connection, Description, Destination, Finding, LookupItem, Outcome, Plugin, Probe, Received, Record,
    Result, Source, StreamInfo, Subscription, Transform, Transformed, Verdict, Webhook, WriteItem,
};
use serde::Serialize;
use serde_json::Value;
use std::marker::PhantomData;

/// A plugin of type `P` with a configuration and a [`TestHost`]. Calls go through the same conversions as in a component.
#[derive(Debug)]
pub struct Harness<P> {
    host: TestHost,
    config: String,
    plugin: PhantomData<P>,
}

impl<P: Plugin> Harness<P> {
    /// The plugin with this configuration. It is parsed at the first call, as on a host, so a bad one shows as its error.
    ///
    /// # Panics
    /// If the configuration cannot be written as JSON, or this thread has a test host already.
    #[must_use]
    pub fn new(config: impl Serialize) -> Self {
        match serde_json::to_string(&config) {
            Ok(config) => Self {
                host: TestHost::new(),
                config,
                plugin: PhantomData,
            },
            Err(error) => panic!("the test's configuration cannot be written as JSON: {error}"),
        }
    }

    /// The same, expecting this conversation after what is expected already.
    #[must_use]
    pub fn script(self, script: Script) -> Self {
        self.host.script(script);
        self
    }

    /// The same, expecting this conversation after what is expected already.
    #[must_use]
    pub fn tape(self, tape: Tape) -> Self {
        self.host.tape(tape);
        self
    }

    /// The same with the clock at this moment, in RFC 3339.
    ///
    /// # Panics
    /// If it is not RFC 3339.
    #[must_use]
    pub fn at(self, rfc3339: &str) -> Self {
        self.host.set_clock(rfc3339);
        self
    }

    /// The same with a secret for signatures.
    #[must_use]
    pub fn secret(self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.host.secret(name, bytes);
        self
    }

    /// The host, to look at requests, logs and storage, and to move the clock.
    pub fn host(&self) -> &TestHost {
        &self.host
    }

    /// Checks that every expected request came; dropping the harness does the same.
    ///
    /// # Panics
    /// If not.
    pub fn finish(self) {
        self.host.finish();
    }

    pub(super) fn config(&self) -> &str {
        &self.config
    }

    /// The description.
    ///
    /// # Panics
    /// If it differs between two calls, does not fit its schema, the schema of the configuration is no schema, or this
    /// harness's configuration does not fit that.
    #[allow(clippy::must_use_candidate, reason = "the checks alone are a test")]
    pub fn describe(&self) -> Description {
        let text = <Adapter<P> as meta::exports::stecker::plugin::meta::Guest>::describe();
        assert_eq!(
            text,
            <Adapter<P> as meta::exports::stecker::plugin::meta::Guest>::describe(),
            "the description differs between two calls"
        );
        let value: Value = parse("the description", &text);
        check_against("the description", &crate::description_schema(), &value);
        let config: Value = parse("the configuration", &self.config);
        check_against("the configuration", &value["config"], &config);
        parse("the description", &text)
    }
}

impl<P: Connection> Harness<P> {
    /// The probes.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If a failed probe has no hint.
    pub fn check(&self) -> Result<Vec<Probe>> {
        use connection::exports::stecker::plugin::connection::Guest;
        let probes = <Adapter<P> as Guest>::check(self.config.clone())?;
        for probe in &probes {
            assert!(
                probe.ok || probe.hint.is_some(),
                "the failed probe `{}` does not say what to do",
                probe.name
            );
        }
        Ok(probes)
    }

    /// The streams.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If they break the contract: names twice, schemas that are none, unknown modes, pointers that are none.
    pub fn discover(&self) -> Result<Vec<StreamInfo>> {
        use connection::exports::stecker::plugin::connection::Guest;
        let streams = <Adapter<P> as Guest>::discover(self.config.clone())?;
        schemas_of(&streams);
        for (index, stream) in streams.iter().enumerate() {
            let name = &stream.name;
            assert!(
                !streams[..index].iter().any(|other| other.name == *name),
                "the stream `{name}` is there twice"
            );
            let known = ["read", "write", "lookup", "webhook"];
            let unknown: Vec<&String> = stream
                .modes
                .iter()
                .filter(|mode| !known.contains(&mode.as_str()))
                .collect();
            assert!(
                unknown.is_empty(),
                "the stream `{name}` has modes that do not exist: {unknown:?}"
            );
            assert!(
                !stream.modes.is_empty(),
                "the stream `{name}` has no modes: nothing can be done with it"
            );
            for pointer in stream.primary_key.iter().chain(&stream.cursor_field) {
                assert!(
                    pointer.starts_with('/'),
                    "`{pointer}` of the stream `{name}` is no JSON Pointer"
                );
            }
        }
        Ok(streams)
    }
}

impl<P: Source> Harness<P> {
    /// Reads a stream from its beginning, or from where the returned [`Reading`] is told.
    #[must_use]
    pub fn read(&self, stream: &str) -> Reading<'_, P> {
        Reading::new(self, stream)
    }
}

impl<P: Destination> Harness<P> {
    /// Writes records, each for the first time. The idempotency key is `test:<stream>:<key>:<source version>`.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If there is not one outcome per record.
    pub fn write(&self, stream: &str, records: Vec<Record>) -> Result<Vec<Outcome>> {
        let item = |record: Record| WriteItem {
            idempotency_key: format!("test:{}:{}:{}", record.stream, record.key, record.source_version),
            attempt: 1,
            record,
        };
        self.write_items(stream, records.into_iter().map(item).collect())
    }

    /// Writes items as they are.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If there is not one outcome per item.
    pub fn write_items(&self, stream: &str, items: Vec<WriteItem>) -> Result<Vec<Outcome>> {
        use destination::exports::stecker::plugin::destination::Guest;
        let count = items.len();
        let outcomes = <Adapter<P> as Guest>::write(self.config.clone(), stream.to_owned(), items)?;
        assert_eq!(outcomes.len(), count, "one outcome per record, in their order");
        Ok(outcomes.into_iter().map(Into::into).collect())
    }

    /// Looks things up.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If there is not one finding per item.
    pub fn lookup(&self, stream: &str, items: Vec<LookupItem>) -> Result<Vec<Finding>> {
        use destination::exports::stecker::plugin::destination::Guest;
        let count = items.len();
        let findings = <Adapter<P> as Guest>::lookup(self.config.clone(), stream.to_owned(), items)?;
        assert_eq!(findings.len(), count, "one finding per item, in their order");
        Ok(findings)
    }
}

impl<P: Webhook> Harness<P> {
    /// Has the plugin take a call.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If it takes records that it also refuses, gives no reason for taking none, or a record breaks the contract.
    pub fn receive(&self, call: WebhookCall) -> Result<Received> {
        use webhook::exports::stecker::plugin::webhook::Guest;
        let received = <Adapter<P> as Guest>::receive(self.config.clone(), call.into_request())?;
        if received.verdict != Verdict::Accept {
            assert!(
                received.records.is_empty(),
                "records come with the verdict {:?}",
                received.verdict
            );
            assert!(
                received.reason.is_some(),
                "the verdict {:?} comes without a reason",
                received.verdict
            );
        }
        for record in &received.records {
            check_record(record, &[]);
        }
        Ok(received)
    }

    /// Has the plugin subscribe.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn subscribe(&self, url: &str, topics: &[&str]) -> Result<Vec<Subscription>> {
        use webhook::exports::stecker::plugin::webhook::Guest;
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Ok(<Adapter<P> as Guest>::subscribe(
            self.config.clone(),
            url.to_owned(),
            topics,
        )?)
    }

    /// Has the plugin unsubscribe.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn unsubscribe(&self, subscriptions: Vec<Subscription>) -> Result<()> {
        use webhook::exports::stecker::plugin::webhook::Guest;
        Ok(<Adapter<P> as Guest>::unsubscribe(
            self.config.clone(),
            subscriptions,
        )?)
    }
}

impl<P: Transform> Harness<P> {
    /// Transforms records, twice, because the second time has to give the same.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If the two differ, there is not one answer per record, or an emitted record breaks the contract.
    pub fn apply(&self, records: Vec<Record>) -> Result<Vec<Transformed>> {
        use transform::exports::stecker::plugin::transform::Guest;
        let count = records.len();
        let first = <Adapter<P> as Guest>::apply(self.config.clone(), records.clone())?;
        crate::export::forget_opened();
        let second = <Adapter<P> as Guest>::apply(self.config.clone(), records)?;
        assert_eq!(first, second, "a transform has to give the same again");
        assert_eq!(first.len(), count, "one answer per record, in their order");
        for transformed in &first {
            if let Transformed::Emit(records) = transformed {
                for record in records {
                    check_record(record, &[]);
                }
            }
        }
        Ok(first)
    }
}

pub(super) fn check_record(record: &Record, schemas: &[(String, jsonschema::Validator)]) {
    let name = format!("the record `{}` of `{}`", record.key, record.stream);
    assert!(
        (1..=512).contains(&record.key.len()),
        "the key of {name} has to have 1 to 512 bytes"
    );
    assert!(!record.source_version.is_empty(), "{name} has no source version");
    let payload: Value = parse(&format!("the payload of {name}"), &record.payload);
    if let Some(before) = &record.before {
        let _: Value = parse(&format!("`before` of {name}"), before);
    }
    // A deleted thing's payload is what is known of it, which need not be all.
    let is_whole = record.operation == crate::Operation::Upsert;
    if let Some((_, schema)) = schemas
        .iter()
        .find(|(stream, _)| is_whole && *stream == record.stream)
    {
        let errors: Vec<String> = schema
            .iter_errors(&payload)
            .map(|error| format!("at `{}`: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "the payload of {name} does not fit its schema:\n{}",
            errors.join("\n")
        );
    }
}

pub(super) fn schemas_of(streams: &[StreamInfo]) -> Vec<(String, jsonschema::Validator)> {
    let compile = |stream: &StreamInfo| {
        let schema: Value = parse(&format!("the schema of `{}`", stream.name), &stream.schema);
        (
            stream.name.clone(),
            validator(&format!("the schema of `{}`", stream.name), &schema),
        )
    };
    streams.iter().map(compile).collect()
}

fn check_against(what: &str, schema: &Value, value: &Value) {
    let errors: Vec<String> = validator(what, schema)
        .iter_errors(value)
        .map(|error| format!("at `{}`: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{what} does not fit its schema:\n{}",
        errors.join("\n")
    );
}

fn validator(what: &str, schema: &Value) -> jsonschema::Validator {
    match jsonschema::draft202012::new(schema) {
        Ok(validator) => validator,
        Err(error) => panic!("{what}: not a JSON Schema: {error}"),
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> T {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{what} is not the JSON expected: {error}\n{text}"),
    }
}
