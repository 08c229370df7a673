//! Where a plugin asks to send requests to.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A host that a plugin asks for. Written as a text; without a port, the scheme's own is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `api.acme.example` or `api.acme.example:8443`: exactly this one. In lower case.
    Exact(String),
    /// `*.acme.example`: every name below, not the domain itself. In lower case, with the asterisk.
    Below(String),
    /// `{config:/base_url}`: host and port of the URL that stands in the connection's configuration at this JSON Pointer
    /// (RFC 6901). For systems that every customer runs somewhere else.
    Config(String),
}

/// Why a text is not a host pattern, or a configured value not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// In the manifest.
    #[error(
        "`{text}` is not a host: {why}. Write a host name (`api.acme.example`, with `:port` if it is not the scheme's own), a family \
         (`*.acme.example`) or a place in the configuration (`{{config:/base_url}}`)"
    )]
    Pattern {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// In the configuration.
    #[error(
        "the configuration's value at `{pointer}` has no host to send requests to: it has to be an absolute http or https URL"
    )]
    Value {
        /// Where in the configuration.
        pointer: String,
    },
}

impl HostPattern {
    /// The host as an operator grants it: `host`, `host:port` or `*.domain`. None if the configuration has nothing at the pointer
    /// (it was left out, so there is nothing to ask for).
    ///
    /// # Errors
    /// [`InvalidHost::Value`] if there is something that is not an absolute http(s) URL.
    pub fn resolve(&self, config: &serde_json::Value) -> Result<Option<String>, InvalidHost> {
        let pointer = match self {
            Self::Exact(host) | Self::Below(host) => return Ok(Some(host.clone())),
            Self::Config(pointer) => pointer,
        };
        let value = match config.pointer(pointer) {
            None | Some(serde_json::Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let url = value.as_str().and_then(|text| Url::parse(text).ok());
        let found = url
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .and_then(|url| {
                let host = url.host_str()?.to_owned();
                Some(url.port().map_or(host.clone(), |port| format!("{host}:{port}")))
            });
        found.map(Some).ok_or_else(|| InvalidHost::Value {
            pointer: pointer.clone(),
        })
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        parse(text).map_err(|why| InvalidHost::Pattern {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<HostPattern, &'static str> {
    if let Some(inner) = text.strip_prefix('{') {
        let pointer = inner
            .strip_suffix('}')
            .and_then(|inner| inner.strip_prefix("config:"));
        return match pointer {
            Some(pointer) if pointer.len() > 1 && pointer.starts_with('/') => {
                Ok(HostPattern::Config(pointer.to_owned()))
            }
            _ => Err("a placeholder is `{config:` and a JSON Pointer, which begins with a slash, and `}`"),
        };
    }
    if text.contains("://") || text.contains('/') {
        return Err("it is a URL or has a path; only the host belongs here");
    }
    let (host, port) = match text.split_once(':') {
        None => (text, None),
        Some((host, port)) => {
            let number = port
                .parse::<u16>()
                .ok()
                .filter(|number| *number > 0 && !port.starts_with('0'));
            (
                host,
                Some(number.ok_or("after the colon comes a port, 1 to 65535")?),
            )
        }
    };
    let below = host.strip_prefix("*.");
    let name = below.unwrap_or(host);
    let well_formed = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    if !well_formed {
        return Err(
            "a name consists of letters, digits and hyphens with dots between (other scripts in their xn-- form)",
        );
    }
    if matches!(Host::parse(name), Ok(Host::Ipv4(_)) | Err(_)) {
        return Err(
            "an address belongs to one installation; let the operator configure it, through a placeholder",
        );
    }
    if below.is_some() && !name.contains('.') {
        return Err("a family this large would be the whole internet; name at least two labels after `*.`");
    }
    let whole = |name: String| port.map_or(name.clone(), |port| format!("{name}:{port}"));
    let name = name.to_ascii_lowercase();
    Ok(if below.is_some() {
        HostPattern::Below(whole(format!("*.{name}")))
    } else {
        HostPattern::Exact(whole(name))
    })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) | Self::Below(host) => f.pad(host),
            Self::Config(pointer) => f.pad(&format!("{{config:{pointer}}}")),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = InvalidHost;
    fn try_from(text: String) -> Result<Self, InvalidHost> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(host: HostPattern) -> Self {
        host.to_string()
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`api.acme.example`, `*.acme.example` or `{config:/base_url}`",
            "examples": ["api.acme.example", "*.acme.example", "{config:/base_url}"],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_a_host_and_what_is_not() {
        for good in [
            "api.acme.example",
            "localhost:8080",
            "*.acme.example",
            "*.acme.example:8443",
            "{config:/a/b}",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(good.parse::<HostPattern>().unwrap().to_string(), good);
        }
        assert_eq!(
            "API.Acme.example".parse::<HostPattern>().unwrap().to_string(),
            "api.acme.example"
        );
        for bad in [
            "",
            "*",
            "*.example",
            "a.*.example",
            "https://acme.example",
            "acme.example/api",
            "acme.example:0",
            "acme.example:99999",
            "acme..example",
            "acme.example.",
            "a b",
            "127.0.0.1",
            "0x7f.1",
            "[::1]",
            "user@acme.example",
            "{config:}",
            "{config:base}",
            "{config:/a",
            "{env:/A}",
            "bücher.example",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_placeholder_takes_host_and_port_of_the_configured_url() {
        let pattern: HostPattern = "{config:/erp/url}".parse().unwrap();
        let resolve = |url: serde_json::Value| pattern.resolve(&json!({ "erp": { "url": url } }));
        assert_eq!(
            resolve(json!("https://erp.acme.example/api")),
            Ok(Some("erp.acme.example".to_owned()))
        );
        assert_eq!(
            resolve(json!("http://127.0.0.1:8069")),
            Ok(Some("127.0.0.1:8069".to_owned()))
        );
        assert_eq!(
            resolve(json!("http://[::1]:8069/")),
            Ok(Some("[::1]:8069".to_owned()))
        );
        assert_eq!(pattern.resolve(&json!({})), Ok(None));
        for bad in [
            json!(7),
            json!("erp.acme.example"),
            json!("ftp://erp.acme.example"),
            json!("https://"),
        ] {
            assert!(resolve(bad.clone()).is_err(), "{bad}");
        }
    }
}
