//! Secrets made up for a run, and every form in which one could get out.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use async_trait::async_trait;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use stecker_model::Name;
use stecker_sandbox::{CredentialError, Credentials, Secret};

/// The secrets of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(BTreeMap<Name, (String, String)>);

impl Secrets {
    /// One for each name; the value is the user name that goes with it, or empty.
    pub(crate) fn generate(names: &BTreeMap<Name, String>) -> Self {
        let made = names.iter().map(|(name, username)| {
            let random = RandomState::new();
            // With characters that look different in each encoding.
            let secret = format!(
                "sk/{:016x}+{:016x}=",
                random.hash_one("first"),
                random.hash_one("second")
            );
            (name.clone(), (username.clone(), secret))
        });
        Self(made.collect())
    }

    /// What must not be found in anything that a guest or a log gets, with the name of the form.
    pub(crate) fn forms(&self) -> Vec<(&'static str, String)> {
        self.0.values().flat_map(|(_, secret)| forms(secret)).collect()
    }
}

/// A text in the forms that a secret is repeated in.
pub(crate) fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let escape = |upper: bool| {
        let escaped = secret.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        });
        escaped.collect::<String>()
    };
    vec![
        ("as it is", secret.to_owned()),
        ("base64", BASE64_STANDARD.encode(secret)),
        ("base64 without padding", BASE64_STANDARD_NO_PAD.encode(secret)),
        ("base64 for URLs", BASE64_URL_SAFE_NO_PAD.encode(secret)),
        ("hex", hex::encode(secret)),
        ("HEX", hex::encode_upper(secret)),
        ("URL-encoded", escape(true)),
        ("url-encoded", escape(false)),
    ]
}

#[async_trait]
impl Credentials for Secrets {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        let found = self.0.iter().find(|(own, _)| own.as_str() == name);
        let Some((_, (username, secret))) = found else {
            return Err(CredentialError::NotBound {
                name: name.to_owned(),
            });
        };
        Ok(if username.is_empty() {
            Secret::new(secret.clone())
        } else {
            Secret::with_username(username.clone(), secret.clone())
        })
    }
}
