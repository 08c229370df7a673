//! The way out against a server on this machine: what arrives there, and what comes back to the guest.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Json, Router, extract::Request, http::StatusCode, response::IntoResponse, routing::any};
use serde_json::json;
use stecker_model::{Grants, HttpGrant, Limits, Name, PluginError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    binding::{CredentialError, NoStorage, Secret, TracingObserver},
    blob::NoBlobs,
};

mod answers;
mod blobs;
mod bounds;
mod names;
mod redirects;
mod tapes;
mod upstreams;
mod urls;

const MAX_BODY: usize = 32 << 20;

const MANIFEST: &str = r#"
    name = "acme/shop"
    version = "1.0.0"
    title = "Shop"
    contract = "1.0.0"

    [[capabilities.http]]
    schemes = ["http", "https"]
    hosts = ["{config:/url}", "{config:/other}"]
    methods = ["GET", "POST"]
    purpose = "tests"

    [credentials.key]
    kind = "api-key-header"
    header = "X-Api-Key"
    prefix = "Token "
    description = "a key"

    [credentials.bearer]
    kind = "bearer"
    description = "a token"

    [credentials.basic]
    kind = "basic"
    description = "a user"

    [credentials.elsewhere]
    kind = "bearer"
    description = "for another host"
    hosts = ["{config:/other}"]

    [credentials.signing]
    kind = "hmac-secret"
    description = "signs"

    [credentials.query]
    kind = "api-key-query"
    query = "api_key"
    description = "a key in the query"

    [credentials.narrow]
    kind = "bearer"
    description = "for one method and one path"
    methods = ["GET"]
    paths = ["/echo"]

    [credentials.signed]
    kind = "hmac-request"
    description = "signs requests"
    [credentials.signed.signing]
    algorithm = "sha256"
    encoding = "hex"
    message = "{method} {path-and-query} {header:x-trace} {body-sha256-hex}"
    headers = { x-signature = "{key-id}:{signature}", x-nonce = "{nonce}" }
"#;

/// Different in every run, so that nothing can be found by its value.
#[derive(Clone)]
struct Secrets(String);

impl Secrets {
    fn new() -> Self {
        Self(format!("s3cr+t/{}", hex::encode(rand::random::<[u8; 12]>())))
    }
}

#[async_trait]
impl Credentials for Secrets {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        match name {
            "key" | "bearer" | "elsewhere" | "signing" | "query" | "narrow" => {
                Ok(Secret::new(self.0.clone()))
            }
            "basic" | "signed" => Ok(Secret::with_username("otto".to_owned(), self.0.clone())),
            _ => Err(CredentialError::NotBound {
                name: name.to_owned(),
            }),
        }
    }
}

fn config(address: &str) -> serde_json::Value {
    json!({ "url": format!("http://{address}"), "other": "http://127.0.0.1:1" })
}

fn binding(address: &str, granted: bool) -> Binding {
    let name: Name = "shop".parse().unwrap();
    Binding {
        tenant: name.clone(),
        connection: name,
        config: config(address).to_string(),
        grants: Grants {
            http: granted
                .then(|| HttpGrant {
                    host: address.to_owned(),
                    schemes: vec!["http".to_owned()],
                    methods: Vec::new(),
                    ..HttpGrant::default()
                })
                .into_iter()
                .collect(),
            ..Grants::default()
        },
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        limits: Limits::default(),
        credentials: Arc::new(Secrets::new()),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(TracingObserver),
    }
}

fn bound(address: &str, binding: &Binding, network: &Network) -> Egress {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    Egress::new(&manifest, &config(address), binding, network).unwrap()
}

fn egress(address: &str, granted: bool) -> Egress {
    bound(address, &binding(address, granted), &Network::new(&[]).unwrap())
}

async fn send_with(
    egress: &Egress,
    request: HttpRequest,
    secrets: &Secrets,
    max: usize,
) -> (Result<HttpResponse, Failure>, Meter) {
    let (meter, budget) = (Meter::default(), ResponseBudget::of(max));
    let exchange = Exchange {
        recorder: None,
        priority: Priority::default(),
        remaining: Duration::from_secs(30),
        budget: &budget,
        meter: &meter,
        credentials: &(Arc::new(secrets.clone()) as _),
        scrubber: &Arc::default(),
    };
    let answer = egress.send(request, exchange).await;
    (answer, meter)
}

async fn send(egress: &Egress, request: HttpRequest) -> Result<HttpResponse, Failure> {
    send_with(egress, request, &Secrets::new(), MAX_BODY).await.0
}

fn get(url: String) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url,
        ..HttpRequest::default()
    }
}

fn denied_by(answer: Result<HttpResponse, Failure>) -> String {
    match answer {
        Err(Failure::Denied(denial)) => denial.rule,
        other => panic!("not denied: {other:?}"),
    }
}

fn error(answer: Result<HttpResponse, Failure>) -> PluginError {
    match answer {
        Err(Failure::Error(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// Answers with what it got.
async fn echo(request: Request) -> Json<serde_json::Value> {
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    Json(json!({ "method": request.method().as_str(), "uri": request.uri().to_string(), "headers": headers }))
}

/// `/echo`; `/redirect` sends away, `/big` sends a megabyte, `/never` nothing.
async fn server() -> String {
    let app = Router::new()
        .route("/echo", any(echo))
        .route(
            "/redirect",
            any(|| async { (StatusCode::FOUND, [("location", "/echo")], "elsewhere").into_response() }),
        )
        .route("/big", any(|| async { vec![b'x'; 1 << 20] }))
        .route("/never", any(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What `/echo` says that a header was.
fn echoed(response: &HttpResponse, header: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let headers: Vec<(String, String)> = serde_json::from_value(body["headers"].clone()).unwrap();
    headers
        .into_iter()
        .find(|(name, _)| name == header)
        .map(|(_, value)| value)
}

#[tokio::test]
async fn a_request_needs_its_grant() {
    let address = server().await;
    let url = format!("http://{address}/echo?a=b");
    let denial = denied_by(send(&egress(&address, false), get(url.clone())).await);
    assert_eq!(denial, "http.host");

    let mut request = get(url);
    request.headers = vec![
        ("X-Trace".to_owned(), "1".to_owned()),
        ("Accept".to_owned(), "application/json".to_owned()),
    ];
    request.idempotency_key = Some("key-1".to_owned());
    let (answer, meter) = send_with(
        &egress(&address, true),
        request.clone(),
        &Secrets::new(),
        MAX_BODY,
    )
    .await;
    let response = answer.unwrap();
    assert_eq!(response.status, 200);
    assert!(
        response
            .headers
            .contains(&("content-type".to_owned(), "application/json".to_owned()))
    );
    assert_eq!(echoed(&response, "x-trace").as_deref(), Some("1"));
    assert_eq!(echoed(&response, "idempotency-key").as_deref(), Some("key-1"));
    assert_eq!(echoed(&response, "host"), Some(address.clone()));
    let usage = meter.usage(Duration::ZERO);
    assert_eq!(usage.http_requests, 1);
    assert_eq!(usage.http_bytes_in, u64::try_from(response.body.len()).unwrap());

    request.options = vec![("idempotency-header".to_owned(), "X-Request-Id".to_owned())];
    let response = send(&egress(&address, true), request).await.unwrap();
    assert_eq!(echoed(&response, "x-request-id").as_deref(), Some("key-1"));
    assert_eq!(echoed(&response, "idempotency-key"), None);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let address = server().await;
    let response = send(&egress(&address, true), get(format!("http://{address}/redirect")))
        .await
        .unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (302, b"elsewhere".as_slice())
    );
    assert!(
        response
            .headers
            .contains(&("location".to_owned(), "/echo".to_owned()))
    );
}

#[tokio::test]
async fn headers_that_are_not_the_guests_to_set() {
    let address = server().await;
    let egress = egress(&address, true);
    for (name, value, rule) in [
        ("Host", "evil.example", "http.reserved-header"),
        ("content-length", "7", "http.reserved-header"),
        ("Transfer-Encoding", "chunked", "http.reserved-header"),
        ("Connection", "close", "http.reserved-header"),
        ("TE", "trailers", "http.reserved-header"),
        ("Trailer", "x", "http.reserved-header"),
        ("Upgrade", "websocket", "http.reserved-header"),
        ("Proxy-Authorization", "Basic eA==", "http.reserved-header"),
        ("HTTP2-Settings", "x", "http.reserved-header"),
        ("Keep-Alive", "timeout=9", "http.reserved-header"),
        ("Expect", "100-continue", "http.reserved-header"),
        ("Via", "1.1 proxy", "http.reserved-header"),
        ("Forwarded", "for=127.0.0.1", "http.reserved-header"),
        ("X-Forwarded-For", "127.0.0.1", "http.reserved-header"),
        (":authority", "evil.example", "http.header"),
        ("X-A", "a\r\n folded", "http.header"),
        ("X-\u{e4}", "a", "http.header"),
        ("X-A:", "a", "http.header"),
        ("X A", "a", "http.header"),
        ("X-A", "a\r\nX-B: b", "http.header"),
        ("X-A", "a\nb", "http.header"),
        ("X-A", "a\0b", "http.header"),
        ("X-A\r\nX-B", "b", "http.header"),
        ("", "b", "http.header"),
    ] {
        let mut request = get(format!("http://{address}/echo"));
        request.headers = vec![(name.to_owned(), value.to_owned())];
        assert_eq!(
            denied_by(send(&egress, request).await),
            rule,
            "{name:?}: {value:?}"
        );
    }
    for header in ["Host", "Connection", "a b"] {
        let mut request = get(format!("http://{address}/echo"));
        request.idempotency_key = Some("k".to_owned());
        request.options = vec![("idempotency-header".to_owned(), header.to_owned())];
        denied_by(send(&egress, request).await);
    }
}

#[tokio::test]
async fn credentials_reach_the_system_and_never_the_guest() {
    let address = server().await;
    let (egress, secrets) = (egress(&address, true), Secrets::new());
    for (credential, header, expected) in [
        ("key", "x-api-key", "Token [redacted]"),
        ("bearer", "authorization", "Bearer [redacted]"),
        ("basic", "authorization", "Basic [redacted]"),
    ] {
        let mut request = get(format!("http://{address}/echo"));
        request.credential = Some(credential.to_owned());
        let response = send_with(&egress, request, &secrets, MAX_BODY).await.0.unwrap();
        // The server echoes all headers, so this shows both that it came and that it is taken out again.
        assert_eq!(echoed(&response, header).as_deref(), Some(expected));
        assert!(!String::from_utf8(response.body).unwrap().contains(&secrets.0));
    }
}

#[tokio::test]
async fn a_key_in_the_query_comes_from_the_host_alone() {
    let address = server().await;
    let (egress, secrets) = (egress(&address, true), Secrets::new());
    let with = |query: &str| {
        let mut request = get(format!("http://{address}/echo{query}"));
        request.credential = Some("query".to_owned());
        request
    };
    let response = send_with(&egress, with("?a=b"), &secrets, MAX_BODY)
        .await
        .0
        .unwrap();
    let body = String::from_utf8(response.body).unwrap();
    assert!(body.contains("/echo?a=b&api_key=[redacted]"), "{body}");
    for query in [
        "?api_key=mine",
        "?a=b&API_KEY=mine",
        "?api%5Fkey=mine",
        "?%61pi_key",
    ] {
        assert_eq!(
            denied_by(send(&egress, with(query)).await),
            "http.credential-query",
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_credential_goes_with_its_methods_to_its_paths_only() {
    let address = server().await;
    let egress = egress(&address, true);
    for (method, path, rule) in [
        ("GET", "/echo", None),
        ("GET", "/echo/below", None),
        ("POST", "/echo", Some("http.credential-method")),
        ("GET", "/echoes", Some("http.credential-path")),
        ("GET", "/big", Some("http.credential-path")),
        ("GET", "/echo/../big", Some("http.credential-path")),
        ("GET", "/echo/..%2fbig", Some("http.credential-path")),
    ] {
        let mut request = get(format!("http://{address}{path}"));
        method.clone_into(&mut request.method);
        request.credential = Some("narrow".to_owned());
        match (send(&egress, request).await, rule) {
            (Ok(_), None) => {}
            (answer, Some(rule)) => assert_eq!(denied_by(answer), rule, "{method} {path}"),
            (Err(failure), None) => panic!("{method} {path}: {failure:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_is_signed_as_it_is_sent() {
    let address = server().await;
    let (egress, secrets) = (egress(&address, true), Secrets::new());
    let mut request = get(format!("http://{address}/echo?a=b"));
    request.method = "POST".to_owned();
    request.body = Some(b"{}".to_vec());
    request.headers = vec![("X-Trace".to_owned(), "1".to_owned())];
    request.credential = Some("signed".to_owned());
    let response = send_with(&egress, request.clone(), &secrets, MAX_BODY)
        .await
        .0
        .unwrap();
    let message = "POST /echo?a=b 1 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let algorithm = crate::capability::crypto::Algorithm::Sha256;
    let tag = crate::capability::crypto::tag(algorithm, secrets.0.as_bytes(), message.as_bytes());
    let expected = format!("otto:{}", hex::encode(tag));
    assert_eq!(echoed(&response, "x-signature"), Some(expected));
    assert_eq!(echoed(&response, "x-nonce").unwrap().len(), 32);

    request
        .headers
        .push(("x-Signature".to_owned(), "mine".to_owned()));
    assert_eq!(denied_by(send(&egress, request).await), "http.credential-header");
}

/// Seen from the server: what is on the wire is the real secret.
#[tokio::test]
async fn the_wire_has_the_real_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let wire = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(socket.read_u8().await.unwrap());
        }
        socket
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(text).unwrap()
    });
    let secrets = Secrets::new();
    let mut request = get(format!("http://{address}/"));
    request.credential = Some("key".to_owned());
    let response = send_with(&egress(&address, true), request, &secrets, MAX_BODY)
        .await
        .0
        .unwrap();
    assert_eq!(response.status, 204);
    assert!(
        wire.await
            .unwrap()
            .contains(&format!("x-api-key: Token {}\r\n", secrets.0))
    );
}

#[tokio::test]
async fn credentials_that_are_not_given() {
    let address = server().await;
    let egress = egress(&address, true);
    let with = |credential: &str, header: Option<&str>| {
        let mut request = get(format!("http://{address}/echo"));
        request.credential = Some(credential.to_owned());
        request.headers = header
            .map(|name| (name.to_owned(), "mine".to_owned()))
            .into_iter()
            .collect();
        request
    };
    for (credential, header, rule) in [
        ("unheard-of", None, "http.credential"),
        ("elsewhere", None, "http.credential-host"),
        ("key", Some("x-API-key"), "http.credential-header"),
        ("bearer", Some("Authorization"), "http.credential-header"),
    ] {
        assert_eq!(
            denied_by(send(&egress, with(credential, header)).await),
            rule,
            "{credential}"
        );
    }
    assert_eq!(
        error(send(&egress, with("signing", None)).await).kind(),
        ErrorCode::Unsupported
    );
    let unbound = error({
        let (meter, budget) = (Meter::default(), ResponseBudget::of(MAX_BODY));
        let exchange = Exchange {
            recorder: None,
            priority: Priority::default(),
            remaining: Duration::from_secs(30),
            budget: &budget,
            meter: &meter,
            credentials: &(Arc::new(crate::binding::NoCredentials) as _),
            scrubber: &Arc::default(),
        };
        egress.send(with("key", None), exchange).await
    });
    assert_eq!(
        (unbound.kind(), unbound.detail("sent")),
        (ErrorCode::Auth, Some("no"))
    );
}

#[tokio::test]
async fn whether_it_was_sent() {
    // Nobody listens there any more.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let refused = error(send(&egress(&address, true), get(format!("http://{address}/"))).await);
    assert_eq!(
        (refused.kind(), refused.detail("sent")),
        (ErrorCode::Transient, Some("no")),
        "{refused}"
    );

    // Took the request and went away.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_u8().await.unwrap();
    });
    let lost = error(send(&egress(&address, true), get(format!("http://{address}/"))).await);
    assert_eq!(
        (lost.kind(), lost.detail("sent")),
        (ErrorCode::Transient, Some("maybe")),
        "{lost}"
    );

    let address = server().await;
    let mut request = get(format!("http://{address}/never"));
    request.timeout_ms = Some(50);
    let slow = error(send(&egress(&address, true), request).await);
    assert_eq!(
        (slow.kind(), slow.detail("sent")),
        (ErrorCode::Transient, Some("maybe")),
        "{slow}"
    );
}

#[tokio::test]
async fn answers_are_bounded_while_they_come() {
    let address = server().await;
    let egress = egress(&address, true);
    let url = format!("http://{address}/big");
    let (fits, _) = send_with(&egress, get(url.clone()), &Secrets::new(), 1 << 20).await;
    assert_eq!(fits.unwrap().body.len(), 1 << 20);
    let (too_big, meter) = send_with(&egress, get(url), &Secrets::new(), 100_000).await;
    let too_big = error(too_big);
    assert_eq!(
        (too_big.kind(), too_big.detail("sent")),
        (ErrorCode::Fatal, Some("maybe")),
        "{too_big}"
    );
    let read = meter.usage(Duration::ZERO).http_bytes_in;
    assert!(read < 1 << 20, "it stopped reading, at {read}");
}
