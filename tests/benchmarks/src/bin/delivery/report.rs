//! What was measured, held against the goals, as a table or as JSON.

use std::io::{self, Write};

use serde::Serialize;
use stecker_benchmarks::{machine::Machine, measure::Spread};

use crate::{growth::Grown, intake::Taken, lab::Database, throughput::Moved};

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// How contestants are set up.
    pub(crate) notes: Vec<String>,
    pub(crate) throughput: Vec<Moved>,
    /// Peers that do not take part, and why.
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) intake: Vec<Taken>,
    pub(crate) growth: Vec<Grown>,
    pub(crate) goals: Vec<Goal>,
    /// All of it, builds aside.
    pub(crate) minutes: f64,
}

#[derive(Serialize)]
pub(crate) struct LeftOut {
    pub(crate) who: String,
    pub(crate) why: String,
}

/// Something to reach, and what came out.
#[derive(Serialize)]
pub(crate) struct Goal {
    goal: &'static str,
    case: String,
    wanted: f64,
    measured: f64,
    met: bool,
}

/// What of all of it is to be reached.
pub(crate) fn goals(throughput: &[Moved], peers: &[String], growth: &[Grown]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut goal = |goal, case: String, wanted: f64, measured: f64, at_most: bool| {
        goals.push(Goal {
            goal,
            case,
            wanted,
            measured,
            met: if at_most {
                measured <= wanted
            } else {
                measured >= wanted
            },
        });
    };
    let of = |who: &str| throughput.iter().find(|moved| moved.who == who);
    let best_peer = throughput
        .iter()
        .filter(|moved| peers.contains(&moved.who))
        .map(|moved| moved.cpu_seconds_per_100k.median)
        .min_by(f64::total_cmp);
    for database in Database::ALL {
        let name = database.name();
        let Some(stecker) = of(&format!("Stecker, {name}")) else {
            continue;
        };
        if let Some(by_hand) = of(&format!("loop by hand, {name}")) {
            let ratio = stecker.orders_per_second.median / by_hand.orders_per_second.median;
            goal(
                "orders a second ÷ the loop by hand, at least",
                name.to_owned(),
                0.6,
                ratio,
                false,
            );
        }
        if let Some(peer) = best_peer {
            let ratio = peer / stecker.cpu_seconds_per_100k.median;
            goal(
                "orders per CPU second ÷ the best peer's, at least",
                name.to_owned(),
                10.0,
                ratio,
                false,
            );
        }
    }
    for database in Database::ALL {
        let grown: Vec<&Grown> = growth.iter().filter(|grown| grown.database == database).collect();
        let (Some(least), Some(most)) = (grown.first(), grown.last()) else {
            continue;
        };
        let case = format!("{}, {} tenants", database.name(), most.tenants);
        if let Some(kib) = most.idle_kib_per_tenant {
            // Two connections, and the flow between them counts as theirs.
            goal(
                "KiB for each idle connection, at most",
                case.clone(),
                50.0,
                kib / 2.0,
                true,
            );
        }
        let ratio = most.delivered.p99_ms / least.delivered.p99_ms;
        goal(
            "p99 until delivered ÷ that with the fewest tenants, at most",
            case,
            1.5,
            ratio,
            true,
        );
    }
    goals
}

fn spread(spread: Spread, digits: usize) -> String {
    let Spread { min, median, max } = spread;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

/// For people.
pub(crate) fn table(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(
        out,
        "{}, {} cores, load {} before{}",
        machine.processor,
        machine.cores,
        machine.load,
        if machine.optimised {
            ""
        } else {
            "; NOT OPTIMISED, so these figures mean nothing"
        }
    )?;
    if !report.throughput.is_empty() {
        writeln!(
            out,
            "\nmedian (least–most)                 orders/s            CPU s per 100,000   peak MiB          rounds"
        )?;
        for moved in &report.throughput {
            writeln!(
                out,
                "{:<34} {:>19} {:>19} {:>18} {:>4} × {}",
                moved.who,
                spread(moved.orders_per_second, 0),
                spread(moved.cpu_seconds_per_100k, 1),
                spread(moved.peak_rss_mib, 0),
                moved.rounds,
                moved.orders_each,
            )?;
        }
    }
    for left_out in &report.left_out {
        writeln!(out, "{} does not take part: {}", left_out.who, left_out.why)?;
    }
    if !report.intake.is_empty() {
        writeln!(
            out,
            "\ncalls                                at a rate, p50 / p99 ms     saturated: accepted/s, p50 / p99 ms"
        )?;
        for taken in &report.intake {
            writeln!(
                out,
                "{:<34} {:>5}/s {:>8.1} / {:>8.1} {:>14.0} {:>8.1} / {:>8.1}   refused {} and {}",
                taken.who,
                taken.rate,
                taken.at_rate.p50_ms,
                taken.at_rate.p99_ms,
                taken.accepted_per_second,
                taken.saturated_p50_ms,
                taken.saturated_p99_ms,
                taken.refused_at_rate,
                taken.refused_saturated,
            )?;
        }
    }
    if !report.growth.is_empty() {
        writeln!(
            out,
            "\ntenants             all flows after s   MiB idle   KiB a tenant   CPU % idle   transactions/s idle   delivered p50 / p99 ms"
        )?;
        for grown in &report.growth {
            let maybe =
                |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |number| format!("{number:.1}"));
            writeln!(
                out,
                "{:<9} {:>9} {:>18.1} {:>10.1} {:>14} {:>12.1} {:>21} {:>11.1} / {:.1}",
                grown.database.name(),
                grown.tenants,
                grown.seconds_to_all_flows,
                grown.idle_rss_mib,
                maybe(grown.idle_kib_per_tenant),
                grown.idle_cpu_percent,
                maybe(grown.idle_transactions_per_second),
                grown.delivered.p50_ms,
                grown.delivered.p99_ms,
            )?;
        }
    }
    writeln!(out)?;
    for goal in &report.goals {
        writeln!(
            out,
            "{} {} {} ({}): {:.2}",
            if goal.met { "met   " } else { "MISSED" },
            goal.goal,
            goal.wanted,
            goal.case,
            goal.measured
        )?;
    }
    for note in &report.notes {
        writeln!(out, "- {note}")?;
    }
    writeln!(out, "{:.1} minutes", report.minutes)
}
