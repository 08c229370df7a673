//! Blobs in a bucket: pushes, pulls, damage and garbage against moto, which speaks S3 (<https://docs.getmoto.org>).
//!
//! Moto is looked for in `MOTO_SERVER`, and else put into a virtual environment below the target folder, with the Python that is
//! there. Without one the test says so and does nothing.
#![cfg(feature = "aws")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use futures_util::TryStreamExt;
use http::Request;
use http_body_util::BodyExt;
use object_store::{ObjectStore, ObjectStoreExt, aws::AmazonS3Builder};
use serde_json::json;
use stecker_distribution::{Algorithm, BlobStore, Digest, Http, IMAGE_MANIFEST, Registry, RegistryOptions};
use tower::ServiceExt;

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn moto() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("MOTO_SERVER") {
        return Some(program.into());
    }
    let test = std::env::current_exe().unwrap();
    let venv = test.ancestors().nth(3)?.join("moto/venv");
    let program = venv.join("bin/moto_server");
    if program.is_file() {
        return Some(program);
    }
    let run = |program: PathBuf, arguments: &[&str]| {
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let made = run("python3".into(), &["-m", "venv", venv.to_str()?])
        && run(venv.join("bin/pip"), &["-q", "install", "moto[server,s3]"]);
    (made && program.is_file()).then_some(program)
}

async fn bucket() -> Option<(Moto, Arc<dyn ObjectStore>)> {
    let Some(program) = moto() else {
        println!("skipped: no moto, and no Python to install it with; set MOTO_SERVER to a `moto_server`");
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let moto = Moto(child);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = format!("http://127.0.0.1:{port}");
    let client = reqwest::Client::new();
    for _ in 0..600 {
        if client
            .put(format!("{endpoint}/plugins"))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            let store = AmazonS3Builder::new()
                .with_endpoint(endpoint)
                .with_allow_http(true)
                .with_bucket_name("plugins")
                .with_region("us-east-1")
                .with_access_key_id("any")
                .with_secret_access_key("any")
                .build()
                .unwrap();
            return Some((moto, Arc::new(store)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("moto does not come up");
}

async fn ask(
    http: &Http,
    method: &str,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> (u16, String, Option<Vec<u8>>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(Body::from(body))
        .unwrap();
    let response = http.clone().router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get("location")
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let body = response
        .into_body()
        .collect()
        .await
        .ok()
        .map(|body| body.to_bytes().to_vec());
    (status, location, body)
}

#[tokio::test]
async fn a_bucket_keeps_blobs_as_a_folder_does() {
    let Some((_moto, store)) = bucket().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("registry.sqlite").display());
    let options = RegistryOptions {
        grace: Duration::ZERO,
        upload_life: Duration::ZERO,
        ..RegistryOptions::default()
    };
    let registry = Registry::open(&url, BlobStore::object_store(store.clone()), options)
        .await
        .unwrap();
    let http = Http::open_to_all(registry.clone());
    let mut large = vec![7_u8; 18 * 1024 * 1024];
    large.extend(b"the end");
    let contents = [b"small".to_vec(), large];
    let digest = |content: &[u8]| Digest::of(Algorithm::Sha256, content);
    for content in &contents {
        let (status, location, _) = ask(&http, "POST", "/v2/a/blobs/uploads/", "", Vec::new()).await;
        assert_eq!(status, 202);
        let (first, second) = content.split_at(content.len() / 3);
        assert_eq!(ask(&http, "PATCH", &location, "", first.to_vec()).await.0, 202);
        let (status, location, _) = ask(
            &http,
            "PUT",
            &format!("{location}?digest={}", digest(content)),
            "",
            second.to_vec(),
        )
        .await;
        assert_eq!(status, 201);
        let (status, _, body) = ask(&http, "GET", &location, "", Vec::new()).await;
        assert!(status == 200 && body.as_deref() == Some(content));
    }
    let wrong = format!("/v2/a/blobs/uploads/?digest={}", digest(b"other"));
    assert_eq!(ask(&http, "POST", &wrong, "", contents[1].clone()).await.0, 400);
    let descriptor = |content: &[u8]| json!({ "mediaType": "x/y", "digest": digest(content).as_str(), "size": content.len() });
    let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(&contents[0]), "layers": [] });
    let published = ask(
        &http,
        "PUT",
        "/v2/a/manifests/1.0.0",
        IMAGE_MANIFEST,
        manifest.to_string().into_bytes(),
    )
    .await;
    assert_eq!(published.0, 201);
    // The clock counts milliseconds, and what is to go has to be older than now.
    while registry.collect(true).await.unwrap().blobs == 0 {
        tokio::task::yield_now().await;
    }
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    store.put(&left[0].location, "smell".into()).await.unwrap();
    let path = format!("/v2/a/blobs/{}", digest(&contents[0]));
    assert_eq!(ask(&http, "GET", &path, "", Vec::new()).await.0, 500);
    assert_eq!(ask(&http, "GET", &path, "", Vec::new()).await.0, 404);
    assert_eq!(registry.damaged().await.unwrap().len(), 1);
}
