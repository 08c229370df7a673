//! `stecker plan` and `stecker apply`

use std::path::Path;

use serde_json::Value;
use stecker_model::api::{ChangeKind, Plan};

use crate::{
    args::Globals,
    failure::Result,
    output::{Output, Page, bad, bold, dim, good, warn},
    progress::Progress,
    setup::SetupFile,
    target::Target,
};

pub(crate) async fn apply(globals: &Globals, output: Output, file: &Path, dry_run: bool) -> Result<()> {
    // What can be seen without a host is told before one is looked for.
    let setup = SetupFile::read(file)?;
    let target = Target::find(globals, output, "stecker apply").await?;
    let result = answer(&target, output, setup, dry_run).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, setup: SetupFile, dry_run: bool) -> Result<()> {
    let operations = target.operations();
    let (setup, located) = setup.resolve(operations, output).await?;
    let progress = Progress::new(output, "checking the setup against its plugins");
    let plan = if dry_run {
        operations.plan(&setup).await
    } else {
        operations.apply(&setup).await
    };
    drop(progress);
    let plan = plan.map_err(|problem| located.refusal(problem))?;
    output.answer(&plan, |page| show(page, &plan))?;
    Ok(())
}

fn show(page: &mut Page, plan: &Plan) {
    for change in &plan.changes {
        let (mark, word) = match change.kind {
            ChangeKind::Create => (good("+"), "new"),
            ChangeKind::Update => (warn("~"), "changes"),
            ChangeKind::Unchanged => (dim("="), "stays"),
        };
        page.line(format!(
            "{mark} {} {} {}",
            change.what,
            bold(change.name.as_str()),
            dim(word)
        ));
        for field in &change.fields {
            let (before, after) = (short(&field.before), short(&field.after));
            page.line(format!("    {}: {} → {}", field.path, bad(&before), good(&after)));
        }
    }
    let count = |kind| plan.changes.iter().filter(|change| change.kind == kind).count();
    let (new, changed) = (count(ChangeKind::Create), count(ChangeKind::Update));
    let rest = format!(
        "{new} new, {changed} changed, {} as before",
        count(ChangeKind::Unchanged)
    );
    page.line(match (plan.applied, new + changed) {
        (true, 0) => format!("nothing to do: {rest}"),
        (true, _) => format!("{}: {rest}", good("applied")),
        (false, _) => format!("would be: {rest}"),
    });
}

/// A value on one line.
fn short(value: &Value) -> String {
    const WIDTH: usize = 60;
    if value.is_null() {
        return "(none)".to_owned();
    }
    let text = value.to_string();
    if text.chars().count() <= WIDTH {
        return text;
    }
    let mut cut: String = text.chars().take(WIDTH).collect();
    cut.push('…');
    cut
}
