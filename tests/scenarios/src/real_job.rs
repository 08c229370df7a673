//! The job of `demo --real`: paid orders from Vendure to Tryton as sales, stock back from Tryton to Vendure.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;
use stecker_model::RecordState;
use stecker_real_systems::{Amount, RunningReal};

use crate::{
    Artifacts, Host, Progress,
    job::{apply, host_of, write_private},
};

/// An order of Vendure as a sale of Tryton.
const ORDER_TO_SALE: &str = include_str!("../../real/assets/orders-to-sales.jq");

/// The setup of the job between the real systems.
#[derive(Debug)]
pub struct RealJob {
    setup: PathBuf,
}

impl RealJob {
    /// Writes the setup file and the secrets' files (mode 0600) into a folder.
    ///
    /// # Errors
    /// A plugin is not built; the folder cannot be written.
    pub fn write(
        folder: &Path,
        artifacts: &Artifacts,
        systems: &RunningReal,
        webhook_secret: &str,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let secret = |name: &str, value: &str| -> Result<String> {
            let path = folder.join(name);
            write_private(&path, value)?;
            Ok(path.display().to_string())
        };
        let admin_url = systems.vendure_admin_url();
        let tryton_url = systems.tryton_url();
        let setup = format!(
            r#"# Paid orders from Vendure to Tryton, stock back from Tryton to Vendure.

[[connection]]
name = "shop"
plugin = {{ path = {vendure:?} }}
config = {{ admin_api_url = {admin_url:?}, settle_seconds = 1 }}
grants.http = [{{ host = {shop_host:?}, schemes = ["http"], methods = ["POST"] }}]
grants.storage = {{ max-bytes = 1048576 }}
credentials.api = {{ secret = {{ file = {api_key:?} }} }}
credentials.webhook = {{ secret = {{ file = {webhook:?} }} }}

[[connection]]
name = "erp"
plugin = {{ path = {tryton:?} }}
config = {{ url = {tryton_url:?}, company = {company}, payment_term = "Vorkasse", category = "Waren", overlap_seconds = 2 }}
grants.http = [{{ host = {erp_host:?}, schemes = ["http"], methods = ["POST"] }}]
credentials.rpc = {{ username = {user:?}, secret = {{ file = {password:?} }} }}
limits = {{ deadline = "120s" }}

[[flow]]
name = "{orders}"
source = {{ connection = "shop", stream = "orders" }}
destination = {{ connection = "erp", stream = "sales" }}
trigger = {{ every = "2s", webhook = true }}
# Tryton takes one writer at a time.
delivery = {{ page = 100, batch = 25, lanes = 1 }}

[[flow.transform]]
plugin = {{ path = {jq:?} }}
config = {{ program = '''
{ORDER_TO_SALE}
''' }}

[[flow]]
name = "{stock}"
source = {{ connection = "erp", stream = "stock" }}
destination = {{ connection = "shop", stream = "stock" }}
trigger = {{ every = "2s" }}
delivery = {{ page = 100, batch = 25, lanes = 1 }}
"#,
            orders = crate::job::ORDERS,
            stock = crate::job::STOCK,
            vendure = artifacts.plugin("vendure")?.display().to_string(),
            tryton = artifacts.plugin("tryton")?.display().to_string(),
            jq = artifacts.plugin("jq")?.display().to_string(),
            shop_host = host_of(&admin_url)?,
            erp_host = host_of(&tryton_url)?,
            api_key = secret("vendure-api-key", systems.vendure_api_key())?,
            webhook = secret("vendure-webhook-secret", webhook_secret)?,
            company = systems.tryton_company(),
            user = systems.tryton_user(),
            password = secret("tryton-password", systems.tryton_password())?,
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
}

/// The two ends held against each other, as the systems themselves tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RealAccount {
    /// Order records that the host accepted.
    pub read: u64,
    /// Order records that it delivered.
    pub delivered: u64,
    /// Records that needed more than one attempt.
    pub retried: u64,
    /// Order records in quarantine.
    pub quarantined: u64,
    /// Orders of Vendure found again as sales of Tryton, with the same total to the cent.
    pub equal: u64,
    /// Orders without a sale.
    pub lost: u64,
    /// Sales beyond one for each order.
    pub duplicated: u64,
    /// Orders whose sale has another total: code, Vendure's total, Tryton's total.
    pub different: Vec<(String, String, String)>,
    /// Articles with the same stock at both ends.
    pub stock_equal: u64,
    /// Articles whose stock differs: code, Tryton's, Vendure's.
    pub stock_different: Vec<(String, i64, i64)>,
}

impl RealAccount {
    /// Asks both systems.
    ///
    /// # Errors
    /// One of them does not answer.
    pub async fn take(systems: &RunningReal, progress: &Progress) -> Result<Self> {
        let orders = systems.vendure_orders().await?;
        let sales = systems.tryton_sales().await?;
        let (erp_stock, shop_stock) = (systems.tryton_stock().await?, systems.vendure_stock().await?);
        let mut account = Self {
            read: progress.orders.values().sum(),
            delivered: progress.orders_in(RecordState::Delivered),
            retried: progress.retried,
            quarantined: progress.orders_in(RecordState::Quarantined),
            ..Self::compare(&orders, &sales)
        };
        for (sku, quantity) in erp_stock {
            // What only one of the two sells has no counterpart to compare with.
            match shop_stock.get(&sku) {
                Some(other) if *other == quantity => account.stock_equal += 1,
                Some(other) => account.stock_different.push((sku, quantity, *other)),
                None => {}
            }
        }
        Ok(account)
    }

    fn compare(orders: &[Amount], sales: &[Amount]) -> Self {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for sale in sales {
            found.entry(&sale.reference).or_default().push(&sale.total);
        }
        let mut account = Self::default();
        for order in orders {
            let totals = found
                .get(order.reference.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            match totals {
                [] => account.lost += 1,
                [first, more @ ..] => {
                    account.duplicated += more.len() as u64;
                    if *first == order.total {
                        account.equal += 1;
                    } else {
                        account.different.push((
                            order.reference.clone(),
                            order.total.clone(),
                            (*first).to_owned(),
                        ));
                    }
                }
            }
        }
        account
    }

    /// What is not as it should be; empty if all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.lost > 0 {
            faults.push(format!("{} orders have no sale", self.lost));
        }
        if self.duplicated > 0 {
            faults.push(format!("{} sales are doubled", self.duplicated));
        }
        for (code, order, sale) in &self.different {
            faults.push(format!("order {code}: {order} in the shop, {sale} in the ERP"));
        }
        for (sku, erp, shop) in &self.stock_different {
            faults.push(format!("stock of {sku}: {erp} in the ERP, {shop} in the shop"));
        }
        if self.delivered + self.quarantined != self.read {
            faults.push(format!(
                "{} read, but {} delivered and {} quarantined",
                self.read, self.delivered, self.quarantined
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(reference: &str, total: &str) -> Amount {
        Amount {
            reference: reference.to_owned(),
            total: total.to_owned(),
            state: String::new(),
        }
    }

    #[test]
    fn a_cent_a_lost_order_and_a_doubled_sale_are_seen() {
        let orders = [
            amount("A", "10.00"),
            amount("B", "20.00"),
            amount("C", "30.00"),
            amount("D", "40.00"),
        ];
        let sales = [
            amount("A", "10.00"),
            amount("B", "20.01"),
            amount("D", "40.00"),
            amount("D", "40.00"),
        ];
        let account = RealAccount::compare(&orders, &sales);
        assert_eq!((account.equal, account.lost, account.duplicated), (2, 1, 1));
        assert_eq!(
            account.different,
            [("B".to_owned(), "20.00".to_owned(), "20.01".to_owned())]
        );
        assert_eq!(account.faults().len(), 3);
    }
}
