//! `plugin.toml` and the manifest inside of a component.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, that is how a broken assumption shows"
)]

use stecker_fuzz::Campaign;
use stecker_registry::Manifest;

const WORDS: &[&str] = &[
    "name = ",
    "version = ",
    "contract = ",
    "[[capabilities.http]]\n",
    "hosts = [",
    "\"*.acme.example\"",
    "\"{config:/base_url}\"",
    "methods = [\"GET\"]",
    "paths = [\"/admin\"]",
    "schemes = [\"http\"]",
    "purpose = ",
    "[capabilities.storage]\n",
    "max-bytes = ",
    "[credentials.api]\n",
    "kind = ",
    "\"bearer\"",
    "\"hmac-secret\"",
    "header = ",
    "[[upstream]]\n",
    "sunset = 2027-01-31",
    "sunset = \"none\"",
    "idempotency-header = ",
    "[[breaking]]\n",
    "message = ",
    "deadline = 2027-01-31",
    "[limits]\n",
    "memory-mib = ",
    "deadline-ms = ",
    "1.0.0",
    "\"\"\"",
    "'''",
    "{",
    "}",
    "[",
    "]",
    "\\u0000",
    "99999999999999999999",
    "-1",
    "1e309",
    "\u{0}",
    "\u{202e}",
    "\u{feff}",
];

/// Whatever is written into it: an error or a manifest, and a manifest survives the way into the component and back.
#[test]
fn what_is_taken_is_the_same_after_a_round_trip() {
    Campaign::new("manifest")
        .unwrap()
        .dictionary(WORDS)
        .run(|bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else {
                assert!(Manifest::from_json(bytes).is_err());
                return;
            };
            if let Ok(manifest) = Manifest::from_toml(text) {
                let json = manifest.to_canonical_json();
                let again =
                    Manifest::from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{json}"));
                assert_eq!(again, manifest);
                assert_eq!(again.to_canonical_json(), json);
            }
            if let Ok(manifest) = Manifest::from_json(bytes) {
                assert_eq!(
                    Manifest::from_json(manifest.to_canonical_json().as_bytes()).unwrap(),
                    manifest
                );
            }
        })
        .unwrap();
}
