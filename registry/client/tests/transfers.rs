//! Pushing to a real registry and pulling from it, and pulling from registries that break off, lie, or send without an end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing,
};
use futures_util::{StreamExt as _, stream};
use stecker_registry::inspect;
use stecker_registry_client::{Cache, ClientError, Registry};
use stecker_registry_server::{ServeOptions, serve};
use tokio::{net::TcpListener, sync::oneshot};

fn crypto() {
    // An error says that the process has one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A plugin, if plugins were built.
fn plugin() -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("STECKER_PLUGINS") else {
        eprintln!("skipped: STECKER_PLUGINS is not set; `cargo xtask test` sets it");
        return None;
    };
    let file = PathBuf::from(folder).join("stecker-demo-shop-0.1.0.wasm");
    Some(fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_is_pulled_byte_by_byte() {
    let Some(component) = plugin() else { return };
    crypto();
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
    let served = tokio::spawn(serve(
        options,
        move |address| tell.send(address).unwrap(),
        std::future::pending(),
    ));
    let registry = Registry::at(&format!("http://{}", told.await.unwrap()), None).unwrap();
    let repository = "stecker/demo-shop";
    let missing = registry.tags(repository).await;
    assert!(
        matches!(missing, Err(ClientError::NotThere { .. })),
        "{missing:?}"
    );

    let inspection = inspect(&component).unwrap();
    let bytes = Bytes::from(component.clone());
    let mut images = Vec::new();
    for _ in 0..2 {
        let pushed = registry
            .publish("", &inspection, bytes.clone(), &[], &|_, _| {})
            .await;
        images.push(pushed.unwrap().image);
    }
    assert_eq!(images.first(), images.last(), "the same again is the same");
    assert_eq!(registry.tags(repository).await.unwrap(), ["0.1.0"]);
    for reference in ["0.1.0", images.first().unwrap().as_str()] {
        let pulled = registry.pull(repository, reference, &|_, _| {}).await.unwrap();
        assert_eq!(pulled.component, component);
        assert_eq!(pulled.digest, inspection.digest);
    }
    // Under another name it does not come in, and the registry says why.
    let refused = registry
        .publish("mine/", &inspection, bytes, &[], &|_, _| {})
        .await;
    let Err(ClientError::Refused { reason, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("stecker/demo-shop"), "{reason}");
    served.abort();
}

/// How a registry gives its blobs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Breaks off half-way, the first time that it is asked from a place on.
    Cut,
    /// As it is.
    Whole,
    /// Other bytes of the same length.
    Lie,
    /// More and more.
    Endless,
}

const CONTENT: &[u8] = b"a component of forty bytes, or some such.";

/// A registry with one release.
async fn registry(way: Way) -> (Registry, Arc<AtomicUsize>) {
    crypto();
    let digest = |bytes: &[u8]| stecker_registry::component::digest(bytes).to_string();
    let manifest = format!(
        r#"{{"config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{0}","size":2}},
            "layers":[{{"mediaType":"application/wasm","digest":"{1}","size":{2}}}]}}"#,
        digest(b"{}"),
        digest(CONTENT),
        CONTENT.len()
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let blob = move |_: Path<String>, headers: HeaderMap| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move { give(way, first, &headers) }
    };
    let nothing =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let router = Router::new()
        .route(
            "/v2/acme/shop/manifests/{reference}",
            routing::get(move || async move { manifest }),
        )
        .route("/v2/acme/shop/blobs/{digest}", routing::get(blob))
        .route(
            "/v2/acme/shop/referrers/{digest}",
            routing::get(move || async move { nothing }),
        );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Registry::at(&format!("http://{address}"), None).unwrap(), asked)
}

fn give(way: Way, first: bool, headers: &HeaderMap) -> Response {
    let from = headers.get("range").and_then(|range| {
        range
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    match way {
        Way::Cut if first => {
            let half = Bytes::from_static(CONTENT.get(..10).unwrap());
            // What was sent has to be on its way before the connection goes, or it goes with it.
            let end = async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err(lost())
            };
            let pieces = stream::once(async move { Ok(half) }).chain(stream::once(end));
            Body::from_stream(pieces).into_response()
        }
        Way::Cut => {
            let from = from.expect("it goes on where it was");
            (StatusCode::PARTIAL_CONTENT, CONTENT.get(from..).unwrap()).into_response()
        }
        Way::Whole => CONTENT.into_response(),
        Way::Lie => CONTENT.to_ascii_uppercase().into_response(),
        Way::Endless => {
            let piece = Bytes::from(vec![0; 1 << 20]);
            Body::from_stream(stream::repeat_with(move || {
                Ok::<_, std::io::Error>(piece.clone())
            }))
            .into_response()
        }
    }
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_was() {
    let (registry, asked) = registry(Way::Cut).await;
    let pulled = registry.pull("acme/shop", "1.0.0", &|_, _| {}).await.unwrap();
    assert_eq!(pulled.component, CONTENT);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn other_bytes_than_those_that_were_asked_for_do_not_come_in() {
    let (registry, _) = registry(Way::Lie).await;
    let pulled = registry.pull("acme/shop", "1.0.0", &|_, _| {}).await;
    assert!(matches!(pulled, Err(ClientError::Digest { .. })), "{pulled:?}");
    let other = format!("sha256:{}", "0".repeat(64));
    let pulled = registry.pull("acme/shop", &other, &|_, _| {}).await;
    assert!(matches!(pulled, Err(ClientError::Digest { .. })), "{pulled:?}");
}

#[tokio::test]
async fn what_has_no_end_is_not_waited_for() {
    let (registry, _) = registry(Way::Endless).await;
    let pulled = registry.pull("acme/shop", "1.0.0", &|_, _| {}).await;
    assert!(matches!(pulled, Err(ClientError::TooLarge { .. })), "{pulled:?}");
}

#[tokio::test]
async fn digests_decide_and_not_who_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (lying, asked_liar) = registry(Way::Lie).await;
    let (honest, asked) = registry(Way::Whole).await;
    let cache = Cache::new(folder.path().to_owned(), 1 << 20);
    let honest = honest.with_mirrors(vec![lying]).with_cache(cache);
    for _ in 0..2 {
        let pulled = honest.pull("acme/shop", "1.0.0", &|_, _| {}).await.unwrap();
        assert_eq!(pulled.component, CONTENT);
    }
    // The mirror first, then the registry; the second time nobody.
    assert_eq!(asked_liar.load(Ordering::Relaxed), 1);
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    // While the registry is away, a mirror says what a tag is, and that is told.
    let (mirror, _) = registry(Way::Whole).await;
    let away = Registry::at("http://127.0.0.1:1", None)
        .unwrap()
        .with_mirrors(vec![mirror]);
    let pulled = away.pull("acme/shop", "1.0.0", &|_, _| {}).await.unwrap();
    assert_eq!(pulled.component, CONTENT);
    assert!(
        pulled.warnings[0].contains("could not be reached"),
        "{:?}",
        pulled.warnings
    );
}

/// What a registry that fails after each change it made has taken.
#[derive(Default)]
struct Failing {
    begun: usize,
    uploads: HashMap<String, Vec<u8>>,
    blobs: HashSet<String>,
    manifests: usize,
    failed: HashSet<String>,
    pieces: usize,
}

impl Failing {
    /// The first answer about a thing is lost, although it was done.
    fn first_is_lost(&mut self, what: String, answer: impl IntoResponse) -> Response {
        if self.failed.insert(what) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        answer.into_response()
    }

    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &[u8]) -> Response {
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        let location = |id: &str| ("location", format!("/v2/stecker/demo-shop/blobs/uploads/{id}"));
        if path.contains("/manifests/") {
            self.manifests += 1;
            return StatusCode::CREATED.into_response();
        }
        if !path.contains("/uploads/") {
            let there = self.blobs.contains(&last);
            let status = if there {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            };
            return status.into_response();
        }
        match method.as_str() {
            "POST" => {
                self.begun += 1;
                let id = format!("u{}", self.begun);
                self.uploads.insert(id.clone(), Vec::new());
                (StatusCode::ACCEPTED, [location(&id)]).into_response()
            }
            "PATCH" => {
                self.pieces += 1;
                self.uploads.get_mut(&last).unwrap().extend_from_slice(body);
                let answer = (StatusCode::ACCEPTED, [location(&last)]);
                self.first_is_lost(format!("PATCH {last}"), answer)
            }
            "GET" => {
                let length = self.uploads[&last].len();
                let range = ("range", format!("0-{}", length - 1));
                (StatusCode::NO_CONTENT, [location(&last), range]).into_response()
            }
            _ => {
                let Some(bytes) = self.uploads.remove(&last) else {
                    return StatusCode::NOT_FOUND.into_response();
                };
                let digest = stecker_registry::component::digest(&bytes).to_string();
                assert!(query.replace("%3A", ":").contains(&digest), "{query}");
                self.blobs.insert(digest);
                self.first_is_lost(format!("PUT {last}"), StatusCode::CREATED)
            }
        }
    }
}

#[tokio::test]
async fn a_push_goes_on_behind_what_arrived_and_is_not_done_twice() {
    let Some(component) = plugin() else { return };
    crypto();
    let state = Arc::new(Mutex::new(Failing::default()));
    let shared = Arc::clone(&state);
    let router = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| {
        let query = uri.query().unwrap_or_default();
        let answer = shared.lock().unwrap().answer(&method, uri.path(), query, &body);
        async move { answer }
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let registry = Registry::at(&format!("http://{address}"), None).unwrap();
    let inspection = inspect(&component).unwrap();
    let pushed = registry
        .publish("", &inspection, component.into(), &[], &|_, _| {})
        .await;
    assert_eq!(pushed.unwrap().tag, "0.1.0");
    let state = state.lock().unwrap();
    // Configuration, component, an empty object and the manifest: each sent once, whatever was lost of the answers.
    assert_eq!((state.begun, state.pieces, state.blobs.len()), (4, 4, 4));
    assert_eq!(state.manifests, 2);
    assert!(state.blobs.contains(inspection.digest.as_str()));
}

#[test]
fn addresses_are_told_from_other_words() {
    crypto();
    for wrong in [
        "registry.acme.example",
        "ftp://registry.acme.example",
        "",
        "http://",
    ] {
        let refused = Registry::at(wrong, None);
        assert!(
            matches!(refused, Err(ClientError::Address { .. })),
            "{wrong}: {refused:?}"
        );
    }
}
