//! Calls of plugins, as the rest of this crate makes them: each is booked, repeated at once where a crash is worth it and repeating is safe,
//! and counted by the circuit of its connection.

use std::{sync::Arc, time::Duration};

use stecker_model::{
    Bucket, Digest, Finding, Listing, LookupItem, Name, Outcome, Page, PluginUse, Priority, Probe, Question,
    RawRequest, ReadRequest, Received, Record, StreamInfo, TapedCall, TapedRequest, TapedResult, Transformed,
    WriteItem, api::Circuit,
};
use stecker_sandbox::{CallError, Called, Session};

use crate::{
    books::{Books, Of},
    circuit::{is_crash, is_worth_repeating, matters},
    clock::Clock,
    guard::Guard,
    taping::Taper,
};

/// A session, the release behind it, and where its calls are booked.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) session: Session,
    pub(crate) release: Digest,
    /// Of the connection, when it was bound; transforms have none.
    pub(crate) generation: Option<i64>,
    pub(crate) account: Arc<Account>,
    /// Transforms have none.
    pub(crate) guard: Option<Guarded>,
    /// Records the calls, where that is switched on.
    pub(crate) taper: Option<Arc<Taper>>,
}

/// A connection's circuit as it was when the call was let through, and who changes it.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) circuit: Circuit,
    pub(crate) guard: Arc<Guard>,
}

/// What a call came to, in one word.
fn class(error: &CallError) -> &str {
    match error {
        CallError::Plugin(error) => error.code.as_str(),
        CallError::Trap { .. }
        | CallError::OutOfMemory { .. }
        | CallError::TenantOutOfMemory { .. }
        | CallError::StackOverflow { .. } => "crash",
        CallError::Deadline { .. } => "deadline",
        CallError::Busy { .. } => "busy",
        _ => "broken",
    }
}

/// On whose account calls go.
pub(crate) struct Account {
    pub(crate) tenant: Name,
    pub(crate) used_by: PluginUse,
    pub(crate) books: Arc<Books>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Bound {
    /// How long a call may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.session.deadline()
    }

    /// For calls whose requests have this priority where those of the upstream account are scarce.
    pub(crate) fn at(mut self, priority: Priority) -> Self {
        self.session = self.session.at(priority);
        self
    }

    pub(crate) async fn check(&self) -> Called<Vec<Probe>> {
        self.repeatable("check", None, || self.session.check()).await
    }

    /// Whether the system answers, asked after it did not. Does not count for the circuit: that the system is slow is known already.
    pub(crate) async fn probe(&self) -> Called<Vec<Probe>> {
        self.booked("check", self.session.check().await)
    }

    pub(crate) async fn discover(&self) -> Called<Vec<StreamInfo>> {
        self.repeatable("discover", None, || self.session.discover())
            .await
    }

    pub(crate) async fn read(&self, request: ReadRequest) -> Called<Page> {
        self.repeatable("read", None, || {
            self.made(
                request.clone(),
                |request| TapedCall::Read(request.clone()),
                |session, request| async move { session.read(request).await },
                |page| TapedResult::Page(page.clone()),
            )
        })
        .await
    }

    pub(crate) async fn acknowledge(&self, stream: &str, cursor: &str) -> Called<()> {
        let called = self.session.acknowledge(stream, cursor).await;
        self.once("acknowledge", None, called).await
    }

    /// `record` is the one that the batch is about, if it is about one. Never repeated by itself: what a call that crashed had sent is not
    /// known.
    pub(crate) async fn write(
        &self,
        stream: &str,
        batch: Vec<WriteItem>,
        record: Option<&str>,
    ) -> Called<Vec<Outcome>> {
        let called = self.made(
            batch,
            |batch| TapedCall::Write {
                stream: stream.to_owned(),
                items: batch.clone(),
            },
            |session, batch| async move { session.write(stream, batch).await },
            |outcomes| TapedResult::Outcomes(outcomes.clone()),
        );
        let called = called.await;
        self.once("write", record, called).await
    }

    /// `record` as in [`Bound::write`].
    pub(crate) async fn lookup(
        &self,
        stream: &str,
        items: Vec<LookupItem>,
        record: Option<&str>,
    ) -> Called<Vec<Finding>> {
        self.repeatable("lookup", record, || {
            self.made(
                items.clone(),
                |items| TapedCall::Lookup {
                    stream: stream.to_owned(),
                    items: items.clone(),
                },
                |session, items| async move { session.lookup(stream, items).await },
                |findings| TapedResult::Findings(findings.clone()),
            )
        })
        .await
    }

    pub(crate) async fn digest(&self, question: &Question, split: u32) -> Called<Vec<Bucket>> {
        self.repeatable("digest", None, || self.session.digest(question.clone(), split))
            .await
    }

    pub(crate) async fn list_keys(
        &self,
        question: &Question,
        after: Option<&str>,
        limit: u32,
    ) -> Called<Listing> {
        self.repeatable("list-keys", None, || {
            self.session.list_keys(question.clone(), after, limit)
        })
        .await
    }

    /// Does not count for the circuit if it crashes: whoever can reach the host can send something that crashes it.
    pub(crate) async fn receive(&self, request: RawRequest) -> Called<Received> {
        let called = self.made(
            request,
            |request| TapedCall::Receive(TapedRequest::from(request)),
            |session, request| async move { session.receive(request).await },
            |received| TapedResult::Received(received.clone()),
        );
        let called = called.await;
        self.booked("receive", called)
    }

    pub(crate) async fn apply(&self, batch: Vec<Record>) -> Called<Vec<Transformed>> {
        self.repeatable("apply", None, || self.session.apply(batch.clone()))
            .await
    }

    /// Makes a call, and records it if that is switched on.
    async fn made<A, T, F: Future<Output = Called<T>>>(
        &self,
        asked: A,
        call: impl FnOnce(&A) -> TapedCall,
        function: impl FnOnce(Session, A) -> F,
        result: impl FnOnce(&T) -> TapedResult,
    ) -> Called<T> {
        match &self.taper {
            None => function(self.session.clone(), asked).await,
            Some(taper) => {
                let call = call(&asked);
                let function = |session| function(session, asked);
                taper.record(&self.session, call, function, result).await
            }
        }
    }

    fn booked<T>(&self, function: &'static str, called: Called<T>) -> Called<T> {
        let Account {
            tenant,
            used_by,
            books,
            clock,
        } = &*self.account;
        let usage = &called.usage;
        books.book(tenant, used_by, usage, clock.now_ms());
        if let PluginUse::Connection(connection) = used_by {
            let class = called.result.as_ref().err().map_or("ok", class);
            let of = Of {
                tenant,
                connection,
                release: &self.release,
                now: clock.now_ms(),
            };
            books.count(of, function, class, 1);
            books.count_time(of, function, usage.wall_us);
        }
        tracing::debug!(
            %tenant, kind = used_by.kind(), name = %used_by.name(), function, ok = called.result.is_ok(), wall_us = usage.wall_us,
            cpu_us = usage.cpu_us, epoch_ticks = usage.epoch_ticks, peak_memory = usage.peak_memory,
            http_requests = usage.http_requests, http_bytes_in = usage.http_bytes_in, "called"
        );
        called
    }

    async fn once<T>(&self, function: &'static str, record: Option<&str>, called: Called<T>) -> Called<T> {
        let called = self.booked(function, called);
        self.note(function, record, called.result.as_ref().err()).await;
        called
    }

    /// A call that changes nothing: after a crash it is made once more, in a fresh instance, before anybody hears of it.
    async fn repeatable<T, F: Future<Output = Called<T>>>(
        &self,
        function: &'static str,
        record: Option<&str>,
        call: impl Fn() -> F,
    ) -> Called<T> {
        let first = self.booked(function, call().await);
        let called = match &first.result {
            Err(error) if is_worth_repeating(error) => {
                let (tenant, name) = (&self.account.tenant, self.account.used_by.name());
                tracing::warn!(%tenant, %name, function, %error, "crashed; tried once more");
                let mut again = self.booked(function, call().await);
                again.usage.add(&first.usage);
                again
            }
            _ => first,
        };
        self.note(function, record, called.result.as_ref().err()).await;
        called
    }

    async fn note(&self, function: &'static str, record: Option<&str>, error: Option<&CallError>) {
        let Some(Guarded { circuit, guard }) = &self.guard else {
            return;
        };
        match error {
            Some(error) if is_crash(error) => guard.crashed(function, record, error).await,
            None | Some(CallError::Plugin(_)) if matters(circuit, function) => guard.worked(function).await,
            // It went well as ever, or it was not called.
            _ => {}
        }
    }
}
