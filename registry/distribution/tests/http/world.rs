//! A registry for one scenario, and what clients do with it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stecker_distribution::{
    Algorithm, BlobStore, Clock, Digest, Http, IMAGE_MANIFEST, Registry, RegistryOptions,
};
use tempfile::TempDir;
use tower::ServiceExt;

/// Runs scenarios on both databases.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::world::World::sqlite().await).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(world) = crate::world::World::postgres().await {
                    super::$name(world).await;
                }
            })+
        }
    };
}
pub(crate) use scenarios;

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn pass(&self, time: Duration) {
        self.0
            .fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) const GRACE: Duration = Duration::from_secs(3600);

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) router: Router,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// None: the answer broke off.
    pub(crate) body: Option<Bytes>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| std::str::from_utf8(value.as_bytes()).unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// An error of the specification's form.
    #[track_caller]
    pub(crate) fn error(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.json()["errors"][0]["code"], code, "{this:?}");
        assert!(!this.json()["errors"][0]["message"].as_str().unwrap().is_empty());
        this
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes that are the same for the same seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(length);
    out
}

pub(crate) fn descriptor(content: &[u8], media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content).as_str(), "size": content.len() })
}

/// A manifest of a configuration and a layer.
pub(crate) fn image(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(config, "application/vnd.wasm.config.v0+json"),
        "layers": [descriptor(layer, "application/wasm")],
    })
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.sqlite").display());
        Self::open(folder, url).await
    }

    pub(crate) async fn postgres() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("STECKER_TEST_POSTGRES") else {
            println!("skipped: STECKER_TEST_POSTGRES names no server");
            return None;
        };
        let name = format!(
            "oci_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::SeqCst)
        );
        sqlx_create(&server, &name).await;
        let (base, _) = server.rsplit_once('/').unwrap();
        Some(Self::open(tempfile::tempdir().unwrap(), format!("{base}/{name}")).await)
    }

    async fn open(folder: TempDir, url: String) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
        let options = RegistryOptions {
            connections: 4,
            grace: GRACE,
            upload_life: GRACE,
            max_blob: 64 * 1024 * 1024,
            max_chunk: 32 * 1024 * 1024,
            clock: clock.clone(),
        };
        let blobs = BlobStore::folder(&folder.path().join("blobs")).unwrap();
        let registry = Registry::open(&url, blobs, options).await.unwrap();
        Self {
            router: Http::open_to_all(registry.clone()).router(),
            registry,
            clock,
            folder,
            url,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(
            parts
                .headers
                .get("docker-distribution-api-version")
                .map(|value| value.as_bytes()),
            Some(&b"registry/2.0"[..])
        );
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.ok().map(|body| body.to_bytes()),
        }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.ask("HEAD", path, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], Body::empty()).await
    }

    /// Begins an upload.
    pub(crate) async fn upload(&self, repository: &str) -> String {
        let answer = self
            .ask(
                "POST",
                &format!("/v2/{repository}/blobs/uploads/"),
                &[("content-length", "0")],
                Body::empty(),
            )
            .await;
        answer.expect(202).header("location").to_owned()
    }

    pub(crate) async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = digest(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask("POST", &path, &[], content.to_vec()).await.expect(201);
        digest
    }

    pub(crate) async fn put(&self, repository: &str, reference: &str, manifest: &Value) -> Answer {
        let kind = manifest["mediaType"]
            .as_str()
            .unwrap_or(IMAGE_MANIFEST)
            .to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.ask(
            "PUT",
            &path,
            &[("content-type", &kind)],
            serde_json::to_vec(manifest).unwrap(),
        )
        .await
    }

    /// Pushes an image of two blobs that differ with the seed, and says what it is.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, seed: u64) -> Digest {
        let (config, layer) = (bytes(seed, 50), bytes(seed + 1_000_000, 200));
        self.push_blob(repository, &config).await;
        self.push_blob(repository, &layer).await;
        let manifest = image(&config, &layer);
        self.put(repository, tag, &manifest).await.expect(201);
        digest(&serde_json::to_vec(&manifest).unwrap())
    }

    /// How many objects lie where blobs are kept.
    pub(crate) fn objects(&self) -> usize {
        files(&self.folder.path().join("blobs")).len()
    }
}

pub(crate) fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            out.extend(files(&entry.path()));
        } else {
            out.push(entry.path());
        }
    }
    out
}

fn sqlx_create(server: &str, name: &str) -> impl Future<Output = ()> {
    use sqlx::{AssertSqlSafe, Connection};
    let (server, sql) = (server.to_owned(), format!("CREATE DATABASE {name}"));
    async move {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}
