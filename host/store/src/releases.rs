//! Releases: components by digest, with what an inspection found in them.

use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use stecker_model::{Digest, Name, api::ReleaseInfo};

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, storable, to_i64, to_json},
    tenants,
};

/// A release to be kept.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// What it is.
    pub info: ReleaseInfo,
    /// What an inspection of the component found, as a JSON text that the store does not look into.
    pub inspection_json: String,
    /// The component, whose digest is `info.digest`.
    pub component: Vec<u8>,
}

/// A release that is kept, without its component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    /// What it is.
    pub info: ReleaseInfo,
    /// As it was given.
    pub inspection_json: String,
}

fn info(row: &AnyRow) -> Result<ReleaseInfo, StoreError> {
    Ok(ReleaseInfo {
        digest: row.parsed("digest")?,
        name: row.text("name")?,
        version: row.text("version")?,
        roles: row.json("roles")?,
        size: row.count("size")?,
        added_at: row.int("added_at")?,
    })
}

impl Store {
    /// Keeps a release. If it is there already, nothing happens. Its component is kept once, however many tenants have it.
    ///
    /// # Errors
    /// The component has another digest, the tenant is unknown, or the database fails.
    pub async fn put_release(&self, tenant: &Name, release: NewRelease, now: i64) -> Result<(), StoreError> {
        let NewRelease {
            info,
            inspection_json,
            component,
        } = release;
        if hex::encode(Sha256::digest(&component)) != info.digest.hex() {
            return Err(StoreError::Unstorable {
                what: format!("release {}", info.digest),
                reason: "the component has another digest".to_owned(),
            });
        }
        let mut tx = self.begin_tx().await?;
        tenants::require(&mut tx, tenant, "").await?;
        let size = to_i64(component.len());
        sqlx::query(
            "INSERT INTO components (digest, component) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING",
        )
        .bind(info.digest.as_str())
        .bind(component)
        .execute(&mut *tx)
        .await?;
        let added = sqlx::query(
            "INSERT INTO releases (tenant, digest, name, version, roles, size, added_at, inspection) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, digest) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(info.digest.as_str())
        .bind(storable("the name of a release", &info.name)?)
        .bind(storable("the version of a release", &info.version)?)
        .bind(to_json(&info.roles)?)
        .bind(size)
        .bind(now)
        .bind(storable("the inspection of a release", &inspection_json)?)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if added > 0 {
            let entry = AuditEntry {
                at: now,
                actor: "host".to_owned(),
                action: "release.add".to_owned(),
                subject: format!("release/{}", info.digest),
                detail: serde_json::json!({ "name": info.name, "version": info.version }),
            };
            audit::write(&mut tx, tenant, &entry).await?;
        }
        Ok(tx.commit().await?)
    }

    /// A release.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release(&self, tenant: &Name, digest: &Digest) -> Result<Option<ReleaseRow>, StoreError> {
        let row = sqlx::query(
            "SELECT digest, name, version, roles, size, added_at, inspection FROM releases \
             WHERE tenant = $1 AND digest = $2",
        )
        .bind(tenant.as_str())
        .bind(digest.as_str())
        .fetch_optional(self.reader())
        .await?;
        row.map(|row| {
            Ok(ReleaseRow {
                info: info(&row)?,
                inspection_json: row.text("inspection")?,
            })
        })
        .transpose()
    }

    /// The bytes of a release.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_component(
        &self,
        tenant: &Name,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query(
            "SELECT c.component FROM releases AS r JOIN components AS c ON c.digest = r.digest \
             WHERE r.tenant = $1 AND r.digest = $2",
        )
        .bind(tenant.as_str())
        .bind(digest.as_str())
        .fetch_optional(self.reader())
        .await?;
        row.map(|row| row.bytes("component")).transpose()
    }

    /// Every release of a tenant, by name and age.
    ///
    /// # Errors
    /// The database fails.
    pub async fn releases(&self, tenant: &Name) -> Result<Vec<ReleaseInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT digest, name, version, roles, size, added_at FROM releases \
             WHERE tenant = $1 ORDER BY name, added_at, digest",
        )
        .bind(tenant.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter().map(info).collect()
    }
}
