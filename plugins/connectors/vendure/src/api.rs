//! The admin API: one endpoint, and the errors that are the shop's own.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stecker_sdk::prelude::*;

/// The most that Vendure lists at once (`apiOptions.adminListQueryLimit`, unless the shop changed it).
pub(crate) const MOST_LISTED: usize = 1_000;

const LOCATIONS: &str = "query($options: StockLocationListOptions) {
  stockLocations(options: $options) { items { id name } }
}";

/// The shop, as this connection reaches it.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
}

/// What every list answers with.
#[derive(Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// Where stock lies.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Location {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Api {
    pub(crate) fn new(url: &str, channel_token: Option<&str>) -> Self {
        let client = Client::new(url).credential("api");
        Self {
            client: match channel_token {
                Some(token) => client.header("vendure-token", token),
                None => client,
            },
        }
    }

    /// One document; its data.
    pub(crate) fn ask<T: DeserializeOwned>(&self, document: &str, variables: &Value) -> Result<T> {
        let answer = self.client.post("").graphql(document, variables);
        answer.map_err(|error| match error.detail_of("reason") {
            Some("CHANNEL_NOT_FOUND") => {
                Error::config("the shop has no channel with this token").detail("path", "/channel_token")
            }
            // The server says the same for a wrong key and for a missing right.
            Some("FORBIDDEN") => Error::auth(format!(
                "{}; the API key is wrong, or its role lacks the right for this",
                error.message()
            )),
            _ => error,
        })
    }

    /// A request whose answer matters as such, for the clock.
    pub(crate) fn ping(&self) -> Result<http::Response> {
        let request = self
            .client
            .post("")
            .json(&json!({ "query": "{ activeChannel { code } }" }));
        request.send()?.error_for_status()
    }

    /// The location to write to: the configured one, or the only one.
    pub(crate) fn stock_location(&self, wanted: Option<&str>) -> Result<Location> {
        #[derive(Deserialize)]
        struct Data {
            #[serde(rename = "stockLocations")]
            locations: Items<Location>,
        }
        let data: Data = self.ask(LOCATIONS, &json!({ "options": { "take": MOST_LISTED } }))?;
        let locations = data.locations.items;
        let at_fault = |message: String| Err(Error::config(message).detail("path", "/stock_location"));
        let names = || {
            let names: Vec<String> = locations
                .iter()
                .map(|location| format!("`{}`", location.name))
                .collect();
            names.join(", ")
        };
        match wanted {
            Some(wanted) => {
                let mut found = locations
                    .iter()
                    .filter(|location| location.name == wanted || location.id == wanted);
                match (found.next(), found.next()) {
                    (Some(location), None) => Ok(location.clone()),
                    (Some(_), Some(_)) => at_fault(format!(
                        "several stock locations are called `{wanted}`; set stock_location to the id of one"
                    )),
                    (None, _) => at_fault(format!(
                        "there is no stock location `{wanted}`; the shop has {}",
                        names()
                    )),
                }
            }
            None => match locations.as_slice() {
                [only] => Ok(only.clone()),
                [] => at_fault("the shop shows no stock location to this API key".to_owned()),
                _ => at_fault(format!(
                    "the shop has several stock locations ({}); set stock_location to one",
                    names()
                )),
            },
        }
    }
}
