//! `stecker connection …`

use crate::{
    args::{Connection, Globals},
    commands::probes,
    failure::{Failure, Result},
    output::{Output, bad, dim, good, time},
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
                        time(connection.updated_at),
                    ]
                });
                page.table(&["NAME", "PLUGIN", "ROLES", "APPLIED"], &rows.collect::<Vec<_>>());
            })?;
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
                    "{} ms, {} requests, {} KiB of memory",
                    usage.wall_us / 1_000,
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
