//! Whether a request may go where it wants to go: what the manifest asks for, intersected with what the operator grants and with the
//! ceiling over the tenant.
//!
//! Pure: no name is resolved here. [`url`] reads the text of a URL, [`rule`] one grant, [`path`] compares paths; this file decides, and
//! says what would have to be granted.

pub(super) mod path;
mod rule;
mod url;

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use ::url::{Host, Url};
use ipnet::IpNet;
use reqwest::Method;
use stecker_model::{Grants, HttpGrant};

use self::rule::{Reached, Rule};
pub(crate) use self::{
    rule::{HostRule, InvalidGrant, is_localhost},
    url::{parse, parse_method, shown},
};
use super::address::{CarveOuts, Refused};
use crate::binding::Denial;

const ADDRESS_RULE: &str = "http.address";

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
    path: &'a str,
}

impl<'a> Asked<'a> {
    fn new(method: &'a Method, url: &'a Url) -> Result<Self, Denial> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(never("http.url", "a URL without a host".to_owned()));
        };
        Ok(Self {
            scheme: url.scheme(),
            host,
            port,
            method: method.as_str(),
            path: url.path(),
        })
    }

    fn host_and_port(&self, with_port: bool) -> String {
        if with_port || default_port(self.scheme) != Some(self.port) {
            format!("{}:{}", self.host, self.port)
        } else {
            self.host.to_string()
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
            ..
        } = self;
        write!(f, "{method} {scheme}://{host}:{port}")
    }
}

/// All sides of the intersection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    manifest: Vec<Rule>,
    operator: Vec<Rule>,
    /// None: the grants stand as they are.
    ceiling: Option<Vec<Rule>>,
}

fn rules(grants: &[HttpGrant]) -> Result<Vec<Rule>, InvalidGrant> {
    grants.iter().map(Rule::new).collect()
}

impl Policy {
    pub(crate) fn new(
        asked: &Grants,
        granted: &Grants,
        ceiling: Option<&Grants>,
    ) -> Result<Self, InvalidGrant> {
        Ok(Self {
            manifest: rules(&asked.http)?,
            operator: rules(&granted.http)?,
            ceiling: ceiling.map(|ceiling| rules(&ceiling.http)).transpose()?,
        })
    }

    /// Yes, with the addresses beyond the public ones that the request may be sent to; a host that is an address has been checked
    /// against them already.
    pub(crate) fn decide(&self, method: &Method, url: &Url) -> Result<CarveOuts, Denial> {
        let asked = Asked::new(method, url)?;
        let ceiling = self.ceiling.as_ref().map(|rules| ("ceiling", rules));
        let layers = [("manifest", &self.manifest), ("grant", &self.operator)];
        for (layer, rules) in layers.into_iter().chain(ceiling) {
            let reached = rules.iter().map(|rule| rule.reach(&asked)).max();
            if let Some(rule) = reached.unwrap_or(Reached::Nothing).refused_by() {
                return Err(refused(rule, layer, &asked));
            }
        }
        let ranges = |rules: &[Rule]| -> Vec<IpNet> {
            let allowing = rules
                .iter()
                .filter(|rule| rule.reach(&asked) == Reached::Everything);
            allowing.flat_map(Rule::carve_outs).copied().collect()
        };
        let carve_outs = CarveOuts {
            grant: ranges(&self.operator),
            ceiling: self.ceiling.as_deref().map(ranges),
        };
        let admitted = match asked.host {
            Host::Ipv4(address) => carve_outs.admit(address.into()),
            Host::Ipv6(address) => carve_outs.admit(address.into()),
            // Known without asking anybody.
            Host::Domain(name) if is_localhost(name) => carve_outs
                .admit(Ipv4Addr::LOCALHOST.into())
                .or_else(|refused| carve_outs.admit(Ipv6Addr::LOCALHOST.into()).map_err(|_| refused)),
            Host::Domain(_) => Ok(()),
        };
        match admitted {
            Ok(()) => Ok(carve_outs),
            Err(address) => Err(refused_addresses(&asked, &[address])),
        }
    }
}

/// The denial of a request whose host resolved to addresses that it may not be sent to.
pub(super) fn deny_addresses(method: &Method, url: &Url, addresses: &[Refused]) -> Denial {
    match Asked::new(method, url) {
        Ok(asked) => refused_addresses(&asked, addresses),
        Err(denial) => denial,
    }
}

fn refused_addresses(asked: &Asked<'_>, addresses: &[Refused]) -> Denial {
    let layer = addresses.first().map_or("grant", |refused| refused.layer);
    let list = |text: &dyn Fn(&Refused) -> String, separator| {
        let texts: Vec<String> = addresses.iter().map(text).collect();
        texts.join(separator)
    };
    // An address as the host carves itself out if the port stands with it.
    let (with_port, ranges) = match asked.host {
        Host::Domain(name) if !is_localhost(name) => (
            false,
            format!(
                "\naddresses = [{}]",
                list(&|refused| format!("\"{}\"", refused.endpoint()), ", ")
            ),
        ),
        _ => (true, String::new()),
    };
    Denial {
        rule: ADDRESS_RULE.to_owned(),
        layer: layer.to_owned(),
        asked: format!("{asked} at {},", list(&ToString::to_string, ", and at ")),
        smallest_grant: format!("{}{ranges}", grant(layer, asked, with_port)),
    }
}

fn refused(rule: &str, layer: &str, asked: &Asked<'_>) -> Denial {
    let local = match asked.host {
        Host::Domain(name) => is_localhost(name),
        Host::Ipv4(address) => CarveOuts::default().admit(address.into()).is_err(),
        Host::Ipv6(address) => CarveOuts::default().admit(address.into()).is_err(),
    };
    let grant = grant(layer, asked, local);
    let (what, grant) = match (rule == "http.path").then(|| path::ambiguity(asked.path)) {
        None => (asked.to_string(), grant),
        // Only a grant of every path allows what may mean any.
        Some(Some(why)) => (
            format!(
                "{asked}{}, a path that servers read in different ways ({why}),",
                asked.path
            ),
            grant,
        ),
        Some(None) => (
            format!("{asked}{}", asked.path),
            format!("{grant}\npaths = [\"{}\"]", asked.path),
        ),
    };
    Denial {
        rule: rule.to_owned(),
        layer: layer.to_owned(),
        asked: what,
        smallest_grant: grant,
    }
}

/// The least that allows the request as far as host, scheme and method go, as TOML.
fn grant(layer: &str, asked: &Asked<'_>, with_port: bool) -> String {
    let schemes = if asked.scheme == "https" {
        ""
    } else {
        "schemes = [\"http\"]\n"
    };
    let (host, method) = (asked.host_and_port(with_port), asked.method);
    if layer == "manifest" {
        // A manifest cannot name an address, because that belongs to one installation.
        let host = match asked.host {
            Host::Domain(_) => host,
            _ => "{config:/base_url}".to_owned(),
        };
        return format!(
            "[[capabilities.http]]\nhosts = [\"{host}\"]\n{schemes}purpose = \"say what for\"\nmethods = [\"{method}\"]"
        );
    }
    let table = if layer == "ceiling" {
        "ceiling.http"
    } else {
        "connection.grants.http"
    };
    format!("[[{table}]]\nhost = \"{host}\"\n{schemes}methods = [\"{method}\"]")
}

/// A refusal that no grant can lift.
pub(crate) fn never(rule: &str, asked: String) -> Denial {
    Denial {
        rule: rule.to_owned(),
        layer: "host".to_owned(),
        asked,
        smallest_grant: String::new(),
    }
}

#[cfg(test)]
mod tests;
