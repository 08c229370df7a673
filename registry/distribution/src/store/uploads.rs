//! Uploads and the objects that they fill. An object's row is there before the object is written, and says what it became.

use uuid::Uuid;

use super::{Columns, Condemned, Store, condemn, to_i64};
use crate::{digest::Digest, error::RegistryError, name::RepositoryName};

/// An upload that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) id: Uuid,
    pub(crate) repository: RepositoryName,
    /// Bytes that are there.
    pub(crate) size: u64,
}

/// An object that was written and is to become a blob of a repository.
#[derive(Debug)]
pub(crate) struct Finish<'f> {
    pub(crate) repository: &'f RepositoryName,
    /// The upload that it comes of, which has to be as it was read.
    pub(crate) upload: Option<&'f Upload>,
    pub(crate) digest: &'f Digest,
    pub(crate) object: Uuid,
    pub(crate) size: u64,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The repository has the blob; these are not needed any more.
    Done(Vec<Condemned>),
    /// The upload was finished, cancelled or added to by somebody else.
    UploadChanged,
    /// It took so long that the object was given up.
    GivenUp,
}

impl Store {
    pub(crate) async fn start_upload(
        &self,
        repository: &RepositoryName,
        now: i64,
    ) -> Result<Upload, RegistryError> {
        let id = Uuid::now_v7();
        let mut tx = self.change().await?;
        sqlx::query(
            "INSERT INTO oci_uploads (upload, repository, size, started_at, at) VALUES ($1, $2, 0, $3, $3)",
        )
        .bind(id.to_string())
        .bind(repository.as_str().to_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Upload {
            id,
            repository: repository.clone(),
            size: 0,
        })
    }

    pub(crate) async fn upload(
        &self,
        repository: &RepositoryName,
        id: Uuid,
    ) -> Result<Option<Upload>, RegistryError> {
        let row = sqlx::query("SELECT size FROM oci_uploads WHERE upload = $1 AND repository = $2")
            .bind(id.to_string())
            .bind(repository.as_str().to_owned())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| {
            Ok(Upload {
                id,
                repository: repository.clone(),
                size: row.count("size")?,
            })
        })
        .transpose()
    }

    /// Says that an object is about to be written.
    pub(crate) async fn claim(
        &self,
        object: Uuid,
        place: &str,
        upload: Option<Uuid>,
        now: i64,
    ) -> Result<(), RegistryError> {
        let mut tx = self.change().await?;
        sqlx::query(
            "INSERT INTO oci_objects (object, place, state, upload, at) VALUES ($1, $2, 'writing', $3, $4)",
        )
        .bind(object.to_string())
        .bind(place.to_owned())
        .bind(upload.map(|upload| upload.to_string()))
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Says that an object is of no use; false if somebody else has said so before.
    pub(crate) async fn give_up(&self, object: Uuid, now: i64) -> Result<bool, RegistryError> {
        let mut tx = self.change().await?;
        let ours = sqlx::query(
            "UPDATE oci_objects SET state = 'condemned', at = $2 WHERE object = $1 AND state = 'writing'",
        )
        .bind(object.to_string())
        .bind(now)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(ours == 1)
    }

    /// Adds an object to the end of an upload, unless somebody else was quicker; false then.
    pub(crate) async fn append(
        &self,
        upload: &Upload,
        object: Uuid,
        size: u64,
        now: i64,
    ) -> Result<bool, RegistryError> {
        let mut tx = self.change().await?;
        let grown =
            sqlx::query("UPDATE oci_uploads SET size = size + $3, at = $4 WHERE upload = $1 AND size = $2")
                .bind(upload.id.to_string())
                .bind(to_i64(upload.size))
                .bind(to_i64(size))
                .bind(now)
                .execute(&mut *tx)
                .await?
                .rows_affected();
        let kept = sqlx::query(
            "UPDATE oci_objects SET state = 'whole', position = $2, size = $3, at = $4 WHERE object = $1 AND state = 'writing'",
        )
        .bind(object.to_string())
        .bind(to_i64(upload.size))
        .bind(to_i64(size))
        .bind(now)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if grown == 1 && kept == 1 {
            tx.commit().await?;
            return Ok(true);
        }
        tx.rollback().await?;
        self.give_up(object, now).await?;
        Ok(false)
    }

    /// The pieces of an upload, in order, with their sizes.
    pub(crate) async fn pieces(&self, upload: Uuid) -> Result<Vec<(String, u64)>, RegistryError> {
        let rows = sqlx::query(
            "SELECT place, size FROM oci_objects WHERE upload = $1 AND state = 'whole' ORDER BY position",
        )
        .bind(upload.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| Ok((row.text("place")?, row.count("size")?)))
            .collect()
    }

    /// Ends an upload without a blob; none if there is none.
    pub(crate) async fn cancel(
        &self,
        upload: &Upload,
        now: i64,
    ) -> Result<Option<Vec<Condemned>>, RegistryError> {
        let mut tx = self.change().await?;
        let gone = sqlx::query("DELETE FROM oci_uploads WHERE upload = $1")
            .bind(upload.id.to_string())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if gone == 0 {
            return Ok(None);
        }
        let condemned = condemn_pieces(&mut tx, upload.id, now).await?;
        tx.commit().await?;
        Ok(Some(condemned))
    }

    /// Makes an object that was written a blob of a repository, and ends the upload that it comes of.
    pub(crate) async fn finish(&self, finish: Finish<'_>, now: i64) -> Result<Finished, RegistryError> {
        let object = finish.object.to_string();
        let mut tx = self.change().await?;
        let kept = sqlx::query("UPDATE oci_objects SET state = 'whole', size = $2, at = $3 WHERE object = $1 AND state = 'writing'")
            .bind(object.clone())
            .bind(to_i64(finish.size))
            .bind(now)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if kept == 0 {
            return Ok(Finished::GivenUp);
        }
        let mut condemned = Vec::new();
        if let Some(upload) = finish.upload {
            let ended = sqlx::query("DELETE FROM oci_uploads WHERE upload = $1 AND size = $2")
                .bind(upload.id.to_string())
                .bind(to_i64(upload.size))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if ended == 0 {
                tx.rollback().await?;
                self.give_up(finish.object, now).await?;
                return Ok(Finished::UploadChanged);
            }
            condemned = condemn_pieces(&mut tx, upload.id, now).await?;
        }
        let first = sqlx::query("INSERT INTO oci_blobs (digest, object, size, at) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING")
            .bind(finish.digest.as_str().to_owned())
            .bind(object.clone())
            .bind(to_i64(finish.size))
            .bind(now)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if first == 0 {
            // Somebody has pushed the same before: theirs stays, this one goes.
            condemn(&mut tx, &object, now).await?;
            let row = sqlx::query("SELECT object, place FROM oci_objects WHERE object = $1")
                .bind(object)
                .fetch_one(&mut *tx)
                .await?;
            condemned.push(Condemned::of(&row)?);
        }
        sqlx::query(
            "INSERT INTO oci_links (repository, digest, at) VALUES ($1, $2, $3) \
             ON CONFLICT (repository, digest) DO UPDATE SET at = excluded.at",
        )
        .bind(finish.repository.as_str().to_owned())
        .bind(finish.digest.as_str().to_owned())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Finished::Done(condemned))
    }
}

async fn condemn_pieces(
    connection: &mut sqlx::AnyConnection,
    upload: Uuid,
    now: i64,
) -> Result<Vec<Condemned>, RegistryError> {
    let rows = sqlx::query(
        "UPDATE oci_objects SET state = 'condemned', at = $2 WHERE upload = $1 AND state = 'whole' RETURNING object, place",
    )
    .bind(upload.to_string())
    .bind(now)
    .fetch_all(connection)
    .await?;
    rows.iter().map(Condemned::of).collect()
}
