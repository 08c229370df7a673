//! A plugin as an author would write it, for measuring what it costs to run one.

use stecker_sdk::{prelude::*, storage};

#[path = "../../../src/work.rs"]
mod work;

/// The connection's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is done with each record.
    work: Work,
    /// Where records are sent to.
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Gives it back as it is.
    Echo,
    /// Makes a sale of the order.
    Transform,
    /// Sends the payload; the body of the answer is the new payload.
    Http,
    /// Reads a key of the storage, which takes as long as the host wants it to; gives the record back.
    Wait,
    /// Stops where it should not, as a plugin with a mistake does.
    Panic,
}

/// The plugin.
#[derive(Debug)]
pub struct Benchmark {
    config: Config,
}

impl Plugin for Benchmark {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Benchmark")
    }

    fn open(config: Config) -> Result<Self> {
        Ok(Self { config })
    }
}

impl Transform for Benchmark {
    fn apply(&self, batch: &[Record]) -> Result<Vec<Transformed>> {
        batch.iter().map(|record| self.one(record)).collect()
    }
}

impl Benchmark {
    fn one(&self, record: &Record) -> Result<Transformed> {
        let payload = match self.config.work {
            Work::Echo => return Ok(Transformed::Emit(vec![record.clone()])),
            Work::Transform => work::transform(&record.payload).map_err(Error::data)?,
            Work::Http => self.sent(&record.payload)?,
            Work::Panic => panic!("as it was told"),
            Work::Wait => {
                storage::get("gate")?;
                return Ok(Transformed::Emit(vec![record.clone()]));
            }
        };
        Ok(Transformed::Emit(vec![Record {
            stream: record.stream.clone(),
            key: record.key.clone(),
            operation: record.operation,
            payload,
            before: None,
            event_time: record.event_time,
            source_version: record.source_version.clone(),
            attributes: record.attributes.clone(),
        }]))
    }

    fn sent(&self, payload: &str) -> Result<String> {
        let url = self.config.url.as_deref().unwrap_or_default();
        let answer = http::post(url)
            .body("application/json", payload)
            .send()?
            .error_for_status()?;
        String::from_utf8(answer.body).map_err(|error| Error::data(error.to_string()))
    }
}

stecker_sdk::export_plugin!(Benchmark: transform);
