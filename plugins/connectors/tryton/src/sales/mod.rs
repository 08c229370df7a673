//! Sales: each reference once.
//!
//! A batch is written in this order, each step one call for all of it:
//!
//! 1. Look for sales with these references. One that is there and confirmed is a duplicate; a draft or a quotation is
//!    continued; in both cases only if its total is the record's.
//! 2. Find or make what the new ones need: products, parties, addresses.
//! 3. Create them as drafts, and read back what they come to. A draft that does not come to the record's total is taken back.
//! 4. Quote, confirm, and read back the state.
//!
//! If an answer is lost in step 3 or 4, the outcome is unknown; `lookup` then looks for the reference, and a repetition
//! begins with step 1. What is refused in step 4 is taken back if this call made it, so that nothing half-done stays.

mod compare;
mod payload;
mod write;

use crate::Tryton;
use crate::amounts::{self, MONEY};
use crate::values::Decimal;
use serde_json::json;
use stecker_sdk::prelude::*;

pub(crate) use payload::Order;
pub use payload::{SaleLine, SalePayload};

pub(crate) const STREAM: &str = "sales";
pub(crate) const MODEL: &str = "sale.sale";
/// What is read of a sale.
const FIELDS: [&str; 5] = ["reference", "number", "state", "total_amount", "currency.code"];
/// The places of a record that a sale keeps as they were written. Parties are merged, lines are renumbered and priced, dates depend on the state:
/// a digest of those would be one of this connector's own making.
pub(crate) const COMPARED: [&str; 2] = ["/currency", "/total"];

/// A sale as Tryton has it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) reference: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) state: String,
    total_amount: Option<Decimal>,
    #[serde(rename = "currency.")]
    currency: Option<Currency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Currency {
    code: Option<String>,
}

impl Row {
    /// In hundredths; none if it has more decimals.
    pub(crate) fn total(&self) -> Option<i128> {
        let total = self.total_amount.as_ref()?;
        amounts::parse(&total.decimal, MONEY)
    }

    pub(crate) fn total_text(&self) -> String {
        match (self.total(), &self.total_amount) {
            (Some(total), _) => amounts::text(total, MONEY),
            (None, Some(total)) => total.decimal.clone(),
            (None, None) => "nothing".to_owned(),
        }
    }

    pub(crate) fn currency(&self) -> &str {
        let code = self
            .currency
            .as_ref()
            .and_then(|currency| currency.code.as_deref());
        code.unwrap_or_default()
    }

    /// Whether it is booked: confirmed, or beyond. A cancelled one is too: somebody decided so, and a sale made anew would undo
    /// that.
    pub(crate) fn is_booked(&self) -> bool {
        !matches!(self.state.as_str(), "draft" | "quotation")
    }

    /// Its id, and what a person knows it by.
    pub(crate) fn receipt(&self) -> Receipt {
        let receipt = Receipt::with_id(self.id.to_string())
            .attribute("state", &self.state)
            .attribute("total", self.total_text());
        match &self.number {
            Some(number) => receipt.attribute("number", number),
            None => receipt,
        }
    }
}

impl Tryton {
    pub(crate) fn sales_by_reference(&self, references: &[&str]) -> Result<Vec<Row>> {
        self.sales(json!([["reference", "in", references]]))
    }

    pub(crate) fn sales_by_id(&self, ids: &[i64]) -> Result<Vec<Row>> {
        self.sales(json!([["id", "in", ids]]))
    }

    fn sales(&self, domain: serde_json::Value) -> Result<Vec<Row>> {
        self.rpc.read(MODEL, domain, &FIELDS)
    }

    /// A draft or a quotation is an earlier state, which writing again continues.
    pub(crate) fn lookup_sales(&self, references: &[&str]) -> Result<Vec<Finding>> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.sales_by_reference(references)?;
        references
            .iter()
            .map(|reference| {
                let mut of_this = rows
                    .iter()
                    .filter(|row| row.reference.as_deref() == Some(reference));
                let Some(row) = of_this.find(|row| row.is_booked()) else {
                    return Ok(Finding::Absent);
                };
                let now = json!({
                    "reference": reference,
                    "number": row.number,
                    "state": row.state,
                    "currency": row.currency(),
                    "total": row.total_text(),
                });
                Finding::present_as(row.id.to_string(), &now)
            })
            .collect()
    }
}
