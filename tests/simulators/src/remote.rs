//! Steering simulators that run in another process.

use anyhow::{Context, ensure};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::account::Account;
use crate::faults::Faults;
use crate::running::{Announcement, client};
use crate::shop::Order;

/// A client of the [control routes](crate::control). Every method fails if the simulators are gone or refuse.
#[derive(Clone, Debug)]
pub struct Remote {
    client: reqwest::Client,
    base: String,
    token: String,
}

#[derive(Deserialize)]
struct Orders {
    orders: Vec<Order>,
}

impl Remote {
    /// A client for the simulators that announced themselves so.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(announcement: &Announcement) -> anyhow::Result<Self> {
        let base = format!("{}/_control", announcement.shop_url);
        Ok(Self {
            client: client()?,
            base,
            token: announcement.control_token.clone(),
        })
    }

    /// What both systems hold now.
    ///
    /// # Errors
    /// No or no good answer.
    pub async fn account(&self) -> anyhow::Result<Account> {
        self.call(Method::GET, "/account", None).await
    }

    /// New orders.
    ///
    /// # Errors
    /// No or no good answer.
    pub async fn create_orders(&self, count: usize) -> anyhow::Result<Vec<Order>> {
        let answer: Orders = self
            .call(Method::POST, "/orders", Some(json!({ "count": count })))
            .await?;
        Ok(answer.orders)
    }

    /// A new version of each order; with `repair`, without its discontinued items.
    ///
    /// # Errors
    /// No or no good answer; an unknown id, and then nothing changes.
    pub async fn update_orders(&self, ids: &[u64], repair: bool) -> anyhow::Result<Vec<Order>> {
        let wish = json!({ "ids": ids, "repair": repair });
        let answer: Orders = self.call(Method::POST, "/orders/update", Some(wish)).await?;
        Ok(answer.orders)
    }

    /// Other faults from now on.
    ///
    /// # Errors
    /// No or no good answer; rates out of range.
    pub async fn set_faults(&self, faults: &Faults) -> anyhow::Result<()> {
        self.call(Method::PUT, "/faults", Some(serde_json::to_value(faults)?))
            .await
    }

    /// Where the shop sends its events from now on.
    ///
    /// # Errors
    /// No or no good answer.
    pub async fn set_webhook_url(&self, url: Option<&str>) -> anyhow::Result<()> {
        self.call(Method::PUT, "/webhooks", Some(json!({ "url": url })))
            .await
    }

    /// Emits `order.updated` for the orders as they are.
    ///
    /// # Errors
    /// No or no good answer; an unknown id.
    pub async fn emit(&self, ids: &[u64]) -> anyhow::Result<()> {
        self.call(Method::POST, "/webhooks/emit", Some(json!({ "ids": ids })))
            .await
    }

    /// From now on the ERP books sales of this item.
    ///
    /// # Errors
    /// No or no good answer.
    pub async fn learn_item(&self, sku: &str) -> anyhow::Result<()> {
        self.call(Method::POST, "/erp/items", Some(json!({ "sku": sku })))
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .client
            .request(method, &url)
            .header("x-control-token", &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("the simulators at {url} do not answer"))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .with_context(|| format!("the answer of {url} broke off"))?;
        ensure!(
            status.is_success(),
            "the simulators refuse {url} with {status}: {text}"
        );
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).with_context(|| format!("the answer of {url} is not what it should be"))
    }
}
