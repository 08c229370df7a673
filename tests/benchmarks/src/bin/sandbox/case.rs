//! Calls: one batch to a guest and back, by every contestant.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;
use stecker_benchmarks::{
    exchange,
    measure::{Effort, Ratio, Spread, Times, Turn, take_turns},
    sample,
};
use stecker_model::{Instances, Operation, Record, Transformed};
use tokio::runtime::Runtime;

use crate::{
    bare::{self, Bare},
    extism::Extism,
    native,
    stecker::{self, Stecker},
};

/// What the guest does with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    Echo,
    Transform,
    Http,
    Wait,
}

impl Work {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Transform => "transform",
            Self::Http => "http",
            Self::Wait => "wait",
        }
    }

    /// The guest's configuration.
    pub(crate) fn config(self, url: Option<&str>) -> String {
        json!({"work": self.name(), "url": url}).to_string()
    }
}

/// Whether an instance serves one call or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Warm,
    Fresh,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Fresh => "fresh",
        }
    }

    pub(crate) const fn instances(self) -> Instances {
        match self {
            Self::Warm => Instances::Warm,
            Self::Fresh => Instances::Fresh,
        }
    }
}

/// Microseconds for one call.
#[derive(Serialize)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) microseconds: Spread,
    /// How many times as long Stecker took.
    pub(crate) stecker_over: Ratio,
}

#[derive(Serialize)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) work: Work,
    pub(crate) records: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) rounds: usize,
    /// Stecker first.
    pub(crate) contestants: Vec<Contestant>,
    /// Stecker against itself: how far from 1 means nothing.
    pub(crate) control: Ratio,
}

impl Case {
    pub(crate) fn over(&self, name: &str) -> Option<Ratio> {
        let contestant = self.contestants.iter().find(|contestant| contestant.name == name);
        contestant.map(|contestant| contestant.stecker_over)
    }
}

pub(crate) const STECKER: &str = "stecker";
pub(crate) const BARE: &str = "wasmtime";
pub(crate) const BARE_BLOCKING: &str = "wasmtime-blocking";
pub(crate) const EXTISM: &str = "extism";
pub(crate) const NATIVE: &str = "native";

/// Records as a shop has them.
pub(crate) fn orders(records: usize, payload_bytes: usize) -> Vec<Record> {
    sample::orders(records, payload_bytes)
        .into_iter()
        .map(|order| Record {
            stream: order.stream,
            key: order.key,
            operation: match order.operation {
                exchange::Operation::Upsert => Operation::Upsert,
                exchange::Operation::Delete => Operation::Delete,
            },
            payload: order.payload,
            before: order.before,
            event_time: order.event_time,
            source_version: order.source_version,
            attributes: order.attributes,
        })
        .collect()
}

/// The payloads of an answer in which every record was emitted.
pub(crate) fn payloads(answers: Vec<Transformed>) -> Result<Vec<String>> {
    let mut payloads = Vec::new();
    for answer in answers {
        let Transformed::Emit(records) = answer else {
            anyhow::bail!("a record was not emitted: {answer:?}");
        };
        payloads.extend(records.into_iter().map(|record| record.payload));
    }
    Ok(payloads)
}

pub(crate) struct Calls<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) effort: Effort,
    pub(crate) component: &'a [u8],
    pub(crate) stecker: &'a Stecker,
    pub(crate) extism: Option<&'a mut Extism>,
}

impl Calls<'_> {
    /// Every contestant is given a batch of its own for each call, and gives up its answer, as if the batch had just been read.
    pub(crate) fn case(
        &mut self,
        mode: Mode,
        work: Work,
        records: usize,
        payload_bytes: usize,
    ) -> Result<Case> {
        let (runtime, effort) = (self.runtime, self.effort);
        let batch = orders(records, payload_bytes);
        let bare_batch = bare::batch(&batch);
        let session = self.stecker.session(work, mode.instances())?;
        let bare = Bare::new(self.component, work.config(None), 4)?;
        let mut kept = runtime.block_on(bare.keep())?;
        let mut kept_blocking = bare.keep_blocking()?;
        if let Some(extism) = &mut self.extism {
            let lines: Vec<&str> = batch.iter().map(|record| record.payload.as_str()).collect();
            extism.input(&lines.join("\n"))?;
        }

        // Who is compared has to give the same answer.
        let answer = payloads(native::apply(work, &batch)?)?;
        ensure!(
            answer.len() == records,
            "the native code gave another number of records"
        );
        let same = |other: Vec<String>, who: &str| {
            ensure!(answer == other, "{who} and the native code disagree");
            Ok(())
        };
        same(
            payloads(runtime.block_on(stecker::call(&session, batch.clone()))?)?,
            STECKER,
        )?;
        same(
            bare::payloads(runtime.block_on(kept.call(bare_batch.clone()))?)?,
            BARE,
        )?;
        if let Some(extism) = &mut self.extism {
            same(extism.answer(work)?, EXTISM)?;
        }

        let mut stecker_turn = |calls| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..calls {
                    stecker::call(&session, batch.clone()).await?;
                }
                Ok(start.elapsed())
            })
        };
        let mut again_turn = |calls| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..calls {
                    stecker::call(&session, batch.clone()).await?;
                }
                Ok(start.elapsed())
            })
        };
        let mut bare_turn = |calls| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..calls {
                    match mode {
                        Mode::Warm => kept.call(bare_batch.clone()).await?,
                        Mode::Fresh => bare.keep().await?.call(bare_batch.clone()).await?,
                    };
                }
                Ok(start.elapsed())
            })
        };
        let mut blocking_turn = |calls| {
            let start = Instant::now();
            for _ in 0..calls {
                match mode {
                    Mode::Warm => kept_blocking.call(bare_batch.clone())?,
                    Mode::Fresh => bare.keep_blocking()?.call(bare_batch.clone())?,
                };
            }
            Ok(start.elapsed())
        };
        let mut native_turn = |calls| {
            let start = Instant::now();
            for _ in 0..calls {
                // Taken by value and looked at, so that the compiler cannot know that nobody needs it.
                let batch = std::hint::black_box(batch.clone());
                std::hint::black_box(native::apply(work, &batch)?);
            }
            Ok(start.elapsed())
        };
        let mut extism = self.extism.as_deref_mut();
        let with_extism = extism.is_some();
        let mut extism_turn = |calls| -> Result<Duration> {
            let extism = extism.as_mut().context("Extism does not take part")?;
            extism.calls(work, mode, calls)
        };

        let mut turns: Vec<&mut Turn<'_, anyhow::Error>> = vec![
            &mut stecker_turn,
            &mut again_turn,
            &mut bare_turn,
            &mut blocking_turn,
            &mut native_turn,
        ];
        let mut names = vec![STECKER, "again", BARE, BARE_BLOCKING, NATIVE];
        if with_extism {
            turns.push(&mut extism_turn);
            names.push(EXTISM);
        }
        let times = take_turns(&mut turns, effort)?;
        let (contestants, control) = ranked(&names, &times)?;
        Ok(Case {
            mode,
            work,
            records,
            payload_bytes,
            rounds: times.first().map_or(0, Times::rounds),
            contestants,
            control,
        })
    }
}

/// The first is Stecker, the second is Stecker again.
pub(crate) fn ranked(names: &[&'static str], times: &[Times]) -> Result<(Vec<Contestant>, Ratio)> {
    let [stecker, again, ..] = times else {
        anyhow::bail!("Stecker does not take part");
    };
    let contestants = names
        .iter()
        .zip(times)
        .enumerate()
        .filter(|(place, _)| *place != 1)
        .map(|(_, (name, times))| Contestant {
            name,
            microseconds: times.spread(),
            stecker_over: stecker.over(times),
        })
        .collect();
    Ok((contestants, again.over(stecker)))
}
