//! `stecker tenant …`

use std::{fs, path::Path};

use stecker_model::{
    TenantLimits,
    api::{DayUsage, Fault, TenantInfo},
};

use crate::{
    args::{Globals, Tenant},
    failure::{Result, failed, faulty_limits, file},
    output::{Output, Page, dim, time},
    target::Target,
};

pub(crate) async fn tenant(globals: &Globals, output: Output, command: Tenant) -> Result<()> {
    // A file that cannot be used is refused before a host is looked for.
    let limits = match &command {
        Tenant::Limit { file } => Some(read(file)?),
        Tenant::List | Tenant::Show => None,
    };
    let target = Target::find(globals, output, "stecker tenant").await?;
    let result = answer(&target, output, command, limits).await;
    target.close().await;
    result
}

async fn answer(
    target: &Target,
    output: Output,
    command: Tenant,
    limits: Option<TenantLimits>,
) -> Result<()> {
    let operations = target.operations();
    let info = match (command, limits) {
        (Tenant::List, _) => {
            let all = operations.tenants().await?;
            output.answer(&all, |page| show_list(page, &all))?;
            return Ok(());
        }
        (_, Some(limits)) => operations.limit_tenant(&limits).await?,
        (_, None) => operations.tenant_info().await?,
    };
    output.answer(&info, |page| show(page, &info))?;
    Ok(())
}

fn read(path: &Path) -> Result<TenantLimits> {
    let text = fs::read_to_string(path).map_err(|error| {
        file(
            "read",
            path,
            error,
            "`stecker tenant limit --help` shows what is in it",
        )
    })?;
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let parsed: Result<TenantLimits, String> = match extension.to_ascii_lowercase().as_str() {
        "toml" => toml::from_str(&text).map_err(|error| error.to_string()),
        "json" => serde_json::from_str(&text).map_err(|error| error.to_string()),
        _ => Err("limits are a .toml or a .json file; rename it after what is in it".to_owned()),
    };
    let limits = parsed.map_err(|error| {
        failed("limits-file", format!("{}: {}", path.display(), error.trim_end()))
            .with_hint("`stecker tenant limit --help` shows what is in it; nothing was changed")
    })?;
    if let Err(errors) = limits.validate() {
        return Err(faulty_limits(path, errors.into_iter().map(Fault::from).collect()));
    }
    Ok(limits)
}

fn used(usage: &DayUsage) -> Vec<String> {
    vec![
        usage.calls.to_string(),
        format!("{:.1}", seconds(usage.cpu_us)),
        (usage.peak_memory >> 10).to_string(),
        usage.http_requests.to_string(),
        (usage.http_bytes >> 10).to_string(),
        usage.denials.to_string(),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "for people, to a tenth of a second")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

const USED: [&str; 6] = ["CALLS", "CPU S", "PEAK KIB", "REQUESTS", "HTTP KIB", "DENIED"];

fn show_list(page: &mut Page, tenants: &[TenantInfo]) {
    let rows: Vec<Vec<String>> = tenants
        .iter()
        .map(|tenant| {
            let limits = &tenant.limits;
            let mut row = vec![
                tenant.name.to_string(),
                limits.memory_mib.to_string(),
                limits.calls.to_string(),
                if limits.ceiling.is_some() { "yes" } else { "no" }.to_owned(),
            ];
            row.extend(used(&tenant.today));
            row
        })
        .collect();
    let head = ["TENANT", "MAX MIB", "MAX CALLS", "CEILING"];
    page.table(&[&head[..], &USED[..]].concat(), &rows);
    page.line(dim("what was used is since midnight UTC"));
}

fn show(page: &mut Page, tenant: &TenantInfo) {
    page.field("tenant", tenant.name.as_str());
    page.field("since", time(tenant.created_at));
    let usual = if tenant.limits_set { "" } else { " (as usual)" };
    let limits = &tenant.limits;
    page.field(
        "limits",
        format!(
            "{} MiB, {} calls at a time{usual}",
            limits.memory_mib, limits.calls
        ),
    );
    match &limits.ceiling {
        None => page.field("ceiling", "none: connections have what they are granted"),
        Some(ceiling) => {
            let hosts: Vec<&str> = ceiling.http.iter().map(|grant| grant.host.as_str()).collect();
            let hosts = if hosts.is_empty() {
                "no host".to_owned()
            } else {
                hosts.join(" ")
            };
            let storage = ceiling.storage.as_ref().map_or_else(
                || "no storage".to_owned(),
                |storage| format!("storage of {} bytes", storage.max_bytes),
            );
            let blobs = ceiling.blobs.as_ref().map_or_else(
                || "no blobs".to_owned(),
                |blobs| format!("blobs of {} bytes", blobs.max_bytes),
            );
            page.field("ceiling", format!("{hosts}; {storage}; {blobs}"));
        }
    }
    page.line("");
    let mut rows: Vec<Vec<String>> = tenant
        .by_use
        .iter()
        .map(|one| {
            let name = match (&one.connection, &one.flow) {
                (Some(connection), _) => connection.to_string(),
                (None, Some(flow)) => format!("{flow} {}", dim("(transforms)")),
                (None, None) => String::new(),
            };
            let mut row = vec![name];
            row.extend(used(&one.usage));
            row
        })
        .collect();
    let mut sum = vec!["all".to_owned()];
    sum.extend(used(&tenant.today));
    rows.push(sum);
    page.table(&[&["TODAY"][..], &USED[..]].concat(), &rows);
}
