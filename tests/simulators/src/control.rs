//! The puppeteer's routes: how another process makes things happen in both systems and reads the account.
//!
//! They are under `/_control` at the shop's address and guarded by the header `X-Control-Token`. They are never
//! disturbed. No connector has a use for them.
//!
//! | route | body | answer |
//! |---|---|---|
//! | `GET /_control/account` | | [`Account`](crate::Account) |
//! | `GET /_control/verdict` | | [`Verdict`](crate::Verdict) |
//! | `POST /_control/orders` | `{"count": 3}` | 201 `{"orders": […]}`; `order.created` is emitted |
//! | `POST /_control/orders/update` | `{"ids": [1001]}` or `{"count": 10}` (the first ten), `"repair": true` | `{"orders": […]}`; `order.updated` is emitted |
//! | `PUT /_control/faults` | `"off"`, `"demo"`, `"harsh"` or a [`Faults`] | 204 |
//! | `PUT /_control/webhooks` | `{"url": "http://…"}` or `{"url": null}` | 204 |
//! | `POST /_control/webhooks/emit` | `{"ids": [1001]}` | 204; `order.updated` for the orders as they are |
//! | `POST /_control/erp/items` | `{"sku": "DISCONTINUED-123"}` | 204; from now on the ERP books it |
//! | `POST /_control/erp/damage` | `{"lose": ["SO-1"], "distort": ["SO-2"], "invent": ["BY-HAND-1"]}`, each optional | 204; the ERP's sales are deleted, get the currency `XTS`, or are entered by hand |
//!
//! An update adds one piece to the first line and moves the status on; with `repair` it replaces discontinued items by a
//! known one instead.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::json;

use crate::faults::Faults;
use crate::http::{Problem, json, parse_body, settle, unknown_address};
use crate::world::{Damage, World};

/// The most orders that one call may create; each call answers with all of them.
const CREATE: usize = 10_000;

pub(crate) fn router(world: Arc<World>) -> Router {
    let api = Router::new()
        .route(
            "/account",
            get(async |State(world): State<Arc<World>>| json(StatusCode::OK, &world.account())),
        )
        .route(
            "/verdict",
            get(async |State(world): State<Arc<World>>| json(StatusCode::OK, &world.account().verdict())),
        )
        .route("/orders", post(create_orders))
        .route("/orders/update", post(update_orders))
        .route("/faults", put(set_faults))
        .route("/webhooks", put(set_webhooks))
        .route("/webhooks/emit", post(emit))
        .route("/erp/items", post(learn))
        .route("/erp/damage", post(damage))
        .fallback(unknown_address)
        .layer(middleware::from_fn_with_state(world.clone(), authenticate));
    Router::new().nest("/_control", api).with_state(world)
}

async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get("x-control-token")
        .map(HeaderValue::as_bytes);
    if token == Some(world.secrets.control_token.as_bytes()) {
        next.run(request).await
    } else {
        Problem::unauthorized("The header X-Control-Token is missing or wrong.").into_response()
    }
}

fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn unknown_orders(ids: &[u64]) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-order",
        format!("There are no orders with the ids {ids:?}."),
    )
}

async fn create_orders(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        count: usize,
    }
    settle(parse_body::<Wish>(&body).and_then(|wish| {
        if wish.count > CREATE {
            return Err(Problem::bad_request(
                "invalid-body",
                format!("`count` is at most {CREATE}."),
            ));
        }
        Ok(json(
            StatusCode::CREATED,
            &json!({ "orders": world.create_orders(wish.count) }),
        ))
    }))
}

async fn update_orders(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        ids: Option<Vec<u64>>,
        count: Option<usize>,
        #[serde(default)]
        repair: bool,
    }
    settle(parse_body::<Wish>(&body).and_then(|wish| {
        let ids = match (wish.ids, wish.count) {
            (Some(ids), None) => ids,
            (None, Some(count)) => world.shop().first_ids(count),
            _ => {
                return Err(Problem::bad_request(
                    "invalid-body",
                    "Give either `ids` or `count`.",
                ));
            }
        };
        let orders = world
            .update_orders(&ids, wish.repair)
            .map_err(|unknown| unknown_orders(&unknown))?;
        Ok(json(StatusCode::OK, &json!({ "orders": orders })))
    }))
}

async fn set_faults(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wish {
        Preset(String),
        Rates(Faults),
    }
    settle(parse_body::<Wish>(&body).and_then(|wish| {
        let faults = match wish {
            Wish::Preset(name) => Faults::preset(&name),
            Wish::Rates(faults) => faults.check().map(|()| faults),
        };
        world
            .faults
            .set(faults.map_err(|error| Problem::bad_request("invalid-faults", error.to_string()))?);
        Ok(done())
    }))
}

async fn set_webhooks(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        url: Option<String>,
    }
    settle(parse_body::<Wish>(&body).map(|wish| {
        world.set_webhook_target(wish.url);
        done()
    }))
}

async fn emit(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        ids: Vec<u64>,
    }
    settle(parse_body::<Wish>(&body).and_then(|wish| {
        let orders = world
            .shop()
            .find(&wish.ids)
            .map_err(|unknown| unknown_orders(&unknown))?;
        world.emit("order.updated", &orders);
        Ok(done())
    }))
}

async fn learn(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        sku: String,
    }
    settle(parse_body::<Wish>(&body).map(|wish| {
        world.erp().learn(&wish.sku);
        done()
    }))
}

async fn damage(State(world): State<Arc<World>>, body: Bytes) -> Response {
    settle(parse_body::<Damage>(&body).map(|damage| {
        world.damage(&damage);
        done()
    }))
}
