//! A plugin asks for more than it was granted: the operator sees it once, with what would allow it, and pasting that is enough.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::fs;

use serde_json::Value;
use stecker_scenarios::{Artifacts, Host, HostOptions};
use stecker_simulators::{Config, Simulators};

fn json(host: &Host, arguments: &[&str]) -> Value {
    let said = host.cli(arguments.iter().copied().chain(["--json"])).unwrap();
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_was_refused_is_shown_once_with_the_grant_that_allows_it() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let systems = Simulators::start(Config::default()).await.unwrap();
    let shop = systems.announcement();
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let key = folder.path().join("api-key");
    fs::write(&key, &shop.shop_api_key).unwrap();
    let secret = folder.path().join("webhook-secret");
    fs::write(&secret, &shop.webhook_secret).unwrap();
    let setup = folder.path().join("setup.toml");
    let connection = format!(
        "[[connection]]\nname = \"shop\"\nplugin = {{ path = {:?} }}\nconfig = {{ base_url = {:?} }}\n\
         credentials.api = {{ secret = {{ file = {key:?} }} }}\ncredentials.webhook = {{ secret = {{ file = {secret:?} }} }}\n",
        artifacts.plugin("demo-shop").unwrap(),
        shop.shop_url,
    );
    fs::write(&setup, &connection).unwrap();
    let apply = ["apply", "-f", setup.to_str().unwrap()];
    json(&host, &apply);

    // Nothing is granted, so both probes of every check are refused: the same thing by the same rule, six times.
    for _ in 0..3 {
        host.cli(["connection", "check", "shop"]).unwrap_err();
    }
    let list = json(
        &host,
        &["denials", "list", "--connection", "shop", "--since", "1h"],
    );
    let denials = list["denials"].as_array().unwrap();
    assert_eq!(denials.len(), 1, "{list}");
    assert_eq!(list["left-out"], Value::Null, "{list}");
    let denial = &denials[0];
    assert_eq!(
        (&denial["count"], &denial["layer"], &denial["connection"]),
        (&6.into(), &"grant".into(), &"shop".into()),
        "{denial}"
    );
    assert!(
        denial["plugin"]
            .as_str()
            .unwrap()
            .starts_with("stecker/demo-shop@"),
        "{denial}"
    );
    let metrics = host.text("/metrics").await.unwrap();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("stecker_denials_total{") && line.contains("layer=\"grant\""))
        .unwrap();
    assert!(counted.ends_with(" 6"), "{counted}");

    // The list names the kind; the kind says what to paste and where.
    let id = denials[0]["id"].as_str().unwrap();
    let shown = json(&host, &["denials", "show", id]);
    assert_eq!(&shown, &denials[0]);
    assert!(
        shown["goes-into"].as_str().unwrap().contains("name = \"shop\""),
        "{shown}"
    );
    let grant = shown["smallest-grant"].as_str().unwrap();
    fs::write(&setup, format!("{connection}\n{grant}\n")).unwrap();
    json(&host, &["denials", "clear", "--connection", "shop"]);
    json(&host, &apply);
    host.cli(["connection", "check", "shop"]).unwrap();
    assert_eq!(
        json(&host, &["denials", "list"])["denials"],
        serde_json::json!([])
    );
    host.stop().await.unwrap();
    systems.stop().await;
}
