//! Probes and streams.

use super::{Probe, StreamInfo, set};
use crate::{Error, Result};
use std::fmt::Display;

impl Probe {
    /// Something that worked.
    pub fn passed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: true,
            message: message.into(),
            hint: None,
        }
    }

    /// Something that did not, and what the operator can do about it.
    pub fn failed(name: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: false,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The probe that a call's result amounts to, with a hint that follows from the error's code.
    pub fn from_result<T>(name: impl Into<String>, success: impl Into<String>, result: &Result<T>) -> Self {
        let hint = |error: &Error| match error.code() {
            "auth" => "check the credential: it may be wrong, expired, or lack a permission".to_owned(),
            "denied" => {
                "grant the connection this host, or correct the address in its configuration".to_owned()
            }
            "config" => "correct the connection's configuration".to_owned(),
            "not-found" => "check the base URL and the version of the API".to_owned(),
            "rate-limited" | "transient" => {
                "try again in a while; if it stays, check that the system is up".to_owned()
            }
            code => format!("the code is `{code}`; see the message"),
        };
        match result {
            Ok(_) => Self::passed(name, success),
            Err(error) => Self::failed(name, error.message(), hint(error)),
        }
    }
}

/// How a stream shows that things were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// It does not.
    Never,
    /// A delete record comes.
    Tombstone,
    /// A key that is missing in a full read is gone.
    FullScan,
    /// A field of the payload says so.
    Soft,
}

impl Deletes {
    fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Tombstone => "tombstone",
            Self::FullScan => "full-scan",
            Self::Soft => "soft",
        }
    }
}

impl StreamInfo {
    /// A stream whose payload is a `T`; its JSON Schema comes from the type. No key, no modes, never deletes.
    pub fn of<T: schemars::JsonSchema>(name: impl Into<String>) -> Self {
        Self::with_schema(name, &crate::description::schema_of::<T>())
    }

    /// A stream whose schema is only known at run time (custom fields and the like).
    pub fn with_schema(name: impl Into<String>, schema: &serde_json::Value) -> Self {
        Self {
            name: name.into(),
            schema: schema.to_string(),
            primary_key: Vec::new(),
            cursor_field: None,
            modes: Vec::new(),
            deletes: Deletes::Never.as_str().to_owned(),
            attributes: Vec::new(),
        }
    }

    /// JSON Pointers into the payload that together are the key.
    #[must_use]
    pub fn key(mut self, pointers: &[&str]) -> Self {
        self.primary_key = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        self
    }

    /// The JSON Pointer to what incremental reading goes by.
    #[must_use]
    pub fn incremental_by(mut self, pointer: impl Into<String>) -> Self {
        self.cursor_field = Some(pointer.into());
        self
    }

    /// What can be done with it; any of `read`, `write`, `lookup`, `webhook`.
    #[must_use]
    pub fn modes(mut self, modes: &[&str]) -> Self {
        self.modes = modes.iter().map(|&mode| mode.to_owned()).collect();
        self
    }

    /// How deletes show.
    #[must_use]
    pub fn deletes(mut self, deletes: Deletes) -> Self {
        deletes.as_str().clone_into(&mut self.deletes);
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }
}
