//! Does what it is told and tells what came of it, so that a scenario of the denial suite is a list of steps and no program of its own.
//!
//! The configuration is `{"via": "stecker" | "wasi", "steps": [STEP…]}`; the steps are in [`step`]. `connection.check` runs them in their
//! order and returns a probe for each: `name` counts from 1, `ok` is whether it worked, `message` is the result cut to 2,000 characters
//! (`STATUS BODY` of a response, `CODE: MESSAGE` of an error), `hint` is JSON with what else there is to tell.
//!
//! It is built for each version of the contract: without a feature for 1.0.0.

mod run;
mod step;
mod tell;
mod via_stecker;
mod via_wasi;

use serde::Deserialize;

#[cfg(feature = "v1-1-0")]
mod blobs;

mod bindings {
    #![allow(clippy::all, reason = "generated")]
    #[cfg(not(feature = "v1-1-0"))]
    wit_bindgen::generate!({
        path: ["../../../../wit/1.0.0", "wit"],
        inline: "
            package stecker:denials;
            world probe {
                include stecker:plugin/host-imports@1.0.0;
                include stecker:denials-wasi/wasi;
                export stecker:plugin/meta@1.0.0;
                export stecker:plugin/connection@1.0.0;
                export stecker:plugin/source@1.0.0;
                export stecker:plugin/transform@1.0.0;
            }
        ",
        world: "stecker:denials/probe",
        generate_all,
    });
    #[cfg(feature = "v1-1-0")]
    wit_bindgen::generate!({
        path: ["../../../../wit/1.1.0", "wit"],
        inline: "
            package stecker:denials;
            world probe {
                include stecker:plugin/host-imports@1.1.0;
                include stecker:denials-wasi/wasi;
                export stecker:plugin/meta@1.1.0;
                export stecker:plugin/connection@1.1.0;
                export stecker:plugin/source@1.1.0;
                export stecker:plugin/transform@1.1.0;
            }
        ",
        world: "stecker:denials/probe",
        generate_all,
    });
}

use bindings::{
    exports::stecker::plugin::{connection, meta, source, transform},
    stecker::plugin::types,
};

/// Other keys are let through: a manifest may take the hosts that it asks for from them.
#[derive(Deserialize)]
struct Script {
    #[serde(default)]
    via: run::Via,
    #[serde(default)]
    steps: Vec<step::Step>,
}

struct Probe;

impl meta::Guest for Probe {
    fn describe() -> String {
        r#"{"title":"Probe","config":{"type":"object"}}"#.to_owned()
    }
}

impl connection::Guest for Probe {
    fn check(config: String) -> Result<Vec<connection::Probe>, types::Error> {
        let script: Script = serde_json::from_str(&config).map_err(|error| types::Error {
            code: "config".to_owned(),
            message: format!("this is no script for the probe: {error}"),
            retry_after_ms: None,
            details: Vec::new(),
        })?;
        let probes = script.steps.into_iter().enumerate().map(|(i, step)| {
            let told = run::step(step, script.via);
            connection::Probe {
                name: (i + 1).to_string(),
                ok: told.ok,
                message: tell::cut(told.message),
                hint: Some(told.details.to_string()),
            }
        });
        Ok(probes.collect())
    }

    fn discover(_: String) -> Result<Vec<connection::StreamInfo>, types::Error> {
        Ok(Vec::new())
    }
}

/// It has nothing to read: only so that a host takes it for a connector, which a connection needs.
impl source::Guest for Probe {
    fn read(_: String, request: source::ReadRequest) -> Result<source::Page, types::Error> {
        Ok(source::Page {
            records: Vec::new(),
            cursor: request.cursor,
            more: false,
            hints: Vec::new(),
        })
    }

    fn acknowledge(_: String, _: String, _: String) -> Result<(), types::Error> {
        Ok(())
    }
}

impl transform::Guest for Probe {
    fn apply(_: String, batch: Vec<types::Record>) -> Result<Vec<transform::Transformed>, types::Error> {
        let unchanged = batch
            .into_iter()
            .map(|record| transform::Transformed::Emit(vec![record]));
        Ok(unchanged.collect())
    }
}

bindings::export!(Probe with_types_in bindings);
