//! Both real systems come up, hold what the demonstration needs, and can be written to.
//!
//! A cold cache takes minutes and the network, so this runs only where `STECKER_REAL` is set.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use stecker_real_systems::{RealSystems, RunningReal, Webhook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_systems_come_up_and_do_what_the_connectors_need() {
    if std::env::var_os("STECKER_REAL").is_none() {
        println!(
            "skipped: set STECKER_REAL=1 to start Vendure and Tryton (the first run installs them, minutes)"
        );
        return;
    }
    let prepared = RealSystems::prepare(&|line| println!("{line}")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let real = prepared.start(dir.path()).await.unwrap();

    orders_are_there_and_paid(&real).await;
    new_orders_are_announced(&real).await;
    a_sale_is_made(&real).await;
    stock_can_be_compared(&real).await;
    real.stop().await.unwrap();

    let again = prepared.start(dir.path()).await;
    assert!(
        again.err().unwrap().to_string().contains("earlier run"),
        "a second run would mix with the first"
    );
}

async fn orders_are_there_and_paid(real: &RunningReal) {
    let orders = real.vendure_orders().await.unwrap();
    assert!(orders.len() >= 60, "{} orders", orders.len());
    assert!(orders.iter().all(|order| order.state == "PaymentSettled"));
    let odd = orders.iter().filter(|order| !order.total.ends_with('0')).count();
    assert!(
        odd > orders.len() / 2,
        "amounts that never end in odd cents would prove little"
    );
    assert!(real.tryton_sales().await.unwrap().is_empty());

    let refused = real
        .vendure("{ administrators { totalItems } }", json!({}))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("FORBIDDEN"),
        "the connector's key must not reach administration: {refused}"
    );
}

async fn new_orders_are_announced(real: &RunningReal) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let secret = RunningReal::generated_secret();
    let received = tokio::task::spawn_blocking(move || receive(&listener));
    real.set_webhook(Some(&Webhook {
        url,
        secret: secret.clone(),
    }))
    .await
    .unwrap();
    let codes = real.place_orders(1).await.unwrap();
    let (head, body) = received.await.unwrap();
    real.set_webhook(None).await.unwrap();

    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .unwrap()
            .1
    };
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&body);
    assert_eq!(
        header("x-vendure-signature"),
        hex::encode(mac.finalize().into_bytes())
    );
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(header("x-vendure-event-id"), event["id"].as_str().unwrap());
    assert_eq!(event["type"], "order.PaymentSettled");
    assert_eq!(event["order"]["code"], codes[0].as_str());
}

/// One request, answered with 204: its head and its body.
fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = stream.read(&mut part).unwrap();
        assert!(n > 0, "the connection ended in the middle of a request");
        bytes.extend_from_slice(&part[..n]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .parse();
        let length: usize = length.unwrap();
        if bytes.len() >= end + 4 + length {
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .unwrap();
            return (head, bytes[end + 4..].to_vec());
        }
    }
}

async fn a_sale_is_made(real: &RunningReal) {
    let one = |rows: Value| rows[0]["id"].as_i64().unwrap();
    let product = json!([[["code", "=", "BE-BL"]], 0, 1, null, ["id"]]);
    let product = one(real
        .tryton("model.product.product.search_read", product)
        .await
        .unwrap());
    let unit = json!([[["symbol", "=", "u"]], 0, 1, null, ["id"]]);
    let unit = one(real.tryton("model.product.uom.search_read", unit).await.unwrap());
    let party = json!([[{ "name": "Erika Beispiel", "addresses": [["create", [{ "city": "Bonn" }]]] }]]);
    let party = real.tryton("model.party.party.create", party).await.unwrap()[0].clone();
    let address = json!([[["party", "=", party]], 0, 1, null, ["id"]]);
    let address = one(real
        .tryton("model.party.address.search_read", address)
        .await
        .unwrap());
    let price = |text: &str| json!({ "__class__": "Decimal", "decimal": text });
    let sale = json!([[{
        "party": party, "reference": "TEST-1", "invoice_address": address, "shipment_address": address,
        "lines": [["create", [
            { "product": product, "quantity": 3.0, "unit": unit, "unit_price": price("12.9833") },
            { "quantity": 1.0, "unit_price": price("14.96"), "description": "Shipping" },
        ]]],
    }]]);
    let sale = real.tryton("model.sale.sale.create", sale).await.unwrap();
    real.tryton("model.sale.sale.quote", json!([sale])).await.unwrap();
    real.tryton("model.sale.sale.confirm", json!([sale]))
        .await
        .unwrap();
    let sales = real.tryton_sales().await.unwrap();
    assert_eq!(sales.len(), 1);
    assert_eq!(
        (sales[0].reference.as_str(), sales[0].total.as_str()),
        ("TEST-1", "53.91")
    );
    assert_eq!(
        sales[0].state, "processing",
        "accounts and stock are set up, so a confirmed sale goes on by itself"
    );
}

async fn stock_can_be_compared(real: &RunningReal) {
    let (shop, erp) = (
        real.vendure_stock().await.unwrap(),
        real.tryton_stock().await.unwrap(),
    );
    let both = shop.iter().filter(|(sku, _)| erp.contains_key(*sku)).count();
    assert!(both >= 20, "{both} products are known to both");
    assert!(
        shop.len() > erp.len(),
        "some products are left for a connector to create"
    );
    assert!(
        shop.iter().any(|(sku, n)| erp.get(sku).is_some_and(|m| m != n)),
        "nothing to correct"
    );
}
