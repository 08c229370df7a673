//! Stock: how much there is of each product.
//!
//! Quantities are computed from moves and have no time of change. So the stream begins with all products, and from then on
//! the moves that changed say which products to look at. A change of Tryton bears the time at which its transaction *began*,
//! so moves are looked for again for `overlap_seconds`; what was read last of these products is in the cursor, so that only
//! differences become records.
//!
//! The version is the time of reading, never less than the one before: a quantity that goes from 5 to 7 and back to 5
//! is three states, and none may be taken for another.

use crate::Tryton;
use crate::rpc::Query;
use crate::values::Stamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use stecker_sdk::prelude::*;
use stecker_sdk::{clock, time};

pub(crate) const STREAM: &str = "stock";
const MOST: u32 = 500;
const MOVES_AT_ONCE: u32 = 1_000;

/// How much there is of a product, at the configured locations together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StockPayload {
    /// The product's code.
    pub sku: String,
    /// What is there, in the product's default unit. Negative if more went out than ever came in.
    pub quantity: f64,
    /// The same with what is planned to come and go.
    pub forecast_quantity: f64,
}

/// Where reading goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cursor {
    /// All that changed before is known.
    since: String,
    /// The highest time of reading so far, in milliseconds.
    read_at: u64,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// All products, by id; behind this one.
    All { after: i64 },
    /// Those that moved.
    Moved {
        /// Within a pass of several pages: behind this product.
        after: i64,
        /// Within a pass of several pages: where the next pass begins. It is fixed when the pass begins, because what
        /// moves while it goes on may be behind it.
        next: Option<String>,
        /// What was read last of the products that moved lately, by product.
        known: BTreeMap<i64, Amount>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Amount(f64, f64);

#[derive(Debug, Deserialize)]
struct Product {
    id: i64,
    code: String,
    quantity: Option<f64>,
    forecast_quantity: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Move {
    id: i64,
    product: Option<i64>,
    write_date: Option<Stamp>,
    create_date: Option<Stamp>,
}

impl Move {
    /// Null until the first change.
    fn changed(&self) -> Option<Stamp> {
        self.write_date.or(self.create_date)
    }
}

impl Product {
    fn amount(&self) -> Amount {
        Amount(
            self.quantity.unwrap_or(0.0),
            self.forecast_quantity.unwrap_or(0.0),
        )
    }

    fn record(&self, read_at: u64) -> Result<Record> {
        let Amount(quantity, forecast_quantity) = self.amount();
        let payload = StockPayload {
            sku: self.code.clone(),
            quantity,
            forecast_quantity,
        };
        Ok(Record::upsert(STREAM, &self.code, source_version::millis(read_at), &payload)?.at(read_at))
    }
}

impl Tryton {
    pub(crate) fn read_stock(&self, request: &ReadRequest) -> Result<Page> {
        match request.cursor_as::<Cursor>()? {
            None => {
                let cursor = Cursor {
                    since: self.last_move()?.before(self.config.overlap_seconds).text(),
                    read_at: clock::now(),
                    phase: Phase::All { after: 0 },
                };
                self.read_all(request, cursor, 0)
            }
            Some(mut cursor) => {
                cursor.read_at = clock::now().max(cursor.read_at + 1);
                match cursor.phase.clone() {
                    Phase::All { after } => self.read_all(request, cursor, after),
                    Phase::Moved { after, next, known } => {
                        self.read_moved(request, cursor, (after, next), known)
                    }
                }
            }
        }
    }

    fn read_all(&self, request: &ReadRequest, mut cursor: Cursor, after: i64) -> Result<Page> {
        let limit = request.limit(MOST);
        let domain = json!([["code", "!=", null], ["code", "!=", ""], ["id", ">", after]]);
        let products = self.quantities(domain, limit)?;
        let mut budget = request.budget();
        let mut records = Vec::new();
        let mut last = after;
        for product in &products {
            let record = product.record(cursor.read_at)?;
            if !budget.take(&record) {
                break;
            }
            records.push(record);
            last = product.id;
        }
        let more = products.len() == limit as usize || records.len() < products.len();
        cursor.phase = if more {
            Phase::All { after: last }
        } else {
            Phase::Moved {
                after: 0,
                next: None,
                known: BTreeMap::new(),
            }
        };
        Page::new(records).more(more).resume_at(&cursor)
    }

    fn read_moved(
        &self,
        request: &ReadRequest,
        mut cursor: Cursor,
        (after, next): (i64, Option<String>),
        mut known: BTreeMap<i64, Amount>,
    ) -> Result<Page> {
        let since = Stamp::parse(&cursor.since)?;
        let moved = self.moved_since(since)?;
        let next = match next {
            Some(next) => Stamp::parse(&next)?,
            None => {
                let newest = moved.values().max();
                newest.map_or(since, |newest| {
                    newest.before(self.config.overlap_seconds).max(since)
                })
            }
        };
        let limit = request.limit(MOST) as usize;
        let ids: Vec<i64> = moved.range(after + 1..).map(|(id, _)| *id).take(limit).collect();
        let mut products = if ids.is_empty() {
            Vec::new()
        } else {
            let domain = json!([["id", "in", ids], ["code", "!=", null], ["code", "!=", ""]]);
            self.quantities(domain, request.limit(MOST))?
        };
        products.sort_by_key(|product| product.id);

        let mut budget = request.budget();
        let mut records = Vec::new();
        let mut last = ids.last().copied();
        for product in &products {
            if known.get(&product.id) == Some(&product.amount()) {
                continue;
            }
            let record = product.record(cursor.read_at)?;
            if !budget.take(&record) {
                last = Some(product.id - 1);
                break;
            }
            known.insert(product.id, product.amount());
            records.push(record);
        }
        let more = last.is_some_and(|last| moved.range(last + 1..).next().is_some());
        if !more {
            known.retain(|id, _| moved.get(id).is_some_and(|changed| *changed >= next));
            cursor.since = next.text();
        }
        if records.is_empty() && !more {
            // Only what is looked at again next time may have changed; that is no progress of its own.
            cursor.read_at = request
                .cursor_as::<Cursor>()?
                .map_or(cursor.read_at, |before| before.read_at);
        }
        cursor.phase = Phase::Moved {
            after: if more { last.unwrap_or(after) } else { 0 },
            next: more.then(|| next.text()),
            known,
        };
        Page::new(records).more(more).resume_at(&cursor)
    }

    fn quantities(&self, domain: Value, limit: u32) -> Result<Vec<Product>> {
        let query = Query {
            domain,
            limit: Some(limit),
            order: json!([["id", "ASC"]]),
            // Without locations all quantities are 0.
            context: json!({ "locations": self.stock_locations()? }),
        };
        let fields = ["code", "quantity", "forecast_quantity"];
        self.rpc.read_some("product.product", &query, &fields)
    }

    /// Each product that moved, with the time of its last change.
    fn moved_since(&self, since: Stamp) -> Result<BTreeMap<i64, Stamp>> {
        let never_written = json!([["write_date", "=", null], ["create_date", ">=", since.wire()]]);
        let changed = json!(["OR", ["write_date", ">=", since.wire()], never_written]);
        let mut query = Query {
            limit: Some(MOVES_AT_ONCE),
            order: json!([["id", "ASC"]]),
            ..Query::default()
        };
        let mut moved: BTreeMap<i64, Stamp> = BTreeMap::new();
        let mut last = 0;
        loop {
            query.domain = json!([["id", ">", last], changed]);
            let moves: Vec<Move> =
                self.rpc
                    .read_some("stock.move", &query, &["product", "write_date", "create_date"])?;
            for one in &moves {
                if let (Some(product), Some(changed)) = (one.product, one.changed()) {
                    let latest = moved.entry(product).or_insert(changed);
                    *latest = changed.max(*latest);
                }
            }
            if moves.len() < MOVES_AT_ONCE as usize {
                return Ok(moved);
            }
            last = moves.last().map_or(last, |one| one.id);
        }
    }

    /// When anything last moved; the beginning of time if nothing ever did.
    fn last_move(&self) -> Result<Stamp> {
        let mut newest = Stamp::parse(&time::rfc3339_from_millis(0))?;
        // By either time, because the one is null where the other counts.
        for field in ["write_date", "create_date"] {
            let query = Query {
                domain: json!([[field, "!=", null]]),
                limit: Some(1),
                order: json!([[field, "DESC"]]),
                ..Query::default()
            };
            let moves: Vec<Move> =
                self.rpc
                    .read_some("stock.move", &query, &["product", "write_date", "create_date"])?;
            newest = moves.iter().filter_map(Move::changed).fold(newest, Stamp::max);
        }
        Ok(newest)
    }
}
