//! How many records are in which state, known without counting them: every transaction that moves records writes down by how
//! much it moved the numbers.

use std::collections::BTreeMap;

use stecker_model::{Name, RecordState, TenantLimits};

use crate::{
    Store, StoreError,
    sql::{Columns, Sql, Tx},
};

const RETRIED: &str = "retried";
const FOUND_THERE: &str = "found-there";
/// Times that a record was delivered.
pub(crate) const DELIVERIES: &str = "deliveries";
/// Attempts in the ledger.
pub(crate) const ATTEMPTS: &str = "attempts";
/// Payloads that are kept.
pub(crate) const PAYLOADS: &str = "payloads";
/// Bytes of them, those of the payload before the change included.
pub(crate) const PAYLOAD_BYTES: &str = "payload-bytes";
/// Payloads of which digest and size are left.
pub(crate) const PAYLOADS_REMOVED: &str = "payloads-removed";
/// Records that are not in the ledger any more.
pub(crate) const REMOVED: &str = "removed";

/// By how much one transaction moves a flow's numbers.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, i64>);

impl Tally {
    /// Records that are new to the ledger.
    pub(crate) fn added(&mut self, state: RecordState, records: i64) {
        self.count(state.as_str(), records);
    }

    /// Records that went from one state to another.
    pub(crate) fn moved(&mut self, from: RecordState, to: RecordState, records: i64) {
        self.added(from, -records);
        self.added(to, records);
    }

    /// Something else that is counted beside the ledger.
    pub(crate) fn count(&mut self, what: &'static str, n: i64) {
        *self.0.entry(what).or_default() += n;
    }

    /// A record that goes into its second attempt.
    pub(crate) fn retried(&mut self) {
        self.count(RETRIED, 1);
    }

    /// A record that the destination had already.
    pub(crate) fn found_there(&mut self) {
        self.count(FOUND_THERE, 1);
    }

    /// Writes the changes, in the order of their names, so that no two transactions wait for each other crosswise.
    pub(crate) async fn write(
        self,
        store: &Store,
        tx: &mut Tx,
        tenant: &Name,
        flow: &Name,
    ) -> Result<(), StoreError> {
        let changes: Vec<_> = self.0.into_iter().filter(|(_, n)| *n != 0).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let slot = store.slot();
        let mut sql = Sql::new("INSERT INTO counters (tenant, flow, what, slot, n) VALUES ");
        sql.rows(&changes, |row, (what, n)| {
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(*what)
                .value(slot)
                .value(*n);
        });
        sql.push(" ON CONFLICT (tenant, flow, what, slot) DO UPDATE SET n = counters.n + excluded.n");
        sql.query(tx.backend())?.execute(&mut **tx).await?;
        Ok(())
    }
}

impl Store {
    pub(crate) async fn numbers(
        &self,
        tenant: &Name,
        flow: &Name,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = sqlx::query(
            "SELECT what, CAST(SUM(n) AS BIGINT) AS n FROM counters WHERE tenant = $1 AND flow = $2 GROUP BY what",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((row.text("what")?, row.count("n")?)))
            .collect()
    }

    /// A flow's records by state; every state is there. Costs the same however long the ledger is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn counts(&self, tenant: &Name, flow: &Name) -> Result<BTreeMap<RecordState, u64>, StoreError> {
        let numbers = self.numbers(tenant, flow).await?;
        let of = |state: RecordState| numbers.get(state.as_str()).copied().unwrap_or(0);
        Ok(RecordState::ALL
            .into_iter()
            .map(|state| (state, of(state)))
            .collect())
    }

    /// A flow's records that the host still has work to do on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn waiting(&self, tenant: &Name, flow: &Name) -> Result<u64, StoreError> {
        let counts = self.counts(tenant, flow).await?;
        Ok(counts
            .iter()
            .filter(|(state, _)| state.is_open())
            .map(|(_, count)| count)
            .sum())
    }

    /// A tenant's records that the host still has work to do on, over all of its flows, and what the tenant may have in all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenant_waiting(&self, tenant: &Name) -> Result<(u64, TenantLimits), StoreError> {
        let open: Vec<String> = RecordState::ALL
            .into_iter()
            .filter(|state| state.is_open())
            .map(|state| format!("'{}'", state.as_str()))
            .collect();
        let mut sql =
            Sql::new("SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) AS n FROM counters WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND what IN (")
            .push(&open.join(", "))
            .push(")");
        let waiting = sql
            .query(self.backend())?
            .fetch_one(self.reader())
            .await?
            .count("n")?;
        let limits = self.tenant_row(tenant).await?.and_then(|row| row.limits);
        Ok((waiting, limits.unwrap_or_default()))
    }

    /// How often a record of a flow was delivered, and how many records are not in the ledger any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn deliveries_and_removed(&self, tenant: &Name, flow: &Name) -> Result<(u64, u64), StoreError> {
        let numbers = self.numbers(tenant, flow).await?;
        let of = |what: &str| numbers.get(what).copied().unwrap_or(0);
        Ok((of(DELIVERIES), of(REMOVED)))
    }

    /// A flow's records that needed more than one attempt.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retried(&self, tenant: &Name, flow: &Name) -> Result<u64, StoreError> {
        Ok(self
            .numbers(tenant, flow)
            .await?
            .get(RETRIED)
            .copied()
            .unwrap_or(0))
    }

    /// A flow's delivered records that the destination said it had already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn found_there(&self, tenant: &Name, flow: &Name) -> Result<u64, StoreError> {
        Ok(self
            .numbers(tenant, flow)
            .await?
            .get(FOUND_THERE)
            .copied()
            .unwrap_or(0))
    }
}
