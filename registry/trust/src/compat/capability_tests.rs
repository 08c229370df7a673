use super::*;

const MANIFEST: &str = r#"
name = "acme/shop"
version = "1.4.0"
title = "Acme Shop"
contract = "1.1.0"

[[capabilities.http]]
hosts = ["*.acme.example"]
methods = ["GET", "POST"]
paths = ["/api"]
purpose = "reads orders"

[capabilities.storage]
max-bytes = 1000

[credentials.api]
kind = "api-key-header"
header = "x-api-key"
hosts = ["*.acme.example"]
description = "An API key"
"#;

/// The differences of a manifest with one text exchanged for another, as lines.
fn differences(from: &str, to: &str) -> Vec<String> {
    let new = MANIFEST.replace(from, to);
    assert_ne!(new, MANIFEST, "{from}");
    let read = |text: &str| Manifest::from_toml(text).unwrap();
    let diff = CapabilityDiff::between(&read(MANIFEST), &read(&new));
    assert_eq!(diff.needs_approval(), diff.text().contains('+'));
    diff.text().lines().map(str::to_owned).collect()
}

#[test]
fn what_a_release_asks_for_beyond_the_one_before() {
    for (from, to, expected) in [
        ("Acme Shop", "Acme Shop 2", &[] as &[&str]),
        ("reads orders", "reads orders and stock", &[]),
        (
            "*.acme.example",
            "api.acme.example",
            &[
                "- host: GET, POST https://*.acme.example/api",
                "- credential's use: `api` is also sent to *.acme.example",
            ],
        ),
        (
            "hosts = [\"*.acme.example\"]\nmethods",
            "hosts = [\"*.acme.example\", \"evil.example\"]\nmethods",
            &["+ host: GET, POST https://evil.example/api"],
        ),
        (
            "hosts = [\"*.acme.example\"]\nmethods",
            "hosts = [\"*.acme.example\", \"acme.example\"]\nmethods",
            &["+ host: GET, POST https://acme.example/api"],
        ),
        (
            "hosts = [\"*.acme.example\"]\nmethods",
            "hosts = [\"*.acme.example\", \"a.acme.example:8443\"]\nmethods",
            &["+ host: GET, POST https://a.acme.example:8443/api"],
        ),
        (
            "\"POST\"",
            "\"POST\", \"DELETE\"",
            &["+ request: DELETE https://*.acme.example/api"],
        ),
        (
            "\"GET\", \"POST\"",
            "\"GET\"",
            &["- request: POST https://*.acme.example/api"],
        ),
        (
            "/api",
            "/api/v2",
            &["- request: GET, POST https://*.acme.example/api"],
        ),
        (
            "paths = [\"/api\"]",
            "",
            &["+ request: GET, POST https://*.acme.example/"],
        ),
        (
            "[[capabilities.http]]",
            "[[capabilities.http]]\nschemes = [\"https\", \"http\"]",
            &["+ request: GET, POST http://*.acme.example/api"],
        ),
        ("max-bytes = 1000", "max-bytes = 2000", &["+ storage: 2000 bytes"]),
        (
            "[capabilities.storage]\nmax-bytes = 1000",
            "",
            &[
                "- storage: 1000 bytes",
                "- storage: 10000 keys",
                "- storage: 200 operations",
            ],
        ),
        (
            "[capabilities.storage]",
            "[capabilities.blobs]\nmax-bytes = 5000\nmax-blob-bytes = 1000\n[capabilities.storage]",
            &["+ blobs: 1000 bytes a blob", "+ blobs: 5000 bytes rather"],
        ),
        (
            "[credentials.api]",
            "[credentials.hook]\nkind = \"hmac-secret\"\ndescription = \"d\"\n[credentials.api]",
            &["+ credential: `hook`, a hmac-secret: d"],
        ),
        (
            "x-api-key",
            "x-other-key",
            &["+ credential's use: `api`", "- credential's use: `api`"],
        ),
        (
            "hosts = [\"*.acme.example\"]\ndescription",
            "description",
            &["+ credential's use: `api` is also sent to wherever"],
        ),
        (
            "hosts = [\"*.acme.example\"]\ndescription",
            "hosts = [\"*.acme.example\"]\nmethods = [\"GET\"]\ndescription",
            &["- credential's use: `api` is also sent with wherever"],
        ),
        (
            "[capabilities.storage]",
            "[limits]\nmemory-mib = 512\n[capabilities.storage]",
            &["+ limit: 512 MiB"],
        ),
    ] {
        let found = differences(from, to);
        assert_eq!(found.len(), expected.len(), "{from} to {to}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{from} to {to}: {found}");
        }
    }
}
