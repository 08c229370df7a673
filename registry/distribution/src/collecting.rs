//! Garbage collection: what nobody needs any more is marked in the database, then deleted where blobs are kept, then forgotten.
//!
//! It is safe beside pushes, on many nodes, and whatever is killed: see `docs/decisions/0021-the-registry-server.md`.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;

use crate::{
    error::RegistryError,
    pushing::object_at,
    registry::Registry,
    store::{Condemned, Cutoffs},
};

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Uploads that nobody went on with.
    pub uploads: u64,
    /// Blobs that a repository had, and no manifest of it named.
    pub links: u64,
    /// Blobs that no repository had any more.
    pub blobs: u64,
    /// Objects that were deleted.
    pub objects: u64,
    /// Of these, objects that the database knew nothing of.
    pub strays: u64,
}

impl Registry {
    /// Collects garbage. `look`: also list everything that lies where blobs are kept and delete what the database knows nothing of
    /// (a writer that came back from a long sleep leaves such); with a large bucket that takes its time, and once a week is enough.
    ///
    /// May run at any time, on any number of nodes.
    ///
    /// # Errors
    /// The database or the object store fails. What was done stays done, the rest is for the next time.
    pub async fn collect(&self, look: bool) -> Result<Collected, RegistryError> {
        let now = self.now();
        let options = &self.inner.options;
        let before = |life: std::time::Duration| {
            now.saturating_sub(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))
        };
        let cutoffs = Cutoffs {
            uploads: before(options.upload_life),
            writing: before(options.grace),
            links: before(options.grace),
        };
        let (uploads, links, blobs) = self.store().mark(cutoffs, now).await?;
        let mut collected = Collected {
            uploads,
            links,
            blobs,
            ..Collected::default()
        };
        let mut last = String::new();
        loop {
            let condemned = self.store().condemned(&last).await?;
            let Some(end) = condemned.last() else { break };
            last.clone_from(&end.object);
            collected.objects += self.delete_objects(&condemned).await?;
        }
        if look {
            collected.strays = self.delete_strays().await?;
            collected.objects += collected.strays;
        }
        Ok(collected)
    }

    /// Deletes objects and forgets those that went. One that cannot be deleted does not keep the others.
    pub(crate) async fn delete_objects(&self, condemned: &[Condemned]) -> Result<u64, RegistryError> {
        let (mut gone, mut failed) = (Vec::new(), None);
        for object in condemned {
            match self.blobs().delete(&object.place).await {
                Ok(()) => gone.push(object.clone()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if !gone.is_empty() {
            self.store().forget(&gone).await?;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(gone.len() as u64),
        }
    }

    /// An object has a row before it is written, and its name is not used again: what is there and has no row now will never have one.
    async fn delete_strays(&self) -> Result<u64, RegistryError> {
        let mut strays = BTreeSet::new();
        let mut places = self.blobs().list();
        while let Some(place) = places.try_next().await? {
            let ours = place.starts_with("blobs/") || place.starts_with("uploads/");
            if let Some(object) = object_at(&place).filter(|_| ours)
                && uuid::Uuid::try_parse(object).is_ok()
                && !self.store().knows(object).await?
            {
                strays.insert(place);
            }
        }
        for place in &strays {
            self.blobs().delete(place).await?;
        }
        Ok(strays.len() as u64)
    }
}
