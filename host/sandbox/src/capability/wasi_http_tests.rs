use std::time::Duration;

use http_body_util::{Empty, StreamBody, combinators::UnsyncBoxBody};

use super::*;

type Headers<'a> = &'a [(&'a str, &'a [u8])];

fn parts(headers: Headers<'_>) -> http::request::Parts {
    let mut builder = http::Request::builder()
        .method("POST")
        .uri("https://api.example/orders?a=b");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn translated(headers: Headers<'_>, body: Option<&str>) -> Result<HttpRequest> {
    translate(parts(headers), body.map(|body| body.as_bytes().to_vec()), None)
}

#[test]
fn what_is_for_the_host_is_taken_out() {
    let request = translated(
        &[
            ("accept", b"text/csv"),
            ("stecker-credential", b"api"),
            ("stecker-idempotency-key", b"seven"),
            ("content-length", b"5"),
        ],
        Some("hello"),
    )
    .unwrap();
    assert_eq!(
        request,
        HttpRequest {
            method: "POST".to_owned(),
            url: "https://api.example/orders?a=b".to_owned(),
            headers: vec![("accept".to_owned(), "text/csv".to_owned())],
            body: Some(b"hello".to_vec()),
            credential: Some("api".to_owned()),
            idempotency_key: Some("seven".to_owned()),
            ..HttpRequest::default()
        }
    );
}

/// It stays, so that the policy sees it and says no.
#[test]
fn a_length_that_is_not_the_bodys_is_up_to_the_policy() {
    for (length, body) in [("4", Some("hello")), ("05", Some("hello")), ("5", None)] {
        let request = translated(&[("content-length", length.as_bytes())], body).unwrap();
        assert_eq!(
            request.headers,
            [("content-length".to_owned(), length.to_owned())],
            "{length} {body:?}"
        );
    }
    let none = translated(&[("content-length", b"0")], None).unwrap();
    assert_eq!(none.headers, []);
}

#[test]
fn headers_that_cannot_be_meant() {
    let cases: [(Headers<'_>, &str); 4] = [
        (
            &[("stecker-credential", b"a"), ("stecker-credential", b"b")],
            "more than once",
        ),
        (&[("stecker-credentail", b"a")], "`stecker-credentail`"),
        (&[("stecker-credential", b"\xff")], "not UTF-8"),
        (&[("x-name", b"M\xfcller")], "`x-name` is not UTF-8"),
    ];
    for (headers, reason) in cases {
        match translated(headers, None) {
            Err(Error::InternalError(Some(text))) => {
                assert!(
                    text.starts_with("unsupported: ") && text.contains(reason),
                    "{text}"
                );
            }
            other => panic!("{headers:?}: {other:?}"),
        }
    }
}

#[test]
fn the_time_to_the_first_byte_is_that_of_the_exchange() {
    let within = |first_byte_timeout| {
        let options = RequestOptions {
            first_byte_timeout,
            ..RequestOptions::default()
        };
        translate(parts(&[]), None, Some(options)).unwrap().timeout_ms
    };
    assert_eq!(within(None), None);
    assert_eq!(within(Some(Duration::from_millis(1_500))), Some(1_500));
    assert_eq!(within(Some(Duration::MAX)), Some(u32::MAX));
}

fn room(bytes: usize) -> Arc<ResponseBudget> {
    Arc::new(ResponseBudget::for_guest(bytes))
}

fn body(frames: Vec<Result<Frame<Bytes>>>) -> WasiBody {
    UnsyncBoxBody::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn bodies_are_collected_within_their_bounds() {
    let none = Empty::new().map_err(|never| match never {}).boxed_unsync();
    assert_eq!(collect(none, 10, &room(100)).await.unwrap(), None);
    assert_eq!(collect(body(vec![]), 10, &room(100)).await.unwrap(), Some(vec![]));
    let ten = || body(vec![data("hello"), data("world")]);
    assert_eq!(
        collect(ten(), 10, &room(100)).await.unwrap(),
        Some(b"helloworld".to_vec())
    );
    assert!(matches!(
        collect(ten(), 9, &room(100)).await,
        Err(Error::HttpRequestBodySize(Some(9)))
    ));
    assert!(matches!(
        collect(ten(), 10, &room(9)).await,
        Err(Error::HttpRequestBodySize(Some(10)))
    ));
    let aborted = body(vec![data("hello"), Err(Error::HttpProtocolError)]);
    assert!(matches!(
        collect(aborted, 10, &room(100)).await,
        Err(Error::HttpProtocolError)
    ));
    let trailers = body(vec![data("hello"), Ok(Frame::trailers(HeaderMap::new()))]);
    assert!(matches!(
        collect(trailers, 10, &room(100)).await,
        Err(Error::HttpRequestTrailerSectionSize(Some(0)))
    ));
}

/// A guest that reads one answer after the other gets as many as it likes; one that keeps them gets what there is room for.
#[tokio::test]
async fn answers_take_room_until_they_are_read_or_dropped() {
    let whole = room(10);
    let answer = || {
        let room = ResponseBudget::within(Arc::clone(&whole));
        let fits = room.take(6);
        let response = HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: b"answer".to_vec(),
        };
        fits.then(|| respond(response, room).unwrap())
    };
    for _ in 0..3 {
        let read = answer().unwrap().into_body().collect().await.unwrap();
        assert_eq!(read.to_bytes(), "answer");
    }
    let kept = answer().unwrap();
    assert!(answer().is_none(), "there is room for one");
    drop(kept);
    assert!(answer().is_some());
}

#[test]
fn errors_say_as_much_as_wasi_lets_them() {
    let failed = |code, cause: &str, sent: &str| {
        let error = PluginError::new(code, "there is no secret for `api`").with_detail("sent", sent);
        let error = match cause {
            "" => error,
            cause => error.with_detail("cause", cause),
        };
        format!("{:?}", code_of(&error))
    };
    for (code, cause, sent, expected) in [
        (ErrorCode::Denied, "", "no", "HttpRequestDenied"),
        (
            ErrorCode::Transient,
            cause::DNS,
            "no",
            "DnsError { rcode: None, info_code: None }",
        ),
        (ErrorCode::Transient, cause::REFUSED, "no", "ConnectionRefused"),
        (ErrorCode::Transient, cause::TLS, "no", "TlsProtocolError"),
        (
            ErrorCode::Transient,
            cause::CONNECT,
            "no",
            "DestinationUnavailable",
        ),
        (ErrorCode::Transient, cause::TIMEOUT, "no", "ConnectionTimeout"),
        (
            ErrorCode::Transient,
            cause::TIMEOUT,
            "maybe",
            "HttpResponseTimeout",
        ),
        (ErrorCode::Transient, cause::LOST, "maybe", "ConnectionTerminated"),
        (
            ErrorCode::Fatal,
            cause::TOO_LARGE,
            "maybe",
            "HttpResponseBodySize(None)",
        ),
        (
            ErrorCode::Auth,
            "",
            "no",
            "InternalError(Some(\"auth: there is no secret for `api`\"))",
        ),
    ] {
        assert_eq!(failed(code, cause, sent), expected);
    }
}
