//! Scopes: `repository:name:pull,push`, as clients ask for them and tokens carry them (distribution/docs/spec/auth/scope.md).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::name::{RepositoryName, shortened};

/// What is done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reading.
    Pull,
    /// Adding, and moving tags that are no versions.
    Push,
    /// Taking away.
    Delete,
}

impl Action {
    /// Its word in scopes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions {
    /// Reading.
    pub pull: bool,
    /// Adding.
    pub push: bool,
    /// Taking away.
    pub delete: bool,
}

impl Actions {
    /// None.
    pub const NONE: Self = Self {
        pull: false,
        push: false,
        delete: false,
    };
    /// All.
    pub const ALL: Self = Self {
        pull: true,
        push: true,
        delete: true,
    };
    /// Reading only.
    pub const PULL: Self = Self {
        pull: true,
        push: false,
        delete: false,
    };
    /// Reading and adding.
    pub const PUSH: Self = Self {
        pull: true,
        push: true,
        delete: false,
    };

    /// Whether it has an action.
    #[must_use]
    pub fn allow(self, action: Action) -> bool {
        match action {
            Action::Pull => self.pull,
            Action::Push => self.push,
            Action::Delete => self.delete,
        }
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pull: self.pull && other.pull,
            push: self.push && other.push,
            delete: self.delete && other.delete,
        }
    }

    /// What either has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            pull: self.pull || other.pull,
            push: self.push || other.push,
            delete: self.delete || other.delete,
        }
    }

    /// Words that are not known give nothing; `*` is all.
    fn of<'w, W: IntoIterator<Item = &'w str>>(words: W) -> Self {
        words.into_iter().fold(Self::NONE, |actions, word| match word {
            "pull" => Self {
                pull: true,
                ..actions
            },
            "push" => Self {
                push: true,
                ..actions
            },
            "delete" => Self {
                delete: true,
                ..actions
            },
            "*" => Self::ALL,
            _ => actions,
        })
    }

    fn words(self) -> Vec<String> {
        [Action::Pull, Action::Push, Action::Delete]
            .into_iter()
            .filter(|action| self.allow(*action))
            .map(|action| action.as_str().to_owned())
            .collect()
    }
}

/// Actions on a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Which.
    pub repository: RepositoryName,
    /// What.
    pub actions: Actions,
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a scope of a repository: `repository:name:pull,push,delete`")]
pub struct ScopeError {
    /// The text, shortened.
    pub text: String,
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let read = || {
            let rest = text.strip_prefix("repository:")?;
            let (name, actions) = rest.rsplit_once(':')?;
            Some(Self {
                repository: name.parse().ok()?,
                actions: Actions::of(actions.split(',')),
            })
        };
        read().ok_or_else(|| ScopeError {
            text: shortened(text),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "repository:{}:{}",
            self.repository,
            self.actions.words().join(",")
        )
    }
}

/// A scope in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `repository`; anything else gives nothing here.
    #[serde(rename = "type")]
    pub kind: String,
    /// The repository.
    pub name: String,
    /// The words of what may be done.
    pub actions: Vec<String>,
}

impl Grant {
    /// What it allows with a repository.
    #[must_use]
    pub fn on(&self, repository: &RepositoryName) -> Actions {
        if self.kind == "repository" && self.name == repository.as_str() {
            return Actions::of(self.actions.iter().map(String::as_str));
        }
        Actions::NONE
    }
}

impl From<Scope> for Grant {
    fn from(scope: Scope) -> Self {
        Self {
            kind: "repository".to_owned(),
            name: scope.repository.to_string(),
            actions: scope.actions.words(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_are_read_and_written() {
        let scope: Scope = "repository:a/b:push,pull,other".parse().unwrap();
        assert_eq!(scope.actions, Actions::PUSH);
        assert_eq!(scope.to_string(), "repository:a/b:pull,push");
        assert_eq!("repository:a:*".parse::<Scope>().unwrap().actions, Actions::ALL);
        assert_eq!("repository:a:".parse::<Scope>().unwrap().actions, Actions::NONE);
        for bad in [
            "",
            "registry:catalog:*",
            "repository:a",
            "repository:A:pull",
            "repository::pull",
            "repository:a:b:pull",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
        let grant = Grant::from(scope);
        assert_eq!(grant.on(&"a/b".parse().unwrap()), Actions::PUSH);
        assert_eq!(grant.on(&"a".parse().unwrap()), Actions::NONE);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(repository:)?\\PC{0,60}") {
            let _ = text.parse::<Scope>();
        }
    }
}
