//! What is kept of a credential's tokens, as JSON that goes into the vault encrypted.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use stecker_model::{ErrorCode, SecretText};
use zeroize::Zeroizing;

use super::super::{
    Failure, not_sent,
    scrub::{Scrubber, UNSCRUBBABLE},
};
use super::endpoint::Answer;
use crate::binding::Secret;

/// Milliseconds before its end at which a token is no longer used, so that it does not end on its way; half of a short life.
const SKEW: i64 = 30_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<SecretText>,
    /// An authorization by a person that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Access {
    token: SecretText,
    /// None: nobody knows; a 401 will tell.
    expires_at: Option<i64>,
    /// Not used from here on.
    used_until: Option<i64>,
}

/// What has to come back for an authorization to be the one that was begun (RFC 6749, section 10.12; RFC 7636).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) state: SecretText,
    pub(super) verifier: SecretText,
    pub(super) redirect_uri: String,
    pub(super) expires_at: i64,
}

/// What the vault keeps for a refresh token that an operator brings.
#[must_use]
pub fn refresh_token_only(token: &str) -> Zeroizing<Vec<u8>> {
    State {
        refresh: Some(token.to_owned().into()),
        ..State::default()
    }
    .to_bytes()
}

impl State {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The access token, if it can still be used and is not the one that was refused.
    pub(super) fn usable(&self, stale: Option<&Secret>, now: i64) -> Option<Secret> {
        let access = self.access.as_ref()?;
        let over = access.used_until.is_some_and(|until| now >= until);
        let refused = stale.is_some_and(|stale| stale.expose() == access.token.expose());
        (!over && !refused).then(|| Secret::new(access.token.expose().to_owned()))
    }

    pub(super) fn refresh_token(&self) -> Option<Secret> {
        let token = self.refresh.as_ref()?;
        Some(Secret::new(token.expose().to_owned()))
    }

    pub(super) fn expires_at(&self) -> Option<i64> {
        self.access.as_ref()?.expires_at
    }

    /// With an answer's tokens; a refresh token that the answer does not replace stays (RFC 6749, section 6).
    pub(super) fn renewed(mut self, answer: Answer, refresh: Option<Secret>, now: i64) -> Self {
        let lifetime = answer.expires_in.map(|seconds| seconds.saturating_mul(1_000));
        self.access = Some(Access {
            token: answer.access_token,
            expires_at: lifetime.map(|lifetime| now.saturating_add(lifetime)),
            used_until: lifetime.map(|lifetime| now.saturating_add(lifetime - SKEW.min(lifetime / 2))),
        });
        self.refresh = answer
            .refresh_token
            .or_else(|| refresh.map(|token| token.expose().to_owned().into()));
        self
    }

    pub(super) fn learn(&self, scrubber: &Scrubber) -> Result<(), Failure> {
        let access = self.access.as_ref().map(|access| &access.token);
        for token in access.into_iter().chain(&self.refresh) {
            if !scrubber.learn(&Secret::new(token.expose().to_owned())) {
                return Err(not_sent(ErrorCode::Auth, UNSCRUBBABLE).into());
            }
        }
        Ok(())
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(expires_in: Option<i64>, refresh: Option<&str>) -> Answer {
        Answer {
            access_token: "access".to_owned().into(),
            expires_in,
            refresh_token: refresh.map(|token| token.to_owned().into()),
        }
    }

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        for (expires_in, last, first_not) in [(3_600, 3_569_999, 3_570_000), (10, 4_999, 5_000), (0, -1, 0)] {
            let state = State::default().renewed(answer(Some(expires_in), None), None, 0);
            assert!(state.usable(None, last).is_some(), "{expires_in}");
            assert!(state.usable(None, first_not).is_none(), "{expires_in}");
        }
        let forever = State::default().renewed(answer(None, None), None, 0);
        let token = forever.usable(None, i64::MAX).unwrap();
        assert!(forever.usable(Some(&token), 0).is_none(), "after a 401");
    }

    #[test]
    fn a_refresh_token_stays_until_it_is_replaced() {
        let kept = State::from_bytes(&refresh_token_only("first")).unwrap();
        let same = kept.clone().renewed(answer(None, None), kept.refresh_token(), 0);
        assert_eq!(same.refresh_token().unwrap().expose(), "first");
        let rotated = State::from_bytes(&same.to_bytes()).unwrap().renewed(
            answer(None, Some("second")),
            kept.refresh_token(),
            0,
        );
        assert_eq!(rotated.refresh_token().unwrap().expose(), "second");
        assert!(!format!("{rotated:?}").contains("second"));
    }
}
