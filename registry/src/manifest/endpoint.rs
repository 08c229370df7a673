//! Addresses of a credential's own: where tokens come from.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// An https URL, or a path below the system that stands in the connection's configuration: `{config:/base_url}/oauth/token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// The URL.
    Fixed(Url),
    /// Scheme, host and port of the URL at this JSON Pointer (RFC 6901) of the configuration, then this path and query.
    Config {
        /// Where in the configuration.
        pointer: String,
        /// Begins with a slash.
        path: String,
    },
}

/// Why a text is not an endpoint, or a configured value not the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// In the manifest.
    #[error(
        "`{text}` is not an address for tokens: {why}. Write an https URL, or `{{config:/base_url}}/oauth/token` for a system that every \
         customer runs somewhere else"
    )]
    Text {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// In the configuration.
    #[error("the configuration's value at `{pointer}` is not an absolute http or https URL")]
    Value {
        /// Where in the configuration.
        pointer: String,
    },
}

impl Endpoint {
    /// The address for a connection.
    ///
    /// # Errors
    /// [`InvalidEndpoint::Value`] if the configuration has no http(s) URL at the pointer.
    pub fn resolve(&self, config: &serde_json::Value) -> Result<Url, InvalidEndpoint> {
        let (pointer, path) = match self {
            Self::Fixed(url) => return Ok(url.clone()),
            Self::Config { pointer, path } => (pointer, path),
        };
        let base = config.pointer(pointer).and_then(serde_json::Value::as_str);
        base.and_then(|text| Url::parse(text).ok())
            .filter(|base| matches!(base.scheme(), "http" | "https") && base.has_host())
            .and_then(|base| {
                let mut url = base.join(path).ok()?;
                url.set_username("").ok()?;
                url.set_password(None).ok()?;
                // A path that begins with two slashes would be another host.
                (url.origin() == base.origin()).then_some(url)
            })
            .ok_or_else(|| InvalidEndpoint::Value {
                pointer: pointer.clone(),
            })
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    if let Some(inner) = text.strip_prefix("{config:") {
        let (pointer, path) = inner.split_once('}').ok_or("the placeholder is not closed")?;
        if pointer.len() < 2 || !pointer.starts_with('/') {
            return Err("a placeholder is `{config:` and a JSON Pointer, which begins with a slash, and `}`");
        }
        if !path.starts_with('/') || path.starts_with("//") || path.contains('#') {
            return Err("after the placeholder comes a path that begins with one slash, without a fragment");
        }
        return Ok(Endpoint::Config {
            pointer: pointer.to_owned(),
            path: path.to_owned(),
        });
    }
    let url = Url::parse(text).map_err(|_| "it is not an absolute URL")?;
    if url.scheme() != "https" {
        return Err("secrets are sent there, so it has to be https");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it must have no user name, password or fragment (RFC 6749, section 3.2)");
    }
    if !matches!(url.host(), Some(url::Host::Domain(_))) {
        return Err(
            "an address belongs to one installation; let the operator configure it, through a placeholder",
        );
    }
    Ok(Endpoint::Fixed(url))
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        parse(text).map_err(|why| InvalidEndpoint::Text {
            text: text.to_owned(),
            why,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(url) => url.fmt(f),
            Self::Config { pointer, path } => write!(f, "{{config:{pointer}}}{path}"),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;
    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`https://login.acme.example/oauth/token` or `{config:/base_url}/oauth/token`",
            "examples": ["https://login.acme.example/oauth/token", "{config:/base_url}/oauth/token"],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_https_or_configured() {
        for text in [
            "https://login.acme.example/token",
            "{config:/url}/oauth/token?v=2",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in [
            "http://login.acme.example/token",
            "login.acme.example/token",
            "https://a:b@login.acme.example/token",
            "https://login.acme.example/token#x",
            "https://127.0.0.1/token",
            "{config:/url}",
            "{config:/url}token",
            "{config:/url}//evil.example/token",
            "{config:url}/token",
            "{config:/url/token",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_placeholder_gives_the_origin() {
        let endpoint: Endpoint = "{config:/url}/oauth/token".parse().unwrap();
        let url = endpoint
            .resolve(&json!({ "url": "https://eu.acme.example:8443/api/v2?x" }))
            .unwrap();
        assert_eq!(url.as_str(), "https://eu.acme.example:8443/oauth/token");
        for config in [
            json!({}),
            json!({ "url": 7 }),
            json!({ "url": "ftp://a" }),
            json!({ "url": "eu.example" }),
        ] {
            assert!(endpoint.resolve(&config).is_err(), "{config}");
        }
    }
}
