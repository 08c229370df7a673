//! GraphQL over POST (<https://graphql.github.io/graphql-over-http/draft/>): errors come inside a 200.

use super::RequestBuilder;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
    #[serde(default)]
    path: Vec<Value>,
    #[serde(default)]
    extensions: Value,
}

impl RequestBuilder {
    /// Sends a GraphQL document with its variables and returns `data`.
    ///
    /// # Errors
    /// As for [`error_for_status`](super::Response::error_for_status); if the answer has `errors`, `auth`, `rate-limited`,
    /// `not-found` or `transient` where `extensions.code` says so, else `data`, with the first path as detail `path`;
    /// `schema` if `data` does not fit the type.
    pub fn graphql<T: DeserializeOwned>(
        self,
        document: &str,
        variables: &(impl Serialize + ?Sized),
    ) -> Result<T> {
        let response = self
            .json(&json!({ "query": document, "variables": serde_json::to_value(variables)? }))
            .send()?;
        // Servers that follow the newer draft put errors into a 4xx with a GraphQL body.
        let answer: Answer = match response.json() {
            Ok(answer) => answer,
            Err(_) if !response.is_success() => return Err(response.status_error()),
            Err(error) => return Err(error),
        };
        if let Some(first) = answer.errors.first() {
            let messages: Vec<&str> = answer
                .errors
                .iter()
                .map(|problem| problem.message.as_str())
                .collect();
            let reason = first.extensions["code"].as_str().unwrap_or_default();
            let mut error =
                Error::new(code_of(reason, response.status), messages.join("; ")).context(&response.asked);
            if !reason.is_empty() {
                error = error.detail("reason", reason);
            }
            if !first.path.is_empty() {
                let segments = first.path.iter().map(|segment| match segment {
                    Value::String(name) => format!("/{name}"),
                    other => format!("/{other}"),
                });
                error = error.detail("path", segments.collect::<String>());
            }
            return Err(match response.retry_after() {
                Some(wait) => error.retry_after(wait),
                None => error,
            });
        }
        if !response.is_success() {
            return Err(response.status_error());
        }
        let data = answer.data.ok_or_else(|| {
            Error::schema(format!(
                "{}: the answer has neither `data` nor `errors`",
                response.asked
            ))
        })?;
        crate::json::parse(&data.to_string()).map_err(|misfit| {
            Error::schema(format!(
                "{}: the answer's data {}",
                response.asked, misfit.message
            ))
            .detail("path", format!("/data{}", misfit.pointer))
        })
    }
}

/// The codes are those that Apollo Server documents and others took over; `FORBIDDEN` and `THROTTLED` in vendors' spellings.
fn code_of(reason: &str, status: u16) -> &'static str {
    match reason {
        "UNAUTHENTICATED" | "UNAUTHORIZED" | "FORBIDDEN" | "ACCESS_DENIED" => "auth",
        "THROTTLED" | "RATE_LIMITED" | "TOO_MANY_REQUESTS" => "rate-limited",
        "NOT_FOUND" | "ENTITY_NOT_FOUND" => "not-found",
        "INTERNAL_SERVER_ERROR" => "transient",
        "GRAPHQL_PARSE_FAILED" | "GRAPHQL_VALIDATION_FAILED" => "schema",
        _ => match status {
            401 | 403 => "auth",
            429 => "rate-limited",
            500.. => "transient",
            _ => "data",
        },
    }
}
