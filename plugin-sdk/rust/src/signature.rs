//! Whether a call of a webhook is genuine: the schemes that vendors sign with, checked with secrets that the plugin names and never sees.
//!
//! | scheme | who | the secret in the manifest |
//! |---|---|---|
//! | [`standard_webhooks`] | whoever follows [Standard Webhooks](https://www.standardwebhooks.com), other Stecker hosts too | `kind = "hmac-secret"`, `key = "standard-webhooks"` |
//! | [`stripe`] | [Stripe](https://docs.stripe.com/webhooks/signature) and its imitators | `kind = "hmac-secret"` |
//! | [`HmacHeader`] | one header with an HMAC of the body: [Shopify](SHOPIFY), [WooCommerce](WOOCOMMERCE), [Shopware](SHOPWARE), [GitHub and Meta](GITHUB) and many more | `kind = "hmac-secret"` |
//!
//! Where the scheme signs a time, a call counts only within [`WINDOW_SECONDS`] of the host's clock, so that one that was recorded cannot be
//! sent again later; within it, and where no time is signed, the vendor's event id keeps an event from counting twice
//! ([`Received::accept`](crate::Received::accept)).
//!
//! ```
//! use stecker_sdk::prelude::*;
//! use stecker_sdk::signature::{self, Check};
//!
//! fn receive(request: &RawRequest) -> Result<Received> {
//!     let signed = match signature::standard_webhooks(request, "webhook")? {
//!         Check::Genuine(signed) => signed,
//!         Check::Refused(reason) => return Ok(Received::refuse(reason)),
//!     };
//!     Ok(Received::accept(signed.id, Vec::new()))
//! }
//! # let _ = receive;
//! ```

use crate::crypto::{self, Digest};
use crate::{RawRequest, Result, clock};

/// How far the sender's clock and the host's may be apart, in seconds.
pub const WINDOW_SECONDS: u64 = 300;
/// Signatures of one call that are looked at. A sender that changes its secret has two; anybody can send a thousand.
const MAX_SIGNATURES: usize = 16;

/// What the check of a call found. `S` is what the scheme signs besides the body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a call that is not genuine has to be refused"]
pub enum Check<S> {
    /// Whoever has the secret made it.
    Genuine(S),
    /// Not, or not provably. The reason is for the operator ([`Received::refuse`](crate::Received::refuse)).
    Refused(String),
}

impl<S> Check<S> {
    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }

    /// Whether the call is genuine.
    pub fn is_genuine(&self) -> bool {
        matches!(self, Self::Genuine(_))
    }
}

/// What [`standard_webhooks`] knows of a genuine call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The message's id, the same whenever it is sent again.
    pub id: String,
    /// When it was sent this time, in seconds since 1970.
    pub sent_at: u64,
}

/// Checks a call by [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): one of
/// the signatures in `webhook-signature` is the HMAC-SHA256 of id, time and body. Signatures of other versions than `v1` are passed over.
///
/// # Errors
/// The host has no such secret, or it is not written as such secrets are.
pub fn standard_webhooks(request: &RawRequest, secret: &str) -> Result<Check<Signed>> {
    let header = |name: &str| {
        request
            .header(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let (Some(id), Some(time), Some(signatures)) = (
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
    ) else {
        return Ok(Check::refused(
            "one of the headers webhook-id, webhook-timestamp and webhook-signature is missing",
        ));
    };
    // Or what is signed could be cut at another place, and would be another message under the same signature.
    if id.contains('.') {
        return Ok(Check::refused("the header webhook-id has a full stop in it"));
    }
    let Some(sent_at) = seconds(time) else {
        return Ok(Check::refused(
            "the header webhook-timestamp is no number of seconds",
        ));
    };
    let tags = signatures.split(' ').filter_map(|one| {
        let (version, tag) = one.split_once(',')?;
        (version == "v1").then(|| crypto::from_base64(tag).ok())?
    });
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body].concat();
    if !any_fits(secret, Digest::Sha256, &signed, tags)? {
        return Ok(Check::refused(NO_FIT));
    }
    Ok(within_window(sent_at, || Signed {
        id: id.to_owned(),
        sent_at,
    }))
}

/// Checks a call by [Stripe's scheme](https://docs.stripe.com/webhooks/signature): `Stripe-Signature: t=…,v1=…`, where one `v1` is the
/// hexadecimal HMAC-SHA256 of time and body. What comes back is when it was sent, in seconds since 1970; the event's id is in its body.
///
/// # Errors
/// The host has no such secret.
pub fn stripe(request: &RawRequest, secret: &str) -> Result<Check<u64>> {
    let Some(header) = request.header("stripe-signature") else {
        return Ok(Check::refused("the header Stripe-Signature is missing"));
    };
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    // The first one, as Stripe's libraries have it.
    let time = pairs().find(|(name, _)| *name == "t").map(|(_, time)| time);
    let Some((time, sent_at)) = time.and_then(|time| Some((time, seconds(time)?))) else {
        return Ok(Check::refused("the header Stripe-Signature has no time (`t=`)"));
    };
    let tags = pairs()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, tag)| crypto::from_hex(tag).ok());
    let signed = [time.as_bytes(), b".", &request.body].concat();
    if !any_fits(secret, Digest::Sha256, &signed, tags)? {
        return Ok(Check::refused(NO_FIT));
    }
    Ok(within_window(sent_at, || sent_at))
}

/// How a signature is written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, of either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// The plainest scheme: one header has the HMAC of the body. No time is signed, so nothing but the event's id tells an event from the same
/// one sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HmacHeader {
    /// The header, in any case.
    pub header: &'static str,
    /// What stands before the signature, such as `sha256=`.
    pub prefix: &'static str,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The hash.
    pub algorithm: Digest,
}

const fn sha256(header: &'static str, prefix: &'static str, encoding: Encoding) -> HmacHeader {
    HmacHeader {
        header,
        prefix,
        encoding,
        algorithm: Digest::Sha256,
    }
}

/// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>. The event's id is in `X-Shopify-Event-Id`.
pub const SHOPIFY: HmacHeader = sha256("x-shopify-hmac-sha256", "", Encoding::Base64);
/// <https://woocommerce.com/document/webhooks/>. The delivery's id is in `X-WC-Webhook-Delivery-ID`.
pub const WOOCOMMERCE: HmacHeader = sha256("x-wc-webhook-signature", "", Encoding::Base64);
/// <https://developer.shopware.com/docs/guides/plugins/apps/webhook.html>.
pub const SHOPWARE: HmacHeader = sha256("shopware-shop-signature", "", Encoding::Hex);
/// GitHub (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>) and Meta
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
pub const GITHUB: HmacHeader = sha256("x-hub-signature-256", "sha256=", Encoding::Hex);

impl HmacHeader {
    /// Checks a call.
    ///
    /// # Errors
    /// The host has no such secret.
    pub fn check(&self, request: &RawRequest, secret: &str) -> Result<Check<()>> {
        let Some(value) = request.header(self.header) else {
            return Ok(Check::refused(format!("the header {} is missing", self.header)));
        };
        let tag = value.trim().strip_prefix(self.prefix).and_then(|text| {
            match self.encoding {
                Encoding::Hex => crypto::from_hex(text),
                Encoding::Base64 => crypto::from_base64(text),
            }
            .ok()
        });
        let Some(tag) = tag else {
            return Ok(Check::refused(format!(
                "the header {} is not written as signatures of this kind are",
                self.header
            )));
        };
        if any_fits(secret, self.algorithm, &request.body, std::iter::once(tag))? {
            Ok(Check::Genuine(()))
        } else {
            Ok(Check::refused(NO_FIT))
        }
    }
}

const NO_FIT: &str = "no signature fits the body; do the sender and this connection have the same secret?";

/// Digits only: what a parser takes besides them (a sign, say) no sender writes.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn any_fits(
    secret: &str,
    algorithm: Digest,
    signed: &[u8],
    tags: impl Iterator<Item = Vec<u8>>,
) -> Result<bool> {
    for tag in tags.take(MAX_SIGNATURES) {
        if crypto::hmac_verify(secret, algorithm, signed, &tag)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Only after the signature was checked: before, the time was anybody's to write.
fn within_window<S>(sent_at: u64, genuine: impl FnOnce() -> S) -> Check<S> {
    if sent_at.abs_diff(clock::now() / 1_000) > WINDOW_SECONDS {
        return Check::refused(
            "the call is signed, but more than 5 minutes old or ahead: replayed, or a wrong clock",
        );
    }
    Check::Genuine(genuine())
}
