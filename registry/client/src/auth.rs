//! Who asks: the schemes `Basic` (RFC 7617) and `Bearer` with a token service, as Docker's registries have it
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// What a registry is told of who asks.
#[derive(Clone)]
pub enum Credentials {
    /// A user and a password; a token is fetched with them where the registry wants one.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A token that is there already.
    Token(Zeroizing<String>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Credentials::Password",
            Self::Token(_) => "Credentials::Token",
        })
    }
}

impl Credentials {
    /// Those of the environment: `STECKER_REGISTRY_TOKEN`, or `STECKER_REGISTRY_USER` with `STECKER_REGISTRY_PASSWORD`. None if neither is set.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(token) = read("STECKER_REGISTRY_TOKEN") {
            return Some(Self::Token(token.into()));
        }
        Some(Self::Password {
            user: read("STECKER_REGISTRY_USER")?,
            password: read("STECKER_REGISTRY_PASSWORD")?.into(),
        })
    }

    /// The value of `Authorization`.
    pub(crate) fn header(&self) -> Zeroizing<String> {
        match self {
            Self::Password { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
                Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            }
            Self::Token(token) => Zeroizing::new(format!("Bearer {}", token.as_str())),
        }
    }
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the header; none: a scheme that is not known.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = Parameters(rest);
        let (mut realm, mut service, mut scope) = (None, None, None);
        while let Some((name, value)) = parameters.next() {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
            scope,
        })
    }
}

/// `name="value"` and `name=value`, with commas between them (RFC 9110, 11.2).
struct Parameters<'t>(&'t str);

impl Parameters<'_> {
    fn next(&mut self) -> Option<(String, String)> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (name, rest) = rest.split_once('=')?;
        let mut value = String::new();
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (bare, rest) = rest.split_at(end);
            self.0 = rest;
            return Some((name.trim().to_owned(), bare.trim().to_owned()));
        };
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = quoted.get(at + 1..).unwrap_or_default();
                    return Some((name.trim().to_owned(), value));
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        // The quotation does not end.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(ToOwned::to_owned),
                scope: scope.map(ToOwned::to_owned),
            })
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:acme/shop:pull,push""#,
                bearer(
                    "https://auth.example/token",
                    Some("registry"),
                    Some("repository:acme/shop:pull,push"),
                ),
            ),
            (
                r#"bearer realm="a \" b", error=insufficient_scope"#,
                bearer("a \" b", None, None),
            ),
            ("Bearer realm=plain", bearer("plain", None, None)),
            (r#"Basic realm="plugins""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=x", None),
            (r#"Bearer realm="never ends"#, None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
