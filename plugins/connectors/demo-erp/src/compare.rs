//! Comparing sales orders.
//!
//! The ERP lists its sales by reference and cannot sum them up itself, so both functions read the list. Sums still spare the host a list of
//! its own where nothing differs, which is the rule; beyond some thousand sales they would take longer than a call may.

use crate::DemoErp;
use crate::orders::{STREAM, Sale, payload};
use std::collections::BTreeMap;
use stecker_sdk::prelude::*;
use stecker_sdk::reconcile::Sums;

/// References on one page of the ERP's.
const PAGE: usize = 100;
/// The most sales that are summed up in one call.
const SUMMED: u64 = 10_000;
/// Pages of the ERP's that are read in one call of a list.
const PAGES: usize = 50;

/// What `GET /v2/sales-orders/list` answers.
#[derive(Deserialize)]
struct SalesPage {
    sales_orders: Vec<Sale>,
    next: Option<String>,
}

/// The last reference of the page before.
#[derive(Serialize, Deserialize)]
struct After {
    reference: String,
}

impl Reconcile for DemoErp {
    fn digest(&self, question: &Question, split: u32) -> Result<Vec<Bucket>> {
        check(question)?;
        let mut sums = Sums::new(question, split)?;
        let mut after = None;
        let mut seen = 0;
        loop {
            let page = self.page(after.as_deref(), PAGE)?;
            for (reference, sales) in by_reference(&page.sales_orders) {
                for sale in sales {
                    seen += 1;
                    sums.add(reference, &question.digest_of(&payload(sale))?, 1);
                }
            }
            if seen > SUMMED {
                return Err(Error::unsupported(format!(
                    "more than {SUMMED} sales are not summed up in one call; they have to be listed"
                )));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(sums.done()),
            }
        }
    }

    fn list_keys(&self, question: &Question, after: Option<&str>, limit: u32) -> Result<Listing> {
        check(question)?;
        let after: Option<After> = after.map(serde_json::from_str).transpose()?;
        let mut after = after.map(|after| after.reference);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let mut entries = Vec::new();
        for _ in 0..PAGES {
            if entries.len() >= limit {
                break;
            }
            let page = self.page(after.as_deref(), PAGE.min(limit - entries.len()))?;
            for (reference, sales) in by_reference(&page.sales_orders) {
                if !question.asks_for(reference) {
                    continue;
                }
                let Some(first) = sales.first() else { continue };
                let mut entry =
                    Entry::new(reference, question.digest_of(&payload(first))?).with_id(&first.id);
                entry.copies = u32::try_from(sales.len()).unwrap_or(u32::MAX);
                entries.push(entry);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let next = after
            .map(|reference| serde_json::to_string(&After { reference }))
            .transpose()?;
        Ok(Listing { entries, next })
    }
}

fn check(question: &Question) -> Result<()> {
    if question.stream == STREAM {
        Ok(())
    } else {
        Err(unknown_stream(&question.stream, &[STREAM]))
    }
}

/// Several sales of one reference are several things with one key.
fn by_reference(sales: &[Sale]) -> BTreeMap<&str, Vec<&Sale>> {
    let mut by_reference: BTreeMap<&str, Vec<&Sale>> = BTreeMap::new();
    for sale in sales {
        by_reference.entry(&sale.reference).or_default().push(sale);
    }
    by_reference
}

impl DemoErp {
    fn page(&self, after: Option<&str>, limit: usize) -> Result<SalesPage> {
        self.api
            .get("/sales-orders/list")
            .query("limit", limit.max(1))
            .query_opt("after", after)
            .send()?
            .error_for_status()?
            .json()
    }
}
