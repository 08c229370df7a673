//! The account notices what a synchroniser did wrong.

use stecker_simulators::{Account, Faults, Verdict};

use crate::client::{item, start};

#[tokio::test]
async fn planted_mistakes_are_all_noticed() {
    let (running, client) = start(10, Faults::off()).await;
    let orders = client.read_orders(100).await;
    let mut items: Vec<_> = orders.iter().map(item).collect();

    let lost = items.pop().unwrap();
    client.book_now(&items).await;
    let mut twice = items[0].clone();
    twice["idempotency_key"] = "another key".into();
    assert_eq!(client.book_now(&[twice]).await, ["created"]);

    let old = &orders[1];
    let changed = running.update_orders(&[old.id]).unwrap().remove(0);
    let late = running.update_orders(&[old.id]).unwrap().remove(0);
    client.book_now(&[item(&late), item(&changed)]).await;

    let mut dearer = item(&running.update_orders(&[orders[2].id]).unwrap()[0]);
    dearer["lines"] =
        serde_json::json!([{ "sku": "MUG-BLU", "name": "Mug", "quantity": 1, "unit_price": "0.07" }]);
    dearer["total"] = "0.07".into();
    client.book_now(&[dearer]).await;

    let mut invented = items[3].clone();
    invented["reference"] = "SO-9".into();
    invented["idempotency_key"] = "SO-9".into();
    client.book_now(&[invented]).await;

    let outdated = running.update_orders(&[orders[4].id]).unwrap().remove(0);

    let mut missing = vec![lost["reference"].as_str().unwrap().to_owned(), outdated.number];
    missing.sort();
    let account = running.account();
    let expected = Verdict {
        orders: 10,
        booked: 8,
        permanently_rejected: vec![],
        missing,
        wrongly_rejected: vec![],
        duplicated: vec![orders[0].number.clone()],
        out_of_order: 1,
        amount_mismatches: vec![orders[2].number.clone()],
        invented: vec!["SO-9".to_owned()],
        stock_mismatches: account.erp.stock.keys().cloned().collect(),
    };
    assert_eq!(account.verdict(), expected);
    assert!(!expected.orders_are_right() && !expected.stock_is_right());

    let sale = client
        .erp_get(&format!("/v2/sales-orders?reference={}", old.number))
        .await
        .unwrap()
        .1;
    assert_eq!(
        sale["sales_orders"][0]["version"], 3,
        "a late version does not undo a newer one"
    );
    let copy: Account = serde_json::from_value(serde_json::to_value(&account).unwrap()).unwrap();
    assert_eq!(copy, account, "another process reads the same account");
    running.stop().await;
}

#[tokio::test]
async fn a_key_cannot_be_used_for_two_orders() {
    let (running, client) = start(10, Faults::off()).await;
    let mut items: Vec<_> = client.read_orders(100).await.iter().take(2).map(item).collect();
    items[1]["idempotency_key"] = items[0]["idempotency_key"].clone();
    let (_, body) = client.book(&items).await.unwrap();
    assert_eq!(body["results"][1]["error"]["code"], "idempotency-key-reused");
    assert_eq!(running.account().verdict().wrongly_rejected.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn sold_pieces_leave_the_stock_and_a_changed_order_moves_the_difference_only() {
    let (running, client) = start(10, Faults::off()).await;
    let order = client.read_orders(100).await.remove(0);
    let line = &order.lines[0];
    let before = running.account().erp.stock[&line.sku];
    client.deliver(std::slice::from_ref(&order)).await;
    let sold = running.account().erp.stock[&line.sku];
    assert_eq!(before - sold, i64::from(line.quantity));
    client.deliver(&running.update_orders(&[order.id]).unwrap()).await;
    assert_eq!(sold - running.account().erp.stock[&line.sku], 1);
    let newest = client
        .erp_get("/v2/stock?limit=1&changed_since=60")
        .await
        .unwrap()
        .1;
    assert!(newest["stock"][0]["seq"].as_u64().unwrap() > 60);
    client.carry_stock().await;
    assert!(running.account().verdict().stock_is_right());
    running.stop().await;
}
