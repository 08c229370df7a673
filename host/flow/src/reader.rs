//! Reads one flow's source: waits for its trigger, then page by page to the end, each page committed before it is acknowledged.

use std::time::Duration;

use stecker_model::{
    ErrorCode, Page, ReadRequest, RecordState, RetryClass,
    api::{CircuitState, FlowError as ReadFailure},
};
use stecker_sandbox::CallError;
use stecker_store::{CommitPage, NewRecord, ReadAt, StoreError};

use crate::{
    FlowError, backoff, books::Of, calls::Bound, circles::Way, context::FlowContext, fail_point,
    schedule::Schedule, upstream,
};

/// Payload bytes that a page is asked to stay under.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// How often a flow looks whether its circuit or its queue has changed, where that may happen without a word.
const LOOK: Duration = Duration::from_secs(1);
/// How long anything that waits for a moment sleeps at most: a clock that was set may have made it come sooner. Also how often a host looks
/// what waits for its flows, should a word have been lost.
pub(crate) const IDLE_LOOK: Duration = Duration::from_secs(15);

/// Failures in a row after which a run by hand gives up, so that whoever waits for it hears of it. (A flow that runs by itself goes
/// on trying.)
const ONCE_FAILURES: u32 = 5;

/// Why reading ended.
pub(crate) enum ReadEnd {
    /// It was asked to stop, or its one read is done.
    Stopped,
    /// The lease belongs to somebody else now.
    Fenced,
}

/// What one page brought.
enum Step {
    More,
    CaughtUp,
}

/// Reads until asked to stop.
pub(crate) async fn run(ctx: &FlowContext) -> Result<ReadEnd, StoreError> {
    let schedule = Schedule::of(&ctx.spec.trigger).unwrap_or(Schedule::Never);
    let mut state = ctx.store.reader_state(&ctx.tenant, ctx.flow()).await?;
    let mut served = if ctx.once { 0 } else { state.runs_served };
    let mut failures: u32 = 0;
    // Between two circles every page goes well, so they are counted for themselves.
    let mut circles: u32 = 0;
    let started = ctx.now();
    acknowledge_again(ctx, &state).await?;
    loop {
        let Some(requested) = wait_for_trigger(ctx, &schedule, state.last_read_at, started, served).await?
        else {
            return Ok(ReadEnd::Stopped);
        };
        // While it waited, the connection may have gone back to where it was before.
        state = ctx.store.reader_state(&ctx.tenant, ctx.flow()).await?;
        let mut way = Way::default();
        loop {
            if !wait_for_room(ctx).await? {
                return Ok(ReadEnd::Stopped);
            }
            let step = tokio::select! {
                () = ctx.stop.cancelled() => return Ok(ReadEnd::Stopped),
                step = read_page(ctx, state.cursor.clone(), requested, &mut way) => step,
            };
            if let Err(ReadError::Failed { circling: true, .. }) = &step {
                failures = failures.max(circles);
                circles = circles.saturating_add(1);
                way = Way::default();
            }
            match step {
                Ok(step) => {
                    failures = 0;
                    state = ctx.store.reader_state(&ctx.tenant, ctx.flow()).await?;
                    ctx.deliver_now.notify_one();
                    if matches!(step, Step::CaughtUp) {
                        circles = 0;
                        if state.reads_completed == 1 {
                            // From now on there is something to compare.
                            ctx.compare_now.notify_one();
                        }
                        break;
                    }
                }
                Err(ReadError::Fenced) => return Ok(ReadEnd::Fenced),
                Err(ReadError::Superseded) => {
                    // Maybe from another place.
                    state = ctx.store.reader_state(&ctx.tenant, ctx.flow()).await?;
                    way = Way::default();
                }
                // A run by hand is over: it may be long until the connection is called again.
                Err(ReadError::Resting { open: true, .. }) if ctx.once => {
                    ctx.end_reading();
                    return Ok(ReadEnd::Stopped);
                }
                Err(ReadError::Resting { until, .. }) => {
                    let wait = until.map_or(LOOK, |until| millis(until - ctx.now())).min(LOOK);
                    tokio::select! {
                        () = ctx.stop.cancelled() => return Ok(ReadEnd::Stopped),
                        () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
                    }
                }
                Err(ReadError::Store(error)) => return Err(error),
                Err(ReadError::Failed {
                    code,
                    message,
                    retry_after_ms,
                    circling: _,
                }) => {
                    failures = failures.saturating_add(1);
                    let budget = ctx.spec.retry.budget(RetryClass::of(code.as_str()));
                    let pause = backoff::pause_ms(&budget, failures, retry_after_ms, &mut rand::rng());
                    if !note_failure(ctx, code, message, pause).await? {
                        return Ok(ReadEnd::Fenced);
                    }
                    if ctx.once && (failures >= ONCE_FAILURES || !code.passes_by_itself()) {
                        ctx.end_reading();
                        return Ok(ReadEnd::Stopped);
                    }
                    tokio::select! {
                        () = ctx.stop.cancelled() => return Ok(ReadEnd::Stopped),
                        () = tokio::time::sleep(millis(pause)) => {}
                        () = ctx.read_now.notified() => {}
                    }
                }
            }
        }
        served = requested;
        if ctx.once {
            ctx.end_reading();
            return Ok(ReadEnd::Stopped);
        }
    }
}

enum ReadError {
    Fenced,
    /// The connection was changed while its plugin read; the one that it has now reads the page again.
    Superseded,
    /// The source is not called at the moment.
    Resting {
        open: bool,
        until: Option<i64>,
    },
    Store(StoreError),
    Failed {
        code: ErrorCode,
        message: String,
        retry_after_ms: Option<u64>,
        /// The source leads in circles.
        circling: bool,
    },
}

impl ReadError {
    const fn failed(code: ErrorCode, message: String, retry_after_ms: Option<u64>) -> Self {
        Self::Failed {
            code,
            message,
            retry_after_ms,
            circling: false,
        }
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced { .. } => Self::Fenced,
            StoreError::Superseded { .. } => Self::Superseded,
            // What the source sent cannot be kept, which will not change by reading it again at once.
            StoreError::Unstorable { .. } => Self::failed(ErrorCode::Data, error.to_string(), None),
            other => Self::Store(other),
        }
    }
}

impl From<FlowError> for ReadError {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Store(error) => error.into(),
            FlowError::Circuit { circuit, .. } => Self::Resting {
                open: circuit.state != CircuitState::BackingOff,
                until: circuit.until,
            },
            FlowError::Call { code, message, .. } => Self::failed(code, message, None),
            other => Self::failed(ErrorCode::Config, other.to_string(), None),
        }
    }
}

/// Reads, commits and acknowledges one page.
async fn read_page(
    ctx: &FlowContext,
    cursor: Option<String>,
    run: i64,
    way: &mut Way,
) -> Result<Step, ReadError> {
    if let Some((until, open)) = upstream::keeps_reader(ctx).await? {
        let until = Some(until);
        return Err(ReadError::Resting { open, until });
    }
    let source = ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.source.connection)
        .await?
        .at(ctx.spec.priority);
    let request = ReadRequest {
        stream: ctx.spec.source.stream.clone(),
        cursor: cursor.clone(),
        max_records: ctx.spec.delivery.page,
        max_bytes: PAGE_BYTES,
        // The limit of the connection applies; a page has none of its own.
        deadline_ms: u64::MAX,
        options: Vec::new(),
    };
    let called = source.read(request).await;
    let page = match called.result {
        Ok(page) => page,
        Err(error) => {
            // A call that was overtaken by a move says nothing about the release that is called now.
            let connection = &ctx.spec.source.connection;
            if !ctx.sessions.is_current(&ctx.tenant, connection, &source).await {
                return Err(ReadError::Superseded);
            }
            let code = error.code();
            return Err(match error {
                CallError::Plugin(error) => ReadError::failed(code, error.message, error.retry_after_ms),
                other => ReadError::failed(code, other.to_string(), None),
            });
        }
    };
    check_progress(&page, cursor.as_deref(), way)?;
    count_page(ctx, &source, &page);
    fail_point::pass("page-read");
    let Page {
        records,
        cursor: next,
        more,
        ..
    } = page;
    let stream = &ctx.spec.source.stream;
    let committed = ctx
        .store
        .commit_page(
            &ctx.lease,
            CommitPage {
                flow: ctx.flow(),
                stream,
                release: &source.release,
                read_at: source.generation.map(|generation| ReadAt {
                    generation,
                    cursor: cursor.clone(),
                }),
                records: records.into_iter().map(|record| NewRecord { record }).collect(),
                cursor: next.clone(),
                caught_up: !more,
                run,
                now: ctx.now(),
            },
        )
        .await?;
    fail_point::pass("page-committed");
    tracing::debug!(
        tenant = %ctx.tenant, flow = %ctx.flow(), accepted = committed.accepted, duplicates = committed.duplicates, more,
        wall_us = called.usage.wall_us, "page committed"
    );
    if let Some(next) = next.filter(|next| Some(next) != cursor.as_ref()) {
        acknowledge(ctx, &next, source.generation).await?;
    }
    Ok(if more { Step::More } else { Step::CaughtUp })
}

/// What a page brought, for holding releases against each other, and what the system said which version of its API it answered with.
fn count_page(ctx: &FlowContext, source: &Bound, page: &Page) {
    let of = Of {
        tenant: &ctx.tenant,
        connection: &ctx.spec.source.connection,
        release: &source.release,
        now: ctx.now(),
    };
    let books = &source.account.books;
    books.count(of, "records", "read", page.records.len() as u64);
    for (_, version) in page.hints.iter().filter(|(name, _)| name == "api-version") {
        books.count(of, "api-version", version, 1);
    }
}

/// A source that promises more from a place where it was read from before would be read for ever.
fn check_progress(page: &Page, before: Option<&str>, way: &mut Way) -> Result<(), ReadError> {
    if !page.more {
        return Ok(());
    }
    let next = page.cursor.as_deref();
    let fault = if next == before {
        "its cursor stays at".to_owned()
    } else if let Some(pages) = next.and_then(|cursor| way.leads_to(cursor)) {
        format!("every {pages} pages its cursor is again at")
    } else {
        return Ok(());
    };
    Err(ReadError::Failed {
        code: ErrorCode::Fatal,
        message: format!(
            "the source says that there is more, but {fault} {}; this is a fault of the system or of the plugin, report it to its author",
            next.unwrap_or("the beginning")
        ),
        retry_after_ms: None,
        circling: true,
    })
}

/// Tells the source that everything up to the cursor is safe. A failure costs nothing: it is told again with the next page.
async fn acknowledge(ctx: &FlowContext, cursor: &str, generation: Option<i64>) -> Result<(), ReadError> {
    let source = match ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.source.connection)
        .await
    {
        Ok(source) => source,
        Err(FlowError::Circuit { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if generation.is_some_and(|generation| source.generation != Some(generation)) {
        // Another release does not know this cursor; it is told of its own.
        return Ok(());
    }
    let stream = &ctx.spec.source.stream;
    match source.acknowledge(stream, cursor).await.result {
        Ok(()) => {
            fail_point::pass("page-acknowledged");
            ctx.store
                .mark_acknowledged(&ctx.lease, ctx.flow(), stream, cursor)
                .await
                .map_err(ReadError::from)
        }
        Err(error) => {
            tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, "the source could not take an acknowledgement; it is repeated");
            Ok(())
        }
    }
}

/// After a kill between commit and acknowledgement: the source is told now.
async fn acknowledge_again(ctx: &FlowContext, state: &stecker_store::ReaderState) -> Result<(), StoreError> {
    let Some(cursor) = state
        .cursor
        .as_ref()
        .filter(|cursor| state.acknowledged.as_ref() != Some(*cursor))
    else {
        return Ok(());
    };
    match acknowledge(ctx, cursor, None).await {
        Err(ReadError::Store(error)) => Err(error),
        // The first page finds out about anything else, and says so where the operator looks.
        Ok(())
        | Err(
            ReadError::Fenced | ReadError::Superseded | ReadError::Resting { .. } | ReadError::Failed { .. },
        ) => Ok(()),
    }
}

/// Waits until the source is to be read; the number of the run that is served by it, or `None` when asked to stop.
async fn wait_for_trigger(
    ctx: &FlowContext,
    schedule: &Schedule,
    last_read_at: Option<i64>,
    started: i64,
    served: i64,
) -> Result<Option<i64>, StoreError> {
    loop {
        let requested = ctx.store.runs_requested(&ctx.tenant, ctx.flow()).await?;
        let next = || schedule.next(last_read_at, started, ctx.now());
        if ctx.once || requested > served || next().is_some_and(|due| due <= ctx.now()) {
            return Ok(Some(requested));
        }
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(None),
            () = ctx.read_now.notified() => {}
            () = until(ctx, next) => {}
        }
    }
}

/// Waits until a moment has come, which may change with the clock; for ever if there is none.
pub(crate) async fn until(ctx: &FlowContext, next: impl Fn() -> Option<i64>) {
    loop {
        let Some(due) = next() else {
            return std::future::pending().await;
        };
        let now = ctx.now();
        if due <= now {
            return;
        }
        tokio::time::sleep(millis(due - now).min(IDLE_LOOK)).await;
    }
}

/// Backpressure: holds the reader while too much waits for delivery. `false` when asked to stop.
async fn wait_for_room(ctx: &FlowContext) -> Result<bool, StoreError> {
    while !has_room(ctx).await? {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(false),
            () = ctx.room.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    Ok(!ctx.stop.is_cancelled())
}

/// Not too much waits, of the tenant or of the flow; or all that waits of the flow is held behind records in quarantine, and other keys must
/// not suffer for that.
async fn has_room(ctx: &FlowContext) -> Result<bool, StoreError> {
    if let Some(deep) = ctx.depths.of(&ctx.store, &ctx.tenant).await? {
        tracing::debug!(
            tenant = %ctx.tenant, flow = %ctx.flow(), waiting = deep.waiting, max_waiting = deep.max_waiting,
            "not read: too much of the tenant waits"
        );
        return Ok(false);
    }
    has_room_for(ctx, u64::from(ctx.spec.delivery.max_waiting)).await
}

/// As [`has_room`], with another bound of what may wait.
pub(crate) async fn has_room_for(ctx: &FlowContext, max_waiting: u64) -> Result<bool, StoreError> {
    let policy = &ctx.spec.delivery;
    let counts = ctx.store.counts(&ctx.tenant, ctx.flow()).await?;
    let in_state = |state| counts.get(&state).copied().unwrap_or_default();
    let waiting: u64 = RecordState::ALL
        .into_iter()
        .filter(|state| state.is_open())
        .map(in_state)
        .sum();
    if waiting < max_waiting {
        return Ok(true);
    }
    if in_state(RecordState::Sending) > 0 || in_state(RecordState::Quarantined) == 0 {
        return Ok(false);
    }
    let free = ctx
        .store
        .due(&ctx.tenant, ctx.flow(), policy.on_quarantine, i64::MAX, 1)
        .await?;
    Ok(free.is_empty())
}

async fn note_failure(
    ctx: &FlowContext,
    code: ErrorCode,
    message: String,
    pause: i64,
) -> Result<bool, StoreError> {
    tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), code = code.as_str(), %message, pause_ms = pause, "reading failed");
    let now = ctx.now();
    let failure = ReadFailure {
        at: now,
        code: code.as_str().to_owned(),
        message,
        next_try_at: Some(now.saturating_add(pause)),
    };
    match ctx
        .store
        .set_read_error(&ctx.lease, ctx.flow(), failure, now)
        .await
    {
        Ok(()) => Ok(true),
        Err(StoreError::Fenced { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_that_stands_still_or_comes_again_is_an_error_only_while_more_is_promised() {
        let page = |cursor: Option<&str>, more| Page {
            cursor: cursor.map(str::to_owned),
            more,
            ..Page::default()
        };
        let mut way = Way::default();
        let mut check = |page: Page, before| check_progress(&page, before, &mut way);
        assert!(check(page(Some("1"), true), Some("1")).is_err());
        assert!(check(page(None, true), None).is_err());
        assert!(check(page(Some("1"), false), Some("1")).is_ok());
        assert!(check(page(Some("2"), true), Some("1")).is_ok());
        assert!(check(page(Some("3"), true), Some("2")).is_ok());
        assert!(check(page(Some("2"), true), Some("3")).is_ok());
        let circle = check(page(Some("3"), true), Some("2")).unwrap_err();
        assert!(
            matches!(circle, ReadError::Failed { code: ErrorCode::Fatal, message, .. } if message.contains("every 2 pages"))
        );
    }
}
