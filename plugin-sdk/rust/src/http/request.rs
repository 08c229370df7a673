//! Building and sending.

use super::{Request, Response};
use crate::imports;
use crate::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::fmt::Display;
use std::time::Duration;

/// What RFC 3986 calls unreserved stays as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One segment of a path, percent-encoded, so that a slash or a blank in an id stays part of it:
/// `format!("/stock/{}", http::segment(sku))`.
pub fn segment(text: &str) -> String {
    // A segment of only dots would be read as "here" or "one up".
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A GET request for an absolute URL.
pub fn get(url: impl Into<String>) -> RequestBuilder {
    request("GET", url)
}

/// A POST request for an absolute URL.
pub fn post(url: impl Into<String>) -> RequestBuilder {
    request("POST", url)
}

/// A PUT request for an absolute URL.
pub fn put(url: impl Into<String>) -> RequestBuilder {
    request("PUT", url)
}

/// A PATCH request for an absolute URL.
pub fn patch(url: impl Into<String>) -> RequestBuilder {
    request("PATCH", url)
}

/// A DELETE request for an absolute URL.
pub fn delete(url: impl Into<String>) -> RequestBuilder {
    request("DELETE", url)
}

/// A request of any method.
pub fn request(method: &str, url: impl Into<String>) -> RequestBuilder {
    RequestBuilder {
        request: Request {
            method: method.to_ascii_uppercase(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            credential: None,
            idempotency_key: None,
            timeout_ms: None,
            options: Vec::new(),
        },
        problem: None,
    }
}

/// Sends several requests at once, as far as the host's limits go; answers come in the order of the requests. A request that
/// could not be built is an error in its place and is not sent.
pub fn send_many(requests: Vec<RequestBuilder>) -> Vec<Result<Response>> {
    let built: Vec<Result<Request>> = requests.into_iter().map(RequestBuilder::build).collect();
    let ready: Vec<Request> = built
        .iter()
        .filter_map(|request| request.as_ref().ok().cloned())
        .collect();
    let mut answers = imports::http::send_many(&ready).into_iter();
    built
        .into_iter()
        .map(|request| {
            let request = request?;
            match answers.next() {
                Some(answer) => Response::from_answer(&request, answer),
                None => Err(Error::fatal(
                    "the host gave fewer answers than there were requests",
                )),
            }
        })
        .collect()
}

/// A system's address with what every request to it has in common.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    credential: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
}

impl Client {
    /// A client for the system at this absolute URL; a trailing slash makes no difference.
    pub fn new(base_url: impl Into<String>) -> Self {
        let mut base = base_url.into();
        base.truncate(base.trim_end_matches('/').len());
        Self {
            base,
            credential: None,
            headers: Vec::new(),
            timeout: None,
        }
    }

    /// The credential of every request, by the name that the manifest gives it.
    #[must_use]
    pub fn credential(mut self, name: impl Into<String>) -> Self {
        self.credential = Some(name.into());
        self
    }

    /// A header of every request.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// The timeout of every request.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A GET request for a path below the base URL.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request("POST", path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request("PUT", path)
    }

    /// A PATCH request.
    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request("PATCH", path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request("DELETE", path)
    }

    /// A request of any method for a path below the base URL.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let slash = if path.is_empty() || path.starts_with(['/', '?']) {
            ""
        } else {
            "/"
        };
        let mut builder = request(method, format!("{}{slash}{path}", self.base));
        builder.request.headers.clone_from(&self.headers);
        builder.request.credential.clone_from(&self.credential);
        match self.timeout {
            Some(timeout) => builder.timeout(timeout),
            None => builder,
        }
    }
}

/// A request being built. What goes wrong on the way is said by [`RequestBuilder::send`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    pub(super) request: Request,
    problem: Option<Error>,
}

impl RequestBuilder {
    /// Adds a parameter to the query, encoded; the same name again adds a second one.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        let pair = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, &value.to_string())
            .finish();
        let (url, fragment) = match self.request.url.split_once('#') {
            Some((url, fragment)) => (url.to_owned(), Some(fragment.to_owned())),
            None => (std::mem::take(&mut self.request.url), None),
        };
        let joint = match url.find('?') {
            None => "?",
            Some(_) if url.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        self.request.url = format!("{url}{joint}{pair}");
        if let Some(fragment) = fragment {
            self.request.url.push('#');
            self.request.url.push_str(&fragment);
        }
        self
    }

    /// Adds a parameter if there is a value.
    pub fn query_opt(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sets a header, replacing one of that name (any case). The host refuses Host, Content-Length and the like.
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> Self {
        let name = name.into();
        self.request
            .headers
            .retain(|(existing, _)| !existing.eq_ignore_ascii_case(&name));
        self.request.headers.push((name, value.to_string()));
        self
    }

    /// The credential that the host puts in, by the name that the manifest gives it.
    pub fn credential(mut self, name: impl Into<String>) -> Self {
        self.request.credential = Some(name.into());
        self
    }

    /// Sends this as JSON.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body("application/json", bytes),
            Err(error) => {
                self.problem = Some(Error::data(format!(
                    "the request's body cannot be written as JSON: {error}"
                )));
                self
            }
        }
    }

    /// Sends these fields as an HTML form would.
    pub fn form<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Sends these bytes.
    pub fn body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.request.body = Some(bytes.into());
        self.header("Content-Type", content_type)
    }

    /// Sent as `Idempotency-Key`: the same for every repetition of the same thing.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.request.idempotency_key = Some(key.into());
        self
    }

    /// The header that this system wants the idempotency key under.
    pub fn idempotency_header(self, name: impl Display) -> Self {
        self.option("idempotency-header", name)
    }

    /// For the whole exchange; the host's bound applies where it is shorter.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// How many redirects the host follows, 1 to 10, each checked against the grants like a request. Credential and idempotency key stay
    /// with the origin that they were for. Without it, a redirect is a response.
    pub fn follow_redirects(self, hops: u8) -> Self {
        self.option("follow-redirects", hops)
    }

    /// An option of the contract that has no method here; a host ignores those that it does not know.
    pub fn option(mut self, key: impl Into<String>, value: impl Display) -> Self {
        self.request.options.push((key.into(), value.to_string()));
        self
    }

    /// The same request for another absolute URL: for the next page.
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.request.url = url.into();
        self
    }

    /// The request as the host would get it.
    ///
    /// # Errors
    /// Code `config` if the URL is not absolute http or https, `data` if the body could not be written.
    pub fn build(self) -> Result<Request> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let url = &self.request.url;
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return Err(Error::config(format!(
                "`{url}` is not an absolute http or https URL"
            )));
        }
        Ok(self.request)
    }

    /// Sends it. Any status is a response; see [`Response::error_for_status`].
    ///
    /// # Errors
    /// As for [`RequestBuilder::build`]; `denied` if the connection has no grant for it; `transient` if no answer came.
    pub fn send(self) -> Result<Response> {
        let request = self.build()?;
        let answer = imports::http::send(&request);
        Response::from_answer(&request, answer)
    }
}
