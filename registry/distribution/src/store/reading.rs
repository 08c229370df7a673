//! What is there: blobs, manifests, tags, referrers.

use futures_util::TryStreamExt;

use super::{Columns, Store};
use crate::{
    digest::Digest,
    error::RegistryError,
    manifest::Referrer,
    name::RepositoryName,
    reference::{Reference, Tag},
};

/// A blob of a repository, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBlob {
    pub(crate) digest: Digest,
    pub(crate) object: String,
    pub(crate) place: String,
    pub(crate) size: u64,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

const BLOB: &str = "SELECT b.object, b.size, o.place FROM oci_links l \
    JOIN oci_blobs b ON b.digest = l.digest JOIN oci_objects o ON o.object = b.object \
    WHERE l.repository = $1 AND l.digest = $2";

impl Store {
    pub(crate) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredBlob>, RegistryError> {
        let row = sqlx::query(BLOB)
            .bind(repository.as_str().to_owned())
            .bind(digest.as_str().to_owned())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| {
            Ok(StoredBlob {
                digest: digest.clone(),
                object: row.text("object")?,
                place: row.text("place")?,
                size: row.count("size")?,
            })
        })
        .transpose()
    }

    /// Keeps a blob that somebody was told of from being collected for a while longer. `stale`: a link that is younger is left
    /// alone, so that asking again and again does not write. False: it is gone meanwhile.
    pub(crate) async fn keep_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: i64,
        stale: i64,
    ) -> Result<bool, RegistryError> {
        let row = sqlx::query("SELECT at FROM oci_links WHERE repository = $1 AND digest = $2")
            .bind(repository.as_str().to_owned())
            .bind(digest.as_str().to_owned())
            .fetch_optional(&self.reader)
            .await?;
        match row {
            None => return Ok(false),
            Some(row) if row.int("at")? > stale => return Ok(true),
            Some(_) => {}
        }
        let mut tx = self.change().await?;
        let kept = sqlx::query("UPDATE oci_links SET at = $3 WHERE repository = $1 AND digest = $2")
            .bind(repository.as_str().to_owned())
            .bind(digest.as_str().to_owned())
            .bind(now)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(kept == 1)
    }

    /// Repositories that have a blob, in no particular order.
    pub(crate) async fn repositories_with(
        &self,
        digest: &Digest,
        most: i64,
    ) -> Result<Vec<RepositoryName>, RegistryError> {
        let rows = sqlx::query("SELECT repository FROM oci_links WHERE digest = $1 LIMIT $2")
            .bind(digest.as_str().to_owned())
            .bind(most)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(|row| row.parsed("repository")).collect()
    }

    /// Gives a repository a blob that another one has; false if that has not.
    pub(crate) async fn mount(
        &self,
        repository: &RepositoryName,
        from: &RepositoryName,
        digest: &Digest,
        now: i64,
    ) -> Result<bool, RegistryError> {
        let mut tx = self.change().await?;
        // Touching the other link keeps it and its blob for the rest of the transaction and the time of grace.
        let there = sqlx::query(
            "UPDATE oci_links SET at = $3 WHERE repository = $1 AND digest = $2 \
             AND EXISTS (SELECT 1 FROM oci_blobs WHERE oci_blobs.digest = oci_links.digest)",
        )
        .bind(from.as_str().to_owned())
        .bind(digest.as_str().to_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if there == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO oci_links (repository, digest, at) VALUES ($1, $2, $3) \
             ON CONFLICT (repository, digest) DO UPDATE SET at = excluded.at",
        )
        .bind(repository.as_str().to_owned())
        .bind(digest.as_str().to_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Sets aside an object that is not what it should be. Its blob is unknown from now on, until it is pushed again.
    pub(crate) async fn set_aside(&self, object: &str, note: &str, now: i64) -> Result<(), RegistryError> {
        let mut tx = self.change().await?;
        sqlx::query("UPDATE oci_objects SET state = 'damaged', note = $2, at = $3 WHERE object = $1")
            .bind(object.to_owned())
            .bind(note.to_owned())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM oci_blobs WHERE object = $1")
            .bind(object.to_owned())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What was set aside: where it lies, and what was found.
    pub(crate) async fn set_asides(&self) -> Result<Vec<(String, String)>, RegistryError> {
        let rows = sqlx::query("SELECT place, note FROM oci_objects WHERE state = 'damaged' ORDER BY object")
            .fetch_all(&self.reader)
            .await?;
        rows.iter()
            .map(|row| Ok((row.text("place")?, row.maybe_text("note")?.unwrap_or_default())))
            .collect()
    }

    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let sql = match reference {
            Reference::Digest(_) => {
                "SELECT digest, media_type, bytes FROM oci_manifests WHERE repository = $1 AND digest = $2"
            }
            Reference::Tag(_) => {
                "SELECT m.digest, m.media_type, m.bytes FROM oci_tags t \
                 JOIN oci_manifests m ON m.repository = t.repository AND m.digest = t.digest \
                 WHERE t.repository = $1 AND t.tag = $2"
            }
        };
        let row = sqlx::query(sql)
            .bind(repository.as_str().to_owned())
            .bind(reference.to_string())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let manifest = StoredManifest {
            digest: row.parsed("digest")?,
            media_type: row.text("media_type")?,
            bytes: sqlx::Row::try_get(&row, "bytes")?,
        };
        if Digest::of(manifest.digest.algorithm(), &manifest.bytes) != manifest.digest {
            return Err(RegistryError::Corrupt {
                digest: manifest.digest.to_string(),
                what: "the manifest's bytes in the database are others".to_owned(),
            });
        }
        Ok(Some(manifest))
    }

    /// How often something was published in a repository; none if it is not known.
    pub(crate) async fn revision(&self, repository: &RepositoryName) -> Result<Option<i64>, RegistryError> {
        let row = sqlx::query("SELECT revision FROM oci_repositories WHERE repository = $1")
            .bind(repository.as_str().to_owned())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| row.int("revision")).transpose()
    }

    /// Tags after `last`, in the order of their bytes.
    pub(crate) async fn tags(
        &self,
        repository: &RepositoryName,
        last: &str,
        most: u32,
        with_yanked: bool,
    ) -> Result<Vec<Tag>, RegistryError> {
        let sql = if with_yanked {
            "SELECT tag FROM oci_tags WHERE repository = $1 AND tag > $2 ORDER BY tag LIMIT $3"
        } else {
            "SELECT tag FROM oci_tags t WHERE repository = $1 AND tag > $2 AND NOT EXISTS (SELECT 1 FROM oci_releases r \
             WHERE r.repository = t.repository AND r.tag = t.tag AND r.yanked_at IS NOT NULL) ORDER BY tag LIMIT $3"
        };
        let rows = sqlx::query(sql)
            .bind(repository.as_str().to_owned())
            .bind(last.replace('\0', ""))
            .bind(i64::from(most))
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(|row| row.parsed("tag")).collect()
    }

    /// Manifests about a subject, after the digest `last`, until they have `bytes` bytes in all; and whether there are more.
    pub(crate) async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: &str,
        bytes: usize,
    ) -> Result<(Vec<Referrer>, bool), RegistryError> {
        let sql = match artifact_type {
            None => {
                "SELECT digest, media_type, size, artifact_type, annotations FROM oci_manifests \
                 WHERE repository = $1 AND subject = $2 AND digest > $3 AND $4 = '' ORDER BY digest LIMIT 1001"
            }
            Some(_) => {
                "SELECT digest, media_type, size, artifact_type, annotations FROM oci_manifests \
                 WHERE repository = $1 AND subject = $2 AND digest > $3 AND artifact_type = $4 ORDER BY digest LIMIT 1001"
            }
        };
        let mut rows = sqlx::query(sql)
            .bind(repository.as_str().to_owned())
            .bind(subject.as_str().to_owned())
            .bind(last.replace('\0', ""))
            .bind(artifact_type.unwrap_or_default().replace('\0', ""))
            .fetch(&self.reader);
        let (mut found, mut used) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let annotations = row.text("annotations")?;
            used += annotations.len() + 400;
            if !found.is_empty() && (used > bytes || found.len() == 1000) {
                return Ok((found, true));
            }
            found.push(Referrer {
                media_type: row.text("media_type")?,
                size: row.count("size")?,
                digest: row.text("digest")?,
                artifact_type: row.maybe_text("artifact_type")?,
                annotations: serde_json::from_str(&annotations)
                    .map_err(|error| super::damaged("annotations", &error))?,
            });
        }
        Ok((found, false))
    }
}
