//! Puts secrets into requests. A guest names a credential; the manifest says where it goes; the connection has the secret.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap, HeaderName},
};
use stecker_model::{Authorization, ErrorCode, Grants, HttpGrant};
use stecker_registry::{
    Manifest,
    manifest::{Credential, CredentialKind, HostPattern},
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Failure, headers, not_sent,
    oauth::{OAuth, Session, TokenEndpoint},
    policy::{self, HostRule, path},
    scrub::{Scrubber, UNSCRUBBABLE},
    signing::{self, Signable},
};
use crate::binding::{Credentials, Denial, Secret};

/// How often the secrets are looked up that a session does not use itself.
const LOOK_UP_ALL: Duration = Duration::from_secs(60);

/// A request as far as credentials have to do with it, after the policy said yes.
pub(super) struct Outbound<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a mut Url,
    pub(super) headers: &'a mut HeaderMap,
    /// None: it is not in memory.
    pub(super) body: Option<&'a [u8]>,
}

/// Where secrets come from, and who is told of them.
#[derive(Clone, Copy)]
pub(crate) struct Supply<'a> {
    pub(crate) credentials: &'a Arc<dyn Credentials>,
    pub(crate) scrubber: &'a Arc<Scrubber>,
    pub(crate) remaining: Duration,
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

    fn session(&self) -> Session {
        Session {
            credentials: Arc::clone(self.credentials),
            scrubber: Arc::clone(self.scrubber),
        }
    }
}

/// The token that a request went out with.
#[derive(Debug)]
pub(super) struct UsedToken(Secret);

/// The credentials of a manifest, their placeholders filled in.
#[derive(Debug)]
pub(super) struct CredentialUses {
    uses: BTreeMap<String, Use>,
    looked_up: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Use {
    credential: Credential,
    /// None: wherever the policy lets the request go.
    hosts: Option<Vec<(HostRule, Option<u16>)>>,
    oauth: Option<Arc<OAuth>>,
}

/// The requests that the host itself makes for credentials: to their token URLs, and nothing else.
pub(super) fn token_grants(manifest: &Manifest, config: &serde_json::Value) -> Grants {
    let settings = manifest
        .credentials
        .values()
        .filter_map(|credential| credential.oauth.as_ref());
    let http = settings
        // One without an address says so when it is used.
        .filter_map(|settings| settings.token_url.resolve(config).ok())
        .map(|url| {
            let host = url.host_str().unwrap_or_default();
            HttpGrant {
                host: url
                    .port()
                    .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
                schemes: vec![url.scheme().to_owned()],
                methods: vec!["POST".to_owned()],
                paths: vec![url.path().to_owned()],
                ..HttpGrant::default()
            }
        })
        .collect();
    Grants {
        http,
        ..Grants::default()
    }
}

impl CredentialUses {
    pub(super) fn new(
        manifest: &Manifest,
        config: &serde_json::Value,
        endpoint: &Arc<TokenEndpoint>,
    ) -> Result<Self, String> {
        let mut uses = BTreeMap::new();
        for (name, credential) in &manifest.credentials {
            let hosts = credential
                .hosts
                .as_ref()
                .map(|hosts| resolve(hosts, config))
                .transpose()
                .map_err(|error| format!("the hosts of the credential `{name}`: {error}"))?;
            uses.insert(
                name.to_string(),
                Use {
                    oauth: OAuth::new(name.as_str(), credential, config, endpoint),
                    credential: credential.clone(),
                    hosts,
                },
            );
        }
        Ok(Self {
            uses,
            looked_up: Mutex::default(),
        })
    }

    /// Puts the credential into the request. What it put in is looked for in everything that comes back.
    pub(super) async fn inject(
        &self,
        name: &str,
        mut outbound: Outbound<'_>,
        supply: Supply<'_>,
    ) -> Result<Option<UsedToken>, Failure> {
        let Some(how) = self.uses.get(name) else {
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
        how.admit(name, &outbound)?;
        if let Some(oauth) = &how.oauth {
            let token = oauth.access(&supply.session(), None, supply.remaining).await?;
            how.put(name, &token, &mut outbound)?;
            return Ok(Some(UsedToken(token)));
        }
        let secret = supply.secret(name).await?;
        how.put(name, &secret, &mut outbound)?;
        Ok(None)
    }

    /// After a 401 (RFC 6750, section 3.1): gets another token than the one that was refused. Then the request may be sent once more: it
    /// was refused for who asked, so nothing was done, whatever its method.
    pub(super) async fn renew(
        &self,
        name: &str,
        refused: &UsedToken,
        supply: Supply<'_>,
    ) -> Result<bool, Failure> {
        let Some(oauth) = self.uses.get(name).and_then(|how| how.oauth.as_ref()) else {
            return Ok(false);
        };
        oauth
            .access(&supply.session(), Some(&refused.0), supply.remaining)
            .await?;
        Ok(true)
    }

    /// Has the scrubber know the connection's other secrets too: a system may show what another credential is, such as the key that it
    /// signs its webhooks with.
    pub(super) async fn learn_all(&self, supply: Supply<'_>) {
        {
            let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
            if self.uses.is_empty() || looked_up.is_some_and(|at| at.elapsed() < LOOK_UP_ALL) {
                return;
            }
            *looked_up = Some(Instant::now());
        }
        // What cannot be read now cannot be sent either.
        let all = tokio::time::timeout(supply.remaining, supply.credentials.all());
        for secret in all.await.unwrap_or_default() {
            supply.scrubber.learn(&secret);
        }
    }

    pub(super) async fn begin_authorization(
        &self,
        name: &str,
        redirect_uri: &str,
        supply: Supply<'_>,
    ) -> Result<Authorization, Failure> {
        self.oauth(name)?.begin(&supply.session(), redirect_uri).await
    }

    pub(super) async fn finish_authorization(
        &self,
        name: &str,
        callback: &str,
        supply: Supply<'_>,
    ) -> Result<(), Failure> {
        self.oauth(name)?.finish(&supply.session(), callback).await
    }

    fn oauth(&self, name: &str) -> Result<&Arc<OAuth>, Failure> {
        let found = self.uses.get(name).and_then(|how| how.oauth.as_ref());
        found.ok_or_else(|| {
            let message =
                format!("the plugin has no credential `{name}` that somebody could authorize (OAuth)");
            not_sent(ErrorCode::NotFound, message).into()
        })
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
    /// Whether the manifest has the credential go there at all.
    fn admit(&self, name: &str, outbound: &Outbound<'_>) -> Result<(), Failure> {
        let (url, method) = (&*outbound.url, outbound.method);
        let refuse = |rule: &str, what: String| -> Result<(), Failure> {
            let asked = format!("sending the credential `{name}` {what} in the manifest");
            Err(policy::never(rule, asked).into())
        };
        if !self.goes_to_host(url) {
            let host = url.host_str().unwrap_or_default();
            return refuse(
                "http.credential-host",
                format!("to {host}, which is not among its hosts"),
            );
        }
        let methods = self.credential.methods.as_ref();
        if methods.is_some_and(|methods| !methods.iter().any(|own| own.as_str() == method.as_str())) {
            let what = format!("with {method}, which is not among its methods");
            return refuse("http.credential-method", what);
        }
        let below =
            |prefix: &String| path::ambiguity(url.path()).is_none() && path::is_below(url.path(), prefix);
        if self
            .credential
            .paths
            .as_ref()
            .is_some_and(|paths| !paths.iter().any(below))
        {
            let what = format!("to {}, which is not below its paths", policy::shown(url.path()));
            return refuse("http.credential-path", what);
        }
        Ok(())
    }

    fn goes_to_host(&self, url: &Url) -> bool {
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

    /// Never where the guest has put something itself.
    fn put(&self, name: &str, secret: &Secret, outbound: &mut Outbound<'_>) -> Result<(), Failure> {
        let value = secret.expose();
        let unusable = |what: &str| -> Failure {
            not_sent(
                ErrorCode::Unsupported,
                format!("the manifest does not say {what} the credential `{name}`"),
            )
            .into()
        };
        match self.credential.kind {
            CredentialKind::ApiKeyHeader => {
                let header = self
                    .credential
                    .header
                    .as_ref()
                    .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
                let header = header.ok_or_else(|| unusable("which header carries"))?;
                let prefix = self.credential.prefix.as_deref().unwrap_or_default();
                let value = Zeroizing::new(format!("{prefix}{value}"));
                headers::set_secret(outbound.headers, header, &value)
            }
            CredentialKind::ApiKeyQuery => {
                let parameter = self.credential.query.as_deref();
                let parameter = parameter.ok_or_else(|| unusable("which parameter carries"))?;
                set_parameter(outbound.url, parameter, value)
            }
            CredentialKind::Basic => {
                let pair = Zeroizing::new(format!("{}:{value}", secret.username().unwrap_or_default()));
                let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
                let value = Zeroizing::new(format!("Basic {}", *encoded));
                headers::set_secret(outbound.headers, AUTHORIZATION, &value)
            }
            CredentialKind::Bearer
            | CredentialKind::Oauth2ClientCredentials
            | CredentialKind::Oauth2RefreshToken
            | CredentialKind::Oauth2AuthorizationCode => {
                let value = Zeroizing::new(format!("Bearer {value}"));
                headers::set_secret(outbound.headers, AUTHORIZATION, &value)
            }
            CredentialKind::HmacRequest => {
                let signing = self.credential.signing.as_ref();
                let signing = signing.ok_or_else(|| unusable("what is signed with"))?;
                let body = match outbound.body {
                    Some(body) => body,
                    None if !signing::needs_body(signing) => &[],
                    None => {
                        return Err(not_sent(
                            ErrorCode::Unsupported,
                            format!(
                                "the credential `{name}` signs the body, and this one comes out of blobs piece by piece. Send it from memory, or with \
                                 another credential"
                            ),
                        )
                        .into());
                    }
                };
                let signable = Signable {
                    method: outbound.method,
                    url: outbound.url,
                    headers: outbound.headers,
                    body,
                    now: jiff::Timestamp::now(),
                    nonce: rand::random(),
                };
                for (header, value) in signing::sign(signing, &signable, secret)? {
                    headers::set_secret(outbound.headers, header, &value)?;
                }
                Ok(())
            }
            CredentialKind::HmacSecret => Err(not_sent(
                ErrorCode::Unsupported,
                format!("the credential `{name}` is for signing (`crypto`), not for requests"),
            )
            .into()),
        }
    }
}

fn set_parameter(url: &mut Url, parameter: &str, value: &str) -> Result<(), Failure> {
    // Decoded, so that no spelling gets past; some servers do not mind the case.
    if url
        .query_pairs()
        .any(|(name, _)| name.eq_ignore_ascii_case(parameter))
    {
        return Err(policy::never(
            "http.credential-query",
            format!("setting the parameter `{parameter}`, which carries the credential"),
        )
        .into());
    }
    url.query_pairs_mut().append_pair(parameter, value);
    Ok(())
}
