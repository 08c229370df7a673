//! Extism at the work of the benchmark `sandbox`. It is told on standard input, a line of JSON for each order, what to do next, so that it
//! takes turns with contestants in another process; it measures itself, so that the pipe between them costs it nothing.

use std::{
    fs,
    io::{self, BufRead as _, Write as _},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order {
    /// What the calls are to be given from now on.
    Input { text: String },
    /// One call; its answer.
    Answer { function: String },
    /// Calls of one instance that stays.
    Warm { function: String, calls: u32 },
    /// Calls of an instance each, made from the compiled plugin.
    Fresh { function: String, calls: u32 },
    /// Compilations, with no cache.
    Compile { calls: u32 },
    /// Makes instances, calls each once, and keeps them.
    Keep { function: String, instances: u32 },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Report {
    Done {},
    Answer { text: String },
    Took { nanoseconds: u64 },
    Resident { before: u64, after: u64 },
}

struct Peer {
    module: Vec<u8>,
    compiled: CompiledPlugin,
    warm: Plugin,
    input: String,
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("give the module")?;
    let module = fs::read(&path).with_context(|| format!("{path} cannot be read"))?;
    let compiled = compile(&module)?;
    let mut peer = Peer {
        warm: Plugin::new_from_compiled(&compiled)?,
        module,
        compiled,
        input: String::new(),
    };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let report = peer.obey(serde_json::from_str(&line?)?)?;
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Without the cache on disk, which Extism uses where nothing is said: a compilation is meant to be one.
fn compile(module: &[u8]) -> Result<CompiledPlugin> {
    PluginBuilder::new(Manifest::new([Wasm::data(module)]))
        .with_cache_disabled()
        .compile()
}

impl Peer {
    fn obey(&mut self, order: Order) -> Result<Report> {
        match order {
            Order::Input { text } => {
                self.input = text;
                Ok(Report::Done {})
            }
            Order::Answer { function } => {
                let text = call(&mut self.warm, &function, &self.input)?;
                let fresh = call(
                    &mut Plugin::new_from_compiled(&self.compiled)?,
                    &function,
                    &self.input,
                )?;
                ensure!(text == fresh, "a warm and a fresh instance disagree");
                Ok(Report::Answer { text })
            }
            Order::Warm { function, calls } => took(|| {
                for _ in 0..calls {
                    call(&mut self.warm, &function, &self.input)?;
                }
                Ok(())
            }),
            Order::Fresh { function, calls } => took(|| {
                for _ in 0..calls {
                    call(
                        &mut Plugin::new_from_compiled(&self.compiled)?,
                        &function,
                        &self.input,
                    )?;
                }
                Ok(())
            }),
            Order::Compile { calls } => took(|| {
                for _ in 0..calls {
                    compile(&self.module)?;
                }
                Ok(())
            }),
            Order::Keep { function, instances } => {
                let before = resident()?;
                let mut kept = Vec::new();
                for _ in 0..instances {
                    let mut plugin = Plugin::new_from_compiled(&self.compiled)?;
                    call(&mut plugin, &function, &self.input)?;
                    kept.push(plugin);
                }
                let after = resident()?;
                Ok(Report::Resident { before, after })
            }
        }
    }
}

/// As every contestant, it is given an input of its own and gives an output of its own.
fn call(plugin: &mut Plugin, function: &str, input: &str) -> Result<String> {
    plugin.call::<String, String>(function, input.to_owned())
}

fn took(work: impl FnOnce() -> Result<()>) -> Result<Report> {
    let start = Instant::now();
    work()?;
    Ok(Report::Took {
        nanoseconds: u64::try_from(start.elapsed().as_nanos())?,
    })
}

/// Bytes of this process that are in memory (`proc_pid_status(5)`).
fn resident() -> Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("this system does not tell what is resident")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("this system does not tell what is resident")?
        .parse()?;
    Ok(kib << 10)
}
