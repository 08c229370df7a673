//! localstripe (<https://github.com/adrienverge/localstripe>): a stateful imitation of Stripe that signs its webhooks as Stripe does.
//!
//! It differs from Stripe in what makes it worth testing against: lists begin with the oldest, an `Idempotency-Key` means nothing to it, a
//! webhook that is not taken is never sent again, and there are events for few things besides payment intents and customers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::install;
use crate::process::Server;
use crate::secrets::generated;

/// A card that pays, and one that is declined (<https://docs.stripe.com/testing>).
const GOOD_CARD: &str = "4242424242424242";
const DECLINED_CARD: &str = "4000000000000341";
/// localstripe knows no largest page.
const EVERYTHING: &str = "100000";

/// localstripe installed; nothing is running yet.
#[derive(Debug)]
pub struct PreparedStripe {
    pub(crate) folder: PathBuf,
}

/// localstripe on 127.0.0.1, empty at first. Dropping it kills the process.
pub struct LocalStripe {
    server: Server,
    secret_key: String,
    http: reqwest::Client,
}

/// A payment as localstripe has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// `succeeded`, or something else where nothing was paid.
    pub status: String,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, in lower case.
    pub currency: String,
}

impl PreparedStripe {
    /// Starts it on a free port of 127.0.0.1, with its log in `dir` (created if needed).
    ///
    /// # Errors
    /// If it does not answer in time; the message quotes the end of its log.
    pub async fn start(&self, dir: &Path) -> Result<LocalStripe> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let (python, script) = (install::python(&self.folder), self.folder.join("server.py"));
        let command = move |port: u16| {
            let mut command = Command::new(&python);
            command.arg(&script).arg(port.to_string());
            command
        };
        let server = Server::start("localstripe", command, &dir.join("localstripe.log")).await?;
        // Another part of the program may have installed one already, and the first stays.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        Ok(LocalStripe {
            server,
            secret_key: format!("sk_test_{}", generated()),
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }
}

impl LocalStripe {
    /// Base of the API: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// A key that it takes (any that begins with `sk_`), for `Authorization: Bearer`.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// From now on events are posted to `url`, one second after they happened, signed with `secret`. It is tried once.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn set_webhook(&self, url: &str, secret: &str) -> Result<()> {
        let hook = json!({ "url": url, "secret": secret });
        let request = self
            .http
            .post(format!("{}/_config/webhooks/stecker", self.url()))
            .json(&hook);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Somebody pays with a good card, or tries to with a bad one; the payment intent's id.
    ///
    /// # Errors
    /// If it does not answer, or not as it should.
    pub async fn pay(&self, amount: i64, currency: &str, order: &str, card_is_good: bool) -> Result<String> {
        let number = if card_is_good { GOOD_CARD } else { DECLINED_CARD };
        let card = json!({ "number": number, "exp_month": 12, "exp_year": 2099, "cvc": "123" });
        let method = self
            .post("payment_methods", &json!({ "type": "card", "card": card }))
            .await?;
        let intent = json!({
            "amount": amount, "currency": currency, "payment_method": method["id"], "metadata": { "order": order },
        });
        let intent = self.post("payment_intents", &intent).await?;
        let id = intent["id"]
            .as_str()
            .context("the payment intent has no id")?
            .to_owned();
        let confirm = self
            .http
            .post(format!("{}/v1/payment_intents/{id}/confirm", self.url()))
            .bearer_auth(&self.secret_key);
        let status = confirm.send().await?.status();
        let expected = if card_is_good { 200 } else { 402 };
        ensure!(
            status.as_u16() == expected,
            "confirming {id} was answered with {status}"
        );
        Ok(id)
    }

    /// All payment intents, by id.
    ///
    /// # Errors
    /// If it does not answer, or not as it should.
    pub async fn payments(&self) -> Result<BTreeMap<String, Payment>> {
        let mut found = BTreeMap::new();
        for intent in self.all("payment_intents").await? {
            let text = |field: &str| {
                intent[field]
                    .as_str()
                    .map(str::to_owned)
                    .with_context(|| format!("{intent} has no {field}"))
            };
            let payment = Payment {
                status: text("status")?,
                amount: intent["amount"].as_i64().context("a payment has no amount")?,
                currency: text("currency")?,
            };
            found.insert(text("id")?, payment);
        }
        Ok(found)
    }

    /// All things of a list, such as `refunds`, as they are.
    ///
    /// # Errors
    /// If it does not answer, or not as it should.
    pub async fn all(&self, list: &str) -> Result<Vec<Value>> {
        let request = self
            .http
            .get(format!("{}/v1/{list}?limit={EVERYTHING}", self.url()))
            .bearer_auth(&self.secret_key);
        let mut answer: Value = request.send().await?.error_for_status()?.json().await?;
        match answer["data"].take() {
            Value::Array(things) => Ok(things),
            other => anyhow::bail!("{list} is {other} instead of a list"),
        }
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// If it can be neither ended nor killed.
    pub async fn stop(self) -> Result<()> {
        self.server.stop().await
    }

    /// It takes JSON where Stripe takes only forms.
    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self
            .http
            .post(format!("{}/v1/{path}", self.url()))
            .bearer_auth(&self.secret_key)
            .json(body);
        let response = request.send().await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "{path} was answered with {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("the answer to {path} is not JSON"))
    }
}
