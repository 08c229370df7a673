//! Typed records or packed pages across the component boundary? The answer is in `docs/decisions/0001-record-encoding.md`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Parser;
use serde::Serialize;
use stecker_benchmarks::{
    exchange::{Encoding, Exchange, Work},
    guest,
    measure::{Effort, Ratio, Spread, Times, alternate},
    sample,
};
use tokio::runtime::{Builder, Runtime};

/// Measure how records cross the component boundary: typed, packed, or as JSON Lines
///
/// A call is: a fresh instance, the host's records encoded, the guest's work, and the host's records decoded from its answer.
#[derive(Parser)]
struct Cli {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How long each case is measured
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Batch sizes
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000])]
    records: Vec<usize>,
    /// Bytes of each payload
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1_024, 8_192])]
    payload: Vec<usize>,
    /// What the guest does: echo, reparse
    #[arg(long, value_delimiter = ',', value_parser = work, default_values = ["echo", "reparse"])]
    work: Vec<Work>,
    /// Measure nothing; only call this often in this encoding (`typed,20`), for a profiler that looks from outside
    #[arg(long, value_name = "ENCODING,CALLS", value_parser = only)]
    only: Option<(Encoding, u32)>,
}

fn work(text: &str) -> Result<Work, String> {
    match text {
        "echo" => Ok(Work::Echo),
        "reparse" => Ok(Work::Reparse),
        _ => Err("it has to be echo or reparse".to_owned()),
    }
}

fn only(text: &str) -> Result<(Encoding, u32), String> {
    let (encoding, calls) = text.split_once(',').ok_or("it has to be like `typed,20`")?;
    Ok((
        encoding.parse()?,
        calls
            .parse()
            .map_err(|_| format!("`{calls}` is no number of calls"))?,
    ))
}

#[derive(Serialize)]
struct Case {
    work: &'static str,
    records: usize,
    payload_bytes: usize,
    rounds: usize,
    typed: Contestant,
    packed: Contestant,
    lines: Contestant,
    /// Above 1: packed is faster.
    typed_over_packed: Ratio,
    /// Above 1: JSON Lines are faster.
    typed_over_lines: Ratio,
    /// Typed against itself: how far from 1 means nothing.
    control: Ratio,
}

#[derive(Serialize)]
struct Contestant {
    microseconds: Spread,
    guest_memory_bytes: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let component = guest::build("record-encoding", &|step| {
        // Whoever closed standard error does not want to know.
        writeln!(io::stderr(), "{step}").ok();
    })?;
    let bench = Bench {
        exchange: Exchange::new(&component).map_err(|error| anyhow::anyhow!("{error:#}"))?,
        runtime: Builder::new_current_thread().build()?,
        effort: Effort {
            total: Duration::try_from_secs_f64(cli.seconds)?,
            ..Effort::default()
        },
    };
    let mut out = io::stdout().lock();
    let mut cases = Vec::new();
    if !cli.json && cli.only.is_none() {
        writeln!(out, "{HEADER}")?;
    }
    for &work in &cli.work {
        for &records in &cli.records {
            for &payload in &cli.payload {
                if let Some((encoding, calls)) = cli.only {
                    bench.repeat(encoding, calls, work, records, payload)?;
                    continue;
                }
                let case = bench.case(work, records, payload)?;
                if !cli.json {
                    writeln!(out, "{}", row(&case))?;
                }
                cases.push(case);
            }
        }
    }
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&cases)?)?;
    }
    Ok(())
}

struct Bench {
    exchange: Exchange,
    runtime: Runtime,
    effort: Effort,
}

impl Bench {
    fn repeat(
        &self,
        encoding: Encoding,
        calls: u32,
        work: Work,
        records: usize,
        payload: usize,
    ) -> Result<()> {
        let batch = sample::orders(records, payload);
        for _ in 0..calls {
            self.runtime
                .block_on(self.exchange.call(encoding, work, &batch))?;
        }
        Ok(())
    }

    fn case(&self, work: Work, records: usize, payload: usize) -> Result<Case> {
        let batch = sample::orders(records, payload);
        let call = |encoding| self.runtime.block_on(self.exchange.call(encoding, work, &batch));

        // Who is compared has to give the same answer.
        let (answer, typed_memory) = call(Encoding::Typed)?;
        let (packed_answer, packed_memory) = call(Encoding::Packed)?;
        let (lines_answer, lines_memory) = call(Encoding::Lines)?;
        ensure!(
            answer == packed_answer && answer == lines_answer,
            "the encodings disagree"
        );
        ensure!(
            answer.len() == records && (work != Work::Echo || answer == batch),
            "an echo has changed the records"
        );

        let times = alternate(
            &mut [
                &mut || call(Encoding::Typed).map(drop),
                &mut || call(Encoding::Packed).map(drop),
                &mut || call(Encoding::Lines).map(drop),
                &mut || call(Encoding::Typed).map(drop),
            ],
            self.effort,
        )?;
        let [typed, packed, lines, again] = times.as_slice() else {
            anyhow::bail!("there are not four contestants");
        };
        let contestant = |times: &Times, guest_memory_bytes| Contestant {
            microseconds: times.spread(),
            guest_memory_bytes,
        };
        Ok(Case {
            work: match work {
                Work::Echo => "echo",
                Work::Reparse => "reparse",
            },
            records,
            payload_bytes: payload,
            rounds: typed.rounds(),
            typed: contestant(typed, typed_memory),
            packed: contestant(packed, packed_memory),
            lines: contestant(lines, lines_memory),
            typed_over_packed: typed.over(packed),
            typed_over_lines: typed.over(lines),
            control: again.over(typed),
        })
    }
}

/// A table in Markdown, because its place is in a decision.
const HEADER: &str = "\
| work | records × payload | rounds | typed µs: median (min–max) | packed µs | JSON Lines µs | typed ÷ packed: paired, least | typed ÷ lines | typed ÷ typed | guest memory MiB: typed, packed, lines |
|---|---|---|---|---|---|---|---|---|---|";

fn row(case: &Case) -> String {
    let time = |contestant: &Contestant| {
        let Spread { min, median, max } = contestant.microseconds;
        format!("{median:.0} ({min:.0}–{max:.0})")
    };
    let ratio = |ratio: Ratio| format!("{:.2}, {:.2}", ratio.paired, ratio.least);
    // Whole pages of 64 KiB, so sixteenths.
    let memory = |contestant: &Contestant| (contestant.guest_memory_bytes >> 16) as f64 / 16.0;
    format!(
        "| {} | {} × {} B | {} | {} | {} | {} | {} | {} | {} | {:.1}, {:.1}, {:.1} |",
        case.work,
        case.records,
        case.payload_bytes,
        case.rounds,
        time(&case.typed),
        time(&case.packed),
        time(&case.lines),
        ratio(case.typed_over_packed),
        ratio(case.typed_over_lines),
        ratio(case.control),
        memory(&case.typed),
        memory(&case.packed),
        memory(&case.lines),
    )
}
