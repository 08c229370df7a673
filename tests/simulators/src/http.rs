//! What both systems need to speak HTTP: problem documents, strict query strings, and the answer that never comes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An RFC 9457 problem document with a vendor's `code` member.
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
        }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
        }
        let mut response = json(
            self.status,
            &Document {
                r#type: "about:blank",
                title: self.status.canonical_reason().unwrap_or("Error"),
                status: self.status.as_u16(),
                code: self.code,
                detail: &self.detail,
            },
        );
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

/// A JSON answer.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    (status, axum::Json(body)).into_response()
}

/// Unifies the two ways out of a handler.
pub(crate) fn settle(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(IntoResponse::into_response)
}

/// Parses a JSON body, or says where it stopped making sense.
pub(crate) fn parse_body<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request("invalid-body", format!("The body could not be read: {error}."))
    })
}

/// Closes the connection without a byte of an answer: hyper drops the head it has not flushed yet when the body fails.
pub(crate) fn no_answer() -> Response {
    let lost = futures_util::stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))]);
    Response::new(Body::from_stream(lost))
}

/// The answer to an address that does not exist.
pub(crate) async fn unknown_address() -> Result<Infallible, Problem> {
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "There is nothing at this address.",
    ))
}

/// A query string of which every parameter must be known: a misspelt one is an error, not a silent full scan.
pub(crate) struct Params(BTreeMap<String, Vec<String>>);

impl Params {
    pub(crate) fn new(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, Problem> {
        let mut params = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let detail = format!(
                    "`{name}` is not a parameter of this address; it knows {}.",
                    known.join(", ")
                );
                return Err(Problem::bad_request("unknown-parameter", detail));
            }
            params.entry(name).or_default().push(value);
        }
        Ok(Self(params))
    }

    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The single value of a parameter, parsed; an absent one is `None`.
    pub(crate) fn one<T: std::str::FromStr>(&self, name: &str, shape: &str) -> Result<Option<T>, Problem> {
        match self.all(name) {
            [] => Ok(None),
            [value] => value.parse().map(Some).map_err(|_| {
                let detail = format!("`{name}` must be {shape}, not `{value}` (is it percent-encoded?).");
                Problem::bad_request("invalid-parameter", detail)
            }),
            _ => Err(Problem::bad_request(
                "repeated-parameter",
                format!("`{name}` may be given once only."),
            )),
        }
    }

    /// The page size: 1 to 100, 50 when it is not given.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self
            .one::<usize>("limit", "a number from 1 to 100")?
            .unwrap_or(50);
        if (1..=100).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::bad_request(
                "invalid-parameter",
                format!("`limit` must be from 1 to 100, not {limit}."),
            ))
        }
    }
}
