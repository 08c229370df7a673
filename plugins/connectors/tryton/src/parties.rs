//! Parties: whom one deals with.
//!
//! A party is found by its code, else by an e-mail address, else created with the code. Codes come from the record and never
//! from Tryton's sequence, which can give the same one twice on SQLite.

use crate::Tryton;
use crate::addresses::{Address, Wanted};
use crate::batch::{Early, Outcomes, all_or_each, parsed, rounds};
use crate::rpc::Failure;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use stecker_sdk::prelude::*;

pub(crate) const STREAM: &str = "parties";
const MODEL: &str = "party.party";
const AT_ONCE: usize = 100;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartyRef {
    /// By which it is found again, for example `V-17`. Unique in Tryton.
    #[schemars(length(min = 1))]
    pub code: String,
    /// Its name, if it has to be created.
    pub name: String,
    /// By which it is found if the code is not known.
    #[serde(default)]
    pub email: Option<String>,
    /// Kept when it is created.
    #[serde(default)]
    pub phone: Option<String>,
}

/// A party. What it says is set, what it does not mention stays; addresses and e-mail addresses are added, never removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartyPayload {
    /// By which it is found again. The record's key should be the same, so that it can be looked up.
    #[schemars(length(min = 1))]
    pub code: String,
    /// Its name.
    pub name: String,
    /// An e-mail address that it has.
    #[serde(default)]
    pub email: Option<String>,
    /// A phone number, kept when it is created.
    #[serde(default)]
    pub phone: Option<String>,
    /// Addresses that it has.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// A party as Tryton has it.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    id: i64,
    code: Option<String>,
    name: Option<String>,
    #[serde(rename = "contact_mechanisms.", default)]
    mechanisms: Vec<Mechanism>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mechanism {
    #[serde(rename = "type")]
    kind: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct MailRow {
    party: i64,
    value: String,
}

impl Row {
    fn has_mail(&self, mail: &str) -> bool {
        let mut mails = self
            .mechanisms
            .iter()
            .filter(|mechanism| mechanism.kind == "email");
        mails.any(|mechanism| {
            let value = mechanism.value.as_deref().unwrap_or_default();
            value.eq_ignore_ascii_case(mail)
        })
    }
}

/// What ensuring a party came to.
#[derive(Debug, Clone)]
pub(crate) struct Ensured {
    pub(crate) id: i64,
    created: bool,
    row: Option<Row>,
}

impl PartyPayload {
    fn reference(&self) -> PartyRef {
        PartyRef {
            code: self.code.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            phone: self.phone.clone(),
        }
    }
}

impl Tryton {
    /// The parties by code; who is missing is created.
    ///
    /// # Errors
    /// If they cannot be looked for.
    pub(crate) fn ensure_parties(
        &self,
        wanted: &[&PartyRef],
    ) -> Result<HashMap<String, Result<Ensured, Early>>> {
        let unique: BTreeMap<&str, &PartyRef> =
            wanted.iter().map(|party| (party.code.as_str(), *party)).collect();
        let codes: Vec<&str> = unique.keys().copied().collect();
        let mut found: HashMap<String, Result<Ensured, Early>> = HashMap::new();
        for row in self.parties_by_code(&codes)? {
            if let Some(code) = row.code.clone() {
                let known = Ensured {
                    id: row.id,
                    created: false,
                    row: Some(row),
                };
                found.insert(code, Ok(known));
            }
        }
        let missing = |found: &HashMap<_, _>| -> Vec<&PartyRef> {
            let missing = unique.values().filter(|party| !found.contains_key(&party.code));
            missing.copied().collect()
        };
        let by_mail = self.parties_by_mail(&missing(&found))?;
        for party in missing(&found) {
            let mail = party.email.as_deref().unwrap_or_default().to_ascii_lowercase();
            if let Some(&id) = by_mail.get(&mail) {
                let known = Ensured {
                    id,
                    created: false,
                    row: None,
                };
                found.insert(party.code.clone(), Ok(known));
            }
        }
        let new = missing(&found);
        let values: Vec<Value> = new.iter().map(|party| values_of(party)).collect();
        let made = all_or_each(&values, |values| self.rpc.create(MODEL, values));
        for (party, made) in new.into_iter().zip(made) {
            let made = made.map(|id| Ensured {
                id,
                created: true,
                row: None,
            });
            let made = made.map_err(|failure: Failure| failure.of_something_needed().outcome());
            found.insert(party.code.clone(), made);
        }
        Ok(found)
    }

    fn parties_by_code(&self, codes: &[&str]) -> Result<Vec<Row>> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let fields = [
            "code",
            "name",
            "contact_mechanisms.type",
            "contact_mechanisms.value",
        ];
        self.rpc.read(MODEL, json!([["code", "in", codes]]), &fields)
    }

    /// Ids by e-mail address in lower case.
    fn parties_by_mail(&self, parties: &[&PartyRef]) -> Result<HashMap<String, i64>> {
        let mails: Vec<&str> = parties
            .iter()
            .filter_map(|party| party.email.as_deref())
            .collect();
        let mut found: HashMap<String, i64> = HashMap::new();
        if mails.is_empty() {
            return Ok(found);
        }
        let domain = json!([["type", "=", "email"], ["value", "in", mails]]);
        let rows: Vec<MailRow> = self
            .rpc
            .read("party.contact_mechanism", domain, &["party", "value"])?;
        for row in rows {
            // Of several with one address the oldest, always.
            let id = found.entry(row.value.to_ascii_lowercase()).or_insert(row.party);
            *id = row.party.min(*id);
        }
        Ok(found)
    }

    pub(crate) fn write_parties(&self, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        let mut outcomes = Outcomes::new(batch);
        let parties = parsed(batch, &mut outcomes, |record| {
            let party: PartyPayload = record.payload_as()?;
            if party.code.trim().is_empty() {
                return Err(Rejection::new("no-code", "a party needs a code to be found by").at("/code"));
            }
            Ok(party)
        });
        for round in rounds(parties, AT_ONCE, |party: &PartyPayload| party.code.clone()) {
            self.write_parties_once(&round, &mut outcomes);
        }
        outcomes.settle()
    }

    /// Every code once.
    fn write_parties_once(&self, round: &[(usize, PartyPayload)], outcomes: &mut Outcomes) {
        let references: Vec<PartyRef> = round.iter().map(|(_, party)| party.reference()).collect();
        let ensured = match self.ensure_parties(&references.iter().collect::<Vec<_>>()) {
            Ok(ensured) => ensured,
            Err(error) => return all(round, outcomes, &error),
        };
        let mut going: Vec<(usize, &PartyPayload, Ensured)> = Vec::new();
        for (index, party) in round {
            match ensured.get(&party.code).cloned() {
                Some(Ok(ensured)) => going.push((*index, party, ensured)),
                Some(Err(early)) => outcomes.set(*index, early),
                None => {}
            }
        }
        let wanted: Vec<Vec<Wanted>> = going
            .iter()
            .map(|(_, party, ensured)| wanted_addresses(party, ensured.id))
            .collect();
        let addresses = match self.addresses(&wanted.concat()) {
            Ok(addresses) => addresses,
            Err(error) => return all(round, outcomes, &error),
        };
        let changes: Vec<Option<Value>> = going
            .iter()
            .map(|(_, party, ensured)| change_of(party, ensured))
            .collect();
        let writes: Vec<(i64, Value)> = going
            .iter()
            .zip(&changes)
            .filter_map(|((_, _, ensured), change)| Some((ensured.id, change.clone()?)))
            .collect();
        let mut written = all_or_each(&writes, |writes| self.write_rows(MODEL, writes)).into_iter();
        for (((index, _, ensured), change), wanted) in going.into_iter().zip(changes).zip(&wanted) {
            let mut changed = ensured.created;
            let mut early: Option<Early> = None;
            if change.is_some() {
                changed = true;
                if let Some(Err(failure)) = written.next() {
                    early = Some(failure.of_something_needed().outcome());
                }
            }
            for address in wanted {
                match addresses.get(address) {
                    Some(Ok(kept)) => changed |= kept.created,
                    Some(Err(refused)) => early = early.or_else(|| Some(refused.clone())),
                    None => {}
                }
            }
            let id = ensured.id.to_string();
            let done = if changed {
                Outcome::delivered(id)
            } else {
                Outcome::duplicate(id)
            };
            outcomes.set(index, early.unwrap_or(Ok(done)));
        }
    }

    /// Writes different values to several rows of a model in one call.
    pub(crate) fn write_rows(&self, model: &str, writes: &[(i64, Value)]) -> Result<Vec<()>, Failure> {
        let params = writes
            .iter()
            .flat_map(|(id, values)| [json!([id]), values.clone()])
            .collect();
        let _always_null: Option<Value> = self.rpc.call(&format!("model.{model}.write"), params)?;
        Ok(vec![(); writes.len()])
    }

    /// Whether a party is there says nothing of its state; but to write it again is harmless.
    pub(crate) fn lookup_parties(&self, codes: &[&str]) -> Result<Vec<Finding>> {
        let rows = self.parties_by_code(codes)?;
        Ok(codes
            .iter()
            .map(|code| {
                if rows.iter().any(|row| row.code.as_deref() == Some(code)) {
                    Finding::Undecided
                } else {
                    Finding::Absent
                }
            })
            .collect())
    }
}

fn all(round: &[(usize, PartyPayload)], outcomes: &mut Outcomes, error: &Error) {
    for (index, _) in round {
        outcomes.set(*index, Err(error.clone()));
    }
}

fn wanted_addresses(party: &PartyPayload, id: i64) -> Vec<Wanted> {
    let addresses = party.addresses.iter().enumerate();
    addresses
        .map(|(at, address)| Wanted {
            party: id,
            address: address.tidy(),
            path: format!("/addresses/{at}"),
        })
        .collect()
}

fn values_of(party: &PartyRef) -> Value {
    let mut mechanisms = Vec::new();
    if let Some(mail) = &party.email {
        mechanisms.push(json!({ "type": "email", "value": mail }));
    }
    if let Some(phone) = &party.phone {
        // `phone` would have to be a number of a known format; `other` takes whatever somebody entered.
        mechanisms.push(json!({ "type": "other", "value": phone }));
    }
    json!({ "name": party.name, "code": party.code, "contact_mechanisms": [["create", mechanisms]] })
}

/// What has to be written to a party that was there. One that was found by its e-mail address keeps its name: it is somebody
/// else's record of the same person.
fn change_of(party: &PartyPayload, ensured: &Ensured) -> Option<Value> {
    let row = ensured.row.as_ref()?;
    let mut change = serde_json::Map::new();
    if row.name.as_deref() != Some(&party.name) {
        change.insert("name".to_owned(), json!(party.name));
    }
    if let Some(mail) = party.email.as_deref().filter(|mail| !row.has_mail(mail)) {
        let mechanism = json!([["create", [{ "type": "email", "value": mail }]]]);
        change.insert("contact_mechanisms".to_owned(), mechanism);
    }
    (!change.is_empty()).then_some(Value::Object(change))
}
