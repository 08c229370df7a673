//! Who somebody is and what they may do. The registry asks; an embedder answers ([`Access`]). How the answer travels is the usual:
//! a password with every request (Basic, RFC 7617), or for a token of a few minutes that carries the rights in it (Bearer, RFC 6750;
//! the token's content and the way to get one as Docker's registries have them, which is what clients know).

mod passwords;
mod scope;
mod token;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::{
    passwords::{Passwords, Rule, hash_password},
    scope::{Action, Actions, Grant, Scope, ScopeError},
    token::TokenIssuer,
};
use crate::name::RepositoryName;

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody said.
    Anonymous,
    /// Somebody whose password was right.
    User(String),
}

/// Why a question about access has no answer.
#[derive(Debug, thiserror::Error)]
#[error("access cannot be decided: {0}")]
pub struct AccessError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Knows users and their rights.
#[async_trait]
pub trait Access: fmt::Debug + Send + Sync + 'static {
    /// Whether this is the user's password.
    async fn knows(&self, user: &str, password: &str) -> Result<bool, AccessError>;

    /// Whose a bearer token is that the registry did not make itself; none: nobody's. Takes the same time for every wrong token of a length.
    async fn bearer(&self, _token: &str) -> Result<Option<Identity>, AccessError> {
        Ok(None)
    }

    /// What somebody may do with a repository, whether it is there or not.
    async fn rights(&self, who: &Identity, repository: &RepositoryName) -> Result<Actions, AccessError>;
}

/// How access is decided.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Everybody may do everything. For a loopback address, and for whoever decides in front of the registry.
    Open,
    /// A password with every request.
    Basic {
        /// What clients are told that the password is for.
        realm: String,
        /// Who knows.
        access: Arc<dyn Access>,
    },
    /// A token, which is to be had for a password; a password is taken directly, too.
    Bearer {
        /// Where tokens are to be had: the absolute URL of [`crate::TOKEN_PATH`] as clients reach it.
        realm: String,
        /// What tokens are for; one issuer's tokens are good for one service.
        service: String,
        /// Who makes and reads tokens.
        issuer: TokenIssuer,
        /// Who knows.
        access: Arc<dyn Access>,
    },
}
