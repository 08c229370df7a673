//! Stock levels, written.
//!
//! A level is absolute, so setting it again is harmless; one that is as it should be already is a duplicate and not written.
//! Setting many is one transaction at the shop, so where it refuses, the levels are set one by one, and only those at fault
//! are refused.
//!
//! A level carries no version, so from the shop alone nobody can tell whether an unanswered request arrived. Therefore what it
//! was to set is remembered until `lookup` asks: the level that is there then is either that one or it has to be set again.

use crate::Vendure;
use crate::api::{Items, Location, MOST_LISTED};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use stecker_sdk::prelude::*;
use stecker_sdk::storage;

pub(crate) const STREAM: &str = "stock";

/// How many SKUs one request asks for. A SKU is one variant's, so the answer stays below what the shop lists at once.
const SKUS_AT_ONCE: usize = 250;
/// How many levels one transaction sets.
const LEVELS_AT_ONCE: usize = 100;

const VARIANTS: &str = "query($options: ProductVariantListOptions) {
  productVariants(options: $options) { items { id sku stockLevels { stockLocationId stockOnHand } } }
}";

const SET: &str = "mutation($input: [UpdateProductVariantInput!]!) {
  updateProductVariants(input: $input) { id sku stockLevels { stockLocationId stockOnHand } }
}";

/// How much there is of an article. Other fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StockPayload {
    /// SKU of a variant.
    pub sku: String,
    /// Pieces on hand at the stock location: a whole number. The shop takes off what is ordered and not yet sent itself.
    pub quantity: f64,
}

/// What an unanswered request was to set.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Intended {
    source_version: String,
    quantity: i64,
}

#[derive(Clone, Debug, Deserialize)]
struct Variant {
    id: String,
    sku: String,
    #[serde(rename = "stockLevels")]
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Deserialize)]
struct Level {
    #[serde(rename = "stockLocationId")]
    location: String,
    #[serde(rename = "stockOnHand")]
    on_hand: i64,
}

/// A level to be set, for the item at `index` of the batch.
struct Wanted {
    index: usize,
    variant: String,
    sku: String,
    quantity: i64,
}

impl Variant {
    fn level_at(&self, location: &Location) -> Option<i64> {
        let level = self.levels.iter().find(|level| level.location == location.id);
        level.map(|level| level.on_hand)
    }
}

impl Destination for Vendure {
    fn write(&self, stream: &str, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let parsed: Vec<Result<(String, i64), Rejection>> =
            batch.iter().map(|item| parse(&item.record)).collect();
        let skus: Vec<&str> = parsed.iter().flatten().map(|(sku, _)| sku.as_str()).collect();
        if skus.is_empty() {
            return Outcome::settle(parsed.into_iter().map(|item| answered(item.err())).collect());
        }
        let location = self.api.stock_location(self.stock_location.as_deref())?;
        let mut variants = self.variants(&skus)?;

        let mut results: Vec<Option<Result<Outcome>>> = batch.iter().map(|_| None).collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for (index, item) in parsed.into_iter().enumerate() {
            let level = item.and_then(|(sku, quantity)| {
                let variant = only(variants.get(&sku), &sku)?;
                Ok(Wanted {
                    index,
                    variant: variant.id.clone(),
                    sku,
                    quantity,
                })
            });
            match level {
                Ok(level) => wanted.push(level),
                Err(rejection) => results[index] = Some(Ok(rejection.into())),
            }
        }
        for round in rounds(wanted) {
            let (there, missing): (Vec<_>, Vec<_>) = round.into_iter().partition(|level| {
                let known = variants.get(&level.sku).and_then(|found| found.first());
                known.and_then(|variant| variant.level_at(&location)) == Some(level.quantity)
            });
            for level in there {
                results[level.index] = Some(Ok(Outcome::duplicate(level.variant)));
            }
            for levels in missing.chunks(LEVELS_AT_ONCE) {
                for (level, result) in levels.iter().zip(self.set(batch, levels, &location)) {
                    if let (Ok(Outcome::Delivered(_)), Some(found)) = (
                        &result,
                        variants.get_mut(&level.sku).and_then(|all| all.first_mut()),
                    ) {
                        found.levels = vec![Level {
                            location: location.id.clone(),
                            on_hand: level.quantity,
                        }];
                    }
                    results[level.index] = Some(result);
                }
            }
        }
        let left_out = || Err(Error::fatal("an item was left without an outcome"));
        Outcome::settle(
            results
                .into_iter()
                .map(|result| result.unwrap_or_else(left_out))
                .collect(),
        )
    }

    fn lookup(&self, stream: &str, items: &[LookupItem]) -> Result<Vec<Finding>> {
        if stream != STREAM {
            return Err(unknown_stream(stream, &[STREAM]));
        }
        let location = self.api.stock_location(self.stock_location.as_deref())?;
        let skus: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
        let variants = self.variants(&skus)?;
        items
            .iter()
            .map(|item| {
                let Ok(variant) = only(variants.get(&item.key), &item.key) else {
                    return Ok(Finding::Absent);
                };
                let intended: Option<Intended> = storage::get_json(&memory_of(&item.key))?;
                match (intended, variant.level_at(&location)) {
                    (Some(intended), Some(level))
                        if intended.source_version == item.source_version && intended.quantity == level =>
                    {
                        storage::delete(&memory_of(&item.key))?;
                        let now = json!({ "sku": item.key, "quantity": level });
                        Finding::present_as(variant.id.clone(), &now)
                    }
                    (Some(intended), _) if intended.source_version == item.source_version => {
                        Ok(Finding::Absent)
                    }
                    _ => Ok(Finding::Undecided),
                }
            })
            .collect()
    }
}

impl Vendure {
    /// The variants of these SKUs; unknown SKUs are not in it.
    fn variants(&self, skus: &[&str]) -> Result<HashMap<String, Vec<Variant>>> {
        #[derive(Deserialize)]
        struct Data {
            #[serde(rename = "productVariants")]
            variants: Items<Variant>,
        }
        let mut unique: Vec<&str> = skus.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let mut found: HashMap<String, Vec<Variant>> = HashMap::new();
        for skus in unique.chunks(SKUS_AT_ONCE) {
            let options = json!({ "filter": { "sku": { "in": skus } }, "take": MOST_LISTED });
            let data: Data = self
                .api
                .ask(VARIANTS, &json!({ "options": options }))
                .map_err(not_written)?;
            for variant in data.variants.items {
                found.entry(variant.sku.clone()).or_default().push(variant);
            }
        }
        Ok(found)
    }

    /// A result per level, in their order.
    fn set(&self, batch: &[WriteItem], levels: &[Wanted], location: &Location) -> Vec<Result<Outcome>> {
        #[derive(Deserialize)]
        struct Data {
            #[serde(rename = "updateProductVariants")]
            variants: Vec<Option<Variant>>,
        }
        let input: Vec<_> = levels
            .iter()
            .map(|level| {
                json!({
                    "id": level.variant,
                    "stockLevels": [{ "stockLocationId": location.id, "stockOnHand": level.quantity }],
                })
            })
            .collect();
        let answer: Result<Data> = self.api.ask(SET, &json!({ "input": input }));
        match answer {
            Ok(data) => levels
                .iter()
                .map(|level| {
                    let mut updated = data.variants.iter().flatten();
                    let variant = updated.find(|variant| variant.id == level.variant);
                    Ok(settled(
                        level,
                        variant.and_then(|variant| variant.level_at(location)),
                    ))
                })
                .collect(),
            Err(error) if error.maybe_sent() => {
                for level in levels {
                    remember(&batch[level.index].record.source_version, level);
                }
                levels
                    .iter()
                    .map(|_| Ok(Outcome::Unknown(error.clone())))
                    .collect()
            }
            Err(error) if matches!(error.code(), "data" | "not-found" | "conflict") && levels.len() > 1 => {
                levels
                    .chunks(1)
                    .flat_map(|level| self.set(batch, level, location))
                    .collect()
            }
            Err(error) => levels
                .iter()
                .map(|_| Outcome::from_error(error.clone()))
                .collect(),
        }
    }
}

/// What the level is after it was set tells whether it was.
fn settled(level: &Wanted, now: Option<i64>) -> Outcome {
    match now {
        Some(now) if now == level.quantity => Outcome::delivered(level.variant.clone()),
        now => Outcome::Retry(Error::transient(format!(
            "the stock of `{}` was set to {}, and the shop says {}",
            level.sku,
            level.quantity,
            now.map_or("that there is none".to_owned(), |now| now.to_string())
        ))),
    }
}

/// Failing to remember only means that `lookup` cannot decide, and the level is set again.
fn remember(source_version: &str, level: &Wanted) {
    let intended = Intended {
        source_version: source_version.to_owned(),
        quantity: level.quantity,
    };
    if let Err(error) = storage::put_json(&memory_of(&level.sku), &intended) {
        stecker_sdk::warn!(
            "what an unanswered request was to set is not remembered: {error}",
            sku = level.sku
        );
    }
}

fn memory_of(sku: &str) -> String {
    format!("unanswered/{sku}")
}

fn parse(record: &Record) -> Result<(String, i64), Rejection> {
    if record.operation == Operation::Delete {
        return Err(Rejection::new(
            "delete-unsupported",
            "a stock level cannot be deleted; send a quantity of 0",
        ));
    }
    let stock: StockPayload = record.payload_as()?;
    // GraphQL's Int has 32 bits.
    let whole = stock.quantity.fract() == 0.0 && stock.quantity.abs() <= f64::from(i32::MAX);
    if !whole {
        return Err(Rejection::new(
            "not-whole",
            format!(
                "the shop counts whole pieces, and {} is no such number",
                stock.quantity
            ),
        )
        .at("/quantity"));
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and within 32 bits")]
    let quantity = stock.quantity as i64;
    Ok((stock.sku, quantity))
}

fn only<'a>(found: Option<&'a Vec<Variant>>, sku: &str) -> Result<&'a Variant, Rejection> {
    match found.map(Vec::as_slice) {
        Some([variant]) => Ok(variant),
        None | Some([]) => Err(Rejection::new(
            "unknown-sku",
            format!("the shop has no variant with the SKU `{sku}`; create it there, or leave it out"),
        )
        .at("/sku")),
        Some(several) => Err(Rejection::new(
            "ambiguous-sku",
            format!(
                "{} variants of the shop have the SKU `{sku}`; give each its own",
                several.len()
            ),
        )
        .at("/sku")),
    }
}

/// Levels in the order of the batch, no SKU twice in a round, so that the last of several has the last word.
fn rounds(levels: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut rounds: Vec<(HashSet<String>, Vec<Wanted>)> = Vec::new();
    for level in levels {
        // A SKU is in all rounds up to its last one, so the first round without it is the right one.
        let free = rounds.iter_mut().find(|(skus, _)| !skus.contains(&level.sku));
        match free {
            Some((skus, round)) => {
                skus.insert(level.sku.clone());
                round.push(level);
            }
            None => rounds.push((HashSet::from([level.sku.clone()]), vec![level])),
        }
    }
    rounds.into_iter().map(|(_, round)| round).collect()
}

fn answered(rejection: Option<Rejection>) -> Result<Outcome> {
    rejection
        .map(Outcome::Rejected)
        .ok_or_else(|| Error::fatal("an item was left without an outcome"))
}

/// A search that was cut off wrote nothing, whatever the transport says.
fn not_written(error: Error) -> Error {
    let error = error.context("finding variants by SKU");
    if error.maybe_sent() {
        error.detail("sent", "no")
    } else {
        error
    }
}
