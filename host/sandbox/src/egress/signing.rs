//! Signs a request by the scheme that a manifest describes. Pure: time and nonce come in.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName},
};
use stecker_model::{ErrorCode, PluginError};
use stecker_registry::manifest::{
    KeyEncoding, Part, SignatureEncoding, Signing, SigningAlgorithm, Template, Word,
};
use url::Url;
use zeroize::Zeroizing;

use super::not_sent;
use crate::{
    binding::Secret,
    capability::crypto::{self, Algorithm},
};

/// What is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) now: jiff::Timestamp,
    pub(super) nonce: [u8; 16],
}

/// The headers to set.
pub(super) fn sign(
    signing: &Signing,
    request: &Signable<'_>,
    secret: &Secret,
) -> Result<Vec<(HeaderName, String)>, PluginError> {
    let key = key(signing.key, secret)?;
    let message = Zeroizing::new(request.filled(&signing.message, secret, ""));
    let algorithm = match signing.algorithm {
        SigningAlgorithm::Sha1 => Algorithm::Sha1,
        SigningAlgorithm::Sha256 => Algorithm::Sha256,
        SigningAlgorithm::Sha384 => Algorithm::Sha384,
        SigningAlgorithm::Sha512 => Algorithm::Sha512,
    };
    let tag = crypto::tag(algorithm, &key, &message);
    let signature = match signing.encoding {
        SignatureEncoding::Hex => hex::encode(tag),
        SignatureEncoding::HexUpper => hex::encode_upper(tag),
        SignatureEncoding::Base64 => BASE64_STANDARD.encode(tag),
        SignatureEncoding::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(tag),
    };
    let headers = signing.headers.iter();
    headers
        .map(|(name, template)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                not_sent(
                    ErrorCode::Unsupported,
                    format!("`{name}` is not the name of a header"),
                )
            })?;
            let value = request.filled(template, secret, &signature);
            Ok((name, String::from_utf8_lossy(&value).into_owned()))
        })
        .collect()
}

/// Whether the body is part of what is signed, or stands in a header.
pub(super) fn needs_body(signing: &Signing) -> bool {
    let of_body = |word: &Word| matches!(word, Word::Body | Word::BodySha256Hex | Word::BodySha256Base64);
    let templates = signing.headers.values().chain([&signing.message]);
    templates.flat_map(Template::words).any(of_body)
}

fn key(encoding: KeyEncoding, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, PluginError> {
    crypto::key(encoding, secret).ok_or_else(|| {
        not_sent(
            ErrorCode::Auth,
            "the secret is not written as the plugin's manifest says (`signing.key`). Store it again as the system shows it",
        )
    })
}

impl Signable<'_> {
    fn filled(&self, template: &Template, secret: &Secret, signature: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Word(Word::Body) => out.extend_from_slice(self.body),
                Part::Word(word) => out.extend_from_slice(self.word(word, secret, signature).as_bytes()),
            }
        }
        out
    }

    fn word(&self, word: &Word, secret: &Secret, signature: &str) -> String {
        let query = self.url.query().unwrap_or_default();
        match word {
            Word::Method => self.method.as_str().to_owned(),
            Word::Scheme => self.url.scheme().to_owned(),
            Word::Host => {
                let host = self.url.host_str().unwrap_or_default();
                let port = self.url.port().map(|port| format!(":{port}"));
                format!("{host}{}", port.unwrap_or_default())
            }
            Word::Path => self.url.path().to_owned(),
            Word::Query => query.to_owned(),
            Word::QuerySorted => {
                let mut pieces: Vec<&str> = query.split('&').filter(|piece| !piece.is_empty()).collect();
                pieces.sort_unstable();
                pieces.join("&")
            }
            Word::PathAndQuery => match self.url.query() {
                Some(query) => format!("{}?{query}", self.url.path()),
                None => self.url.path().to_owned(),
            },
            Word::Url => self.url.as_str().to_owned(),
            Word::Timestamp => self.now.as_second().to_string(),
            Word::TimestampMs => self.now.as_millisecond().to_string(),
            Word::TimestampIso => self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            Word::Nonce => hex::encode(self.nonce),
            Word::BodySha256Hex => hex::encode(crypto::hash(Algorithm::Sha256, self.body)),
            Word::BodySha256Base64 => BASE64_STANDARD.encode(crypto::hash(Algorithm::Sha256, self.body)),
            Word::KeyId => secret.username().unwrap_or_default().to_owned(),
            Word::Header(name) => {
                let value = self.headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            }
            Word::Signature => signature.to_owned(),
            // Written as bytes by the caller.
            Word::Body => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signing(message: &str, encoding: SignatureEncoding, header: &str) -> Signing {
        Signing {
            algorithm: SigningAlgorithm::Sha256,
            encoding,
            key: KeyEncoding::Text,
            message: message.parse().unwrap(),
            headers: [("x-signature".to_owned(), header.parse().unwrap())].into(),
        }
    }

    fn signed(signing: &Signing, secret: &Secret) -> Result<String, PluginError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-date", "today".parse().unwrap());
        let request = Signable {
            method: &Method::POST,
            url: &Url::parse("https://api.acme.example:8443/v1/a%20b?z=1&a=2").unwrap(),
            headers: &headers,
            body: b"{}",
            now: jiff::Timestamp::from_millisecond(1_767_225_600_123).unwrap(),
            nonce: [7; 16],
        };
        Ok(sign(signing, &request, secret)?[0].1.clone())
    }

    /// What each word stands for, seen through a header.
    #[test]
    fn words_are_what_is_sent() {
        let secret = Secret::with_username("key-7".to_owned(), "Jefe".to_owned());
        for (word, expected) in [
            ("{method}", "POST"),
            ("{scheme}", "https"),
            ("{host}", "api.acme.example:8443"),
            ("{path}", "/v1/a%20b"),
            ("{query}", "z=1&a=2"),
            ("{query-sorted}", "a=2&z=1"),
            ("{path-and-query}", "/v1/a%20b?z=1&a=2"),
            ("{url}", "https://api.acme.example:8443/v1/a%20b?z=1&a=2"),
            ("{timestamp}", "1767225600"),
            ("{timestamp-ms}", "1767225600123"),
            ("{timestamp-iso}", "2026-01-01T00:00:00Z"),
            ("{nonce}", "07070707070707070707070707070707"),
            (
                "{body-sha256-hex}",
                "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            ),
            (
                "{body-sha256-base64}",
                "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
            ),
            ("{key-id}", "key-7"),
            ("{header:X-Date}", "today"),
            ("{header:x-other}", ""),
            ("{{a}}", "{a}"),
        ] {
            let header = format!("<{word}>{{signature}}");
            let value = signed(&signing("", SignatureEncoding::Hex, &header), &secret).unwrap();
            assert!(value.starts_with(&format!("<{expected}>")), "{word}: {value}");
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn known_answer_in_every_encoding() {
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let secret = Secret::new("Jefe".to_owned());
        let message = "what do ya want for nothing?";
        for (encoding, expected) in [
            (SignatureEncoding::Hex, hex.to_owned()),
            (SignatureEncoding::HexUpper, hex.to_uppercase()),
            (
                SignatureEncoding::Base64,
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=".to_owned(),
            ),
            (
                SignatureEncoding::Base64Url,
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM".to_owned(),
            ),
        ] {
            let value = signed(&signing(message, encoding, "{signature}"), &secret).unwrap();
            assert_eq!(value, expected);
        }
        for (key, text) in [(KeyEncoding::Hex, "4a656665"), (KeyEncoding::Base64, "SmVmZQ==")] {
            let mut signing = signing(message, SignatureEncoding::Hex, "{signature}");
            signing.key = key;
            assert_eq!(signed(&signing, &Secret::new(text.to_owned())).unwrap(), hex);
            let error = signed(&signing, &Secret::new("not it!".to_owned())).unwrap_err();
            assert_eq!(error.kind(), ErrorCode::Auth);
        }
    }

    #[test]
    fn the_body_is_signed_as_it_is_sent() {
        let secret = Secret::new("Jefe".to_owned());
        let whole = signed(
            &signing("{body}|{timestamp}", SignatureEncoding::Hex, "{signature}"),
            &secret,
        );
        let text = signed(
            &signing("{{}}|1767225600", SignatureEncoding::Hex, "{signature}"),
            &secret,
        );
        assert_eq!(whole.unwrap(), text.unwrap());
    }
}
