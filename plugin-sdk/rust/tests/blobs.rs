//! Blobs as plugins see them, over the test host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, that is how a broken assumption shows"
)]

use serde_json::json;
use stecker_sdk::{
    blobs::{self, Blob},
    http::Client,
    testing::{self, Reply, Script, TestHost},
};

#[test]
fn a_reference_is_a_plain_json_object() {
    let blob = Blob {
        digest: format!("sha256:{}", "0".repeat(64)),
        size: Some(7),
        media_type: None,
    };
    let json = json!({ "$blob": blob.digest, "size": 7 });
    assert_eq!(serde_json::to_value(&blob).unwrap(), json);
    assert_eq!(serde_json::from_value::<Blob>(json).unwrap(), blob);
    let least: Blob = serde_json::from_value(json!({ "$blob": blob.digest })).unwrap();
    assert_eq!((least.size, least.media_type), (None, None));
}

#[test]
fn an_answer_becomes_a_blob_and_a_body_comes_out_of_one() {
    let host = TestHost::new();
    host.script(
        Script::new()
            .expect(testing::get("/labels/1"))
            .reply_with(Reply::bytes(200, "a label").header("content-type", "application/pdf"))
            .expect(
                testing::put("/files/1")
                    .bytes("a label")
                    .header("content-type", "application/pdf"),
            )
            .reply(201, json!({ "id": 1 })),
    );
    let api = Client::new("https://shop.example");
    let (response, label) = api
        .get("/labels/1")
        .into_blob(100)
        .send()
        .unwrap()
        .success()
        .unwrap();
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(
        (label.size, label.media_type.as_deref()),
        (Some(7), Some("application/pdf"))
    );
    assert_eq!(host.blob_bytes(&label.digest).unwrap(), b"a label");
    assert_eq!(label.read(2, 3).unwrap(), b"lab");
    assert_eq!(label.size_at_host().unwrap(), Some(7));
    let answer = api.put("/files/1").blob(&label).send().unwrap();
    assert_eq!((answer.response.status, answer.blob), (201, None));
    host.finish();
}

#[test]
fn an_error_page_is_no_blob() {
    let host = TestHost::new();
    host.script(
        Script::new()
            .expect(testing::get("/x"))
            .reply(404, json!({ "error": "no such label" })),
    );
    let answer = Client::new("https://shop.example")
        .get("/x")
        .into_blob(100)
        .send()
        .unwrap();
    assert_eq!(answer.blob, None);
    let error = answer.success().unwrap_err();
    assert_eq!(error.code(), "not-found");
    assert!(error.to_string().contains("no such label"), "{error}");
}

#[test]
fn what_is_not_expected_is_not_kept() {
    let host = TestHost::new();
    host.script(
        Script::new()
            .expect(testing::get("/x"))
            .reply_with(Reply::bytes(200, "a label"))
            .expect(testing::get("/x"))
            .reply_with(Reply::bytes(200, "a label")),
    );
    let api = Client::new("https://shop.example");
    let other = format!("sha256:{}", "0".repeat(64));
    let error = api.get("/x").into_blob(100).expecting(other).send().unwrap_err();
    assert_eq!(error.code(), "data");
    let error = api.get("/x").into_blob(3).send().unwrap_err();
    assert_eq!(error.code(), "fatal");
    let missing = Blob {
        digest: format!("sha256:{}", "1".repeat(64)),
        size: None,
        media_type: None,
    };
    assert_eq!(missing.size_at_host().unwrap(), None);
    assert_eq!(missing.read(0, 1).unwrap_err().code(), "not-found");
    assert_eq!(
        api.put("/x").blob(&missing).send().unwrap_err().code(),
        "not-found"
    );
}

#[test]
fn a_form_with_a_file_in_it() {
    let host = TestHost::new();
    let file = host.blob("a file").of_type("image/png");
    let boundary = format!("blob-{}", &file.digest["sha256:".len()..][..32]);
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"kind\"\r\n\r\nlabel\r\n--{boundary}\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"a%22b.png\"\r\nContent-Type: image/png\r\n\r\na file\r\n--{boundary}--\r\n"
    );
    host.script(
        Script::new()
            .expect(
                testing::post("/upload")
                    .header(
                        "content-type",
                        format!("multipart/form-data; boundary={boundary}"),
                    )
                    .bytes(body),
            )
            .reply(200, json!({})),
    );
    let request = Client::new("https://shop.example").post("/upload");
    request
        .blob_form([("kind", "label")], "file", "a\"b.png", &file)
        .send()
        .unwrap();
    host.finish();
}

#[test]
fn bytes_of_its_own() {
    let host = TestHost::new();
    let blob = blobs::write(b"made here").unwrap();
    assert_eq!(host.blob_bytes(&blob.digest).unwrap(), b"made here");
    assert_eq!(blob.read(5, 100).unwrap(), b"here");
}
