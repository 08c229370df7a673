//! What was measured, held against the goals, as a table or as JSON.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use stecker_benchmarks::{
    machine::Machine,
    measure::{Ratio, Spread},
};

use crate::{
    case::{BARE, Case, Contestant, EXTISM, Mode, NATIVE, Work},
    http::HttpCase,
    load::Load,
    memory::Resident,
};

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) versions: Versions,
    pub(crate) machine: Machine,
    /// Microseconds for a call.
    pub(crate) calls: Vec<Case>,
    /// Microseconds for a request.
    pub(crate) http: Vec<HttpCase>,
    /// Milliseconds.
    pub(crate) load: Load,
    /// Bytes.
    pub(crate) resident: Resident,
    pub(crate) goals: Vec<Goal>,
}

#[derive(Serialize)]
pub(crate) struct Versions {
    stecker: &'static str,
    wasmtime: Option<String>,
    extism: Option<String>,
    /// The engine that Extism brings.
    extism_wasmtime: Option<String>,
    reqwest: Option<String>,
}

impl Versions {
    pub(crate) fn locked(with_extism: bool) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = fs::read_to_string(here.join("../../Cargo.lock")).unwrap_or_default();
        let theirs = fs::read_to_string(here.join("peers/extism/Cargo.lock")).unwrap_or_default();
        let theirs = |package| locked(&theirs, package).filter(|_| with_extism);
        Self {
            stecker: env!("CARGO_PKG_VERSION"),
            wasmtime: locked(&ours, "wasmtime"),
            extism: theirs("extism"),
            extism_wasmtime: theirs("wasmtime"),
            reqwest: locked(&ours, "reqwest"),
        }
    }
}

/// The version of a package in a lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(after.split('"').next()?.to_owned())
}

/// Something to reach, and what came out.
#[derive(Serialize)]
pub(crate) struct Goal {
    goal: &'static str,
    case: String,
    /// As a ratio; at most this, or at least.
    wanted: f64,
    measured: f64,
    met: bool,
}

pub(crate) fn goals(calls: &[Case], http: &[HttpCase]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut goal = |goal, case: String, wanted: f64, measured: Option<f64>, at_most: bool| {
        if let Some(measured) = measured {
            let met = if at_most {
                measured <= wanted
            } else {
                measured >= wanted
            };
            goals.push(Goal {
                goal,
                case,
                wanted,
                measured,
                met,
            });
        }
    };
    let paired = |ratio: Option<Ratio>| ratio.map(|ratio| ratio.paired);
    for case in calls {
        let name = named(case);
        let bare = paired(case.over(BARE));
        match case.mode {
            Mode::Warm => goal("warm call ÷ the engine alone, at most", name, 1.15, bare, true),
            Mode::Fresh => {
                let extism = paired(case.over(EXTISM)).map(|ratio| 1.0 / ratio);
                let native = paired(case.over(NATIVE)).map(|ratio| 1.0 / ratio);
                if case.records == 1 {
                    goal(
                        "fresh instance and call ÷ the engine alone, at most",
                        name.clone(),
                        1.3,
                        bare,
                        true,
                    );
                    goal(
                        "speed of a fresh instance and call ÷ Extism's from a compiled plugin, at least",
                        name,
                        5.0,
                        extism,
                        false,
                    );
                } else if case.work == Work::Transform {
                    goal(
                        "speed of a transformed batch ÷ native code's, at least",
                        name,
                        0.5,
                        native,
                        false,
                    );
                }
            }
        }
    }
    for case in http {
        let name = format!(
            "{}, {} per call, {} B",
            case.mode.name(),
            case.requests_per_call,
            case.body_bytes
        );
        goal(
            "request ÷ plain reqwest's, at most",
            name,
            1.2,
            paired(case.over_reqwest()),
            true,
        );
    }
    goals
}

fn named(case: &Case) -> String {
    format!(
        "{} {}, {} × {} B",
        case.mode.name(),
        case.work.name(),
        case.records,
        case.payload_bytes
    )
}

impl Report {
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Machine {
            processor,
            cores,
            load,
            optimised,
            ..
        } = &self.machine;
        writeln!(
            out,
            "{processor}, {cores} cores, load {load}{}",
            if *optimised { "" } else { ", NOT OPTIMISED" }
        )?;
        writeln!(
            out,
            "\nCalls, in µs: median (min–max); Stecker ÷ other: paired median, least to least"
        )?;
        for case in &self.calls {
            contestants(out, &named(case), &case.contestants, case.control)?;
        }
        writeln!(out, "\nHTTP requests on loopback, in µs each")?;
        for case in &self.http {
            let name = format!(
                "{}, {} per call, {} B each way",
                case.mode.name(),
                case.requests_per_call,
                case.body_bytes
            );
            contestants(out, &name, &case.contestants, case.control)?;
        }
        writeln!(
            out,
            "\nLoading a component of {} KB, in ms: median (min–max)",
            self.load.component_bytes / 1_000
        )?;
        for loading in &self.load.contestants {
            let Spread { min, median, max } = loading.milliseconds;
            writeln!(out, "  {:<28} {median:>9.2} ({min:.2}–{max:.2})", loading.name)?;
        }
        writeln!(
            out,
            "\nResident in memory, in KiB for each of {} instances",
            self.resident.instances
        )?;
        for one in &self.resident.contestants {
            writeln!(
                out,
                "  {:<28} {:>9.0}",
                one.name,
                one.bytes_per_instance / 1_024.0
            )?;
        }
        writeln!(out, "\nGoals")?;
        for goal in &self.goals {
            writeln!(
                out,
                "  {} {:>6.2} (wanted {:.2})  {}: {}",
                if goal.met { "met   " } else { "missed" },
                goal.measured,
                goal.wanted,
                goal.goal,
                goal.case
            )?;
        }
        Ok(())
    }
}

fn contestants(out: &mut impl Write, name: &str, all: &[Contestant], control: Ratio) -> io::Result<()> {
    writeln!(
        out,
        "  {name} (Stecker ÷ itself: {:.2}, {:.2})",
        control.paired, control.least
    )?;
    for one in all {
        let Spread { min, median, max } = one.microseconds;
        let Ratio { paired, least } = one.stecker_over;
        writeln!(
            out,
            "    {:<18} {median:>10.1} ({min:.1}–{max:.1})  {paired:>7.2}, {least:.2}",
            one.name
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_off_the_lock_file() {
        let lock = "[[package]]\nname = \"wasmtime-wasi\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"wasmtime\"\nversion = \"48.0.8\"\n";
        assert_eq!(locked(lock, "wasmtime").as_deref(), Some("48.0.8"));
        assert_eq!(locked(lock, "extism"), None);
    }
}
