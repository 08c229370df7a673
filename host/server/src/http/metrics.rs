//! Prometheus text. What the ledger knows is read from it at the moment of asking, so that it survives a restart and is the same
//! on every node; what only this process knows (requests) is counted here.
//!
//! No label can be chosen from outside: paths are those of the router, methods and statuses are few, tenants and flows are those
//! that an operator made.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::{AppState, problems::ApiProblem};
use crate::problem;

/// What this process counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    webhooks: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let seconds = HistogramOpts::new(
            "stecker_http_request_duration_seconds",
            "Requests by path of the router, method and status.",
        )
        .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let requests = HistogramVec::new(seconds, &["path", "method", "status"])?;
        let webhooks = IntCounterVec::new(
            Opts::new(
                "stecker_webhooks_total",
                "Webhooks answered, by the class of the status.",
            ),
            &["status"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(webhooks.clone()))?;
        for class in CLASSES {
            webhooks.with_label_values(&[class]);
        }
        Ok(Self {
            registry,
            requests,
            webhooks,
        })
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn class(status: u16) -> &'static str {
    CLASSES
        .get(usize::from(status / 100).saturating_sub(1))
        .copied()
        .unwrap_or("5xx")
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Times a request and writes one line of log about it.
pub(crate) async fn measure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method(request.method());
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let seconds = begun.elapsed().as_secs_f64();
    state
        .metrics
        .requests
        .with_label_values(&[path.as_str(), method, status.as_str()])
        .observe(seconds);
    if path.starts_with("/hooks/") {
        state
            .metrics
            .webhooks
            .with_label_values(&[class(status.as_u16())])
            .inc();
    }
    tracing::debug!(method, path, status = status.as_u16(), seconds, "answered");
    response
}

/// Everything, as Prometheus text.
pub(crate) async fn show(State(state): State<AppState>) -> Result<Response, ApiProblem> {
    let ledger = Ledger::new().map_err(|error| problem::internal(error.to_string()))?;
    let store = state.service.store();
    for tenant in store.tenants().await.map_err(|error| problem::store(&error))? {
        for status in state
            .service
            .engine()
            .statuses(&tenant)
            .await
            .map_err(problem::flow)?
        {
            ledger.add(tenant.as_str(), &status);
        }
        for (connection, circuit) in state
            .service
            .engine()
            .circuits(&tenant)
            .await
            .map_err(problem::flow)?
        {
            ledger.add_circuit(tenant.as_str(), connection.as_str(), &circuit);
        }
        let upstreams = state.service.engine().upstreams(&tenant).await;
        for upstream in upstreams.map_err(problem::flow)? {
            ledger.add_upstream(tenant.as_str(), &upstream);
        }
        let webhooks = store.webhooks(&tenant).await;
        for webhook in webhooks.map_err(|error| problem::store(&error))? {
            ledger.add_webhook(tenant.as_str(), &webhook);
        }
        let totals = store.denial_totals(&tenant).await;
        ledger.add_denials(tenant.as_str(), &totals.map_err(|error| problem::store(&error))?);
    }
    let mut families = state.metrics.registry.gather();
    families.extend(ledger.registry.gather());
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&families, &mut text)
        .map_err(|error| problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// What the ledger knows, gathered anew each time.
struct Ledger {
    registry: Registry,
    records: IntGaugeVec,
    counters: [IntCounterVec; 5],
    failing: IntGaugeVec,
    denials: IntCounterVec,
    circuits: IntGaugeVec,
    upstreams: Upstreams,
    events_waiting: IntGaugeVec,
    webhooks_disabled: IntGaugeVec,
}

/// Of upstream accounts. What waited is what this node knows of.
struct Upstreams {
    down: IntGaugeVec,
    held: IntGaugeVec,
    left: IntGaugeVec,
    waited: IntCounterVec,
    waited_ms: IntCounterVec,
}

impl Ledger {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counted = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counter = |name: &str, help: &str| counted(name, help, &["tenant", "flow"]);
        let build = gauge(
            "stecker_build_info",
            "Always 1; the version is the label.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            records: gauge(
                "stecker_records",
                "Records of the ledger by state.",
                &["tenant", "flow", "state"],
            )?,
            failing: gauge(
                "stecker_flow_failing",
                "1 while the flow's source cannot be read.",
                &["tenant", "flow"],
            )?,
            denials: counted(
                "stecker_denials_total",
                "Uses of a capability that were refused, by the rule and by who said no.",
                &["tenant", "rule", "layer"],
            )?,
            circuits: gauge(
                "stecker_connection_circuit_open",
                "1 while the connection is not called, because it crashed too often or was stopped; nothing while all is well.",
                &["tenant", "connection"],
            )?,
            upstreams: Upstreams {
                down: gauge(
                    "stecker_upstream_breaker_state",
                    "2 while a host of the upstream account is down and nothing is sent to it, 1 while it is tried; nothing while all is well.",
                    &["tenant", "account", "host"],
                )?,
                held: gauge(
                    "stecker_upstream_held",
                    "1 while nothing is sent for the upstream account, because its system asked for that.",
                    &["tenant", "account"],
                )?,
                left: gauge(
                    "stecker_upstream_requests_left",
                    "Requests that the system of the upstream account says are left; nothing if it does not say.",
                    &["tenant", "account"],
                )?,
                waited: counted(
                    "stecker_upstream_waited_total",
                    "Requests that had to wait for their turn in the upstream account's budget.",
                    &["tenant", "account"],
                )?,
                waited_ms: counted(
                    "stecker_upstream_waited_milliseconds_total",
                    "How long they waited in all.",
                    &["tenant", "account"],
                )?,
            },
            events_waiting: gauge(
                "stecker_webhook_events_waiting",
                "Events on their way to a webhook.",
                &["tenant", "webhook"],
            )?,
            webhooks_disabled: gauge(
                "stecker_webhook_disabled",
                "1 while nothing is sent to the webhook, because it only failed or a person said so.",
                &["tenant", "webhook"],
            )?,
            counters: [
                counter("stecker_records_read_total", "Records accepted from sources.")?,
                counter(
                    "stecker_records_delivered_total",
                    "Records written at destinations.",
                )?,
                counter(
                    "stecker_records_retried_total",
                    "Records that needed more than one attempt.",
                )?,
                counter(
                    "stecker_records_duplicate_total",
                    "Repeated reads that were recognised and left out.",
                )?,
                counter(
                    "stecker_reads_completed_total",
                    "Times that a source was read to its end.",
                )?,
            ],
            registry,
        })
    }

    fn add_circuit(&self, tenant: &str, connection: &str, circuit: &stecker_model::api::Circuit) {
        use stecker_model::api::CircuitState::{Open, Probing};
        self.circuits
            .with_label_values(&[tenant, connection])
            .set(i64::from(matches!(circuit.state, Open | Probing)));
    }

    fn add_upstream(&self, tenant: &str, upstream: &stecker_model::api::UpstreamInfo) {
        use stecker_model::api::BreakerState::HalfOpen;
        let labels = [tenant, upstream.account.as_str()];
        let gauges = &self.upstreams;
        // Only hosts in trouble: a grant with a wildcard lets a plugin name many.
        for host in upstream.down() {
            let state = if host.breaker.state == HalfOpen { 1 } else { 2 };
            let [tenant, account] = labels;
            gauges
                .down
                .with_label_values(&[tenant, account, &host.host])
                .set(state);
        }
        gauges
            .held
            .with_label_values(&labels)
            .set(i64::from(upstream.hold.is_some()));
        if let Some(learned) = &upstream.learned {
            let left = i64::try_from(learned.left).unwrap_or(i64::MAX);
            gauges.left.with_label_values(&labels).set(left);
        }
        gauges.waited.with_label_values(&labels).inc_by(upstream.waited);
        gauges
            .waited_ms
            .with_label_values(&labels)
            .inc_by(upstream.waited_ms);
    }

    fn add_webhook(&self, tenant: &str, webhook: &stecker_model::api::WebhookInfo) {
        let labels = [tenant, webhook.name.as_str()];
        self.events_waiting
            .with_label_values(&labels)
            .set(i64::try_from(webhook.waiting).unwrap_or(i64::MAX));
        self.webhooks_disabled
            .with_label_values(&labels)
            .set(i64::from(!webhook.enabled));
    }

    fn add_denials(&self, tenant: &str, totals: &[stecker_model::api::DenialTotal]) {
        for total in totals {
            self.denials
                .with_label_values(&[tenant, &total.rule, &total.layer])
                .inc_by(total.count);
        }
    }

    fn add(&self, tenant: &str, status: &stecker_model::api::FlowStatus) {
        use stecker_model::api::FlowHealth;
        let flow = status.spec.name.as_str();
        for (state, count) in &status.counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.records
                .with_label_values(&[tenant, flow, state.as_str()])
                .set(count);
        }
        self.failing
            .with_label_values(&[tenant, flow])
            .set(i64::from(status.health == FlowHealth::Failing));
        let values = [
            status.counts.values().sum::<u64>() + status.removed,
            status.deliveries,
            status.retried,
            status.duplicates,
            status.reads_completed,
        ];
        for (counter, value) in self.counters.iter().zip(values) {
            counter.with_label_values(&[tenant, flow]).inc_by(value);
        }
    }
}
