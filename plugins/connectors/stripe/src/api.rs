//! Calling the API, and what its errors mean (<https://docs.stripe.com/api/errors>).

use serde::de::DeserializeOwned;
use serde_json::Value;
use stecker_sdk::http::{RequestBuilder, Response};
use stecker_sdk::prelude::*;

/// The API, as this connection reaches it.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
}

/// What every list answers with.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
}

/// Which part of a list.
#[derive(Debug, Default)]
pub(crate) struct Part<'a> {
    pub(crate) limit: u32,
    /// Behind the thing of this id, in the list's order.
    pub(crate) starting_after: Option<&'a str>,
    /// Created at this second since 1970 or later.
    pub(crate) created_from: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    error: Said,
}

#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    param: Option<String>,
}

impl Api {
    pub(crate) fn new(base_url: &str, version: &str, account: Option<&str>) -> Self {
        let client = Client::new(base_url)
            .credential("api")
            .header("Stripe-Version", version);
        Self {
            client: match account {
                Some(account) => client.header("Stripe-Account", account),
                None => client,
            },
        }
    }

    pub(crate) fn list<T: DeserializeOwned>(&self, path: &str, part: &Part<'_>) -> Result<List<T>> {
        self.list_response(path, part)?.json()
    }

    /// The answer as such, for its headers.
    pub(crate) fn list_response(&self, path: &str, part: &Part<'_>) -> Result<Response> {
        let request = self
            .client
            .get(&format!("/v1/{path}"))
            .query("limit", part.limit)
            .query_opt("starting_after", part.starting_after)
            .query_opt("created[gte]", part.created_from);
        answered(request)
    }

    pub(crate) fn one<T: DeserializeOwned>(&self, path: &str, id: &str) -> Result<T> {
        let path = format!("/v1/{path}/{}", http::segment(id));
        answered(self.client.get(&path))?.json()
    }

    /// A form, sent under an idempotency key. Once it was taken, what became of it may be in an answer that cannot be read.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(String, String)],
        idempotency_key: &str,
    ) -> Result<T> {
        let fields = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = self
            .client
            .post(&format!("/v1/{path}"))
            .form(fields)
            .idempotency_key(idempotency_key);
        answered(request)?
            .json()
            .map_err(|error| error.detail("sent", "maybe"))
    }
}

fn answered(request: RequestBuilder) -> Result<Response> {
    let response = request.send()?;
    if response.is_success() {
        Ok(response)
    } else {
        Err(problem(&response))
    }
}

/// What an error says, under the code that tells the host what to do.
///
/// | status | type | code here |
/// |---|---|---|
/// | 400 | `invalid_request_error` | `data` |
/// | 400, 409 | `idempotency_error`: the key was used with other parameters | `conflict` |
/// | 401, 403 | | `auth` |
/// | 402 | `card_error` and the like | `data` |
/// | 404 | | `not-found` |
/// | 409 | another request under the same key is at work, and may do it | `transient`, sent: maybe |
/// | 424, 5xx | Stripe's own advice: indeterminate until asked again under the same key | `transient`, sent: maybe |
/// | 429 | nothing was done | `rate-limited` |
fn problem(response: &Response) -> Error {
    let said = serde_json::from_slice::<Problem>(&response.body)
        .unwrap_or_default()
        .error;
    let usual = response.status_error();
    let kind = said.kind.as_deref().unwrap_or_default();
    let code = match response.status {
        400..=499 if kind == "idempotency_error" => "conflict",
        402 => "data",
        409 | 424 | 500.. => "transient",
        _ => usual.code(),
    }
    .to_owned();
    let message = match &said.message {
        Some(message) => format!("Stripe answered {}: {message}", response.status),
        None => usual.message().to_owned(),
    };
    let mut error = Error::new(code, message).detail("status", response.status);
    if response.status == 409 || response.status == 424 || response.status >= 500 {
        error = error.detail(
            "sent",
            if kind == "idempotency_error" {
                "no"
            } else {
                "maybe"
            },
        );
    }
    let details = [
        ("type", said.kind.clone()),
        ("reason", said.code),
        ("decline-code", said.decline_code),
        ("param", said.param.clone()),
        (
            "limit",
            response.header("stripe-rate-limited-reason").map(str::to_owned),
        ),
        // What Stripe's support asks for.
        ("request", response.header("request-id").map(str::to_owned)),
    ];
    for (name, value) in details {
        if let Some(value) = value {
            error = error.detail(name, value);
        }
    }
    match usual.retry_in() {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// The place in a record that a parameter of a form came from: `metadata[order]` is `/metadata/order`.
pub(crate) fn pointer(param: &str) -> String {
    format!("/{}", param.replace('[', "/").replace(']', ""))
}

/// An id, whether or not the thing behind it was put in its place.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reference {
    Id(String),
    Whole { id: String },
}

impl Reference {
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Id(id) | Self::Whole { id } => id.clone(),
        }
    }
}

/// What a thing says that it is.
pub(crate) fn object_of(value: &Value) -> &str {
    value["object"].as_str().unwrap_or_default()
}
