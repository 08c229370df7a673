//! Publishing: a manifest, its tags, what it names and what it is about become visible in one transaction, or nothing of it does.
//! And the opposite.

use sqlx::AnyConnection;

use super::{Columns, Store, to_i64};
use crate::{digest::Digest, error::RegistryError, manifest::Manifest, name::RepositoryName, reference::Tag};

/// What is to be published.
#[derive(Debug)]
pub(crate) struct NewManifest<'m> {
    pub(crate) repository: &'m RepositoryName,
    pub(crate) digest: &'m Digest,
    pub(crate) bytes: &'m [u8],
    pub(crate) manifest: &'m Manifest,
    pub(crate) tags: &'m [Tag],
    /// The repository's revision that the decision to publish rests on; none: on none.
    pub(crate) revision: Option<i64>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is visible.
    Done,
    /// These are not in the repository.
    Missing(Vec<Digest>),
    /// A blob has another size than the manifest says.
    SizeDiffers { digest: Digest, said: u64, is: u64 },
    /// A version that was released as something else.
    Released { tag: Tag, digest: Digest },
    /// The repository was changed since the decision.
    Changed,
}

/// What became of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// It is gone.
    Done,
    /// It was not there.
    Unknown,
    /// A manifest names it.
    Needed { by: Digest },
}

impl Store {
    /// What a manifest names and the repository has not. For an early answer; [`Store::publish`] looks again.
    pub(crate) async fn missing(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let mut missing = Vec::new();
        for (digest, _) in &manifest.blobs {
            if self.blob(repository, digest).await?.is_none() {
                missing.push(digest.clone());
            }
        }
        for digest in &manifest.manifests {
            let mut connection = self.reader.acquire().await?;
            if !has_manifest(&mut connection, repository, digest).await? {
                missing.push(digest.clone());
            }
        }
        Ok(missing)
    }

    /// Publishes a manifest.
    pub(crate) async fn publish(&self, new: NewManifest<'_>, now: i64) -> Result<Published, RegistryError> {
        let mut tx = self.change().await?;
        if !next_revision(&mut tx, &new, now).await? {
            return Ok(Published::Changed);
        }
        if let Some(reason) = check_contents(&mut tx, &new, now).await? {
            return Ok(reason);
        }
        insert_manifest(&mut tx, &new, now).await?;
        for tag in new.tags {
            if tag.release().is_some()
                && let Some(digest) = release(&mut tx, &new, tag, now).await?
            {
                return Ok(Published::Released {
                    tag: tag.clone(),
                    digest,
                });
            }
            sqlx::query(
                "INSERT INTO oci_tags (repository, tag, digest, at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, at = excluded.at",
            )
            .bind(new.repository.as_str().to_owned())
            .bind(tag.as_str().to_owned())
            .bind(new.digest.as_str().to_owned())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Published::Done)
    }

    /// Takes a tag away. A version stays what it was released as, should it come back.
    pub(crate) async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Deleted, RegistryError> {
        let mut tx = self.change().await?;
        let gone = sqlx::query("DELETE FROM oci_tags WHERE repository = $1 AND tag = $2")
            .bind(repository.as_str().to_owned())
            .bind(tag.as_str().to_owned())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(if gone == 0 {
            Deleted::Unknown
        } else {
            Deleted::Done
        })
    }

    /// Takes a manifest away, with the tags that point to it. What it names is kept for the time of grace.
    pub(crate) async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: i64,
    ) -> Result<Deleted, RegistryError> {
        let mut tx = self.change_alone().await?;
        if let Some(by) = needed_by(&mut tx, repository, digest).await? {
            return Ok(Deleted::Needed { by });
        }
        let (name, text) = (repository.as_str(), digest.as_str());
        let gone = sqlx::query("DELETE FROM oci_manifests WHERE repository = $1 AND digest = $2")
            .bind(name.to_owned())
            .bind(text.to_owned())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if gone == 0 {
            return Ok(Deleted::Unknown);
        }
        sqlx::query("DELETE FROM oci_tags WHERE repository = $1 AND digest = $2")
            .bind(name.to_owned())
            .bind(text.to_owned())
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE oci_links SET at = $3 WHERE repository = $1 AND digest IN \
             (SELECT target FROM oci_references WHERE repository = $1 AND manifest = $2)",
        )
        .bind(name.to_owned())
        .bind(text.to_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM oci_references WHERE repository = $1 AND manifest = $2")
            .bind(name.to_owned())
            .bind(text.to_owned())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Deleted::Done)
    }

    /// Takes a blob away from a repository, unless one of its manifests names it.
    pub(crate) async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let mut tx = self.change_alone().await?;
        if let Some(by) = needed_by(&mut tx, repository, digest).await? {
            return Ok(Deleted::Needed { by });
        }
        let gone = sqlx::query("DELETE FROM oci_links WHERE repository = $1 AND digest = $2")
            .bind(repository.as_str().to_owned())
            .bind(digest.as_str().to_owned())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(if gone == 0 {
            Deleted::Unknown
        } else {
            Deleted::Done
        })
    }
}

async fn needed_by(
    connection: &mut AnyConnection,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Digest>, RegistryError> {
    let row =
        sqlx::query("SELECT manifest FROM oci_references WHERE repository = $1 AND target = $2 LIMIT 1")
            .bind(repository.as_str().to_owned())
            .bind(digest.as_str().to_owned())
            .fetch_optional(connection)
            .await?;
    row.map(|row| row.parsed("manifest")).transpose()
}

async fn has_manifest(
    connection: &mut AnyConnection,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    let row = sqlx::query("SELECT digest FROM oci_manifests WHERE repository = $1 AND digest = $2")
        .bind(repository.as_str().to_owned())
        .bind(digest.as_str().to_owned())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// False: it is not the revision that the decision rests on.
async fn next_revision(
    connection: &mut AnyConnection,
    new: &NewManifest<'_>,
    now: i64,
) -> Result<bool, RegistryError> {
    let row = sqlx::query(
        "INSERT INTO oci_repositories (repository, revision, created_at) VALUES ($1, 1, $2) \
         ON CONFLICT (repository) DO UPDATE SET revision = oci_repositories.revision + 1 RETURNING revision",
    )
    .bind(new.repository.as_str().to_owned())
    .bind(now)
    .fetch_one(connection)
    .await?;
    let revision = row.int("revision")?;
    Ok(new.revision.is_none_or(|seen| seen + 1 == revision))
}

/// Touching the links keeps garbage collection off them. In the order of digests, so that two publications do not wait for each
/// other.
async fn check_contents(
    connection: &mut AnyConnection,
    new: &NewManifest<'_>,
    now: i64,
) -> Result<Option<Published>, RegistryError> {
    let mut missing = Vec::new();
    for (digest, said) in &new.manifest.blobs {
        let row = sqlx::query(
            "UPDATE oci_links SET at = $3 WHERE repository = $1 AND digest = $2 \
             RETURNING COALESCE((SELECT size FROM oci_blobs WHERE oci_blobs.digest = oci_links.digest), -1) AS size",
        )
        .bind(new.repository.as_str().to_owned())
        .bind(digest.as_str().to_owned())
        .bind(now)
        .fetch_optional(&mut *connection)
        .await?;
        let size = row.map(|row| row.int("size")).transpose()?;
        match size.and_then(|size| u64::try_from(size).ok()) {
            None => missing.push(digest.clone()),
            Some(is) if is != *said => {
                return Ok(Some(Published::SizeDiffers {
                    digest: digest.clone(),
                    said: *said,
                    is,
                }));
            }
            Some(_) => {}
        }
    }
    for digest in &new.manifest.manifests {
        if !has_manifest(&mut *connection, new.repository, digest).await? {
            missing.push(digest.clone());
        }
    }
    Ok((!missing.is_empty()).then_some(Published::Missing(missing)))
}

async fn insert_manifest(
    connection: &mut AnyConnection,
    new: &NewManifest<'_>,
    now: i64,
) -> Result<(), RegistryError> {
    let manifest = new.manifest;
    let annotations = serde_json::to_string(&manifest.annotations)
        .map_err(|error| super::damaged("annotations", &error))?;
    let first = sqlx::query(
        "INSERT INTO oci_manifests (repository, digest, media_type, size, artifact_type, subject, annotations, pushed_at, bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (repository, digest) DO NOTHING",
    )
    .bind(new.repository.as_str().to_owned())
    .bind(new.digest.as_str().to_owned())
    .bind(manifest.media_type.to_owned())
    .bind(to_i64(new.bytes.len() as u64))
    .bind(manifest.artifact_type.clone().map(|text| text.replace('\0', "")))
    .bind(manifest.subject.as_ref().map(|subject| subject.as_str().to_owned()))
    .bind(annotations)
    .bind(now)
    .bind(new.bytes.to_vec())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if first == 0 {
        return Ok(());
    }
    let targets = manifest
        .blobs
        .iter()
        .map(|(digest, _)| digest)
        .chain(&manifest.manifests);
    for target in targets {
        sqlx::query("INSERT INTO oci_references (repository, manifest, target) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(new.repository.as_str().to_owned())
            .bind(new.digest.as_str().to_owned())
            .bind(target.as_str().to_owned())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Releases a version; if it was released as something else, what that was.
async fn release(
    connection: &mut AnyConnection,
    new: &NewManifest<'_>,
    tag: &Tag,
    now: i64,
) -> Result<Option<Digest>, RegistryError> {
    let row = sqlx::query(
        "INSERT INTO oci_releases (repository, tag, digest, released_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (repository, tag) DO UPDATE SET released_at = oci_releases.released_at RETURNING digest",
    )
    .bind(new.repository.as_str().to_owned())
    .bind(tag.as_str().to_owned())
    .bind(new.digest.as_str().to_owned())
    .bind(now)
    .fetch_one(connection)
    .await?;
    let digest: Digest = row.parsed("digest")?;
    Ok((digest != *new.digest).then_some(digest))
}
