//! What plugins used, a row for each connection (and each flow's transforms) and day.

use stecker_model::{Name, PluginUse, api::DayUsage};

use crate::{
    Store, StoreError,
    denials::used_by,
    sql::{Columns, Sql, pieces, to_i64},
};

/// What one plugin used since the last time that it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUsage {
    /// The tenant.
    pub tenant: Name,
    /// Whose plugin it is.
    pub used_by: PluginUse,
    /// Days since 1970, UTC.
    pub day: i64,
    /// To be added.
    pub usage: DayUsage,
}

/// The day of a moment: days since 1970, UTC.
#[must_use]
pub const fn day_of(now: i64) -> i64 {
    now.div_euclid(86_400_000)
}

impl Store {
    /// Adds to what was used; all or nothing. Each tenant, use and day is given at most once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_usage(&self, mut rows: Vec<NewUsage>) -> Result<(), StoreError> {
        // One order for everybody, so that nodes do not wait for each other crosswise.
        rows.sort_by(|a, b| (&a.tenant, &a.used_by, a.day).cmp(&(&b.tenant, &b.used_by, b.day)));
        let mut tx = self.begin_tx().await?;
        for piece in pieces(&rows) {
            let mut sql = Sql::new(
                "INSERT INTO usage_days (tenant, kind, name, day, calls, cpu_us, epoch_ticks, wall_us, peak_memory, \
                 http_requests, http_bytes, denials) VALUES ",
            );
            sql.rows(piece, |row, new| {
                let usage = &new.usage;
                row.value(new.tenant.as_str())
                    .value(new.used_by.kind())
                    .value(new.used_by.name().as_str())
                    .value(new.day);
                for number in [
                    usage.calls,
                    usage.cpu_us,
                    usage.epoch_ticks,
                    usage.wall_us,
                    usage.peak_memory,
                    usage.http_requests,
                    usage.http_bytes,
                    usage.denials,
                ] {
                    row.value(to_i64(number));
                }
            });
            sql.push(
                " ON CONFLICT (tenant, kind, name, day) DO UPDATE SET calls = usage_days.calls + excluded.calls, \
                 cpu_us = usage_days.cpu_us + excluded.cpu_us, epoch_ticks = usage_days.epoch_ticks + excluded.epoch_ticks, \
                 wall_us = usage_days.wall_us + excluded.wall_us, peak_memory = CASE WHEN excluded.peak_memory > \
                 usage_days.peak_memory THEN excluded.peak_memory ELSE usage_days.peak_memory END, \
                 http_requests = usage_days.http_requests + excluded.http_requests, \
                 http_bytes = usage_days.http_bytes + excluded.http_bytes, denials = usage_days.denials + excluded.denials",
            );
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// What each plugin of a tenant used on a day, connections first, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn usage(&self, tenant: &Name, day: i64) -> Result<Vec<(PluginUse, DayUsage)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM usage_days WHERE tenant = $1 AND day = $2 ORDER BY kind, name")
            .bind(tenant.as_str())
            .bind(day)
            .fetch_all(self.reader())
            .await?;
        rows.iter()
            .map(|row| {
                let usage = DayUsage {
                    calls: row.count("calls")?,
                    cpu_us: row.count("cpu_us")?,
                    epoch_ticks: row.count("epoch_ticks")?,
                    wall_us: row.count("wall_us")?,
                    peak_memory: row.count("peak_memory")?,
                    http_requests: row.count("http_requests")?,
                    http_bytes: row.count("http_bytes")?,
                    denials: row.count("denials")?,
                };
                Ok((used_by(row)?, usage))
            })
            .collect()
    }

    /// The bytes that a connection's requests and their answers had on a day, as far as they were written down.
    ///
    /// # Errors
    /// The database fails.
    pub async fn http_bytes(&self, tenant: &Name, connection: &Name, day: i64) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT http_bytes FROM usage_days WHERE tenant = $1 AND kind = 'connection' AND name = $2 AND day = $3",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(day)
        .fetch_optional(self.reader())
        .await?;
        row.map_or(Ok(0), |row| row.count("http_bytes"))
    }
}
