//! What is said about releases: yanked, deprecated.

use sqlx::any::AnyRow;

use super::{Columns, Store};
use crate::{
    digest::Digest,
    error::RegistryError,
    name::RepositoryName,
    reference::Tag,
    releases::{Deprecation, Listed, Release, Yank},
};

const COLUMNS: &str = "SELECT r.tag, r.digest, r.released_at, r.yanked_at, r.yank_reason, r.deprecated_at, r.deprecation, r.deadline, \
    COALESCE((SELECT 1 FROM oci_tags t WHERE t.repository = r.repository AND t.tag = r.tag), 0) AS there FROM oci_releases r \
    WHERE r.repository = $1 AND ";

const ALL: &str = "SELECT r.repository, r.tag, r.digest, r.released_at, r.yanked_at, r.yank_reason, r.deprecated_at, r.deprecation, \
    r.deadline, 1 AS there, m.annotations FROM oci_releases r \
    JOIN oci_tags t ON t.repository = r.repository AND t.tag = r.tag \
    JOIN oci_manifests m ON m.repository = r.repository AND m.digest = r.digest \
    WHERE r.repository > $1 OR (r.repository = $1 AND r.tag > $2) ORDER BY r.repository, r.tag LIMIT $3";

fn release(row: &AnyRow) -> Result<Release, RegistryError> {
    let yanked = row.maybe_int("yanked_at")?.map(|at| {
        Ok::<_, RegistryError>(Yank {
            at,
            reason: row.maybe_text("yank_reason")?.unwrap_or_default(),
        })
    });
    let deprecated = row.maybe_int("deprecated_at")?.map(|at| {
        Ok::<_, RegistryError>(Deprecation {
            at,
            message: row.maybe_text("deprecation")?.unwrap_or_default(),
            deadline: row.maybe_int("deadline")?,
        })
    });
    Ok(Release {
        tag: row.parsed("tag")?,
        digest: row.parsed("digest")?,
        released_at: row.int("released_at")?,
        there: row.int("there")? != 0,
        yanked: yanked.transpose()?,
        deprecated: deprecated.transpose()?,
    })
}

impl Store {
    /// All releases of a repository, in the order of their tags' bytes.
    pub(crate) async fn releases(&self, repository: &RepositoryName) -> Result<Vec<Release>, RegistryError> {
        self.select_releases("$2 = '' ORDER BY r.tag", repository, "")
            .await
    }

    /// A release by its tag.
    pub(crate) async fn release(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Release>, RegistryError> {
        Ok(self
            .select_releases("r.tag = $2", repository, tag.as_str())
            .await?
            .pop())
    }

    /// The releases that a digest is.
    pub(crate) async fn releases_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Release>, RegistryError> {
        self.select_releases("r.digest = $2 ORDER BY r.tag", repository, digest.as_str())
            .await
    }

    /// Releases that are there, of all repositories, behind a repository and a tag.
    pub(crate) async fn all_releases(
        &self,
        behind: (&str, &str),
        most: u32,
    ) -> Result<Vec<Listed>, RegistryError> {
        let rows = sqlx::query(ALL)
            .bind(behind.0.to_owned())
            .bind(behind.1.to_owned())
            .bind(i64::from(most))
            .fetch_all(&self.reader)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Listed {
                    repository: row.parsed("repository")?,
                    release: release(row)?,
                    annotations: serde_json::from_str(&row.text("annotations")?)
                        .map_err(|error| super::damaged("annotations", &error))?,
                })
            })
            .collect()
    }

    async fn select_releases(
        &self,
        condition: &'static str,
        repository: &RepositoryName,
        value: &str,
    ) -> Result<Vec<Release>, RegistryError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS}{condition}")))
            .bind(repository.as_str().to_owned())
            .bind(value.to_owned())
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(release).collect()
    }

    /// Yanks a release, or takes that back; false if there is no such release.
    pub(crate) async fn set_yanked(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        yank: Option<Yank>,
    ) -> Result<bool, RegistryError> {
        let (at, reason) = yank.map(|yank| (yank.at, yank.reason)).unzip();
        let mut tx = self.change().await?;
        let changed = sqlx::query(
            "UPDATE oci_releases SET yanked_at = $3, yank_reason = $4 WHERE repository = $1 AND tag = $2",
        )
        .bind(repository.as_str().to_owned())
        .bind(tag.as_str().to_owned())
        .bind(at)
        .bind(reason)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(changed == 1)
    }

    /// Deprecates a release, or takes that back; false if there is no such release.
    pub(crate) async fn set_deprecated(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        deprecation: Option<Deprecation>,
    ) -> Result<bool, RegistryError> {
        let deadline = deprecation.as_ref().and_then(|deprecation| deprecation.deadline);
        let (at, message) = deprecation
            .map(|deprecation| (deprecation.at, deprecation.message))
            .unzip();
        let mut tx = self.change().await?;
        let changed = sqlx::query(
            "UPDATE oci_releases SET deprecated_at = $3, deprecation = $4, deadline = $5 WHERE repository = $1 AND tag = $2",
        )
        .bind(repository.as_str().to_owned())
        .bind(tag.as_str().to_owned())
        .bind(at)
        .bind(message)
        .bind(deadline)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(changed == 1)
    }
}
