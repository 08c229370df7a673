//! Records what both systems really answer, into `fixtures/`, for the unit tests of the connectors.
//!
//! Runs only where `STECKER_REAL_RECORD` is set, because it rewrites files of the source tree. A fixture holds the
//! request (method, path, body) and the answer (status, body); keys, passwords and ports are in none of them.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::path::Path;

use serde_json::{Value, json};
use stecker_real_systems::{RealSystems, RunningReal};

const ORDERS: &str = "query($options: OrderListOptions) {
  orders(options: $options) {
    totalItems
    items {
      id code state orderPlacedAt updatedAt currencyCode
      subTotalWithTax shippingWithTax totalWithTax couponCodes
      customer { id firstName lastName emailAddress phoneNumber }
      shippingAddress { fullName company streetLine1 streetLine2 postalCode city province countryCode phoneNumber }
      billingAddress { fullName company streetLine1 streetLine2 postalCode city province countryCode phoneNumber }
      lines { id quantity unitPriceWithTax proratedLinePriceWithTax taxRate productVariant { id sku name } }
      surcharges { description sku priceWithTax }
      shippingLines { id discountedPriceWithTax shippingMethod { code name } }
    }
  }
}";
const VARIANTS: &str = "query($options: ProductVariantListOptions) {
  productVariants(options: $options) {
    totalItems
    items {
      id sku name enabled price priceWithTax currencyCode updatedAt
      product { id name slug description }
      stockLevels { stockLocationId stockOnHand stockAllocated }
    }
  }
}";
const CUSTOMERS: &str = "query($options: CustomerListOptions) {
  customers(options: $options) {
    totalItems
    items {
      id title firstName lastName emailAddress phoneNumber updatedAt
      addresses { id fullName company streetLine1 streetLine2 postalCode city country { code } defaultShippingAddress }
    }
  }
}";
const SET_STOCK: &str = "mutation($input: [UpdateProductVariantInput!]!) {
  updateProductVariants(input: $input) { id sku stockLevels { stockLocationId stockOnHand stockAllocated } }
}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fixtures_are_recorded_again() {
    if std::env::var_os("STECKER_REAL_RECORD").is_none() {
        println!("skipped: set STECKER_REAL_RECORD=1 to write tests/real/fixtures anew");
        return;
    }
    let prepared = RealSystems::prepare(&|line| println!("{line}")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let real = prepared.start(dir.path()).await.unwrap();
    let recorder = Recorder {
        real: &real,
        run_dir: dir.path().display().to_string(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    recorder.vendure().await;
    recorder.tryton().await;
    real.stop().await.unwrap();
}

struct Recorder<'a> {
    real: &'a RunningReal,
    run_dir: String,
    http: reqwest::Client,
}

impl Recorder<'_> {
    async fn vendure(&self) {
        let since =
            json!({ "updatedAt": { "after": "2020-01-01T00:00:00.000Z" }, "active": { "eq": false } });
        let page = |filter: &Value, take: u32, skip: u32| json!({ "options": { "filter": filter, "sort": { "updatedAt": "ASC", "id": "ASC" }, "take": take, "skip": skip } });
        self.graphql("orders", ORDERS, page(&since, 3, 0)).await;
        // Order number 4 of the seed carries the coupon.
        self.graphql(
            "orders_discounted",
            ORDERS,
            page(&json!({ "id": { "eq": "4" } }), 1, 0),
        )
        .await;
        self.graphql("orders_past_the_end", ORDERS, page(&since, 3, 1000))
            .await;
        self.graphql("orders_page_too_large", ORDERS, page(&since, 5000, 0))
            .await;
        self.graphql("customers", CUSTOMERS, page(&json!({}), 2, 0)).await;
        self.graphql("product_variants", VARIANTS, page(&json!({}), 3, 0))
            .await;
        self.graphql(
            "product_variants_by_sku",
            VARIANTS,
            page(&json!({ "sku": { "in": ["KF-250", "NONE"] } }), 10, 0),
        )
        .await;
        self.graphql(
            "stock_locations",
            "{ stockLocations { items { id name } } }",
            json!({}),
        )
        .await;
        self.graphql(
            "check",
            "{ activeChannel { id code defaultCurrencyCode pricesIncludeTax } }",
            json!({}),
        )
        .await;
        let level = |id: &str, location: &str, on_hand: i64| json!({ "input": [{ "id": id, "stockLevels": [{ "stockLocationId": location, "stockOnHand": on_hand }] }] });
        self.graphql("set_stock", SET_STOCK, level("1", "1", 501)).await;
        self.graphql("set_stock_unknown_variant", SET_STOCK, level("9999", "1", 5))
            .await;
        self.graphql("set_stock_unknown_location", SET_STOCK, level("1", "77", 5))
            .await;
        self.graphql("forbidden", "{ administrators { totalItems } }", json!({}))
            .await;
        self.graphql("unknown_field", "{ nope }", json!({})).await;
        let body = json!({ "query": ORDERS, "variables": page(&since, 1, 0) });
        let request = self
            .http
            .post(self.real.vendure_admin_url())
            .header("vendure-api-key", "wrong:key");
        self.write("vendure", "wrong_key", "/admin-api", &body, request.json(&body))
            .await;
    }

    async fn graphql(&self, name: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let request = self
            .http
            .post(self.real.vendure_admin_url())
            .header("vendure-api-key", self.real.vendure_api_key());
        self.write("vendure", name, "/admin-api", &body, request.json(&body))
            .await
    }

    async fn rpc(&self, name: &str, method: &str, params: Value) -> Value {
        self.rpc_in(name, method, params, json!({})).await
    }

    async fn rpc_in(&self, name: &str, method: &str, mut params: Value, mut context: Value) -> Value {
        context["company"] = self.real.tryton_company().into();
        params.as_array_mut().unwrap().push(context);
        let body = json!({ "id": 1, "method": method, "params": params });
        let request = self
            .http
            .post(format!("{}rpc/", self.real.tryton_url()))
            .basic_auth(self.real.tryton_user(), Some(self.real.tryton_password()));
        let answer = self
            .write("tryton", name, "/stecker/rpc/", &body, request.json(&body))
            .await;
        answer["result"].clone()
    }

    async fn tryton(&self) {
        const PRODUCT: &str = "model.product.product.search_read";
        const SALE: &str = "model.sale.sale.search_read";
        let decimal = |text: &str| json!({ "__class__": "Decimal", "decimal": text });

        self.rpc("check", "model.res.user.get_preferences", json!([true]))
            .await;
        let units = self
            .rpc(
                "find_unit",
                "model.product.uom.search_read",
                json!([[["symbol", "=", "u"]], 0, 1, null, ["symbol"]]),
            )
            .await;
        let categories = json!([[["accounting", "=", true]], 0, 2, null, ["name"]]);
        let categories = self
            .rpc(
                "find_account_category",
                "model.product.category.search_read",
                categories,
            )
            .await;
        let terms = json!([[["name", "=", "Vorkasse"]], 0, 1, null, ["name"]]);
        let terms = self
            .rpc(
                "find_payment_term",
                "model.account.invoice.payment_term.search_read",
                terms,
            )
            .await;
        let countries = json!([
            [["code", "in", ["DE", "AT"]]],
            0,
            null,
            [["code", "DESC"]],
            ["code"]
        ]);
        let countries = self
            .rpc("find_countries", "model.country.country.search_read", countries)
            .await;
        let locations = json!([[["type", "=", "warehouse"]], 0, null, null, ["code", "name"]]);
        let locations = self
            .rpc("find_warehouses", "model.stock.location.search_read", locations)
            .await;
        let (unit, warehouse) = (&units[0]["id"], &locations[0]["id"]);

        let mechanisms = json!([
            [["type", "=", "email"], ["value", "=", "erika@example.com"]],
            0,
            1,
            null,
            ["party", "value"]
        ]);
        self.rpc(
            "find_party_by_email_none",
            "model.party.contact_mechanism.search_read",
            mechanisms.clone(),
        )
        .await;
        let party = json!([[{
            "name": "Erika Beispiel",
            "code": "V-17",
            "addresses": [["create", [{
                "party_name": "Beispiel & Töchter GmbH", "street": "Hauptstraße 1\nHinterhaus",
                "postal_code": "53111", "city": "Bonn", "country": countries[0]["id"],
            }]]],
            "contact_mechanisms": [["create", [{ "type": "email", "value": "erika@example.com" }]]],
        }]]);
        let party = self
            .rpc("create_party", "model.party.party.create", party.clone())
            .await[0]
            .clone();
        let again = json!([[{ "name": "Somebody else", "code": "V-17" }]]);
        self.rpc("create_party_code_taken", "model.party.party.create", again)
            .await;
        self.rpc(
            "find_party_by_email",
            "model.party.contact_mechanism.search_read",
            mechanisms,
        )
        .await;
        let by_code = json!([[["code", "=", "V-17"]], 0, 1, null, ["code", "name", "addresses"]]);
        self.rpc("find_party_by_code", "model.party.party.search_read", by_code)
            .await;
        let fields = ["party", "party_name", "street", "postal_code", "city", "country"];
        let addresses = json!([[["party", "=", party]], 0, null, [["id", "ASC"]], fields]);
        let addresses = self
            .rpc("find_addresses", "model.party.address.search_read", addresses)
            .await;
        let address = &addresses[0]["id"];
        let second =
            json!([[{ "party": party, "street": "Am Deich 14b", "postal_code": "26721", "city": "Emden" }]]);
        self.rpc("create_address", "model.party.address.create", second)
            .await;
        self.rpc(
            "update_party",
            "model.party.party.write",
            json!([[party], { "name": "Erika Beispiel-Muster" }]),
        )
        .await;

        let fields = json!([
            "code",
            "name",
            "list_price_used",
            "template",
            "template.name",
            "write_date"
        ]);
        let found = json!([[["code", "in", ["BE-BL", "PP-4"]]], 0, null, null, fields]);
        let products = self.rpc("find_products", PRODUCT, found.clone()).await;
        let product = &products[0]["id"];
        let template = json!([[{
            "name": "Probierpaket, klein", "type": "goods", "default_uom": unit, "salable": true, "sale_uom": unit,
            "list_price": decimal("15.88"), "account_category": categories[0]["id"],
            "products": [["create", [{ "suffix_code": "PP-4" }]]],
        }]]);
        self.rpc(
            "create_product",
            "model.product.template.create",
            template.clone(),
        )
        .await;
        self.rpc(
            "create_product_code_taken",
            "model.product.template.create",
            template,
        )
        .await;
        self.rpc("find_products_after", PRODUCT, found).await;

        let fields = json!(["code", "quantity", "forecast_quantity"]);
        let stock = json!([[["code", "!=", null]], 0, 3, [["code", "ASC"]], fields]);
        self.rpc_in(
            "stock",
            PRODUCT,
            stock.clone(),
            json!({ "locations": [warehouse] }),
        )
        .await;
        self.rpc("stock_without_locations", PRODUCT, stock).await;

        let fields = [
            "number",
            "reference",
            "state",
            "total_amount",
            "shipment_state",
            "write_date",
        ];
        let by_reference = json!([[["reference", "=", "ORDER-1"]], 0, null, null, fields]);
        self.rpc("find_sale_none", SALE, by_reference.clone()).await;
        let sale = |reference: &str, address: &Value| {
            json!([[{
                "party": party, "reference": reference, "payment_term": terms[0]["id"], "warehouse": warehouse,
                "invoice_address": address, "shipment_address": address,
                "lines": [["create", [
                    { "type": "line", "product": product, "quantity": 3.0, "unit": unit,
                      "unit_price": decimal("12.9833"), "description": "Becher" },
                    { "type": "line", "quantity": 1.0, "unit_price": decimal("14.96"), "description": "Shipping" },
                ]]],
            }]])
        };
        let made = self
            .rpc("create_sale", "model.sale.sale.create", sale("ORDER-1", address))
            .await;
        self.rpc("find_sale_draft", SALE, by_reference.clone()).await;
        self.rpc("quote_sale", "model.sale.sale.quote", json!([made]))
            .await;
        self.rpc("confirm_sale", "model.sale.sale.confirm", json!([made]))
            .await;
        self.rpc("confirm_sale_again", "model.sale.sale.confirm", json!([made]))
            .await;
        self.rpc("find_sale", SALE, by_reference).await;
        let fields = json!([
            "id",
            "sale.reference",
            "product.code",
            "quantity",
            "unit_price",
            "amount",
            "description"
        ]);
        self.rpc(
            "sale_lines",
            "model.sale.line.search_read",
            json!([[["sale", "=", made[0]]], 0, null, [["id", "ASC"]], fields]),
        )
        .await;
        let fields = json!([
            "number",
            "state",
            "origins",
            "planned_date",
            "effective_date",
            "write_date",
            "create_date"
        ]);
        self.rpc(
            "shipments",
            "model.stock.shipment.out.search_read",
            json!([[], 0, 10, [["id", "ASC"]], fields]),
        )
        .await;
        let fields = json!([
            "reference",
            "state",
            "shipment_state",
            "shipments.number",
            "write_date"
        ]);
        let shipped = json!([
            [["reference", "!=", null]],
            0,
            10,
            [["write_date", "ASC"], ["id", "ASC"]],
            fields
        ]);
        self.rpc("sale_shipment_states", SALE, shipped).await;

        let incomplete = self
            .rpc(
                "create_sale_without_address",
                "model.sale.sale.create",
                sale("ORDER-2", &Value::Null),
            )
            .await;
        self.rpc(
            "quote_sale_without_address",
            "model.sale.sale.quote",
            json!([incomplete]),
        )
        .await;
        let precise = json!([[{ "party": party, "lines": [["create", [
            { "type": "line", "quantity": 1.0, "unit_price": decimal("1.123456"), "description": "x" }]]] }]]);
        self.rpc("create_sale_too_many_digits", "model.sale.sale.create", precise)
            .await;
        self.rpc(
            "create_sale_without_party",
            "model.sale.sale.create",
            json!([[{ "reference": "ORDER-3" }]]),
        )
        .await;
        self.rpc(
            "create_sale_unknown_field",
            "model.sale.sale.create",
            json!([[{ "party": party, "nope": 1 }]]),
        )
        .await;
        self.rpc(
            "create_sale_raw_number",
            "model.sale.sale.create",
            json!([[{ "party": party, "lines": [["create", [
            { "type": "line", "quantity": 1.0, "unit_price": 1.5, "description": "x" }]]] }]]),
        )
        .await;
        self.rpc(
            "read_missing_sale",
            "model.sale.sale.read",
            json!([[99999], ["number"]]),
        )
        .await;
        self.rpc("forbidden_button", "model.sale.sale.process", json!([made]))
            .await;
        self.rpc(
            "forbidden_model",
            "model.res.user.create",
            json!([[{ "name": "x", "login": "x" }]]),
        )
        .await;
        self.rpc("unknown_method", "model.sale.sale.nope", json!([[1]]))
            .await;
        self.rpc("unknown_model", "model.nope.read", json!([[1]])).await;

        let body = json!({ "id": 1, "method": "model.res.user.get_preferences", "params": [true, {}] });
        let url = format!("{}rpc/", self.real.tryton_url());
        let request = self
            .http
            .post(&url)
            .basic_auth("connector", Some("wrong"))
            .json(&body);
        self.write("tryton", "wrong_password", "/stecker/rpc/", &body, request)
            .await;
        let unknown = url.replace("/stecker/", "/nope/");
        let request = self
            .http
            .post(unknown)
            .basic_auth("connector", Some("wrong"))
            .json(&body);
        self.write("tryton", "unknown_database", "/nope/rpc/", &body, request)
            .await;
    }

    /// Sends the request and writes it with its answer to `fixtures/<system>/<name>.json`; returns the answer's body.
    async fn write(
        &self,
        system: &str,
        name: &str,
        path: &str,
        body: &Value,
        request: reqwest::RequestBuilder,
    ) -> Value {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get("content-type")
            .map(|v| v.to_str().unwrap().to_owned());
        // The folder of this run is different each time and nobody's business.
        let text = response.text().await.unwrap().replace(&self.run_dir, "/srv");
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let fixture = json!({
            "request": { "method": "POST", "path": path, "body": body },
            "response": { "status": status, "content_type": content_type, "body": answer },
        });
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(system)
            .join(format!("{name}.json"));
        std::fs::write(
            file,
            format!("{}\n", serde_json::to_string_pretty(&fixture).unwrap()),
        )
        .unwrap();
        answer
    }
}
