//! What goes well: the client against the server, health, metrics.

use reqwest::Method;
use serde_json::Value;
use stecker_model::{
    RecordId, Setup,
    api::{
        CloseUpstream, EditPayload, PreviewReplay, QuarantineSelection, ReconcileFilter, ReconcileRequest,
        RecordFilter, ReplayEvent, ReplaySelection, StartReplay, Vacuum,
    },
};
use stecker_server::Operations as _;

use crate::Running;

#[tokio::test]
async fn the_client_gets_what_the_service_says() {
    let running = Running::start().await;
    let client = running.operations();
    let service = running
        .server
        .host()
        .service(stecker_model::Name::default_tenant(), "test");
    let flow = "orders".parse().unwrap();

    assert_eq!(client.releases().await, service.releases().await);
    assert_eq!(client.connections().await, service.connections().await);
    assert_eq!(client.flows().await, service.flows().await);
    assert_eq!(
        client.plan(&Setup::default()).await,
        service.plan(&Setup::default()).await
    );
    assert!(client.apply(&Setup::default()).await.unwrap().applied);
    assert_eq!(
        client.records(&RecordFilter::default()).await,
        service.records(&RecordFilter::default()).await
    );
    assert_eq!(client.quarantine(None).await, service.quarantine(None).await);
    assert_eq!(client.doctor().await, service.doctor().await);
    // Refusals too, word by word.
    assert_eq!(
        client.flow(&flow).await.unwrap_err(),
        service.flow(&flow).await.unwrap_err()
    );
    assert_eq!(client.upstreams().await, service.upstreams().await);
    assert_eq!(
        client.upstream(&flow).await.unwrap_err(),
        service.upstream(&flow).await.unwrap_err()
    );
    for reason in ["", "it is back"] {
        let close = CloseUpstream {
            reason: reason.to_owned(),
        };
        assert_eq!(
            client.close_upstream(&flow, &close).await.unwrap_err(),
            service.close_upstream(&flow, &close).await.unwrap_err()
        );
    }
    let every = ReconcileFilter::default();
    assert_eq!(client.reconciles(&every).await, service.reconciles(&every).await);
    assert_eq!(
        client.reconcile("0123456789ab").await.unwrap_err(),
        service.reconcile("0123456789ab").await.unwrap_err()
    );
    assert_eq!(
        client.abort_reconcile("0123456789ab").await.unwrap_err(),
        service.abort_reconcile("0123456789ab").await.unwrap_err()
    );
    for rate in [0, 100, 10_001] {
        let request = ReconcileRequest {
            rate,
            ..ReconcileRequest::default()
        };
        assert_eq!(
            client.start_reconcile(&flow, &request).await.unwrap_err(),
            service.start_reconcile(&flow, &request).await.unwrap_err()
        );
    }
    assert_eq!(
        client.check(&flow).await.unwrap_err(),
        service.check(&flow).await.unwrap_err()
    );
    assert_eq!(
        client.quarantine(Some(&flow)).await.unwrap_err(),
        service.quarantine(Some(&flow)).await.unwrap_err()
    );
    let nothing = QuarantineSelection::default();
    assert_eq!(
        client.quarantine_retry(&nothing).await.unwrap_err(),
        service.quarantine_retry(&nothing).await.unwrap_err()
    );
    let record = RecordId {
        flow: flow.clone(),
        seq: 1,
    };
    let selection = ReplaySelection {
        flow: flow.clone(),
        since: Some(1),
        until: None,
        key: None,
        from_seq: None,
        to_seq: None,
        states: Vec::new(),
        all_versions: false,
    };
    let preview = PreviewReplay {
        selection: selection.clone(),
        compare: true,
        limit: None,
        after: None,
    };
    let start = StartReplay {
        name: None,
        selection,
        reason: "why not".to_owned(),
        rate: Some(0),
    };
    let edit = EditPayload {
        payload: "{".to_owned(),
        reason: "why not".to_owned(),
        after_edits: None,
    };
    assert_eq!(client.cause_groups(None).await, service.cause_groups(None).await);
    assert_eq!(client.replays(None).await, service.replays(None).await);
    assert_eq!(
        client.storage().await.unwrap().tenants,
        service.storage().await.unwrap().tenants
    );
    assert_eq!(
        client.steps(&record).await.unwrap_err(),
        service.steps(&record).await.unwrap_err()
    );
    assert_eq!(
        client.payload(&record).await.unwrap_err(),
        service.payload(&record).await.unwrap_err()
    );
    assert_eq!(
        client.edit_payload(&record, &edit).await.unwrap_err(),
        service.edit_payload(&record, &edit).await.unwrap_err()
    );
    assert_eq!(
        client.preview_replay(&preview).await.unwrap_err(),
        service.preview_replay(&preview).await.unwrap_err()
    );
    assert_eq!(
        client.start_replay(&start).await.unwrap_err(),
        service.start_replay(&start).await.unwrap_err()
    );
    for event in [ReplayEvent::Pause, ReplayEvent::Resume, ReplayEvent::Abort] {
        assert_eq!(
            client.switch_replay(&flow, event).await.unwrap_err(),
            service.switch_replay(&flow, event).await.unwrap_err()
        );
    }
    let dry = Vacuum {
        dry_run: true,
        full: true,
    };
    assert!(!client.vacuum(&dry).await.unwrap().done);
    let filter = RecordFilter {
        limit: Some(0),
        ..RecordFilter::default()
    };
    assert_eq!(
        client.records(&filter).await.unwrap_err(),
        service.records(&filter).await.unwrap_err()
    );
    assert_eq!(
        client.add_release(b"no".to_vec()).await.unwrap_err(),
        service.add_release(b"no".to_vec()).await.unwrap_err()
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_problem_with_a_next_step() {
    let running = Running::start().await;
    let client = running.operations();
    let url = running.server.context().url.clone();
    running.server.shutdown().await;
    let problem = client.flows().await.unwrap_err();
    assert_eq!(problem.kind, "/problems/no-server");
    assert!(problem.detail.contains(&url), "{problem}");
    assert!(problem.hint.unwrap().contains("stecker serve"));
}

#[tokio::test]
async fn a_new_host_is_healthy_ready_and_says_so_of_itself() {
    let running = Running::start().await;
    let report = running.operations().doctor().await.unwrap();
    assert!(report.ok, "{report:?}");
    let names: Vec<_> = report.probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(names, ["database", "data folder", "vault", "plugins", "flows"]);
    let ready = running.anonymous(Method::GET, "/readyz").send().await.unwrap();
    let ready: Value = serde_json::from_slice(&ready.bytes().await.unwrap()).unwrap();
    assert_eq!(ready["status"], "ok");
}

#[tokio::test]
async fn metrics_name_paths_of_the_router_only() {
    let running = Running::start().await;
    for path in [
        "/api/v1/flows/secret-flow",
        "/guess/4711",
        "/hooks/default/secret-connection",
    ] {
        running.request(Method::POST, path).send().await.unwrap();
    }
    let text = running
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains(&format!(
            "stecker_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        )),
        "{text}"
    );
    assert!(
        text.contains(r#"path="/api/v1/flows/{name}",status="405""#),
        "{text}"
    );
    assert!(text.contains(r#"path="none",status="404""#), "{text}");
    assert!(
        text.contains(r#"stecker_webhooks_total{status="4xx"} 1"#),
        "{text}"
    );
    for outside in ["secret", "4711"] {
        assert!(!text.contains(outside), "a label came from outside: {text}");
    }
}
