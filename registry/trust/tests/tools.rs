//! Signatures that go to other tools and come from them: securesystemslib (Python) for envelopes, Sigstore's own JavaScript for bundles, openssl
//! for keys. Each is skipped, and says so, where its tool is not installed:
//!
//! - `STECKER_TEST_PYTHON`: a Python with `securesystemslib[crypto]` (`python3` unless set);
//! - `NODE_PATH`: a `node_modules` with `@sigstore/bundle`, `@sigstore/verify` and `@sigstore/sign`;
//! - `openssl`, 3.0 or later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "in a test, that is how a broken assumption shows, and how a skipped one does"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use stecker_trust::{
    Algorithm, Bundle, Coverage, Envelope, PublicKey, ReleaseSubject, SecretKey, bundle::Content,
    statement::PAYLOAD_TYPE,
};
use tempfile::TempDir;

const COMPONENT: &[u8] = b"\0asm and so on";
const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::EcdsaP256];

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(name)
}

fn python() -> String {
    env::var("STECKER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether the tool answers; otherwise the test is skipped.
fn is_there(program: &str, args: &[&str]) -> bool {
    let found = Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: `{program} {}` does not work here", args.join(" "));
    }
    found
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the tool starts, since it did before")
}

/// The tool has to agree.
fn must(command: &mut Command) {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn subject() -> ReleaseSubject {
    let digest = |bytes: &[u8]| {
        use sha2::Digest as _;
        format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
            .parse()
            .unwrap()
    };
    ReleaseSubject {
        name: "acme/shop".parse().unwrap(),
        version: "1.4.0".parse().unwrap(),
        component: digest(COMPONENT),
        manifest: digest(b"{}"),
        image: None,
    }
}

fn write(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn envelopes_go_to_securesystemslib_and_come_from_it() {
    let python = python();
    if !is_there(&python, &["-c", "import securesystemslib.dsse, cryptography"]) {
        return;
    }
    for algorithm in BOTH {
        let folder = TempDir::new().unwrap();
        let key = SecretKey::generate(algorithm).unwrap();
        let public = write(&folder, "key.pub", key.public().to_pem().as_bytes());
        let private = write(&folder, "key.pem", key.to_pem().unwrap().as_bytes());
        let mut envelope = Envelope::sign("a/b", b"payload".to_vec(), &[&key]);
        let ours = write(&folder, "ours.json", envelope.to_json().as_bytes());
        let verify = |file: &Path| {
            let mut command = Command::new(&python);
            command
                .arg(script("envelope.py"))
                .arg("verify")
                .arg(&public)
                .arg(file);
            command
        };
        must(&mut verify(&ours));
        envelope.payload.push(b'!');
        let altered = write(&folder, "altered.json", envelope.to_json().as_bytes());
        assert!(
            !run(&mut verify(&altered)).status.success(),
            "it verifies anything"
        );

        let theirs = folder.path().join("theirs.json");
        must(
            Command::new(&python)
                .arg(script("envelope.py"))
                .arg("sign")
                .arg(&private)
                .arg(&theirs),
        );
        let read = Envelope::from_json(&fs::read(&theirs).unwrap(), 1 << 20).unwrap();
        assert_eq!(read.payload, b"made elsewhere");
        assert_eq!(
            read.signers("c/d", [key.public()]).unwrap().len(),
            1,
            "{algorithm}"
        );
    }
}

#[test]
fn bundles_go_to_sigstore_and_come_from_it() {
    let needed = "require('@sigstore/bundle'); require('@sigstore/verify'); require('@sigstore/sign')";
    if !is_there("node", &["-e", needed]) {
        return;
    }
    for algorithm in BOTH {
        let folder = TempDir::new().unwrap();
        let key = SecretKey::generate(algorithm).unwrap();
        let public = write(&folder, "key.pub", key.public().to_pem().as_bytes());
        let private = write(&folder, "key.pem", key.to_pem().unwrap().as_bytes());
        let component = write(&folder, "component.wasm", COMPONENT);
        let verify = |file: &Path| {
            let mut command = Command::new("node");
            command
                .arg(script("bundle.cjs"))
                .arg("verify")
                .arg(&public)
                .arg(file)
                .arg(&component);
            command
        };
        let signed_at = "2026-06-01T12:00:00Z".parse().unwrap();
        let bundle = Bundle::sign(&subject(), &key, signed_at);
        must(&mut verify(&write(
            &folder,
            "ours.json",
            bundle.to_json().as_bytes(),
        )));
        let over_the_file = Bundle {
            hint: key.public().id().hint(),
            content: Content::Message {
                digest: Some(hex::decode(subject().component.hex()).unwrap()),
                signature: key.sign(COMPONENT),
            },
        };
        // Sigstore's own client hashes before it verifies, which no Ed25519 key does.
        if algorithm == Algorithm::EcdsaP256 {
            must(&mut verify(&write(
                &folder,
                "file.json",
                over_the_file.to_json().as_bytes(),
            )));
        }
        let stranger = SecretKey::generate(algorithm).unwrap();
        let mut forged = Bundle::sign(&subject(), &stranger, signed_at);
        forged.hint = key.public().id().hint();
        let forged = write(&folder, "forged.json", forged.to_json().as_bytes());
        assert!(
            !run(&mut verify(&forged)).status.success(),
            "it verifies anything"
        );

        let statement = write(&folder, "statement.json", &subject().statement(signed_at));
        let theirs = folder.path().join("theirs.json");
        for (kind, file, expected) in [
            ("statement", &statement, Coverage::Release),
            ("file", &component, Coverage::Component),
        ] {
            let mut command = Command::new("node");
            command
                .arg(script("bundle.cjs"))
                .arg(kind)
                .arg(&private)
                .arg(file)
                .arg(&theirs)
                .arg(PAYLOAD_TYPE);
            must(&mut command);
            let read = Bundle::from_json(&fs::read(&theirs).unwrap()).unwrap();
            assert_eq!(
                read.verify(&subject(), Some(COMPONENT), key.public()),
                Ok(expected),
                "{algorithm} {kind}"
            );
        }
    }
}

#[test]
fn keys_and_signatures_go_to_openssl_and_come_from_it() {
    if !is_there("openssl", &["pkeyutl", "-help"]) {
        return;
    }
    for (algorithm, kind) in [
        (Algorithm::Ed25519, &["-algorithm", "ed25519"] as &[&str]),
        (
            Algorithm::EcdsaP256,
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name);
        must(
            Command::new("openssl")
                .arg("genpkey")
                .args(kind)
                .arg("-out")
                .arg(file("key.pem")),
        );
        must(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-in"])
                .arg(file("key.pem"))
                .arg("-out")
                .arg(file("key.pub")),
        );
        let secret = SecretKey::from_pem(&fs::read_to_string(file("key.pem")).unwrap()).unwrap();
        let public = PublicKey::from_pem(&fs::read_to_string(file("key.pub")).unwrap()).unwrap();
        assert_eq!(secret.public(), &public);
        assert_eq!(public.algorithm(), algorithm);
        write(&folder, "message", b"message");
        write(&folder, "ours", &secret.sign(b"message"));
        let openssl = |verb: &str| {
            let mut command = Command::new("openssl");
            command
                .arg("pkeyutl")
                .arg(verb)
                .arg("-rawin")
                .arg("-in")
                .arg(file("message"));
            if algorithm == Algorithm::EcdsaP256 {
                command.args(["-digest", "sha256"]);
            }
            command
        };
        must(
            openssl("-verify")
                .arg("-pubin")
                .arg("-inkey")
                .arg(file("key.pub"))
                .arg("-sigfile")
                .arg(file("ours")),
        );
        must(
            openssl("-sign")
                .arg("-inkey")
                .arg(file("key.pem"))
                .arg("-out")
                .arg(file("theirs")),
        );
        assert!(public.verifies(b"message", &fs::read(file("theirs")).unwrap()));
    }
}
