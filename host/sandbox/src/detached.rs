//! What is asked of the embedder runs in a task of its own.
//!
//! A call of a guest only goes on when it has a slot to compute with (`cpu`), and it ends at once when its time is over. A transaction
//! that was begun for it must not wait for either: it would hold a connection of a database that everybody shares, or its only writer, for as
//! long as the tenant's other guests compute. So the call waits for a task, and the task waits for nobody.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;

use crate::binding::{
    Condition, CredentialError, Credentials, Quota, Secret, Storage, StorageError, StoredEntry, Tokens,
};

/// Around what an embedder provides.
pub(crate) struct Detached<T: ?Sized>(pub(crate) Arc<T>);

/// Waits for a task; a panic in it is the caller's, as if there were none. None if the runtime is being shut down.
async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => None,
        },
    }
}

fn ended<T>(done: Option<Result<T, StorageError>>) -> Result<T, StorageError> {
    done.unwrap_or_else(|| {
        Err(StorageError::Unavailable {
            message: "the host is being shut down".to_owned(),
        })
    })
}

#[async_trait]
impl Storage for Detached<dyn Storage> {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        let (storage, key) = (Arc::clone(&self.0), key.to_owned());
        ended(apart(async move { storage.get(&key).await }).await)
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        let (storage, key) = (Arc::clone(&self.0), key.to_owned());
        ended(apart(async move { storage.put(&key, value, condition, quota).await }).await)
    }

    async fn delete(&self, key: &str, condition: Condition) -> Result<bool, StorageError> {
        let (storage, key) = (Arc::clone(&self.0), key.to_owned());
        ended(apart(async move { storage.delete(&key, condition).await }).await)
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        let (storage, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        let after = after.map(str::to_owned);
        ended(apart(async move { storage.list_keys(&prefix, after.as_deref(), limit).await }).await)
    }
}

#[async_trait]
impl Credentials for Detached<dyn Credentials> {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        let (credentials, asked) = (Arc::clone(&self.0), name.to_owned());
        let secret = apart(async move { credentials.secret(&asked).await }).await;
        secret.unwrap_or_else(|| {
            Err(CredentialError::Unavailable {
                name: name.to_owned(),
                message: "the host is being shut down".to_owned(),
            })
        })
    }

    async fn all(&self) -> Vec<Secret> {
        let credentials = Arc::clone(&self.0);
        apart(async move { credentials.all().await })
            .await
            .unwrap_or_default()
    }

    /// Tokens are exchanged in a task of their own anyway.
    fn tokens(&self) -> Option<&dyn Tokens> {
        self.0.tokens()
    }
}
