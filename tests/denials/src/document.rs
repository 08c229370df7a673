//! The scenarios as a page for people: `docs/denials.md` is this text, and a test compares the two.

use anyhow::Result;

use crate::{
    expect::{Denied, OneOrMore, Step},
    scenario::Scenario,
    suite::list,
};

const HEAD: &str = include_str!("denials.head.md");

/// The whole page.
///
/// # Errors
/// A folder does not hold a scenario.
pub fn page() -> Result<String> {
    let mut page = HEAD.to_owned();
    let all = list()?;
    page.push_str(&format!(
        "\n## The {} scenarios\n\n| scenario | what is tried, and why | has to come |\n|---|---|---|\n",
        all.len()
    ));
    for one in all {
        let ways = if one.via.len() > 1 { " ⇄" } else { "" };
        let lifted = if one.lifted { " ↑" } else { "" };
        page.push_str(&format!(
            "| `{}`{ways}{lifted} | **{}.** {} | {} |\n",
            one.name,
            cell(&one.title),
            cell(&one.why),
            cell(&one.expected)
        ));
    }
    Ok(page)
}

fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// What a scenario expects, in a few words.
pub(crate) fn expected(scenario: &Scenario) -> String {
    let expect = &scenario.expect;
    let mut parts: Vec<String> = Vec::new();
    let mut add = |part: String| {
        if !parts.contains(&part) {
            parts.push(part);
        }
    };
    let ends = alternatives(&expect.ends.0);
    if ends != "`ok`" {
        add(ends);
    }
    if let Some(once) = &expect.once {
        add(format!("at least once {}", alternatives(&once.0)));
    }
    for step in &expect.step {
        if let Some(part) = of_step(step) {
            add(part);
        }
    }
    for denied in &expect.denied {
        add(of_denial(denied));
    }
    if expect.lines_at_most.is_some() || expect.log_bytes_at_most.is_some() {
        add("a bounded log".to_owned());
    }
    if !expect.upstream_lacks.is_empty() {
        add("the upstream never gets it".to_owned());
    }
    if !scenario.secrets.is_empty() {
        add("no form of the secret gets out".to_owned());
    }
    if let Some(most) = expect.requests_at_most.or(expect.requests) {
        add(format!("at most {most} requests"));
    }
    if parts.is_empty() {
        parts.push("the host and its neighbours go on".to_owned());
    }
    parts.join("; ")
}

fn of_step(step: &Step) -> Option<String> {
    if let Some(denied) = &step.denied {
        return Some(of_denial(denied));
    }
    if let Some(code) = &step.code {
        return Some(format!("error {}", alternatives(code)));
    }
    step.status.map(|status| format!("answer {status}"))
}

fn of_denial(denied: &Denied) -> String {
    format!("denied: `{}` ({})", denied.rule, denied.layer)
}

fn alternatives(names: &OneOrMore) -> String {
    match names {
        OneOrMore::One(one) => format!("`{one}`"),
        OneOrMore::More(more) => {
            let quoted: Vec<String> = more.iter().map(|one| format!("`{one}`")).collect();
            quoted.join(" or ")
        }
    }
}
