//! `stecker doctor`

use stecker_model::{Probe, api::DoctorReport};

use crate::{
    args::Globals,
    commands::probes,
    failure::{Failure, Result},
    output::{Output, bad, good},
    target::{self, Target},
};

/// A host that cannot even be opened is a finding too, not an error.
pub(crate) async fn doctor(globals: &Globals, output: Output) -> Result<()> {
    let report = match Target::find(globals, output, "stecker doctor").await {
        Ok(target) => {
            let report = target.operations().doctor().await;
            let mut report = match report {
                Ok(report) => report,
                Err(problem) => unwell(problem.detail, problem.hint),
            };
            report.probes.insert(0, who(globals, &target)?);
            target.close().await;
            report
        }
        Err(Failure::Problem(problem)) => unwell(problem.detail.clone(), problem.hint.clone()),
        Err(other) => return Err(other),
    };
    output.answer(&report, |page| {
        probes(page, &report.probes);
        let result = if report.ok {
            good("all is well")
        } else {
            bad("not all is well")
        };
        page.line(format!("{result} (stecker {})", report.version));
    })?;
    if report.ok { Ok(()) } else { Err(Failure::Told) }
}

fn who(globals: &Globals, target: &Target) -> Result<Probe> {
    let message = match target {
        Target::Here { host, .. } => format!(
            "none runs; this command works in {} by itself",
            host.folder().path().display()
        ),
        Target::There(client) if globals.server.is_some() => format!("{} answers", client.base()),
        Target::There(client) => format!(
            "{} answers; it runs in {}",
            client.base(),
            target::data(globals)?.display()
        ),
    };
    Ok(Probe {
        name: "server".to_owned(),
        ok: true,
        message,
        hint: None,
    })
}

fn unwell(detail: String, hint: Option<String>) -> DoctorReport {
    DoctorReport {
        ok: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        probes: vec![Probe {
            name: "host".to_owned(),
            ok: false,
            message: detail,
            hint,
        }],
    }
}
