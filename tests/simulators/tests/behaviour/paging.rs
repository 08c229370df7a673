//! Reading the shop.

use std::collections::BTreeSet;

use serde_json::json;
use stecker_simulators::Faults;

use crate::client::{Client, brief, start};

#[tokio::test]
async fn the_pair_as_cursor_meets_every_order_exactly_once_even_on_a_terrible_day() {
    for (limit, faults) in [
        (7, Faults::off()),
        (100, Faults::off()),
        (40, brief(Faults::harsh())),
    ] {
        let (running, client) = start(1000, faults).await;
        let read = client.read_orders(limit).await;
        let ids: BTreeSet<_> = read.iter().map(|order| order.id).collect();
        assert_eq!((read.len(), ids.len()), (1000, 1000), "limit {limit}");
        assert!(read.is_sorted_by_key(|order| (order.updated_at, order.id)));
        let account = running.account();
        assert_eq!(account.shop.served.len(), 1000);
        running.stop().await;
    }
}

#[tokio::test]
async fn the_time_alone_as_cursor_loses_orders() {
    let (running, client) = start(1000, Faults::off()).await;
    let mut met = BTreeSet::new();
    let mut path = "/api/v1/orders?limit=100".to_owned();
    loop {
        let page = Client::persist(|| client.shop(&path)).await;
        let Some(last) = page["orders"].as_array().unwrap().last() else {
            break;
        };
        met.extend(
            page["orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(|order| order["id"].as_u64().unwrap()),
        );
        // "Later than the last one": the greatest id makes the inclusive bound an exclusive one.
        let since = last["updated_at"].as_str().unwrap();
        path = format!(
            "/api/v1/orders?limit=100&updated_since={since}&after_id={}",
            u64::MAX
        );
    }
    assert!(
        met.len() < 1000,
        "the data must punish a cursor of the time alone"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_change_while_somebody_reads_comes_later_and_is_not_lost() {
    let (running, client) = start(300, Faults::off()).await;
    let first = Client::persist(|| client.shop("/api/v1/orders?limit=100")).await;
    let changed = first["orders"][3]["id"].as_u64().unwrap();
    running.update_orders(&[changed]).unwrap();
    let created = running.create_orders(3);
    assert!(
        created
            .iter()
            .all(|order| order.updated_at == created[0].updated_at)
    );

    let rest = client.read_orders_after(&first["next"], 100).await;
    let versions: Vec<_> = rest.iter().map(|order| (order.id, order.version)).collect();
    let mut expected = vec![(changed, 2)];
    expected.extend(created.iter().map(|order| (order.id, 1)));
    assert_eq!(versions.len(), 204);
    assert_eq!(
        versions[200..],
        expected,
        "changes come last, in the order in which they happened"
    );
    running.stop().await;
}

#[tokio::test]
async fn products_and_stock_can_be_read_and_bad_calls_are_told_why() {
    let (running, client) = start(10, Faults::off()).await;
    let products = Client::persist(|| client.shop("/api/v1/products?limit=100")).await;
    assert_eq!(products["products"].as_array().unwrap().len(), 60);
    assert!(products["next"].is_null());
    let one = Client::persist(|| client.shop("/api/v1/orders/1001")).await;
    assert_eq!(one["number"], "SO-001001");

    for (path, status, code) in [
        ("/api/v1/orders/9", 404, "unknown-order"),
        ("/api/v1/orders?limit=101", 400, "invalid-parameter"),
        ("/api/v1/orders?updated_since=yesterday", 400, "invalid-parameter"),
        ("/api/v1/orders?after_id=4", 400, "invalid-parameter"),
        ("/api/v1/orders?since=4", 400, "unknown-parameter"),
        ("/api/v1/stock/NOPE", 404, "unknown-sku"),
        ("/api/v1/nothing", 404, "not-found"),
    ] {
        let (got, problem) = client.shop(path).await.unwrap();
        assert_eq!(
            (got, problem["code"].as_str()),
            (status, Some(code)),
            "{path}: {problem}"
        );
    }

    let body = json!({ "quantity": 3 });
    let (_, first) = client.put_stock("MUG-BLU", "k1", &body).await.unwrap();
    assert_eq!(
        (first["quantity"].as_i64(), first["applied"].as_bool()),
        (Some(3), Some(true))
    );
    client
        .put_stock("MUG-BLU", "k2", &json!({ "quantity": 4 }))
        .await
        .unwrap();
    let (_, again) = client.put_stock("MUG-BLU", "k1", &body).await.unwrap();
    assert_eq!(again, first, "the first answer again, and no second write");
    let (status, problem) = client
        .put_stock("MUG-BLU", "k1", &json!({ "quantity": 9 }))
        .await
        .unwrap();
    assert_eq!(
        (status, problem["code"].as_str()),
        (422, Some("idempotency-key-reused"))
    );
    assert_eq!(running.account().shop.stock["MUG-BLU"], 4);

    let stranger = client
        .http
        .get(format!("{}/api/v1/ping", running.shop_url))
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(stranger.headers()["content-type"], "application/problem+json");
    let stranger = client
        .http
        .get(format!("{}/v2/ping", running.erp_url))
        .basic_auth("demo-api", Some("wrong"));
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let stranger = client
        .http
        .get(format!("{}/_control/account", running.shop_url))
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
    running.stop().await;
}
