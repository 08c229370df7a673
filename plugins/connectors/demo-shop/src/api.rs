//! The shop's shapes. Amounts are decimal texts and stay texts: as numbers they would be rounded.

use stecker_sdk::prelude::*;

/// An order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) id: u64,
    /// What people call the order.
    #[cfg_attr(feature = "v2", serde(alias = "reference"))]
    pub(crate) number: String,
    /// RFC 3339 in UTC.
    pub(crate) updated_at: String,
    /// 1 at first, one more with every change.
    pub(crate) version: u64,
    pub(crate) customer: Customer,
    /// ISO 4217.
    pub(crate) currency: String,
    /// Decimal, in the currency.
    #[cfg_attr(feature = "v2", serde(deserialize_with = "crate::amount::plain"))]
    pub(crate) total: String,
    pub(crate) lines: Vec<Line>,
    /// `paid`, `packed` or `shipped`.
    pub(crate) status: String,
}

/// Who bought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Customer {
    pub(crate) id: u64,
    pub(crate) email: String,
    pub(crate) name: String,
}

/// One position of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
    /// Decimal, in the order's currency.
    pub(crate) unit_price: String,
}

/// An article.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Product {
    pub(crate) id: u64,
    pub(crate) sku: String,
    pub(crate) name: String,
    /// ISO 4217.
    pub(crate) currency: String,
    /// Decimal, in the currency.
    pub(crate) price: String,
    /// RFC 3339 in UTC.
    pub(crate) updated_at: String,
    /// 1 at first, one more with every change.
    pub(crate) version: u64,
}

/// What is written for an article. Other fields of the payload are left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StockLevel {
    pub(crate) sku: String,
    /// Pieces; may be negative.
    pub(crate) quantity: i64,
}

/// What orders and products have in common: a place in a listing, and a version.
pub(crate) trait Listed: Serialize + serde::de::DeserializeOwned {
    /// The stream, the last part of the address, and the field of the answer.
    const NAME: &'static str;
    fn id(&self) -> u64;
    fn updated_at(&self) -> &str;
    fn version(&self) -> u64;

    /// The record that this state of the thing is, the same whether it was read or pushed.
    fn to_record(&self) -> Result<Record> {
        let version = source_version::counter(self.version());
        let changed = stecker_sdk::time::millis_from_rfc3339(self.updated_at())?;
        Ok(Record::upsert(Self::NAME, self.id().to_string(), version, self)?.at(changed))
    }
}

impl Listed for Order {
    const NAME: &'static str = "orders";
    fn id(&self) -> u64 {
        self.id
    }
    fn updated_at(&self) -> &str {
        &self.updated_at
    }
    fn version(&self) -> u64 {
        self.version
    }

    /// The fault: articles under another name, which no system behind knows.
    #[cfg(feature = "faulty")]
    fn to_record(&self) -> Result<Record> {
        let mut order = self.clone();
        for line in &mut order.lines {
            line.sku = format!("{}-v3", line.sku);
        }
        let version = source_version::counter(order.version);
        let changed = stecker_sdk::time::millis_from_rfc3339(&order.updated_at)?;
        Ok(Record::upsert(Self::NAME, order.id.to_string(), version, &order)?.at(changed))
    }
}

impl Listed for Product {
    const NAME: &'static str = "products";
    fn id(&self) -> u64 {
        self.id
    }
    fn updated_at(&self) -> &str {
        &self.updated_at
    }
    fn version(&self) -> u64 {
        self.version
    }
}
