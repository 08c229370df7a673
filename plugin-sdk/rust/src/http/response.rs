//! Reading answers.

use super::Request;
use crate::bindings::host::stecker::plugin::{http, types};
use crate::{Error, Result, clock, time};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How much of a body is quoted in an error: enough for a vendor's message, too little to leak a customer list into logs.
const QUOTED: usize = 300;

/// The answer to a request, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status, 100 to 599.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// `GET https://…` without the query, for errors.
    pub(super) asked: String,
}

impl Response {
    pub(crate) fn from_answer(
        request: &Request,
        answer: std::result::Result<http::Response, types::Error>,
    ) -> Result<Self> {
        // Queries carry customers' mail addresses and the like, which have no place in messages.
        let path = request.url.split(['?', '#']).next().unwrap_or_default();
        let asked = format!("{} {path}", request.method);
        match answer {
            Ok(response) => Ok(Self {
                status: response.status,
                headers: response.headers,
                body: response.body,
                asked,
            }),
            Err(error) => Err(Error::from(error).context(asked)),
        }
    }

    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text.
    ///
    /// # Errors
    /// Code `schema` if it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::schema(format!("{}: the answer is not UTF-8: {error}", self.asked)))
    }

    /// The body as a type.
    ///
    /// # Errors
    /// Code `schema`, with the place that does not fit as detail `path`: the API is not as this release expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        crate::json::parse(self.text()?).map_err(|misfit| {
            Error::schema(format!("{}: the answer {}", self.asked, misfit.message))
                .detail("path", misfit.pointer)
                .detail("status", self.status)
        })
    }

    /// The wait that `Retry-After` asks for, in seconds or as a date (RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if let Ok(seconds) = value.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let then = time::parse_http_date(value)?.millis()?;
        Some(Duration::from_millis(then.saturating_sub(clock::now())))
    }

    /// The target of the `Link` header with this relation (RFC 8288), as written there: it may be relative.
    pub fn link(&self, relation: &str) -> Option<&str> {
        let links = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("link"));
        links.flat_map(|(_, value)| value.split(',')).find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let found = parameters.split(';').any(|parameter| {
                parameter.trim().split_once('=').is_some_and(|(name, value)| {
                    name.eq_ignore_ascii_case("rel")
                        && value
                            .trim_matches('"')
                            .split_ascii_whitespace()
                            .any(|rel| rel == relation)
                })
            });
            found.then_some(target)
        })
    }

    /// This response, or the error that its status stands for: 401 and 403 `auth`, 404 and 410 `not-found`, 409 and 412
    /// `conflict`, 429 `rate-limited` with the wait of `Retry-After`, 408 and 5xx `transient` (501 `unsupported`), other
    /// 4xx `data`, and a redirect `config`. The message quotes the beginning of the body; detail `status` has the number.
    ///
    /// # Errors
    /// As said.
    pub fn error_for_status(self) -> Result<Self> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(self.status_error())
        }
    }

    /// The error that [`Response::error_for_status`] would give for this status.
    pub fn status_error(&self) -> Error {
        let code = match self.status {
            300..=399 => "config",
            401 | 403 | 407 => "auth",
            404 | 410 => "not-found",
            408 => "transient",
            409 | 412 => "conflict",
            429 => "rate-limited",
            501 => "unsupported",
            400..=499 => "data",
            _ => "transient",
        };
        let body = String::from_utf8_lossy(&self.body);
        let body = body.trim();
        let quoted: String = body.chars().take(QUOTED).collect();
        let ellipsis = if quoted.len() < body.len() { "…" } else { "" };
        let says = if body.is_empty() {
            String::new()
        } else {
            format!(": {quoted}{ellipsis}")
        };
        let mut error = Error::new(
            code,
            format!("{} was answered with {}{says}", self.asked, self.status),
        )
        .detail("status", self.status);
        // A gateway's 502 or 504 stands between us and the system: it may have acted all the same.
        if matches!(self.status, 408 | 500 | 502 | 504) {
            error = error.detail("sent", "maybe");
        }
        match self.retry_after() {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }
}
