//! The list of codes and checks as a page for people: `docs/gate.md` is this text, and a test compares the two.

use crate::{Check, Code, GatePolicy, Step};

const HEAD: &str = include_str!("gate.head.md");

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let (publish, install) = (GatePolicy::publish(), GatePolicy::install());
    page.push_str("\n## What can be found\n");
    for step in Step::ALL {
        page.push_str(&format!(
            "\n### {}\n\n| code | publish | install | why | what to do |\n|---|---|---|---|---|\n",
            step.as_str()
        ));
        for code in Code::ALL.iter().copied().filter(|code| code.step() == step) {
            page.push_str(&format!(
                "| `{code}` | {} | {} | {} | {} |\n",
                publish.severity(code).as_str(),
                install.severity(code).as_str(),
                cell(code.why()),
                cell(code.todo())
            ));
        }
    }
    page.push_str("\n## The checks of the run\n\n| check | mandatory | what has to hold |\n|---|---|---|\n");
    let mandatory = publish.conformance.unwrap_or_default().mandatory;
    for check in Check::ALL {
        let must = if mandatory.contains(check) { "yes" } else { "" };
        page.push_str(&format!("| `{check}` | {must} | {} |\n", cell(check.holds())));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
