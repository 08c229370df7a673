//! What can be known before a flow runs.

use crate::{asks, fixture, orders, orders_answer, shop};
use serde_json::{Value, json};
use stecker_sdk::testing::{self, Expect, Harness, Reply, Script};
use vendure::Vendure;

fn any() -> Expect {
    asks(&json!({}))
}

fn ping(date: &str) -> Script {
    let channel = json!({ "data": { "activeChannel": { "code": "__default_channel__" } } });
    Script::new()
        .expect(testing::post("/admin-api").credential("api"))
        .reply_with(Reply::json(200, channel).header("date", date))
}

fn precision(decimals: u32) -> Value {
    json!({ "data": { "globalSettings": { "serverConfig": { "moneyStrategyPrecision": decimals } } } })
}

fn failed(shop: &Harness<Vendure>) -> Vec<String> {
    let probes = shop.check().unwrap();
    let failed = probes.into_iter().filter(|probe| !probe.ok);
    failed.map(|probe| probe.name).collect()
}

#[test]
fn a_shop_that_is_set_up_passes() {
    let empty = json!({ "data": { "customers": { "items": [] } } });
    let shop = shop(&json!({})).script(
        ping("Tue, 01 Dec 2026 00:00:02 GMT")
            .expect(any())
            .reply(200, orders_answer(&orders("orders")[..1]))
            .expect(any())
            .reply_with(fixture("product_variants"))
            .expect(any())
            .reply(200, empty)
            .expect(any())
            .reply_with(fixture("stock_locations"))
            .expect(testing::post("/admin-api"))
            .reply(200, precision(2)),
    );
    assert_eq!(failed(&shop), Vec::<String>::new());
    let description = shop.describe();
    assert_eq!(description.upstream[0].api_version, "3.7");
    assert_eq!(shop.discover().unwrap().len(), 4);
}

#[test]
fn each_thing_that_is_wrong_is_said() {
    let refused = |script: Script| script.expect(any()).reply_with(fixture("wrong_key"));
    let script = refused(refused(refused(refused(ping("Tue, 01 Dec 2026 00:03:00 GMT")))));
    let shop = shop(&json!({})).script(
        script
            .expect(testing::post("/admin-api"))
            .reply(200, precision(3)),
    );
    assert_eq!(
        failed(&shop),
        ["reach", "orders", "products", "customers", "stock", "money"]
    );
}

#[test]
fn a_configuration_out_of_bounds_is_refused_with_its_place() {
    for (field, value) in [("page_size", 0), ("page_size", 501), ("settle_seconds", 0)] {
        let shop = shop(&json!({ field: value }));
        let error = shop.read("orders").page().unwrap_err();
        assert_eq!(
            (error.code(), error.detail_of("path")),
            ("config", Some(format!("/{field}").as_str()))
        );
    }
    let unknown = shop(&json!({ "pagesize": 1 }));
    assert_eq!(unknown.read("orders").page().unwrap_err().code(), "config");
}
