//! Amounts as version 2 of the API has them: `{"amount": "39.80", "currency": "EUR"}`; in webhooks, which are as in version 1, a text.

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

#[derive(Deserialize)]
struct Money {
    amount: String,
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount, as a text or an object with `amount`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        Ok(Money::deserialize(MapAccessDeserializer::new(map))?.amount)
    }
}

/// The amount alone.
pub(crate) fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Either)
}
