//! Every import of 1.0.0, used once; what came of it in words.

use crate::bindings::stecker::plugin::{clock, crypto, http, log, random, storage, types::Error};

pub type Tried = Vec<(&'static str, Result<String, Error>)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn request(url: &str, body: Option<&str>) -> http::Request {
    http::Request {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: body.map(|body| body.as_bytes().to_vec()),
        credential: None,
        idempotency_key: Some("key".to_owned()),
        timeout_ms: Some(5_000),
        options: Vec::new(),
    }
}

fn told(answer: Result<http::Response, Error>) -> Result<String, Error> {
    answer.map(|response| format!("{} {}", response.status, text(&response.body)))
}

pub fn all(url: &str) -> Tried {
    let many = http::send_many(&[request(url, Some("a")), request(url, Some("b"))]);
    let many: Result<Vec<String>, Error> = many.into_iter().map(told).collect();
    let stored = || {
        storage::put("key", b"value", storage::Condition::Absent)?;
        let version = storage::put("key", b"other", storage::Condition::Version(1))?;
        let entry = storage::get("key")?;
        let keys = storage::list_keys("k", None, 10)?;
        let gone = storage::delete("key", storage::Condition::Always)?;
        let value = entry.map(|entry| text(&entry.value)).unwrap_or_default();
        Ok(format!("{version} {value} {} {gone}", keys.join(",")))
    };
    let signed = || {
        let tag = crypto::hmac_sign("signing", crypto::Digest::Sha256, b"data")?;
        let genuine = crypto::hmac_verify("signing", crypto::Digest::Sha256, b"data", &tag)?;
        Ok(format!("{} {genuine}", tag.len()))
    };
    log::write(log::Level::Info, "from the corpus", &[("field".to_owned(), "value".to_owned())]);
    vec![
        ("http.send", told(http::send(&request(url, Some("sent"))))),
        ("http.send-many", many.map(|answers| answers.join(", "))),
        ("storage", stored()),
        ("crypto.hash", Ok(crypto::hash(crypto::Digest::Sha1, b"data").len().to_string())),
        ("crypto.hmac", signed()),
        ("clock.now", Ok((clock::now() > 0).to_string())),
        ("clock.monotonic-ms", Ok((clock::monotonic_ms() < 60_000).to_string())),
        ("random.bytes", Ok(random::bytes(8).len().to_string())),
    ]
}
