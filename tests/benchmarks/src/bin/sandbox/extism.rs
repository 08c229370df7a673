//! Extism, in a process of its own (`peers/extism`), because it brings an engine of its own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::case::{Mode, Work};

pub(crate) struct Extism {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Extism {
    pub(crate) fn start(peer: &Path, module: &Path) -> Result<Self> {
        let mut child = Command::new(peer)
            .arg(module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", peer.display()))?;
        let orders = child.stdin.take().context("the peer has no standard input")?;
        let reports = child.stdout.take().context("the peer has no standard output")?;
        Ok(Self {
            child,
            orders,
            reports: BufReader::new(reports),
        })
    }

    fn order<T: for<'de> Deserialize<'de>>(&mut self, order: &Value) -> Result<T> {
        writeln!(self.orders, "{order}").context("the peer does not listen any more")?;
        let mut report = String::new();
        let read = self.reports.read_line(&mut report)?;
        ensure!(read > 0, "the peer ended; what it said is above");
        serde_json::from_str(&report).with_context(|| format!("the peer reported something else: {report}"))
    }

    pub(crate) fn input(&mut self, text: &str) -> Result<()> {
        let _: Value = self.order(&json!({"do": "input", "text": text}))?;
        Ok(())
    }

    /// The lines of its answer.
    pub(crate) fn answer(&mut self, work: Work) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Answer {
            text: String,
        }
        let answer: Answer = self.order(&json!({"do": "answer", "function": work.name()}))?;
        Ok(answer.text.lines().map(str::to_owned).collect())
    }

    pub(crate) fn calls(&mut self, work: Work, mode: Mode, calls: u32) -> Result<Duration> {
        self.took(&json!({"do": mode.name(), "function": work.name(), "calls": calls}))
    }

    pub(crate) fn compile(&mut self, calls: u32) -> Result<Duration> {
        self.took(&json!({"do": "compile", "calls": calls}))
    }

    fn took(&mut self, order: &Value) -> Result<Duration> {
        #[derive(Deserialize)]
        struct Took {
            nanoseconds: u64,
        }
        Ok(Duration::from_nanos(self.order::<Took>(order)?.nanoseconds))
    }

    /// Resident bytes of each instance that was called once and then kept.
    pub(crate) fn resident(&mut self, instances: u32) -> Result<f64> {
        #[derive(Deserialize)]
        struct Resident {
            before: u64,
            after: u64,
        }
        let resident: Resident =
            self.order(&json!({"do": "keep", "function": "echo", "instances": instances}))?;
        Ok((resident.after as f64 - resident.before as f64) / f64::from(instances))
    }
}

impl Drop for Extism {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
