//! `stecker connection …`

use std::io;

use stecker_model::api::{Circuit, CircuitRequest, CircuitState, ConnectionInfo};

use crate::{
    args::{Connection, Globals},
    commands::probes,
    failure::{Failure, Result},
    output::{Output, Page, bad, dim, good, time, warn},
    progress::Progress,
    target::Target,
};

pub(crate) async fn connection(globals: &Globals, output: Output, command: Connection) -> Result<()> {
    let target = Target::find(globals, output, "stecker connection").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Connection) -> Result<()> {
    let operations = target.operations();
    match command {
        Connection::List => {
            let all = operations.connections().await?;
            output.answer(&all, |page| {
                if all.is_empty() {
                    return page.line("no connections yet; `stecker apply -f FILE` makes them");
                }
                let rows = all.iter().map(|connection| {
                    let release = &connection.release;
                    vec![
                        connection.spec.name.to_string(),
                        format!("{}@{}", release.name, release.version),
                        release
                            .roles
                            .iter()
                            .filter(|role| *role != "meta")
                            .cloned()
                            .collect::<Vec<_>>()
                            .join(" "),
                        state(connection),
                        time(connection.updated_at),
                    ]
                });
                page.table(
                    &["NAME", "PLUGIN", "ROLES", "CIRCUIT", "APPLIED"],
                    &rows.collect::<Vec<_>>(),
                );
            })?;
        }
        Connection::Show { name } => shown(output, &operations.connection(&name).await?)?,
        Connection::OpenCircuit { name, reason } => {
            let request = CircuitRequest { reason };
            shown(output, &operations.open_circuit(&name, &request).await?)?;
        }
        Connection::CloseCircuit { name, reason } => {
            let request = CircuitRequest { reason };
            shown(output, &operations.close_circuit(&name, &request).await?)?;
        }
        Connection::Check { name } => {
            let progress = Progress::new(output, &format!("trying {name}"));
            let report = operations.check(&name).await?;
            drop(progress);
            output.answer(&report, |page| {
                probes(page, &report.probes);
                let result = if report.ok {
                    good("works")
                } else {
                    bad("does not work")
                };
                let usage = &report.usage;
                let cost = format!(
                    "{} ms, {} ms of them busy, {} requests, {} KiB of memory",
                    usage.wall_us / 1_000,
                    usage.cpu_us / 1_000,
                    usage.http_requests,
                    usage.peak_memory / 1_024
                );
                page.line(format!("{name} {result} {}", dim(&format!("({cost})"))));
            })?;
            if !report.ok {
                return Err(Failure::Told);
            }
        }
        Connection::Discover { name } => {
            let progress = Progress::new(output, &format!("asking {name} for its streams"));
            let streams = operations.discover(&name).await?;
            drop(progress);
            output.answer(&streams, |page| {
                let rows = streams.iter().map(|stream| {
                    vec![
                        stream.name.clone(),
                        stream.modes.join(" "),
                        stream.primary_key.join(" "),
                        stream.cursor_field.clone().unwrap_or_default(),
                        stream.deletes.clone(),
                    ]
                });
                page.table(
                    &["STREAM", "MODES", "KEY", "INCREMENTAL BY", "DELETES"],
                    &rows.collect::<Vec<_>>(),
                );
            })?;
        }
    }
    Ok(())
}

fn state(connection: &ConnectionInfo) -> String {
    let state = connection
        .circuit
        .as_ref()
        .map_or(CircuitState::Closed, |circuit| circuit.state);
    match state {
        CircuitState::Closed => state.as_str().to_owned(),
        CircuitState::BackingOff | CircuitState::Probing => warn(state.as_str()),
        CircuitState::Open => bad(state.as_str()),
    }
}

fn shown(output: Output, connection: &ConnectionInfo) -> io::Result<()> {
    output.answer(connection, |page| show(page, connection))
}

fn show(page: &mut Page, connection: &ConnectionInfo) {
    let (spec, release) = (&connection.spec, &connection.release);
    page.field("connection", spec.name.as_str());
    page.field(
        "plugin",
        format!(
            "{}@{} {}",
            release.name,
            release.version,
            dim(release.digest.short())
        ),
    );
    page.field("roles", release.roles.join(" "));
    page.field("applied", time(connection.updated_at));
    page.field("circuit", state(connection));
    if let Some(circuit) = &connection.circuit {
        show_circuit(page, circuit);
    }
}

fn show_circuit(page: &mut Page, circuit: &Circuit) {
    page.field("  since", time(circuit.since));
    page.field("  because", &circuit.reason);
    page.field("  stopped by", circuit.opened_by.clone().unwrap_or_default());
    match (circuit.state, circuit.until) {
        (CircuitState::Open, None) => page.field(
            "  until",
            "a person closes it: `stecker connection close-circuit`",
        ),
        (CircuitState::Open | CircuitState::BackingOff, Some(until)) => {
            page.field("  tried again", time(until));
        }
        _ => {}
    }
    for (function, crashes) in &circuit.crashes {
        page.field("  crashes", format!("{} of `{function}` in a row", crashes.len()));
    }
    if let Some(crash) = &circuit.last_crash {
        page.field(
            "last crash",
            format!("`{}` of {} at {}", crash.function, crash.plugin, time(crash.at)),
        );
        page.line(format!("  {}", crash.message));
        for frame in &crash.backtrace {
            page.line(dim(&format!("  in {frame}")));
        }
    }
}
