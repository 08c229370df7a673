//! The HTTP face from outside: a real server on a free port, a real SQLite file, real requests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by them; clippy.toml allows it only inside of test functions"
)]

mod api;
mod blobs;
mod explain;
mod folder;
mod openapi;
mod refusals;
mod webhooks;

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use stecker_model::Name;
use stecker_server::{HostOptions, HttpClient, ServeOptions, Server};
use tempfile::TempDir;

/// A server in a folder of its own.
struct Running {
    server: Server,
    token: String,
    client: reqwest::Client,
    dir: TempDir,
}

impl Running {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(options(&dir)).await.unwrap();
        let token = std::fs::read_to_string(&server.context().token_file)
            .unwrap()
            .trim()
            .to_owned();
        // Installs the provider that reqwest needs.
        HttpClient::new("http://127.0.0.1:1", "t", &Name::default_tenant()).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            server,
            token,
            client,
            dir,
        }
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.server.context().url))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    fn operations(&self) -> HttpClient {
        HttpClient::new(&self.server.context().url, &self.token, &Name::default_tenant()).unwrap()
    }
}

fn options(dir: &TempDir) -> ServeOptions {
    ServeOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..ServeOptions::new(HostOptions::new(dir.path(), "stecker serve"))
    }
}

/// The answer is a problem of this kind, complete and with a next step.
async fn problem(response: Response, status: u16, kind: &str) -> Value {
    let got = response.status().as_u16();
    let media_type = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let problem: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{got} {text:?}: {error}"));
    assert_eq!(
        (got, problem["type"].as_str()),
        (status, Some(format!("/problems/{kind}").as_str())),
        "{problem}"
    );
    assert_eq!(media_type.as_deref(), Some("application/problem+json"));
    assert_eq!(problem["status"], status);
    for key in ["title", "detail", "hint"] {
        assert!(
            problem[key].as_str().is_some_and(|text| !text.is_empty()),
            "no {key}: {problem}"
        );
    }
    problem
}
