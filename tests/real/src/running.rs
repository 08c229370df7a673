//! Both systems while they run: where they are, how to get in, and what can be asked of them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::assets::{self, ORDERS, TRYTON_DATABASE};
use crate::cache::Prepared;
use crate::install;
use crate::process::{End, Server};
use crate::secrets::{Secrets, generated};

/// Where the shop posts its order events, and the secret that it signs them with.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Absolute `http` address.
    pub url: String,
    /// Key of the HMAC-SHA256; any text.
    pub secret: String,
}

/// Vendure and Tryton on 127.0.0.1, each with its own copy of the prepared data.
///
/// Dropping it kills both processes; [`RunningReal::stop`] lets them end in order.
pub struct RunningReal {
    shop: Mutex<Shop>,
    erp: Mutex<Server>,
    vendure_port: u16,
    tryton_port: u16,
    pub(crate) secrets: Secrets,
    pub(crate) http: reqwest::Client,
}

struct Shop {
    server: Server,
    placed: u32,
    /// The server keeps it in memory only.
    hook: Value,
}

impl RunningReal {
    pub(crate) async fn start(prepared: &Prepared, secrets: Secrets, dir: &Path) -> Result<Self> {
        let shop_file = dir.join("vendure.sqlite");
        let erp_folder = dir.join("tryton");
        for path in [&shop_file, &erp_folder] {
            if path.exists() {
                bail!(
                    "{} is left from an earlier run; choose another folder or remove it",
                    path.display()
                );
            }
        }
        std::fs::create_dir_all(&erp_folder).with_context(|| format!("creating {}", erp_folder.display()))?;
        copy(&prepared.data.join("vendure").join("shop.sqlite"), &shop_file)?;
        // All files of the folder: SQLite may have left a write-ahead log beside the database.
        for entry in std::fs::read_dir(prepared.data.join("tryton").join("data"))? {
            let entry = entry?;
            copy(&entry.path(), &erp_folder.join(entry.file_name()))?;
        }
        let erp_conf = dir.join("trytond.conf");
        assets::write_trytond_conf(&erp_conf, &std::path::absolute(&erp_folder)?)?;

        let (scripts, shop_file) = (prepared.data.join("vendure"), std::path::absolute(&shop_file)?);
        let password = secrets.vendure_password.clone();
        let shop = move |port: u16| {
            let mut shop = Command::new("node");
            shop.arg("server.js")
                .current_dir(&scripts)
                .env("VENDURE_DB", &shop_file)
                .env("VENDURE_PASSWORD", &password)
                .env("VENDURE_PORT", port.to_string());
            shop
        };
        let python = install::python(&prepared.python);
        let script = prepared.data.join("tryton").join("server.py");
        let erp_conf = std::path::absolute(&erp_conf)?;
        let erp = move |port: u16| {
            let mut erp = Command::new(&python);
            erp.arg(&script)
                .arg(&erp_conf)
                .arg(TRYTON_DATABASE)
                .arg(port.to_string());
            erp
        };
        let (shop_log, erp_log) = (dir.join("vendure.log"), dir.join("tryton.log"));
        let (shop, erp) = tokio::try_join!(
            Server::start("Vendure", shop, &shop_log),
            Server::start("Tryton", erp, &erp_log),
        )?;

        // Another part of the program may have installed one already, and the first stays.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            vendure_port: shop.port,
            tryton_port: erp.port,
            shop: Mutex::new(Shop {
                server: shop,
                placed: ORDERS,
                hook: Value::Null,
            }),
            erp: Mutex::new(erp),
            secrets,
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    /// The admin API of the shop: GraphQL by `POST`.
    #[must_use]
    pub fn vendure_admin_url(&self) -> String {
        format!("http://127.0.0.1:{}/admin-api", self.vendure_port)
    }

    /// The API that the shop's customers use: GraphQL by `POST`.
    #[must_use]
    pub fn vendure_shop_url(&self) -> String {
        format!("http://127.0.0.1:{}/shop-api", self.vendure_port)
    }

    /// Goes into the header `vendure-api-key`. It may read orders, customers, products and stock locations, and
    /// update products, which includes their stock; nothing else.
    #[must_use]
    pub fn vendure_api_key(&self) -> &str {
        &self.secrets.vendure_api_key
    }

    /// Base of the ERP's API, with the slash at its end: `http://127.0.0.1:PORT/<database>/`. RPC is `POST rpc/`.
    #[must_use]
    pub fn tryton_url(&self) -> String {
        format!("http://127.0.0.1:{}/{TRYTON_DATABASE}/", self.tryton_port)
    }

    /// A user with the rights of a sales clerk who also keeps products and stock. HTTP Basic works on every call.
    #[must_use]
    pub fn tryton_user(&self) -> &str {
        &self.secrets.tryton_user
    }

    /// The password of [`RunningReal::tryton_user`].
    #[must_use]
    pub fn tryton_password(&self) -> &str {
        &self.secrets.tryton_password
    }

    /// Id of the one company; belongs into the context of every call.
    #[must_use]
    pub fn tryton_company(&self) -> i64 {
        self.secrets.tryton_company
    }

    /// From now on the shop posts an event for each order that is paid, shipped, delivered or cancelled; `None` ends
    /// that. The body is JSON; `x-vendure-signature` is the hexadecimal HMAC-SHA256 of its bytes, and
    /// `x-vendure-event-id` is the same when a delivery is tried again (after 0.5 s and 2 s).
    ///
    /// # Errors
    /// If the shop has ended.
    pub async fn set_webhook(&self, webhook: Option<&Webhook>) -> Result<()> {
        let hook = webhook.map(|hook| json!({ "url": hook.url, "secret": hook.secret }));
        let mut shop = self.shop.lock().await;
        shop.hook = hook.unwrap_or_default();
        shop.tell_hook().await
    }

    /// A secret for [`Webhook::secret`], generated anew with each call.
    #[must_use]
    pub fn generated_secret() -> String {
        generated()
    }

    /// Buys something `count` times through the shop's own API and returns the codes of the paid orders.
    ///
    /// # Errors
    /// If the shop refuses one (sold out, for instance) or has ended.
    pub async fn place_orders(&self, count: u32) -> Result<Vec<String>> {
        let mut shop = self.shop.lock().await;
        let from = shop.placed;
        let codes = shop
            .server
            .ask(&json!({ "place": { "from": from, "count": count } }))
            .await?;
        shop.placed += count;
        serde_json::from_value(codes).context("the shop answered with something else than order codes")
    }

    /// Ships all of these orders, as somebody in the warehouse would. They change their state, and nothing that they cost.
    ///
    /// # Errors
    /// If the shop refuses one (it is shipped already, for instance) or has ended.
    pub async fn ship_orders(&self, codes: &[String]) -> Result<()> {
        let mut shop = self.shop.lock().await;
        shop.server.ask(&json!({ "ship": codes })).await?;
        Ok(())
    }

    /// Ends Tryton in the middle of whatever it is doing.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn end_tryton(&self, how: End) -> Result<()> {
        self.erp.lock().await.end(how).await
    }

    /// Starts Tryton again after [`RunningReal::end_tryton`], at the same address, with what it had written.
    ///
    /// # Errors
    /// If it does not answer in time; the message quotes the end of its log.
    pub async fn start_tryton(&self) -> Result<()> {
        self.erp.lock().await.start_again().await
    }

    /// Ends Vendure in the middle of whatever it is doing.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn end_vendure(&self, how: End) -> Result<()> {
        self.shop.lock().await.server.end(how).await
    }

    /// Starts Vendure again after [`RunningReal::end_vendure`], at the same address, with what it had written; it posts its
    /// events to where it did before.
    ///
    /// # Errors
    /// If it does not answer in time; the message quotes the end of its log.
    pub async fn start_vendure(&self) -> Result<()> {
        let mut shop = self.shop.lock().await;
        shop.server.start_again().await?;
        shop.tell_hook().await
    }

    /// Ends both processes and waits until they are gone.
    ///
    /// # Errors
    /// If a process can be neither ended nor killed.
    pub async fn stop(self) -> Result<()> {
        let (shop, erp) = (self.shop.into_inner().server, self.erp.into_inner());
        let (shop, erp) = tokio::join!(shop.stop(), erp.stop());
        shop.and(erp)
    }
}

impl Shop {
    async fn tell_hook(&mut self) -> Result<()> {
        self.server.ask(&json!({ "hook": self.hook })).await?;
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
