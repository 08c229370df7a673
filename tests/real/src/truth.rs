//! Reads both systems directly, past the product, to compare what it claims with what is there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::running::RunningReal;

/// Largest page that Vendure allows is 1000; both are read in pages of this size.
const PAGE: usize = 100;

/// One order or sale with what the customer pays in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    /// The order's code in the shop, the sale's `reference` in the ERP.
    pub reference: String,
    /// Euro with two decimals, tax and shipping included: `"36.92"`.
    pub total: String,
    /// The system's own word, for instance `PaymentSettled` or `processing`.
    pub state: String,
}

impl RunningReal {
    /// All placed orders of the shop, ordered by reference.
    ///
    /// # Errors
    /// If the shop does not answer, or answers with an error.
    pub async fn vendure_orders(&self) -> Result<Vec<Amount>> {
        const QUERY: &str =
            "query($o: OrderListOptions) { orders(options: $o) { items { code state totalWithTax } } }";
        let mut found = Vec::new();
        loop {
            let options = json!({ "filter": { "active": { "eq": false } }, "sort": { "id": "ASC" },
                "skip": found.len(), "take": PAGE });
            let data = self.vendure(QUERY, json!({ "o": options })).await?;
            let items = data["orders"]["items"]
                .as_array()
                .context("the shop's answer has no orders")?;
            for item in items {
                let cents = item["totalWithTax"]
                    .as_i64()
                    .context("an order has no total in whole cents")?;
                found.push(Amount {
                    reference: text(item, "code")?,
                    total: euro(cents),
                    state: text(item, "state")?,
                });
            }
            if items.len() < PAGE {
                found.sort();
                return Ok(found);
            }
        }
    }

    /// All sales of the ERP that carry a reference, ordered by it; one that was made twice is here twice.
    ///
    /// # Errors
    /// If the ERP does not answer, or answers with an error.
    pub async fn tryton_sales(&self) -> Result<Vec<Amount>> {
        let mut found = Vec::new();
        loop {
            let params = json!([
                [["reference", "!=", null]],
                found.len(),
                PAGE,
                [["id", "ASC"]],
                ["reference", "total_amount", "state"]
            ]);
            let rows = self.tryton("model.sale.sale.search_read", params).await?;
            let rows = rows.as_array().context("the ERP's answer is not a list")?;
            for row in rows {
                let total = row["total_amount"]["decimal"]
                    .as_str()
                    .context("a sale has no total")?;
                found.push(Amount {
                    reference: text(row, "reference")?,
                    total: two_decimals(total)?,
                    state: text(row, "state")?,
                });
            }
            if rows.len() < PAGE {
                found.sort();
                return Ok(found);
            }
        }
    }

    /// Units on hand in the shop, by SKU.
    ///
    /// # Errors
    /// If the shop does not answer, or answers with an error.
    pub async fn vendure_stock(&self) -> Result<BTreeMap<String, i64>> {
        const QUERY: &str = "query($o: ProductVariantListOptions) { productVariants(options: $o) \
                             { items { sku stockLevels { stockOnHand } } } }";
        let mut found = BTreeMap::new();
        let mut read = 0;
        loop {
            let options = json!({ "sort": { "id": "ASC" }, "skip": read, "take": PAGE });
            let data = self.vendure(QUERY, json!({ "o": options })).await?;
            let items = data["productVariants"]["items"]
                .as_array()
                .context("the shop's answer has no variants")?;
            for item in items {
                let levels = item["stockLevels"].as_array().into_iter().flatten();
                let on_hand = levels.filter_map(|level| level["stockOnHand"].as_i64()).sum();
                found.insert(text(item, "sku")?, on_hand);
            }
            read += items.len();
            if items.len() < PAGE {
                return Ok(found);
            }
        }
    }

    /// Units in the ERP's warehouse today, by product code; products without a code are left out.
    ///
    /// # Errors
    /// If the ERP does not answer, or answers with an error.
    pub async fn tryton_stock(&self) -> Result<BTreeMap<String, i64>> {
        let warehouses = json!([[["type", "=", "warehouse"]], 0, null, null, ["id"]]);
        let warehouses = self
            .tryton("model.stock.location.search_read", warehouses)
            .await?;
        let locations: Vec<i64> = warehouses
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["id"].as_i64())
            .collect();
        let mut found = BTreeMap::new();
        let mut read = 0;
        loop {
            let params = json!([
                [["code", "!=", null]],
                read,
                PAGE,
                [["id", "ASC"]],
                ["code", "quantity"]
            ]);
            let context = json!({ "locations": locations });
            let rows = self
                .tryton_in("model.product.product.search_read", params, context)
                .await?;
            let rows = rows.as_array().context("the ERP's answer is not a list")?;
            for row in rows {
                let quantity = row["quantity"].as_f64().context("a product has no quantity")?;
                #[allow(clippy::cast_possible_truncation, reason = "whole pieces of a seeded stock")]
                found.insert(text(row, "code")?, quantity.round() as i64);
            }
            read += rows.len();
            if rows.len() < PAGE {
                return Ok(found);
            }
        }
    }

    /// One GraphQL request to the shop's admin API with the connector's key; returns `data`.
    ///
    /// # Errors
    /// If the shop does not answer, or answers with `errors`.
    pub async fn vendure(&self, query: &str, variables: Value) -> Result<Value> {
        let request = self
            .http
            .post(self.vendure_admin_url())
            .header("vendure-api-key", self.vendure_api_key())
            .json(&json!({ "query": query, "variables": variables }));
        let mut answer: Value = request
            .send()
            .await?
            .json()
            .await
            .context("the shop's answer is not JSON")?;
        match answer.get("errors") {
            Some(errors) => bail!("the shop refused: {errors}"),
            None => Ok(answer["data"].take()),
        }
    }

    /// One call of the ERP's RPC as the connector's user; returns `result`. `params` is the list without the context.
    ///
    /// # Errors
    /// If the ERP does not answer, refuses the user, or answers with `error`.
    pub async fn tryton(&self, method: &str, params: Value) -> Result<Value> {
        self.tryton_in(method, params, json!({})).await
    }

    /// As [`RunningReal::tryton`], with more in the call's context than the company.
    ///
    /// # Errors
    /// As [`RunningReal::tryton`].
    pub async fn tryton_in(&self, method: &str, mut params: Value, mut context: Value) -> Result<Value> {
        context["company"] = self.tryton_company().into();
        params
            .as_array_mut()
            .context("the parameters of a call are a list")?
            .push(context);
        let request = self
            .http
            .post(format!("{}rpc/", self.tryton_url()))
            .basic_auth(self.tryton_user(), Some(self.tryton_password()))
            .json(&json!({ "id": 1, "method": method, "params": params }));
        let response = request
            .send()
            .await?
            .error_for_status()
            .with_context(|| format!("calling {method}"))?;
        let mut answer: Value = response.json().await.context("the ERP's answer is not JSON")?;
        match answer.get("error") {
            Some(error) => bail!("the ERP refused {method}: {error}"),
            None => Ok(answer["result"].take()),
        }
    }
}

fn text(row: &Value, field: &str) -> Result<String> {
    row[field]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{row} has no {field}"))
}

fn euro(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// Writes a decimal with exactly two places; one that needs more is an error, because rounding it would hide it.
fn two_decimals(decimal: &str) -> Result<String> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let kept = fraction.trim_end_matches('0');
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if kept.len() > 2 || !digits(kept) || !digits(whole.trim_start_matches('-')) {
        bail!("{decimal} is not an amount in whole cents");
    }
    Ok(format!("{whole}.{kept:0<2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_both_systems_are_written_the_same_way() {
        assert_eq!(euro(3692), two_decimals("36.92").unwrap());
        assert_eq!(euro(-5), two_decimals("-0.0500").unwrap());
        assert_eq!(euro(1200), two_decimals("12").unwrap());
        assert!(two_decimals("0.005").is_err());
        assert!(two_decimals("1E+2").is_err());
    }
}
