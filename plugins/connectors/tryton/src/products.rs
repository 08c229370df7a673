//! Products: found by their code, created where that is wanted.

use crate::Tryton;
use crate::amounts::{self, FINE};
use crate::batch::{Early, Outcomes, all_or_each, parsed, rounds};
use crate::values::{Decimal, decimal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use stecker_sdk::prelude::*;

pub(crate) const STREAM: &str = "products";
const TEMPLATE: &str = "product.template";
const AT_ONCE: usize = 100;

/// A product. What it says is set, what it does not mention stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProductPayload {
    /// Its code in Tryton. The record's key should be the same, so that it can be looked up.
    #[schemars(length(min = 1))]
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Its list price, a decimal text with at most four decimals. A new product without one costs 0.
    #[serde(default)]
    pub list_price: Option<String>,
}

/// A product as Tryton has it.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    id: i64,
    code: Option<String>,
    sale_uom: Option<i64>,
    #[serde(rename = "template.")]
    template: Option<Template>,
}

#[derive(Debug, Clone, Deserialize)]
struct Template {
    id: i64,
    name: Option<String>,
    list_price: Option<Decimal>,
}

/// A product that a line can be booked with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Product {
    pub(crate) id: i64,
    /// The unit that it is sold in.
    pub(crate) unit: Option<i64>,
}

impl From<&Row> for Product {
    fn from(row: &Row) -> Self {
        Self {
            id: row.id,
            unit: row.sale_uom,
        }
    }
}

impl Tryton {
    /// The products by code. What is missing is created from what is wanted, or stays missing where that is not configured.
    ///
    /// # Errors
    /// If they cannot be looked for, or the configuration does not say what is needed to create one.
    pub(crate) fn ensure_products(
        &self,
        wanted: &BTreeMap<String, ProductPayload>,
    ) -> Result<HashMap<String, Result<Product, Early>>> {
        let codes: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let mut found: HashMap<String, Result<Product, Early>> = HashMap::new();
        for row in self.products_by_code(&codes)? {
            let product = Product::from(&row);
            found.extend(row.code.map(|code| (code, Ok(product))));
        }
        let missing: Vec<&ProductPayload> = wanted
            .values()
            .filter(|product| !found.contains_key(&product.sku))
            .collect();
        if missing.is_empty() || !self.config.create_missing_products {
            return Ok(found);
        }
        let mut made: Vec<&str> = Vec::new();
        for (product, result) in missing.iter().zip(self.create_products(&missing)?) {
            match result {
                Ok(_template) => made.push(&product.sku),
                Err(early) => {
                    found.insert(product.sku.clone(), Err(early));
                }
            }
        }
        for row in self.products_by_code(&made)? {
            let product = Product::from(&row);
            found.extend(row.code.map(|code| (code, Ok(product))));
        }
        Ok(found)
    }

    /// Ids of the templates.
    fn create_products(&self, products: &[&ProductPayload]) -> Result<Vec<Result<i64, Early>>> {
        let (unit, category) = (self.unit()?, self.category()?);
        let values: Vec<Value> = products
            .iter()
            .map(|product| {
                json!({
                    "name": product.name,
                    "type": "goods",
                    "default_uom": unit,
                    "salable": true,
                    "sale_uom": unit,
                    "list_price": decimal(product.list_price.as_deref().unwrap_or("0")),
                    "account_category": category,
                    // The template has no code, so the suffix is the whole of the product's.
                    "products": [["create", [{ "suffix_code": product.sku }]]],
                })
            })
            .collect();
        let made = all_or_each(&values, |values| self.rpc.create(TEMPLATE, values));
        Ok(made
            .into_iter()
            .map(|made| made.map_err(|failure| failure.of_something_needed().outcome()))
            .collect())
    }

    fn products_by_code(&self, codes: &[&str]) -> Result<Vec<Row>> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let fields = ["code", "sale_uom", "template.name", "template.list_price"];
        self.rpc
            .read("product.product", json!([["code", "in", codes]]), &fields)
    }

    pub(crate) fn write_products(&self, batch: &[WriteItem]) -> Result<Vec<Outcome>> {
        let mut outcomes = Outcomes::new(batch);
        let products = parsed(batch, &mut outcomes, parse);
        for round in rounds(products, AT_ONCE, |product: &ProductPayload| product.sku.clone()) {
            if let Err(error) = self.write_products_once(&round, &mut outcomes) {
                for (index, _) in &round {
                    outcomes.set(*index, Err(error.clone()));
                }
            }
        }
        outcomes.settle()
    }

    /// Every code once.
    fn write_products_once(&self, round: &[(usize, ProductPayload)], outcomes: &mut Outcomes) -> Result<()> {
        let codes: Vec<&str> = round.iter().map(|(_, product)| product.sku.as_str()).collect();
        let rows = self.products_by_code(&codes)?;
        let mut new: Vec<(usize, &ProductPayload)> = Vec::new();
        let mut changed: Vec<(usize, i64)> = Vec::new();
        let mut writes: Vec<(i64, Value)> = Vec::new();
        for (index, product) in round {
            let row = rows.iter().find(|row| row.code.as_deref() == Some(&product.sku));
            match row {
                None if self.config.create_missing_products => new.push((*index, product)),
                None => outcomes.set(*index, Ok(unknown_product(&product.sku, "/sku").into())),
                Some(row) => match change_of(product, row) {
                    None => outcomes.set(*index, Ok(Outcome::duplicate(row.id.to_string()))),
                    Some(write) => {
                        changed.push((*index, row.id));
                        writes.push(write);
                    }
                },
            }
        }
        let written = all_or_each(&writes, |writes| self.write_rows(TEMPLATE, writes));
        for ((index, id), written) in changed.into_iter().zip(written) {
            let done = written.map(|()| Outcome::delivered(id.to_string()));
            outcomes.set(
                index,
                done.or_else(|failure| failure.of_something_needed().outcome()),
            );
        }
        if new.is_empty() {
            return Ok(());
        }
        let payloads: Vec<&ProductPayload> = new.iter().map(|(_, product)| *product).collect();
        let made = match self.create_products(&payloads) {
            Ok(made) => made,
            Err(error) => {
                new.iter()
                    .for_each(|(index, _)| outcomes.set(*index, Err(error.clone())));
                return Ok(());
            }
        };
        // The id of the product, which is not the template's, is a courtesy; without it the product is there all the same.
        let skus: Vec<&str> = payloads.iter().map(|product| product.sku.as_str()).collect();
        let rows = self.products_by_code(&skus).unwrap_or_else(|error| {
            stecker_sdk::debug!("the ids of new products could not be read: {error}");
            Vec::new()
        });
        for ((index, product), made) in new.into_iter().zip(made) {
            let row = rows.iter().find(|row| row.code.as_deref() == Some(&product.sku));
            let receipt = row.map_or_else(Receipt::without_id, |row| Receipt::with_id(row.id.to_string()));
            outcomes.set(
                index,
                made.map(|_| Outcome::Delivered(receipt)).or_else(|early| early),
            );
        }
        Ok(())
    }

    /// Whether a product is there says nothing of its state; but to write it again is harmless.
    pub(crate) fn lookup_products(&self, codes: &[&str]) -> Result<Vec<Finding>> {
        let rows = self.products_by_code(codes)?;
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

/// A refusal because of a code that Tryton does not know.
pub(crate) fn unknown_product(sku: &str, path: &str) -> Rejection {
    Rejection::new(
        "unknown-product",
        format!(
            "Tryton has no product with the code `{sku}`; create it there, or set `create_missing_products`"
        ),
    )
    .at(path)
}

fn parse(record: &Record) -> Result<ProductPayload, Rejection> {
    let product: ProductPayload = record.payload_as()?;
    if product.sku.trim().is_empty() {
        return Err(Rejection::new("no-code", "a product needs a code to be found by").at("/sku"));
    }
    let price = product.list_price.as_deref();
    if price.is_some_and(|price| amounts::parse(price, FINE).is_none()) {
        return Err(Rejection::new(
            "not-an-amount",
            "a price is a decimal text with at most four decimals, such as \"12.90\"",
        )
        .at("/list_price"));
    }
    Ok(product)
}

/// What has to be written to which template.
fn change_of(product: &ProductPayload, row: &Row) -> Option<(i64, Value)> {
    let template = row.template.as_ref()?;
    let mut change = serde_json::Map::new();
    if template.name.as_deref() != Some(&product.name) {
        change.insert("name".to_owned(), json!(product.name));
    }
    if let Some(price) = &product.list_price {
        let now = template.list_price.as_ref().map(|price| price.decimal.as_str());
        let same = now.is_some_and(|now| amounts::parse(now, FINE) == amounts::parse(price, FINE));
        if !same {
            change.insert("list_price".to_owned(), decimal(price));
        }
    }
    (!change.is_empty()).then_some((template.id, Value::Object(change)))
}
