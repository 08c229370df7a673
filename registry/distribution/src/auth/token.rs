//! Tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, with the `access` claim that Docker's registries have
//! (distribution/docs/spec/auth/jwt.md). They are made and read by the same program, so one algorithm is all there is: a header that
//! names another is not looked into.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Grant;

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Makes and reads tokens.
#[derive(Clone)]
pub struct TokenIssuer {
    key: Arc<Zeroizing<Vec<u8>>>,
    service: String,
    life: i64,
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("service", &self.service)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    access: Vec<Grant>,
}

impl TokenIssuer {
    /// Of a key of at least 32 random bytes, which all nodes share, for a service; tokens last `life` seconds.
    ///
    /// None: the key is shorter.
    #[must_use]
    pub fn new(key: &[u8], service: &str, life: u32) -> Option<Self> {
        (key.len() >= 32).then(|| Self {
            key: Arc::new(Zeroizing::new(key.to_vec())),
            service: service.to_owned(),
            life: i64::from(life),
        })
    }

    /// How long a token lasts, in seconds.
    #[must_use]
    pub fn life(&self) -> i64 {
        self.life
    }

    /// A token for a user (empty: nobody) with rights, at `now` seconds since 1970.
    #[must_use]
    pub fn issue(&self, user: &str, access: Vec<Grant>, now: i64) -> String {
        let claims = Claims {
            iss: self.service.clone(),
            sub: user.to_owned(),
            aud: self.service.clone(),
            iat: now,
            exp: now + self.life,
            access,
        };
        // Texts and numbers: there is nothing in it that JSON could not hold.
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap_or_default());
        let signed = format!("{HEADER}.{payload}");
        let signature = self
            .mac(&signed)
            .map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
            .unwrap_or_default();
        format!("{signed}.{signature}")
    }

    /// The user and the rights of a token that is good at `now` seconds since 1970; none: it is not.
    #[must_use]
    pub fn read(&self, token: &str, now: i64) -> Option<(String, Vec<Grant>)> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if header != HEADER {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Compares in constant time.
        self.mac(signed)?.verify_slice(&signature).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let good = claims.aud == self.service && claims.iss == self.service && now < claims.exp;
        good.then_some((claims.sub, claims.access))
    }

    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issuer() -> TokenIssuer {
        TokenIssuer::new(&[7; 32], "registry", 300).unwrap()
    }

    fn grants() -> Vec<Grant> {
        vec![Grant {
            kind: "repository".to_owned(),
            name: "a".to_owned(),
            actions: vec!["pull".to_owned()],
        }]
    }

    #[test]
    fn a_token_is_good_for_its_time_and_service() {
        let token = issuer().issue("ada", grants(), 1000);
        assert_eq!(issuer().read(&token, 1299), Some(("ada".to_owned(), grants())));
        assert_eq!(issuer().read(&token, 1300), None, "expired");
        assert_eq!(
            TokenIssuer::new(&[7; 32], "other", 300)
                .unwrap()
                .read(&token, 1000),
            None,
            "another service"
        );
        assert_eq!(
            TokenIssuer::new(&[8; 32], "registry", 300)
                .unwrap()
                .read(&token, 1000),
            None,
            "another key"
        );
        assert!(TokenIssuer::new(&[7; 31], "registry", 300).is_none());
    }

    #[test]
    fn no_other_algorithm_is_believed() {
        let token = issuer().issue("ada", grants(), 1000);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        for forged in [
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{HEADER}.{payload}."),
        ] {
            assert_eq!(issuer().read(&forged, 1000), None);
        }
    }

    proptest! {
        #[test]
        fn a_changed_token_is_none(at in 0_usize..200, to in "[A-Za-z0-9_.-]") {
            let token = issuer().issue("ada", grants(), 1000);
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            // The last character of a signature has bits that mean nothing; the decoder refuses those that are set.
            prop_assert!(changed == token || issuer().read(&changed, 1000).is_none());
        }
    }
}
