//! Users with passwords that are only known hashed (Argon2id, RFC 9106), and rules of who may do what: enough for one registry.

use std::{collections::HashMap, sync::Arc};

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{SaltString, rand_core::OsRng},
};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{Access, AccessError, Actions, Identity};
use crate::name::RepositoryName;

/// A password as it is kept: a PHC string with a fresh salt and the parameters of the day.
///
/// # Errors
/// There is no randomness to be had.
pub fn hash_password(password: &str) -> Result<String, AccessError> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| AccessError(error.to_string().into()))?;
    Ok(hash.to_string())
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Who; none: everybody, named or not.
    pub user: Option<String>,
    /// A repository and all below it (`a` is `a` and `a/b`, not `ab`); none: all.
    pub below: Option<RepositoryName>,
    /// What.
    pub actions: Actions,
}

/// Users, passwords and rules that do not change while it is used.
#[derive(Debug)]
pub struct Passwords {
    hashes: Arc<HashMap<String, String>>,
    rules: Vec<Rule>,
    /// A hash takes 19 MiB while it is computed: guessing must not fill the memory.
    places: Semaphore,
    /// What a user who is not there is compared with, so that it takes as long.
    nobody: String,
}

impl Passwords {
    /// Of users with their hashes (see [`hash_password`]), and rules, of which all that fit count.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new(
        hashes: impl IntoIterator<Item = (String, String)>,
        rules: Vec<Rule>,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            hashes: Arc::new(hashes.into_iter().collect()),
            rules,
            places: Semaphore::new(4),
            nobody: hash_password("")?,
        })
    }
}

#[async_trait]
impl Access for Passwords {
    async fn knows(&self, user: &str, password: &str) -> Result<bool, AccessError> {
        let known = self.hashes.get(user);
        let is_known = known.is_some();
        let hash = known.unwrap_or(&self.nobody).clone();
        let password = zeroize::Zeroizing::new(password.to_owned());
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|error| AccessError(error.into()))?;
        let right = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        })
        .await
        .map_err(|error| AccessError(error.into()))?;
        Ok(right && is_known)
    }

    async fn rights(&self, who: &Identity, repository: &RepositoryName) -> Result<Actions, AccessError> {
        let fits = |rule: &&Rule| {
            let user = match (&rule.user, who) {
                (None, _) => true,
                (Some(user), Identity::User(is)) => user == is,
                (Some(_), Identity::Anonymous) => false,
            };
            let place = rule.below.as_ref().is_none_or(|below| {
                let rest = repository.as_str().strip_prefix(below.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            user && place
        };
        Ok(self
            .rules
            .iter()
            .filter(fits)
            .fold(Actions::NONE, |actions, rule| actions.or(rule.actions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_known() {
        let passwords =
            Passwords::new([("ada".to_owned(), hash_password("right").unwrap())], Vec::new()).unwrap();
        assert!(passwords.knows("ada", "right").await.unwrap());
        assert!(!passwords.knows("ada", "wrong").await.unwrap());
        assert!(!passwords.knows("eve", "").await.unwrap());
        assert!(!passwords.knows("eve", "right").await.unwrap());
    }

    #[tokio::test]
    async fn rules_add_up_and_stay_below_their_repository() {
        let rule = |user: Option<&str>, below: Option<&str>, actions| Rule {
            user: user.map(str::to_owned),
            below: below.map(|below| below.parse().unwrap()),
            actions,
        };
        let rules = vec![
            rule(None, Some("open"), Actions::PULL),
            rule(Some("ada"), Some("a"), Actions::PUSH),
        ];
        let passwords = Passwords::new([], rules).unwrap();
        let (ada, eve) = (Identity::User("ada".to_owned()), Identity::Anonymous);
        for (who, repository, expected) in [
            (&eve, "open/x", Actions::PULL),
            (&eve, "a", Actions::NONE),
            (&ada, "a", Actions::PUSH),
            (&ada, "a/b", Actions::PUSH),
            (&ada, "ab", Actions::NONE),
            (&ada, "open", Actions::PULL),
        ] {
            assert_eq!(
                passwords.rights(who, &repository.parse().unwrap()).await.unwrap(),
                expected,
                "{who:?} {repository}"
            );
        }
    }
}
