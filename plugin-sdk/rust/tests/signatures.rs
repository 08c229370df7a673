//! The schemes that vendors sign with: what is genuine, what is forged, what is replayed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests may do what tests may"
)]

use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use stecker_sdk::Verdict;
use stecker_sdk::crypto;
use stecker_sdk::prelude::{
    Description, Plugin, RawRequest, Received, Record, Result, Webhook, source_version,
};
use stecker_sdk::signature::{self, Check, GITHUB, HmacHeader, SHOPIFY, SHOPWARE, WOOCOMMERCE};
use stecker_sdk::testing::{Harness, TestHost, WebhookCall};

/// The vector that the reference libraries of Standard Webhooks test themselves with.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: &str = "1614265330";
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// A host at the vector's time, with its secret as the host reads it.
fn host() -> TestHost {
    let host = TestHost::new();
    host.set_clock("2021-02-25T15:02:10Z");
    host.secret("webhook", crypto::from_base64(SECRET).unwrap());
    host
}

fn standard(id: &str, time: &str, signature: &str, body: &str) -> RawRequest {
    WebhookCall::bytes(body)
        .header("webhook-id", id)
        .header("webhook-timestamp", time)
        .header("webhook-signature", signature)
        .into_request()
}

fn check(request: &RawRequest) -> Check<signature::Signed> {
    signature::standard_webhooks(request, "webhook").unwrap()
}

fn reason<S: std::fmt::Debug>(check: Check<S>) -> String {
    match check {
        Check::Refused(reason) => reason,
        Check::Genuine(signed) => panic!("taken for genuine: {signed:?}"),
    }
}

#[test]
fn the_published_vector_of_standard_webhooks_is_genuine() {
    let _host = host();
    let Check::Genuine(signed) = check(&standard(ID, TIME, SIGNATURE, BODY)) else {
        panic!("refused");
    };
    assert_eq!((signed.id.as_str(), signed.sent_at), (ID, 1_614_265_330));
}

#[test]
fn one_fitting_signature_of_several_is_enough() {
    let _host = host();
    let other = format!("v1,{}", crypto::to_base64(&[7; 32]));
    for signatures in [
        format!("{other} {SIGNATURE}"),
        format!("{SIGNATURE} {other}"),
        format!("v1a,whatever v2,{} {SIGNATURE}", crypto::to_base64(b"x")),
        format!("nonsense v1,!!! {SIGNATURE}"),
    ] {
        assert!(
            check(&standard(ID, TIME, &signatures, BODY)).is_genuine(),
            "{signatures}"
        );
    }
    let flood = format!("{} {SIGNATURE}", vec![other.as_str(); 16].join(" "));
    assert!(
        !check(&standard(ID, TIME, &flood, BODY)).is_genuine(),
        "a bounded number is looked at"
    );
}

#[test]
fn whatever_is_signed_cannot_be_altered() {
    let _host = host();
    let tag = SIGNATURE.strip_prefix("v1,").unwrap();
    for (altered, request) in [
        ("body", standard(ID, TIME, SIGNATURE, r#"{"test": 2432232315}"#)),
        ("id", standard("msg_other", TIME, SIGNATURE, BODY)),
        ("time", standard(ID, "1614265331", SIGNATURE, BODY)),
        (
            "spelling of the time",
            standard(ID, "01614265330", SIGNATURE, BODY),
        ),
        ("version", standard(ID, TIME, &format!("v2,{tag}"), BODY)),
        ("signature", standard(ID, TIME, "v1,g0hM9SsE", BODY)),
        ("no signature", standard(ID, TIME, "", BODY)),
    ] {
        assert!(!check(&request).is_genuine(), "{altered}");
    }
    for (id, time) in [
        ("", TIME),
        (ID, ""),
        (ID, "soon"),
        (ID, "-5"),
        (ID, "+1614265330"),
        ("a.1", TIME),
    ] {
        let _ = reason(check(&standard(id, time, SIGNATURE, BODY)));
    }
}

#[test]
fn a_recorded_call_is_of_no_use_later_or_earlier() {
    let host = host();
    let request = standard(ID, TIME, SIGNATURE, BODY);
    host.advance(Duration::from_secs(300));
    assert!(check(&request).is_genuine());
    host.advance(Duration::from_secs(1));
    assert!(reason(check(&request)).contains("5 minutes"));
    host.set_clock("2021-02-25T14:57:10Z");
    assert!(check(&request).is_genuine());
    host.set_clock("2021-02-25T14:57:09Z");
    assert!(reason(check(&request)).contains("5 minutes"));
}

#[test]
fn stripe_signs_time_and_body_and_takes_any_v1() {
    let host = TestHost::new();
    host.set_clock("2026-01-01T12:00:00Z");
    let secret = "whsec_generated-for-this-test";
    host.secret("webhook", secret);
    let time = "1767268800";
    let call = |header_of: &dyn Fn(&str) -> String| {
        WebhookCall::bytes(r#"{"id":"evt_1"}"#)
            .signed(
                "Stripe-Signature",
                secret.as_bytes(),
                |body| [time.as_bytes(), b".", body].concat(),
                |tag| header_of(&crypto::to_hex(tag)),
            )
            .into_request()
    };
    let check = |request: &RawRequest| signature::stripe(request, "webhook").unwrap();
    let usual = call(&|tag| {
        format!("t={time},v1={tag},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39")
    });
    assert_eq!(check(&usual), Check::Genuine(1_767_268_800));
    let zeros = "0".repeat(64);
    assert!(check(&call(&|tag| format!("t={time}, v1={zeros}, v1={tag}"))).is_genuine());
    for forged in [
        call(&|tag| format!("t=1767268801,v1={tag}")),
        call(&|tag| format!("v1={tag}")),
        call(&|tag| format!("t={time},v0={tag}")),
        call(&|_| format!("t={time},v1={zeros}")),
        call(&|_| String::new()),
        WebhookCall::bytes("{}").into_request(),
    ] {
        assert!(!check(&forged).is_genuine(), "{forged:?}");
    }
    host.advance(Duration::from_secs(301));
    assert!(reason(check(&usual)).contains("5 minutes"));
}

#[test]
fn one_header_with_the_signature_of_the_body() {
    let host = TestHost::new();
    host.secret("webhook", "It's a Secret to Everybody");
    // The example of GitHub's documentation.
    let github = WebhookCall::bytes("Hello, World!")
        .header(
            "X-Hub-Signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )
        .into_request();
    assert!(GITHUB.check(&github, "webhook").unwrap().is_genuine());
    for (scheme, header_of) in [
        (SHOPIFY, crypto::to_base64 as fn(&[u8]) -> String),
        (WOOCOMMERCE, crypto::to_base64),
        (SHOPWARE, crypto::to_hex),
        (SHOPWARE, |tag| crypto::to_hex(tag).to_uppercase()),
    ] {
        let HmacHeader { header, .. } = scheme;
        let call = WebhookCall::bytes(vec![0xff, 0xfe, b'{']).signed(
            header,
            b"It's a Secret to Everybody",
            <[u8]>::to_vec,
            header_of,
        );
        let genuine = call.clone().into_request();
        assert!(
            scheme.check(&genuine, "webhook").unwrap().is_genuine(),
            "{header}"
        );
        let tampered = call.tampered("else").into_request();
        assert!(
            !scheme.check(&tampered, "webhook").unwrap().is_genuine(),
            "{header}"
        );
        let bare = WebhookCall::bytes("{}").into_request();
        assert!(reason(scheme.check(&bare, "webhook").unwrap()).contains(header));
        let garbled = WebhookCall::bytes("{}").header(header, "%%%").into_request();
        assert!(reason(scheme.check(&garbled, "webhook").unwrap()).contains("not written"));
    }
    let without_prefix = WebhookCall::bytes("Hello, World!")
        .header(
            "x-hub-signature-256",
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )
        .into_request();
    assert!(!GITHUB.check(&without_prefix, "webhook").unwrap().is_genuine());
}

#[test]
fn a_secret_that_is_not_there_is_an_error_and_no_refusal() {
    let _host = host();
    let error = signature::standard_webhooks(&standard(ID, TIME, SIGNATURE, BODY), "other").unwrap_err();
    assert_eq!(error.code(), "denied");
}

proptest! {
    #[test]
    fn no_header_makes_it_panic_or_take_what_is_not_signed(
        id in "\\PC{0,40}", time in "[0-9]{0,25}|\\PC{0,10}", signatures in "\\PC{0,80}", body in "\\PC{0,40}",
    ) {
        let _host = host();
        prop_assert!(!check(&standard(&id, &time, &signatures, &body)).is_genuine());
        let stripe = WebhookCall::bytes(body).header("stripe-signature", signatures).into_request();
        prop_assert!(!signature::stripe(&stripe, "webhook").unwrap().is_genuine());
    }
}

/// Signs with the library that the authors of the standard publish for Python.
const SIGN: &str = r#"
import sys
from datetime import datetime, timezone
from standardwebhooks.webhooks import Webhook
secret, message, seconds, body = sys.argv[1:]
print(Webhook(secret).sign(message, datetime.fromtimestamp(int(seconds), tz=timezone.utc), body))
"#;

#[test]
fn what_the_reference_library_signs_is_genuine() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--target",
        ])
        .arg(folder.path())
        .arg("standardwebhooks==1.1.0")
        .output();
    match installed {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return eprintln!(
                "skipped: pip cannot install standardwebhooks: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => return eprintln!("skipped: there is no python3 with pip: {error}"),
    }
    let _host = host();
    for body in [BODY, "", "{\"name\":\"Zoë 🛒\"}", "no json at all"] {
        let output = Command::new("python3")
            .env("PYTHONPATH", folder.path())
            .args(["-c", SIGN, &format!("whsec_{SECRET}"), ID, TIME, body])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let signature = String::from_utf8(output.stdout).unwrap();
        assert!(
            check(&standard(ID, TIME, signature.trim(), body)).is_genuine(),
            "{body}"
        );
    }
}

/// A connector as its author would write it.
struct Hooks;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct HooksConfig {}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    id: u64,
    version: u64,
}

impl Plugin for Hooks {
    type Config = HooksConfig;

    fn describe() -> Description {
        Description::new("Hooks").credential("webhook", "hmac-secret", "The secret, as it was shown")
    }

    fn open(_: HooksConfig) -> Result<Self> {
        Ok(Self)
    }
}

impl Webhook for Hooks {
    fn receive(&self, request: &RawRequest) -> Result<Received> {
        let signed = match signature::standard_webhooks(request, "webhook")? {
            Check::Genuine(signed) => signed,
            Check::Refused(reason) => return Ok(Received::refuse(reason)),
        };
        let order: Order = request.json()?;
        let version = source_version::counter(order.version);
        let record = Record::upsert("orders", order.id.to_string(), version, &order)?;
        Ok(Received::accept(signed.id, vec![record]))
    }
}

#[test]
fn a_connector_takes_what_is_genuine_once_and_refuses_the_rest() {
    let key = crypto::from_base64(SECRET).unwrap();
    let hooks = Harness::<Hooks>::new(serde_json::json!({}))
        .at("2021-02-25T15:02:10Z")
        .secret("webhook", key.clone());
    let call = |body: &str| {
        WebhookCall::bytes(body)
            .header("webhook-id", ID)
            .header("webhook-timestamp", TIME)
            .signed(
                "webhook-signature",
                &key,
                |body| [ID.as_bytes(), b".", TIME.as_bytes(), b".", body].concat(),
                |tag| format!("v1,{}", crypto::to_base64(tag)),
            )
    };
    let taken = hooks.receive(call(r#"{"id":1,"version":7}"#)).unwrap();
    assert_eq!(
        (taken.verdict, taken.event_id.as_deref()),
        (Verdict::Accept, Some(ID))
    );
    assert_eq!(taken.records[0].key, "1");
    let forged = call(r#"{"id":1,"version":7}"#).tampered(r#"{"id":1,"version":8}"#);
    assert_eq!(hooks.receive(forged).unwrap().verdict, Verdict::Refuse);
    hooks.host().advance(Duration::from_secs(301));
    let replayed = hooks.receive(call(r#"{"id":1,"version":7}"#)).unwrap();
    assert_eq!(replayed.verdict, Verdict::Refuse);
    assert!(replayed.reason.unwrap().contains("5 minutes"));
}
