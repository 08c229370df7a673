//! Puts secrets into requests. A guest names a credential; the manifest says where it goes; the connection has the secret.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap, HeaderName},
};
use stecker_model::{ErrorCode, PluginError};
use stecker_registry::{
    Manifest,
    manifest::{CredentialKind, HostPattern},
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Failure, headers, not_sent,
    policy::{self, HostRule},
    scrub::{Scrubber, UNSCRUBBABLE},
};
use crate::binding::{Credentials, Denial, Secret};

/// A request as far as credentials have to do with it, after the policy said yes.
pub(super) struct Outbound<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a mut Url,
    pub(super) headers: &'a mut HeaderMap,
    pub(super) content: Content<'a>,
}

/// The body, as far as it is known before it is sent.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Whole(&'a [u8]),
    /// It comes from the guest while it is sent.
    Streamed,
}

/// Where secrets come from, and who is told of them.
#[derive(Clone, Copy)]
pub(super) struct Supply<'a> {
    pub(super) credentials: &'a Arc<dyn Credentials>,
    pub(super) scrubber: &'a Scrubber,
    pub(super) remaining: Duration,
}

impl Supply<'_> {
    async fn secret(&self, name: &str) -> Result<Secret, Failure> {
        let secret = tokio::time::timeout(self.remaining, self.credentials.secret(name))
            .await
            .map_err(|_elapsed| not_sent(ErrorCode::Transient, "the secret was not to be had in time"))?
            .map_err(|error| not_sent(ErrorCode::Auth, error.to_string()))?;
        if self.scrubber.learn(&secret) {
            Ok(secret)
        } else {
            Err(not_sent(ErrorCode::Auth, UNSCRUBBABLE).into())
        }
    }
}

/// The credentials of a manifest, their placeholders filled in.
#[derive(Debug)]
pub(super) struct CredentialUses(BTreeMap<String, Use>);

#[derive(Debug)]
struct Use {
    kind: CredentialKind,
    header: Option<HeaderName>,
    prefix: String,
    /// None: wherever the policy lets the request go.
    hosts: Option<Vec<(HostRule, Option<u16>)>>,
}

impl CredentialUses {
    pub(super) fn new(manifest: &Manifest, config: &serde_json::Value) -> Result<Self, String> {
        let mut uses = BTreeMap::new();
        for (name, credential) in &manifest.credentials {
            let header = credential
                .header
                .as_ref()
                .map(|header| HeaderName::from_bytes(header.as_bytes()))
                .transpose()
                .map_err(|_| format!("the header of the credential `{name}` is not a header name"))?;
            let hosts = credential
                .hosts
                .as_ref()
                .map(|hosts| resolve(hosts, config))
                .transpose()
                .map_err(|error| format!("the hosts of the credential `{name}`: {error}"))?;
            uses.insert(
                name.to_string(),
                Use {
                    kind: credential.kind,
                    header,
                    prefix: credential.prefix.clone().unwrap_or_default(),
                    hosts,
                },
            );
        }
        Ok(Self(uses))
    }

    /// Puts the credential into the request. What it put in is looked for in everything that comes back.
    pub(super) async fn inject(
        &self,
        name: &str,
        outbound: Outbound<'_>,
        supply: Supply<'_>,
    ) -> Result<(), Failure> {
        let Some(how) = self.0.get(name) else {
            return Err(Denial {
                rule: "http.credential".to_owned(),
                layer: "manifest".to_owned(),
                asked: format!("using the credential `{}`", policy::shown(name)),
                smallest_grant: format!(
                    "[credentials.{}]\nkind = \"bearer\"\ndescription = \"Where the operator finds it\"",
                    policy::shown(name)
                ),
            }
            .into());
        };
        if !how.goes_to(outbound.url) {
            return Err(policy::never(
                "http.credential-host",
                format!(
                    "sending the credential `{name}` to {}, which is not among its hosts in the manifest",
                    outbound.url.host_str().unwrap_or_default()
                ),
            )
            .into());
        }
        let secret = supply.secret(name).await?;
        let (header, value) = how.header(name, &secret)?;
        headers::set_secret(outbound.headers, header, &value)
    }
}

fn resolve(
    hosts: &[HostPattern],
    config: &serde_json::Value,
) -> Result<Vec<(HostRule, Option<u16>)>, String> {
    let mut rules = Vec::new();
    for host in hosts {
        if let Some(host) = host.resolve(config).map_err(|error| error.to_string())? {
            rules.push(HostRule::parse(&host)?);
        }
    }
    Ok(rules)
}

impl Use {
    fn goes_to(&self, url: &Url) -> bool {
        let Some(hosts) = &self.hosts else {
            return true;
        };
        let Some(host) = url.host() else {
            return false;
        };
        let default = if url.scheme() == "https" { 443 } else { 80 };
        hosts.iter().any(|(rule, port)| {
            rule.matches(&host) && url.port_or_known_default() == Some(port.unwrap_or(default))
        })
    }

    fn header(&self, name: &str, secret: &Secret) -> Result<(HeaderName, Zeroizing<String>), PluginError> {
        let value = secret.expose();
        match (self.kind, &self.header) {
            (CredentialKind::ApiKeyHeader, Some(header)) => {
                Ok((header.clone(), Zeroizing::new(format!("{}{value}", self.prefix))))
            }
            (CredentialKind::Bearer, _) => Ok((AUTHORIZATION, Zeroizing::new(format!("Bearer {value}")))),
            (CredentialKind::Basic, _) => {
                let pair = Zeroizing::new(format!("{}:{value}", secret.username().unwrap_or_default()));
                let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
                Ok((AUTHORIZATION, Zeroizing::new(format!("Basic {}", *encoded))))
            }
            (CredentialKind::ApiKeyHeader, None) => Err(not_sent(
                ErrorCode::Unsupported,
                format!("the manifest does not say which header carries the credential `{name}`"),
            )),
            (CredentialKind::HmacSecret, _) => Err(not_sent(
                ErrorCode::Unsupported,
                format!("the credential `{name}` is for signing (`crypto`), not for requests"),
            )),
        }
    }
}
