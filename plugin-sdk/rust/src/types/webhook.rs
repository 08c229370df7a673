//! What a system sends on its own.

use super::{RawRequest, Received, Record, Reply, Verdict, set};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::fmt::Display;

impl RawRequest {
    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The body as a type.
    ///
    /// # Errors
    /// Code `data`, naming the place that does not fit.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = std::str::from_utf8(&self.body)?;
        crate::json::parse(text).map_err(|misfit| {
            Error::data(format!("the body {}", misfit.message)).detail("path", misfit.pointer)
        })
    }
}

impl Received {
    /// Genuine: take these records, once per `event_id`.
    pub fn accept(event_id: impl Into<String>, records: Vec<Record>) -> Self {
        Self {
            event_id: Some(event_id.into()),
            records,
            ..Self::empty(Verdict::Accept)
        }
    }

    /// Genuine, and of no interest.
    pub fn ignore(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::empty(Verdict::Ignore)
        }
    }

    /// Not genuine or not understood. The sender gets a bare 401 and never the reason, which is for the operator.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::empty(Verdict::Refuse)
        }
    }

    /// What the vendor gets as an answer instead of the host's.
    #[must_use]
    pub fn reply(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.reply = Some(Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        });
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }

    fn empty(verdict: Verdict) -> Self {
        Self {
            verdict,
            event_id: None,
            records: Vec::new(),
            reply: None,
            reason: None,
            attributes: Vec::new(),
        }
    }
}
