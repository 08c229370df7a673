//! `stecker upstream …`

use stecker_model::api::{Breaker, BreakerState, CloseUpstream, UpstreamInfo};

use crate::{
    args::{Globals, Upstream},
    failure::Result,
    output::{Output, Page, bad, dim, good, time, warn},
    target::Target,
};

pub(crate) async fn upstream(globals: &Globals, output: Output, command: Upstream) -> Result<()> {
    let target = Target::find(globals, output, "stecker upstream").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Upstream) -> Result<()> {
    let operations = target.operations();
    match command {
        Upstream::List => {
            let upstreams = operations.upstreams().await?;
            output.answer(&upstreams, |page| list(page, &upstreams))?;
        }
        Upstream::Show { account } => {
            let upstream = operations.upstream(&account).await?;
            output.answer(&upstream, |page| show(page, &upstream))?;
        }
        Upstream::Close { account, reason } => {
            let upstream = operations
                .close_upstream(&account, &CloseUpstream { reason })
                .await?;
            output.answer(&upstream, |page| show(page, &upstream))?;
        }
    }
    Ok(())
}

fn joined<T: ToString>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(" ")
}

/// In a word: whether anything is sent.
fn state(upstream: &UpstreamInfo) -> String {
    let mut down = upstream.down().map(|host| host.breaker.state);
    match (&upstream.hold, down.next()) {
        (_, Some(BreakerState::Open)) => bad("down"),
        (_, Some(_)) => warn("being tried"),
        (Some(_), None) => warn("held"),
        (None, None) => good("free"),
    }
}

fn until(upstream: &UpstreamInfo) -> String {
    let hold = upstream.hold.iter().map(|hold| hold.until);
    let down = upstream.down().filter_map(|host| host.breaker.until);
    hold.chain(down).max().map_or_else(String::new, time)
}

fn rate(upstream: &UpstreamInfo) -> String {
    upstream.budget.map_or_else(String::new, |budget| {
        format!("{}/s, burst {}", budget.per_second, budget.burst)
    })
}

fn left(upstream: &UpstreamInfo) -> String {
    let Some(learned) = &upstream.learned else {
        return String::new();
    };
    let limit = learned
        .limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    format!("{}{limit}", learned.left)
}

fn list(page: &mut Page, upstreams: &[UpstreamInfo]) {
    if upstreams.is_empty() {
        return page.line("no connections yet; `stecker apply -f FILE` makes them");
    }
    let rows = upstreams.iter().map(|upstream| {
        vec![
            upstream.account.to_string(),
            state(upstream),
            until(upstream),
            rate(upstream),
            left(upstream),
            upstream.waiting.to_string(),
            joined(&upstream.connections),
        ]
    });
    page.table(
        &[
            "ACCOUNT",
            "STATE",
            "UNTIL",
            "BUDGET",
            "LEFT",
            "WAITING",
            "CONNECTIONS",
        ],
        &rows.collect::<Vec<_>>(),
    );
}

fn show(page: &mut Page, upstream: &UpstreamInfo) {
    page.field("account", upstream.account.as_str());
    page.field("state", state(upstream));
    page.field("connections", joined(&upstream.connections));
    page.field("flows", joined(&upstream.flows));
    if let Some(hold) = &upstream.hold {
        page.field("held until", time(hold.until));
        page.field("  since", time(hold.since));
        page.field("  because", format!("of a {}", hold.reason));
    }
    page.field("budget", rate(upstream));
    page.field("left", left(upstream));
    if let Some(learned) = &upstream.learned {
        page.field(
            "  learned from",
            format!("{} {}", learned.header, dim(&time(learned.at))),
        );
        page.field("  all again at", time(learned.reset_at));
    }
    page.field("waiting", upstream.waiting.to_string());
    let waited = format!("{} requests, {} ms in all", upstream.waited, upstream.waited_ms);
    page.field("waited", waited);
    for host in &upstream.hosts {
        show_host(page, &host.host, &host.breaker);
    }
}

fn show_host(page: &mut Page, host: &str, breaker: &Breaker) {
    let state = breaker.state.as_str();
    let shown = match breaker.state {
        BreakerState::Closed => state.to_owned(),
        BreakerState::HalfOpen => warn(state),
        BreakerState::Open => bad(state),
    };
    page.field("host", format!("{host} {}", dim("breaker ")) + &shown);
    if breaker.state == BreakerState::Closed {
        return;
    }
    page.field("  down since", time(breaker.since));
    page.field("  because", &breaker.reason);
    let next = breaker.until.map_or_else(String::new, time);
    let name = if breaker.state == BreakerState::Open {
        "  next try at"
    } else {
        "  tried until"
    };
    page.field(name, next);
    page.field("  tries", breaker.trips.saturating_sub(1).to_string());
}
