//! `stecker storage …`

use stecker_model::api::{StorageReport, Vacuum, Vacuumed};

use crate::{
    args::{Globals, Storage, StorageCommand},
    commands::confirm,
    failure::Result,
    output::{Output, Page, bold, good},
    progress::Progress,
    target::Target,
};

pub(crate) async fn storage(globals: &Globals, output: Output, command: Storage) -> Result<()> {
    let ask = matches!(
        command.command,
        Some(StorageCommand::Vacuum {
            dry_run: false,
            full: true,
            yes: false
        })
    );
    if ask {
        confirm::can_ask(output, "this writes the whole database anew while others wait")?;
    }
    let target = Target::find(globals, output, "stecker storage").await?;
    let result = answer(&target, output, command, ask).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Storage, ask: bool) -> Result<()> {
    let operations = target.operations();
    let Some(StorageCommand::Vacuum { dry_run, full, .. }) = command.command else {
        let report = operations.storage().await?;
        output.answer(&report, |page| show(page, &report))?;
        return Ok(());
    };
    if ask {
        let would = operations.vacuum(&Vacuum { dry_run: true, full }).await?;
        output.note(&would.how);
        confirm::ask(output, "go on?")?;
    }
    let progress = Progress::new(output, "giving space back");
    let vacuumed = operations.vacuum(&Vacuum { dry_run, full }).await?;
    drop(progress);
    output.answer(&vacuumed, |page| show_vacuumed(page, &vacuumed))?;
    Ok(())
}

/// Bytes as people read them: three digits or so, in powers of 1,024.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while value >= 1_024 && unit + 1 < UNITS.len() {
        tenths = (value % 1_024) * 10 / 1_024;
        value /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || value >= 100 {
        return format!("{value} {name}");
    }
    format!("{value}.{tenths} {name}")
}

fn show(page: &mut Page, report: &StorageReport) {
    let database = &report.database;
    page.field("database", format!("{} {}", database.kind, bytes(database.bytes)));
    page.field(
        "  of it free",
        database.free_bytes.map_or_else(String::new, bytes),
    );
    for tenant in &report.tenants {
        page.line("");
        page.line(bold(&format!("tenant {}", tenant.tenant)));
        if !tenant.flows.is_empty() {
            let rows = tenant.flows.iter().map(|flow| {
                vec![
                    flow.flow.to_string(),
                    flow.records.to_string(),
                    flow.waiting.to_string(),
                    flow.attempts.to_string(),
                    flow.payloads.to_string(),
                    bytes(flow.payload_bytes),
                    flow.payloads_removed.to_string(),
                    flow.records_removed.to_string(),
                ]
            });
            page.table(
                &[
                    "FLOW",
                    "RECORDS",
                    "NOT DONE",
                    "ATTEMPTS",
                    "PAYLOADS",
                    "PAYLOAD SIZE",
                    "DIGESTS",
                    "REMOVED",
                ],
                &rows.collect::<Vec<_>>(),
            );
        }
        for kind in &tenant.other {
            let size = kind
                .bytes
                .map_or_else(String::new, |size| format!(", {}", bytes(size)));
            page.field(&kind.kind, format!("{}{size}", kind.rows));
        }
    }
}

fn show_vacuumed(page: &mut Page, vacuumed: &Vacuumed) {
    page.line(&vacuumed.how);
    page.field("before", bytes(vacuumed.before_bytes));
    let name = if vacuumed.done { "after" } else { "would be" };
    page.field(name, vacuumed.after_bytes.map_or_else(String::new, bytes));
    if vacuumed.done {
        page.line(good("done"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (size, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
