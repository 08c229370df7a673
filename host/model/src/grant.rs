//! Grants: what an operator lets a connection do. The rules that decide by them live in the sandbox.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// Everything that a connection may do. Empty means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Grants {
    /// Where requests may go; a request passes if one of these allows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Room in the key/value store; none: no storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageGrant>,
    /// Bytes that the host keeps for the connection outside of plugins' memory; none: no blobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<BlobGrant>,
}

/// Requests to one host or one family of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpGrant {
    /// A host name, an IP address as such, or `*.` and a domain for every name below it; optionally `:` and a port. Without
    /// a port: the scheme's own.
    pub host: String,
    /// `https` and `http`; only `https` unless said otherwise.
    #[serde(default = "https_only")]
    pub schemes: Vec<String>,
    /// Upper-case methods; empty: all of GET, HEAD, POST, PUT, PATCH, DELETE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Path prefixes, each beginning with a slash: `/admin/api` allows `/admin/api` and everything below `/admin/api/`, not
    /// `/admin/apis`. Empty: every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// IP addresses and CIDR ranges that the host may resolve to although they are not public (private, loopback, link-local and
    /// the like), on the port of this grant. Empty: only public addresses. A host that is itself written as an address, or is
    /// `localhost`, with a port, needs no entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl Default for HttpGrant {
    /// No host yet; https, the usual methods, every path, public addresses only.
    fn default() -> Self {
        Self {
            host: String::new(),
            schemes: https_only(),
            methods: Vec::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

fn https_only() -> Vec<String> {
    vec!["https".to_owned()]
}

/// What is wrong with one field of a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct GrantFault {
    /// The field, as it is written.
    pub field: &'static str,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl HttpGrant {
    /// The methods that can be granted. CONNECT would be a tunnel past every rule, TRACE echoes credentials.
    pub const METHODS: [&'static str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    /// The methods of a grant that names none.
    pub const USUAL_METHODS: [&'static str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

    /// Checks everything but the host, which takes the rules of the sandbox to read.
    #[must_use]
    pub fn faults(&self) -> Vec<GrantFault> {
        let mut faults = Vec::new();
        let mut fault = |field, reason| faults.push(GrantFault { field, reason });
        if self.schemes.is_empty() {
            fault("schemes", "name `https`, `http` or both".to_owned());
        }
        for scheme in self.schemes.iter().filter(|s| *s != "http" && *s != "https") {
            fault(
                "schemes",
                format!("`{scheme}` is not a scheme that can be granted; use http or https"),
            );
        }
        for method in &self.methods {
            if !Self::METHODS.contains(&method.as_str()) {
                let known = Self::METHODS.join(", ");
                fault(
                    "methods",
                    format!("`{method}` is not a method that can be granted; use {known}"),
                );
            }
        }
        for reason in self.paths.iter().filter_map(|path| Self::path_fault(path)) {
            fault("paths", reason);
        }
        for address in self.addresses.iter().filter(|address| !is_range(address)) {
            fault(
                "addresses",
                format!(
                    "`{address}` is not an IP address (`10.1.2.3`, `fd00::7`) nor a range of them (`10.1.2.0/24`); IPv4 is written as \
                     such, not within IPv6"
                ),
            );
        }
        faults
    }

    /// What is wrong with a path prefix; none: it can be used. It has to be written the way that requests carry it, because it is
    /// compared with those byte by byte.
    #[must_use]
    pub fn path_fault(path: &str) -> Option<String> {
        if !path.starts_with('/') {
            return Some(format!("`{path}` has to begin with a slash"));
        }
        if path.contains(['?', '#', '*']) {
            return Some(format!(
                "`{path}` has a query, a fragment or an asterisk; write only the path, everything below it is allowed as well"
            ));
        }
        let lower = path.to_ascii_lowercase();
        if ["%2f", "%5c", "%2e", "%25"]
            .iter()
            .any(|code| lower.contains(code))
        {
            return Some(format!(
                "`{path}` has an encoded slash, backslash, dot or percent sign, which servers read in different ways"
            ));
        }
        let Ok(parsed) = Url::parse(&format!("https://host{path}")) else {
            return Some(format!("`{path}` is not the path of a URL"));
        };
        (parsed.path() != path).then(|| {
            format!(
                "`{path}` is carried by requests as `{}`; write it so",
                parsed.path()
            )
        })
    }
}

fn is_range(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        None => (text, None),
        Some((address, length)) => (address, Some(length)),
    };
    let bits = match address.parse::<IpAddr>() {
        Err(_) => return false,
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => return false,
        Ok(IpAddr::V6(_)) => 128,
        Ok(IpAddr::V4(_)) => 32,
    };
    length.is_none_or(|length| {
        length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|length| length <= bits)
    })
}

/// Room in the connection's key/value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StorageGrant {
    /// Bytes of keys and values together.
    pub max_bytes: u64,
    /// Keys; 10,000 unless said otherwise.
    #[serde(default = "StorageGrant::usual_keys")]
    pub max_keys: u64,
    /// Reads, writes, deletions and lists together in a second, as a token bucket that holds one second's worth; 200 unless said
    /// otherwise. Counted by each node for itself.
    #[serde(default = "StorageGrant::usual_rate")]
    pub ops_per_second: u32,
}

impl StorageGrant {
    /// Room for so many bytes, with the usual bounds of everything else.
    #[must_use]
    pub const fn of_bytes(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            max_keys: Self::usual_keys(),
            ops_per_second: Self::usual_rate(),
        }
    }

    /// How many keys there may be where nobody says.
    #[must_use]
    pub const fn usual_keys() -> u64 {
        10_000
    }

    /// How many operations a second there may be where nobody says.
    #[must_use]
    pub const fn usual_rate() -> u32 {
        200
    }
}

/// Bytes that the host keeps for the connection, named by their content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BlobGrant {
    /// Bytes of all blobs that the connection has put there and that are still kept. Each counts 4 KiB at least.
    pub max_bytes: u64,
    /// Bytes of one blob; 128 MiB unless said otherwise. It also bounds a request whose body has blobs in it.
    #[serde(default = "BlobGrant::usual_size")]
    pub max_blob_bytes: u64,
}

impl BlobGrant {
    /// How large one blob may be where nobody says.
    #[must_use]
    pub const fn usual_size() -> u64 {
        128 << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(grant: &HttpGrant) -> Vec<&'static str> {
        grant.faults().iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn every_field_is_checked() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let good = HttpGrant {
            host: "acme.example".to_owned(),
            schemes: list(&["https", "http"]),
            methods: list(&["GET", "OPTIONS"]),
            paths: list(&["/", "/admin/api", "/admin/api/", "/b%C3%BCcher", "/~a/b-c_d.json"]),
            addresses: list(&["10.1.2.3", "10.0.0.0/8", "fd00::7", "fd00::/64", "0.0.0.0/0"]),
        };
        assert_eq!(good.faults(), []);
        for path in [
            "",
            "admin",
            "/a?b",
            "/a#b",
            "/a/*",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%252f",
            "/bücher",
            "/a b",
            "/a\tb",
        ] {
            let mut grant = good.clone();
            grant.paths = list(&[path]);
            assert_eq!(fields(&grant), ["paths"], "{path:?}");
        }
        for address in [
            "",
            "acme.example",
            "10.1.2",
            "010.1.2.3",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "fd00::/129",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
            "[fd00::7]",
            "fe80::1%eth0",
            "10.1.2.3:80",
        ] {
            let mut grant = good.clone();
            grant.addresses = list(&[address]);
            assert_eq!(fields(&grant), ["addresses"], "{address:?}");
        }
        for (schemes, methods, field) in [
            (&[][..], &[][..], "schemes"),
            (&["ftp"], &[], "schemes"),
            (&["https"], &["get"], "methods"),
            (&["https"], &["CONNECT"], "methods"),
            (&["https"], &["TRACE"], "methods"),
        ] {
            let mut grant = good.clone();
            (grant.schemes, grant.methods) = (list(schemes), list(methods));
            assert_eq!(fields(&grant), [field], "{schemes:?} {methods:?}");
        }
    }
}
