//! What contract 1.1.0 has beyond 1.0.0.

use serde_json::{Value, json};

use crate::{
    bindings::stecker::plugin::{blobs, http_blobs},
    step::Blobbed,
    tell::{MAX_BODY, Told},
    via_stecker,
};

fn kept(blob: &blobs::Blob) -> Value {
    json!({ "digest": blob.digest, "size": blob.size })
}

pub fn stat(digest: &str) -> Told {
    match blobs::stat(digest) {
        Ok(Some(blob)) => Told::done(format!("{} bytes", blob.size), kept(&blob)),
        Ok(None) => Told::done("absent", Value::Null),
        Err(error) => error.into(),
    }
}

pub fn read(digest: &str, offset: u64, len: u32) -> Told {
    match blobs::read(digest, offset, len) {
        Ok(bytes) => {
            let kept = &bytes[..bytes.len().min(MAX_BODY)];
            Told::done(String::from_utf8_lossy(kept), json!({ "bytes": bytes.len() }))
        }
        Err(error) => error.into(),
    }
}

pub fn write(bytes: &[u8], digest: Option<&str>) -> Told {
    let options: Vec<(String, String)> = digest
        .map(|digest| ("digest".to_owned(), digest.to_owned()))
        .into_iter()
        .collect();
    match blobs::write(bytes, &options) {
        Ok(blob) => Told::done(blob.digest.clone(), kept(&blob)),
        Err(error) => error.into(),
    }
}

pub fn send(blobbed: &Blobbed) -> Told {
    let piece = |text: &String| match text.strip_prefix("blob:") {
        Some(digest) => http_blobs::Piece::Blob(digest.to_owned()),
        None => http_blobs::Piece::Bytes(text.clone().into_bytes()),
    };
    let exchange = http_blobs::Exchange {
        request: via_stecker::request(&blobbed.request),
        body: blobbed.pieces.iter().map(piece).collect(),
        sink: blobbed.max_bytes.map(|max_bytes| http_blobs::Sink {
            max_bytes,
            digest: blobbed.digest.clone(),
            options: Vec::new(),
        }),
    };
    match http_blobs::send(&exchange) {
        Ok(http_blobs::Answer { response, blob: Some(blob), .. }) => Told::done(
            format!("{} {}", response.status, blob.digest),
            json!({ "blob": kept(&blob), "body-bytes": response.body.len() }),
        ),
        Ok(answer) => via_stecker::told(Ok(answer.response)),
        Err(error) => error.into(),
    }
}
