//! What goes wrong: [`RegistryError`] for whoever embeds the registry, and [`ApiError`] for whoever speaks to it over HTTP, with the
//! codes of the OCI Distribution Specification 1.1.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::{digest::Digest, manifest::ManifestError};

/// Why the registry cannot do its work. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The database URL cannot be used.
    #[error(
        "the database URL is not usable: {reason}; give `sqlite:/path/to/file` or `postgres://user@host/database`"
    )]
    BadUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The database does not do its part.
    #[error(
        "the registry's database fails: {source}; check that it runs, has room, and lets this user write"
    )]
    Database {
        /// What the driver said.
        #[from]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date, and is as it was.
    #[error("the registry's schema could not be brought up to date, and is as it was: {source}")]
    Migration {
        /// What the migrator said.
        #[from]
        source: sqlx::migrate::MigrateError,
    },
    /// A newer version of this program has been here.
    #[error(
        "the registry's database has schema version {found}, this program knows up to {known}; use the newer program"
    )]
    NewerSchema {
        /// The database's version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// Where the blobs are kept does not do its part.
    #[error("the registry's blobs cannot be reached: {source}; check the folder or bucket and its rights")]
    Blobs {
        /// What the object store said.
        #[from]
        source: object_store::Error,
    },
    /// The database holds something that this program never wrote.
    #[error("the registry's database is damaged: {what}; restore it from a copy")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// What is kept of a content is not that content. It was set aside, and has to be pushed again.
    #[error(
        "{digest} is damaged where it is stored ({what}); it was set aside and is not served: push it again"
    )]
    Corrupt {
        /// The content.
        digest: String,
        /// What was found.
        what: String,
    },
    /// There is no such release.
    #[error("there is no release `{tag}` in `{repository}`")]
    NoRelease {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
    },
    /// A text cannot be stored.
    #[error("{what} contains a control character, or has more than {max} bytes")]
    Text {
        /// Which text.
        what: &'static str,
        /// Most bytes.
        max: usize,
    },
}

/// The codes of errors, and what they mean by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its message")]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    Unknown,
}

impl Code {
    /// As it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The status that goes with it, where nothing else is said.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().1
    }

    fn facts(self) -> (&'static str, StatusCode) {
        match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            Self::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
            Self::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
            Self::DigestInvalid => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
            Self::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            Self::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
            Self::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST),
            Self::NameUnknown => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            Self::SizeInvalid => ("SIZE_INVALID", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED),
            Self::Denied => ("DENIED", StatusCode::FORBIDDEN),
            Self::Unsupported => ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
            Self::TooManyRequests => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
            Self::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// An answer that is an error: a status, and `{"errors": [{"code", "message", "detail"}]}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    entries: Vec<Entry>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Serialize)]
struct Entry {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
}

#[derive(Serialize)]
struct Entries<'e> {
    errors: &'e [Entry],
}

impl ApiError {
    /// With the status that goes with the code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            entries: vec![Entry {
                code: code.as_str(),
                message: message.into(),
                detail: Value::Null,
            }],
            headers: Vec::new(),
        }
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With more for programs.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        if let Some(entry) = self.entries.first_mut() {
            entry.detail = detail;
        }
        self
    }

    /// A header that cannot be one is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
            self.headers.push((name, value));
        }
        self
    }

    /// One entry for each content that is not there.
    pub(crate) fn missing(digests: &[Digest]) -> Self {
        let entry = |digest: &Digest| Entry {
            code: Code::ManifestBlobUnknown.as_str(),
            message: format!("the manifest names {digest}, which is not in this repository: push it first"),
            detail: serde_json::json!({ "digest": digest.as_str() }),
        };
        Self {
            status: Code::ManifestBlobUnknown.status(),
            entries: digests.iter().map(entry).collect(),
            headers: Vec::new(),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match &error {
            RegistryError::Corrupt { .. } => tracing::error!(%error, "a stored content is damaged"),
            // Whoever asks is wrong, and not the registry.
            RegistryError::NoRelease { .. } => return Self::new(Code::ManifestUnknown, error.to_string()),
            RegistryError::Text { .. } => {
                return Self::new(Code::Unsupported, error.to_string()).status(StatusCode::BAD_REQUEST);
            }
            _ => tracing::error!(%error, "a request failed"),
        }
        let (status, message) = match &error {
            RegistryError::Database {
                source: sqlx::Error::PoolTimedOut | sqlx::Error::Io(_),
            } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the registry is busy or its database away: try again".to_owned(),
            ),
            RegistryError::Corrupt { .. } => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            // What else is wrong inside is for the log, not for strangers.
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the registry failed; its log says why".to_owned(),
            ),
        };
        Self::new(Code::Unknown, message).status(status)
    }
}

impl From<ManifestError> for ApiError {
    fn from(error: ManifestError) -> Self {
        let code = match &error {
            ManifestError::Digest { .. } => Code::DigestInvalid,
            ManifestError::TooLarge => Code::SizeInvalid,
            _ => Code::ManifestInvalid,
        };
        let status = match &error {
            ManifestError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => code.status(),
        };
        Self::new(code, error.to_string()).status(status)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&Entries {
            errors: &self.entries,
        })
        .unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
