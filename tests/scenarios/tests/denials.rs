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

    // Nothing is granted, so that every probe of the check is refused: two kinds, as two things are asked for.
    for _ in 0..3 {
        host.cli(["connection", "check", "shop"]).unwrap_err();
    }
    let list = json(
        &host,
        &["denials", "list", "--connection", "shop", "--since", "1h"],
    );
    let denials = list["denials"].as_array().unwrap();
    assert!(!denials.is_empty(), "{list}");
    assert_eq!(list["left-out"], Value::Null, "{list}");
    for denial in denials {
        assert_eq!(
            (&denial["count"], &denial["layer"]),
            (&3.into(), &"grant".into()),
            "{denial}"
        );
        assert_eq!(denial["connection"], "shop", "{denial}");
        assert!(
            denial["plugin"]
                .as_str()
                .unwrap()
                .starts_with("stecker/demo-shop@"),
            "{denial}"
        );
    }
    let metrics = host.text("/metrics").await.unwrap();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("stecker_denials_total{") && line.contains("layer=\"grant\""))
        .unwrap();
    let total: u64 = denials
        .iter()
        .map(|denial| denial["count"].as_u64().unwrap())
        .sum();
    assert!(counted.ends_with(&format!(" {total}")), "{counted}");

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

    // Whatever else the check needs is told the same way, until it works.
    let mut grants = grant.to_owned();
    for _ in 0..4 {
        if host.cli(["connection", "check", "shop"]).is_ok() {
            break;
        }
        let list = json(&host, &["denials", "list"]);
        grants = format!(
            "{grants}\n{}",
            list["denials"][0]["smallest-grant"].as_str().unwrap()
        );
        fs::write(&setup, format!("{connection}\n{grants}\n")).unwrap();
        json(&host, &["denials", "clear"]);
        json(&host, &apply);
    }
    host.cli(["connection", "check", "shop"]).unwrap();
    assert_eq!(
        json(&host, &["denials", "list"])["denials"],
        serde_json::json!([])
    );
    host.stop().await.unwrap();
    systems.stop().await;
}
