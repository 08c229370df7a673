//! # Demo Shop API, version 1
//!
//! The reference of a vendor that does not exist. Everything is JSON over HTTP; errors are RFC 9457 problem documents
//! (`application/problem+json`) with a stable `code`.
//!
//! ## Authentication
//! Send your key in `X-Api-Key`. Without it, or with another one, every address answers 401 `unauthorized`.
//!
//! ## Limits and failures
//! Any address except `/ping` may answer 429 (wait as many seconds as `Retry-After` says, or some if it says nothing), 500 or 503. Repeat
//! the request later. A `PUT` with the same `Idempotency-Key` is safe to repeat.
//!
//! ## `GET /api/v1/ping`
//! `{"shop": "Demo Shop", "api_version": "1.0", "currency": "EUR"}`
//!
//! ## `GET /api/v1/orders`
//! Orders ascending by (`updated_at`, `id`).
//!
//! | parameter | meaning |
//! |---|---|
//! | `updated_since` | RFC 3339, percent-encoded. Only orders changed at or after it. Default: the beginning. |
//! | `after_id` | integer. Of the orders changed at exactly `updated_since`, only those with a greater id. |
//! | `limit` | 1 to 100, default 50 |
//!
//! ```json
//! {
//!   "orders": [{
//!     "id": 1001, "number": "SO-001001", "updated_at": "2026-01-05T08:00:00.000Z", "version": 1,
//!     "customer": {"id": 4, "email": "customer4@example.com", "name": "Ada Lind"},
//!     "currency": "EUR", "total": "39.80",
//!     "lines": [{"sku": "MUG-BLU", "name": "Mug, blue", "quantity": 2, "unit_price": "19.90"}],
//!     "status": "paid"
//!   }],
//!   "next": {"updated_since": "2026-01-05T08:00:00.000Z", "after_id": 1001}
//! }
//! ```
//! `next` holds the parameters of the next page and is `null` on the last one. **The pair is the cursor**: bulk
//! operations give hundreds of orders the same `updated_at`, so a client that asks for later times only loses
//! orders. To continue another day, keep the pair of the last order that you have read. A change always moves an order
//! behind everything that was ever listed. `version` counts the changes of one order and decides which of two copies
//! is newer.
//!
//! ## `GET /api/v1/orders/{id}`
//! One order, or 404 `unknown-order`.
//!
//! ## `GET /api/v1/products`
//! Like orders, with `"products": [{"id", "sku", "name", "currency", "price", "updated_at", "version"}]`.
//!
//! ## `GET /api/v1/stock`, `GET /api/v1/stock/{sku}`
//! `{"stock": [{"sku": "MUG-BLU", "quantity": 12, "version": 40, "updated_at": "…"}]}`, or one of these objects; 404
//! `unknown-sku`. `version` is `null` until somebody has written one.
//!
//! ## `PUT /api/v1/stock/{sku}`
//! Body `{"quantity": 12, "version": 41}`; `version` is optional and any number that grows with each change at its
//! origin. Answers 200 with the level that holds now and `"applied": true`, or `false` if a newer version was there
//! already, which is not an error. With an `Idempotency-Key` header a repeated request gets the first answer again (and
//! the header `Idempotent-Replayed: true`); the same key for another request is 422 `idempotency-key-reused`.
//!
//! ## Version 2
//! Under `/api/v2` everything is as under `/api/v1`, except that an order's `number` is called `reference` and its `total` is an object:
//! `{"amount": "39.80", "currency": "EUR"}`. Once version 1 has ended, its addresses answer 410 `version-ended`. Webhooks are as in version 1.
//!
//! ## Webhooks
//! `order.created` and `order.updated` are sent by `POST` to the address that you have registered:
//!
//! ```json
//! {"event_id": "evt_00000001", "type": "order.updated", "order": {"id": 1001, "…": "as above"}}
//! ```
//! | header | meaning |
//! |---|---|
//! | `X-Shop-Event-Id` | identity of the event; the same event may come twice |
//! | `X-Shop-Timestamp` | seconds since 1970 when this attempt was made |
//! | `X-Shop-Signature` | `sha256=` and the hexadecimal HMAC-SHA256 of `<timestamp>.<body>` with your secret |
//!
//! Events may arrive in another order than they happened: compare `version`. Answer 2xx within five seconds; anything
//! else is tried again, up to six times in all, with growing pauses.

mod data;
pub(crate) mod state;
pub(crate) mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::json;

use self::data::CURRENCY;
pub use self::data::{Customer, DISCONTINUED, Line, Order, Product};
pub(crate) use self::data::{millis, sum};
use self::state::{StockOutcome, StockWrite};
use crate::fault_plan::Access;
use crate::http::{Params, Problem, json, parse_body, settle, unknown_address};
use crate::misconduct::{ApiVersion, Paging};
use crate::world::World;

pub(crate) fn router(world: Arc<World>) -> Router {
    let api = Router::new()
        .route("/ping", get(ping))
        .route("/orders", get(list_orders))
        .route("/orders/{id}", get(one_order))
        .route("/products", get(list_products))
        .route("/stock", get(list_stock))
        .route("/stock/{sku}", get(one_stock).put(put_stock))
        .fallback(unknown_address)
        .layer(middleware::from_fn_with_state(world.clone(), authenticate));
    let first = api
        .clone()
        .layer(middleware::from_fn_with_state(world.clone(), until_it_ends));
    let second = api.layer(middleware::map_response(as_version_2));
    Router::new()
        .nest("/api/v1", first)
        .nest("/api/v2", second)
        .with_state(world)
}

/// Version 1, for as long as there is one.
async fn until_it_ends(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    if world.first_version_ended() {
        let detail = "Version 1 of this API has ended. Use version 2.";
        return Problem::new(StatusCode::GONE, "version-ended", detail.to_owned()).into_response();
    }
    next.run(request).await
}

/// An answer of version 1 as version 2 gives it.
async fn as_version_2(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // What breaks off in the middle does so in every version.
    let bytes = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let broken = futures_util::stream::iter([Err::<Bytes, _>(error)]);
            return Response::from_parts(parts, Body::from_stream(broken));
        }
    };
    let Ok(mut answer) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    if answer.get("lines").is_some() {
        order_of_version_2(&mut answer);
    } else if let Some(orders) = answer.get_mut("orders").and_then(serde_json::Value::as_array_mut) {
        orders.iter_mut().for_each(order_of_version_2);
    } else {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

fn order_of_version_2(order: &mut serde_json::Value) {
    let Some(order) = order.as_object_mut() else {
        return;
    };
    if let Some(number) = order.remove("number") {
        order.insert("reference".to_owned(), number);
    }
    if let Some(total) = order.remove("total") {
        let currency = order.get("currency").cloned().unwrap_or_default();
        order.insert(
            "total".to_owned(),
            json!({ "amount": total, "currency": currency }),
        );
    }
}

async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let key = request.headers().get("x-api-key").map(HeaderValue::as_bytes);
    if key == Some(world.secrets.shop_api_key.as_bytes()) {
        return next.run(request).await;
    }
    let detail = if key.is_some() {
        "This X-Api-Key is not valid."
    } else {
        "The header X-Api-Key is missing."
    };
    Problem::unauthorized(detail).into_response()
}

async fn ping(State(world): State<Arc<World>>) -> Response {
    world.shop().count_call("GET /ping");
    json(
        StatusCode::OK,
        &json!({ "shop": "Demo Shop", "api_version": "1.0", "currency": CURRENCY }),
    )
}

/// The position in a listing, and how many rows to give.
struct Place {
    after: (Timestamp, u64),
    limit: usize,
}

impl Place {
    fn of(query: Vec<(String, String)>) -> Result<Self, Problem> {
        let params = Params::new(query, &["updated_since", "after_id", "limit"])?;
        let since = params.one::<Timestamp>("updated_since", "an RFC 3339 time")?;
        let after_id = params.one::<u64>("after_id", "the id of an order or product")?;
        if after_id.is_some() && since.is_none() {
            let detail = "`after_id` says nothing without `updated_since`.";
            return Err(Problem::bad_request("invalid-parameter", detail));
        }
        // Ids start at 1, so 0 means: from the first one of that time.
        let after = (since.unwrap_or(Timestamp::MIN), after_id.unwrap_or(0));
        Ok(Self {
            after,
            limit: params.limit()?,
        })
    }

    fn resource(&self, kind: &str) -> String {
        format!("shop {kind} {} {} {}", self.after.0, self.after.1, self.limit)
    }
}

fn next(more: bool, last: Option<(Timestamp, u64)>) -> Option<serde_json::Value> {
    let (at, id) = last.filter(|_| more)?;
    Some(json!({ "updated_since": format!("{at:.3}"), "after_id": id }))
}

async fn list_orders(
    State(world): State<Arc<World>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    world.shop().count_call("GET /orders");
    let place = match Place::of(query) {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let work = |_| {
        let faults = world.faults.current();
        let (orders, more) = match faults.paging {
            Paging::Right => world.shop().page(place.after, place.limit),
            odd => world.shop().odd_page(place.after, place.limit, odd),
        };
        let next = next(more, orders.last().map(|order| (order.updated_at, order.id)));
        let body = match faults.api {
            ApiVersion::Reshaped => json!({ "data": orders, "paging": { "next": next } }),
            _ => json!({ "orders": orders, "next": next }),
        };
        json(StatusCode::OK, &body)
    };
    world
        .faults
        .around(Access::Read, &[place.resource("orders")], work)
        .await
}

async fn one_order(State(world): State<Arc<World>>, Path(id): Path<String>) -> Response {
    world.shop().count_call("GET /orders/{id}");
    let work = |_| {
        let order = id.parse().ok().and_then(|id| world.shop().order(id));
        settle(order.map(|order| json(StatusCode::OK, &order)).ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-order",
                format!("There is no order with the id `{id}`."),
            )
        }))
    };
    world
        .faults
        .around(Access::Read, &[format!("shop order {id}")], work)
        .await
}

async fn list_products(
    State(world): State<Arc<World>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    world.shop().count_call("GET /products");
    let place = match Place::of(query) {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let work = |_| {
        let (products, more) = world.shop().products_page(place.after, place.limit);
        let next = next(
            more,
            products.last().map(|product| (product.updated_at, product.id)),
        );
        json(StatusCode::OK, &json!({ "products": products, "next": next }))
    };
    world
        .faults
        .around(Access::Read, &[place.resource("products")], work)
        .await
}

async fn list_stock(State(world): State<Arc<World>>) -> Response {
    world.shop().count_call("GET /stock");
    let work = |_| json(StatusCode::OK, &json!({ "stock": world.shop().stock() }));
    world
        .faults
        .around(Access::Read, &["shop stock".to_owned()], work)
        .await
}

async fn one_stock(State(world): State<Arc<World>>, Path(sku): Path<String>) -> Response {
    world.shop().count_call("GET /stock/{sku}");
    let work = |_| {
        settle(
            world
                .shop()
                .stock_of(&sku)
                .map(|level| json(StatusCode::OK, &level))
                .ok_or_else(|| {
                    Problem::new(
                        StatusCode::NOT_FOUND,
                        "unknown-sku",
                        format!("There is no article `{sku}`."),
                    )
                }),
        )
    };
    world
        .faults
        .around(Access::Read, &[format!("shop stock {sku}")], work)
        .await
}

async fn put_stock(
    State(world): State<Arc<World>>,
    Path(sku): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    world.shop().count_call("PUT /stock/{sku}");
    let write: StockWrite = match parse_body(&body) {
        Ok(write) => write,
        Err(problem) => return problem.into_response(),
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let work = |_| match world.shop().write_stock(&sku, &write, key) {
        StockOutcome::Done { written, replayed } => {
            let mut response = json(StatusCode::OK, &written);
            if replayed {
                response
                    .headers_mut()
                    .insert("idempotent-replayed", HeaderValue::from_static("true"));
            }
            response
        }
        StockOutcome::Refused(status, code, detail) => Problem::new(status, code, detail).into_response(),
    };
    world
        .faults
        .around(Access::Write, &[format!("shop stock write {sku}")], work)
        .await
}
