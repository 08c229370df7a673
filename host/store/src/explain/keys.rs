//! Records by what a person may call them: their key, their id at a destination, a part of either.

use sqlx::any::AnyRow;
use stecker_model::{Digest, Name, RecordId, api::RecordSummary};

use crate::{
    Store, StoreError,
    accept::lane,
    lists::{SUMMARY, summary},
    sql::{Columns, Sql},
};

/// A record, and what is not in a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRecord {
    /// As in a list.
    pub summary: RecordSummary,
    /// The release that read it.
    pub release: Digest,
    /// What [`crate::Settlement::outputs`] last left.
    pub outputs: Option<String>,
    /// Why it is delivered again after it was delivered, if it is: see [`crate::Repair`].
    pub repair: Option<String>,
    /// The name of what it is stuck for, if it is.
    pub cause: Option<String>,
}

const WHOLE: &str = ", r.release, r.outputs, r.repair, q.cause FROM records AS r \
    LEFT JOIN queue AS q ON q.tenant = r.tenant AND q.flow = r.flow AND q.seq = r.seq WHERE r.tenant = ";

fn explained(row: &AnyRow) -> Result<ExplainedRecord, StoreError> {
    Ok(ExplainedRecord {
        summary: summary(row)?,
        release: row.parsed("release")?,
        outputs: row.maybe_text("outputs")?,
        repair: row.maybe_text("repair")?,
        cause: row.maybe_text("cause")?,
    })
}

/// What can be stored can be found; nothing else is looked for, because Postgres would not take it.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// The least text that is greater than every text that begins so, byte by byte; none if there is none in UTF-8.
fn after_all_that_begin_so(text: &str) -> Option<String> {
    let mut chars: Vec<char> = text.chars().collect();
    while let Some(last) = chars.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

impl Store {
    /// The newest records of a key in a flow, at most `limit`, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn records_of_key(
        &self,
        tenant: &Name,
        flow: &Name,
        key: &str,
        limit: u32,
    ) -> Result<Vec<ExplainedRecord>, StoreError> {
        if !is_storable(key) {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(SUMMARY);
        sql.push(WHOLE)
            .bind(tenant.as_str())
            .push(" AND r.key = ")
            .bind(key)
            .push(" AND r.flow = ")
            .bind(flow.as_str())
            .push(" ORDER BY r.seq DESC LIMIT ")
            .bind(i64::from(limit));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(explained).collect()
    }

    /// A record, in the shape of those of a key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn explained_record(
        &self,
        tenant: &Name,
        id: &RecordId,
    ) -> Result<Option<ExplainedRecord>, StoreError> {
        let mut sql = Sql::new(SUMMARY);
        sql.push(WHOLE)
            .bind(tenant.as_str())
            .push(" AND r.flow = ")
            .bind(id.flow.as_str())
            .push(" AND r.seq = ")
            .bind(id.seq);
        let row = sql.query(self.backend())?.fetch_optional(self.reader()).await?;
        row.as_ref().map(explained).transpose()
    }

    /// Keys of records that have this id at their destination, by flow, at most `limit`; also those that became several things there, if
    /// this is the first of their ids.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys_of_external_id(
        &self,
        tenant: &Name,
        id: &str,
        limit: u32,
    ) -> Result<Vec<(Name, String)>, StoreError> {
        if !is_storable(id) {
            return Ok(Vec::new());
        }
        let mut found: Vec<(Name, String)> = Vec::new();
        // Several ids are one text with commas between, and `-` is what follows `,`.
        let searches = [(id.to_owned(), None), (format!("{id},"), Some(format!("{id}-")))];
        for (from, to) in searches {
            let mut sql =
                Sql::new("SELECT flow, key FROM records WHERE external_id IS NOT NULL AND tenant = ");
            sql.bind(tenant.as_str());
            match to {
                None => sql.push(" AND external_id = ").bind(from),
                Some(to) => sql
                    .push(" AND external_id >= ")
                    .bind(from)
                    .push(" AND external_id < ")
                    .bind(to),
            };
            sql.push(" ORDER BY external_id, flow, seq LIMIT ")
                .bind(i64::from(limit));
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                let one = (row.parsed("flow")?, row.text("key")?);
                if !found.contains(&one) {
                    found.push(one);
                }
            }
        }
        Ok(found)
    }

    /// Different keys of a tenant that begin with a text, in their order, at most `limit`. Each costs one step through an index, however
    /// many records it has.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys_that_begin(
        &self,
        tenant: &Name,
        text: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let mut found: Vec<String> = Vec::new();
        if !is_storable(text) {
            return Ok(found);
        }
        let end = after_all_that_begin_so(text);
        while found.len() < limit as usize {
            let mut sql = Sql::new("SELECT key FROM records WHERE tenant = ");
            sql.bind(tenant.as_str());
            match found.last() {
                None => sql.push(" AND key >= ").bind(text),
                Some(last) => sql.push(" AND key > ").bind(last.as_str()),
            };
            if let Some(end) = &end {
                sql.push(" AND key < ").bind(end.as_str());
            }
            sql.push(" ORDER BY key LIMIT 1");
            let Some(row) = sql.query(self.backend())?.fetch_optional(self.reader()).await? else {
                break;
            };
            found.push(row.text("key")?);
        }
        Ok(found)
    }

    /// The keys of a flow's newest records, the newest first, with repetitions; at most `limit` records.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_keys(
        &self,
        tenant: &Name,
        flow: &Name,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let rows =
            sqlx::query("SELECT key FROM records WHERE tenant = $1 AND flow = $2 ORDER BY seq DESC LIMIT $3")
                .bind(tenant.as_str())
                .bind(flow.as_str())
                .bind(i64::from(limit))
                .fetch_all(self.reader())
                .await?;
        rows.iter().map(|row| row.text("key")).collect()
    }

    /// Keys and payloads among a flow's newest `newest` records, the newest first, whose payload has a text somewhere in it; at most 50. Upper
    /// and lower case may be taken for the same.
    ///
    /// # Errors
    /// The database fails.
    pub async fn payloads_with(
        &self,
        tenant: &Name,
        flow: &Name,
        text: &str,
        newest: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        if !is_storable(text) {
            return Ok(Vec::new());
        }
        let pattern = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        let rows = sqlx::query(
            "SELECT r.key, p.payload FROM \
             (SELECT tenant, flow, seq, key FROM records WHERE tenant = $1 AND flow = $2 ORDER BY seq DESC LIMIT $3) AS r \
             JOIN payloads AS p ON p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq \
             WHERE p.payload LIKE $4 ESCAPE '!' ORDER BY r.seq DESC LIMIT 50",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(i64::from(newest))
        .bind(format!("%{pattern}%"))
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((row.text("key")?, row.text("payload")?)))
            .collect()
    }

    /// Those of some keys that a tenant has records of.
    ///
    /// # Errors
    /// The database fails.
    pub async fn known_keys(&self, tenant: &Name, keys: &[String]) -> Result<Vec<String>, StoreError> {
        let mut known = Vec::new();
        for key in keys.iter().filter(|key| is_storable(key)) {
            let row =
                sqlx::query("SELECT key FROM records WHERE tenant = $1 AND key = $2 ORDER BY key LIMIT 1")
                    .bind(tenant.as_str())
                    .bind(key.as_str())
                    .fetch_optional(self.reader())
                    .await?;
            if row.is_some() && !known.contains(key) {
                known.push(key.clone());
            }
        }
        Ok(known)
    }

    /// The first record that a record waits for: an earlier one of the same stream and key that is not done. Whether quarantine counts as
    /// done is the flow's to say.
    ///
    /// # Errors
    /// The database fails.
    pub async fn in_its_way(
        &self,
        tenant: &Name,
        record: &RecordSummary,
        quarantine_holds: bool,
    ) -> Result<Option<RecordId>, StoreError> {
        let lane = lane(tenant, &record.id.flow, &record.stream, &record.key);
        let mut sql = Sql::new("SELECT seq FROM queue WHERE lane = ");
        sql.bind(lane.to_vec()).push(" AND seq < ").bind(record.id.seq);
        if !quarantine_holds {
            sql.push(" AND state <> 'quarantined'");
        }
        sql.push(" ORDER BY seq LIMIT 1");
        let row = sql.query(self.backend())?.fetch_optional(self.reader()).await?;
        row.map(|row| {
            Ok(RecordId {
                flow: record.id.flow.clone(),
                seq: row.int("seq")?,
            })
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_beginning_is_right_behind_it() {
        for (text, end) in [
            ("SO-1", Some("SO-2")),
            ("", None),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            // What lies between is no character.
            ("\u{d7ff}", Some("\u{e000}")),
        ] {
            assert_eq!(after_all_that_begin_so(text).as_deref(), end, "{text:?}");
        }
    }
}
