//! Bytes that never enter the plugin's memory: the host fetches, keeps and sends them, and the plugin holds their name.
//!
//! A source puts the name into its record, a destination takes it out and sends the bytes on. This takes the feature `blobs` of the crate; a plugin
//! with it is one of contract 1.1.0 and says so in its manifest (`contract = "1.1.0"`, and `[capabilities.blobs]` with the bytes that it needs).
//! One without stays a plugin of 1.0.0.
//!
//! ```
//! # use stecker_sdk::testing::{self, Reply, Script, TestHost};
//! # let host = TestHost::new();
//! # host.script(Script::new().expect(testing::get("/labels/1")).reply_with(Reply::bytes(200, "a label").header("content-type", "application/pdf"))
//! #     .expect(testing::put("/files/1").bytes("a label")).reply(201, serde_json::json!({})));
//! use stecker_sdk::http::Client;
//! # fn move_label() -> stecker_sdk::Result<()> {
//! let (carrier, archive) = (Client::new("https://carrier.example"), Client::new("https://archive.example"));
//!
//! let (_, label) = carrier.get("/labels/1").into_blob(20 << 20).send()?.success()?;
//! let payload = serde_json::json!({ "id": 1, "label": label }); // {"$blob": "sha256:…", "size": 7, "media-type": "application/pdf"}
//!
//! let label: stecker_sdk::blobs::Blob = serde_json::from_value(payload["label"].clone()).unwrap();
//! archive.put("/files/1").blob(&label).send()?.response.error_for_status()?;
//! # Ok(())
//! # }
//! # move_label().unwrap();
//! ```

use crate::bindings::blobs::stecker::plugin::blobs as wire;
use crate::bindings::blobs::stecker::plugin::http_blobs::{Exchange, Piece, Sink};
use crate::http::{RequestBuilder, Response};
use crate::imports;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is sent if nobody says what a blob is (RFC 9110, section 8.3).
const UNKNOWN: &str = "application/octet-stream";

/// The name of a blob, as it stands in the payload of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Blob {
    /// `sha256:` and 64 hexadecimal digits in lower case, of the bytes.
    #[serde(rename = "$blob")]
    pub digest: String,
    /// Bytes, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What the bytes are, such as `image/png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl From<wire::Blob> for Blob {
    fn from(blob: wire::Blob) -> Self {
        Self {
            digest: blob.digest,
            size: Some(blob.size),
            media_type: None,
        }
    }
}

impl Blob {
    /// The same, saying what the bytes are.
    #[must_use]
    pub fn of_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// How many bytes it has; none: the host does not have it (any more).
    ///
    /// # Errors
    /// Code `unsupported` if the digest is not one, else what the host says.
    pub fn size_at_host(&self) -> Result<Option<u64>> {
        Ok(imports::blobs::stat(&self.digest)?.map(|blob| blob.size))
    }

    /// At most `len` bytes (1 MiB at most) from `offset` on; fewer at the end. For a look at a header.
    ///
    /// # Errors
    /// Code `not-found` if the host does not have it (any more), else what the host says.
    pub fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        Ok(imports::blobs::read(&self.digest, offset, len)?)
    }
}

/// Keeps bytes that the plugin made itself, at most 8 MiB.
///
/// # Errors
/// What the host says, for example that there is no room.
pub fn write(bytes: &[u8]) -> Result<Blob> {
    Ok(imports::blobs::write(bytes, &[])?.into())
}

/// A request whose body, or whose answer, is a blob.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct BlobRequest {
    request: RequestBuilder,
    body: Vec<Piece>,
    sink: Option<Sink>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct BlobResponse {
    /// The answer; its body is empty if it went into the blob.
    pub response: Response,
    /// The body, if the status is 200 to 299 and it was asked for as a blob.
    pub blob: Option<Blob>,
}

impl BlobResponse {
    /// The answer and the blob, or the error that the status stands for.
    ///
    /// # Errors
    /// As [`Response::error_for_status`]; code `fatal` if no blob was asked for.
    pub fn success(self) -> Result<(Response, Blob)> {
        let response = self.response.error_for_status()?;
        let blob = self
            .blob
            .ok_or_else(|| Error::fatal("the request was sent without asking for a blob"))?;
        Ok((response, blob))
    }
}

impl RequestBuilder {
    fn with_blobs(self) -> BlobRequest {
        BlobRequest {
            request: self,
            body: Vec::new(),
            sink: None,
        }
    }

    /// Sends a blob as the body, with its media type.
    pub fn blob(self, blob: &Blob) -> BlobRequest {
        let media_type = blob.media_type.as_deref().unwrap_or(UNKNOWN);
        self.header("Content-Type", media_type).with_blobs().piece(blob)
    }

    /// Sends a form with a file in it, as a browser would (RFC 7578): the fields first, then the blob under the name `field`.
    pub fn blob_form<'a>(
        self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        field: &str,
        file_name: &str,
        blob: &Blob,
    ) -> BlobRequest {
        // Nobody can make a file that has its own digest in it.
        let digest = blob.digest.trim_start_matches("sha256:");
        let boundary = format!("blob-{}", digest.get(..32).unwrap_or(digest));
        let quoted = |text: &str| text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let mut before = String::new();
        for (name, value) in fields {
            before.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
                quoted(name)
            ));
        }
        before.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            quoted(field),
            quoted(file_name),
            blob.media_type.as_deref().unwrap_or(UNKNOWN)
        ));
        self.header(
            "Content-Type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .with_blobs()
        .bytes(before)
        .piece(blob)
        .bytes(format!("\r\n--{boundary}--\r\n"))
    }

    /// Has the host keep the body of a successful answer (a status of 200 to 299), at most `max_bytes`.
    pub fn into_blob(self, max_bytes: u64) -> BlobRequest {
        self.with_blobs().into_blob(max_bytes)
    }
}

impl BlobRequest {
    /// Adds bytes to the end of the body.
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.push(Piece::Bytes(bytes.into()));
        self
    }

    /// Adds a blob to the end of the body.
    pub fn piece(mut self, blob: &Blob) -> Self {
        self.body.push(Piece::Blob(blob.digest.clone()));
        self
    }

    /// Has the host keep the body of a successful answer too.
    pub fn into_blob(mut self, max_bytes: u64) -> Self {
        self.sink = Some(Sink {
            max_bytes,
            digest: None,
            options: Vec::new(),
        });
        self
    }

    /// Has the host refuse an answer whose body has another digest, where a system says which it is. After [`BlobRequest::into_blob`].
    pub fn expecting(mut self, digest: impl Into<String>) -> Self {
        if let Some(sink) = &mut self.sink {
            sink.digest = Some(digest.into());
        }
        self
    }

    /// Sends it. Any status is a response.
    ///
    /// # Errors
    /// As [`RequestBuilder::send`]; code `not-found` if a blob is not there (any more), `data` if the bytes are not those that were expected.
    pub fn send(self) -> Result<BlobResponse> {
        let request = self.request.build()?;
        let exchange = Exchange {
            request,
            body: self.body,
            sink: self.sink,
        };
        let (answer, blob) = match imports::http_blobs::send(&exchange) {
            Ok(answer) => (Ok(answer.response), answer.blob),
            Err(error) => (Err(error), None),
        };
        let response = Response::from_answer(&exchange.request, answer)?;
        let media_type = response.header("content-type").map(str::to_owned);
        let blob = blob.map(|blob| Blob {
            media_type,
            ..Blob::from(blob)
        });
        Ok(BlobResponse { response, blob })
    }
}
