//! A registry of plugins from outside: real requests of an OCI client, a real plugin, the real gate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{fs, net::SocketAddr, path::PathBuf};

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stecker_package::{BUNDLE, MANIFEST, WASM_CONFIG, WASM_LAYER};
use stecker_registry::{Manifest, component::digest as component_digest, embed_manifest, inspect};
use stecker_registry_server::{ServeError, ServeOptions, serve};
use stecker_trust::{Algorithm, Bundle, ReleaseSubject, SecretKey};
use tempfile::TempDir;
use tokio::sync::oneshot;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The plugin that is published, if plugins were built.
fn plugin() -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("STECKER_PLUGINS") else {
        eprintln!("skipped: STECKER_PLUGINS is not set; `cargo xtask test` sets it");
        return None;
    };
    let file = PathBuf::from(folder).join("stecker-demo-erp-0.1.0.wasm");
    Some(fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The same code as another release.
fn release(component: &[u8], edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut manifest = serde_json::to_value(inspect(component).unwrap().manifest).unwrap();
    edit(&mut manifest);
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    embed_manifest(component, &manifest).unwrap()
}

struct Running {
    client: Client,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<Result<(), ServeError>>,
    folder: TempDir,
}

impl Running {
    async fn start() -> Self {
        // An error says that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let options = ServeOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: folder.path().to_owned(),
            database: None,
            users: None,
            anonymous_pull: false,
            public: None,
        };
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(
            options,
            move |address| tell.send(address).unwrap(),
            async {
                let _ = stopped.await;
            },
        ));
        let address = told.await.unwrap();
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            url: format!("http://{address}/v2"),
            stop: Some(stop),
            served,
            folder,
        }
    }

    async fn blob(&self, repository: &str, bytes: &[u8]) {
        let url = format!(
            "{}/{repository}/blobs/uploads/?digest={}",
            self.url,
            digest(bytes)
        );
        let request = self.client.post(url).body(bytes.to_vec());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.text().await);
    }

    async fn manifest(&self, repository: &str, reference: &str, manifest: &Value) -> Response {
        let request = self
            .client
            .put(format!("{}/{repository}/manifests/{reference}", self.url))
            .header("content-type", IMAGE)
            .body(manifest.to_string());
        request.send().await.unwrap()
    }

    /// Pushes as `wkg` and `oras` do.
    async fn push(&self, repository: &str, tag: &str, component: &[u8]) -> (Response, String) {
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [digest(component)],
        })
        .to_string();
        self.blob(repository, config.as_bytes()).await;
        self.blob(repository, component).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": { "mediaType": WASM_CONFIG, "digest": digest(config.as_bytes()), "size": config.len() },
            "layers": [{ "mediaType": WASM_LAYER, "digest": digest(component), "size": component.len() }],
        });
        let image = digest(manifest.to_string().as_bytes());
        (self.manifest(repository, tag, &manifest).await, image)
    }

    /// Something about an image.
    async fn about(&self, repository: &str, image: &str, kind: &str, content: &[u8]) -> Response {
        self.blob(repository, b"{}").await;
        self.blob(repository, content).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": kind,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
            "layers": [{ "mediaType": kind, "digest": digest(content), "size": content.len() }],
            "subject": { "mediaType": IMAGE, "digest": image, "size": 1 },
        });
        let reference = digest(manifest.to_string().as_bytes());
        self.manifest(repository, &reference, &manifest).await
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
        drop(self.folder);
    }
}

/// It is refused with this code, and nothing of it is to be seen.
async fn refused(answer: Response, code: &str) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(body["errors"][0]["code"], "MANIFEST_INVALID", "{body}");
    assert!(body.to_string().contains(code), "`{code}` is not in {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gate_lets_in_is_there_and_nothing_else() {
    let Some(plugin) = plugin() else { return };
    let running = Running::start().await;
    let home = "stecker/demo-erp";
    let (answer, first) = running.push(home, "0.1.0", &plugin).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.text().await);

    // The same again changes nothing; another one under the same version does not come in.
    let (answer, _) = running.push(home, "0.1.0", &plugin).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let other = release(&plugin, |manifest| manifest["title"] = json!("Another one"));
    let (answer, _) = running.push(home, "0.1.0", &other).await;
    assert!(answer.status().is_client_error(), "{:?}", answer.text().await);

    // Names and versions are those of the component.
    let (answer, _) = running.push("acme/demo-erp", "0.1.0", &plugin).await;
    refused(answer, "other-name").await;
    let (answer, _) = running.push(home, "0.1.1", &plugin).await;
    refused(answer, "other-version").await;
    let (answer, _) = running.push(home, "latest", &plugin).await;
    refused(answer, "other-version").await;

    // What the gate finds, it says.
    let unknown_end = release(&plugin, |manifest| {
        manifest["version"] = json!("0.1.1");
        manifest["upstream"] = json!([{ "system": "Demo ERP", "api-version": "2" }]);
    });
    let (answer, _) = running.push(home, "0.1.1", &unknown_end).await;
    refused(answer, "sunset").await;
    let (answer, _) = running
        .push(home, "0.1.1", b"\0asm\x0d\0\x01\0 and then nothing")
        .await;
    refused(answer, "cannot be published").await;
    let fix = release(&plugin, |manifest| manifest["version"] = json!("0.1.1"));
    let (answer, _) = running.push(home, "0.1.1", &fix).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.text().await);

    // What is said about a release is of a kind that is known, and about one that is there.
    let answer = running.about(home, &first, BUNDLE, b"not a bundle").await;
    refused(answer, "bad-bundle").await;
    let answer = running
        .about(home, &first, "application/vnd.acme.opinion+json", b"[]")
        .await;
    refused(answer, "unknown-kind").await;
    let nowhere = digest(b"nowhere");
    let answer = running.about(home, &nowhere, BUNDLE, b"{\"a\":1}").await;
    refused(answer, "no-release").await;
    let invented = b"{\"name\":\"stecker/demo-erp\"}";
    let answer = running.about(home, &first, MANIFEST, invented).await;
    refused(answer, "other-manifest").await;
    let readable = inspect(&plugin).unwrap().manifest.to_canonical_json();
    let answer = running.about(home, &first, MANIFEST, readable.as_bytes()).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.text().await);

    // A signature is about the release that it is pushed to, whoever made it.
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let signed = |component: &[u8]| {
        let inspection = inspect(component).unwrap();
        let subject = ReleaseSubject {
            name: inspection.manifest.name.clone(),
            version: inspection.manifest.version.clone(),
            component: inspection.digest.clone(),
            manifest: component_digest(inspection.manifest.to_canonical_json().as_bytes()),
            image: None,
        };
        Bundle::sign(&subject, &key, jiff::Timestamp::UNIX_EPOCH).to_json()
    };
    let answer = running.about(home, &first, BUNDLE, signed(&fix).as_bytes()).await;
    refused(answer, "other-release-signed").await;
    let answer = running
        .about(home, &first, BUNDLE, signed(&plugin).as_bytes())
        .await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.text().await);

    // Nor does a release come in by the side door, as something that is said about another one.
    let never = release(&plugin, |manifest| manifest["version"] = json!("9.9.9"));
    running.blob(home, &never).await;
    let sly = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": MANIFEST,
        "config": { "mediaType": WASM_CONFIG, "digest": digest(b"{}"), "size": 2 },
        "layers": [{ "mediaType": WASM_LAYER, "digest": digest(&never), "size": never.len() }],
        "subject": { "mediaType": IMAGE, "digest": first, "size": 1 },
    });
    let by_digest = digest(sly.to_string().as_bytes());
    for reference in ["9.9.9", &by_digest] {
        refused(running.manifest(home, reference, &sly).await, "not-a-release").await;
    }
    let tagged = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
        "layers": [{ "mediaType": MANIFEST, "digest": digest(readable.as_bytes()), "size": readable.len() }],
        "subject": { "mediaType": IMAGE, "digest": first, "size": 1 },
    });
    refused(running.manifest(home, "0.2.0", &tagged).await, "tagged").await;

    // And it is all to be had, byte by byte.
    let tags: Value = running
        .client
        .get(format!("{}/{home}/tags/list", running.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(tags["tags"], json!(["0.1.0", "0.1.1"]));
    let pulled = running
        .client
        .get(format!("{}/{home}/blobs/{}", running.url, digest(&plugin)))
        .send()
        .await
        .unwrap();
    assert_eq!(pulled.bytes().await.unwrap(), plugin);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_are_found_looked_at_yanked_and_deprecated() {
    let Some(plugin) = plugin() else { return };
    let running = Running::start().await;
    let home = "stecker/demo-erp";
    let (answer, image) = running.push(home, "0.1.0", &plugin).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let next = release(&plugin, |manifest| manifest["version"] = json!("0.1.1"));
    let (answer, _) = running.push(home, "0.1.1", &next).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let base = format!("{}/registry/v1/releases", running.url.trim_end_matches("/v2"));
    let get = async |rest: &str| -> Value {
        let answer = running.client.get(format!("{base}{rest}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{rest}");
        answer.json().await.unwrap()
    };
    let versions = |page: &Value| -> Vec<String> {
        let releases = page["releases"].as_array().unwrap().iter();
        releases
            .map(|release| release["version"].as_str().unwrap().to_owned())
            .collect()
    };

    // In pages, by words, by name.
    let first = get("?n=1").await;
    assert_eq!(versions(&first), ["0.1.0"]);
    let second = get(&format!("?n=1&last={}", first["next"].as_str().unwrap())).await;
    assert_eq!(versions(&second), ["0.1.1"]);
    assert_eq!(versions(&get("?q=DEMO").await), ["0.1.0", "0.1.1"]);
    assert_eq!(versions(&get("?q=demo+nowhere").await), [""; 0]);
    assert_eq!(versions(&get("?name=stecker/demo-erp").await), ["0.1.0", "0.1.1"]);
    assert_eq!(versions(&get("?name=acme/other").await), [""; 0]);
    for bad in ["?last=x", "?name=X", "?n=x", "?sort=age", "/stecker/demo-erp/one"] {
        let answer = running.client.get(format!("{base}{bad}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }

    // All about one, as its own bytes say.
    let one = "/stecker/demo-erp/0.1.0";
    let about = get(one).await;
    assert_eq!(about["image"], image);
    assert_eq!(about["component"], digest(&plugin));
    assert_eq!(about["roles"], json!(inspect(&plugin).unwrap().roles));
    assert_eq!(about["size"], plugin.len());
    assert_eq!(about["signatures"], json!([]));
    let missing = running
        .client
        .get(format!("{base}/stecker/demo-erp/9.9.9"))
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);

    // What is said about it is seen here, and by every client that asks for its manifest.
    let put = async |what: &str, body: Value| {
        let request = running.client.put(format!("{base}{one}/{what}"));
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    for _ in 0..2 {
        let (status, about) = put("yanked", json!({ "reason": "wrong totals" })).await;
        assert_eq!(
            (status, &about["yanked"]["reason"]),
            (StatusCode::OK, &json!("wrong totals"))
        );
    }
    let deprecation = json!({ "message": "use 0.1.1", "deadline": "2099-03-31" });
    let (status, about) = put("deprecated", deprecation).await;
    assert_eq!(
        (status, &about["deprecated"]["deadline"]),
        (StatusCode::OK, &json!("2099-03-31"))
    );
    for (what, bad) in [
        ("deprecated", json!({ "message": " " })),
        ("deprecated", json!({ "message": "x", "deadline": "soon" })),
        ("yanked", json!({ "reason": "x".repeat(2_000) })),
        ("yanked", json!({})),
    ] {
        let (status, body) = put(what, bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty());
    }
    for method in [reqwest::Method::HEAD, reqwest::Method::GET] {
        let url = format!("{}/{home}/manifests/0.1.0", running.url);
        let answer = running.client.request(method, url).send().await.unwrap();
        let warnings: Vec<_> = answer
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            warnings,
            [
                "299 - \"0.1.0 was yanked: wrong totals\"",
                "299 - \"0.1.0 is deprecated (until 2099-03-31): use 0.1.1\""
            ]
        );
    }
    for what in ["yanked", "deprecated"] {
        let answer = running
            .client
            .delete(format!("{base}{one}/{what}"))
            .send()
            .await
            .unwrap();
        let about: Value = answer.json().await.unwrap();
        assert_eq!(about[what], Value::Null);
    }
    running.end().await;
}

#[tokio::test]
async fn nobody_can_publish_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let options = |users: Option<PathBuf>| ServeOptions {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        data: folder.path().join("data"),
        database: None,
        users,
        anonymous_pull: false,
        public: None,
    };
    let refused = serve(options(None), |_| panic!("it serves"), async {}).await;
    assert!(matches!(refused, Err(ServeError::Open { .. })), "{refused:?}");
    let users = folder.path().join("users.txt");
    fs::write(&users, "ci:a password as it is\n").unwrap();
    let refused = serve(options(Some(users)), |_| panic!("it serves"), async {}).await;
    let Err(error @ ServeError::Users { .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().contains("line 1"), "{error}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}
