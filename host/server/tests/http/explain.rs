//! Explaining a key, through the API.

use reqwest::Method;
use serde_json::Value;
use stecker_model::api::{Cause, ExplainRequest, FoundBy};
use stecker_server::Operations as _;

use crate::{Running, problem};

#[tokio::test]
async fn a_key_that_nobody_knows_is_explained_too() {
    let running = Running::start().await;
    let request = ExplainRequest {
        key: "SO-1042 & more".to_owned(),
        ..ExplainRequest::default()
    };
    let told = running.operations().explain(&request).await.unwrap();
    assert_eq!(
        (told.key.as_str(), told.found_by),
        ("SO-1042 & more", FoundBy::Nothing)
    );
    assert_eq!(told.hypotheses[0].cause, Cause::NotRead);
    assert!(told.summary.contains("there is no flow"), "{}", told.summary);
}

#[tokio::test]
async fn what_is_no_key_or_no_flow_is_refused() {
    let running = Running::start().await;
    let long = "x".repeat(513);
    for (query, status, kind) in [
        ("", 422, "invalid"),
        ("?key=", 422, "invalid"),
        (&*format!("?key={long}"), 422, "invalid"),
        ("?key=a&flow=away", 404, "not-found"),
    ] {
        let path = format!("/api/v1/explain{query}");
        let response = running.request(Method::GET, &path).send().await.unwrap();
        let problem: Value = problem(response, status, kind).await;
        assert!(problem["detail"].is_string(), "{query}");
    }
}
