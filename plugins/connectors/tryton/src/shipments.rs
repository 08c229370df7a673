//! Shipments: what was shipped of a sale that came from outside.
//!
//! A record is a sale with a reference, as soon as there is something to ship. Tryton writes to the sale whenever
//! `shipment_state` changes, so the stream goes by the sale's time of change. That is when the transaction *began*: the last
//! `overlap_seconds` are read again each time, and the cursor knows what it has of these.

use crate::Tryton;
use crate::rpc::Query;
use crate::values::{Day, Stamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use stecker_sdk::prelude::*;
use stecker_sdk::time;

pub(crate) const STREAM: &str = "shipments";
const MOST: u32 = 200;

/// What was shipped of a sale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShipmentPayload {
    /// The reference of the sale: the number of the order at its origin.
    pub reference: String,
    /// Tryton's number of the sale.
    pub number: Option<String>,
    /// State of the sale: `processing` or `done`, mostly.
    pub sale_state: String,
    /// `waiting`, `partially shipped`, `sent` or `exception`.
    pub shipment_state: String,
    /// Its shipments.
    pub shipments: Vec<Shipment>,
    /// When the sale last changed, RFC 3339.
    pub changed_at: String,
}

/// A shipment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shipment {
    /// Tryton's number of it.
    pub number: Option<String>,
    /// For example `waiting`, `assigned`, `picked`, `packed`, `shipped` or `done`.
    pub state: String,
    /// The day on which it was shipped, as `2026-11-21`.
    pub shipped_on: Option<String>,
}

/// Where reading goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Cursor {
    /// All that changed before is known.
    since: String,
    /// Within a pass of several pages: how far it is.
    at: Option<At>,
    /// What was read of the sales that changed lately: their time of change, by sale.
    known: BTreeMap<i64, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct At {
    /// Behind this time …
    changed: String,
    /// … and sale.
    id: i64,
    /// Where the next pass begins. It is fixed when the pass begins: what was not visible then may be behind it.
    next: String,
}

#[derive(Debug, Deserialize)]
struct Changed {
    write_date: Stamp,
}

#[derive(Debug, Deserialize)]
struct Sale {
    id: i64,
    number: Option<String>,
    reference: String,
    state: String,
    shipment_state: String,
    write_date: Stamp,
    #[serde(rename = "shipments.", default)]
    shipments: Vec<WireShipment>,
}

#[derive(Debug, Deserialize)]
struct WireShipment {
    number: Option<String>,
    state: String,
    effective_date: Option<Day>,
}

impl Sale {
    fn record(&self) -> Result<Record> {
        let changed_at = self.write_date.text();
        let shipments = self.shipments.iter().map(|shipment| Shipment {
            number: shipment.number.clone(),
            state: shipment.state.clone(),
            shipped_on: shipment.effective_date.as_ref().map(Day::text),
        });
        let payload = ShipmentPayload {
            reference: self.reference.clone(),
            number: self.number.clone(),
            sale_state: self.state.clone(),
            shipment_state: self.shipment_state.clone(),
            shipments: shipments.collect(),
            changed_at: changed_at.clone(),
        };
        let version = source_version::timestamp(&changed_at)?;
        Ok(Record::upsert(STREAM, &self.reference, version, &payload)?.at(self.write_date.millis()))
    }
}

impl Tryton {
    pub(crate) fn read_shipments(&self, request: &ReadRequest) -> Result<Page> {
        let mut cursor = request.cursor_as()?.unwrap_or_else(|| Cursor {
            since: time::rfc3339_from_millis(0),
            ..Cursor::default()
        });
        let limit = request.limit(MOST);
        let sales = self.sales_changed(&cursor, limit)?;
        let mut budget = request.budget();
        let mut records = Vec::new();
        let mut cut = false;
        let mut last: Option<&Sale> = None;
        for sale in &sales {
            let changed = sale.write_date.text();
            if cursor.known.get(&sale.id) != Some(&changed) {
                let record = sale.record()?;
                if !budget.take(&record) {
                    cut = true;
                    break;
                }
                records.push(record);
                cursor.known.insert(sale.id, changed);
            }
            last = Some(sale);
        }
        let more = cut || sales.len() == limit as usize;
        if let Some(last) = last {
            let next = match &cursor.at {
                Some(at) => at.next.clone(),
                None => {
                    let newest = if more { self.newest_change()? } else { None };
                    let newest = newest.map_or(last.write_date, |newest| newest.max(last.write_date));
                    let since = Stamp::parse(&cursor.since)?;
                    newest.before(self.config.overlap_seconds).max(since).text()
                }
            };
            cursor.known.retain(|_, changed| *changed >= next);
            let (changed, id) = (last.write_date.text(), last.id);
            cursor.at = more.then(|| At {
                changed,
                id,
                next: next.clone(),
            });
            if !more {
                cursor.since = next;
            }
        } else if let Some(at) = cursor.at.take() {
            cursor.since = at.next;
        }
        Page::new(records).more(more).resume_at(&cursor)
    }

    fn newest_change(&self) -> Result<Option<Stamp>> {
        let query = Query {
            domain: json!([["write_date", "!=", null]]),
            limit: Some(1),
            order: json!([["write_date", "DESC"]]),
            ..Query::default()
        };
        let rows: Vec<Changed> = self.rpc.read_some("sale.sale", &query, &["write_date"])?;
        Ok(rows.first().map(|row| row.write_date))
    }

    fn sales_changed(&self, cursor: &Cursor, limit: u32) -> Result<Vec<Sale>> {
        let from: Value = match &cursor.at {
            None => json!(["write_date", ">=", Stamp::parse(&cursor.since)?.wire()]),
            Some(At { changed, id, .. }) => {
                let changed = Stamp::parse(changed)?.wire();
                json!([
                    "OR",
                    ["write_date", ">", changed],
                    [["write_date", "=", changed], ["id", ">", id]]
                ])
            }
        };
        let query = Query {
            domain: json!([["reference", "!=", null], ["shipment_state", "!=", "none"], from]),
            limit: Some(limit),
            order: json!([["write_date", "ASC"], ["id", "ASC"]]),
            ..Query::default()
        };
        let fields = [
            "number",
            "reference",
            "state",
            "shipment_state",
            "write_date",
            "shipments.number",
            "shipments.state",
            "shipments.effective_date",
        ];
        self.rpc.read_some("sale.sale", &query, &fields)
    }
}
