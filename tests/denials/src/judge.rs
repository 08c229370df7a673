//! Whether what came of a scenario is what it expects.

use stecker_model::Probe;
use stecker_sandbox::Denial;

use crate::{
    expect::{Denied, Expect, Step},
    run::{Ending, Observed},
    scenario::Via,
};

/// What is wrong, in words for a person; empty if nothing is.
pub(crate) fn judge(expect: &Expect, seen: &Observed) -> Vec<String> {
    let mut wrong = Vec::new();
    endings(expect, seen, &mut wrong);
    let mut denials = seen.told.denials.clone();
    steps(expect, seen, &mut denials, &mut wrong);
    for denied in &expect.denied {
        claim(denied, "the call", &mut denials, &mut wrong);
    }
    for denial in &denials {
        wrong.push(format!(
            "a denial that nobody expected: {} ({}), {}",
            denial.rule, denial.layer, denial.asked
        ));
    }
    upstream(expect, seen, &mut wrong);
    log(expect, seen, &mut wrong);
    secrets(seen, &mut wrong);
    if let Some(within) = expect.within
        && seen.longest > within.duration()
    {
        wrong.push(format!(
            "a call took {:?}; it has to be over within {:?}",
            seen.longest,
            within.duration()
        ));
    }
    if seen.peak_memory > seen.memory_limit {
        wrong.push(format!(
            "the guest had {} bytes of memory; {} are allowed",
            seen.peak_memory, seen.memory_limit
        ));
    }
    if let Some(stored) = &expect.stored
        && *stored != seen.stored
    {
        wrong.push(format!("stored is {:?}; expected was {stored:?}", seen.stored));
    }
    if let Some(blobs) = expect.blobs
        && blobs != seen.blobs
    {
        wrong.push(format!("{} blobs were kept; expected were {blobs}", seen.blobs));
    }
    if seen.canary > 0 {
        wrong.push(format!("the canary was reached {} times", seen.canary));
    }
    wrong.extend(
        seen.neighbour
            .iter()
            .map(|error| format!("the neighbour: {error}")),
    );
    wrong
}

fn endings(expect: &Expect, seen: &Observed, wrong: &mut Vec<String>) {
    for ending in &seen.endings {
        let (kind, text) = (ending.kind(), ending.text());
        if !expect.ends.0.holds(kind) {
            wrong.push(format!(
                "it ended with `{kind}` and not with {:?}: {}",
                expect.ends.0,
                cut(&text)
            ));
            return;
        }
        for part in &expect.contains {
            if !text.contains(part.as_str()) {
                wrong.push(format!("`{part}` is not in: {}", cut(&text)));
            }
        }
        for part in &expect.lacks {
            if text.contains(part.as_str()) || seen.told.lines.iter().any(|line| line.contains(part.as_str()))
            {
                wrong.push(format!("`{part}` is in what came out: {}", cut(&text)));
            }
        }
    }
    if seen.endings.is_empty() {
        wrong.push("nothing was called".to_owned());
    }
    if let Some(once) = &expect.once
        && !seen.endings.iter().any(|ending| once.0.holds(ending.kind()))
    {
        wrong.push(format!(
            "none of the calls ended with {:?}: {:?}",
            once.0,
            seen.endings.iter().map(Ending::kind).collect::<Vec<_>>()
        ));
    }
}

fn steps(expect: &Expect, seen: &Observed, denials: &mut Vec<Denial>, wrong: &mut Vec<String>) {
    for ending in &seen.endings {
        let Ending::Probes(probes) = ending else { continue };
        if probes.len() != expect.step.len() {
            wrong.push(format!(
                "{} steps were expected and {} came: {probes:?}",
                expect.step.len(),
                probes.len()
            ));
        }
        for (i, (step, probe)) in expect.step.iter().zip(probes).enumerate() {
            let through_wasi = step.wasi.as_deref().filter(|_| seen.via == Some(Via::Wasi));
            one_step(
                &format!("step {}", i + 1),
                through_wasi.unwrap_or(step),
                probe,
                denials,
                wrong,
            );
        }
    }
}

fn one_step(at: &str, step: &Step, probe: &Probe, denials: &mut Vec<Denial>, wrong: &mut Vec<String>) {
    let text = format!("{} {}", probe.message, probe.hint.as_deref().unwrap_or_default());
    let code = probe.message.split(':').next().unwrap_or_default();
    let mut require = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{at}: {what}; it came: {}", cut(&text)));
        }
    };
    if let Some(expected) = &step.code {
        require(
            !probe.ok && expected.holds(code),
            format!("it should have failed with {expected:?}"),
        );
    }
    if step.denied.is_some() {
        require(
            !probe.ok && code == "denied",
            "it should have been denied".to_owned(),
        );
    }
    if let Some(status) = step.status {
        let came = probe
            .message
            .split(' ')
            .next()
            .and_then(|status| status.parse::<u16>().ok());
        require(
            probe.ok && came == Some(status),
            format!("it should have been answered with {status}"),
        );
    }
    if let Some(ok) = step.ok {
        require(
            probe.ok == ok,
            format!("it should {}have been answered", if ok { "" } else { "not " }),
        );
    }
    for part in &step.contains {
        require(text.contains(part.as_str()), format!("`{part}` should be in it"));
    }
    for part in &step.lacks {
        require(
            !text.contains(part.as_str()),
            format!("`{part}` should not be in it"),
        );
    }
    if let Some(denied) = &step.denied {
        claim(denied, at, denials, wrong);
    }
}

/// Takes the denial off the list of those that came, and looks at what it says.
fn claim(denied: &Denied, at: &str, denials: &mut Vec<Denial>, wrong: &mut Vec<String>) {
    for _ in 0..denied.times {
        let found = denials.iter().position(|denial| {
            denial.rule == denied.rule
                && denial.layer == denied.layer
                && denial.asked.contains(&denied.asked)
                && denial.smallest_grant.contains(&denied.grant)
        });
        let Some(found) = found else {
            wrong.push(format!(
                "{at}: expected was the denial {} ({}) of `{}` with a grant like `{}`; these came: {:?}",
                denied.rule, denied.layer, denied.asked, denied.grant, denials
            ));
            return;
        };
        let denial = denials.remove(found);
        let grant = &denial.smallest_grant;
        if denial.layer == "host" {
            if !grant.is_empty() {
                wrong.push(format!(
                    "{at}: no grant lifts a rule of the host, but there is one: {grant}"
                ));
            }
        } else if let Err(error) = toml::from_str::<toml::Table>(grant) {
            wrong.push(format!("{at}: the smallest grant is not TOML ({error}): {grant}"));
        } else if grant.is_empty() {
            wrong.push(format!("{at}: the denial says no grant that would lift it"));
        }
    }
}

fn upstream(expect: &Expect, seen: &Observed, wrong: &mut Vec<String>) {
    let came = seen.requests;
    if let Some(exactly) = expect.requests
        && came != exactly
    {
        wrong.push(format!("the upstream got {came} requests, not {exactly}"));
    }
    if let Some(most) = expect.requests_at_most
        && came > most
    {
        wrong.push(format!(
            "the upstream got {came} requests; at most {most} are right"
        ));
    }
    if let Some(most) = expect.at_once_at_most
        && seen.at_once > most
    {
        wrong.push(format!(
            "{} requests were under way at once; at most {most} are right",
            seen.at_once
        ));
    }
    let heads = seen.heads.join("\n").to_ascii_lowercase();
    for part in &expect.upstream_got {
        if !heads.contains(&part.to_ascii_lowercase()) {
            wrong.push(format!(
                "`{part}` should have got to the upstream, which got: {}",
                cut(&heads)
            ));
        }
    }
    for part in &expect.upstream_lacks {
        if heads.contains(&part.to_ascii_lowercase()) {
            wrong.push(format!("`{part}` got to the upstream: {}", cut(&heads)));
        }
    }
}

fn log(expect: &Expect, seen: &Observed, wrong: &mut Vec<String>) {
    let calls = u64::try_from(seen.endings.len().max(1)).unwrap_or(u64::MAX);
    if let Some(most) = expect.lines_at_most
        && seen.told.line_count > most.saturating_mul(calls)
    {
        wrong.push(format!(
            "{} lines got into the log in {calls} calls",
            seen.told.line_count
        ));
    }
    if let Some(most) = expect.log_bytes_at_most
        && seen.told.line_bytes > most.saturating_mul(calls)
    {
        wrong.push(format!(
            "{} bytes got into the log in {calls} calls",
            seen.told.line_bytes
        ));
    }
    for part in &expect.logged {
        if !seen.told.lines.iter().any(|line| line.contains(part.as_str())) {
            wrong.push(format!("`{part}` is not in the log"));
        }
    }
}

/// In no scenario does any form of a secret get to a guest or into a log.
fn secrets(seen: &Observed, wrong: &mut Vec<String>) {
    for (form, secret) in &seen.secrets {
        if seen
            .endings
            .iter()
            .any(|ending| ending.text().contains(secret.as_str()))
        {
            wrong.push(format!("a secret got to the guest ({form})"));
        }
        if seen.told.lines.iter().any(|line| line.contains(secret.as_str())) {
            wrong.push(format!("a secret got into the log ({form})"));
        }
        if seen
            .told
            .denials
            .iter()
            .any(|denial| denial.to_string().contains(secret.as_str()))
        {
            wrong.push(format!("a secret got into a denial ({form})"));
        }
    }
}

/// What fits into a message.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(600).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
