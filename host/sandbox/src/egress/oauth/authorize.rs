//! The consent of a person: the authorization code grant (RFC 6749, section 4.1) with PKCE (RFC 7636, method S256).

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use stecker_model::{Authorization, ErrorCode, PluginError, SecretText};
use stecker_registry::manifest::CredentialKind;
use url::{Host, Url, form_urlencoded};

use super::{
    super::{Failure, not_sent},
    LEASE, OAuth, REQUEST_TIME, Session,
    endpoint::{Grant, Refusal},
    state::{Pending, now_ms},
    unavailable,
};
use crate::binding::{CredentialError, Tokens};

/// Milliseconds that a person has.
const TIME_TO_CONSENT: i64 = 15 * 60 * 1_000;
/// When others write the same row.
const TRIES: usize = 4;
const WAIT: Duration = Duration::from_millis(200);

fn refused(message: impl Into<String>) -> PluginError {
    not_sent(ErrorCode::Auth, message)
}

fn random<const N: usize>() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; N]>())
}

/// An address that browsers bring codes to: https, or this machine.
fn redirect_uri(text: &str) -> Result<Url, PluginError> {
    let url = Url::parse(text).ok().filter(|url| url.fragment().is_none());
    let is_safe = |url: &Url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    };
    url.filter(is_safe).ok_or_else(|| {
        not_sent(
            ErrorCode::Config,
            format!("`{text}` cannot be a redirect URI: it has to be https, or http on this machine, without a fragment"),
        )
    })
}

/// `code`, `state` and `error` of the address that the browser was sent to, or of its query alone.
struct Callback {
    code: Option<SecretText>,
    state: Option<String>,
    error: Option<String>,
}

impl Callback {
    fn of(text: &str) -> Self {
        let text = text.trim();
        let query = text.split_once('?').map_or(text, |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let mut callback = Self {
            code: None,
            state: None,
            error: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "code" => callback.code = Some(value.into_owned().into()),
                "state" => callback.state = Some(value.into_owned()),
                "error" => callback.error = Some(value.chars().take(100).collect()),
                _ => {}
            }
        }
        callback
    }
}

impl OAuth {
    fn tokens_of<'s>(&self, session: &'s Session) -> Result<&'s dyn Tokens, Failure> {
        if self.kind != CredentialKind::Oauth2AuthorizationCode {
            return Err(not_sent(
                ErrorCode::Unsupported,
                format!(
                    "nobody is asked for the credential `{}`: it is of the kind {}, set with `stecker secret set`",
                    self.name,
                    self.kind.as_str()
                ),
            )
            .into());
        }
        session.credentials.tokens().ok_or_else(|| {
            not_sent(
                ErrorCode::Unsupported,
                "this host keeps no tokens, so nobody can authorize anything",
            )
            .into()
        })
    }

    /// Begins: where the person has to go. What has to come back is kept, and replaces what was begun before.
    pub(in super::super) async fn begin(
        &self,
        session: &Session,
        redirect: &str,
    ) -> Result<Authorization, Failure> {
        let tokens = self.tokens_of(session)?;
        redirect_uri(redirect)?;
        let client = self.client(session).await.map_err(Refusal::into_failure)?;
        let mut url = self.authorize_url.clone().ok_or_else(|| {
            not_sent(
                ErrorCode::Config,
                "the configuration does not say where the person has to go",
            )
        })?;
        let pending = Pending {
            state: random::<24>().into(),
            verifier: random::<32>().into(),
            redirect_uri: redirect.to_owned(),
            expires_at: now_ms() + TIME_TO_CONSENT,
        };
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.expose()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client.username().unwrap_or_default())
            .append_pair("redirect_uri", redirect)
            .append_pair("state", pending.state.expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(&self.settings.authorize_params);
        if !self.settings.scopes.is_empty() {
            url.query_pairs_mut()
                .append_pair("scope", &self.settings.scopes.join(" "));
        }
        let authorization = Authorization {
            url: url.into(),
            expires_at: pending.expires_at,
        };
        for _ in 0..TRIES {
            let (mut state, version) = self.load(tokens).await?;
            state.pending = Some(pending.clone());
            let stored = tokens
                .store(&self.name, &state.to_bytes(), state.expires_at(), version)
                .await;
            match stored {
                Ok(_) => return Ok(authorization),
                Err(CredentialError::Overtaken { .. }) => tokio::time::sleep(WAIT).await,
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(not_sent(
            ErrorCode::Transient,
            "the tokens are being replaced all the time; try again",
        )
        .into())
    }

    /// Ends: exchanges the code for tokens. Goes on in a task of its own, because a code works once.
    pub(in super::super) async fn finish(
        self: &Arc<Self>,
        session: &Session,
        callback: &str,
    ) -> Result<(), Failure> {
        let callback = Callback::of(callback);
        let (oauth, session) = (Arc::clone(self), session.clone());
        let task = tokio::spawn(async move { oauth.exchange(&session, callback).await });
        task.await
            .unwrap_or_else(|_panicked| Err(not_sent(ErrorCode::Transient, "the exchange broke off").into()))
    }

    async fn exchange(&self, session: &Session, callback: Callback) -> Result<(), Failure> {
        let tokens = self.tokens_of(session)?;
        let _turn = self.turn.lock().await;
        let Some(lease) = tokens.lease(&self.name, LEASE).await.map_err(unavailable)? else {
            let message =
                "somebody else is getting tokens for this credential right now; try again in a moment";
            return Err(not_sent(ErrorCode::Transient, message).into());
        };
        let ended = self.exchange_under_lease(session, tokens, callback).await;
        self.let_go(tokens, &lease).await;
        ended
    }

    async fn exchange_under_lease(
        &self,
        session: &Session,
        tokens: &dyn Tokens,
        callback: Callback,
    ) -> Result<(), Failure> {
        let again = "begin again with `stecker secret authorize`";
        let (mut state, version) = self.load(tokens).await?;
        let pending = state
            .pending
            .take()
            .ok_or_else(|| refused(format!("no authorization of `{}` was begun; {again}", self.name)))?;
        if now_ms() > pending.expires_at {
            return Err(refused(format!("the authorization was begun too long ago; {again}")).into());
        }
        // Hashes are compared, so that how long it takes says nothing.
        let given = callback.state.unwrap_or_default();
        if Sha256::digest(given) != Sha256::digest(pending.state.expose()) {
            return Err(refused(format!(
                "this is not the answer to the authorization that was begun last (`state` differs); {again} and give the whole address"
            ))
            .into());
        }
        if let Some(error) = callback.error {
            return Err(refused(format!("the authorization was refused: {error}; {again}")).into());
        }
        let code = callback.code.ok_or_else(|| {
            refused("the address has no `code`; give the whole address that the browser was sent to")
        })?;
        let client = self.client(session).await.map_err(Refusal::into_failure)?;
        let grant = Grant::Code {
            code: code.expose(),
            redirect_uri: &pending.redirect_uri,
            verifier: pending.verifier.expose(),
        };
        let url = self.required_token_url().map_err(Refusal::into_failure)?;
        let answer = self
            .endpoint
            .ask(url, &self.settings, &client, &grant, REQUEST_TIME)
            .await
            .map_err(Refusal::into_failure)?;
        let state = state.renewed(answer, None, now_ms());
        self.store(tokens, &state, version).await;
        self.keep(session, state, None).map(drop)
    }
}
