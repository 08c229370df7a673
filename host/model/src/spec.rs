//! Specifications: what an operator writes down to have connections and flows. The same shapes are read from a file by
//! `stecker apply`, sent over the API and kept in the store.

mod plugin_ref;
mod reconcile;
mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Grants, Name, Period, RetentionPolicy, RetryPolicy};

pub use plugin_ref::{PluginRef, UpgradePolicy};
pub use reconcile::{ReconcilePolicy, RepairKind};
pub use upstream::{Priority, UpstreamBudget, UpstreamSpec};

/// A declarative file: connections and the flows between them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Setup {
    /// Connections.
    #[serde(rename = "connection", skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionSpec>,
    /// Flows.
    #[serde(rename = "flow", skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowSpec>,
}

/// One system that a tenant has connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Unique within the tenant.
    pub name: Name,
    /// The connector.
    pub plugin: PluginRef,
    /// The connector's configuration, valid against the schema that it describes itself with. No secrets in here.
    #[serde(default = "empty_object")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[schema(value_type = Object)]
    pub config: serde_json::Value,
    /// What the connector may do.
    #[serde(default)]
    pub grants: Grants,
    /// The secrets behind the credentials that the connector's manifest names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<Name, CredentialSpec>,
    /// Bounds of a single call.
    #[serde(default)]
    pub limits: Limits,
    /// Whether an instance serves one call or several.
    #[serde(default, skip_serializing_if = "Instances::is_fresh")]
    pub instances: Instances,
    /// The account at the system that its requests count for.
    #[serde(default, skip_serializing_if = "UpstreamSpec::is_usual")]
    pub upstream: UpstreamSpec,
}

/// Whether an instance of the plugin serves one call or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// Every call gets a new one: nothing that a call leaves behind reaches the next.
    #[default]
    Fresh,
    /// One is kept for the next call of the same connection, for plugins that are slow to start. It is thrown away after any failure,
    /// and never shared between connections.
    Warm,
}

impl Instances {
    fn is_fresh(&self) -> bool {
        *self == Self::Fresh
    }
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// The secret behind one credential. How it is used (which header, which scheme) is the manifest's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CredentialSpec {
    /// For HTTP Basic (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the secret comes from.
    pub secret: SecretRef,
}

/// Where a secret is read from, at the moment of use. The specification never holds the value itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// An environment variable of the host.
    Env(String),
    /// A file on the host; trailing line breaks are cut off.
    File(String),
    /// The host's own encrypted vault, written `"vault"`; `stecker secret set` puts it there.
    Vault,
}

/// Bounds of a single call to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Mebibytes over all memories and tables of an instance, 1 to 1,024.
    pub memory_mib: u32,
    /// Until the call is interrupted.
    pub deadline: Period,
    /// Bounds of what goes over the network.
    pub http: HttpLimits,
    /// Bounds of what the system sends by itself.
    pub webhook: WebhookLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            deadline: Period::from_secs(60),
            http: HttpLimits::default(),
            webhook: WebhookLimits::default(),
        }
    }
}

/// Bounds of the calls that come in for a connection. Anybody on the network can make one, so what is over is refused before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WebhookLimits {
    /// Calls a second, 1 to 10,000, on each node; more are answered with 429.
    pub per_second: u32,
    /// Calls that may come at once after a quiet time, 1 to 100,000.
    pub burst: u32,
    /// Calls that are stored and not settled yet, 1 to 1,000,000; beyond, calls are answered with 503.
    pub backlog: u32,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 1_000,
            backlog: 10_000,
        }
    }
}

impl WebhookLimits {
    /// Each field as it is written, its value and the most that it may be; the least is 1.
    #[must_use]
    pub fn bounds(&self) -> [(&'static str, u64, u64); 3] {
        [
            ("per-second", self.per_second.into(), 10_000),
            ("burst", self.burst.into(), 100_000),
            ("backlog", self.backlog.into(), 1_000_000),
        ]
    }
}

/// Bounds of a connection's requests, over all of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HttpLimits {
    /// Requests at the same time, 1 to 1,024; more wait their turn within the call's deadline.
    pub in_flight: u32,
    /// Requests a second, 1 to 10,000, as a token bucket that holds one second's worth; more wait their turn within the call's
    /// deadline.
    pub per_second: u32,
    /// Bytes of requests and responses together (bodies and headers, as they cross the network) from midnight to midnight UTC, 1 to
    /// 1 PiB. A response that has begun is read to its end; then requests are refused until the next day.
    pub bytes_per_day: u64,
    /// Bytes of one request's body, 1 to 1 GiB.
    pub request_bytes: u64,
    /// Bytes of one response's body after decompression, 1 to 1 GiB; never more than the plugin's memory.
    pub response_bytes: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            in_flight: 16,
            per_second: 100,
            bytes_per_day: 20 << 30,
            request_bytes: 32 << 20,
            response_bytes: 32 << 20,
        }
    }
}

impl HttpLimits {
    /// Each field as it is written, its value and the most that it may be; the least is 1.
    #[must_use]
    pub fn bounds(&self) -> [(&'static str, u64, u64); 5] {
        [
            ("in-flight", self.in_flight.into(), 1_024),
            ("per-second", self.per_second.into(), 10_000),
            ("bytes-per-day", self.bytes_per_day, 1 << 50),
            ("request-bytes", self.request_bytes, 1 << 30),
            ("response-bytes", self.response_bytes, 1 << 30),
        ]
    }
}

/// A stream of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StreamRef {
    /// The connection.
    pub connection: Name,
    /// The stream, as `discover` names it.
    pub stream: String,
}

/// A path for records: from a stream, through transforms, into a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FlowSpec {
    /// Unique within the tenant.
    pub name: Name,
    /// Where records come from.
    pub source: StreamRef,
    /// Where they go.
    pub destination: StreamRef,
    /// What happens to them in between, in this order.
    #[serde(default, rename = "transform", skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<TransformSpec>,
    /// When the source is read. By hand is always possible.
    #[serde(default)]
    pub trigger: Trigger,
    /// What is read and written at once.
    #[serde(default)]
    pub delivery: DeliveryPolicy,
    /// How failures are repeated.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// When source and destination are compared by themselves, and what of them. By hand is always possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<ReconcilePolicy>,
    /// How long what was moved is kept.
    #[serde(default, skip_serializing_if = "RetentionPolicy::is_usual")]
    pub retention: RetentionPolicy,
    /// Who goes first where the requests of an upstream account are scarce.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
}

/// One step between source and destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TransformSpec {
    /// The transform.
    pub plugin: PluginRef,
    /// Its configuration.
    #[serde(default = "empty_object")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[schema(value_type = Object)]
    pub config: serde_json::Value,
}

/// When a flow's source is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Trigger {
    /// Again and again, this long after the end of the read before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// At these moments: five cron fields (minute hour day month weekday), UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Whether records from the source connection's webhooks are taken too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub webhook: bool,
}

/// How much is read and written at once, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DeliveryPolicy {
    /// Records a page, 1 to 10,000.
    pub page: u32,
    /// Records a batch, 1 to 1,000.
    pub batch: u32,
    /// Batches at the same time, 1 to 32. Order is kept per key whatever this is.
    pub lanes: u32,
    /// Whether a quarantined record holds back later ones of the same key.
    pub on_quarantine: OnQuarantine,
    /// Reading pauses while this many records wait, 1 to 1,000,000.
    pub max_waiting: u32,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            page: 200,
            batch: 50,
            lanes: 2,
            on_quarantine: OnQuarantine::Hold,
            max_waiting: 10_000,
        }
    }
}

/// What happens to later records of a key of which one is in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnQuarantine {
    /// They wait, so that order is kept.
    Hold,
    /// They go on.
    Continue,
}

/// What is wrong with a specification, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, ToSchema)]
#[error("{path}: {reason}")]
pub struct SpecError {
    /// Where, such as `flow orders-to-erp, delivery.batch`.
    pub path: String,
    /// What and what instead.
    pub reason: String,
}

impl SpecError {
    /// An error at a place.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl ConnectionSpec {
    /// Checks what can be checked without the plugin.
    ///
    /// # Errors
    /// Every value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), Vec<SpecError>> {
        let at = |what: &str| format!("connection {}, {what}", self.name);
        let mut errors = Vec::new();
        if let Some((field, reason)) = self.plugin.fault() {
            errors.push(SpecError::new(at(&format!("plugin{field}")), reason));
        }
        if !self.config.is_object() {
            errors.push(SpecError::new(at("config"), "has to be a table (a JSON object)"));
        }
        bound(
            &mut errors,
            at("limits.memory-mib"),
            self.limits.memory_mib.into(),
            1,
            1_024,
        );
        if self.limits.deadline < Period::from_millis(10) || self.limits.deadline > Period::from_secs(3_600) {
            errors.push(SpecError::new(
                at("limits.deadline"),
                "has to be between 10ms and 1h",
            ));
        }
        for (index, grant) in self.grants.http.iter().enumerate() {
            for fault in grant.faults() {
                let path = at(&format!("grants.http[{index}].{}", fault.field));
                errors.push(SpecError::new(path, fault.reason));
            }
        }
        for (field, value, high) in self.limits.http.bounds() {
            bound(&mut errors, at(&format!("limits.http.{field}")), value, 1, high);
        }
        for (field, value, high) in self.limits.webhook.bounds() {
            bound(
                &mut errors,
                at(&format!("limits.webhook.{field}")),
                value,
                1,
                high,
            );
        }
        for (field, reason) in self.upstream.faults() {
            errors.push(SpecError::new(at(&format!("upstream.{field}")), reason));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl FlowSpec {
    /// Checks what can be checked without plugins and without a cron parser.
    ///
    /// # Errors
    /// Every value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), Vec<SpecError>> {
        let at = |what: &str| format!("flow {}, {what}", self.name);
        let mut errors = Vec::new();
        bound(
            &mut errors,
            at("delivery.page"),
            self.delivery.page.into(),
            1,
            10_000,
        );
        bound(
            &mut errors,
            at("delivery.batch"),
            self.delivery.batch.into(),
            1,
            1_000,
        );
        bound(
            &mut errors,
            at("delivery.lanes"),
            self.delivery.lanes.into(),
            1,
            32,
        );
        bound(
            &mut errors,
            at("delivery.max-waiting"),
            self.delivery.max_waiting.into(),
            1,
            1_000_000,
        );
        errors.extend(self.retry.faults(at));
        if self
            .trigger
            .every
            .is_some_and(|every| every < Period::from_millis(100))
        {
            errors.push(SpecError::new(at("trigger.every"), "has to be at least 100ms"));
        }
        if self.trigger.every.is_some() && self.trigger.cron.is_some() {
            errors.push(SpecError::new(at("trigger"), "give `every` or `cron`, not both"));
        }
        if self.source.connection == self.destination.connection
            && self.source.stream == self.destination.stream
        {
            errors.push(SpecError::new(
                at("destination"),
                "is the source itself; records would go round for ever",
            ));
        }
        for (field, reason) in self.reconcile.iter().flat_map(ReconcilePolicy::faults) {
            errors.push(SpecError::new(at(&format!("reconcile.{field}")), reason));
        }
        errors.extend(self.retention.faults(at));
        for (index, step) in self.transforms.iter().enumerate() {
            if let Some((field, reason)) = step.plugin.fault() {
                let path = at(&format!("transform[{index}].plugin{field}"));
                errors.push(SpecError::new(path, reason));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn bound(errors: &mut Vec<SpecError>, path: String, value: u64, low: u64, high: u64) {
    if !(low..=high).contains(&value) {
        errors.push(SpecError::new(
            path,
            format!("{value} is out of bounds; use {low} to {high}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> FlowSpec {
        serde_json::from_value(serde_json::json!({
            "name": "orders-to-erp",
            "source": { "connection": "shop", "stream": "orders" },
            "destination": { "connection": "erp", "stream": "orders" },
        }))
        .unwrap()
    }

    #[test]
    fn a_flow_needs_little() {
        assert_eq!(flow().validate(), Ok(()));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let mut flow = flow();
        flow.delivery.batch = 0;
        flow.trigger = Trigger {
            every: Some(Period::from_millis(1)),
            cron: Some("* * * * *".to_owned()),
            webhook: false,
        };
        let errors = flow.validate().unwrap_err();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "flow orders-to-erp, delivery.batch",
                "flow orders-to-erp, trigger.every",
                "flow orders-to-erp, trigger"
            ]
        );
    }

    #[test]
    fn a_connection_is_checked_down_to_its_grants_and_limits() {
        let mut spec: ConnectionSpec = serde_json::from_value(serde_json::json!({
            "name": "shop",
            "plugin": { "path": "shop.wasm" },
            "grants": { "http": [
                { "host": "acme.example", "methods": ["OPTIONS"], "paths": ["/api"] },
                { "host": "acme.example", "methods": ["get"], "paths": ["api"], "addresses": ["10.0.0.0/99"] },
            ] },
        }))
        .unwrap();
        spec.limits.http.in_flight = 0;
        spec.limits.http.per_second = 10_001;
        spec.limits.webhook.burst = 0;
        let errors = spec.validate().unwrap_err();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "connection shop, grants.http[1].methods",
                "connection shop, grants.http[1].paths",
                "connection shop, grants.http[1].addresses",
                "connection shop, limits.http.in-flight",
                "connection shop, limits.http.per-second",
                "connection shop, limits.webhook.burst",
            ]
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = serde_json::json!({ "flow": [{ "name": "a", "sauce": {} }] });
        assert!(
            serde_json::from_value::<Setup>(text)
                .unwrap_err()
                .to_string()
                .contains("sauce")
        );
    }
}
