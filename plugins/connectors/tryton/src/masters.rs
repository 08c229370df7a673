//! What the configuration names and Tryton knows by a number.

use crate::Tryton;
use crate::rpc::Query;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use stecker_sdk::prelude::*;

/// A row of which only the id is of interest.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Id {
    pub(crate) id: i64,
}

impl Tryton {
    /// The payment term's id, if one is configured.
    pub(crate) fn payment_term(&self) -> Result<Option<i64>> {
        let Some(name) = &self.config.payment_term else {
            return Ok(None);
        };
        let domain = json!([["name", "=", name]]);
        self.the_one("account.invoice.payment_term", domain, "/payment_term", name)
            .map(Some)
    }

    /// The warehouse's id, if one is configured.
    pub(crate) fn warehouse(&self) -> Result<Option<i64>> {
        let Some(code) = &self.config.warehouse else {
            return Ok(None);
        };
        let domain = json!([["type", "=", "warehouse"], ["code", "=", code]]);
        self.the_one("stock.location", domain, "/warehouse", code)
            .map(Some)
    }

    /// The id of the unit of new products.
    pub(crate) fn unit(&self) -> Result<i64> {
        let symbol = &self.config.unit;
        self.the_one("product.uom", json!([["symbol", "=", symbol]]), "/unit", symbol)
    }

    /// The id of the accounting category of new products.
    pub(crate) fn category(&self) -> Result<i64> {
        let Some(name) = &self.config.category else {
            return Err(Error::config(
                "a product is to be created, which needs an accounting category: set `category`, or \
                 `create_missing_products` to false",
            )
            .detail("path", "/category"));
        };
        let domain = json!([["accounting", "=", true], ["name", "=", name]]);
        self.the_one("product.category", domain, "/category", name)
    }

    /// The ids of the locations whose stock is read.
    pub(crate) fn stock_locations(&self) -> Result<Vec<i64>> {
        #[derive(Deserialize)]
        struct Location {
            id: i64,
            code: Option<String>,
        }
        let codes = &self.config.stock_locations;
        let domain = if codes.is_empty() {
            json!([["type", "=", "warehouse"]])
        } else {
            json!([["code", "in", codes]])
        };
        let found: Vec<Location> = self.rpc.read("stock.location", domain, &["code"])?;
        let missing = codes.iter().find(|code| {
            let mut known = found.iter().filter_map(|location| location.code.as_ref());
            !known.any(|known| known == *code)
        });
        if let Some(code) = missing {
            return Err(missing_error("/stock_locations", code));
        }
        if found.is_empty() {
            return Err(
                Error::config("Tryton shows no warehouse to this user").detail("path", "/stock_locations")
            );
        }
        Ok(found.into_iter().map(|location| location.id).collect())
    }

    /// Countries by their code; unknown ones are not in it.
    pub(crate) fn countries(&self, codes: &[&str]) -> Result<HashMap<String, i64>> {
        #[derive(Deserialize)]
        struct Country {
            id: i64,
            code: String,
        }
        if codes.is_empty() {
            return Ok(HashMap::new());
        }
        let countries: Vec<Country> =
            self.rpc
                .read("country.country", json!([["code", "in", codes]]), &["code"])?;
        Ok(countries
            .into_iter()
            .map(|country| (country.code, country.id))
            .collect())
    }

    fn the_one(&self, model: &str, domain: Value, field: &str, name: &str) -> Result<i64> {
        let found: Vec<Id> = self.first(model, domain, 2)?;
        match found.as_slice() {
            [one] => Ok(one.id),
            [] => Err(missing_error(field, name)),
            _ => Err(Error::config(format!(
                "Tryton has several called `{name}`; give the one that is meant a name of its own"
            ))
            .detail("path", field)),
        }
    }

    /// At most so many rows, of which the ids are read.
    pub(crate) fn first<T: DeserializeOwned>(&self, model: &str, domain: Value, most: u32) -> Result<Vec<T>> {
        let query = Query {
            domain,
            limit: Some(most),
            ..Query::default()
        };
        self.rpc.read_some(model, &query, &["id"])
    }
}

fn missing_error(field: &str, name: &str) -> Error {
    Error::config(format!(
        "Tryton has nothing called `{name}` for this, or does not show it to this user"
    ))
    .detail("path", field)
}
