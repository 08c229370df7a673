//! The job of the demo: orders from the simulated shop to the simulated ERP, stock back to the shop.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use stecker_model::{RecordState, api::FlowStatus};
use stecker_simulators::{Account, Announcement};

use crate::{Artifacts, Host};

/// The flow that carries orders.
pub(crate) const ORDERS: &str = "orders-to-erp";
/// The flow that carries stock.
pub(crate) const STOCK: &str = "stock-to-shop";

/// What the shop calls an order is not what the ERP calls a sale.
const ORDER_TO_SALE: &str = r"{
  reference: .number,
  version,
  customer: {name: .customer.name, email: .customer.email},
  currency, total,
  lines: [.lines[] | {sku, name, quantity, unit_price}]
}";

/// The setup of the job and what it needs beside it.
#[derive(Debug)]
pub struct Job {
    setup: std::path::PathBuf,
}

impl Job {
    /// Writes the setup file and the secrets' files (mode 0600) into a folder.
    ///
    /// # Errors
    /// A plugin is not built; the folder cannot be written.
    pub fn write(folder: &Path, artifacts: &Artifacts, systems: &Announcement) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let secret = |name: &str, value: &str| -> Result<String> {
            let path = folder.join(name);
            write_private(&path, value)?;
            Ok(path.display().to_string())
        };
        let setup = format!(
            r#"# Orders from the shop to the ERP, stock back to the shop.

[[connection]]
name = "shop"
plugin = {{ path = {shop_plugin:?} }}
config = {{ base_url = {shop_url:?} }}
grants.http = [{{ host = {shop_host:?}, schemes = ["http"], methods = ["GET", "PUT"] }}]
credentials.api = {{ secret = {{ file = {api_key:?} }} }}
credentials.webhook = {{ secret = {{ file = {webhook:?} }} }}

[[connection]]
name = "erp"
plugin = {{ path = {erp_plugin:?} }}
config = {{ base_url = {erp_url:?} }}
grants.http = [{{ host = {erp_host:?}, schemes = ["http"], methods = ["GET", "POST"] }}]
credentials.api = {{ username = {erp_user:?}, secret = {{ file = {erp_password:?} }} }}

[[flow]]
name = "{ORDERS}"
source = {{ connection = "shop", stream = "orders" }}
destination = {{ connection = "erp", stream = "orders" }}
trigger = {{ every = "1s", webhook = true }}
delivery = {{ page = 100, batch = 25, lanes = 4 }}
retry = {{ max-attempts = 20, base = "100ms", cap = "3s" }}

[[flow.transform]]
plugin = {{ path = {jq:?} }}
config = {{ key = ".reference", program = '''
{ORDER_TO_SALE}
''' }}

[[flow]]
name = "{STOCK}"
source = {{ connection = "erp", stream = "stock" }}
destination = {{ connection = "shop", stream = "stock" }}
trigger = {{ every = "1s" }}
delivery = {{ page = 100, batch = 20, lanes = 2 }}
retry = {{ max-attempts = 20, base = "100ms", cap = "3s" }}
"#,
            shop_plugin = artifacts.plugin("demo-shop")?.display().to_string(),
            erp_plugin = artifacts.plugin("demo-erp")?.display().to_string(),
            jq = artifacts.plugin("jq")?.display().to_string(),
            shop_url = systems.shop_url,
            erp_url = systems.erp_url,
            shop_host = host_of(&systems.shop_url)?,
            erp_host = host_of(&systems.erp_url)?,
            api_key = secret("shop-api-key", &systems.shop_api_key)?,
            webhook = secret("shop-webhook-secret", &systems.webhook_secret)?,
            erp_user = systems.erp_user,
            erp_password = secret("erp-password", &systems.erp_password)?,
        );
        let path = folder.join("setup.toml");
        fs::write(&path, setup)?;
        Ok(Self { setup: path })
    }

    /// The setup file.
    #[must_use]
    pub fn setup(&self) -> &Path {
        &self.setup
    }

    /// Applies the setup to a host, by the command that an operator would use.
    ///
    /// # Errors
    /// The command fails.
    pub fn apply(&self, host: &Host) -> Result<()> {
        apply(host, &self.setup)
    }

    /// How far the job is, as the host sees it.
    ///
    /// # Errors
    /// The host does not answer.
    pub async fn progress(&self, host: &Host) -> Result<Progress> {
        Progress::of(host).await
    }
}

/// How far the job is, as the host sees it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Records of the flow of orders, by state.
    pub orders: BTreeMap<RecordState, u64>,
    /// Records of the flow of stock, by state.
    pub stock: BTreeMap<RecordState, u64>,
    /// Records of both that needed more than one attempt.
    pub retried: u64,
    /// What keeps a source from being read, if anything does.
    pub failing: Option<String>,
    /// Both sources are read to their end and nothing is open.
    pub idle: bool,
}

impl Progress {
    /// Asks the host.
    ///
    /// # Errors
    /// It does not answer, or the job is not applied.
    pub async fn of(host: &Host) -> Result<Self> {
        Self::read_off(&host.flows().await?)
    }

    fn read_off(flows: &[FlowStatus]) -> Result<Self> {
        let flow = |name: &str| {
            flows
                .iter()
                .find(|flow| flow.spec.name.as_str() == name)
                .with_context(|| format!("there is no flow {name}"))
        };
        let (orders, stock) = (flow(ORDERS)?, flow(STOCK)?);
        let open = |flow: &FlowStatus| {
            flow.counts
                .iter()
                .any(|(state, count)| state.is_open() && *count > 0)
        };
        let settled = |flow: &FlowStatus| flow.reads_completed > 0 && flow.caught_up && !open(flow);
        Ok(Self {
            retried: orders.retried + stock.retried,
            failing: [orders, stock]
                .iter()
                .find_map(|flow| flow.last_error.as_ref())
                .map(|error| error.message.clone()),
            idle: settled(orders) && settled(stock),
            orders: orders.counts.clone(),
            stock: stock.counts.clone(),
        })
    }

    /// Orders in one state.
    #[must_use]
    pub fn orders_in(&self, state: RecordState) -> u64 {
        self.orders.get(&state).copied().unwrap_or_default()
    }
}

/// The account of the job: what the host says, held against what the systems say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobAccount {
    /// Order records that the host accepted, without those that a rollout took back and had read again.
    pub read: u64,
    /// Order records that it delivered.
    pub delivered: u64,
    /// Records that needed more than one attempt.
    pub retried: u64,
    /// Order records in quarantine.
    pub quarantined: u64,
    /// Orders of the shop that are neither in the ERP at their latest version nor in quarantine.
    pub lost: u64,
    /// Bookings in the ERP beyond one for each version of an order.
    pub duplicated: u64,
    /// Bookings of an older version after a newer one.
    pub out_of_order: u64,
    /// Orders whose amounts differ at the two ends.
    pub wrong_amounts: u64,
    /// Articles whose stock differs at the two ends.
    pub wrong_stock: u64,
}

impl JobAccount {
    /// Puts the host's account beside the ground truth.
    #[must_use]
    pub fn of(progress: &Progress, truth: &Account) -> Self {
        let verdict = truth.verdict();
        Self {
            read: progress.orders.values().sum::<u64>() - progress.orders_in(RecordState::Dropped),
            delivered: progress.orders_in(RecordState::Delivered),
            retried: progress.retried,
            quarantined: progress.orders_in(RecordState::Quarantined),
            lost: verdict.missing.len() as u64,
            duplicated: verdict.duplicated.len() as u64,
            out_of_order: verdict.out_of_order,
            wrong_amounts: (verdict.amount_mismatches.len()
                + verdict.invented.len()
                + verdict.wrongly_rejected.len()) as u64,
            wrong_stock: verdict.stock_mismatches.len() as u64,
        }
    }

    /// Checks what must hold however the job went.
    ///
    /// # Errors
    /// Names what does not hold.
    pub fn holds(&self) -> Result<()> {
        ensure!(self.lost == 0, "{} orders are lost", self.lost);
        ensure!(self.duplicated == 0, "{} bookings are doubled", self.duplicated);
        ensure!(
            self.out_of_order == 0,
            "{} bookings are out of order",
            self.out_of_order
        );
        ensure!(
            self.wrong_amounts == 0,
            "{} orders differ at the two ends",
            self.wrong_amounts
        );
        ensure!(
            self.wrong_stock == 0,
            "the stock of {} articles differs at the two ends",
            self.wrong_stock
        );
        ensure!(
            self.delivered + self.quarantined == self.read,
            "{} were read, but {} delivered and {} quarantined",
            self.read,
            self.delivered,
            self.quarantined
        );
        Ok(())
    }
}

/// Applies a setup by the command that an operator would use.
pub(crate) fn apply(host: &Host, setup: &Path) -> Result<()> {
    host.cli(
        ["apply", "-f"]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([setup.as_os_str()]),
    )?;
    Ok(())
}

/// Host and port of an address.
pub(crate) fn host_of(url: &str) -> Result<&str> {
    url.split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .with_context(|| format!("{url} has no host"))
}

pub(crate) fn write_private(path: &Path, value: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(value.as_bytes())?;
    Ok(())
}
