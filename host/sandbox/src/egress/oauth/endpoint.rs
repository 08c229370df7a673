//! The token endpoint: a form that is posted, and JSON that comes back (RFC 6749, sections 4 to 6).
//!
//! The request goes the same way as every other one: policy, addresses, pins. The operator has granted the address, because it is part of
//! where this connection's data goes; that alone does not let the guest go there, which is the manifest's `capabilities.http` to ask for.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use stecker_model::{ErrorCode, PluginError, SecretText};
use stecker_registry::manifest::{ClientAuth, OAuth as Settings};
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use zeroize::{Zeroize as _, Zeroizing};

use super::super::{
    Failure, HttpResponse, ResponseBudget, body,
    client::{self, Bounds, Outgoing, Traffic},
    not_sent,
    policy::Policy,
    pool::Pool,
    quota::Quota,
};
use crate::{binding::Secret, meter::Meter, upstream::Way};

/// Tokens are small.
const MAX_ANSWER: usize = 256 << 10;
const MAX_TOKEN: usize = 16 << 10;
/// However long a server asks to be left alone.
const LONGEST_PAUSE: u64 = 300;
/// Of what a server says went wrong.
const SHOWN: usize = 200;

/// The way to the authorization servers of one session.
#[derive(Debug)]
pub(in super::super) struct TokenEndpoint {
    /// Asks for nothing but the token URLs of the manifest's credentials.
    pub(in super::super) policy: Policy,
    pub(in super::super) pool: Arc<Pool>,
    /// What goes to them counts as the connection's.
    pub(in super::super) quota: Arc<Quota>,
    /// They do not count as the account's, but are watched like its other hosts.
    pub(in super::super) way: Way,
}

/// What is exchanged for a token.
pub(super) enum Grant<'a> {
    ClientCredentials,
    RefreshToken(&'a Secret),
    Code {
        code: &'a str,
        redirect_uri: &'a str,
        verifier: &'a str,
    },
}

/// What came back (RFC 6749, section 5.1).
pub(super) struct Answer {
    pub(super) access_token: SecretText,
    /// Seconds.
    pub(super) expires_in: Option<i64>,
    pub(super) refresh_token: Option<SecretText>,
}

/// Why there is no token.
pub(super) struct Refusal(Failure);

impl Refusal {
    pub(super) fn other(error: PluginError) -> Self {
        Self(error.into())
    }

    pub(super) fn into_failure(self) -> Failure {
        self.0
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

#[derive(Deserialize)]
struct Body {
    access_token: Option<SecretText>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
    refresh_token: Option<SecretText>,
}

/// A number, which some servers write as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Whole(i64),
    Fraction(f64),
    Text(String),
}

#[derive(Deserialize, Default)]
struct Complaint {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenEndpoint {
    /// Exchanges a grant for tokens.
    pub(super) async fn ask(
        &self,
        url: &Url,
        settings: &Settings,
        client: &Secret,
        grant: &Grant<'_>,
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        let method = Method::POST;
        let carve_outs = self.policy.decide(&method, url).map_err(Failure::from)?;
        let wire = self
            .pool
            .client(url, carve_outs)
            .map_err(|error| Refusal::other(not_sent(ErrorCode::Transient, error)))?;
        let outgoing = Outgoing {
            client: wire,
            method,
            url: url.clone(),
            headers: headers(settings, client)?,
            body: body::Body::Bytes(form(settings, client, grant).into_bytes().into()),
        };
        let (meter, budget) = (Meter::default(), ResponseBudget::of(MAX_ANSWER));
        let traffic = Traffic {
            meter: &meter,
            quota: &self.quota,
        };
        let bounds = Bounds {
            max: MAX_ANSWER,
            budget: &budget,
            idle: timeout,
            deadline: Instant::now() + timeout,
        };
        let pass = self.way.ask(url, bounds.deadline).map_err(Refusal::other)?;
        let sending = client::send(outgoing, traffic, bounds.deadline);
        let response = pass.through(sending, Failure::no_answer).await;
        let response = response.map_err(without_detail)?;
        let response = client::receive(response, bounds, traffic).await;
        answer(response.map_err(|error| without_detail(error.into()))?)
    }
}

/// Whether a token request was sent is not whether the guest's own one was: that never left.
fn without_detail(failure: Failure) -> Failure {
    match failure {
        Failure::Error(mut error) => {
            error.message = format!("no token could be got: {}", error.message);
            error.details.retain(|(name, _)| name != "sent");
            error.with_detail("sent", "no").into()
        }
        denied @ (Failure::Denied(_) | Failure::AnswerDenied(_)) => denied,
    }
}

fn headers(settings: &Settings, client: &Secret) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    if settings.client_auth == ClientAuth::Basic {
        // Both are form-encoded first (RFC 6749, section 2.3.1).
        let encoded = |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = Zeroizing::new(format!(
            "{}:{}",
            encoded(client.username().unwrap_or_default()),
            encoded(client.expose())
        ));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            Refusal::other(not_sent(
                ErrorCode::Auth,
                "the client's secret fits into no header",
            ))
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn form(settings: &Settings, client: &Secret, grant: &Grant<'_>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match grant {
        Grant::ClientCredentials => {
            form.append_pair("grant_type", "client_credentials");
        }
        Grant::RefreshToken(token) => {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("refresh_token", token.expose());
        }
        Grant::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            form.append_pair("grant_type", "authorization_code");
            form.append_pair("code", code);
            form.append_pair("redirect_uri", redirect_uri);
            form.append_pair("code_verifier", verifier);
        }
    }
    // What a person allowed stays as it is; only the client's own request says what it wants.
    if matches!(grant, Grant::ClientCredentials) && !settings.scopes.is_empty() {
        form.append_pair("scope", &settings.scopes.join(" "));
    }
    if settings.client_auth == ClientAuth::Body {
        form.append_pair("client_id", client.username().unwrap_or_default());
        form.append_pair("client_secret", client.expose());
    }
    form.extend_pairs(&settings.token_params);
    form.finish()
}

fn answer(mut response: HttpResponse) -> Result<Answer, Refusal> {
    let answer = if (200..300).contains(&response.status) {
        tokens(&response.body)
    } else {
        Err(complaint(&response))
    };
    response.body.zeroize();
    answer.map_err(Refusal::other)
}

fn tokens(body: &[u8]) -> Result<Answer, PluginError> {
    let unusable = |what: &str| {
        not_sent(
            ErrorCode::Auth,
            format!("the authorization server answered without a usable token: {what}"),
        )
    };
    // The error of the parser would repeat a piece of the body.
    let body: Body = serde_json::from_slice(body).map_err(|_| unusable("it is not the JSON of RFC 6749"))?;
    let fits = |token: &SecretText| {
        let text = token.expose();
        !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    let access_token = body
        .access_token
        .ok_or_else(|| unusable("there is no access_token"))?;
    if !fits(&access_token) || body.refresh_token.as_ref().is_some_and(|token| !fits(token)) {
        return Err(unusable(
            "a token is too long or has characters that no token has",
        ));
    }
    if body
        .token_type
        .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
    {
        return Err(unusable("it is of another type than Bearer"));
    }
    let expires_in = match body.expires_in {
        None => None,
        Some(Seconds::Whole(seconds)) => Some(seconds),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a fraction of a second does not matter, and the cast saturates"
        )]
        Some(Seconds::Fraction(seconds)) => Some(seconds as i64),
        Some(Seconds::Text(text)) => text.trim().parse().ok(),
    };
    Ok(Answer {
        access_token,
        expires_in: expires_in.map(|seconds| seconds.max(0)),
        refresh_token: body.refresh_token,
    })
}

/// RFC 6749, section 5.2; and what servers say that have no time.
fn complaint(response: &HttpResponse) -> PluginError {
    let status = response.status;
    let complaint: Complaint = serde_json::from_slice(&response.body).unwrap_or_default();
    let shown = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(SHOWN).collect() };
    let (code, advice) = match (status, complaint.error.as_str()) {
        (429, _) => (ErrorCode::RateLimited, "it is asked again later"),
        (500.., _) => (ErrorCode::Transient, "it is asked again later"),
        (_, "invalid_grant") => (
            ErrorCode::Auth,
            "what was allowed is over or was taken back: authorize again with `stecker secret authorize`, or set a new refresh token",
        ),
        (_, "invalid_client" | "unauthorized_client") => (
            ErrorCode::Auth,
            "check client id and client secret, and set them again with `stecker secret set`",
        ),
        (300..400, _) => (
            ErrorCode::Auth,
            "it sends elsewhere, where secrets are not taken; the plugin's manifest has to name the right token-url",
        ),
        _ => (
            ErrorCode::Auth,
            "check the credential, and what the account allows",
        ),
    };
    let mut said = shown(&complaint.error);
    if !complaint.error_description.is_empty() {
        said = format!("{said}: {}", shown(&complaint.error_description));
    }
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" ({said})")
    };
    let mut error = not_sent(
        code,
        format!("the authorization server answered {status}{said}; {advice}"),
    );
    let after = response.headers.iter().find(|(name, _)| name == "retry-after");
    let seconds = after.and_then(|(_, value)| value.trim().parse::<u64>().ok());
    error.retry_after_ms = seconds.map(|seconds| seconds.min(LONGEST_PAUSE) * 1_000);
    error
}
