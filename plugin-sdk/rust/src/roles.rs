//! What a plugin implements: [`Plugin`] and any of the roles.
//!
//! A plugin is a value made from its configuration by [`Plugin::open`]; roles are called on it. The SDK keeps the value for as
//! long as the instance lives and the configuration stays the same, so anything costly (compiling a program, building a
//! lookup table) belongs into `open`. No state that matters may live in it: instances come and go between any two calls.

use crate::types::{
    Bucket, Finding, Listing, LookupItem, Outcome, Page, Probe, Question, RawRequest, ReadRequest, Received,
    StreamInfo, Subscription, Transformed, WriteItem,
};
use crate::{Description, Error, Record, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// The least that a plugin is.
pub trait Plugin: Sized + 'static {
    /// The connection's configuration. Its JSON Schema is what the host validates against and what forms are made from, so
    /// doc comments on the fields are texts for operators. It never holds a secret: name credentials instead.
    type Config: DeserializeOwned + JsonSchema;

    /// What the plugin is. Must be the same whenever it is called, and use no imports. The schema of [`Plugin::Config`] is
    /// put in by the SDK.
    fn describe() -> Description;

    /// Makes the plugin from a configuration that fits its schema.
    ///
    /// # Errors
    /// Code `config` for what a schema cannot say (a program that does not parse, a URL without a host), with detail `path`
    /// (JSON Pointer) where one field is at fault.
    fn open(config: Self::Config) -> Result<Self>;
}

/// Whether and how the plugin reaches its system.
pub trait Connection: Plugin {
    /// Tries what the plugin needs. A failed probe is an answer: [`Probe::from_result`] makes one of a call's result.
    ///
    /// # Errors
    /// Only what keeps it from trying at all.
    fn check(&self) -> Result<Vec<Probe>>;

    /// The streams that there are.
    ///
    /// # Errors
    /// What the system says, by its code.
    fn discover(&self) -> Result<Vec<StreamInfo>>;
}

/// Reads streams, page by page.
pub trait Source: Plugin {
    /// The page that begins at the request's cursor, within its bounds.
    ///
    /// # Errors
    /// Code `not-found` for a stream that does not exist ([`unknown_stream`]), else what the system says.
    fn read(&self, request: &ReadRequest) -> Result<Page>;

    /// Everything up to this cursor is durable at the host. Called again after a crash, so it must be harmless twice.
    /// Only queues and the like need it.
    ///
    /// # Errors
    /// What the system says.
    fn acknowledge(&self, _stream: &str, _cursor: &str) -> Result<()> {
        Ok(())
    }
}

/// Writes streams.
pub trait Destination: Plugin {
    /// One outcome per item, in the order of the batch. [`Outcome::from_error`] sorts a failed call into the right one.
    ///
    /// # Errors
    /// Only if *nothing* of the batch was written.
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>>;

    /// Whether things are there: resolves `Unknown`. One finding per item, in their order. Left out, everything is
    /// `Undecided` and the host repeats the write with the same idempotency key.
    ///
    /// # Errors
    /// What the system says.
    fn lookup(&self, _stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        Ok(items.iter().map(|_| Finding::Undecided).collect())
    }
}

/// Says in few bytes what a stream holds, so that the host can find out what is missing, what differs and what nobody knows of.
/// [`Question`] and [`Sums`](crate::reconcile::Sums) do the arithmetic.
pub trait Reconcile: Plugin {
    /// Sums of what there is: each range of the question in 2^`split` parts, one bucket for each part, ascending. Only worth it where the
    /// system can be summed up within one call; left out, the host lists.
    ///
    /// # Errors
    /// Code `unsupported` where that cannot be done, else what the system says.
    fn digest(&self, _question: &Question, _split: u32) -> Result<Vec<Bucket>> {
        Err(Error::unsupported("this system cannot be summed up; list it"))
    }

    /// What there is in the ranges of the question, at most `limit` entries, in the system's own order; `after` is what the page before
    /// named as next.
    ///
    /// # Errors
    /// What the system says.
    fn list_keys(&self, question: &Question, after: Option<&str>, limit: u32) -> Result<Listing>;
}

/// Takes what a system sends on its own.
pub trait Webhook: Plugin {
    /// Verifies the call and takes it apart. A wrong signature is [`Received::refuse`], not an error.
    ///
    /// # Errors
    /// Only what keeps it from deciding; the host tries again later with the stored bytes.
    fn receive(&self, request: &RawRequest) -> Result<Received>;

    /// Has the system call `url` for these topics (all, if there are none). More than once must be harmless.
    ///
    /// # Errors
    /// Code `unsupported` where webhooks are set up by hand, else what the system says.
    fn subscribe(&self, _url: &str, _topics: &[String]) -> Result<Vec<Subscription>> {
        Err(Error::unsupported(
            "this plugin cannot subscribe by itself; enter the URL in the system's settings",
        ))
    }

    /// Ends subscriptions; one that is gone already is no error.
    ///
    /// # Errors
    /// As for [`Webhook::subscribe`].
    fn unsubscribe(&self, _subscriptions: &[Subscription]) -> Result<()> {
        Err(Error::unsupported(
            "this plugin cannot unsubscribe by itself; remove the URL in the system's settings",
        ))
    }
}

/// Makes records into other records. Pure: the same batch always gives the same answer.
pub trait Transform: Plugin {
    /// One answer per record, in the order of the batch.
    ///
    /// # Errors
    /// Only what concerns the batch as a whole.
    fn apply(&self, batch: &[Record]) -> Result<Vec<Transformed>>;
}

/// The error for a stream that the plugin does not have, listing those that it has.
pub fn unknown_stream(name: &str, known: &[&str]) -> Error {
    Error::not_found(format!(
        "there is no stream `{name}` here; the streams are: {}",
        known.join(", ")
    ))
    .detail("stream", name)
}
