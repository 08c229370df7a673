//! What 1.1.0 has beyond: every function of it, used once.

use crate::{
    bindings::{
        exports::stecker::plugin::source::{Page, ReadRequest},
        stecker::plugin::{blobs, http, http_blobs, types::Error},
    },
    imports::{Tried, request},
};

fn kept() -> Result<String, Error> {
    let blob = blobs::write(b"a blob", &[])?;
    let found = blobs::stat(&blob.digest)?;
    let bytes = blobs::read(&blob.digest, 2, 100)?;
    let size = found.map(|found| found.size).unwrap_or_default();
    Ok(format!("{size} {}", String::from_utf8_lossy(&bytes)))
}

/// Out of two blobs into another one.
fn sent(url: &str) -> Result<String, Error> {
    let blob = blobs::write(b"middle", &[])?;
    let exchange = http_blobs::Exchange {
        request: request(url, None),
        body: vec![
            http_blobs::Piece::Bytes(b"before ".to_vec()),
            http_blobs::Piece::Blob(blob.digest),
            http_blobs::Piece::Bytes(b" after".to_vec()),
        ],
        sink: Some(http_blobs::Sink {
            max_bytes: 100,
            digest: None,
            options: Vec::new(),
        }),
    };
    let answer = http_blobs::send(&exchange)?;
    let kept = match &answer.blob {
        Some(blob) => blobs::read(&blob.digest, 0, 100)?,
        None => Vec::new(),
    };
    Ok(format!(
        "{} {} {}",
        answer.response.status,
        answer.response.body.len(),
        String::from_utf8_lossy(&kept)
    ))
}

pub fn all(url: &str) -> Tried {
    vec![("blobs", kept()), ("http-blobs.send", sent(url))]
}

/// From one address into a blob, and from there to another address. The record's payload is the name of the blob.
pub fn transfer(asked: &ReadRequest) -> Result<Page, Error> {
    let option = |name: &str| {
        let found = asked.options.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let fetch = http_blobs::Exchange {
        request: http::Request {
            method: "GET".to_owned(),
            ..request(&option("from"), None)
        },
        body: Vec::new(),
        sink: Some(http_blobs::Sink {
            max_bytes: asked.max_bytes,
            digest: None,
            options: Vec::new(),
        }),
    };
    let fetched = http_blobs::send(&fetch)?;
    let blob = fetched
        .blob
        .ok_or_else(|| crate::error("data", &format!("the source answered with {}", fetched.response.status)))?;
    let deliver = http_blobs::Exchange {
        request: request(&option("to"), None),
        body: vec![http_blobs::Piece::Blob(blob.digest.clone())],
        sink: None,
    };
    let answer = http_blobs::send(&deliver)?.response;
    let mut record = crate::record("blob");
    record.payload = format!(
        "{{\"$blob\":\"{}\",\"size\":{},\"status\":{},\"answer\":\"{}\"}}",
        blob.digest,
        blob.size,
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(Page {
        records: vec![record],
        cursor: Some("done".to_owned()),
        more: false,
        hints: Vec::new(),
    })
}
