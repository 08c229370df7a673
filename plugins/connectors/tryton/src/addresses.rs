//! Addresses of parties: found again, or created.

use crate::Tryton;
use crate::batch::{Early, all_or_each};
use crate::rpc::Failure;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use stecker_sdk::prelude::*;

/// A postal address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// Company or person, where it differs from the party's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Street and number; further lines after line breaks.
    #[serde(default)]
    pub street: Option<String>,
    /// Postal code.
    #[serde(default)]
    pub postal_code: Option<String>,
    /// City.
    #[serde(default)]
    pub city: Option<String>,
    /// ISO 3166-1 alpha-2; a country that Tryton does not know is refused.
    #[serde(default)]
    pub country: Option<String>,
}

/// An address that Tryton has now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) id: i64,
    /// Whether it had to be made.
    pub(crate) created: bool,
}

/// An address as a record wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Wanted {
    /// The party's id.
    pub(crate) party: i64,
    pub(crate) address: Address,
    /// Where in the record's payload it stands, as a JSON Pointer.
    pub(crate) path: String,
}

#[derive(Deserialize)]
struct Row {
    id: i64,
    party: i64,
    party_name: Option<String>,
    street: Option<String>,
    postal_code: Option<String>,
    city: Option<String>,
    #[serde(rename = "country.")]
    country: Option<Country>,
}

#[derive(Deserialize)]
struct Country {
    code: Option<String>,
}

impl Address {
    /// Without blanks around and without what is empty, so that equal addresses are equal.
    pub(crate) fn tidy(&self) -> Self {
        let tidy = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
            text.map(ToOwned::to_owned)
        };
        Self {
            name: tidy(&self.name),
            street: tidy(&self.street),
            postal_code: tidy(&self.postal_code),
            city: tidy(&self.city),
            country: tidy(&self.country).map(|code| code.to_ascii_uppercase()),
        }
    }
}

impl Tryton {
    /// These addresses; what is missing is created. One that cannot be has an outcome in its place.
    ///
    /// # Errors
    /// If they cannot be looked for.
    pub(crate) fn addresses(&self, wanted: &[Wanted]) -> Result<HashMap<Wanted, Result<Kept, Early>>> {
        let unique: BTreeSet<&Wanted> = wanted.iter().collect();
        if unique.is_empty() {
            return Ok(HashMap::new());
        }
        let there = self.known_addresses(unique.iter().map(|wanted| wanted.party))?;
        let mut found: HashMap<Wanted, Result<Kept, Early>> = HashMap::new();
        let mut missing: Vec<&Wanted> = Vec::new();
        for wanted in unique {
            match there.get(&(wanted.party, wanted.address.clone())) {
                Some(&id) => {
                    found.insert(wanted.clone(), Ok(Kept { id, created: false }));
                }
                None => missing.push(wanted),
            }
        }
        let codes: BTreeSet<&str> = missing
            .iter()
            .filter_map(|wanted| wanted.address.country.as_deref())
            .collect();
        let countries = self.countries(&codes.into_iter().collect::<Vec<_>>())?;
        // The same address may be wanted at two places of a payload; it is created once.
        let mut values: Vec<((i64, Address), Value)> = Vec::new();
        let mut waiting: Vec<(&Wanted, usize)> = Vec::new();
        for wanted in missing {
            match values_of(wanted, &countries) {
                Ok(value) => {
                    let key = (wanted.party, wanted.address.clone());
                    let known = values.iter().position(|(other, _)| *other == key);
                    let at = known.unwrap_or(values.len());
                    if known.is_none() {
                        values.push((key, value));
                    }
                    waiting.push((wanted, at));
                }
                Err(rejection) => {
                    found.insert(wanted.clone(), Err(Ok(rejection.into())));
                }
            }
        }
        let values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        let made = all_or_each(&values, |values| self.rpc.create("party.address", values));
        for (wanted, at) in waiting {
            if let Some(made) = made.get(at) {
                let kept = made.clone().map(|id| Kept { id, created: true });
                let kept = kept.map_err(|failure: Failure| failure.of_something_needed().outcome());
                found.insert(wanted.clone(), kept);
            }
        }
        Ok(found)
    }

    fn known_addresses(&self, parties: impl Iterator<Item = i64>) -> Result<HashMap<(i64, Address), i64>> {
        let parties: BTreeSet<i64> = parties.collect();
        let fields = [
            "party",
            "party_name",
            "street",
            "postal_code",
            "city",
            "country.code",
        ];
        let rows: Vec<Row> = self
            .rpc
            .read("party.address", json!([["party", "in", parties]]), &fields)?;
        let mut known = HashMap::new();
        for row in rows {
            let address = Address {
                name: row.party_name,
                street: row.street,
                postal_code: row.postal_code,
                city: row.city,
                country: row.country.and_then(|country| country.code),
            };
            // Of two that are equal the older one, always, whatever order they come in.
            let id = known.entry((row.party, address.tidy())).or_insert(row.id);
            *id = row.id.min(*id);
        }
        Ok(known)
    }
}

fn values_of(wanted: &Wanted, countries: &HashMap<String, i64>) -> Result<Value, Rejection> {
    let address = &wanted.address;
    let country = match &address.country {
        None => None,
        Some(code) => Some(countries.get(code).ok_or_else(|| {
            Rejection::new(
                "unknown-country",
                format!("Tryton has no country `{code}`; load its countries, or correct the address"),
            )
            .at(format!("{}/country", wanted.path))
        })?),
    };
    Ok(json!({
        "party": wanted.party,
        "party_name": address.name,
        "street": address.street,
        "postal_code": address.postal_code,
        "city": address.city,
        "country": country,
    }))
}
