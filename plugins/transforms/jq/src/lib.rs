//! The transform `jq`: records become other records by a program in the jq language.
//!
//! The program's input is the record's payload; each of its outputs is the payload of a record in its place, and no output
//! drops it. `$record` tells `key`, `stream`, `operation`, `event_time` (milliseconds since 1970 or null), `source_version`
//! and `attributes`. A runtime error refuses that record, with the program's own message where it calls `error`.
//!
//! It is pure, so whatever could make two runs differ is left out of the language: `now`, `input`, `inputs`, `env`, local
//! time zones, modules, and `halt`, which would end more than one record. `debug` and `stderr` write to the log.
//!
//! Endless programs and huge results are not guarded against in here: the host bounds every call in time and memory.

mod log_lines;
mod program;

use program::Program;
use stecker_sdk::prelude::*;

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The program, for example `{sku, quantity: .stock}` or `select(.status == "paid")`. Its input is the payload.
    pub program: String,
    /// The stream of the resulting records; left out, it stays. (A flow's target overrides it.)
    #[serde(default)]
    pub stream: Option<String>,
    /// A program that makes the resulting record's key from its payload, for example `.sku`: a text of 1 to 512 bytes or a
    /// number. Left out, the key stays. Needed where one record becomes several.
    #[serde(default)]
    pub key: Option<String>,
}

/// The plugin: both programs, compiled.
#[derive(Debug)]
pub struct Jq {
    program: Program,
    key: Option<Program>,
    stream: Option<String>,
}

impl Plugin for Jq {
    type Config = Config;

    fn describe() -> Description {
        Description::new("jq").description(
            "Makes records into other records with a program in the jq language: rename, compute, split, filter.",
        )
    }

    fn open(config: Config) -> Result<Self> {
        log_lines::to_host();
        Ok(Self {
            program: Program::compile(&config.program, "/program")?,
            key: config.key.map(|key| Program::compile(&key, "/key")).transpose()?,
            stream: config.stream,
        })
    }
}

impl Transform for Jq {
    fn apply(&self, batch: &[Record]) -> Result<Vec<Transformed>> {
        Ok(batch
            .iter()
            .map(|record| self.transform(record).unwrap_or_else(Transformed::Reject))
            .collect())
    }
}

impl Jq {
    fn transform(&self, record: &Record) -> Result<Transformed, Rejection> {
        let about = program::about(record);
        let outputs = self.program.run(program::read(&record.payload)?, &about)?;
        let mut records: Vec<Record> = Vec::with_capacity(outputs.len());
        for output in outputs {
            let key = match &self.key {
                Some(program) => program.key(output.clone(), &about)?,
                None => record.key.clone(),
            };
            // Records of the same key and source version are the same to the host: all but one would vanish silently.
            if records.iter().any(|other| other.key == key) {
                return Err(Rejection::new(
                    "ambiguous-key",
                    format!(
                        "one record became several with the key `{key}`, of which only one would survive; set `key` to a \
                         program that gives each its own, for example `.sku`"
                    ),
                ));
            }
            records.push(Record {
                stream: self.stream.clone().unwrap_or_else(|| record.stream.clone()),
                key,
                operation: record.operation,
                payload: program::write(&output)?,
                // It has the shape of the source's payload, which is not the result's.
                before: None,
                event_time: record.event_time,
                source_version: record.source_version.clone(),
                attributes: record.attributes.clone(),
            });
        }
        if records.is_empty() {
            return Ok(Transformed::Drop("the program gave no output".to_owned()));
        }
        Ok(Transformed::Emit(records))
    }
}

stecker_sdk::export_plugin!(Jq: transform);
