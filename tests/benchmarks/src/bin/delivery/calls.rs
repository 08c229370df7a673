//! Signed calls from many senders, at a rate or as fast as they are answered.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;
use stecker_benchmarks::shop;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::lab::SECRET;

/// What became of some calls.
pub(crate) struct Calls {
    /// Calls that were answered with a 2xx: the number of the order, and when the call was due.
    pub(crate) accepted: HashMap<u64, Instant>,
    /// Others.
    pub(crate) refused: u64,
    /// Until the last was answered.
    pub(crate) seconds: f64,
    /// Until the answer.
    pub(crate) times: Percentiles,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    /// Half were faster.
    pub(crate) p50_ms: f64,
    /// 99 of 100 were faster.
    pub(crate) p99_ms: f64,
}

impl Percentiles {
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self {
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }
}

struct Answered {
    id: u64,
    due: Instant,
    took: Duration,
    accepted: bool,
}

async fn call(client: &reqwest::Client, url: &str, id: u64, due: Instant) -> Result<Answered> {
    let body = serde_json::to_vec(&shop::order(id))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-signature", shop::signature(SECRET, &body))
        .body(body);
    let accepted = match request.send().await {
        Ok(answer) => {
            let status = answer.status();
            // To its end, so that the connection can be used again.
            answer.bytes().await.is_ok() && status.is_success()
        }
        Err(_) => false,
    };
    Ok(Answered {
        id,
        due,
        took: due.elapsed(),
        accepted,
    })
}

fn summed_up(answers: Vec<Answered>, begun: Instant) -> Calls {
    let refused = answers.iter().filter(|answer| !answer.accepted).count() as u64;
    Calls {
        refused,
        seconds: begun.elapsed().as_secs_f64(),
        times: Percentiles::of(
            answers
                .iter()
                .filter(|answer| answer.accepted)
                .map(|answer| answer.took),
        ),
        accepted: answers
            .into_iter()
            .filter(|answer| answer.accepted)
            .map(|answer| (answer.id, answer.due))
            .collect(),
    }
}

/// So many calls a second, in turn to each address, whether or not those before were answered: a server that is slow is called no less often. The
/// time of a call begins when it was due.
pub(crate) async fn at_rate(
    client: &reqwest::Client,
    urls: &[String],
    first: u64,
    per_second: u32,
    period: Duration,
) -> Result<Calls> {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for (id, url) in (first..).zip(urls.iter().cycle()) {
        let due = ticks.tick().await;
        if due.duration_since(begun) >= period {
            break;
        }
        let (client, url) = (client.clone(), url.clone());
        calls.spawn(async move { call(&client, &url, id, due).await });
    }
    let answers = calls.join_all().await.into_iter().collect::<Result<_>>()?;
    Ok(summed_up(answers, begun))
}

/// As many as are answered by that many senders, each of which waits for an answer before its next call.
pub(crate) async fn saturate(
    client: &reqwest::Client,
    url: &str,
    ids: Range<u64>,
    senders: usize,
    period: Duration,
) -> Result<Calls> {
    let next = Arc::new(AtomicU64::new(ids.start));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        let (client, url, next) = (client.clone(), url.to_owned(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut answers = Vec::new();
            while begun.elapsed() < period {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= ids.end {
                    break;
                }
                answers.push(call(&client, &url, id, Instant::now()).await?);
            }
            Ok::<_, anyhow::Error>(answers)
        });
    }
    let mut answers = Vec::new();
    for sent in tasks.join_all().await {
        answers.extend(sent?);
    }
    Ok(summed_up(answers, begun))
}
