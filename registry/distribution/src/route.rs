//! From a path to what it is about. A repository's name has any number of `/`, so paths are read from their end; every part is
//! percent-decoded once, on its own, and then has to match a grammar that knows neither `..` nor `%` nor a second `/`.

use std::borrow::Cow;

use uuid::Uuid;

use crate::{
    digest::{Digest, DigestError},
    name::{NameError, RepositoryName, shortened},
    reference::{Reference, ReferenceError},
};

/// What a path below `/v2/` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, Uuid),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

/// Why a path is about nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// No part of the interface looks like this.
    #[error("there is nothing at this path")]
    Unknown,
    /// The repository's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The reference is neither a tag nor a digest.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The upload's id is none.
    #[error("`{text}` is no upload of this registry")]
    Upload {
        /// The text, shortened.
        text: String,
    },
}

impl Route {
    /// Reads a path as it came, percent-encoded.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(path: &str) -> Result<Self, RouteError> {
        let Some(rest) = path.strip_prefix("/v2") else {
            return Err(RouteError::Unknown);
        };
        if matches!(rest, "" | "/") {
            return Ok(Self::Base);
        }
        let rest = rest.strip_prefix('/').ok_or(RouteError::Unknown)?;
        let parts = rest
            .split('/')
            .map(decoded)
            .collect::<Option<Vec<_>>>()
            .ok_or(RouteError::Unknown)?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "manifests", reference] => Ok(Self::Manifest(repository(name)?, reference.parse()?)),
            [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => {
                let name = repository(name)?;
                let id = id
                    .parse()
                    .map_err(|_| RouteError::Upload { text: shortened(id) })?;
                Ok(Self::Upload(name, id))
            }
            [name @ .., "blobs", digest] => Ok(Self::Blob(repository(name)?, digest.parse()?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(repository(name)?, digest.parse()?)),
            _ => Err(RouteError::Unknown),
        }
    }
}

fn repository(parts: &[&str]) -> Result<RepositoryName, NameError> {
    // A `/` that was encoded would otherwise become one of the name's own.
    if let Some(part) = parts.iter().find(|part| part.contains('/')) {
        return Err(NameError {
            text: shortened(part),
        });
    }
    parts.join("/").parse()
}

fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = part.bytes();
    let mut out = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let id = Uuid::now_v7();
        let table = [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/a/b/tags/list".to_owned(), Route::Tags(name("a/b"))),
            (
                "/v2/tags/list/tags/list".to_owned(),
                Route::Tags(name("tags/list")),
            ),
            (
                "/v2/a/manifests/latest".to_owned(),
                Route::Manifest(name("a"), "latest".parse().unwrap()),
            ),
            (
                format!("/v2/a/manifests/{digest}"),
                Route::Manifest(name("a"), Reference::Digest(digest.clone())),
            ),
            (
                format!("/v2/a/blobs/{}", digest.as_str().replace(':', "%3A")),
                Route::Blob(name("a"), digest.clone()),
            ),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            (
                format!("/v2/blobs/uploads/blobs/uploads/{id}"),
                Route::Upload(name("blobs/uploads"), id),
            ),
            (
                format!("/v2/a/referrers/{digest}"),
                Route::Referrers(name("a"), digest),
            ),
        ];
        for (path, route) in table {
            assert_eq!(Route::parse(&path), Ok(route), "{path}");
        }
    }

    #[test]
    fn tricks_do_not_work() {
        for path in [
            "/v2/../tags/list",
            "/v2/a/../b/tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a%2fb/tags/list",
            "/v2/a//b/tags/list",
            "/v2//tags/list",
            "/v2/tags/list",
            "/v2/a%00/tags/list",
            "/v2/A/tags/list",
            "/v2/a%252fb/tags/list",
        ] {
            assert!(matches!(Route::parse(path), Err(RouteError::Name(_))), "{path}");
        }
        for path in [
            "/",
            "/v1/",
            "/v2a",
            "/v2/a",
            "/v2/a/b/c",
            "/v2/_catalog",
            "/v2/%zz/tags/list",
            "/v2/%ff/tags/list",
        ] {
            assert_eq!(Route::parse(path), Err(RouteError::Unknown), "{path}");
        }
        assert!(matches!(
            Route::parse("/v2/a/blobs/sha256:../../x"),
            Err(RouteError::Unknown)
        ));
        assert!(matches!(
            Route::parse("/v2/a/blobs/sha256:x"),
            Err(RouteError::Digest(_))
        ));
        assert!(matches!(
            Route::parse("/v2/a/blobs/uploads/x"),
            Err(RouteError::Upload { .. })
        ));
        assert!(matches!(
            Route::parse("/v2/a/manifests/.x"),
            Err(RouteError::Reference(_))
        ));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/v2(/(\\PC{0,6}|%[0-9a-f]{2}|blobs|uploads|manifests|tags|list|\\.\\.)){0,6}") {
            let _ = Route::parse(&path);
        }
    }
}
