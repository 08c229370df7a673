//! The operations, done by a server.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method, RequestBuilder, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use stecker_model::api::{
    AddSignature, DropRoot, OutdatedUse, ResolveWish, Resolved, RiskBy, SignatureTaken, TakeRoot, TrustInfo,
    UseAtRisk,
};
use stecker_model::api::{
    AddWebhook, DeliveryFilter, DisableWebhook, RotateWebhookSecret, WebhookDelivery, WebhookInfo,
    WebhookSecret, WebhookTest,
};
use stecker_model::api::{CloseUpstream, UpstreamInfo};
use stecker_model::api::{ExplainRequest, Explanation};
use stecker_model::api::{ShadowReport, ShadowRequest, StartTaping, TapeList, TapesCleared};
use stecker_model::{
    Authorization, Authorize, Authorized, Digest, Name, RecordId, RotateKeys, RotatedKeys, SecretInfo,
    SetSecret, Setup, StreamInfo, TenantLimits,
    api::{
        Affected, BarRelease, BarredRelease, CauseGroup, CheckReport, CircuitRequest, ClearDenials, Cleared,
        ConnectionInfo, DenialFilter, DenialInfo, DenialList, Discard, DoctorReport, EditPayload, Edited,
        FlowStatus, PauseRequest, PayloadText, Plan, PreviewReplay, Problem, QuarantineGroup,
        QuarantineSelection, ReconcileDetail, ReconcileFilter, ReconcileRequest, ReconcileRun, RecordDetail,
        RecordFilter, RecordPage, RecordSteps, ReleaseInfo, ReplayEvent, ReplayInfo, ReplayPreview,
        RolloutAction, RolloutInfo, RolloutPlan, SelectionPreview, StartReplay, StartRollout, StorageReport,
        TenantInfo, Vacuum, Vacuumed,
    },
};

use crate::{Operations, http::auth::TENANT_HEADER};

const CONNECT: Duration = Duration::from_secs(5);
/// A little more than the server gives its most patient path.
const ANSWER: Duration = Duration::from_secs(620);

/// Speaks to a server's API.
#[derive(Debug, Clone)]
pub struct HttpClient {
    base: Url,
    client: reqwest::Client,
}

/// Has TLS use the one provider of cryptography that is built in, in this process. Again and again is as good as once.
pub fn install_crypto() {
    // An error says that there is one already; whoever installed it first, it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl HttpClient {
    /// For the server at `base`, such as `http://127.0.0.1:7420`, as the holder of `token`, within `tenant`.
    ///
    /// # Errors
    /// A base that is no http(s) URL, or a token that cannot stand in a header.
    pub fn new(base: &str, token: &str, tenant: &Name) -> Result<Self, Problem> {
        let usage = |detail: String, hint: &str| {
            Problem::new(400, "bad-server", "Server not understood", detail).with_hint(hint)
        };
        let url = Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(mut url) = url else {
            return Err(usage(
                format!("`{base}` is not the URL of a server"),
                "give it like http://127.0.0.1:7420",
            ));
        };
        url.set_query(None);
        url.set_fragment(None);
        let no_header = || {
            usage(
                "the token has characters that no token has".to_owned(),
                "copy it again from the file `token` of the data folder",
            )
        };
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| no_header())?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::AUTHORIZATION, bearer);
        headers.insert(
            HeaderName::from_static(TENANT_HEADER),
            HeaderValue::from_str(tenant.as_str()).map_err(|_| no_header())?,
        );
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A token goes nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| crate::problem::internal(format!("no HTTP client could be made: {error}")))?;
        Ok(Self { base: url, client })
    }

    /// Where the server is.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether the token goes over a network without encryption.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.base.scheme() == "http" && !is_loopback(&self.base)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        self.client.request(method, url)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Problem> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// A list of one flow, or of all.
    async fn of_flow<T: DeserializeOwned>(&self, path: &[&str], flow: Option<&Name>) -> Result<T, Problem> {
        let request = self.request(Method::GET, path);
        self.answer(request.query(&flow.map(|flow| ("flow", flow)).into_iter().collect::<Vec<_>>()))
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl serde::Serialize + Sync),
    ) -> Result<T, Problem> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    /// A request that has nothing more to say than its path does.
    async fn act<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Problem> {
        self.answer(self.request(Method::POST, path)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Problem> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let foreign = |what: String| {
            Problem::new(
                502,
                "not-stecker",
                "Not a Stecker server",
                format!("{} {what}", self.base()),
            )
            .with_hint("check --server: it has to be the URL of a Stecker server of this version")
        };
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                foreign(format!(
                    "answered {status} with something else than this command expects: {error}"
                ))
            });
        }
        Err(serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| foreign(format!("answered {status} without saying why"))))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        let base = self.base();
        if error.is_connect() {
            let detail = format!("no server answers at {base}: {reason}");
            return Problem::new(503, "no-server", "No server", detail)
                .with_hint("start one with `stecker serve`, correct --server, or leave --server away to work in the data folder directly");
        }
        let what = if error.is_timeout() {
            "took too long to answer"
        } else {
            "broke off"
        };
        Problem::new(
            503,
            "server-broke-off",
            "The server broke off",
            format!("the server at {base} {what}: {reason}"),
        )
        .with_hint("look at the state before trying again: what was asked for may have been done")
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[async_trait]
impl Operations for HttpClient {
    async fn add_release(&self, component: Vec<u8>) -> Result<ReleaseInfo, Problem> {
        let request = self
            .request(Method::POST, &["releases"])
            .header(CONTENT_TYPE, "application/wasm");
        self.answer(request.body(component)).await
    }

    async fn releases(&self) -> Result<Vec<ReleaseInfo>, Problem> {
        self.get(&["releases"]).await
    }

    async fn plan(&self, setup: &Setup) -> Result<Plan, Problem> {
        self.post(&["plan"], setup).await
    }

    async fn apply(&self, setup: &Setup) -> Result<Plan, Problem> {
        self.post(&["apply"], setup).await
    }

    async fn connections(&self) -> Result<Vec<ConnectionInfo>, Problem> {
        self.get(&["connections"]).await
    }

    async fn connection(&self, connection: &Name) -> Result<ConnectionInfo, Problem> {
        self.get(&["connections", connection.as_str()]).await
    }

    async fn open_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem> {
        self.post(&["connections", connection.as_str(), "open-circuit"], request)
            .await
    }

    async fn close_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem> {
        self.post(&["connections", connection.as_str(), "close-circuit"], request)
            .await
    }

    async fn check(&self, connection: &Name) -> Result<CheckReport, Problem> {
        self.act(&["connections", connection.as_str(), "check"]).await
    }

    async fn discover(&self, connection: &Name) -> Result<Vec<StreamInfo>, Problem> {
        self.get(&["connections", connection.as_str(), "streams"]).await
    }

    async fn flows(&self) -> Result<Vec<FlowStatus>, Problem> {
        self.get(&["flows"]).await
    }

    async fn flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.get(&["flows", flow.as_str()]).await
    }

    async fn run_flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.act(&["flows", flow.as_str(), "run"]).await
    }

    async fn pause_flow(&self, flow: &Name, request: &PauseRequest) -> Result<FlowStatus, Problem> {
        self.post(&["flows", flow.as_str(), "pause"], request).await
    }

    async fn resume_flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.act(&["flows", flow.as_str(), "resume"]).await
    }

    async fn records(&self, filter: &RecordFilter) -> Result<RecordPage, Problem> {
        self.answer(self.request(Method::GET, &["records"]).query(filter))
            .await
    }

    async fn record(&self, id: &RecordId) -> Result<RecordDetail, Problem> {
        self.get(&["records", id.flow.as_str(), &id.seq.to_string()])
            .await
    }

    async fn quarantine(&self, flow: Option<&Name>) -> Result<Vec<QuarantineGroup>, Problem> {
        self.of_flow(&["quarantine"], flow).await
    }

    async fn quarantine_retry(&self, selection: &QuarantineSelection) -> Result<Affected, Problem> {
        self.post(&["quarantine", "retry"], selection).await
    }

    async fn quarantine_discard(&self, discard: &Discard) -> Result<Affected, Problem> {
        self.post(&["quarantine", "discard"], discard).await
    }

    async fn start_reconcile(
        &self,
        flow: &Name,
        request: &ReconcileRequest,
    ) -> Result<ReconcileRun, Problem> {
        self.post(&["flows", flow.as_str(), "reconcile"], request).await
    }

    async fn reconciles(&self, filter: &ReconcileFilter) -> Result<Vec<ReconcileRun>, Problem> {
        self.answer(self.request(Method::GET, &["reconciles"]).query(filter))
            .await
    }

    async fn reconcile(&self, id: &str) -> Result<ReconcileDetail, Problem> {
        self.get(&["reconciles", id]).await
    }

    async fn abort_reconcile(&self, id: &str) -> Result<ReconcileRun, Problem> {
        self.act(&["reconciles", id, "abort"]).await
    }

    async fn quarantine_preview(&self, selection: &QuarantineSelection) -> Result<SelectionPreview, Problem> {
        self.post(&["quarantine", "preview"], selection).await
    }

    async fn cause_groups(&self, flow: Option<&Name>) -> Result<Vec<CauseGroup>, Problem> {
        self.of_flow(&["quarantine", "groups"], flow).await
    }

    async fn steps(&self, id: &RecordId) -> Result<RecordSteps, Problem> {
        self.get(&["records", id.flow.as_str(), &id.seq.to_string(), "steps"])
            .await
    }

    async fn payload(&self, id: &RecordId) -> Result<PayloadText, Problem> {
        self.get(&["records", id.flow.as_str(), &id.seq.to_string(), "payload"])
            .await
    }

    async fn edit_payload(&self, id: &RecordId, edit: &EditPayload) -> Result<Edited, Problem> {
        let seq = id.seq.to_string();
        let path = ["records", id.flow.as_str(), &seq, "payload"];
        self.answer(self.request(Method::PUT, &path).json(edit)).await
    }

    async fn replays(&self, flow: Option<&Name>) -> Result<Vec<ReplayInfo>, Problem> {
        self.of_flow(&["replays"], flow).await
    }

    async fn replay(&self, name: &Name) -> Result<ReplayInfo, Problem> {
        self.get(&["replays", name.as_str()]).await
    }

    async fn preview_replay(&self, request: &PreviewReplay) -> Result<ReplayPreview, Problem> {
        self.post(&["replay-preview"], request).await
    }

    async fn start_replay(&self, start: &StartReplay) -> Result<ReplayInfo, Problem> {
        self.post(&["replays"], start).await
    }

    async fn switch_replay(&self, name: &Name, event: ReplayEvent) -> Result<ReplayInfo, Problem> {
        let verb = match event {
            ReplayEvent::Pause => "pause",
            ReplayEvent::Resume => "resume",
            ReplayEvent::Abort => "abort",
            ReplayEvent::Exhausted => {
                return Err(crate::problem::internal(
                    "only the host itself finds that a replay is done",
                ));
            }
        };
        self.act(&["replays", name.as_str(), verb]).await
    }

    async fn rollouts(&self) -> Result<Vec<RolloutInfo>, Problem> {
        self.get(&["rollouts"]).await
    }

    async fn rollout(&self, name: &Name) -> Result<RolloutInfo, Problem> {
        self.get(&["rollouts", name.as_str()]).await
    }

    async fn plan_rollout(&self, start: &StartRollout) -> Result<RolloutPlan, Problem> {
        self.post(&["rollout-plan"], start).await
    }

    async fn start_rollout(&self, start: &StartRollout) -> Result<RolloutInfo, Problem> {
        self.post(&["rollouts"], start).await
    }

    async fn switch_rollout(&self, name: &Name, action: RolloutAction) -> Result<RolloutInfo, Problem> {
        self.act(&["rollouts", name.as_str(), action.as_str()]).await
    }

    async fn barred_releases(&self) -> Result<Vec<BarredRelease>, Problem> {
        self.get(&["barred-releases"]).await
    }

    async fn bar_release(
        &self,
        digest: &Digest,
        reason: Option<&str>,
    ) -> Result<Vec<BarredRelease>, Problem> {
        match reason {
            Some(reason) => {
                let bar = BarRelease {
                    reason: reason.to_owned(),
                };
                self.post(&["barred-releases", digest.as_str()], &bar).await
            }
            None => {
                let request = self.request(Method::DELETE, &["barred-releases", digest.as_str()]);
                self.answer(request).await
            }
        }
    }

    async fn storage(&self) -> Result<StorageReport, Problem> {
        self.get(&["storage"]).await
    }

    async fn vacuum(&self, request: &Vacuum) -> Result<Vacuumed, Problem> {
        self.post(&["storage", "vacuum"], request).await
    }

    async fn secrets(&self) -> Result<Vec<SecretInfo>, Problem> {
        self.get(&["secrets"]).await
    }

    async fn set_secret(
        &self,
        connection: &Name,
        credential: &Name,
        secret: &SetSecret,
    ) -> Result<SecretInfo, Problem> {
        let path = ["secrets", connection.as_str(), credential.as_str()];
        self.answer(self.request(Method::PUT, &path).json(secret)).await
    }

    async fn remove_secret(&self, connection: &Name, credential: &Name) -> Result<SecretInfo, Problem> {
        let path = ["secrets", connection.as_str(), credential.as_str()];
        self.answer(self.request(Method::DELETE, &path)).await
    }

    async fn authorize(
        &self,
        connection: &Name,
        credential: &Name,
        request: &Authorize,
    ) -> Result<Authorization, Problem> {
        let path = ["secrets", connection.as_str(), credential.as_str(), "authorize"];
        self.post(&path, request).await
    }

    async fn authorized(
        &self,
        connection: &Name,
        credential: &Name,
        answer: &Authorized,
    ) -> Result<SecretInfo, Problem> {
        let path = ["secrets", connection.as_str(), credential.as_str(), "authorized"];
        self.post(&path, answer).await
    }

    async fn rotate_keys(&self, request: &RotateKeys) -> Result<RotatedKeys, Problem> {
        self.post(&["keys", "rotate"], request).await
    }

    async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Problem> {
        self.answer(self.request(Method::GET, &["explain"]).query(request))
            .await
    }

    async fn tapes(&self, connection: &Name) -> Result<TapeList, Problem> {
        self.get(&["connections", connection.as_str(), "tapes"]).await
    }

    async fn tape(&self, connection: &Name, id: &str) -> Result<serde_json::Value, Problem> {
        self.get(&["connections", connection.as_str(), "tapes", id]).await
    }

    async fn start_taping(&self, connection: &Name, wish: &StartTaping) -> Result<TapeList, Problem> {
        self.post(&["connections", connection.as_str(), "tapes", "start"], wish)
            .await
    }

    async fn stop_taping(&self, connection: &Name) -> Result<TapeList, Problem> {
        self.act(&["connections", connection.as_str(), "tapes", "stop"])
            .await
    }

    async fn clear_tapes(&self, connection: &Name) -> Result<TapesCleared, Problem> {
        self.act(&["connections", connection.as_str(), "tapes", "clear"])
            .await
    }

    async fn shadow(&self, connection: &Name, request: &ShadowRequest) -> Result<ShadowReport, Problem> {
        self.post(&["connections", connection.as_str(), "shadow"], request)
            .await
    }

    async fn denials(&self, filter: &DenialFilter) -> Result<DenialList, Problem> {
        self.answer(self.request(Method::GET, &["denials"]).query(filter))
            .await
    }

    async fn denial(&self, id: &str) -> Result<DenialInfo, Problem> {
        self.get(&["denials", id]).await
    }

    async fn clear_denials(&self, clear: &ClearDenials) -> Result<Cleared, Problem> {
        self.post(&["denials", "clear"], clear).await
    }

    async fn trust(&self) -> Result<TrustInfo, Problem> {
        self.get(&["trust"]).await
    }

    async fn take_trust_root(&self, root: &TakeRoot) -> Result<TrustInfo, Problem> {
        self.post(&["trust"], root).await
    }

    async fn drop_trust_root(&self, drop: &DropRoot) -> Result<TrustInfo, Problem> {
        self.post(&["trust", "drop"], drop).await
    }

    async fn resolve(&self, wishes: &[ResolveWish]) -> Result<Vec<Resolved>, Problem> {
        self.post(&["resolve"], &wishes).await
    }

    async fn outdated(&self) -> Result<Vec<OutdatedUse>, Problem> {
        self.get(&["outdated"]).await
    }

    async fn at_risk(&self, by: &RiskBy) -> Result<Vec<UseAtRisk>, Problem> {
        self.answer(self.request(Method::GET, &["at-risk"]).query(by))
            .await
    }

    async fn add_signature(&self, signature: &AddSignature) -> Result<SignatureTaken, Problem> {
        self.post(&["signatures"], signature).await
    }

    async fn upstreams(&self) -> Result<Vec<UpstreamInfo>, Problem> {
        self.get(&["upstreams"]).await
    }

    async fn upstream(&self, account: &Name) -> Result<UpstreamInfo, Problem> {
        self.get(&["upstreams", account.as_str()]).await
    }

    async fn close_upstream(&self, account: &Name, request: &CloseUpstream) -> Result<UpstreamInfo, Problem> {
        self.post(&["upstreams", account.as_str(), "close"], request)
            .await
    }

    async fn tenants(&self) -> Result<Vec<TenantInfo>, Problem> {
        self.get(&["tenants"]).await
    }

    async fn tenant_info(&self) -> Result<TenantInfo, Problem> {
        self.get(&["tenant"]).await
    }

    async fn limit_tenant(&self, limits: &TenantLimits) -> Result<TenantInfo, Problem> {
        self.post(&["tenant", "limits"], limits).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookInfo>, Problem> {
        self.get(&["webhooks"]).await
    }

    async fn webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        self.get(&["webhooks", webhook.as_str()]).await
    }

    async fn add_webhook(&self, wish: &AddWebhook) -> Result<WebhookSecret, Problem> {
        self.post(&["webhooks"], wish).await
    }

    async fn enable_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        self.act(&["webhooks", webhook.as_str(), "enable"]).await
    }

    async fn disable_webhook(
        &self,
        webhook: &Name,
        request: &DisableWebhook,
    ) -> Result<WebhookInfo, Problem> {
        self.post(&["webhooks", webhook.as_str(), "disable"], request)
            .await
    }

    async fn remove_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        self.answer(self.request(Method::DELETE, &["webhooks", webhook.as_str()]))
            .await
    }

    async fn rotate_webhook_secret(
        &self,
        webhook: &Name,
        request: &RotateWebhookSecret,
    ) -> Result<WebhookSecret, Problem> {
        self.post(&["webhooks", webhook.as_str(), "rotate-secret"], request)
            .await
    }

    async fn test_webhook(&self, webhook: &Name) -> Result<WebhookTest, Problem> {
        self.act(&["webhooks", webhook.as_str(), "test"]).await
    }

    async fn webhook_deliveries(
        &self,
        webhook: &Name,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WebhookDelivery>, Problem> {
        let path = ["webhooks", webhook.as_str(), "deliveries"];
        self.answer(self.request(Method::GET, &path).query(filter)).await
    }

    async fn doctor(&self) -> Result<DoctorReport, Problem> {
        self.get(&["doctor"]).await
    }
}
