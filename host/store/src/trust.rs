//! What a tenant trusts: its trust roots, one version after the other, and the signatures that were seen. The store keeps texts and moments;
//! what they mean is for whoever asks.

use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use stecker_model::{Digest, Name};

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, Sql, storable},
    tenants,
};

/// A trust root as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRow {
    /// Its version.
    pub version: i64,
    /// Of the signed document.
    pub digest: Digest,
    /// The signed document.
    pub document: String,
    /// When it was taken.
    pub taken_at: i64,
}

/// A signature and when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRow {
    /// The bundle.
    pub bundle: String,
    /// When this host's database first had it.
    pub seen_at: i64,
}

/// Signatures of one component that are kept for a tenant, at most.
pub const MAX_SIGNATURES: usize = 32;

fn root(row: &AnyRow) -> Result<RootRow, StoreError> {
    Ok(RootRow {
        version: row.int("version")?,
        digest: row.parsed("digest")?,
        document: row.text("document")?,
        taken_at: row.int("taken_at")?,
    })
}

impl Store {
    /// The trust root in force; none if the tenant has none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn trust_root(&self, tenant: &Name) -> Result<Option<RootRow>, StoreError> {
        let row = sqlx::query(
            "SELECT r.version, r.digest, r.document, r.taken_at FROM tenants AS t \
             JOIN trust_roots AS r ON r.tenant = t.tenant AND r.digest = t.trust WHERE t.tenant = $1",
        )
        .bind(tenant.as_str())
        .fetch_optional(self.reader())
        .await?;
        row.as_ref().map(root).transpose()
    }

    /// Takes a trust root in the place of the one with the digest `after`; none: the tenant has none (it is made if it is not there). Everything that
    /// is bound is bound anew from then on.
    ///
    /// # Errors
    /// Another one came in between, or the database fails.
    pub async fn put_trust_root(
        &self,
        tenant: &Name,
        after: Option<&Digest>,
        next: &RootRow,
        actor: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        tenants::ensure(&mut tx, tenant, next.taken_at).await?;
        let mut sql = Sql::new("SELECT trust FROM tenants WHERE tenant = ");
        sql.bind(tenant.as_str()).push(self.lock());
        let before = sql
            .query(tx.backend())?
            .fetch_one(&mut *tx)
            .await?
            .maybe_text("trust")?;
        if before.as_deref() != after.map(Digest::as_str) {
            return Err(StoreError::conflict(
                "the tenant's trust root was changed in between".to_owned(),
            ));
        }
        sqlx::query(
            "INSERT INTO trust_roots (tenant, version, digest, document, taken_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, digest) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(next.version)
        .bind(next.digest.as_str())
        .bind(storable("a trust root", &next.document)?)
        .bind(next.taken_at)
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE tenants SET trust = $1 WHERE tenant = $2")
            .bind(next.digest.as_str())
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?;
        let entry = AuditEntry {
            at: next.taken_at,
            actor: actor.to_owned(),
            action: if before.is_none() {
                "trust.establish"
            } else {
                "trust.rotate"
            }
            .to_owned(),
            subject: format!("tenant/{tenant}"),
            detail: serde_json::json!({ "version": next.version, "digest": next.digest }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the tenant's trust root: whatever the tenant has is loaded from then on. The documents stay.
    ///
    /// # Errors
    /// The tenant has none, or the database fails.
    pub async fn drop_trust_root(
        &self,
        tenant: &Name,
        reason: &str,
        actor: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        let ended = sqlx::query("UPDATE tenants SET trust = NULL WHERE tenant = $1 AND trust IS NOT NULL")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if ended == 0 {
            return Err(StoreError::not_found("trust root of tenant", tenant.as_str()));
        }
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "trust.drop".to_owned(),
            subject: format!("tenant/{tenant}"),
            detail: serde_json::json!({ "reason": reason }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        Ok(tx.commit().await?)
    }

    /// Keeps a signature of a component, which need not be there yet. One that is known keeps the moment at which it was first seen.
    /// Returns whether it is new. The tenant is made if it is not there.
    ///
    /// # Errors
    /// There are [`MAX_SIGNATURES`] of this component already, or the database fails.
    pub async fn put_signature(
        &self,
        tenant: &Name,
        component: &Digest,
        bundle: &str,
        actor: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let id = hex::encode(Sha256::digest(bundle.as_bytes()));
        let mut tx = self.begin_tx().await?;
        tenants::ensure(&mut tx, tenant, now).await?;
        tenants::require(&mut tx, tenant, self.lock()).await?;
        let there = sqlx::query(
            "SELECT COUNT(*) AS n, COALESCE(SUM(CASE WHEN id = $3 THEN 1 ELSE 0 END), 0) AS same FROM signatures \
             WHERE tenant = $1 AND component = $2",
        )
        .bind(tenant.as_str())
        .bind(component.as_str())
        .bind(&*id)
        .fetch_one(&mut *tx)
        .await?;
        if there.int("same")? > 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        if there.count("n")? >= MAX_SIGNATURES as u64 {
            return Err(StoreError::conflict(format!(
                "there are {MAX_SIGNATURES} signatures of {component} already"
            )));
        }
        sqlx::query(
            "INSERT INTO signatures (tenant, component, id, bundle, seen_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(tenant.as_str())
        .bind(component.as_str())
        .bind(&*id)
        .bind(storable("a signature", bundle)?)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "release.sign".to_owned(),
            subject: format!("release/{component}"),
            detail: serde_json::json!({ "signature": id }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The signatures of a component, the earliest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn signatures(
        &self,
        tenant: &Name,
        component: &Digest,
    ) -> Result<Vec<SignatureRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT bundle, seen_at FROM signatures WHERE tenant = $1 AND component = $2 ORDER BY seen_at, id",
        )
        .bind(tenant.as_str())
        .bind(component.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(SignatureRow {
                    bundle: row.text("bundle")?,
                    seen_at: row.int("seen_at")?,
                })
            })
            .collect()
    }
}
