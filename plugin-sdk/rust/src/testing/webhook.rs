//! Building the calls that a vendor would make.

use crate::RawRequest;
use crate::crypto::Digest;
use serde::Serialize;
use std::fmt::Display;

/// A call as a vendor makes it, for [`Harness::receive`](super::Harness::receive).
#[derive(Clone, Debug)]
#[must_use = "give it to Harness::receive"]
pub struct WebhookCall {
    request: RawRequest,
}

impl WebhookCall {
    /// A POST of this JSON, to the connection's own path.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    pub fn json(body: impl Serialize) -> Self {
        match serde_json::to_vec(&body) {
            Ok(bytes) => Self::bytes(bytes).header("content-type", "application/json"),
            Err(error) => panic!("the test's body cannot be written as JSON: {error}"),
        }
    }

    /// A POST of these bytes.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self {
            request: RawRequest {
                method: "POST".to_owned(),
                path: String::new(),
                query: String::new(),
                headers: Vec::new(),
                body: body.into(),
            },
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.request
            .headers
            .push((name.to_ascii_lowercase(), value.to_string()));
        self
    }

    /// What follows the connection's own path, with a leading slash.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.request.path);
        self
    }

    /// The query, without the question mark.
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.request.query);
        self
    }

    /// Replaces the body without touching the headers: what a forger would do.
    pub fn tampered(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// Adds a header with a signature: `header_of` makes it from the HMAC-SHA256, under this secret, of what `signed` makes
    /// from the body.
    pub fn signed(
        self,
        header: &str,
        secret: &[u8],
        signed: impl FnOnce(&[u8]) -> Vec<u8>,
        header_of: impl FnOnce(&[u8]) -> String,
    ) -> Self {
        let tag = super::imports::crypto::hmac(secret, Digest::Sha256, &signed(&self.request.body));
        let value = header_of(&tag);
        self.header(header, value)
    }

    /// The call as the plugin gets it.
    #[must_use]
    pub fn into_request(self) -> RawRequest {
        self.request
    }
}
