//! The way of one connection's requests: waiting for a turn, and telling how each ended.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use reqwest::header::HeaderMap;
use stecker_model::{
    ErrorCode, Name, PluginError, Priority,
    api::{Breaker, BreakerState},
};
use tokio::time::Instant;
use url::Url;

use super::{
    account::{Turn, Waiting},
    headers,
    registry::{Assigned, Key, Shared, Upstreams, lock, now_ms},
};

/// A request that waited until so shortly before the end does not begin: it would be cut off half-way, and may have been acted on.
const LEAST: Duration = Duration::from_millis(10);
/// How long a request that is not the first in line waits before it looks by itself.
const LOOK: Duration = Duration::from_secs(1);
/// A call that is cut off so shortly before its end ran out of its time.
const LATE: Duration = Duration::from_millis(250);

/// The way of one connection's requests to its upstream.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    upstreams: Upstreams,
    key: Key,
}

/// A request that may go. It has to be told how that ended; dropped before, the request counts as not sent.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pass(Option<Going>);

struct Going {
    upstreams: Upstreams,
    shared: Arc<Shared>,
    host: String,
    /// Whether it counts for the budget.
    counts: bool,
    /// When it was sent, once it was; and by when it has to be answered.
    sent: Option<Instant>,
    deadline: Instant,
}

impl fmt::Debug for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Going")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Gives up the place in line.
struct Place<'a> {
    shared: &'a Shared,
    waiting: Option<Waiting>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting {
            lock(&self.shared.account).leave(waiting);
            self.shared.changed.notify_waiters();
        }
    }
}

/// As it is shown: with the port where that is not the scheme's own.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Way {
    pub(super) fn new(upstreams: Upstreams, key: Key) -> Self {
        Self { upstreams, key }
    }

    /// Waits for the turn of a request, at most until `deadline`.
    ///
    /// # Errors
    /// `rate-limited` if its turn does not come in time, `transient` if the host is down. Nothing was sent then, and `retry-after` says when
    /// to come back.
    pub(crate) async fn enter(
        &self,
        url: &Url,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Pass, PluginError> {
        let Some(Assigned { account, shared }) = self.upstreams.assigned(&self.key) else {
            return Ok(Pass(None));
        };
        let (connection, host) = (&self.key.1, host_of(url));
        let waiting = lock(&shared.account).join(priority, now_ms());
        let mut place = Place {
            shared: &shared,
            waiting: Some(waiting),
        };
        let mut has_waited = false;
        loop {
            // Listening begins before looking, so that what changes in between is not missed.
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let now = now_ms();
            let wait = {
                let mut state = lock(&shared.account);
                match state.turn(waiting, connection, &host, now) {
                    Turn::Now if !(has_waited && Instant::now() + LEAST > deadline) => {
                        state.go(waiting, connection, &host, now);
                        place.waiting = None;
                        drop(state);
                        shared.changed.notify_waiters();
                        return Ok(self.pass(Arc::clone(&shared), host, true, deadline));
                    }
                    Turn::Now => Some(now),
                    Turn::Down(breaker) => return Err(down(&host, &breaker, now)),
                    Turn::Wait(until) => until,
                    Turn::Fetch(wanted) => {
                        state.is_fetching = true;
                        if let Some(budget) = state.budget().copied() {
                            drop(state);
                            self.upstreams.fetch(&shared, budget, wanted);
                        }
                        None
                    }
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let wish = wait
                .map(|until| Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0)));
            if left < LEAST || wish.is_some_and(|wish| wish > left) {
                return Err(too_many(&account, wish));
            }
            has_waited = true;
            let nap = wish.unwrap_or(LOOK).min(left).max(Duration::from_millis(1));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// For a request that does not count for the account, such as one for a token: whether its host is asked at all.
    ///
    /// # Errors
    /// `transient` if it is down.
    pub(crate) fn ask(&self, url: &Url, deadline: Instant) -> Result<Pass, PluginError> {
        let Some(Assigned { shared, .. }) = self.upstreams.assigned(&self.key) else {
            return Ok(Pass(None));
        };
        let (connection, host, now) = (&self.key.1, host_of(url), now_ms());
        {
            let mut state = lock(&shared.account);
            state
                .may_ask(connection, &host, now)
                .map_err(|breaker| down(&host, &breaker, now))?;
            state.ask(connection, &host, now);
        }
        Ok(self.pass(shared, host, false, deadline))
    }

    fn pass(&self, shared: Arc<Shared>, host: String, counts: bool, deadline: Instant) -> Pass {
        Pass(Some(Going {
            upstreams: self.upstreams.clone(),
            shared,
            host,
            counts,
            sent: None,
            deadline,
        }))
    }
}

fn not_sent(code: ErrorCode, message: String, retry_after: Option<Duration>) -> PluginError {
    let mut error = PluginError::new(code, message).with_detail("sent", "no");
    error.retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
    error
}

fn down(host: &str, breaker: &Breaker, now: i64) -> PluginError {
    let wait = breaker.until.map_or(0, |until| until.saturating_sub(now));
    let doing = match breaker.state {
        BreakerState::HalfOpen => "it is being tried whether it answers again",
        BreakerState::Open | BreakerState::Closed => "it is left alone for a while",
    };
    let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
    let message = format!(
        "the upstream {host} is down ({}), and {doing}; nothing was sent",
        breaker.reason
    );
    not_sent(ErrorCode::Transient, message, Some(wait)).with_detail("cause", "upstream-down")
}

fn too_many(account: &Name, wait: Option<Duration>) -> PluginError {
    let message = format!(
        "the upstream account `{account}` takes no more requests within the time that the call has; nothing was sent. \
         `stecker upstream show {account}` tells what is left of it"
    );
    not_sent(ErrorCode::RateLimited, message, Some(wait.unwrap_or(LOOK)))
}

impl Pass {
    /// Sends, and tells how that ended.
    pub(crate) async fn through<E>(
        mut self,
        sending: impl Future<Output = Result<reqwest::Response, E>>,
        lost: impl FnOnce(&E) -> Option<String>,
    ) -> Result<reqwest::Response, E> {
        if let Some(going) = &mut self.0 {
            going.sent = Some(Instant::now());
        }
        let answer = sending.await;
        match &answer {
            Ok(response) => self.answered(response.status().as_u16(), response.headers()),
            Err(error) => match lost(error) {
                Some(reason) => self.lost(&reason),
                None => self.unsent(),
            },
        }
        answer
    }

    fn answered(&mut self, status: u16, headers: &HeaderMap) {
        let Some(going) = self.0.take() else { return };
        let now = now_ms();
        let said = headers::read(|name| headers.get(name)?.to_str().ok(), now);
        lock(&going.shared.account).answered(
            &going.host,
            (status, &said),
            going.counts,
            now,
            &mut rand::rng(),
        );
        going.upstreams.tell(&going.shared);
    }

    fn lost(&mut self, reason: &str) {
        let Some(going) = self.0.take() else { return };
        lock(&going.shared.account).lost(&going.host, reason, going.counts, now_ms(), &mut rand::rng());
        going.upstreams.tell(&going.shared);
    }

    fn unsent(&mut self) {
        let Some(going) = self.0.take() else { return };
        lock(&going.shared.account).unsent(&going.host, going.counts);
        going.shared.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A call that is cut off while it waits for an answer ran out of its time, unless it was given up long before that.
        let is_late = self
            .0
            .as_ref()
            .is_some_and(|going| going.sent.is_some() && Instant::now() + LATE > going.deadline);
        if is_late {
            self.lost("no answer within the time that the call had");
        } else {
            self.unsent();
        }
    }
}
