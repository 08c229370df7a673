//! Calling the server.
//!
//! The answer to a call that reached its method is HTTP 200, with `result` or with `error`; anything else speaks of the way
//! there. A call is one transaction: where there is an `error`, nothing was written.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::prelude::*;

/// Confirming fifty sales takes a few seconds; a busy server more.
const PATIENCE: Duration = Duration::from_secs(100);

/// The server, as this connection reaches it.
#[derive(Debug)]
pub(crate) struct Rpc {
    client: Client,
    company: i64,
}

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// There is no answer of the method: the way, the user or the address is at fault.
    Way(Error),
    /// `UserError`: about the data or the rights. Nothing was written.
    Refused(String),
    /// `UserWarning`: somebody has to say that it is meant. Nothing was written.
    Warned(String),
    /// `ConcurrencyException`: somebody else changed the same. Nothing was written.
    Collided(String),
    /// Anything else: a failure inside of the server. Nothing was written.
    Broken(String),
}

impl Failure {
    /// Whether the method itself said no: then one record of several may be at fault.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Warned(_) | Self::Broken(_))
    }

    /// What it means for a record that was to be written.
    ///
    /// # Errors
    /// The error, where it is not about this record.
    pub(crate) fn outcome(self) -> Result<Outcome> {
        match self {
            Self::Way(error) => Outcome::from_error(error),
            Self::Refused(message) => Ok(Rejection::new("refused", message).into()),
            Self::Warned(message) => Ok(Rejection::new("warning", message).into()),
            other => Ok(Outcome::Retry(other.into())),
        }
    }

    /// The same for something that the record only needs (a product, a party): whether or not it was made, the next attempt finds out
    /// by looking, so a lost answer is just a failure.
    pub(crate) fn of_something_needed(self) -> Self {
        match self {
            Self::Way(error) if error.maybe_sent() => Self::Way(error.detail("sent", "no")),
            other => other,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Way(error) => error,
            Failure::Refused(message) | Failure::Warned(message) => Self::data(message),
            Failure::Collided(message) | Failure::Broken(message) => Self::transient(message),
        }
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Value>,
}

impl Rpc {
    pub(crate) fn new(url: &str, company: i64) -> Self {
        Self {
            client: Client::new(url).credential("rpc").timeout(PATIENCE),
            company,
        }
    }

    /// Calls a method; `params` without the context.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Vec<Value>,
    ) -> Result<Option<T>, Failure> {
        self.call_in(method, params, json!({}))
    }

    /// The same with something in the context beside the company.
    pub(crate) fn call_in<T: DeserializeOwned>(
        &self,
        method: &str,
        mut params: Vec<Value>,
        mut context: Value,
    ) -> Result<Option<T>, Failure> {
        context["company"] = self.company.into();
        params.push(context);
        // Any other member, `jsonrpc` too, and the answer loses its envelope.
        let body = json!({ "id": 1, "method": method, "params": params });
        let response = self
            .client
            .post("/rpc/")
            .json(&body)
            .send()
            .map_err(|error| Failure::Way(error.context(method)))?;
        if !response.is_success() {
            return Err(Failure::Way(way(&response).context(method)));
        }
        let answer: Answer<T> = response
            .json()
            // It was done, by the status, and what became of it cannot be read.
            .map_err(|error| Failure::Way(error.context(method).detail("sent", "maybe")))?;
        match answer.error {
            Some(error) => Err(failure(method, &error)),
            None => Ok(answer.result),
        }
    }

    /// Reads all rows that fit the domain; it writes nothing, so a lost answer is just a failure.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        model: &str,
        domain: Value,
        fields: &[&str],
    ) -> Result<Vec<T>> {
        self.read_some(
            model,
            &Query {
                domain,
                ..Query::default()
            },
            fields,
        )
    }

    /// The same with bounds, order and context.
    pub(crate) fn read_some<T: DeserializeOwned>(
        &self,
        model: &str,
        query: &Query,
        fields: &[&str],
    ) -> Result<Vec<T>> {
        let params = vec![
            query.domain.clone(),
            // Positions shift while others write; pages go by id or time.
            0.into(),
            query.limit.map_or(Value::Null, Value::from),
            query.order.clone(),
            json!(fields),
        ];
        let rows = self
            .call_in(
                &format!("model.{model}.search_read"),
                params,
                query.context.clone(),
            )
            .map_err(|failure| Error::from(failure.of_something_needed()))?;
        rows.ok_or_else(|| Error::schema(format!("the answer to reading {model} is null")))
    }

    /// Creates several, in one transaction; their ids in their order.
    pub(crate) fn create(&self, model: &str, values: &[Value]) -> Result<Vec<i64>, Failure> {
        let ids: Vec<i64> = self
            .call(&format!("model.{model}.create"), vec![json!(values)])?
            .unwrap_or_default();
        if ids.len() == values.len() {
            return Ok(ids);
        }
        let message = format!(
            "{} of {model} were created, and the answer has {} ids",
            values.len(),
            ids.len()
        );
        Err(Failure::Way(Error::schema(message).detail("sent", "maybe")))
    }

    /// Presses a button of several, in one transaction.
    pub(crate) fn press(&self, model: &str, button: &str, ids: &[i64]) -> Result<(), Failure> {
        let _always_null: Option<Value> = self.call(&format!("model.{model}.{button}"), vec![json!(ids)])?;
        Ok(())
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) domain: Value,
    pub(crate) limit: Option<u32>,
    /// `[["id", "ASC"]]`, or null.
    pub(crate) order: Value,
    pub(crate) context: Value,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            domain: json!([]),
            limit: None,
            order: Value::Null,
            context: json!({}),
        }
    }
}

/// What a status other than 200 stands for.
fn way(response: &http::Response) -> Error {
    let error = response.status_error();
    let body = String::from_utf8_lossy(&response.body);
    match response.status {
        401 => Error::auth("Tryton refuses the user or the password"),
        403 => Error::auth(format!(
            "Tryton does not offer this to the user: {}",
            error.message()
        )),
        404 => Error::config(format!(
            "there is no RPC of Tryton at this address; `url` has to be the server's with the database behind it ({})",
            error.message()
        ))
        .detail("path", "/url"),
        503 if body.contains("exist") => Error::config(
            "Tryton has no such database; it is the part of `url` behind the server's name",
        )
        .detail("path", "/url"),
        // Somebody else was at the same; Tryton undid it.
        409 | 423 => Error::transient(error.message()).detail("sent", "no"),
        _ => error,
    }
}

/// What the member `error` says: `["UserError", [message, description, domain]]`, `["UserWarning", [name, message,
/// description]]`, `["ConcurrencyException", message]`, or a text of the server's own.
fn failure(method: &str, error: &Value) -> Failure {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let joined = |message: &Value, description: &Value| {
        let (message, description) = (text(message), text(description));
        if description.is_empty() {
            message
        } else {
            format!("{message} ({description})")
        }
    };
    let said = &error[1];
    match error[0].as_str() {
        Some("UserError") => Failure::Refused(joined(&said[0], &said[1])),
        Some("UserWarning") => Failure::Warned(format!(
            "Tryton asks for a confirmation, which only a person can give there: {}",
            joined(&said[1], &said[2])
        )),
        Some("ConcurrencyException") => {
            Failure::Collided(format!("{method}: changed by somebody else meanwhile"))
        }
        Some("LoginException") => Failure::Way(Error::auth(format!(
            "{method}: Tryton asks for another way to log in; use a user with a password only"
        ))),
        _ => Failure::Broken(format!("{method}: a failure inside of Tryton: {error}")),
    }
}
