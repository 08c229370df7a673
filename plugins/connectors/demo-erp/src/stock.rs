//! Reading stock.

use crate::DemoErp;
use stecker_sdk::prelude::*;

/// The most that the ERP lists at once.
const MOST: u32 = 100;

/// The level of an article.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StockLevel {
    sku: String,
    /// Pieces; negative if more was sold than there was.
    quantity: i64,
    /// Counts the changes of all levels; the greater one is the later.
    seq: u64,
    /// RFC 3339 in UTC.
    updated_at: String,
}

/// The sequence number of the last level read.
#[derive(Serialize, Deserialize)]
struct After {
    seq: u64,
}

#[derive(Deserialize)]
struct Listing {
    stock: Vec<StockLevel>,
    next: Option<u64>,
}

impl Source for DemoErp {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        if request.stream != "stock" {
            return Err(unknown_stream(&request.stream, &["stock"]));
        }
        let after: Option<After> = request.cursor_as()?;
        let listing: Listing = self
            .api
            .get("/stock")
            .query("limit", request.limit(MOST))
            .query_opt("changed_since", after.map(|after| after.seq))
            .send()?
            .error_for_status()?
            .json()?;
        let mut budget = request.budget();
        let mut page = Page::new(Vec::new())
            .resume_where(request)
            .more(listing.next.is_some());
        let mut last = None;
        for level in &listing.stock {
            let version = source_version::counter(level.seq);
            let changed = stecker_sdk::time::millis_from_rfc3339(&level.updated_at)?;
            let record = Record::upsert("stock", &level.sku, version, level)?.at(changed);
            if !budget.take(&record) {
                page = page.more(true);
                break;
            }
            page.records.push(record);
            last = Some(After { seq: level.seq });
        }
        match last {
            Some(last) => page.resume_at(&last),
            None => Ok(page.more(false)),
        }
    }
}
