//! `stecker denials …`

use stecker_model::api::{ClearDenials, DenialFilter, DenialInfo, DenialList};

use crate::{
    args::{Denials, Globals},
    failure::Result,
    output::{Output, Page, bold, dim, good, time, warn},
    target::Target,
};

pub(crate) async fn denials(globals: &Globals, output: Output, command: Denials) -> Result<()> {
    let target = Target::find(globals, output, "stecker denials").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Denials) -> Result<()> {
    let operations = target.operations();
    match command {
        Denials::List {
            connection,
            flow,
            rule,
            since,
            limit,
        } => {
            let filter = DenialFilter {
                connection,
                flow,
                rule,
                since: since.map(|period| {
                    let ago = i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
                    jiff::Timestamp::now().as_millisecond().saturating_sub(ago)
                }),
                limit: Some(limit),
            };
            let list = operations.denials(&filter).await?;
            output.answer(&list, |page| show_list(page, &list))?;
        }
        Denials::Show { id } => {
            let denial = operations.denial(&id).await?;
            output.answer(&denial, |page| show(page, &denial))?;
        }
        Denials::Clear { connection } => {
            let cleared = operations.clear_denials(&ClearDenials { connection }).await?;
            output.answer(&cleared, |page| {
                page.line(format!("{} kind(s) of denials forgotten", cleared.denials));
            })?;
        }
    }
    Ok(())
}

/// The connection, or the flow whose transform it was.
fn whose(denial: &DenialInfo) -> String {
    match (&denial.connection, &denial.flow) {
        (Some(connection), _) => connection.to_string(),
        (None, Some(flow)) => format!("{flow} {}", dim("(transform)")),
        (None, None) => String::new(),
    }
}

fn show_list(page: &mut Page, list: &DenialList) {
    if list.denials.is_empty() {
        page.line(good("nothing was denied"));
    } else {
        let rows = list.denials.iter().map(|denial| {
            vec![
                denial.id.clone(),
                whose(denial),
                denial.rule.clone(),
                denial.layer.clone(),
                denial.count.to_string(),
                time(denial.last_seen_at),
                denial.asked.lines().next().unwrap_or_default().to_owned(),
            ]
        });
        page.table(
            &["DENIAL", "CONNECTION", "RULE", "BY", "TIMES", "LAST", "ASKED FOR"],
            &rows.collect::<Vec<_>>(),
        );
        page.line("`stecker denials show DENIAL` tells what would allow it");
    }
    for left_out in &list.left_out {
        let whose = left_out
            .connection
            .as_ref()
            .or(left_out.flow.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default();
        page.line(warn(&format!(
            "{} more of {whose} were counted and not kept: too many different ones",
            left_out.count
        )));
    }
}

fn show(page: &mut Page, denial: &DenialInfo) {
    page.field("denial", &denial.id);
    page.field("asked for", &denial.asked);
    page.field("connection", whose(denial));
    page.field(
        "plugin",
        format!("{} {}", denial.plugin, dim(denial.release.short())),
    );
    page.field("rule", &denial.rule);
    page.field(
        "refused by",
        match denial.layer.as_str() {
            "manifest" => "manifest: the plugin does not ask for it in its plugin.toml",
            "grant" => "grant: the connection is not granted it",
            "ceiling" => "ceiling: it is beyond what the tenant may have",
            "host" => "host: never allowed",
            other => other,
        },
    );
    page.field("times", denial.count.to_string());
    page.field("first", time(denial.first_seen_at));
    page.field("last", time(denial.last_seen_at));
    page.line("");
    if denial.smallest_grant.is_empty() {
        return page.line("No grant can allow it.");
    }
    page.line(bold("The least that would allow it"));
    page.line(&denial.smallest_grant);
    page.line("");
    page.line(format!("goes into {}", denial.goes_into));
}
