//! Redirects that are followed, and where they may not lead.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{extract::State, http::Uri};

use super::*;

/// Sends to where the query says, with the status in the path; `/echo` as in the other server.
async fn redirecting() -> (String, Arc<AtomicUsize>) {
    async fn answer(State(hits): State<Arc<AtomicUsize>>, uri: Uri) -> impl IntoResponse {
        hits.fetch_add(1, Ordering::SeqCst);
        let status: u16 = uri.path().trim_start_matches('/').parse().unwrap();
        let to = uri.query().unwrap_or_default().to_owned();
        (
            StatusCode::from_u16(status).unwrap(),
            [("location", to)],
            "elsewhere",
        )
    }
    let hits = Arc::new(AtomicUsize::new(0));
    let app = Router::new()
        .route("/echo", any(echo))
        .fallback(answer)
        .with_state(Arc::clone(&hits));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, hits)
}

/// Counts the connections that reach it, which none should.
async fn canary() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, connections)
}

fn following(method: &str, url: String, hops: &str) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        url,
        body: (method != "GET").then(|| b"body".to_vec()),
        headers: vec![
            ("Cookie".to_owned(), "a=b".to_owned()),
            ("Content-Type".to_owned(), "text/plain".to_owned()),
        ],
        credential: Some("key".to_owned()),
        idempotency_key: Some("k".to_owned()),
        options: vec![("follow-redirects".to_owned(), hops.to_owned())],
        ..HttpRequest::default()
    }
}

/// For two servers of the same manifest.
fn to_both(one: &str, other: &str) -> Egress {
    let mut binding = binding(one, true);
    let mut grant = binding.grants.http[0].clone();
    other.clone_into(&mut grant.host);
    binding.grants.http.push(grant);
    let config = json!({ "url": format!("http://{one}"), "other": format!("http://{other}") });
    binding.config = config.to_string();
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    Egress::new(&manifest, &config, &binding, &Network::new(&[]).unwrap()).unwrap()
}

#[tokio::test]
async fn within_an_origin_everything_goes_along() {
    let (address, _) = redirecting().await;
    for (status, method, arrives) in [(303, "POST", "GET"), (302, "POST", "GET"), (307, "POST", "POST")] {
        let request = following(method, format!("http://{address}/{status}?/echo"), "1");
        let response = send(&egress(&address, true), request).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["method"], arrives, "{status}");
        assert_eq!(
            echoed(&response, "x-api-key").as_deref(),
            Some("Token [redacted]")
        );
        assert_eq!(echoed(&response, "cookie").as_deref(), Some("a=b"));
        assert_eq!(echoed(&response, "content-type").is_some(), arrives == "POST");
    }
}

#[tokio::test]
async fn to_another_origin_nothing_of_the_first_ones_trust_goes_along() {
    let ((one, _), (other, _)) = (redirecting().await, redirecting().await);
    let request = following("POST", format!("http://{one}/307?http://{other}/echo"), "3");
    let response = send(&to_both(&one, &other), request).await.unwrap();
    assert_eq!(response.status, 200);
    for header in [
        "x-api-key",
        "cookie",
        "idempotency-key",
        "authorization",
        "referer",
    ] {
        assert_eq!(echoed(&response, header), None, "{header}");
    }
    assert_eq!(echoed(&response, "content-type").as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn each_hop_is_decided_on() {
    let ((address, _), (canary, connections)) = (redirecting().await, canary().await);
    let port = address.rsplit(':').next().unwrap();
    for (to, rule) in [
        (format!("http://{canary}/"), "http.port"),
        (format!("https://{address}/"), "http.scheme"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "http.host"),
        (format!("http://localhost:{port}/"), "http.host"),
        ("https://shop.example/".to_owned(), "http.host"),
        ("file:///etc/passwd".to_owned(), "http.url-scheme"),
        (format!("http://user:pass@{address}/"), "http.userinfo"),
        (format!("http://{address}./"), "http.url"),
    ] {
        let request = following("POST", format!("http://{address}/302?{to}"), "5");
        match send(&egress(&address, true), request).await {
            Err(Failure::AnswerDenied(denial)) => assert_eq!(denial.rule, rule, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_loop_ends_with_the_hops_that_were_asked_for() {
    let (address, hits) = redirecting().await;
    let request = following("GET", format!("http://{address}/302?/302"), "3");
    // The second has no query, so it sends to nowhere else than itself.
    let response = send(&egress(&address, true), request).await.unwrap();
    assert_eq!(response.status, 302, "the last redirect is the answer");
    assert_eq!(hits.load(Ordering::SeqCst), 4);
    let unusable = following("GET", format!("http://{address}/302?/302"), "11");
    let error = error(send(&egress(&address, true), unusable).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::Unsupported, Some("no"))
    );
}

#[tokio::test]
async fn what_fails_after_the_first_hop_may_have_been_acted_on() {
    let (address, _) = redirecting().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = free.local_addr().unwrap().to_string();
    drop(free);
    let request = following("POST", format!("http://{address}/307?http://{gone}/"), "1");
    let error = error(send(&to_both(&address, &gone), request).await);
    assert_eq!(
        (error.kind(), error.detail("sent")),
        (ErrorCode::Transient, Some("maybe")),
        "{error}"
    );
}
