//! Sessions that somebody answers: the policy before, the bounds behind, and no network in between.

use std::sync::Mutex;

use super::{wire::*, *};

/// Gives the same answer to everything, and remembers what it was asked.
struct Script {
    asked: Mutex<Vec<AskedRequest>>,
    answer: Result<GivenAnswer, NoAnswer>,
}

impl Script {
    fn new(answer: Result<GivenAnswer, NoAnswer>) -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            answer,
        })
    }

    fn body(body: impl Into<Bytes>) -> Arc<Self> {
        Self::new(Ok(GivenAnswer {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.into(),
            is_cut_off: false,
        }))
    }

    fn asked(&self) -> Vec<AskedRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Answers for Script {
    async fn answer(&self, request: AskedRequest) -> Result<GivenAnswer, NoAnswer> {
        self.asked.lock().unwrap().push(request);
        self.answer.clone()
    }
}

/// A name that nobody could look up: were it tried, the request would fail.
const NOWHERE: &str = "shop.invalid";

fn answered(script: &Arc<Script>) -> Egress {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let network = Network::new(&[]).unwrap();
    let binding = binding(NOWHERE, true);
    Egress::answered(
        &manifest,
        &config(NOWHERE),
        &binding,
        &network,
        Arc::clone(script) as _,
    )
    .unwrap()
}

fn to(path: &str) -> HttpRequest {
    get(format!("http://{NOWHERE}{path}"))
}

#[tokio::test]
async fn the_answer_comes_back_and_the_request_is_seen_without_secrets() {
    let script = Script::body("{\"ok\":true}");
    let secrets = Secrets::new();
    for credential in ["key", "query", "signed"] {
        let request = HttpRequest {
            method: "POST".to_owned(),
            headers: vec![("x-trace".to_owned(), "7".to_owned())],
            body: Some(b"{}".to_vec()),
            credential: Some(credential.to_owned()),
            idempotency_key: Some("once".to_owned()),
            ..to("/orders?a=1")
        };
        let (answer, meter) = send_with(&answered(&script), request, &secrets, MAX_BODY).await;
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, &b"{\"ok\":true}"[..])
        );
        assert_eq!(meter.usage(Duration::ZERO).http_requests, 1);
    }
    for (asked, credential) in script.asked().iter().zip(["key", "query", "signed"]) {
        assert_eq!(asked.by, Asker::Guest);
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.url.as_str(), "http://shop.invalid/orders?a=1");
        assert_eq!(asked.credential.as_deref(), Some(credential));
        assert_eq!(asked.idempotency_header.as_deref(), Some("idempotency-key"));
        assert_eq!(asked.body.as_deref(), Some(&b"{}"[..]));
        assert!(
            asked
                .headers
                .contains(&("idempotency-key".to_owned(), "once".to_owned()))
        );
        assert!(!format!("{asked:?}").contains(&secrets.0), "{asked:?}");
        assert!(asked.headers.iter().all(|(name, _)| name != "x-signature"));
    }
}

#[tokio::test]
async fn the_policy_decides_before_anybody_answers() {
    let script = Script::body("{}");
    let egress = answered(&script);
    for (request, rule) in [
        (get("http://elsewhere.invalid/".to_owned()), "http.host"),
        (get(format!("https://{NOWHERE}/")), "http.scheme"),
        (
            HttpRequest {
                method: "DELETE".to_owned(),
                ..to("/orders")
            },
            "http.method",
        ),
    ] {
        assert_eq!(denied_by(send(&egress, request).await), rule);
    }
    assert_eq!(script.asked(), []);
}

#[tokio::test]
async fn a_redirect_is_decided_on_like_any_other() {
    let script = Script::new(Ok(GivenAnswer {
        status: 302,
        headers: vec![("location".to_owned(), "http://169.254.169.254/".to_owned())],
        ..GivenAnswer::default()
    }));
    let request = HttpRequest {
        options: vec![("follow-redirects".to_owned(), "3".to_owned())],
        ..to("/")
    };
    match send(&answered(&script), request).await {
        Err(Failure::AnswerDenied(denial)) => assert_eq!(denial.rule, "http.host"),
        other => panic!("{other:?}"),
    }
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn what_does_not_come_whole_is_an_error_like_over_the_network() {
    let cut = GivenAnswer {
        status: 200,
        body: Bytes::from_static(b"{\"orders\":["),
        is_cut_off: true,
        ..GivenAnswer::default()
    };
    let unreal = GivenAnswer {
        status: 99,
        ..GivenAnswer::default()
    };
    for (answer, code, sent, cause) in [
        (Ok(cut), ErrorCode::Transient, "maybe", Some("lost")),
        (Err(NoAnswer::Lost), ErrorCode::Transient, "maybe", Some("lost")),
        (
            Err(NoAnswer::Refused),
            ErrorCode::Transient,
            "no",
            Some("refused"),
        ),
        (Ok(unreal), ErrorCode::Fatal, "maybe", None),
    ] {
        let error = error(send(&answered(&Script::new(answer)), to("/")).await);
        assert_eq!(
            (error.kind(), error.detail("sent"), error.detail("cause")),
            (code, Some(sent), cause),
            "{error}"
        );
    }
    let large = Script::body(vec![b' '; 2_000]);
    let (answer, _) = send_with(&answered(&large), to("/"), &Secrets::new(), 1_000).await;
    assert_eq!(error(answer).detail("cause"), Some("too-large"));
}

#[tokio::test]
async fn nothing_is_used_up_for_the_connection() {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let network = Network::new(&[]).unwrap();
    let mut binding = binding(NOWHERE, true);
    binding.limits.http.bytes_per_day = 2_000;
    let script = Script::body(vec![b' '; 4_000]);
    for _ in 0..2 {
        let egress = Egress::answered(
            &manifest,
            &config(NOWHERE),
            &binding,
            &network,
            Arc::clone(&script) as _,
        )
        .unwrap();
        // A response that has begun is read to its end; the next request of the same connection would be refused.
        assert_eq!(send(&egress, to("/")).await.unwrap().status, 200);
    }
}
