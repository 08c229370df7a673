//! Requests to a server on loopback: from a guest, through the sandbox's way out, and from plain `reqwest`.

use std::{
    net::TcpListener,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use axum::{Router, body::Bytes, routing::post};
use serde::Serialize;
use stecker_benchmarks::measure::{Effort, Ratio, Times, Turn, take_turns};
use tokio::runtime::{Builder, Runtime};

use crate::{
    case::{Contestant, Mode, STECKER, orders, payloads, ranked},
    stecker::{self, Stecker},
};

pub(crate) const REQWEST: &str = "reqwest";

/// Microseconds for one request and its answer.
#[derive(Serialize)]
pub(crate) struct HttpCase {
    pub(crate) mode: Mode,
    /// Requests, one after the other, that one call of the guest makes.
    pub(crate) requests_per_call: usize,
    /// Of the request's body and of the answer's.
    pub(crate) body_bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) control: Ratio,
}

impl HttpCase {
    pub(crate) fn over_reqwest(&self) -> Option<Ratio> {
        let reqwest = self
            .contestants
            .iter()
            .find(|contestant| contestant.name == REQWEST);
        reqwest.map(|reqwest| reqwest.stecker_over)
    }
}

/// Starts a server that gives back what it is sent, on a thread of its own until the process ends; its address.
pub(crate) fn serve() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/echo", listener.local_addr()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("server".to_owned()).spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let echo = post(|body: Bytes| async { body });
            axum::serve(listener, Router::new().route("/echo", echo)).await
        })
    })?;
    Ok(url)
}

pub(crate) fn client() -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

pub(crate) fn case(
    runtime: &Runtime,
    effort: Effort,
    stecker: &Stecker,
    url: &str,
    (mode, requests, body_bytes): (Mode, usize, usize),
) -> Result<HttpCase> {
    let batch = orders(requests, body_bytes);
    let session = stecker.http_session(url, mode.instances())?;
    let client = client()?;

    let answered = payloads(runtime.block_on(stecker::call(&session, batch.clone()))?)?;
    let sent: Vec<&str> = batch.iter().map(|record| record.payload.as_str()).collect();
    ensure!(answered == sent, "the guest did not get back what it sent");
    let one = batch.first().context("there is nothing to send")?;
    let answer = runtime.block_on(plainly(&client, url, one.payload.clone()))?;
    ensure!(
        answer == one.payload,
        "the server does not give back what it is sent"
    );

    // A turn is measured by calls, but told by requests.
    let each = u32::try_from(requests)?;
    let mut stecker_turn = |calls: u32| guest(runtime, &session, &batch, calls).map(|took| took / each);
    let mut again_turn = |calls: u32| guest(runtime, &session, &batch, calls).map(|took| took / each);
    let mut reqwest_turn = |calls: u32| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..calls {
                for record in batch.clone() {
                    plainly(&client, url, record.payload).await?;
                }
            }
            Ok(start.elapsed() / each)
        })
    };
    let mut turns: [&mut Turn<'_, anyhow::Error>; 3] =
        [&mut stecker_turn, &mut again_turn, &mut reqwest_turn];
    let times = take_turns(&mut turns, effort)?;
    let (contestants, control) = ranked(&[STECKER, "again", REQWEST], &times)?;
    Ok(HttpCase {
        mode,
        requests_per_call: requests,
        body_bytes,
        rounds: times.first().map_or(0, Times::rounds),
        contestants,
        control,
    })
}

fn guest(
    runtime: &Runtime,
    session: &stecker_sandbox::Session,
    batch: &[stecker_model::Record],
    calls: u32,
) -> Result<Duration> {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..calls {
            stecker::call(session, batch.to_vec()).await?;
        }
        Ok(start.elapsed())
    })
}

async fn plainly(client: &reqwest::Client, url: &str, body: String) -> Result<String> {
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await?.error_for_status()?;
    Ok(String::from_utf8(answer.bytes().await?.into())?)
}
