//! A record step by step, for people.

use stecker_model::api::{RecordSteps, StepResult};

use crate::{
    commands::cause,
    output::{Page, bad, bold, dim, good, time, warn},
};

pub(super) fn show(out: &mut Page, steps: &RecordSteps) {
    out.field("record", steps.id.to_string());
    out.field("state", steps.state.as_str());
    out.line(dim(&format!(
        "the transforms were run again for this, on the releases that the flow has at {}; nothing was sent",
        time(steps.run_at)
    )));
    let edits = match steps.edits {
        0 => String::new(),
        n => format!(" (edited {n} times)"),
    };
    out.line("");
    out.line(bold(&format!("from the source{edits}")));
    out.line(pretty(&steps.payload));
    for step in &steps.steps {
        out.line("");
        show_step(out, step);
    }
    out.line("");
    if let Some(reason) = &steps.nothing {
        out.line(format!("{} {}", bold("nothing would be sent:"), cause(reason)));
    }
    for sent in &steps.would_send {
        let then = if sent.written {
            dim(" (written already)")
        } else {
            String::new()
        };
        out.line(bold("would be sent") + &then);
        out.field("  to", format!("{}/{}", sent.connection, sent.stream));
        out.field("  key", &sent.key);
        out.field("  operation", sent.operation.as_str());
        out.field("  idempotency", &sent.idempotency_key);
        out.line(pretty(&sent.payload));
    }
}

fn show_step(out: &mut Page, step: &StepResult) {
    let outcome = match step.outcome.as_str() {
        "emitted" => good("emitted"),
        "dropped" => warn("dropped"),
        other => bad(other),
    };
    out.line(format!(
        "{} {} {} {outcome}",
        bold(&format!("transform {}", step.step)),
        step.plugin,
        dim(step.release.short())
    ));
    if let Some(reason) = &step.reason {
        out.line(format!("  {}", cause(reason)));
    }
    for record in &step.records {
        out.field("  key", &record.key);
        out.line(pretty(&record.payload));
    }
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
