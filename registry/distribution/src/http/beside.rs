//! For what an embedder serves beside the registry: who asks, by the same rules, and errors in the same form.

use http::request::Parts;

use super::{Http, caller::Caller};
use crate::{
    auth::{Action, Identity},
    error::ApiError,
    name::RepositoryName,
};

/// Who sent a request, and what they may do.
#[derive(Debug)]
pub struct Asker<'h> {
    http: &'h Http,
    caller: Caller,
}

impl Http {
    /// Who sends a request.
    ///
    /// # Errors
    /// A password or a token that is wrong: the answer to give.
    pub async fn asker(&self, parts: &Parts) -> Result<Asker<'_>, ApiError> {
        Ok(Asker {
            http: self,
            caller: Caller::of(self, parts).await?,
        })
    }
}

impl Asker<'_> {
    /// Whether they may do something with a repository.
    ///
    /// # Errors
    /// It cannot be decided.
    pub async fn may(&self, repository: &RepositoryName, action: Action) -> Result<bool, ApiError> {
        Ok(self.caller.rights(self.http, repository).await?.allow(action))
    }

    /// That they may do something with a repository.
    ///
    /// # Errors
    /// They may not: the answer to give, which says how they could.
    pub async fn require(&self, repository: &RepositoryName, action: Action) -> Result<(), ApiError> {
        self.caller.require(self.http, repository, action).await
    }

    /// That they said who they are, where that is asked.
    ///
    /// # Errors
    /// They did not: the answer to give.
    pub fn require_known(&self) -> Result<(), ApiError> {
        self.caller.require_known(self.http)
    }

    /// Their name, for a log.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.caller {
            Caller::Anybody => "anybody",
            Caller::Known(Identity::Anonymous) => "anonymous",
            Caller::Known(Identity::User(user)) => user,
            Caller::Token(_) => "a token's holder",
        }
    }
}
