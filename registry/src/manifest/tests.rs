use serde_json::json;

use super::*;

const FULL: &str = r#"
name = "acme/shop-eu"
version = "1.4.0-rc.1"
title = "Acme Shop"
description = "Orders and stock."
license = "Apache-2.0 OR MIT"
authors = ["A. Author"]
homepage = "https://acme.example/plugins"
contract = "1.0.0"

[[capabilities.http]]
hosts = ["api.acme.example", "{config:/base_url}"]
methods = ["GET", "POST"]
paths = ["/admin/api"]
purpose = "reads orders, writes stock"

[[capabilities.http]]
schemes = ["http", "https"]
hosts = ["*.cdn.acme.example:8443"]
methods = ["GET"]
purpose = "reads exports"

[capabilities.storage]
max-bytes = 65536

[credentials.api]
kind = "api-key-header"
header = "x-api-key"
prefix = "Key "
description = "A key with orders:read"
hosts = ["api.acme.example"]

[credentials.hooks]
kind = "hmac-secret"
description = "The webhook secret"

[[upstream]]
system = "Acme"
api-version = "2026-07"
sunset = 2027-07-01
url = "https://acme.example/versions"

[limits]
memory-mib = 32
deadline-ms = 20000
"#;

fn fails(toml: &str) -> ManifestError {
    Manifest::from_toml(toml).expect_err("the manifest is faulty")
}

fn altered(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replacen(from, to, 1)
}

#[test]
fn toml_and_canonical_json_say_the_same() {
    let manifest = Manifest::from_toml(FULL).unwrap();
    assert_eq!(manifest.upstream[0].sunset, Some(jiff::civil::date(2027, 7, 1)));
    let json = manifest.to_canonical_json();
    assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest);
    assert!(
        json.starts_with(r#"{"authors":["A. Author"],"capabilities":{"http":[{"hosts":["#),
        "{json}"
    );
    assert!(
        json.contains(r#""sunset":"2027-07-01""#) && !json.contains(": "),
        "{json}"
    );

    let quoted = altered("sunset = 2027-07-01", "sunset = \"2027-07-01\"");
    assert_eq!(Manifest::from_toml(&quoted).unwrap().to_canonical_json(), json);
}

#[test]
fn asks_as_grants() {
    let manifest = Manifest::from_toml(FULL).unwrap();
    let grants = manifest
        .capabilities
        .as_grants(&json!({ "base_url": "https://eu.acme.example/api" }))
        .unwrap();
    let hosts: Vec<_> = grants.http.iter().map(|grant| grant.host.as_str()).collect();
    assert_eq!(
        hosts,
        ["api.acme.example", "eu.acme.example", "*.cdn.acme.example:8443"]
    );
    assert_eq!(grants.http[0].schemes, ["https"]);
    assert_eq!(grants.http[1].paths, ["/admin/api"]);
    assert_eq!(grants.http[2].paths, [""; 0]);
    assert_eq!(grants.http[2].schemes, ["http", "https"]);
    assert_eq!(grants.storage.unwrap().max_bytes, 65536);

    let without = manifest.capabilities.as_grants(&json!({})).unwrap();
    assert_eq!(
        without.http.len(),
        2,
        "a configuration without the URL asks for nothing there"
    );
}

#[test]
fn faults_are_shown_where_they_stand() {
    for (from, to, at, says) in [
        ("title =", "titel =", (4, 1), "unknown field `titel`"),
        ("acme/shop-eu", "Acme/Shop", (2, 8), "namespace/name"),
        ("1.4.0-rc.1", "1.4", (3, 11), "unexpected end of input"),
        (
            "\"*.cdn.acme.example:8443\"",
            "\"https://cdn.acme.example\"",
            (19, 9),
            "only the host belongs here",
        ),
        ("\"GET\", \"POST\"", "\"get\"", (13, 12), "unknown variant `get`"),
        ("api-key-header", "api-key", (27, 8), "unknown variant `api-key`"),
        (
            "header = \"x-api-key\"",
            "header = \"Host\"",
            (28, 1),
            "only the host itself may write",
        ),
        (
            "hosts = [\"api.acme.example\"]",
            "hosts = [\"b.example\"]",
            (31, 1),
            "`b.example`, which is not in any",
        ),
        (
            "\"/admin/api\"",
            "\"/admin/../api\"",
            (14, 1),
            "is carried by requests as `/api`",
        ),
        ("max-bytes = 65536", "max-bytes = 0", (24, 1), "at least 1"),
        ("2027-07-01", "\"soon\"", (40, 10), "a date such as"),
        ("memory-mib = 32", "memory-mib = 9999", (44, 1), "1 to 1024"),
        (
            "methods = [\"GET\"]",
            "methods = []",
            (20, 1),
            "no request would ever be allowed",
        ),
    ] {
        let error = fails(&altered(from, to));
        assert!(error.message.contains(says), "{to}: {error}");
        assert_eq!(
            (error.line, error.column),
            (Some(at.0), Some(at.1)),
            "{to}: {error}"
        );
        assert!(
            error
                .to_string()
                .starts_with(&format!("line {}, column {}: ", at.0, at.1)),
            "{error}"
        );
    }
}

#[test]
fn a_missing_field_is_named() {
    assert!(
        fails(&altered("contract = \"1.0.0\"", ""))
            .message
            .contains("missing field `contract`")
    );
    let error = fails(&altered("header = \"x-api-key\"\n", ""));
    assert!(
        error.message.contains("`credentials.api.header` is missing"),
        "{error}"
    );
    assert!(error.line.is_some(), "{error}");
}

#[test]
fn a_credential_needs_somewhere_to_go() {
    let toml = "name = \"a/b\"\nversion = \"1.0.0\"\ntitle = \"B\"\ncontract = \"1.0.0\"\n[credentials.api]\nkind = \"bearer\"\n\
                description = \"d\"\n";
    assert!(fails(toml).message.contains("asks for none"));
    let error = fails(&altered(
        "kind = \"hmac-secret\"",
        "kind = \"hmac-secret\"\nprefix = \"x\"",
    ));
    assert!(
        error.message.contains("goes with kind `api-key-header` only"),
        "{error}"
    );
}

/// The manifest with this in place of the webhook secret.
fn with_credential(text: &str) -> String {
    altered(
        "[credentials.hooks]\nkind = \"hmac-secret\"\ndescription = \"The webhook secret\"",
        &format!("[credentials.hooks]\ndescription = \"d\"\n{text}"),
    )
}

const CODE: &str = r#"kind = "oauth2-authorization-code"
[credentials.hooks.oauth]
token-url = "{config:/base_url}/oauth/token"
authorize-url = "https://login.acme.example/authorize"
scopes = ["orders:read", "stock:write"]
client-auth = "body"
token-params = { audience = "https://api.acme.example" }
authorize-params = { access_type = "offline" }
"#;

const SIGNED: &str = r#"kind = "hmac-request"
[credentials.hooks.signing]
algorithm = "sha256"
encoding = "base64"
message = "{method}\n{path-and-query}\n{timestamp}\n{body-sha256-hex}"
headers = { x-signature = "{signature}", x-time = "{timestamp}", x-key = "{key-id}" }
"#;

#[test]
fn every_kind_of_credential_has_its_fields() {
    for text in [
        "kind = \"api-key-query\"\nquery = \"api_key\"\nmethods = [\"GET\"]\npaths = [\"/v2\"]",
        "kind = \"oauth2-client-credentials\"\noauth = { token-url = \"https://login.acme.example/token\" }",
        "kind = \"oauth2-refresh-token\"\noauth = { token-url = \"https://login.acme.example/token\" }",
        CODE,
        SIGNED,
    ] {
        let manifest =
            Manifest::from_toml(&with_credential(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        let json = manifest.to_canonical_json();
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest, "{text}");
        let kind = manifest.credentials.values().nth(1).unwrap().kind;
        assert!(
            json.contains(&format!("\"kind\":\"{}\"", kind.as_str())),
            "{json}"
        );
    }
}

#[test]
fn faults_of_credentials_say_what_belongs_there() {
    let code = |from: &str, to: &str| {
        assert!(CODE.contains(from), "{from}");
        CODE.replacen(from, to, 1)
    };
    let signed = |from: &str, to: &str| {
        assert!(SIGNED.contains(from), "{from}");
        SIGNED.replacen(from, to, 1)
    };
    for (text, says) in [
        (
            "kind = \"api-key-query\"".to_owned(),
            "`credentials.hooks.query` is missing",
        ),
        (
            "kind = \"bearer\"\nquery = \"k\"".to_owned(),
            "goes with kind `api-key-query` only",
        ),
        (
            "kind = \"api-key-query\"\nquery = \"a b\"".to_owned(),
            "letters, digits",
        ),
        (
            "kind = \"bearer\"\npaths = [\"v2\"]".to_owned(),
            "not the beginning of a path",
        ),
        (
            "kind = \"bearer\"\npaths = [\"/a/../b\"]".to_owned(),
            "not the beginning of a path",
        ),
        (
            "kind = \"bearer\"\nmethods = []".to_owned(),
            "would never be sent",
        ),
        (
            "kind = \"bearer\"\nmethods = [\"DELETE\"]".to_owned(),
            "not in any [[capabilities.http]]",
        ),
        ("kind = \"hmac-secret\"\npaths = [\"/\"]".to_owned(), "never sent"),
        (
            "kind = \"oauth2-client-credentials\"".to_owned(),
            "`credentials.hooks.oauth` is missing",
        ),
        (
            "kind = \"oauth2-client-credentials\"\noauth = {}".to_owned(),
            "missing field `token-url`",
        ),
        (
            "kind = \"oauth2-client-credentials\"\noauth = { token-url = \"http://login.acme.example/\" }"
                .to_owned(),
            "has to be https",
        ),
        (
            code("authorize-url = \"https://login.acme.example/authorize\"\n", ""),
            "where the person is sent",
        ),
        (
            code("authorization-code", "refresh-token"),
            "authorization-code` only",
        ),
        (code("\"orders:read\"", "\"orders read\""), "not a scope"),
        (code("audience", "grant_type"), "which the host sets by itself"),
        (signed("{timestamp}", "{time}"), "no word `{time}`"),
        (signed("{timestamp}", "{timestamp"), "brace"),
        (
            signed("x-signature = \"{signature}\"", "x-a = \"b\""),
            "one of them with `{signature}`",
        ),
        (signed("{method}", "{signature}"), "it belongs into `headers`"),
        (signed("x-key", "host"), "only the host itself may write"),
        (signed("\"{key-id}\"", "\"{body}\""), "no header can carry a body"),
        (
            signed("hmac-request", "hmac-secret"),
            "goes with kind `hmac-request` only",
        ),
    ] {
        let error = fails(&with_credential(&text));
        assert!(error.message.contains(says), "{text}\n{error}");
        assert!(error.line.is_some(), "{error}");
    }
}

#[test]
fn the_published_schema_knows_every_field() {
    let schema = serde_json::to_value(Manifest::json_schema()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let manifest = serde_json::to_value(Manifest::from_toml(FULL).unwrap()).unwrap();
    for field in manifest.as_object().unwrap().keys() {
        assert!(properties.contains_key(field), "{field} is not in {schema:#}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(
        schema["required"],
        json!(["name", "version", "title", "contract"])
    );
}

#[test]
fn a_secret_for_signatures_can_say_how_it_is_read() {
    let hooks = "kind = \"hmac-secret\"\n";
    let with_key = altered(hooks, "kind = \"hmac-secret\"\nkey = \"standard-webhooks\"\n");
    let manifest = Manifest::from_toml(&with_key).unwrap();
    assert_eq!(
        manifest.credentials[&"hooks".parse().unwrap()].key,
        Some(KeyEncoding::StandardWebhooks)
    );
    let elsewhere = altered(
        "header = \"x-api-key\"\n",
        "header = \"x-api-key\"\nkey = \"hex\"\n",
    );
    assert!(fails(&elsewhere).to_string().contains("hmac-secret"));
}

#[test]
fn blobs_are_asked_for_by_plugins_of_a_contract_that_has_them() {
    let asking = |contract: &str, blobs: &str| {
        altered("contract = \"1.0.0\"", &format!("contract = \"{contract}\"")).replace(
            "[capabilities.storage]",
            &format!("[capabilities.blobs]\n{blobs}\n[capabilities.storage]"),
        )
    };
    let manifest = Manifest::from_toml(&asking("1.1.0", "max-bytes = 1000")).unwrap();
    assert_eq!(
        Manifest::from_json(manifest.to_canonical_json().as_bytes()).unwrap(),
        manifest
    );
    let blobs = manifest
        .capabilities
        .as_grants(&json!({}))
        .unwrap()
        .blobs
        .unwrap();
    assert_eq!((blobs.max_bytes, blobs.max_blob_bytes), (1_000, 128 << 20));
    for (contract, blobs, says) in [
        ("1.1.0", "max-bytes = 0", "no room for a blob"),
        (
            "1.1.0",
            "max-bytes = 10\nmax-blob-bytes = 0",
            "no room for a blob",
        ),
        ("1.1.0", "", "missing field `max-bytes`"),
        ("1.0.0", "max-bytes = 10", "came with contract 1.1.0"),
    ] {
        let error = fails(&asking(contract, blobs));
        assert!(
            error.to_string().contains(says) && error.line.is_some(),
            "{blobs}: {error}"
        );
    }
}
