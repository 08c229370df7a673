//! A synchroniser in small: it reads, delivers and tries again, without waiting longer than it must.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stecker_simulators::{Announcement, Config, Faults, Order, Running, Simulators};

/// What came back: a status and a body, or nothing.
pub(crate) type Reply = Option<(u16, Value)>;

/// Speaks to both systems.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) access: Announcement,
}

pub(crate) async fn start(orders: usize, faults: Faults) -> (Running, Client) {
    let config = Config {
        orders,
        faults,
        ..Config::default()
    };
    let running = Simulators::start(config).await.unwrap();
    let client = Client::new(running.announcement());
    (running, client)
}

/// The same faults, over quickly.
pub(crate) fn brief(mut faults: Faults) -> Faults {
    faults.hang_ms = 5;
    faults.slow_ms = 1;
    faults.webhook_hold_ms = 5;
    faults
}

impl Client {
    /// Needs running simulators in this process, or [`stecker_simulators::Remote`], to have set up TLS.
    pub(crate) fn new(access: &Announcement) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            access: access.clone(),
        }
    }

    async fn send(request: reqwest::RequestBuilder) -> Reply {
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((
            status,
            serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or(Value::Null),
        ))
    }

    pub(crate) async fn shop(&self, path: &str) -> Reply {
        let url = format!("{}{path}", self.access.shop_url);
        Self::send(self.http.get(url).header("x-api-key", &self.access.shop_api_key)).await
    }

    pub(crate) async fn put_stock(&self, sku: &str, key: &str, body: &Value) -> Reply {
        let url = format!("{}/api/v1/stock/{sku}", self.access.shop_url);
        let request = self.http.put(url).header("x-api-key", &self.access.shop_api_key);
        Self::send(request.header("idempotency-key", key).json(body)).await
    }

    fn erp(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.access.erp_url));
        request.basic_auth(&self.access.erp_user, Some(&self.access.erp_password))
    }

    pub(crate) async fn erp_get(&self, path: &str) -> Reply {
        Self::send(self.erp(reqwest::Method::GET, path)).await
    }

    pub(crate) async fn book(&self, items: &[Value]) -> Reply {
        let request = self.erp(reqwest::Method::POST, "/v2/sales-orders/batch");
        Self::send(request.json(&json!({ "items": items }))).await
    }

    /// Books items that must get through at once, and gives their statuses.
    pub(crate) async fn book_now(&self, items: &[Value]) -> Vec<String> {
        let (status, body) = self.book(items).await.unwrap();
        assert_eq!(status, 207, "{body}");
        statuses(&body)
    }

    /// Asks until there is a good answer; the simulators promise one after three bad ones.
    pub(crate) async fn persist<F: Future<Output = Reply>>(ask: impl Fn() -> F) -> Value {
        for _ in 0..4 {
            if let Some((200..=299, body)) = ask().await {
                return body;
            }
        }
        panic!("four failures in a row");
    }

    /// All orders in pages, by the pair that is the cursor.
    pub(crate) async fn read_orders(&self, limit: usize) -> Vec<Order> {
        let beginning = json!({ "updated_since": "2000-01-01T00:00:00Z", "after_id": 0 });
        self.read_orders_after(&beginning, limit).await
    }

    /// The orders behind a cursor, which is shaped as `next` is.
    pub(crate) async fn read_orders_after(&self, cursor: &Value, limit: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut cursor = cursor.clone();
        while let Some(since) = cursor["updated_since"].as_str() {
            let path = format!(
                "/api/v1/orders?limit={limit}&updated_since={since}&after_id={}",
                cursor["after_id"]
            );
            let mut page = Self::persist(|| self.shop(&path)).await;
            let read: Vec<Order> = serde_json::from_value(page["orders"].take()).unwrap();
            assert!(read.len() <= limit);
            orders.extend(read);
            cursor = page["next"].take();
        }
        orders
    }

    /// Delivers orders in batches, resolving lost answers by lookup and repeating what was busy.
    pub(crate) async fn deliver(&self, orders: &[Order]) {
        for chunk in orders.chunks(50) {
            let mut open: Vec<_> = chunk.iter().map(item).collect();
            for _ in 0..40 {
                if open.is_empty() {
                    break;
                }
                match self.book(&open).await {
                    Some((207, body)) => {
                        let outcomes = statuses(&body);
                        let mut outcome = outcomes.iter();
                        open.retain(|_| outcome.next().unwrap() == "busy");
                    }
                    Some(_) => {}
                    None => {
                        let booked = self.booked_versions(&open).await;
                        open.retain(|item| {
                            booked.get(item["reference"].as_str().unwrap())
                                != item["version"].as_u64().as_ref()
                        });
                    }
                }
            }
            assert!(open.is_empty(), "{} items never got through", open.len());
        }
    }

    pub(crate) async fn booked_versions(&self, items: &[Value]) -> BTreeMap<String, u64> {
        let query: Vec<_> = items
            .iter()
            .map(|item| format!("reference={}", item["reference"].as_str().unwrap()))
            .collect();
        let path = format!("/v2/sales-orders?{}", query.join("&"));
        let found = Self::persist(|| self.erp_get(&path)).await;
        let sales = found["sales_orders"].as_array().unwrap();
        sales
            .iter()
            .map(|sale| {
                (
                    sale["reference"].as_str().unwrap().to_owned(),
                    sale["version"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    /// Carries every stock level of the ERP to the shop.
    pub(crate) async fn carry_stock(&self) {
        let mut since = 0;
        loop {
            let path = format!("/v2/stock?limit=25&changed_since={since}");
            let page = Self::persist(|| self.erp_get(&path)).await;
            for level in page["stock"].as_array().unwrap() {
                let sku = level["sku"].as_str().unwrap();
                let body = json!({ "quantity": level["quantity"], "version": level["seq"] });
                let key = format!("{sku} {}", level["seq"]);
                Self::persist(|| self.put_stock(sku, &key, &body)).await;
            }
            match page["next"].as_u64() {
                Some(next) => since = next,
                None => return,
            }
        }
    }
}

/// The item that a right connector makes of an order.
pub(crate) fn item(order: &Order) -> Value {
    json!({
        "reference": order.number,
        "version": order.version,
        "idempotency_key": format!("{} v{}", order.number, order.version),
        "customer": order.customer,
        "currency": order.currency,
        "total": order.total,
        "lines": order.lines,
    })
}

pub(crate) fn statuses(body: &Value) -> Vec<String> {
    let results = body["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["status"].as_str().unwrap().to_owned())
        .collect()
}
