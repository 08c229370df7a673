//! `stecker quarantine …`

use stecker_model::api::{Affected, Discard, QuarantineSelection};

use crate::{
    args::{Globals, Quarantine, Selection},
    failure::Result,
    output::{Output, good},
    target::Target,
};

pub(crate) async fn quarantine(globals: &Globals, output: Output, command: Quarantine) -> Result<()> {
    let target = Target::find(globals, output, "stecker quarantine").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Quarantine) -> Result<()> {
    let operations = target.operations();
    match command {
        Quarantine::List { flow } => {
            let groups = operations.quarantine(flow.as_ref()).await?;
            output.answer(&groups, |page| {
                if groups.is_empty() {
                    return page.line(good("nothing in quarantine"));
                }
                let rows = groups.iter().map(|group| {
                    let place = group.reason.path.clone().unwrap_or_default();
                    vec![
                        group.flow.to_string(),
                        group.count.to_string(),
                        group.reason.code.clone(),
                        place,
                        group.example.to_string(),
                        group.reason.message.lines().next().unwrap_or_default().to_owned(),
                    ]
                });
                page.table(
                    &["FLOW", "RECORDS", "CODE", "AT", "EXAMPLE", "MESSAGE"],
                    &rows.collect::<Vec<_>>(),
                );
                page.line(
                    "`stecker records show EXAMPLE` tells more; then `stecker quarantine retry` or `discard`",
                );
            })?;
        }
        Quarantine::Retry(selection) => {
            let affected = operations.quarantine_retry(&chosen(selection)).await?;
            let here = matches!(target, Target::Here { .. });
            let then = if here {
                "will be tried again at the next run"
            } else {
                "are being tried again"
            };
            told(output, affected, then)?;
        }
        Quarantine::Discard { selection, reason } => {
            let affected = operations
                .quarantine_discard(&Discard {
                    selection: chosen(selection),
                    reason,
                })
                .await?;
            told(output, affected, "given up")?;
        }
    }
    Ok(())
}

fn chosen(selection: Selection) -> QuarantineSelection {
    QuarantineSelection {
        ids: selection.ids,
        flow: selection.flow,
        code: selection.code,
    }
}

fn told(output: Output, affected: Affected, what: &str) -> Result<()> {
    output.answer(&affected, |page| match affected.records {
        0 => page.line("no record in quarantine is selected by that"),
        n => page.line(format!("{n} record(s) {what}")),
    })?;
    Ok(())
}
