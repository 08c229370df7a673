//! One rule: a grant, read and checked.

use std::net::IpAddr;

use ipnet::IpNet;
use stecker_model::HttpGrant;
use url::Host;

use super::{Asked, default_port, path};
use crate::egress::address::{LOOPBACK, endpoint};

/// A grant that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the grant for `{host}` is not usable: {why}")]
pub(crate) struct InvalidGrant {
    host: String,
    why: String,
}

/// A host, or every name below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostRule {
    Exact(Host<String>),
    Below(String),
}

impl HostRule {
    pub(crate) fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Exact(own), host) => own == host,
            (Self::Below(domain), Host::Domain(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Below(_), _) => false,
        }
    }

    /// Reads `host`, `host:port`, `*.domain` and `[::1]:port`.
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<u16>), &'static str> {
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
        if name.split('.').any(str::is_empty) {
            return Err("it has nothing between two dots");
        }
        // The parser decodes it, and the rule would not be what it looks like.
        if name.contains('%') {
            return Err("it has a percent sign, which no host has");
        }
        let host = Host::parse(name)
            .map_err(|_| "it is not a host: write a name or an address, without a scheme or a path")?;
        if matches!(host, Host::Ipv4(address) if address.to_string() != name) {
            return Err("it means an IPv4 address; write that as four decimal numbers");
        }
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
pub(super) struct Rule {
    host: HostRule,
    port: Option<u16>,
    schemes: Vec<String>,
    methods: Vec<String>,
    /// None: every path.
    paths: Vec<String>,
    carve_outs: Vec<IpNet>,
}

/// How far a rule got with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    Nothing,
    Host,
    Port,
    Scheme,
    Method,
    Everything,
}

impl Reached {
    /// The rule that refuses a request that got no further.
    pub(super) const fn refused_by(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("http.host"),
            Self::Host => Some("http.port"),
            Self::Port => Some("http.scheme"),
            Self::Scheme => Some("http.method"),
            Self::Method => Some("http.path"),
            Self::Everything => None,
        }
    }
}

impl Rule {
    pub(super) fn new(grant: &HttpGrant) -> Result<Self, InvalidGrant> {
        let invalid = |why: String| InvalidGrant {
            host: grant.host.clone(),
            why,
        };
        if let Some(fault) = grant.faults().first() {
            return Err(invalid(fault.to_string()));
        }
        let (host, port) = HostRule::parse(&grant.host).map_err(|why| invalid(why.to_owned()))?;
        let methods = if grant.methods.is_empty() {
            HttpGrant::USUAL_METHODS.map(str::to_owned).to_vec()
        } else {
            grant.methods.clone()
        };
        let mut carve_outs = grant
            .addresses
            .iter()
            .map(|text| {
                parse_range(text).ok_or_else(|| invalid(format!("`{text}` is not a range of addresses")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if port.is_some() {
            // Who names an address and a port has carved out just that.
            let just = |address: IpAddr| IpNet::from(endpoint(address));
            match &host {
                HostRule::Exact(Host::Ipv4(address)) => carve_outs.push(just((*address).into())),
                HostRule::Exact(Host::Ipv6(address)) => carve_outs.push(just((*address).into())),
                HostRule::Exact(Host::Domain(name)) if is_localhost(name) => carve_outs.extend(LOOPBACK),
                _ => {}
            }
        }
        Ok(Self {
            host,
            port,
            schemes: grant.schemes.clone(),
            methods,
            paths: grant.paths.clone(),
            carve_outs,
        })
    }

    pub(super) fn reach(&self, asked: &Asked<'_>) -> Reached {
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
        let is_below = || self.paths.iter().any(|prefix| path::is_below(asked.path, prefix));
        if !self.paths.is_empty() && (path::ambiguity(asked.path).is_some() || !is_below()) {
            return Reached::Method;
        }
        Reached::Everything
    }

    pub(super) fn carve_outs(&self) -> &[IpNet] {
        &self.carve_outs
    }
}

fn parse_range(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// RFC 6761, section 6.3.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}
