//! What people and systems did around a record: the audit trail of one thing, and calls that came in and name a key.

use stecker_model::{Name, api::Reason};

use crate::{
    AuditEntry, Store, StoreError,
    sql::{Columns, readable},
};

/// A body of a call that is longer is not looked into.
const LONGEST_BODY: i64 = 1 << 18;

/// A call that came in, led to no record, and has a text in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MentioningCall {
    /// The connection that was called.
    pub connection: Name,
    /// When.
    pub received_at: i64,
    /// `received`: not understood yet; `refused`, `ignored`.
    pub state: String,
    /// How often it was tried to understand it.
    pub tries: u64,
    /// Why it was refused or ignored.
    pub reason: Option<Reason>,
}

impl Store {
    /// What the audit trail says of a thing within some time, oldest first; of too many entries the newest `limit`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit_of(
        &self,
        tenant: &Name,
        subject: &str,
        since: i64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT at, actor, action, subject, detail FROM audit \
             WHERE tenant = $1 AND subject = $2 AND at >= $3 ORDER BY at DESC, id DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(readable(subject).into_owned())
        .bind(since)
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .rev()
            .map(|row| {
                Ok(AuditEntry {
                    at: row.int("at")?,
                    actor: row.text("actor")?,
                    action: row.text("action")?,
                    subject: row.text("subject")?,
                    detail: row.json("detail")?,
                })
            })
            .collect()
    }

    /// Calls among a tenant's newest `limit` that led to no record and have a text in their body, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn calls_that_mention(
        &self,
        tenant: &Name,
        text: &str,
        limit: u32,
    ) -> Result<Vec<MentioningCall>, StoreError> {
        // Numbers of calls grow with time.
        let rows = sqlx::query(
            "SELECT connection, received_at, state, tries, reason, \
             CASE WHEN state <> 'accepted' AND LENGTH(body) <= $3 THEN body END AS content FROM webhooks \
             WHERE tenant = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit))
        .bind(LONGEST_BODY)
        .fetch_all(self.reader())
        .await?;
        let mut found = Vec::new();
        for row in &rows {
            if row.text("state")? == "accepted" {
                continue;
            }
            let content: Option<Vec<u8>> = sqlx::Row::try_get(row, "content")?;
            let names_it = content.is_some_and(|content| mentions(&String::from_utf8_lossy(&content), text));
            if names_it {
                found.push(MentioningCall {
                    connection: row.parsed("connection")?,
                    received_at: row.int("received_at")?,
                    state: row.text("state")?,
                    tries: row.count("tries")?,
                    reason: row.maybe_json("reason")?,
                });
            }
        }
        Ok(found)
    }
}

/// Whether a text has another in it as a whole: `1042` is not in `10421`.
fn mentions(text: &str, wanted: &str) -> bool {
    !wanted.is_empty()
        && text.match_indices(wanted).any(|(at, found)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let after = text
                .get(at + found.len()..)
                .and_then(|after| after.chars().next());
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_within_a_longer_one() {
        for (text, is_in) in [
            (r#"{"id":1042}"#, true),
            (r#"{"id":10421}"#, false),
            ("21042 and 1042.", true),
            ("#1042", true),
            ("", false),
        ] {
            assert_eq!(mentions(text, "1042"), is_in, "{text}");
        }
        assert!(!mentions("anything", ""));
    }
}
