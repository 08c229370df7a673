//! `stecker shadow` and `stecker tape …`

use std::{fs, path::Path};

use stecker_model::{
    Name,
    api::{
        ShadowCost, ShadowDifference, ShadowReport, ShadowRequest, ShadowUsage, ShadowVerdict, StartTaping,
        TapeList,
    },
};

use crate::{
    args::{Globals, Shadow, Tape},
    failure::{Failure, Result, failed, file},
    output::{Output, Page, bad, bold, dim, good, time, warn},
    progress::Progress,
    target::Target,
};

pub(crate) async fn tape(globals: &Globals, output: Output, command: Tape) -> Result<()> {
    let target = Target::find(globals, output, "stecker tape").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Tape) -> Result<()> {
    let operations = target.operations();
    match command {
        Tape::Start {
            connection,
            period,
            calls,
        } => {
            let wish = StartTaping { period, calls };
            let list = operations.start_taping(&connection, &wish).await?;
            output.answer(&list, |page| show_taping(page, &connection, &list))?;
        }
        Tape::Stop { connection } => {
            let list = operations.stop_taping(&connection).await?;
            output.answer(&list, |page| show_taping(page, &connection, &list))?;
        }
        Tape::List { connection } => {
            let list = operations.tapes(&connection).await?;
            output.answer(&list, |page| show_list(page, &connection, &list))?;
        }
        Tape::Export { connection, to, tape } => {
            let ids = match tape {
                Some(id) => vec![id],
                None => {
                    let list = operations.tapes(&connection).await?;
                    list.tapes.into_iter().map(|tape| tape.id).collect()
                }
            };
            fs::create_dir_all(&to)
                .map_err(|error| file("make", &to, error, "name a folder that can be written to"))?;
            let mut written = Vec::new();
            for id in ids {
                let tape = operations.tape(&connection, &id).await?;
                written.push(write(&to, &id, &tape)?);
            }
            output.answer(&written, |page| {
                page.line(format!("{} call(s) written into {}", written.len(), to.display()));
                page.line("read them before they go anywhere: they hold what the system answered");
            })?;
        }
        Tape::Clear { connection } => {
            let cleared = operations.clear_tapes(&connection).await?;
            output.answer(&cleared, |page| {
                page.line(format!("{} recorded call(s) forgotten", cleared.tapes));
            })?;
        }
    }
    Ok(())
}

/// The file's name, which says what it is and sorts by age.
fn write(folder: &Path, id: &str, tape: &serde_json::Value) -> Result<String> {
    let function = tape.pointer("/call/function").and_then(|name| name.as_str());
    let name = format!("{id}-{}.json", function.unwrap_or("call"));
    let path = folder.join(&name);
    let text = serde_json::to_string_pretty(tape).map_err(|error| failed("output", error.to_string()))?;
    fs::write(&path, text + "\n").map_err(|error| file("write", &path, error, "name another folder"))?;
    Ok(name)
}

fn show_taping(page: &mut Page, connection: &Name, list: &TapeList) {
    match &list.taping {
        Some(taping) => page.line(format!(
            "{connection} is recorded until {} or for {} more call(s); {} are kept",
            time(taping.until),
            taping.calls_left,
            list.tapes.len()
        )),
        None => page.line(format!(
            "{connection} is not recorded; {} call(s) are kept",
            list.tapes.len()
        )),
    }
}

fn show_list(page: &mut Page, connection: &Name, list: &TapeList) {
    show_taping(page, connection, list);
    if list.tapes.is_empty() {
        return page.line(format!(
            "`stecker tape start {connection}` records the calls from now on"
        ));
    }
    let rows = list.tapes.iter().map(|tape| {
        vec![
            tape.id.clone(),
            time(tape.at),
            tape.function.clone(),
            tape.release.short().to_owned(),
            tape.bytes.to_string(),
        ]
    });
    let head = ["TAPE", "AT", "FUNCTION", "RELEASE", "BYTES"];
    page.table(&head, &rows.collect::<Vec<_>>());
}

pub(crate) async fn shadow(globals: &Globals, output: Output, words: Shadow) -> Result<()> {
    let request = ShadowRequest {
        config: words.config.as_deref().map(configuration).transpose()?,
        release: words.release,
        calls: Some(words.calls),
        ignore: words.ignore,
        max_cpu_ratio: Some(words.max_cpu_ratio),
    };
    let target = Target::find(globals, output, "stecker shadow").await?;
    let progress = Progress::new(output, &format!("playing the calls of {}", words.connection));
    let report = target.operations().shadow(&words.connection, &request).await;
    drop(progress);
    target.close().await;
    let report = report?;
    output.answer(&report, |page| show(page, &report))?;
    match report.verdict {
        ShadowVerdict::Pass => Ok(()),
        ShadowVerdict::Fail | ShadowVerdict::Unknown => Err(Failure::Told),
    }
}

fn configuration(path: &Path) -> Result<serde_json::Value> {
    let hint = "write the configuration of a connection into it, as a JSON object";
    let text = fs::read_to_string(path).map_err(|error| file("read", path, error, hint))?;
    serde_json::from_str(&text).map_err(|error| file("understand", path, error, hint))
}

fn show(page: &mut Page, report: &ShadowReport) {
    page.line(match report.verdict {
        ShadowVerdict::Pass => good("it does the same"),
        ShadowVerdict::Fail => bad("it does not do the same"),
        ShadowVerdict::Unknown => warn("there is no call to tell by"),
    });
    for reason in &report.reasons {
        page.line(format!("  {} {reason}", bad("✗")));
    }
    page.line("");
    page.field("connection", &report.connection);
    for (name, release) in [("running", &report.running), ("candidate", &report.candidate)] {
        page.field(
            name,
            format!("{} {}", release.plugin, dim(release.digest.short())),
        );
    }
    page.field(
        "compared",
        format!("{} of {} call(s)", report.compared, report.tapes),
    );
    for left_out in &report.left_out {
        page.field(
            "",
            dim(&format!("{} left out: {}", left_out.count, left_out.reason)),
        );
    }
    if report.verdict == ShadowVerdict::Unknown {
        page.line(format!(
            "`stecker tape start {}` records the calls from now on",
            report.connection
        ));
    }
    show_differences(page, "What it does differently", &report.differences);
    show_differences(
        page,
        "Noise: what the running release does differently itself",
        &report.noise,
    );
    show_cost(page, &report.cost);
}

fn show_differences(page: &mut Page, title: &str, differences: &[ShadowDifference]) {
    if differences.is_empty() {
        return;
    }
    page.line("");
    page.line(bold(title));
    for difference in differences {
        let stream = difference.stream.as_deref().unwrap_or("—");
        page.line(format!(
            "{} {stream} {} × {}",
            difference.kind.as_str(),
            difference.place,
            difference.count
        ));
        for example in &difference.examples {
            let key = example.key.as_deref().unwrap_or("");
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            page.line(dim(&format!(
                "    {key} {} → {}",
                value(&example.old),
                value(&example.new)
            )));
        }
    }
}

fn show_cost(page: &mut Page, cost: &ShadowCost) {
    page.line("");
    let row = |name: &str, usage: &ShadowUsage| {
        vec![
            name.to_owned(),
            usage.calls.to_string(),
            format!("{}.{:03} ms", usage.cpu_us / 1_000, usage.cpu_us % 1_000),
            format!("{} KiB", usage.peak_memory >> 10),
            usage.http_requests.to_string(),
        ]
    };
    let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("× {ratio}"));
    page.table(
        &["COST", "CALLS", "PROCESSOR", "MEMORY", "REQUESTS"],
        &[
            row("running", &cost.running),
            row("candidate", &cost.candidate),
            vec![
                String::new(),
                String::new(),
                ratio(cost.cpu_ratio),
                ratio(cost.memory_ratio),
                ratio(cost.requests_ratio),
            ],
        ],
    );
}
