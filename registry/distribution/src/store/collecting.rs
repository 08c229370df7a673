//! Deciding what is garbage, in short transactions that run alone; and forgetting what was deleted.

use sqlx::{AnyConnection, any::AnyRow};

use super::{Columns, Store};
use crate::error::RegistryError;

/// How many rows a transaction marks at most, so that pushes do not wait for long.
const BATCH: i64 = 500;

/// An object that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condemned {
    pub(crate) object: String,
    pub(crate) place: String,
}

impl Condemned {
    pub(super) fn of(row: &AnyRow) -> Result<Self, RegistryError> {
        Ok(Self {
            object: row.text("object")?,
            place: row.text("place")?,
        })
    }
}

/// What was last touched before these moments may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutoffs {
    /// Of uploads.
    pub(crate) uploads: i64,
    /// Of objects that are being written.
    pub(crate) writing: i64,
    /// Of blobs that no manifest names.
    pub(crate) links: i64,
}

impl Store {
    /// Marks what is not needed, and counts it: uploads, links and blobs.
    pub(crate) async fn mark(&self, cutoffs: Cutoffs, now: i64) -> Result<(u64, u64, u64), RegistryError> {
        let mut totals = (0, 0, 0);
        loop {
            let mut tx = self.change_alone().await?;
            let uploads = expire_uploads(&mut tx, cutoffs.uploads, now).await?;
            sqlx::query(
                "UPDATE oci_objects SET state = 'condemned', at = $2 WHERE state = 'writing' AND at < $1",
            )
            .bind(cutoffs.writing)
            .bind(now)
            .execute(&mut *tx)
            .await?;
            let links = sqlx::query(
                "DELETE FROM oci_links WHERE (repository, digest) IN (SELECT l.repository, l.digest FROM oci_links l \
                 WHERE l.at < $1 AND NOT EXISTS (SELECT 1 FROM oci_references r WHERE r.repository = l.repository \
                 AND r.target = l.digest) LIMIT $2)",
            )
            .bind(cutoffs.links)
            .bind(BATCH)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let blobs = unlinked_blobs(&mut tx, now).await?;
            tx.commit().await?;
            totals.0 += uploads;
            totals.1 += links;
            totals.2 += blobs;
            if uploads + links + blobs == 0 {
                return Ok(totals);
            }
        }
    }

    /// Some of the condemned objects, after the one named `last`.
    pub(crate) async fn condemned(&self, last: &str) -> Result<Vec<Condemned>, RegistryError> {
        let rows = sqlx::query(
            "SELECT object, place FROM oci_objects WHERE state = 'condemned' AND object > $1 ORDER BY object LIMIT $2",
        )
        .bind(last.to_owned())
        .bind(BATCH)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(Condemned::of).collect()
    }

    /// Forgets objects that were deleted.
    pub(crate) async fn forget(&self, deleted: &[Condemned]) -> Result<(), RegistryError> {
        let mut tx = self.change().await?;
        for condemned in deleted {
            sqlx::query("DELETE FROM oci_objects WHERE object = $1 AND state = 'condemned'")
                .bind(condemned.object.clone())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether an object has a row, whatever became of it.
    pub(crate) async fn knows(&self, object: &str) -> Result<bool, RegistryError> {
        let row = sqlx::query("SELECT object FROM oci_objects WHERE object = $1")
            .bind(object.to_owned())
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.is_some())
    }
}

async fn expire_uploads(connection: &mut AnyConnection, cutoff: i64, now: i64) -> Result<u64, RegistryError> {
    let rows = sqlx::query(
        "DELETE FROM oci_uploads WHERE upload IN (SELECT upload FROM oci_uploads WHERE at < $1 LIMIT $2) RETURNING upload",
    )
    .bind(cutoff)
    .bind(BATCH)
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        sqlx::query(
            "UPDATE oci_objects SET state = 'condemned', at = $2 WHERE upload = $1 AND state = 'whole'",
        )
        .bind(row.text("upload")?)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    Ok(rows.len() as u64)
}

async fn unlinked_blobs(connection: &mut AnyConnection, now: i64) -> Result<u64, RegistryError> {
    let rows = sqlx::query(
        "DELETE FROM oci_blobs WHERE digest IN (SELECT b.digest FROM oci_blobs b WHERE NOT EXISTS \
         (SELECT 1 FROM oci_links l WHERE l.digest = b.digest) LIMIT $1) RETURNING object",
    )
    .bind(BATCH)
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        super::condemn(&mut *connection, &row.text("object")?, now).await?;
    }
    Ok(rows.len() as u64)
}
