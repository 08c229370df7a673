//! What the plugin is given: a configuration, and records.

use serde_json::{Value, json};
use stecker_model::{Operation, Record, StreamInfo};
use stecker_registry::{Manifest, manifest::HostPattern};

use super::{
    sample::{self, sample},
    seen::cut,
};

/// The keys of what is written.
pub(super) const KEYS: [&str; 2] = ["conformance-1", "conformance-2"];

pub(super) fn record(stream: &str, key: &str, payload: String) -> Record {
    Record {
        stream: stream.to_owned(),
        key: key.to_owned(),
        operation: Operation::Upsert,
        payload,
        before: None,
        event_time: None,
        source_version: "1".to_owned(),
        attributes: Vec::new(),
    }
}

/// One payload for each key, which it names where the stream says that the key is.
pub(super) fn payloads(stream: Option<&StreamInfo>) -> Vec<String> {
    let made = stream.map_or_else(|| json!({ "id": "" }), |stream| sample(&stream.schema, true));
    let places: Vec<String> =
        stream.map_or_else(|| vec!["/id".to_owned()], |stream| stream.primary_key.clone());
    KEYS.iter()
        .map(|key| {
            let mut payload = made.clone();
            for place in &places {
                if let Some(value) = payload.pointer_mut(place)
                    && value.is_string()
                {
                    *value = (*key).into();
                }
            }
            payload.to_string()
        })
        .collect()
}

/// What the plugin is run with: as it was given, or made from the schema, with URLs where the manifest reads hosts from.
pub(super) fn configuration(
    manifest: &Manifest,
    description: &Value,
    given: Option<&Value>,
) -> Result<Value, String> {
    let schema = description.get("config").filter(|schema| !schema.is_null());
    let mut config = match (given, schema) {
        (Some(given), _) => given.clone(),
        (None, Some(schema)) => sample(schema, false),
        (None, None) => json!({}),
    };
    if given.is_none() {
        let hosts = manifest.capabilities.http.iter().flat_map(|http| &http.hosts);
        for host in hosts {
            if let HostPattern::Config(pointer) = host
                && let Some(value) = config.pointer_mut(pointer)
                && !value.as_str().is_some_and(|text| text.starts_with("http"))
            {
                *value = sample::URL.into();
            }
        }
    }
    let Some(schema) = schema else {
        return Ok(config);
    };
    let validator = jsonschema::draft202012::new(schema).map_err(|error| {
        format!(
            "nothing was run: the configuration's schema is none: {}",
            cut(&error.to_string())
        )
    })?;
    let fault = validator
        .iter_errors(&config)
        .next()
        .map(|error| cut(&error.to_string()));
    match fault {
        None => Ok(config),
        Some(fault) if given.is_some() => Err(format!(
            "nothing was run: the given configuration does not fit the plugin's schema: {fault}"
        )),
        Some(fault) => Err(format!(
            "nothing was run, because no configuration could be made from the plugin's schema ({fault}); give one as `examples` in the \
             schema, or with `--config`"
        )),
    }
}
