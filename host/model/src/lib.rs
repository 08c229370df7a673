//! The words of Stecker as types: names, records, outcomes, grants, specifications of connections and flows, and the
//! shapes that its API speaks.
//!
//! Pure on purpose: no I/O, no async, no clock. Every other crate of the host depends on this one, so whatever is in here has to
//! be cheap to build and safe to share.

pub mod api;
mod cause;
mod command;
mod difference;
mod duration;
mod error;
mod fail_point;
mod grant;
mod name;
mod plugin;
mod reconcile;
mod record;
mod retention;
mod retry;
mod secret;
mod spec;
mod tape;
mod tenant;
mod tokens;

pub use cause::{message_pattern, path_pattern};
pub use command::OperatorCommand;
pub use difference::{Difference, Place, difference};
pub use duration::Period;
pub use error::{ErrorCode, PluginError};
pub use fail_point::FAIL_POINTS;
pub use grant::{BlobGrant, GrantFault, Grants, HttpGrant, StorageGrant};
pub use name::{Digest, InvalidName, Name, RecordId};
pub use plugin::{CallUsage, PluginUse, Probe, StreamInfo};
pub use reconcile::{
    Bucket, Fingerprint, KeyRange, ListedKey, Listing, Question, canonical_json, digest_of, element, point,
};
pub use record::{
    Attributes, Finding, LookupItem, Operation, Outcome, Page, RawRequest, ReadRequest, Received, Record,
    RecordState, Rejection, Reply, Transformed, Verdict, WriteItem,
};
pub use retention::{Keep, RetentionPolicy, is_past};
pub use retry::{ClassBudget, RetryBudget, RetryClass, RetryClasses, RetryPolicy};
pub use secret::{
    Authorization, Authorize, Authorized, RotateKeys, RotatedKeys, SecretInfo, SecretPart, SecretText,
    SetSecret,
};
pub use spec::{
    ConnectionSpec, CredentialSpec, DeliveryPolicy, FlowSpec, HttpLimits, Instances, Limits, OnQuarantine,
    PluginRef, Priority, ReconcilePolicy, RepairKind, SecretRef, Setup, SpecError, StreamRef, TransformSpec,
    Trigger, UpgradePolicy, UpstreamBudget, UpstreamSpec, WebhookLimits,
};
pub use tape::{
    TAPE_FORM, Tape, TapedAnswer, TapedBody, TapedCall, TapedExchange, TapedRequest, TapedResult,
};
pub use tenant::TenantLimits;
pub use tokens::{Slice, take_slice};
