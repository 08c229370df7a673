//! Requests through `stecker:plugin/http`.

use serde_json::json;

use crate::{
    bindings::stecker::plugin::http,
    step::Request,
    tell::{MAX_BODY, Told},
};

pub fn request(request: &Request) -> http::Request {
    http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers(),
        body: request.body(),
        credential: request.credential.clone(),
        idempotency_key: request.idempotency_key.clone(),
        timeout_ms: request.timeout_ms,
        options: request.options.clone(),
    }
}

pub fn told(answer: Result<http::Response, http::Error>) -> Told {
    match answer {
        Ok(response) => {
            let bytes = response.body.len();
            let kept = &response.body[..bytes.min(MAX_BODY)];
            Told::response(response.status, response.headers, kept, bytes)
        }
        Err(error) => error.into(),
    }
}

pub fn send(asked: &Request) -> Told {
    told(http::send(&request(asked)))
}

/// One line of the message per request.
pub fn send_many(requests: &[Request]) -> Told {
    let requests: Vec<_> = requests.iter().map(request).collect();
    let all: Vec<Told> = http::send_many(&requests).into_iter().map(told).collect();
    let lines: Vec<&str> = all.iter().map(|one| one.message.as_str()).collect();
    Told {
        ok: all.iter().all(|one| one.ok),
        message: lines.join("\n"),
        details: json!(
            all.iter()
                .map(|one| json!({ "ok": one.ok, "details": one.details }))
                .collect::<Vec<_>>()
        ),
        outcome: "many".to_owned(),
    }
}
