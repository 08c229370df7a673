//! # Demo ERP API, version 2
//!
//! The reference of a vendor that does not exist. Everything is JSON over HTTP; errors of a whole request are RFC 9457
//! problem documents with a stable `code`, errors of single items are in the `results` of a 207.
//!
//! ## Authentication
//! HTTP Basic (RFC 7617) with the user and password of an API account; otherwise 401 `unauthorized`.
//!
//! ## Limits and failures
//! Any address except `/ping` may answer 429 (wait as many seconds as `Retry-After` says, or some if it says nothing), 500 or 503, and then
//! nothing was done. **A connection that ends without an answer says nothing**: the sales may be booked or not. Look
//! them up by reference before you send them again, or send them again under the same idempotency keys.
//!
//! ## `GET /v2/ping`
//! `{"system": "Demo ERP", "api_version": "2.0", "user": "…"}`
//!
//! ## `POST /v2/sales-orders/batch`
//! Up to 50 items; more is 413 `batch-too-large`.
//!
//! ```json
//! {"items": [{
//!   "reference": "SO-001001", "version": 1, "idempotency_key": "…",
//!   "customer": {"id": 4, "name": "Ada Lind", "email": "customer4@example.com"},
//!   "currency": "EUR", "total": "39.80",
//!   "lines": [{"sku": "MUG-BLU", "name": "Mug, blue", "quantity": 2, "unit_price": "19.90"}]
//! }]}
//! ```
//! `reference` is your number of the order, `version` (default 1) your count of its changes. Answers 207 with one result
//! per item, in the order of the items:
//!
//! ```json
//! {"results": [
//!   {"reference": "SO-001001", "status": "created", "id": "SALE-000001", "error": null},
//!   {"reference": "SO-001002", "status": "rejected", "id": null,
//!    "error": {"code": "unknown-item", "message": "There is no item `X`.", "path": "/lines/0/sku"}}
//! ]}
//! ```
//! | status | meaning |
//! |---|---|
//! | `created` | this item was booked by this call: as a new sale, or as a newer version of the sale of its reference |
//! | `exists` | an item with this idempotency key was booked before; nothing changed; `id` is that sale |
//! | `rejected` | this item will never be booked as it is; see `error` |
//! | `busy` | not booked this time; send it again |
//!
//! | code of a rejection | path | meaning |
//! |---|---|---|
//! | `unknown-item` | `/lines/<n>/sku` | the ERP has no such item |
//! | `total-mismatch` | `/total` | the lines do not add up to the total |
//! | `invalid-item` | where it is known | the item is not shaped as above |
//! | `idempotency-key-reused` | `/idempotency_key` | the key was used for an item with other content |
//!
//! **Sales are recognised by their idempotency key, not by their reference.** The same reference and version under
//! another key is booked a second time. A version lower than the booked one does not change the sale, and is answered
//! `created`; whoever sends it has lost the order of events.
//!
//! ## `POST /v2/sales-orders`
//! One item. Answers its result, with 201 for `created`, 200 for `exists`, 422 for `rejected` and 409 for `busy`.
//!
//! ## `GET /v2/sales-orders?reference=…&reference=…`
//! Every sale of up to 100 references: `{"sales_orders": [{"id", "reference", "version", "idempotency_keys": […],
//! "customer", "currency", "total", "lines", "booked_at"}]}`. References without a sale are simply absent.
//!
//! ## `GET /v2/sales-orders/list?from=…&to=…&after=…&updated_since=…&limit=…`
//! Sales ascending by reference, of the references from `from` on and before `to` (all, if they are left out), after the reference `after`,
//! and last booked or changed at `updated_since` (RFC 3339) or later; `limit` 1 to 100, default 50, counts references: all sales of a
//! reference are on one page. `{"sales_orders": […], "next": "SO-001050"}`; `next` is the `after` of the next page and `null` on the last
//! one.
//!
//! ## `POST /v2/sales-orders/correct`
//! One item. The sale of its reference is from now on as the item says, whatever its keys are; answers as `POST /v2/sales-orders`,
//! `exists` if it was so already. Without such a sale, the item is booked.
//!
//! ## `GET /v2/stock?changed_since=…&limit=…`
//! Stock levels that changed after the sequence number `changed_since` (default 0, that is: all), ascending by `seq`;
//! `limit` 1 to 100, default 50. `{"stock": [{"sku", "quantity", "seq", "updated_at"}], "next": 173}`; `next` is the
//! `changed_since` of the next page and `null` on the last one. An item appears once, with its latest change. Booked
//! sales lower the stock; it may become negative.

mod damage;
pub(crate) mod state;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::state::ItemStatus;
use self::state::{Item, ItemResult};
use crate::fault_plan::{Access, Answer, item_key};
use crate::http::{Params, Problem, json, parse_body, unknown_address};
use crate::misconduct::ApiVersion;
use crate::world::World;

/// The most items of one batch.
const BATCH: usize = 50;

pub(crate) fn router(world: Arc<World>) -> Router {
    let api = Router::new()
        .route("/ping", get(ping))
        .route("/sales-orders", post(one_sale).get(find_sales))
        .route("/sales-orders/batch", post(batch))
        .route("/sales-orders/correct", post(correct))
        .route("/sales-orders/list", get(list_sales))
        .route("/stock", get(stock))
        .fallback(unknown_address)
        .layer(middleware::from_fn_with_state(world.clone(), authenticate));
    Router::new().nest("/v2", api).with_state(world)
}

async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let pair = format!("{}:{}", world.secrets.erp_user, world.secrets.erp_password);
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let credentials = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    if credentials
        .and_then(|(_, code)| STANDARD.decode(code.trim()).ok())
        .as_deref()
        == Some(pair.as_bytes())
    {
        return next.run(request).await;
    }
    let detail = if given.is_some() {
        "This user or password is not valid."
    } else {
        "HTTP Basic credentials are missing."
    };
    let mut response = Problem::unauthorized(detail).into_response();
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"Demo ERP\", charset=\"UTF-8\""),
    );
    response
}

async fn ping(State(world): State<Arc<World>>) -> Response {
    world.erp().count_call("GET /ping");
    let answer = json!({ "system": "Demo ERP", "api_version": "2.0", "user": world.secrets.erp_user });
    json(StatusCode::OK, &answer)
}

/// Books one item or refuses it. An item of an answer that will be lost is never busy, or it could stay so for ever; and
/// `busy` means not booked, so a repetition of a booked one is never busy either.
fn book(world: &World, value: &Value, answer: Answer) -> ItemResult {
    let item = match Item::deserialize(value) {
        Ok(item) => item,
        Err(error) => return world.erp().refuse_shape(value, &error),
    };
    let mut erp = world.erp();
    let may_be_busy = answer == Answer::Sent && !erp.is_booked(&item.idempotency_key);
    if may_be_busy && world.faults.item_is_busy(&item_key(&item.reference)) {
        erp.busy(&item)
    } else {
        erp.book(&item)
    }
}

fn keys(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| item.get("reference"))
        .filter_map(Value::as_str)
        .map(item_key)
        .collect()
}

async fn batch(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch {
        items: Vec<Value>,
    }
    world.erp().count_call("POST /sales-orders/batch");
    let items = match parse_body::<Batch>(&body) {
        Ok(Batch { items }) if items.len() > BATCH => {
            let detail = format!("A batch has at most {BATCH} items, not {}.", items.len());
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-too-large", detail).into_response();
        }
        Ok(Batch { items }) => items,
        Err(problem) => return problem.into_response(),
    };
    let work = |answer| {
        let results: Vec<_> = items.iter().map(|item| book(&world, item, answer)).collect();
        let name = match world.faults.current().api {
            ApiVersion::Reshaped => "data",
            _ => "results",
        };
        json(StatusCode::MULTI_STATUS, &json!({ name: results }))
    };
    world.faults.around(Access::Write, &keys(&items), work).await
}

async fn one_sale(State(world): State<Arc<World>>, body: Bytes) -> Response {
    world.erp().count_call("POST /sales-orders");
    one(&world, &body, |item, answer| book(&world, item, answer)).await
}

async fn correct(State(world): State<Arc<World>>, body: Bytes) -> Response {
    world.erp().count_call("POST /sales-orders/correct");
    one(&world, &body, |value, _| match Item::deserialize(value) {
        Ok(item) => world.erp().correct(&item),
        Err(error) => world.erp().refuse_shape(value, &error),
    })
    .await
}

async fn one(world: &World, body: &Bytes, act: impl Fn(&Value, Answer) -> ItemResult) -> Response {
    let item: Value = match parse_body(body) {
        Ok(item) => item,
        Err(problem) => return problem.into_response(),
    };
    let work = |answer| {
        let result = act(&item, answer);
        let status = match result.status {
            ItemStatus::Created => StatusCode::CREATED,
            ItemStatus::Exists => StatusCode::OK,
            ItemStatus::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            ItemStatus::Busy => StatusCode::CONFLICT,
        };
        json(status, &result)
    };
    world
        .faults
        .around(Access::Write, &keys(std::slice::from_ref(&item)), work)
        .await
}

async fn find_sales(State(world): State<Arc<World>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    world.erp().count_call("GET /sales-orders");
    let params = match Params::new(query, &["reference"]) {
        Ok(params) => params,
        Err(problem) => return problem.into_response(),
    };
    let references = params.all("reference");
    if references.is_empty() || references.len() > 100 {
        let detail = format!(
            "Give 1 to 100 times the parameter `reference`, not {} times.",
            references.len()
        );
        return Problem::bad_request("invalid-parameter", detail).into_response();
    }
    let work = |_| {
        json(
            StatusCode::OK,
            &json!({ "sales_orders": world.erp().find(references) }),
        )
    };
    world
        .faults
        .around(
            Access::Read,
            &[format!("erp lookup {}", references.join(" "))],
            work,
        )
        .await
}

async fn list_sales(State(world): State<Arc<World>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    world.erp().count_call("GET /sales-orders/list");
    let known = ["from", "to", "after", "updated_since", "limit"];
    let asked = Params::new(query, &known).and_then(|params| {
        let text = |name: &str| params.one::<String>(name, "a reference");
        let since = params.one::<Timestamp>("updated_since", "a time in RFC 3339")?;
        Ok((text("from")?, text("to")?, text("after")?, since, params.limit()?))
    });
    let (from, to, after, since, limit) = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let key = format!("erp list {from:?} {to:?} {after:?} {limit}");
    let work = |_| {
        let range = (from.as_deref().unwrap_or_default(), to.as_deref());
        let (sales, next) = world.erp().list(range, after.as_deref(), since, limit);
        json(StatusCode::OK, &json!({ "sales_orders": sales, "next": next }))
    };
    world.faults.around(Access::Read, &[key], work).await
}

async fn stock(State(world): State<Arc<World>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    world.erp().count_call("GET /stock");
    let place = Params::new(query, &["changed_since", "limit"]).and_then(|params| {
        Ok((
            params
                .one::<u64>("changed_since", "a sequence number")?
                .unwrap_or(0),
            params.limit()?,
        ))
    });
    let (since, limit) = match place {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let work = |_| {
        let (levels, more) = world.erp().stock_after(since, limit);
        let next = levels.last().filter(|_| more).map(state::Stock::seq);
        json(StatusCode::OK, &json!({ "stock": levels, "next": next }))
    };
    world
        .faults
        .around(Access::Read, &[format!("erp stock {since} {limit}")], work)
        .await
}
