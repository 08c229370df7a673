//! Stuck records by cause. The name of a cause is made when a record gets stuck and kept in the queue, so that groups are counted and
//! selected by an index instead of reading every message again.

use sqlx::any::AnyRow;
use stecker_model::{
    Name, RecordId,
    api::{CauseGroup, CauseSample, Reason},
    message_pattern, path_pattern,
};

use crate::{
    Store, StoreError,
    accept::fingerprint,
    sql::{Columns, Sql, pieces},
};

/// Records that are named at once, of those that were stuck before causes had names.
const NAMED: i64 = 500;
/// Records that are shown of a group.
const SAMPLES: i64 = 5;
/// The most groups that one list shows.
const MOST: u32 = 1_000;

/// Names a cause, on every node and in every version alike: 12 hexadecimal digits.
pub(crate) fn cause(flow: &Name, reason: &Reason) -> String {
    let path = reason.path.as_deref().map(path_pattern).unwrap_or_default();
    let digest = fingerprint(&[
        "cause",
        flow.as_str(),
        &reason.code,
        &path,
        &message_pattern(&reason.message),
    ]);
    let mut id = hex::encode(digest);
    id.truncate(12);
    id
}

impl Store {
    /// Stuck records (in quarantine, waiting for another attempt, or to be looked up) by cause, the largest group first; at most `limit`
    /// groups, and never more than 1,000.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cause_groups(
        &self,
        tenant: &Name,
        flow: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<CauseGroup>, StoreError> {
        self.name_causes(tenant).await?;
        // Served by queue_by_cause, whose condition stands here word for word.
        let mut sql = Sql::new(
            "SELECT q.flow, q.cause, COUNT(*) AS records, MIN(r.updated_at) AS first_seen, MAX(r.updated_at) AS last_seen, \
             CAST(SUM(CASE WHEN q.state = 'quarantined' THEN 1 ELSE 0 END) AS BIGINT) AS quarantined FROM queue AS q \
             JOIN records AS r ON r.tenant = q.tenant AND r.flow = q.flow AND r.seq = q.seq \
             WHERE q.cause IS NOT NULL AND q.state IN ('quarantined', 'retrying', 'unknown') AND q.tenant = ",
        );
        sql.bind(tenant.as_str());
        if let Some(flow) = flow {
            sql.push(" AND q.flow = ").bind(flow.as_str());
        }
        sql.push(" GROUP BY q.flow, q.cause ORDER BY records DESC, q.flow, q.cause LIMIT ")
            .bind(i64::from(limit.clamp(1, MOST)));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        let mut groups = Vec::with_capacity(rows.len());
        for row in rows {
            // All of it may have moved on since.
            if let Some(group) = self.cause_group(tenant, &row).await? {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    async fn cause_group(&self, tenant: &Name, row: &AnyRow) -> Result<Option<CauseGroup>, StoreError> {
        let flow: Name = row.parsed("flow")?;
        let id = row.text("cause")?;
        let samples = sqlx::query(
            "SELECT r.seq, r.key, r.reason, r.reason_code FROM queue AS q \
             JOIN records AS r ON r.tenant = q.tenant AND r.flow = q.flow AND r.seq = q.seq \
             WHERE q.cause IS NOT NULL AND q.state IN ('quarantined', 'retrying', 'unknown') \
             AND q.tenant = $1 AND q.flow = $2 AND q.cause = $3 ORDER BY q.seq LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(&*id)
        .bind(SAMPLES)
        .fetch_all(self.reader())
        .await?;
        let Some(first) = samples.first() else {
            return Ok(None);
        };
        let reason = reason_of(first)?;
        let count = row.count("records")?;
        let quarantined = row.count("quarantined")?;
        Ok(Some(CauseGroup {
            id,
            code: reason.code,
            path: reason.path.as_deref().map(path_pattern),
            message: message_pattern(&reason.message),
            count,
            quarantined,
            trying: count.saturating_sub(quarantined),
            first_seen_at: row.int("first_seen")?,
            last_seen_at: row.int("last_seen")?,
            samples: samples
                .iter()
                .map(|row| {
                    Ok(CauseSample {
                        id: RecordId {
                            flow: flow.clone(),
                            seq: row.int("seq")?,
                        },
                        key: row.text("key")?,
                        message: reason_of(row)?.message,
                    })
                })
                .collect::<Result<_, StoreError>>()?,
            flow,
        }))
    }

    /// Names what got stuck before causes had names, so that it can be selected by group. There is nothing to do as a rule, and nothing
    /// is locked to find that out. Lists and previews do it by themselves.
    ///
    /// # Errors
    /// The database fails.
    pub async fn name_causes(&self, tenant: &Name) -> Result<(), StoreError> {
        // Stuck records are found by records_by_state, whose condition stands here word for word.
        const NAMELESS: &str = "SELECT r.flow, r.seq, r.reason, r.reason_code FROM records AS r \
             JOIN queue AS q ON q.tenant = r.tenant AND q.flow = r.flow AND q.seq = r.seq \
             WHERE r.state <> 'delivered' AND r.state IN ('quarantined', 'retrying', 'unknown') AND q.cause IS NULL \
             AND r.tenant = $1 AND (r.flow, r.seq) > ($2, $3) ORDER BY r.flow, r.seq LIMIT $4";
        let mut after = (String::new(), 0);
        loop {
            let rows = sqlx::query(NAMELESS)
                .bind(tenant.as_str())
                .bind(&*after.0)
                .bind(after.1)
                .bind(NAMED)
                .fetch_all(self.reader())
                .await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut named = Vec::with_capacity(rows.len());
            for row in &rows {
                let flow: Name = row.parsed("flow")?;
                let cause = cause(&flow, &reason_of(row)?);
                let seq = row.int("seq")?;
                after = (flow.to_string(), seq);
                named.push((flow, seq, cause));
            }
            let mut tx = self.begin_tx().await?;
            for piece in pieces(&named) {
                let mut sql = Sql::new("WITH v (tenant, flow, seq, cause) AS (VALUES ");
                sql.rows(piece, |row, (flow, seq, cause)| {
                    row.value(tenant.as_str())
                        .value(flow.as_str())
                        .value(*seq)
                        .value(&**cause);
                });
                // Whoever gave it a name meanwhile knows better.
                sql.push(
                    ") UPDATE queue SET cause = v.cause FROM v WHERE queue.tenant = v.tenant AND queue.flow = v.flow \
                     AND queue.seq = v.seq AND queue.cause IS NULL",
                );
                sql.query(tx.backend())?.execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
    }
}

pub(crate) fn reason_of(row: &AnyRow) -> Result<Reason, StoreError> {
    match row.maybe_json("reason")? {
        Some(reason) => Ok(reason),
        None => Ok(Reason {
            code: row.maybe_text("reason_code")?.unwrap_or_default(),
            message: String::new(),
            path: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(flow: &str, code: &str, path: Option<&str>, message: &str) -> String {
        let reason = Reason {
            code: code.to_owned(),
            message: message.to_owned(),
            path: path.map(str::to_owned),
        };
        cause(&flow.parse().unwrap(), &reason)
    }

    #[test]
    fn a_cause_has_the_same_name_whatever_its_values() {
        let one = named("a", "unknown-item", Some("/lines/0/sku"), "There is no item `A`.");
        assert_eq!(
            one,
            named(
                "a",
                "unknown-item",
                Some("/lines/7/sku"),
                "There is no item `B-1`."
            )
        );
        // Operators write the name down: it must not change with the program.
        let pinned = named(
            "orders",
            "unknown-item",
            Some("/lines/0/sku"),
            "There is no item `A50`.",
        );
        assert_eq!(pinned, "4df508ddcd79");
        for other in [
            named("b", "unknown-item", Some("/lines/0/sku"), "There is no item `A`."),
            named("a", "unknown-sku", Some("/lines/0/sku"), "There is no item `A`."),
            named(
                "a",
                "unknown-item",
                Some("/lines/0/name"),
                "There is no item `A`.",
            ),
            named("a", "unknown-item", None, "There is no item `A`."),
            named(
                "a",
                "unknown-item",
                Some("/lines/0/sku"),
                "There is no article `A`.",
            ),
        ] {
            assert_ne!(one, other);
        }
    }

    proptest! {
        /// Whatever a stranger's system says, it has a pattern: bounded, and without a number that would make a cause of every message.
        #[test]
        fn every_message_has_a_pattern(message in "\\PC*|[`\"'a-z0-9;: #-]{0,400}|given up after .*; the last: .*") {
            let pattern = message_pattern(&message);
            prop_assert!(pattern.chars().count() <= 300);
            prop_assert!(!pattern.bytes().any(|byte| byte.is_ascii_digit()), "{pattern}");
            let path = path_pattern(&message);
            prop_assert!(path.chars().count() <= 300);
            prop_assert_eq!(path_pattern(&path), path);
        }
    }
}
