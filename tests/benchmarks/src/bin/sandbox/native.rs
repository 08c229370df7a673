//! The same code without any engine: what the guest does, compiled for this machine.

use anyhow::{Result, anyhow};
use stecker_benchmarks::work;
use stecker_model::{Record, Transformed};

use crate::case::Work;

/// As the guest's `apply`, word for word.
pub(crate) fn apply(work: Work, batch: &[Record]) -> Result<Vec<Transformed>> {
    batch
        .iter()
        .map(|record| {
            let payload = match work {
                Work::Transform => work::transform(&record.payload).map_err(|error| anyhow!(error))?,
                _ => return Ok(Transformed::Emit(vec![record.clone()])),
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
        })
        .collect()
}
