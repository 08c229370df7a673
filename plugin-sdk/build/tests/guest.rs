//! Builds a real guest, from nothing but the WIT text of the contract. Left out, with a message, where no toolchain for guests can be had
//! without changing the machine's rustup.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::{fs, path::Path, sync::LazyLock};

use stecker_build::{BuildError, BuildRequest, Finder, GuestToolchain, build_plugins};
use stecker_registry::{Kind, Role, inspect, section};

static TOOLCHAIN: LazyLock<Option<GuestToolchain>> = LazyLock::new(|| {
    let finder = Finder {
        may_use_rustup: false,
        ..Finder::default()
    };
    match finder.find_or_make(&|step| println!("{step}")) {
        Ok(toolchain) => Some(toolchain),
        Err(error) => {
            println!("LEFT OUT: {error}");
            None
        }
    }
});

const SOURCE: &str = r#"
wit_bindgen::generate!({ path: "wit", world: "local:guest/w", generate_all, inline: "
    package local:guest;
    world w {
        include stecker:plugin/host-imports@1.0.0;
        export stecker:plugin/meta@1.0.0;
        export stecker:plugin/transform@1.0.0;
    }" });

use exports::stecker::plugin::{meta, transform::{self, Error, Record, Transformed}};

struct Guest;

impl meta::Guest for Guest {
    fn describe() -> String { "{}".to_owned() }
}

impl transform::Guest for Guest {
    fn apply(_config: String, batch: Vec<Record>) -> Result<Vec<Transformed>, Error> {
        assert!(batch.len() < 10_000, "a panic message names this file");
        stecker::plugin::log::write(stecker::plugin::log::Level::Debug, "applied", &[]);
        Ok(batch.into_iter().map(|record| Transformed::Emit(vec![record])).collect())
    }
}

export!(Guest);
"#;

const MANIFEST: &str =
    "name = \"acme/as-is\"\nversion = \"0.3.0\"\ntitle = \"As is\"\ncontract = \"1.0.0\"\n";

/// A stand-alone plugin, as an author has one.
fn folder(source: &str, manifest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cargo = "[package]\nname = \"as-is\"\nversion = \"0.3.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n\
                 [dependencies]\nwit-bindgen = { version = \"0.61\", default-features = false, features = [\"macros\", \"realloc\"] }\n\
                 [profile.release]\nlto = true\nopt-level = \"s\"\ndebug = true\n[workspace]\n";
    fs::write(dir.path().join("Cargo.toml"), cargo).unwrap();
    fs::write(dir.path().join("plugin.toml"), manifest).unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("src/lib.rs"), source).unwrap();
    fs::create_dir(dir.path().join("wit")).unwrap();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/1.0.0");
    for file in fs::read_dir(contract).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join("wit").join(file.file_name())).unwrap();
    }
    dir
}

/// One target folder for all: what the guests depend on is compiled once, and not again in the next run.
fn request(dir: &Path) -> BuildRequest {
    BuildRequest {
        workspace_dir: dir.to_owned(),
        target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest")),
        out_dir: Some(dir.join("out")),
        ..BuildRequest::default()
    }
}

#[test]
fn a_guest_becomes_a_release() {
    let Some(toolchain) = &*TOOLCHAIN else { return };
    let dir = folder(SOURCE, MANIFEST);
    let built = build_plugins(toolchain, &request(dir.path()), &|step| println!("{step}")).unwrap();
    assert_eq!(built.len(), 1);
    let plugin = &built[0];
    assert_eq!(plugin.name.as_str(), "acme/as-is");
    assert_eq!(plugin.path, dir.path().join("out/acme-as-is-0.3.0.wasm"));
    let bytes = fs::read(&plugin.path).unwrap();
    assert_eq!(inspect(&bytes).unwrap(), plugin.inspection);
    assert_eq!(
        plugin.inspection.roles.iter().copied().collect::<Vec<_>>(),
        [Role::Meta, Role::Transform]
    );
    assert_eq!(plugin.inspection.kind(), Some(Kind::Transform));
    assert!(
        plugin
            .inspection
            .imports
            .iter()
            .all(|import| import.starts_with("stecker:plugin/"))
    );
    assert!(
        bytes.len() < 200_000,
        "{} bytes: debug information was left in",
        bytes.len()
    );

    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("apply"), "function names are kept for backtraces");
    assert!(!holds(".debug_info"), "debug information is removed");
    for path in [
        dir.path().to_str().unwrap(),
        env!("CARGO_MANIFEST_DIR"),
        "/.cargo/",
        "guest-toolchain",
    ] {
        assert!(!holds(path), "the path {path} of this machine is in the plugin");
    }
    let again = build_plugins(toolchain, &request(dir.path()), &|_| {}).unwrap();
    assert_eq!(again[0].inspection.digest, plugin.inspection.digest);

    // The same source elsewhere.
    let other = folder(SOURCE, MANIFEST);
    let elsewhere = build_plugins(toolchain, &request(other.path()), &|_| {}).unwrap();
    assert_eq!(elsewhere[0].inspection.digest, plugin.inspection.digest);
    assert!(section::sections(&bytes).is_ok());
}

#[test]
fn what_is_wrong_with_a_plugin_is_shown_and_nothing_is_written() {
    let Some(toolchain) = &*TOOLCHAIN else { return };
    let fails = |dir: &Path, plugins: &[&str]| {
        let asked = plugins.iter().map(|name| (*name).to_owned()).collect();
        let result = build_plugins(
            toolchain,
            &BuildRequest {
                plugins: asked,
                ..request(dir)
            },
            &|_| {},
        );
        assert!(!dir.join("out").exists());
        result.expect_err("the build fails")
    };

    let broken = folder(&SOURCE.replace("\"{}\".to_owned()", "\"{}\""), MANIFEST);
    let text = fails(broken.path(), &[]).to_string();
    assert!(
        text.contains("error[E0308]: mismatched types") && text.contains("src/lib.rs"),
        "{text}"
    );

    let faulty = folder(SOURCE, &MANIFEST.replace("title", "titel"));
    let text = fails(faulty.path(), &[]).to_string();
    assert!(
        text.contains("plugin.toml: line 3, column 1: unknown field `titel`"),
        "{text}"
    );

    let good = folder(SOURCE, MANIFEST);
    let text = fails(good.path(), &["shop"]).to_string();
    assert_eq!(text, "there is no plugin `shop` here; there are: acme/as-is");

    let plain = folder("#[unsafe(no_mangle)] pub extern \"C\" fn run() {}", MANIFEST);
    assert!(matches!(
        fails(plain.path(), &["as-is"]),
        BuildError::Encode { .. } | BuildError::Refused { .. }
    ));
}

#[test]
fn without_a_way_to_a_toolchain_all_that_was_tried_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let finder = Finder {
        cache_dir: Some(empty.path().to_owned()),
        may_use_rustup: false,
        may_download: false,
    };
    match finder.find_or_make(&|_| {}) {
        Ok(toolchain) => assert_eq!(toolchain.origin, stecker_build::Origin::Installed),
        Err(error) => {
            let text = error.to_string();
            for part in [
                "lacks the target wasm32-unknown-unknown",
                "rustup: not allowed",
                "downloading is not allowed",
                "rustup target add",
            ] {
                assert!(text.contains(part), "{part} is not in: {text}");
            }
        }
    }
}

/// A plugin over the SDK that sends a request; `SEND` is how.
const OVER_THE_SDK: &str = r#"
use stecker_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Config {
    base_url: String,
}

struct Shop(Client);

impl Plugin for Shop {
    type Config = Config;
    fn describe() -> Description { Description::new("Shop") }
    fn open(config: Config) -> Result<Self> { Ok(Self(Client::new(config.base_url))) }
}

impl Source for Shop {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        let file = SEND;
        Ok(Page::new(vec![Record::upsert("files", "1", "1", &file)?]).resume_where(request))
    }
}

stecker_sdk::export_plugin!(Shop: source);
"#;

/// Blobs came with 1.1.0, and a plugin that does without them goes on running on every host.
#[test]
fn a_plugin_over_the_sdk_names_the_contract_that_it_needs() {
    let Some(toolchain) = &*TOOLCHAIN else { return };
    for (contract, features, send, uses_blobs) in [
        (
            "1.0.0",
            "[]",
            "self.0.get(\"/file\").send()?.error_for_status()?.body",
            false,
        ),
        (
            "1.1.0",
            "[\"blobs\"]",
            "self.0.get(\"/file\").into_blob(1 << 20).send()?.success()?.1",
            true,
        ),
    ] {
        let manifest = MANIFEST.replace("1.0.0", contract);
        let dir = folder(&OVER_THE_SDK.replace("SEND", send), &manifest);
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rust");
        let cargo = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
        let (start, end) = cargo.split_once("[dependencies]\n").unwrap();
        let end = end.split_once('\n').unwrap().1;
        let dependencies = format!(
            "stecker-sdk = {{ path = {:?}, features = {features} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\nschemars = \"1\"\n",
            sdk.canonicalize().unwrap()
        );
        fs::write(
            dir.path().join("Cargo.toml"),
            format!("{start}[dependencies]\n{dependencies}{end}"),
        )
        .unwrap();
        let built = build_plugins(toolchain, &request(dir.path()), &|step| println!("{step}"));
        let inspection = built.unwrap().remove(0).inspection;
        assert_eq!(inspection.contract.to_string(), contract);
        let imports_blobs = inspection
            .imports
            .iter()
            .any(|import| import.contains("blobs@1.1.0"));
        assert_eq!(imports_blobs, uses_blobs, "{:?}", inspection.imports);
        let is_of_the_first = inspection.imports.iter().all(|import| import.ends_with("@1.0.0"));
        assert_eq!(is_of_the_first, !uses_blobs, "{:?}", inspection.imports);
    }
}
