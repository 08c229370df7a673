//! The shop and the ERP on loopback, as lean as they can be: what is measured is what stands between them.
//!
//! - `GET /orders?after=17&limit=250`: `{"orders": [order, …], "next": 267}`, ascending by id; `next` is null on the last page.
//! - `POST /sales` with an `Idempotency-Key`, of a sale or of an order as it is: 201 `{"id": "S-17"}`; the same key again changes nothing.
//!
//! A fixed share of both is answered with 429 and `Retry-After: 0`: one in 20 pages and one in 50 sales.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, ensure};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use stecker_benchmarks::shop::{self, Sale};
use tokio::{net::TcpListener, task::JoinHandle};

/// The most of one page.
const MOST: u64 = 250;
const PAGES_REFUSED: u64 = 20;
const SALES_REFUSED: u64 = 50;

/// Running; ends when it is dropped.
pub(crate) struct Api {
    url: String,
    systems: Arc<Systems>,
    serving: JoinHandle<()>,
}

struct Systems {
    orders: u64,
    pages: AtomicU64,
    calls: AtomicU64,
    books: Mutex<Books>,
}

/// What was booked.
#[derive(Default)]
struct Books {
    /// By order: the digest of its sale, its key, and when it came first.
    sales: HashMap<u64, (u64, String, Instant)>,
    /// Requests that repeated a key.
    repeated: u64,
    /// Sales of an order that has one under another key, and what is no sale of an order at all.
    wrong: u64,
}

/// The account of both systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Booked {
    /// Orders that became sales.
    pub(crate) sales: u64,
    /// Requests that repeated a key.
    pub(crate) repeated: u64,
    /// What should not have come.
    pub(crate) wrong: u64,
    /// The sum of all digests.
    pub(crate) digest: u64,
}

impl Booked {
    /// What it has to be when each order was brought over once.
    fn of_all(orders: u64) -> (u64, u64) {
        let digests = (1..=orders).map(|id| Sale::from(shop::order(id)).digest());
        (orders, digests.fold(0, u64::wrapping_add))
    }
}

impl Api {
    /// A shop with that many orders, and an ERP without sales.
    pub(crate) async fn start(orders: u64) -> Result<Self> {
        let systems = Arc::new(Systems {
            orders,
            pages: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            books: Mutex::default(),
        });
        let router = Router::new()
            .route("/orders", get(list))
            .route("/sales", post(book))
            .with_state(Arc::clone(&systems));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            // Never fails: axum tries again when accepting does not work.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            systems,
            serving,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn sales(&self) -> u64 {
        self.systems.books().sales.len() as u64
    }

    /// Fails unless each order was brought over once and unchanged.
    pub(crate) fn account(&self) -> Result<Booked> {
        let books = self.systems.books();
        let booked = Booked {
            sales: books.sales.len() as u64,
            repeated: books.repeated,
            wrong: books.wrong,
            digest: books
                .sales
                .values()
                .fold(0, |sum, (digest, ..)| sum.wrapping_add(*digest)),
        };
        ensure!(
            booked.wrong == 0 && (booked.sales, booked.digest) == Booked::of_all(self.systems.orders),
            "the run does not count: of {} orders, {booked:?} arrived",
            self.systems.orders
        );
        Ok(booked)
    }

    /// When each order was booked.
    pub(crate) fn booked_at(&self) -> HashMap<u64, Instant> {
        let books = self.systems.books();
        books.sales.iter().map(|(id, (.., at))| (*id, *at)).collect()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Systems {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response()
}

#[derive(Deserialize)]
struct Asked {
    after: Option<u64>,
    limit: Option<u64>,
}

async fn list(State(systems): State<Arc<Systems>>, Query(asked): Query<Asked>) -> Response {
    #[derive(Serialize)]
    struct Page {
        orders: Vec<shop::Order>,
        next: Option<u64>,
    }
    if systems.pages.fetch_add(1, Ordering::Relaxed) % PAGES_REFUSED == PAGES_REFUSED - 1 {
        return refused();
    }
    let after = asked.after.unwrap_or(0);
    let last = after
        .saturating_add(asked.limit.unwrap_or(MOST).clamp(1, MOST))
        .min(systems.orders);
    Json(Page {
        orders: (after + 1..=last).map(shop::order).collect(),
        next: (last < systems.orders).then_some(last),
    })
    .into_response()
}

async fn book(State(systems): State<Arc<Systems>>, headers: HeaderMap, body: Bytes) -> Response {
    if systems.calls.fetch_add(1, Ordering::Relaxed) % SALES_REFUSED == SALES_REFUSED - 1 {
        return refused();
    }
    let key = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    // An order that nothing was done to becomes a sale here.
    let sale = serde_json::from_slice::<Sale>(&body)
        .or_else(|_| serde_json::from_slice::<shop::Order>(&body).map(Sale::from));
    let (Some(key), Ok(sale)) = (key, sale) else {
        systems.books().wrong += 1;
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let Some(id) = shop::id_of(&sale.reference) else {
        systems.books().wrong += 1;
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let digest = sale.digest();
    let mut books = systems.books();
    match books.sales.get(&id) {
        None => {
            books.sales.insert(id, (digest, key.to_owned(), Instant::now()));
        }
        Some((known, of, _)) if *known == digest && of == key => books.repeated += 1,
        Some(_) => books.wrong += 1,
    }
    drop(books);
    (
        StatusCode::CREATED,
        Json(serde_json::json!({"id": format!("S-{id}")})),
    )
        .into_response()
}
