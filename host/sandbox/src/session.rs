//! A release and a connection together: the functions of the roles, as the host's other parts call them.

use std::{fmt, sync::Arc, time::Duration};

use stecker_model::{
    Attributes, Authorization, Bucket, Finding, Instances, Listing, LookupItem, Name, Outcome, Page,
    Priority, Probe, Question, RawRequest, ReadRequest, Received, Record, StreamInfo, Transformed, WriteItem,
};
use stecker_registry::Role;

use crate::{
    call::{self, Bound, Called, GuestResult},
    capability::http::denied,
    check, check_reconcile,
    contract::Guest,
    egress::{Failure, Supply},
    error::CallError,
    instance::{Live, WarmPlace},
    release::Release,
    tape::CallOptions,
};

/// Calls the roles of a release on behalf of one connection. Holds the connection's HTTP pool, which no other session shares. Cheap
/// to clone. Every call runs in a fresh instance, unless the
/// binding asks for a warm one; dropping a call's future ends the call.
#[derive(Clone)]
pub struct Session {
    release: Release,
    bound: Arc<Bound>,
    /// None: every call gets a fresh instance. Not in `bound`, which every store points to: the two would keep each other alive.
    warm: Option<Arc<WarmPlace>>,
    priority: Priority,
    options: CallOptions,
}

/// A callback that was registered with a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The system's own id of it.
    pub id: String,
    /// Key/value tail.
    pub attributes: Attributes,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("release", &self.release)
            .field("binding", &self.bound.binding)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(release: Release, bound: Bound) -> Self {
        let warm = (bound.binding.instances == Instances::Warm).then(Arc::default);
        Self {
            release,
            bound: Arc::new(bound),
            warm,
            priority: Priority::default(),
            options: CallOptions::default(),
        }
    }

    /// The same, for calls whose requests have this priority where those of the upstream account are scarce.
    #[must_use]
    pub fn at(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same, for calls that are recorded or played again. They get an instance of their own.
    #[must_use]
    pub fn with(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// The plugin behind it.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The connection that it is for.
    #[must_use]
    pub fn connection(&self) -> &Name {
        &self.bound.binding.connection
    }

    /// How long one call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.bound.deadline
    }

    /// Begins an authorization by a person for a credential of the kind `oauth2-authorization-code`: where that person has to go, and until
    /// when. `redirect_uri` is where the system sends the browser afterwards, as it is registered there.
    ///
    /// # Errors
    /// [`CallError::Plugin`]: no such credential, one that is not set up, or no place for tokens.
    pub async fn authorize(&self, credential: &Name, redirect_uri: &str) -> Result<Authorization, CallError> {
        let egress = &self.bound.egress;
        let begun = egress
            .begin_authorization(credential.as_str(), redirect_uri, self.supply())
            .await;
        begun.map_err(|failure| self.failed(failure))
    }

    /// Ends it: exchanges the code in the address that the browser was sent to for tokens, and keeps them.
    ///
    /// # Errors
    /// [`CallError::Plugin`]: an answer to another authorization, one that came too late, or a server that refuses.
    pub async fn authorized(&self, credential: &Name, callback: &str) -> Result<(), CallError> {
        let egress = &self.bound.egress;
        let ended = egress
            .finish_authorization(credential.as_str(), callback, self.supply())
            .await;
        ended.map_err(|failure| self.failed(failure))
    }

    fn supply(&self) -> Supply<'_> {
        Supply {
            credentials: &self.bound.binding.credentials,
            scrubber: &self.bound.scrubber,
            remaining: self.bound.deadline,
        }
    }

    fn failed(&self, failure: Failure) -> CallError {
        let error = match failure {
            Failure::Error(error) => error,
            Failure::Denied(denial) | Failure::AnswerDenied(denial) => {
                denied(&*self.bound.binding.observer, *denial)
            }
        };
        CallError::Plugin(self.bound.scrubber.error(error))
    }

    async fn call<T: Send>(
        &self,
        role: Role,
        at_most: Option<Duration>,
        function: impl for<'a> FnOnce(&'a Guest, &'a mut Live, &'a String) -> GuestResult<'a, T> + Send,
    ) -> Called<T> {
        if !self.release.has(role) {
            return Called::failed(CallError::NoRole(role));
        }
        call::run(
            &self.release,
            &self.bound,
            self.warm.as_ref().filter(|_| self.options.is_usual()),
            (at_most, self.priority, &self.options),
            function,
        )
        .await
    }

    /// `connection.check`: whether and how the plugin reaches its system. A failed probe is an answer, not an error.
    pub async fn check(&self) -> Called<Vec<Probe>> {
        self.call(Role::Connection, None, |guest, live, config| {
            Box::pin(guest.check(live, config))
        })
        .await
    }

    /// `connection.discover`: the streams that there are. Names are unique, schemas are JSON.
    pub async fn discover(&self) -> Called<Vec<StreamInfo>> {
        self.call(Role::Connection, None, |guest, live, config| {
            Box::pin(guest.discover(live, config))
        })
        .await
        .and_then(check::streams)
    }

    /// `source.read`: one page. Stopped after `deadline_ms` of the request or the binding's deadline, whichever is less; the guest is told
    /// the time that it really has.
    pub async fn read(&self, mut request: ReadRequest) -> Called<Page> {
        let deadline = Duration::from_millis(request.deadline_ms).min(self.bound.deadline);
        request.deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let (max_records, cursor) = (request.max_records, request.cursor.clone());
        self.call(Role::Source, Some(deadline), move |guest, live, config| {
            Box::pin(guest.read(live, config, request))
        })
        .await
        .and_then(|page| check::page(page, max_records, cursor.as_deref()))
    }

    /// `source.acknowledge`: everything up to the cursor is durable here.
    pub async fn acknowledge(&self, stream: &str, cursor: &str) -> Called<()> {
        let (stream, cursor) = (stream.to_owned(), cursor.to_owned());
        self.call(Role::Source, None, move |guest, live, config| {
            Box::pin(async move { guest.acknowledge(live, config, &stream, &cursor).await })
        })
        .await
    }

    /// `destination.write`: one outcome per item, in their order.
    pub async fn write(&self, stream: &str, batch: Vec<WriteItem>) -> Called<Vec<Outcome>> {
        let (stream, expected) = (stream.to_owned(), batch.len());
        self.call(Role::Destination, None, move |guest, live, config| {
            Box::pin(async move { guest.write(live, config, &stream, batch).await })
        })
        .await
        .and_then(|outcomes| check::one_each("outcomes", outcomes, expected))
    }

    /// `destination.lookup`: one finding per item, in their order.
    pub async fn lookup(&self, stream: &str, items: Vec<LookupItem>) -> Called<Vec<Finding>> {
        let (stream, expected) = (stream.to_owned(), items.len());
        self.call(Role::Destination, None, move |guest, live, config| {
            Box::pin(async move { guest.lookup(live, config, &stream, items).await })
        })
        .await
        .and_then(|findings| check::findings(findings, expected))
    }

    /// `reconcile.digest`: each range of the question in 2^`split` parts, one bucket for each part, in their order.
    pub async fn digest(&self, question: Question, split: u32) -> Called<Vec<Bucket>> {
        let expected = question.ranges.len() << split.min(32);
        self.call(Role::Reconcile, None, move |guest, live, config| {
            Box::pin(guest.digest(live, config, question, split))
        })
        .await
        .and_then(|buckets| check_reconcile::buckets(buckets, expected))
    }

    /// `reconcile.list-keys`: one page of at most `limit` entries, each of one of the ranges, no key twice.
    pub async fn list_keys(&self, question: Question, after: Option<&str>, limit: u32) -> Called<Listing> {
        let (after, ranges) = (after.map(str::to_owned), question.ranges.clone());
        let asked = after.clone();
        self.call(Role::Reconcile, None, move |guest, live, config| {
            Box::pin(guest.list_keys(live, config, question, asked, limit))
        })
        .await
        .and_then(|listing| check_reconcile::listing(listing, &ranges, after.as_deref(), limit))
    }

    /// `webhook.receive`: takes apart what a system sent.
    pub async fn receive(&self, request: RawRequest) -> Called<Received> {
        self.call(Role::Webhook, None, move |guest, live, config| {
            Box::pin(guest.receive(live, config, request))
        })
        .await
        .and_then(check::received)
    }

    /// `webhook.subscribe`: has the system call `url`. More than once is harmless.
    pub async fn subscribe(&self, url: &str, topics: &[String]) -> Called<Vec<Subscription>> {
        let (url, topics) = (url.to_owned(), topics.to_vec());
        self.call(Role::Webhook, None, move |guest, live, config| {
            Box::pin(async move { guest.subscribe(live, config, &url, &topics).await })
        })
        .await
    }

    /// `webhook.unsubscribe`: has the system stop.
    pub async fn unsubscribe(&self, subscriptions: Vec<Subscription>) -> Called<()> {
        self.call(Role::Webhook, None, move |guest, live, config| {
            Box::pin(guest.unsubscribe(live, config, subscriptions))
        })
        .await
    }

    /// `transform.apply`: one answer per record, in their order.
    pub async fn apply(&self, batch: Vec<Record>) -> Called<Vec<Transformed>> {
        self.call(Role::Transform, None, move |guest, live, config| {
            Box::pin(guest.apply(live, config, batch))
        })
        .await
        .and_then(|(answers, batch)| check::transformed(answers, &batch))
    }
}
