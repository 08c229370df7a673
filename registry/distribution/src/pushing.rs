//! Pushing blobs: bytes of a request become pieces of an upload, and pieces become a blob.
//!
//! A piece is an object of at most [`PIECE`] bytes. When it is written, the upload's size in the database grows in one step, if nobody
//! else was quicker; so the size is always what is there, whatever is killed, and two requests that add to one upload cannot mix.
//! To finish, the pieces are read back in order into an object of their own while the digest is computed. What is hashed is thus what
//! was stored, and not what went by. A blob of up to one piece in one request is written once.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use uuid::Uuid;

use crate::{
    blobs::PIECE,
    digest::{Digest, Hasher},
    error::RegistryError,
    name::RepositoryName,
    registry::Registry,
    store::{Condemned, Finish, Finished, Upload},
};

/// Why bytes were not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The request's body broke off; what came is there.
    #[error("the request's body broke off: {0}")]
    Body(String),
    #[error("the blob would have more than {0} bytes, the most that this registry takes")]
    BlobTooLarge(u64),
    #[error("the chunk has more than {0} bytes, the most that this registry takes in one request")]
    ChunkTooLarge(u64),
    #[error("the request's body has {is} bytes, not the {said} that its header says")]
    Length { said: u64, is: u64 },
    #[error("somebody else added to the upload at the same time")]
    Overtaken,
}

/// Why an upload did not become a blob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FinishError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the content is {is}, not {said}")]
    Digest { said: Digest, is: Digest },
    #[error("the upload was finished, cancelled or added to by somebody else")]
    UploadChanged,
    #[error("storing the blob took so long that it was given up; finish the upload again")]
    GivenUp,
}

/// What of a request is not in a piece yet.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    chunks: Vec<Bytes>,
    size: usize,
}

impl Tail {
    fn push(&mut self, bytes: Bytes) {
        self.size += bytes.len();
        self.chunks.push(bytes);
    }

    /// Small chunks hold large buffers alive; one copy bounds what is held to what counts.
    fn take(&mut self) -> (Vec<Bytes>, u64) {
        let size = std::mem::take(&mut self.size) as u64;
        (std::mem::take(&mut self.chunks), size)
    }
}

impl Registry {
    /// Adds a request's body to an upload, and hands back what does not fill a piece. `said`: how long it has to be.
    pub(crate) async fn append(
        &self,
        upload: &mut Upload,
        body: impl Stream<Item = Result<Bytes, String>>,
        said: Option<u64>,
    ) -> Result<Tail, AppendError> {
        let options = &self.inner.options;
        let mut body = std::pin::pin!(body);
        let (mut tail, mut received) = (Tail::default(), 0_u64);
        while let Some(next) = body.next().await {
            let mut bytes = match next {
                Ok(bytes) => bytes,
                Err(error) => {
                    // In order and complete as far as it goes: whoever resumes need not send it again.
                    self.keep(upload, &mut tail).await?;
                    return Err(AppendError::Body(error));
                }
            };
            received += bytes.len() as u64;
            if said.is_some_and(|said| received > said) {
                return Err(AppendError::Length {
                    said: said.unwrap_or_default(),
                    is: received,
                });
            }
            if received > options.max_chunk {
                return Err(AppendError::ChunkTooLarge(options.max_chunk));
            }
            if upload.size + tail.size as u64 + bytes.len() as u64 > options.max_blob {
                return Err(AppendError::BlobTooLarge(options.max_blob));
            }
            while tail.size + bytes.len() >= PIECE {
                tail.push(bytes.split_to(PIECE - tail.size));
                self.keep(upload, &mut tail).await?;
            }
            if !bytes.is_empty() {
                tail.push(bytes);
            }
        }
        if let Some(said) = said
            && received != said
        {
            return Err(AppendError::Length { said, is: received });
        }
        Ok(tail)
    }

    /// Makes a piece of the upload of what there is.
    pub(crate) async fn keep(&self, upload: &mut Upload, tail: &mut Tail) -> Result<(), AppendError> {
        let (chunks, size) = tail.take();
        if size == 0 {
            return Ok(());
        }
        let object = Uuid::now_v7();
        let place = format!(
            "uploads/{:02x}/{object}",
            object.as_bytes().last().copied().unwrap_or_default()
        );
        self.store()
            .claim(object, &place, Some(upload.id), self.now())
            .await?;
        if let Err(error) = self.blobs().put(&place, chunks).await {
            // Where it was given up by a collection, that took the file away under the writer, too.
            let ours = self.store().give_up(object, self.now()).await?;
            return Err(if ours {
                error.into()
            } else {
                AppendError::Overtaken
            });
        }
        if !self.store().append(upload, object, size, self.now()).await? {
            return Err(AppendError::Overtaken);
        }
        upload.size += size;
        Ok(())
    }

    /// Makes a blob of a repository of an upload's pieces and what comes after them. `upload`: none, if all of it is in the tail.
    pub(crate) async fn finish(
        &self,
        repository: &RepositoryName,
        upload: Option<&Upload>,
        mut tail: Tail,
        digest: &Digest,
    ) -> Result<(), FinishError> {
        let pieces = match upload {
            Some(upload) if upload.size > 0 => self.store().pieces(upload.id).await?,
            _ => Vec::new(),
        };
        let stored: u64 = pieces.iter().map(|(_, size)| size).sum();
        if upload.is_some_and(|upload| upload.size != stored) {
            return Err(FinishError::UploadChanged);
        }
        let (chunks, rest) = tail.take();
        if pieces.is_empty() {
            // Not worth an object if it is the wrong content.
            let mut hasher = Hasher::new(digest.algorithm());
            chunks.iter().for_each(|bytes| hasher.update(bytes));
            self.same(upload, digest, hasher.finish()).await?;
        }
        let object = Uuid::now_v7();
        let place = blob_place(digest, object);
        self.store().claim(object, &place, None, self.now()).await?;
        let written = if pieces.is_empty() {
            self.blobs().put(&place, chunks).await.map(|()| None)
        } else {
            self.assemble(&place, digest, &pieces, chunks).await
        };
        match written {
            Ok(None) => {}
            Ok(Some(is)) => {
                self.store().give_up(object, self.now()).await?;
                self.same(upload, digest, is).await?;
            }
            Err(error) => {
                let ours = self.store().give_up(object, self.now()).await?;
                return Err(if ours { error.into() } else { FinishError::GivenUp });
            }
        }
        let finish = Finish {
            repository,
            upload,
            digest,
            object,
            size: stored + rest,
        };
        match self.store().finish(finish, self.now()).await? {
            Finished::Done(condemned) => {
                self.discard(condemned).await;
                Ok(())
            }
            Finished::UploadChanged => Err(FinishError::UploadChanged),
            Finished::GivenUp => Err(FinishError::GivenUp),
        }
    }

    /// Writes an object of pieces and a rest; if it is another content than it should be, nothing, and says which.
    async fn assemble(
        &self,
        place: &str,
        digest: &Digest,
        pieces: &[(String, u64)],
        rest: Vec<Bytes>,
    ) -> Result<Option<Digest>, RegistryError> {
        let mut writing = self.blobs().write(place).await?;
        let mut hasher = Hasher::new(digest.algorithm());
        for (piece, _) in pieces {
            let mut stream = self.blobs().read(piece).await?;
            while let Some(bytes) = stream.try_next().await? {
                hasher.update(&bytes);
                writing.add(bytes).await?;
            }
        }
        for bytes in rest {
            hasher.update(&bytes);
            writing.add(bytes).await?;
        }
        let is = hasher.finish();
        if is == *digest {
            writing.finish().await?;
            return Ok(None);
        }
        writing.abort().await?;
        Ok(Some(is))
    }

    /// An upload with the wrong content is over: nothing that is added to it could make it right.
    async fn same(&self, upload: Option<&Upload>, said: &Digest, is: Digest) -> Result<(), FinishError> {
        if is == *said {
            return Ok(());
        }
        if let Some(upload) = upload {
            self.cancel(upload).await?;
        }
        Err(FinishError::Digest {
            said: said.clone(),
            is,
        })
    }

    /// Ends an upload without a blob; false if it was over.
    pub(crate) async fn cancel(&self, upload: &Upload) -> Result<bool, RegistryError> {
        let Some(condemned) = self.store().cancel(upload, self.now()).await? else {
            return Ok(false);
        };
        self.discard(condemned).await;
        Ok(true)
    }

    /// Deletes condemned objects now. What fails is left to the next collection, which finds it in the database.
    async fn discard(&self, condemned: Vec<Condemned>) {
        if let Err(error) = self.delete_objects(&condemned).await {
            tracing::warn!(%error, "objects that are not needed could not be deleted yet");
        }
    }
}

fn blob_place(digest: &Digest, object: Uuid) -> String {
    let hex = digest.hex();
    let shard = hex.get(..2).unwrap_or("xx");
    // The digest is for people who look into the folder; the object's name is what counts.
    format!("blobs/{}/{shard}/{hex}.{object}", digest.algorithm().as_str())
}

/// The name of the object that lies at a place.
pub(crate) fn object_at(place: &str) -> Option<&str> {
    let file = place.rsplit('/').next()?;
    Some(file.rsplit_once('.').map_or(file, |(_, object)| object))
}
