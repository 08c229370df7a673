//! The secrets that webhooks are signed with. Made by the host, shown once, and kept here like the secrets of connections, at places of their
//! own (part `webhook`), so that a webhook and a connection of the same name do not meet.
//!
//! After a rotation the secret before signs too, until its time is over; then it is forgotten.

use serde::{Deserialize, Serialize};
use stecker_model::Name;
use zeroize::{Zeroize, Zeroizing};

use super::{
    Place, Vault, VaultError,
    rows::{Part, damaged},
};
use crate::{
    NewWebhook, StoreError, audit, outgoing,
    sql::{Columns, Sql, Tx, from_json, to_json},
};

/// Secrets that sign at the same time, the current one included. A rotation beyond that ends the oldest one at once.
const SIGNING: usize = 4;

/// What is sealed: the secrets as their receivers have them.
#[derive(Serialize, Deserialize)]
struct Keys {
    current: String,
    old: Vec<OldKey>,
}

#[derive(Serialize, Deserialize)]
struct OldKey {
    key: String,
    /// Milliseconds since 1970.
    until: i64,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.current.zeroize();
        for old in &mut self.old {
            old.key.zeroize();
        }
    }
}

impl Keys {
    /// Takes a new current key; those before sign until `until` at most, so that whoever wants a secret to end need not know how old it is.
    fn rotate(&mut self, key: &str, until: i64, now: i64) {
        for old in &mut self.old {
            old.until = old.until.min(until);
        }
        let before = std::mem::replace(&mut self.current, key.to_owned());
        self.old.insert(0, OldKey { key: before, until });
        self.forget(now);
    }

    fn forget(&mut self, now: i64) {
        let old = std::mem::take(&mut self.old);
        for (place, mut one) in old.into_iter().enumerate() {
            if one.until > now && place + 1 < SIGNING {
                self.old.push(one);
            } else {
                one.key.zeroize();
            }
        }
    }

    /// When the next old key is to be forgotten.
    fn next_end(&self) -> Option<i64> {
        self.old.iter().map(|old| old.until).min()
    }
}

/// There is no connection; what is bound to the name is told apart by the part.
const fn place<'a>(tenant: &'a Name, webhook: &'a Name) -> Place<'a> {
    Place {
        tenant,
        connection: webhook,
        credential: webhook,
    }
}

/// Removes the secrets of a webhook.
pub(crate) async fn remove_signing(tx: &mut Tx, tenant: &Name, webhook: &Name) -> Result<(), StoreError> {
    let mut sql = Sql::new("DELETE FROM vault WHERE ");
    super::rows::at(&mut sql, place(tenant, webhook));
    sql.push(" AND part = ").bind(Part::Webhook.as_str());
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    Ok(())
}

impl Vault {
    /// Makes a webhook with its secret.
    ///
    /// # Errors
    /// A webhook of that name is there already, or too many are; the tenant is unknown; a master key that is missing or wrong; the database
    /// fails.
    pub async fn add_webhook(
        &self,
        tenant: &Name,
        new: &NewWebhook,
        key: &str,
        actor: &str,
        now: i64,
    ) -> Result<(), VaultError> {
        let keys = Keys {
            current: key.to_owned(),
            old: Vec::new(),
        };
        let mut tx = self.store.begin_tx().await?;
        outgoing::insert(&self.store, &mut tx, tenant, new, actor, now).await?;
        self.put_keys(&mut tx, (tenant, &new.name), &keys, 0, now).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a webhook a new secret; those before sign too, until `until` at most.
    ///
    /// # Errors
    /// The webhook is unknown; a master key that is missing or wrong; the database fails.
    pub async fn rotate_webhook(
        &self,
        tenant: &Name,
        webhook: &Name,
        key: &str,
        until: i64,
        actor: &str,
        now: i64,
    ) -> Result<(), VaultError> {
        let change = |keys: &mut Keys| keys.rotate(key, until, now);
        let detail = serde_json::json!({ "old-secret-until": until });
        let told = outgoing::entry(webhook, "webhook.rotate-secret", actor, now, detail);
        self.change_keys((tenant, webhook), change, Some(told), now).await
    }

    /// Forgets secrets of a webhook that are over.
    ///
    /// # Errors
    /// As [`Vault::rotate_webhook`].
    pub async fn forget_old_webhook_secrets(
        &self,
        tenant: &Name,
        webhook: &Name,
        now: i64,
    ) -> Result<(), VaultError> {
        self.change_keys((tenant, webhook), |keys| keys.forget(now), None, now)
            .await
    }

    /// The secrets that sign at a moment, the current one first.
    ///
    /// # Errors
    /// The webhook has none; a master key that is missing or wrong; a row that was tampered with; the database fails.
    pub async fn webhook_secrets(
        &self,
        tenant: &Name,
        webhook: &Name,
        now: i64,
    ) -> Result<Vec<Zeroizing<String>>, VaultError> {
        let keys = self.keys(tenant, webhook).await?;
        let old = keys.old.iter().filter(|old| old.until > now);
        let all = std::iter::once(&keys.current).chain(old.map(|old| &old.key));
        Ok(all.cloned().map(Zeroizing::new).collect())
    }

    /// Webhooks, of all tenants, that have a secret to be forgotten; at most 100.
    ///
    /// # Errors
    /// The database fails.
    pub async fn webhooks_with_old_secrets(&self, now: i64) -> Result<Vec<(Name, Name)>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, name FROM subscriptions WHERE old_secret_until IS NOT NULL AND old_secret_until <= $1 \
             ORDER BY old_secret_until LIMIT 100",
        )
        .bind(now)
        .fetch_all(self.store.reader())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, row.parsed("name")?)))
            .collect()
    }

    async fn keys(&self, tenant: &Name, webhook: &Name) -> Result<Keys, VaultError> {
        let place = place(tenant, webhook);
        let (bytes, _) = self
            .open(place, Part::Webhook)
            .await?
            .ok_or_else(|| StoreError::not_found("webhook", webhook))?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        from_json("sealed", text).map_err(|_| damaged(place, Part::Webhook))
    }

    async fn change_keys(
        &self,
        (tenant, webhook): (&Name, &Name),
        change: impl FnOnce(&mut Keys) + Send,
        told: Option<crate::AuditEntry>,
        now: i64,
    ) -> Result<(), VaultError> {
        let mut tx = self.store.begin_tx().await?;
        let row = self
            .stored(&mut tx, place(tenant, webhook), Part::Webhook)
            .await?
            .ok_or_else(|| StoreError::not_found("webhook", webhook))?;
        // Locked by now, so it is what is changed; its keys are encrypted anew by a rotation of data keys at most.
        let mut keys = self.keys(tenant, webhook).await?;
        change(&mut keys);
        self.put_keys(&mut tx, (tenant, webhook), &keys, row.version, now)
            .await?;
        sqlx::query("UPDATE subscriptions SET old_secret_until = $1 WHERE tenant = $2 AND name = $3")
            .bind(keys.next_end())
            .bind(tenant.as_str())
            .bind(webhook.as_str())
            .execute(&mut *tx)
            .await?;
        if let Some(entry) = told {
            audit::write(&mut tx, tenant, &entry).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes the keys over those of `version` (0: there are none).
    async fn put_keys(
        &self,
        tx: &mut Tx,
        (tenant, webhook): (&Name, &Name),
        keys: &Keys,
        version: i64,
        now: i64,
    ) -> Result<(), VaultError> {
        let bytes = Zeroizing::new(to_json(keys)?.into_bytes());
        let place = place(tenant, webhook);
        let put = self
            .put(tx, place, Part::Webhook, &bytes, version + 1, None, now)
            .await?;
        if put {
            return Ok(());
        }
        let what = "somebody else changed this secret at the same moment; try again";
        Err(StoreError::conflict(what).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_keys_sign_until_their_time_is_over_and_only_a_few_at_once() {
        let mut keys = Keys {
            current: "a".to_owned(),
            old: Vec::new(),
        };
        let old = |keys: &Keys| keys.old.iter().map(|old| old.key.clone()).collect::<Vec<_>>();
        keys.rotate("b", 50, 0);
        keys.rotate("c", 100, 0);
        assert_eq!((&*keys.current, keys.next_end()), ("c", Some(50)));
        assert_eq!(old(&keys), ["b", "a"]);
        keys.forget(50);
        assert_eq!((old(&keys), keys.next_end()), (vec!["b".to_owned()], Some(100)));
        for key in ["d", "e", "f", "g"] {
            keys.rotate(key, 1_000, 60);
        }
        assert_eq!(old(&keys), ["f", "e", "d"]);
        keys.rotate("h", 60, 60);
        assert_eq!((old(&keys).len(), keys.next_end()), (0, None), "all of them end");
    }
}
