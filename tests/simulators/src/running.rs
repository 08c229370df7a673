//! Starting and stopping both systems.

use std::net::Ipv4Addr;
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::erp::state::ErpState;
use crate::fault_plan::FaultPlan;
use crate::faults::{Faults, InvalidFaults};
use crate::shop::state::ShopState;
use crate::shop::{Order, webhooks};
use crate::world::{Damage, Secrets, World};
use crate::{control, erp, shop};

/// The most orders that a shop opens with; all of them are in memory.
const ORDERS: usize = 1_000_000;
/// How long running calls may take to end when the simulators stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of the shop on 127.0.0.1; 0 takes a free one.
    pub shop_port: u16,
    /// Port of the ERP on 127.0.0.1; 0 takes a free one.
    pub erp_port: u16,
    /// Orders that the shop opens with, at most a million. From 20 on, one in 200 (at least one) holds an item that the ERP
    /// does not know.
    pub orders: usize,
    /// Decides data and faults.
    pub seed: u64,
    /// The faults at first.
    pub faults: Faults,
    /// Where the shop sends its events; nowhere at first if it is `None`.
    pub webhook_url: Option<String>,
}

impl Default for Config {
    /// 1,000 orders, seed 7, free ports, no faults.
    fn default() -> Self {
        Self {
            shop_port: 0,
            erp_port: 0,
            orders: 1000,
            seed: 7,
            faults: Faults::off(),
            webhook_url: None,
        }
    }
}

/// All that a connection to the simulators needs; the one line of JSON that the binary prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Base of the shop's addresses, such as `http://127.0.0.1:4711`.
    pub shop_url: String,
    /// Base of the ERP's addresses.
    pub erp_url: String,
    /// For `X-Api-Key`.
    pub shop_api_key: String,
    /// For HTTP Basic.
    pub erp_user: String,
    /// For HTTP Basic.
    pub erp_password: String,
    /// Signs the shop's events.
    pub webhook_secret: String,
    /// For [`Remote`](crate::Remote).
    pub control_token: String,
    /// Decides data and faults.
    pub seed: u64,
    /// Orders that the shop opened with.
    pub orders: usize,
    /// How many of them the ERP must reject.
    pub must_be_rejected: usize,
    /// The process that holds the systems.
    pub pid: u32,
}

/// The way to start the systems inside this process.
#[derive(Debug)]
pub struct Simulators;

impl Simulators {
    /// Starts both systems on 127.0.0.1; they answer when this returns.
    ///
    /// # Errors
    /// A port that is taken, faults out of range, or too many orders.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        config.faults.check()?;
        ensure!(
            config.orders <= ORDERS,
            "{} orders are too many; the shop opens with at most {ORDERS}",
            config.orders
        );
        let (stop, stopping) = watch::channel(false);
        let (events, queue) = mpsc::unbounded_channel();
        let shop = ShopState::new(config.seed, config.orders);
        let erp = ErpState::new(shop.products());
        let faults = FaultPlan::new(config.seed, config.faults, stopping.clone());
        let world = Arc::new(World::new(shop, erp, faults, Secrets::generate()?, events));
        world.set_webhook_target(config.webhook_url);

        let shop_listener = listen("shop", config.shop_port).await?;
        let erp_listener = listen("ERP", config.erp_port).await?;
        let account = world.account();
        let announcement = Announcement {
            shop_url: format!("http://{}", shop_listener.local_addr()?),
            erp_url: format!("http://{}", erp_listener.local_addr()?),
            shop_api_key: world.secrets.shop_api_key.clone(),
            erp_user: world.secrets.erp_user.clone(),
            erp_password: world.secrets.erp_password.clone(),
            webhook_secret: world.secrets.webhook_secret.clone(),
            control_token: world.secrets.control_token.clone(),
            seed: config.seed,
            orders: config.orders,
            must_be_rejected: account
                .shop
                .orders
                .values()
                .filter(|order| order.must_be_rejected)
                .count(),
            pid: std::process::id(),
        };
        let client = client()?;
        let tasks = vec![
            serve(
                shop_listener,
                shop::router(world.clone()).merge(control::router(world.clone())),
                &stopping,
            ),
            serve(erp_listener, erp::router(world.clone()), &stopping),
            tokio::spawn(webhooks::run(world.clone(), client, queue, stopping)),
        ];
        Ok(Running::new(announcement, world, stop, tasks))
    }
}

async fn listen(what: &str, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| {
            format!("the {what} cannot listen on 127.0.0.1:{port}; free the port, or use 0 for any free one")
        })
}

fn serve(listener: TcpListener, router: Router, stopping: &watch::Receiver<bool>) -> JoinHandle<()> {
    let mut stopping = stopping.clone();
    tokio::spawn(async move {
        let until = async move {
            // An error means that the owner is gone, which ends the systems as well.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        // Never fails: axum tries again when accepting does not work.
        let _ = axum::serve(listener, router).with_graceful_shutdown(until).await;
    })
}

/// A client for loopback. Its TLS stack is never used, but reqwest wants to know one.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("the HTTP client could not be set up")
}

/// Both systems, running. They stop when this is dropped; [`Running::stop`] waits for it.
pub struct Running {
    /// Base of the shop's addresses, such as `http://127.0.0.1:4711`.
    pub shop_url: String,
    /// Base of the ERP's addresses.
    pub erp_url: String,
    /// For `X-Api-Key`.
    pub shop_api_key: String,
    /// For HTTP Basic.
    pub erp_user: String,
    /// For HTTP Basic.
    pub erp_password: String,
    /// Signs the shop's events.
    pub webhook_secret: String,
    announcement: Announcement,
    world: Arc<World>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    fn new(
        announcement: Announcement,
        world: Arc<World>,
        stop: watch::Sender<bool>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        let copy = announcement.clone();
        Self {
            shop_url: copy.shop_url,
            erp_url: copy.erp_url,
            shop_api_key: copy.shop_api_key,
            erp_user: copy.erp_user,
            erp_password: copy.erp_password,
            webhook_secret: copy.webhook_secret,
            announcement,
            world,
            stop,
            tasks,
        }
    }

    /// What another process needs to know.
    #[must_use]
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// What both systems hold now.
    #[must_use]
    pub fn account(&self) -> Account {
        self.world.account()
    }

    /// Other faults from now on.
    ///
    /// # Errors
    /// Rates out of range; then nothing changes.
    pub fn set_faults(&self, faults: Faults) -> Result<(), InvalidFaults> {
        faults.check()?;
        self.world.faults.set(faults);
        Ok(())
    }

    /// Where the shop sends its events from now on.
    pub fn set_webhook_url(&self, url: Option<String>) {
        self.world.set_webhook_target(url);
    }

    /// From now on, the shop answers 410 under version 1 of its API.
    pub fn end_first_version(&self) {
        self.world.end_first_version();
    }

    /// New orders, all with the same `updated_at`.
    pub fn create_orders(&self, count: usize) -> Vec<Order> {
        self.world.create_orders(count)
    }

    /// A new version of each order: one more piece of its first line, the next status.
    ///
    /// # Errors
    /// The ids that the shop does not know; then nothing changes.
    pub fn update_orders(&self, ids: &[u64]) -> Result<Vec<Order>, Vec<u64>> {
        self.world.update_orders(ids, false)
    }

    /// A new version of each order, with a known item in the place of every discontinued one.
    ///
    /// # Errors
    /// The ids that the shop does not know; then nothing changes.
    pub fn repair_orders(&self, ids: &[u64]) -> Result<Vec<Order>, Vec<u64>> {
        self.world.update_orders(ids, true)
    }

    /// Damages what the ERP holds, behind everybody's back; how many sales it was done to.
    pub fn damage(&self, damage: &Damage) -> usize {
        self.world.damage(damage)
    }

    /// From now on the ERP books sales of this item.
    pub fn learn_item(&self, sku: &str) {
        self.world.erp().learn(sku);
    }

    /// Stops both systems and waits until their ports are free.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(FAREWELL, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("shop_url", &self.shop_url)
            .field("erp_url", &self.erp_url)
            .finish_non_exhaustive()
    }
}
