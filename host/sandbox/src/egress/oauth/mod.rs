//! Tokens of OAuth 2.0 (RFC 6749): got by the host, kept by the host, never seen by a guest.
//!
//! Three ways lead to an access token: the client's own credentials, a refresh token, and the consent of a person (with PKCE, RFC 7636). A
//! token is used until shortly before its end, or until the system answers 401.
//!
//! Getting a token must not be interrupted half-way: a server that rotates refresh tokens takes the old one back with its answer. So it
//! runs in a task of its own, which goes on when the call that needed it is over; under a lease, so that it runs once over all sessions
//! and nodes; and what comes back is stored before the lease is given back. What is left is a process that is killed between the answer and
//! the write: then the new refresh token is lost, and a person has to authorize again. The old one stays stored until the new one is.

mod authorize;
mod endpoint;
mod state;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use stecker_model::{ErrorCode, PluginError};
use stecker_registry::manifest::{Credential, CredentialKind, OAuth as Settings};
use url::Url;

use super::{Failure, not_sent, scrub::Scrubber};
use crate::binding::{CredentialError, Credentials, KeptTokens, Secret, TokenLease, Tokens};
pub(super) use endpoint::TokenEndpoint;
use endpoint::{Grant, Refusal};
pub use state::refresh_token_only;
use state::{State, now_ms};

/// For one token request, from the name to the last byte.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// Longer than a request and the attempts to store its answer, so that nobody takes a lease over that is still used.
const LEASE: Duration = Duration::from_secs(60);
/// How long somebody else's refresh is waited for.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often an answer is tried to be stored; the pause between doubles from a tenth of a second.
const STORE_TRIES: u32 = 6;
/// A refusal is not asked for again at once: every call would.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// One credential of a kind of OAuth, for one session. Shared with the tasks that get its tokens.
pub(super) struct OAuth {
    name: String,
    kind: CredentialKind,
    settings: Settings,
    token_url: Option<Url>,
    authorize_url: Option<Url>,
    endpoint: Arc<TokenEndpoint>,
    /// One task at a time; the others find what it got.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    state: State,
    /// The same error until then.
    refused: Option<(Instant, PluginError)>,
}

impl std::fmt::Debug for OAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuth")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a task needs of its session.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) credentials: Arc<dyn Credentials>,
    pub(super) scrubber: Arc<Scrubber>,
}

impl OAuth {
    /// None if the credential has nothing to do with OAuth.
    pub(super) fn new(
        name: &str,
        credential: &Credential,
        config: &serde_json::Value,
        endpoint: &Arc<TokenEndpoint>,
    ) -> Option<Arc<Self>> {
        let settings = credential.oauth.clone().filter(|_| credential.kind.is_oauth())?;
        let resolved = |endpoint: &stecker_registry::manifest::Endpoint| endpoint.resolve(config).ok();
        Some(Arc::new(Self {
            name: name.to_owned(),
            kind: credential.kind,
            token_url: resolved(&settings.token_url),
            authorize_url: settings.authorize_url.as_ref().and_then(resolved),
            settings,
            endpoint: Arc::clone(endpoint),
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }))
    }

    /// An access token that is not `stale`: the one that there is, or a new one. Waits at most `remaining`; what is on its way by then
    /// goes on, for the next call.
    pub(super) async fn access(
        self: &Arc<Self>,
        session: &Session,
        stale: Option<&Secret>,
        remaining: Duration,
    ) -> Result<Secret, Failure> {
        if let Some(token) = self.known_token(stale) {
            return Ok(token);
        }
        let (oauth, session, stale) = (Arc::clone(self), session.clone(), stale.cloned());
        let task = tokio::spawn(async move { oauth.in_turn(&session, stale.as_ref()).await });
        match tokio::time::timeout(remaining, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panicked)) => Err(not_sent(ErrorCode::Transient, "getting a token broke off").into()),
            Err(_elapsed) => Err(not_sent(
                ErrorCode::Transient,
                format!(
                    "the token for the credential `{}` was not there in time",
                    self.name
                ),
            )
            .into()),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn known_token(&self, stale: Option<&Secret>) -> Option<Secret> {
        self.with(|known| known.state.usable(stale, now_ms()))
    }

    async fn in_turn(&self, session: &Session, stale: Option<&Secret>) -> Result<Secret, Failure> {
        let _turn = self.turn.lock().await;
        if let Some(token) = self.known_token(stale) {
            return Ok(token);
        }
        let refused = self.with(|known| known.refused.clone());
        if let Some((until, error)) = refused
            && Instant::now() < until
        {
            return Err(error.into());
        }
        let answer = match session.credentials.tokens() {
            Some(tokens) => self.shared(session, tokens, stale).await,
            None => self.alone(session).await,
        };
        if let Err(Failure::Error(error)) = &answer {
            let pause = error.retry_after_ms.map_or(REFUSED_FOR, Duration::from_millis);
            self.with(|known| known.refused = Some((Instant::now() + pause, error.clone())));
        }
        answer
    }

    /// Nothing is kept beyond this session.
    async fn alone(&self, session: &Session) -> Result<Secret, Failure> {
        if self.kind != CredentialKind::Oauth2ClientCredentials {
            return Err(not_sent(
                ErrorCode::Unsupported,
                format!(
                    "the credential `{}` needs a place for its refresh token, and this host keeps none",
                    self.name
                ),
            )
            .into());
        }
        let state = self
            .ask(session, State::default())
            .await
            .map_err(Refusal::into_failure)?;
        self.keep(session, state, None)
    }

    /// With the other sessions and nodes: whoever has the lease asks, the others wait for what it stores.
    async fn shared(
        &self,
        session: &Session,
        tokens: &dyn Tokens,
        stale: Option<&Secret>,
    ) -> Result<Secret, Failure> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (state, _) = self.load(tokens).await?;
            if state.usable(stale, now_ms()).is_some() {
                return self.keep(session, state, stale);
            }
            if let Some(lease) = tokens.lease(&self.name, LEASE).await.map_err(unavailable)? {
                let answer = self.under_lease(session, tokens, stale).await;
                self.let_go(tokens, &lease).await;
                return answer;
            }
            if Instant::now() > give_up {
                return Err(not_sent(
                    ErrorCode::Transient,
                    format!(
                        "somebody else is getting a token for the credential `{}` for too long",
                        self.name
                    ),
                )
                .into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn let_go(&self, tokens: &dyn Tokens, lease: &TokenLease) {
        if let Err(error) = tokens.release(&self.name, lease).await {
            tracing::warn!(%error, credential = self.name, "a lease on tokens runs out by itself");
        }
    }

    async fn under_lease(
        &self,
        session: &Session,
        tokens: &dyn Tokens,
        stale: Option<&Secret>,
    ) -> Result<Secret, Failure> {
        // Somebody may have been done between the look and the lease.
        let (state, version) = self.load(tokens).await?;
        if state.usable(stale, now_ms()).is_some() {
            return self.keep(session, state, stale);
        }
        match self.ask(session, state).await {
            Ok(state) => {
                self.store(tokens, &state, version).await;
                self.keep(session, state, stale)
            }
            Err(refusal) => {
                // If the lease ran out on the way, the token may have been spent by somebody who stored the next one.
                let (state, now) = self.load(tokens).await?;
                if now != version && state.usable(stale, now_ms()).is_some() {
                    return self.keep(session, state, stale);
                }
                Err(refusal.into_failure())
            }
        }
    }

    async fn load(&self, tokens: &dyn Tokens) -> Result<(State, u64), Failure> {
        let kept = tokens.load(&self.name).await.map_err(unavailable)?;
        let Some(KeptTokens { bytes, version }) = kept else {
            return Ok((State::default(), 0));
        };
        let state = State::from_bytes(&bytes).ok_or_else(|| {
            not_sent(
                ErrorCode::Auth,
                format!(
                    "what is stored of the tokens of `{}` cannot be read; authorize it again",
                    self.name
                ),
            )
        })?;
        Ok((state, version))
    }

    /// The answer counts even if it cannot be stored: it is in memory then, for as long as this session lives.
    async fn store(&self, tokens: &dyn Tokens, state: &State, version: u64) {
        let (bytes, expires_at) = (state.to_bytes(), state.expires_at());
        let mut pause = Duration::from_millis(100);
        for attempt in 1..=STORE_TRIES {
            match tokens.store(&self.name, &bytes, expires_at, version).await {
                Ok(_) => return,
                Err(error @ CredentialError::Overtaken { .. }) => {
                    tracing::warn!(%error, credential = self.name, "the newer tokens stay");
                    return;
                }
                Err(error) if attempt == STORE_TRIES => {
                    tracing::error!(
                        %error,
                        credential = self.name,
                        "new tokens could not be stored and are in memory only; if this host ends before the next refresh, authorize again"
                    );
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }

    /// Has the session use these tokens from now on.
    fn keep(&self, session: &Session, state: State, stale: Option<&Secret>) -> Result<Secret, Failure> {
        state.learn(&session.scrubber)?;
        let token = state.usable(stale, now_ms());
        self.with(|known| {
            known.state = state;
            known.refused = None;
        });
        token.ok_or_else(|| {
            not_sent(
                ErrorCode::Auth,
                format!(
                    "the authorization server gave a token for `{}` that is over already",
                    self.name
                ),
            )
            .into()
        })
    }

    /// Asks the authorization server, with what this kind of credential has.
    async fn ask(&self, session: &Session, state: State) -> Result<State, Refusal> {
        let client = self.client(session).await?;
        // In memory may be a newer one than could be stored.
        let unsaved = self.with(|known| known.state.refresh_token());
        let refresh = state.refresh_token().or(unsaved);
        let grant = match (self.kind, &refresh) {
            (CredentialKind::Oauth2ClientCredentials, _) => Grant::ClientCredentials,
            (_, Some(token)) => Grant::RefreshToken(token),
            (kind, None) => {
                let next = if kind == CredentialKind::Oauth2RefreshToken {
                    "set one with `stecker secret set --refresh-token`"
                } else {
                    "authorize it with `stecker secret authorize`"
                };
                let message = format!("the credential `{}` has no refresh token yet; {next}", self.name);
                return Err(Refusal::other(not_sent(ErrorCode::Auth, message)));
            }
        };
        if let Some(token) = &refresh
            && !session.scrubber.learn(token)
        {
            return Err(Refusal::other(not_sent(
                ErrorCode::Auth,
                super::scrub::UNSCRUBBABLE,
            )));
        }
        let url = self.required_token_url()?;
        let answer = self
            .endpoint
            .ask(url, &self.settings, &client, &grant, REQUEST_TIME)
            .await?;
        Ok(state.renewed(answer, refresh, now_ms()))
    }

    fn required_token_url(&self) -> Result<&Url, Refusal> {
        self.token_url.as_ref().ok_or_else(|| {
            let message = format!(
                "the configuration does not say where the tokens of `{}` come from ({})",
                self.name, self.settings.token_url
            );
            Refusal::other(not_sent(ErrorCode::Config, message))
        })
    }

    /// Client id and secret.
    async fn client(&self, session: &Session) -> Result<Secret, Refusal> {
        let secret = session
            .credentials
            .secret(&self.name)
            .await
            .map_err(|error| Refusal::other(not_sent(ErrorCode::Auth, error.to_string())))?;
        if !session.scrubber.learn(&secret) {
            return Err(Refusal::other(not_sent(
                ErrorCode::Auth,
                super::scrub::UNSCRUBBABLE,
            )));
        }
        if secret.username().is_none_or(str::is_empty) {
            let message = format!(
                "the credential `{}` has no client id; set it as its user name (`stecker secret set --username`)",
                self.name
            );
            return Err(Refusal::other(not_sent(ErrorCode::Auth, message)));
        }
        Ok(secret)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: CredentialError) -> Failure {
    not_sent(ErrorCode::Transient, error.to_string()).into()
}

#[cfg(test)]
mod tests;
