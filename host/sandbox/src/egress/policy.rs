//! Whether a request may go where it wants to go: what the manifest asks for, intersected with what the operator grants.
//!
//! Pure: no name is resolved here. The URL has gone through the WHATWG parser first (`url`), so that the text that is judged is the one
//! that is connected to.

use std::fmt;

use reqwest::Method;
use stecker_model::{Grants, HttpGrant};
use url::{Host, Url};

use crate::binding::Denial;

/// Methods that a grant without methods allows.
const USUAL_METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// All that the contract knows. CONNECT would be a tunnel past every rule, TRACE echoes credentials.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A grant that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the grant for `{host}` is not usable: {why}")]
pub(crate) struct InvalidGrant {
    host: String,
    why: &'static str,
}

/// A host, or every name below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostRule {
    Exact(Host<String>),
    Below(String),
}

impl HostRule {
    pub(super) fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Exact(own), host) => own == host,
            (Self::Below(domain), Host::Domain(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Below(_), _) => false,
        }
    }

    /// Reads `host`, `host:port`, `*.domain` and `[::1]:port`.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<u16>), &'static str> {
        let (name, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((name, port)) if !port.ends_with(']') => {
                let valid = port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| valid && *port > 0);
                (
                    name,
                    Some(port.ok_or("after the colon comes a port, 1 to 65535")?),
                )
            }
            _ => (text, None),
        };
        let (below, name) = match name.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, name),
        };
        if name.contains('*') {
            return Err("an asterisk may only stand at the front, as in `*.acme.example`");
        }
        if name.ends_with('.') {
            return Err("it ends with a dot; leave that out");
        }
        let host = Host::parse(name)
            .map_err(|_| "it is not a host: write a name or an address, without a scheme or a path")?;
        let rule = match (below, host) {
            (false, host) => Self::Exact(host),
            (true, Host::Domain(domain)) if domain.contains('.') => Self::Below(domain),
            (true, Host::Domain(_)) => {
                return Err("this would be a whole top-level domain; name at least two labels after `*.`");
            }
            (true, _) => return Err("an address has no names below it"),
        };
        Ok((rule, port))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    host: HostRule,
    port: Option<u16>,
    schemes: Vec<String>,
    methods: Vec<String>,
}

/// How far a rule got with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Host,
    Port,
    Scheme,
    Everything,
}

impl Rule {
    fn new(grant: &HttpGrant) -> Result<Self, InvalidGrant> {
        let invalid = |why| InvalidGrant {
            host: grant.host.clone(),
            why,
        };
        let (host, port) = HostRule::parse(&grant.host).map_err(invalid)?;
        if grant.schemes.is_empty() || !grant.schemes.iter().all(|s| s == "https" || s == "http") {
            return Err(invalid("its schemes have to be `https`, `http` or both"));
        }
        if !grant
            .methods
            .iter()
            .all(|method| METHODS.iter().any(|known| known.as_str() == method))
        {
            return Err(invalid(
                "its methods have to be of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, in upper case",
            ));
        }
        let methods = if grant.methods.is_empty() {
            USUAL_METHODS.map(str::to_owned).to_vec()
        } else {
            grant.methods.clone()
        };
        Ok(Self {
            host,
            port,
            schemes: grant.schemes.clone(),
            methods,
        })
    }

    fn reach(&self, asked: &Asked<'_>) -> Reached {
        if !self.host.matches(&asked.host) {
            return Reached::Nothing;
        }
        // Without a port, the one that goes with the scheme is meant.
        if self.port.or(default_port(asked.scheme)) != Some(asked.port) {
            return Reached::Host;
        }
        if !self.schemes.iter().any(|scheme| scheme == asked.scheme) {
            return Reached::Port;
        }
        if !self.methods.iter().any(|method| method == asked.method) {
            return Reached::Scheme;
        }
        Reached::Everything
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

struct Asked<'a> {
    scheme: &'a str,
    host: Host<&'a str>,
    port: u16,
    method: &'a str,
}

impl Asked<'_> {
    fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified(),
            Host::Ipv6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => ip.is_loopback() || ip.is_unspecified(),
                None => ip.is_loopback() || ip.is_unspecified(),
            },
        }
    }

    fn host_and_port(&self) -> String {
        if default_port(self.scheme) == Some(self.port) && !self.is_loopback() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            host,
            port,
            method,
        } = self;
        write!(f, "{method} {scheme}://{host}:{port}")
    }
}

/// Both sides of the intersection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    manifest: Vec<Rule>,
    operator: Vec<Rule>,
}

impl Policy {
    pub(crate) fn new(asked: &Grants, granted: &Grants) -> Result<Self, InvalidGrant> {
        let rules = |grants: &Grants| grants.http.iter().map(Rule::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            manifest: rules(asked)?,
            operator: rules(granted)?,
        })
    }

    pub(crate) fn decide(&self, method: &Method, url: &Url) -> Result<(), Denial> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(never("http.url", "a URL without a host".to_owned()));
        };
        let asked = Asked {
            scheme: url.scheme(),
            host,
            port,
            method: method.as_str(),
        };
        let best = |rules: &mut dyn Iterator<Item = &Rule>| {
            rules
                .map(|rule| rule.reach(&asked))
                .max()
                .unwrap_or(Reached::Nothing)
        };
        let by_manifest = best(&mut self.manifest.iter());
        if by_manifest != Reached::Everything {
            return Err(refused(rule_of(by_manifest), "manifest", &asked));
        }
        let by_operator = best(&mut self.operator.iter());
        if by_operator != Reached::Everything {
            return Err(refused(rule_of(by_operator), "grant", &asked));
        }
        // What listens on loopback trusts this machine, so a grant has to name the very port.
        let with_port = best(&mut self.operator.iter().filter(|rule| rule.port.is_some()));
        if asked.is_loopback() && with_port != Reached::Everything {
            return Err(refused("http.loopback", "grant", &asked));
        }
        Ok(())
    }
}

const fn rule_of(reached: Reached) -> &'static str {
    match reached {
        Reached::Nothing => "http.host",
        Reached::Host => "http.port",
        Reached::Port => "http.scheme",
        Reached::Scheme | Reached::Everything => "http.method",
    }
}

fn refused(rule: &str, layer: &str, asked: &Asked<'_>) -> Denial {
    let schemes = if asked.scheme == "https" {
        ""
    } else {
        "schemes = [\"http\"]\n"
    };
    let (host, method) = (asked.host_and_port(), asked.method);
    let smallest_grant = if layer == "manifest" {
        // A manifest cannot name an address, because that belongs to one installation.
        let host = match asked.host {
            Host::Domain(_) => host,
            _ => "{config:/base_url}".to_owned(),
        };
        format!(
            "[[capabilities.http]]\nhosts = [\"{host}\"]\n{schemes}methods = [\"{method}\"]\npurpose = \"say what for\""
        )
    } else {
        format!("[[connection.grants.http]]\nhost = \"{host}\"\n{schemes}methods = [\"{method}\"]")
    };
    Denial {
        rule: rule.to_owned(),
        layer: layer.to_owned(),
        asked: asked.to_string(),
        smallest_grant,
    }
}

/// A refusal that no grant can lift.
pub(super) fn never(rule: &str, asked: String) -> Denial {
    Denial {
        rule: rule.to_owned(),
        layer: "host".to_owned(),
        asked,
        smallest_grant: String::new(),
    }
}

/// The URL as it will be connected to.
pub(crate) fn parse(text: &str) -> Result<Url, Denial> {
    let url = |why: &str| never("http.url", format!("the URL `{}` ({why})", shown(text)));
    // The parser would silently take these out, and two readers of the text would see two URLs.
    if text.chars().any(char::is_control) {
        return Err(url("it has control characters"));
    }
    let mut parsed = Url::parse(text).map_err(|error| url(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(never(
            "http.url-scheme",
            format!("the scheme `{}`; there is only https and http", parsed.scheme()),
        ));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // Not shown: it may be a secret.
        return Err(never(
            "http.userinfo",
            "a user name or password in the URL; name a credential instead".to_owned(),
        ));
    }
    if parsed.host_str().is_none_or(|host| host.ends_with('.')) {
        return Err(url("its host ends with a dot"));
    }
    parsed.set_fragment(None);
    Ok(parsed)
}

pub(crate) fn parse_method(text: &str) -> Result<Method, Denial> {
    METHODS
        .into_iter()
        .find(|known| known.as_str() == text)
        .ok_or_else(|| never("http.method", format!("the method `{}`", shown(text))))
}

/// What a stranger wrote, cut and escaped to fit into a line. What may follow a `?` is left out.
pub(super) fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
