//! What is taken as a plugin, what is refused, and with which words. The components are made from the contract's own WIT text, so they have
//! the very types that a real toolchain would give them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use stecker_registry::{
    InspectError, InspectLimits, Kind, Manifest, Role, component::MANIFEST_SECTION, embed_manifest, inspect,
    inspect_with, section,
};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// The contract's WIT, put together as one nested package of a text, with its version exchanged. Versions that are not there have what 1.0.0
/// has.
fn contract(version: &str) -> String {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let own = wit.join(version);
    contract_of(if own.is_dir() { own } else { wit.join("1.0.0") }, version)
}

fn contract_of(folder: PathBuf, version: &str) -> String {
    let mut text = format!("package stecker:plugin@{version} {{\n");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wit") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        text.extend(
            source
                .lines()
                .filter(|line| !line.starts_with("package "))
                .map(|line| format!("{line}\n")),
        );
    }
    text + "}\n"
}

/// The module and the component of a world, whose functions do nothing.
fn build(wit: &str, world: &str) -> (Vec<u8>, Vec<u8>) {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str(
            "guest.wit",
            &format!("package local:guest;\nworld w {{ {world} }}\n{wit}"),
        )
        .unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap();
    (module, component)
}

fn component(wit: &str, world: &str) -> Vec<u8> {
    build(wit, world).1
}

fn manifest() -> Manifest {
    Manifest::from_toml("name = \"acme/shop\"\nversion = \"1.2.3\"\ntitle = \"Shop\"\ncontract = \"1.0.0\"")
        .unwrap()
}

const CONNECTOR: &str = "include stecker:plugin/host-imports@1.0.0; export stecker:plugin/meta@1.0.0; \
                         export stecker:plugin/source@1.0.0; export stecker:plugin/connection@1.0.0;";

fn plugin(wit: &str, world: &str) -> Vec<u8> {
    embed_manifest(&component(wit, world), &manifest()).unwrap()
}

fn refused(bytes: &[u8]) -> InspectError {
    inspect(bytes).expect_err("the file is refused")
}

#[test]
fn roles_imports_and_manifest_are_read() {
    let bytes = plugin(&contract("1.0.0"), CONNECTOR);
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(
        inspection.roles.iter().copied().collect::<Vec<_>>(),
        [Role::Meta, Role::Connection, Role::Source]
    );
    assert_eq!(inspection.kind(), Some(Kind::Connector));
    assert_eq!(inspection.contract.to_string(), "1.0.0");
    assert_eq!(inspection.manifest, manifest());
    assert_eq!(inspection.size, bytes.len() as u64);
    for import in ["http", "storage", "crypto", "log", "clock", "random", "types"] {
        let name = format!("stecker:plugin/{import}@1.0.0");
        assert!(
            inspection.imports.contains(&name),
            "{name} is not in {:?}",
            inspection.imports
        );
    }
    let json = serde_json::to_string(&inspection).unwrap();
    assert_eq!(
        serde_json::from_str::<stecker_registry::Inspection>(&json).unwrap(),
        inspection
    );
}

#[test]
fn an_embedded_manifest_replaces_the_one_before() {
    let first = plugin(&contract("1.0.0"), CONNECTOR);
    let again = embed_manifest(&first, &manifest()).unwrap();
    assert_eq!(first, again, "the same manifest gives the same bytes");
    let mut other = manifest();
    other.version = "2.0.0".parse().unwrap();
    let second = embed_manifest(&first, &other).unwrap();
    assert_eq!(inspect(&second).unwrap().manifest, other);
    assert_ne!(inspect(&second).unwrap().digest, inspect(&first).unwrap().digest);
}

#[test]
fn every_role_of_a_later_minor_and_wasi_are_taken() {
    let wasi = "package wasi:io@0.2.10 { interface poll { ready: func(); } }\n";
    let world = CONNECTOR.replace("@1.0.0", "@1.3.0") + " import wasi:io/poll@0.2.10;";
    let mut later = manifest();
    later.contract = "1.3.0".parse().unwrap();
    let bytes = component(&(contract("1.3.0") + wasi), &world);
    let inspection = inspect(&embed_manifest(&bytes, &later).unwrap()).unwrap();
    assert_eq!(inspection.contract.to_string(), "1.3.0");
    assert!(inspection.imports.contains(&"wasi:io/poll@0.2.10".to_owned()));

    let error = refused(&embed_manifest(&bytes, &manifest()).unwrap());
    assert_eq!(error.code(), "contract-mismatch");
    assert!(error.to_string().contains("contract = \"1.3.0\""), "{error}");
}

#[test]
fn files_that_are_no_components() {
    assert!(refused(b"").to_string().contains("it is empty"));
    let error = refused(b"PK\x03\x04 not wasm at all");
    assert_eq!(error.code(), "not-wasm");
    assert!(error.to_string().contains("50 4b 03 04"), "{error}");
    let (module, _) = build(&contract("1.0.0"), CONNECTOR);
    let error = refused(&module);
    assert_eq!(error.code(), "core-module");
    assert!(error.to_string().contains("stecker plugin build"), "{error}");
}

#[test]
fn a_file_over_the_cap_is_not_looked_at() {
    let limits = InspectLimits {
        max_bytes: 10,
        ..InspectLimits::default()
    };
    let error = inspect_with(&[0; 11], limits).unwrap_err();
    assert_eq!(error, InspectError::TooLarge { size: 11, max: 10 });
}

#[test]
fn components_in_components_without_end() {
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..40 {
        let inner = wasm_encoder::RawSection { id: 4, data: &nested };
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        wasm_encoder::ComponentSection::append_to_component(&inner, &mut outer);
        nested = outer;
    }
    assert_eq!(refused(&nested), InspectError::TooDeep { depth: 17, max: 16 });
}

#[test]
fn the_contract_of_another_major_is_named() {
    for version in ["2.0.0", "0.9.0", "1.0.0-draft"] {
        let world = format!("export stecker:plugin/meta@{version};");
        let error = refused(&plugin(&contract(version), &world));
        assert_eq!(error.code(), "wrong-contract", "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("stecker:plugin/meta@{version}")) && text.contains("stecker:plugin@1.0.0"),
            "{text}"
        );
    }
}

#[test]
fn unknown_imports_are_named() {
    let text = contract("1.0.0");
    for (package, import, named) in [
        (
            "package acme:disk@1.0.0 { interface files { open: func(); } }",
            "acme:disk/files@1.0.0",
            "acme:disk/files@1.0.0",
        ),
        (
            "package wasi:nn@0.2.0 { interface graph { load: func(); } }",
            "wasi:nn/graph@0.2.0",
            "wasi:nn/graph@0.2.0",
        ),
        (
            "package wasi:io@0.3.0 { interface poll { f: func(); } }",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.3.0",
        ),
        ("", "plain: func()", "plain"),
    ] {
        let error = refused(&plugin(
            &(text.clone() + package),
            &format!("{CONNECTOR} import {import};"),
        ));
        assert_eq!(error.code(), "unknown-import", "{error}");
        assert!(
            error.to_string().contains(&format!("imports `{named}`")),
            "{error}"
        );
    }
    // A function that only a later minor version has.
    let later = contract("1.1.0").replace(
        "interface random {",
        "interface random {\n  shuffle: func(len: u32) -> list<u32>;",
    );
    let world = "import stecker:plugin/random@1.1.0; export stecker:plugin/meta@1.1.0;";
    let error = refused(&plugin(&later, world));
    assert!(
        error.to_string().contains("stecker:plugin/random@1.1.0#shuffle"),
        "{error}"
    );
}

/// A host that is older than the plugin says which import it lacks and what it has.
#[test]
fn what_only_a_later_version_has_is_named_with_the_hosts_versions() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/1.1.0");
    let text = contract_of(wit, "1.2.0");
    for (later, import, named) in [
        (
            text.replace(
                "interface blobs {",
                "interface blobs {\n  remove: func(digest: string);",
            ),
            "blobs",
            "stecker:plugin/blobs@1.2.0#remove",
        ),
        (
            text.replace(
                "interface random {",
                "interface queue { push: func(); }\n\ninterface random {",
            ),
            "queue",
            "stecker:plugin/queue@1.2.0",
        ),
    ] {
        let world = format!("import stecker:plugin/{import}@1.2.0; export stecker:plugin/meta@1.2.0;");
        let error = refused(&plugin(&later, &world));
        assert_eq!(error.code(), "unknown-import", "{error}");
        for part in [named, "stecker:plugin@1.0.0, stecker:plugin@1.1.0"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn the_version_is_read_off_what_the_plugin_names() {
    let of = |version: &str, text: &str, world: &str| {
        let mut manifest = manifest();
        manifest.contract = version.parse().unwrap();
        inspect(&embed_manifest(&component(text, world), &manifest).unwrap())
    };
    let (first, second) = (contract("1.0.0"), contract("1.1.0"));
    let old = of("1.0.0", &first, CONNECTOR).unwrap();
    assert_eq!(old.contract.to_string(), "1.0.0");
    let new = of("1.1.0", &second, &CONNECTOR.replace("@1.0.0", "@1.1.0")).unwrap();
    assert_eq!(new.contract.to_string(), "1.1.0");
    assert!(
        new.imports
            .contains(&"stecker:plugin/http-blobs@1.1.0".to_owned()),
        "{:?}",
        new.imports
    );
    // What the SDK makes of a plugin with blobs: the roles of the first version, and the imports that are new.
    let mixed = format!("{CONNECTOR} import stecker:plugin/blobs@1.1.0;");
    let both = of("1.1.0", &(first + &second), &mixed).unwrap();
    assert_eq!(both.contract.to_string(), "1.1.0");
    assert_eq!(both.roles, old.roles);
}

#[test]
fn a_plugin_has_to_describe_itself() {
    let error = refused(&plugin(
        &contract("1.0.0"),
        "export stecker:plugin/transform@1.0.0;",
    ));
    assert_eq!(error, InspectError::NoMeta);
    assert_eq!(refused(&plugin("", "export run: func();")), InspectError::NoMeta);
}

#[test]
fn a_role_by_name_only_is_refused() {
    let partial = contract("1.0.0").replace("acknowledge: func(", "confirm: func(");
    let error = refused(&plugin(&partial, CONNECTOR));
    assert_eq!(
        error,
        InspectError::IncompleteRole {
            role: Role::Source,
            function: "acknowledge"
        }
    );
}

#[test]
fn the_manifest_has_to_be_there_once_and_valid() {
    let bare = component(&contract("1.0.0"), CONNECTOR);
    assert_eq!(refused(&bare), InspectError::NoManifest);
    let with = |json: &str| {
        let mut bytes = bare.clone();
        let section = wasm_encoder::CustomSection {
            name: MANIFEST_SECTION.into(),
            data: json.as_bytes().into(),
        };
        wasm_encoder::ComponentSection::append_to_component(&section, &mut bytes);
        bytes
    };
    let error = refused(&with("{\"name\":\"acme/shop\"}"));
    assert_eq!(error.code(), "bad-manifest");
    assert!(error.to_string().contains("missing field `version`"), "{error}");
    assert_eq!(refused(&with("not json")).code(), "bad-manifest");

    let mut twice = plugin(&contract("1.0.0"), CONNECTOR);
    let one = section::sections(&twice).unwrap().last().unwrap().range.clone();
    twice.extend_from_within(one);
    assert_eq!(refused(&twice), InspectError::SeveralManifests(2));
}

#[test]
fn a_cut_file_is_refused_wherever_it_is_cut() {
    let bytes = plugin(&contract("1.0.0"), "export stecker:plugin/meta@1.0.0;");
    let mut truncated = 0;
    for len in 0..bytes.len() {
        if matches!(refused(&bytes[..len]), InspectError::Truncated(_)) {
            truncated += 1;
        }
    }
    // The others are cut exactly between two sections, or before the header says what the file is.
    assert!(
        truncated > bytes.len() * 9 / 10,
        "only {truncated} of {} were seen as cut off",
        bytes.len()
    );
}

#[test]
fn a_flipped_byte_is_never_a_panic_and_never_the_same_release() {
    let bytes = plugin(&contract("1.0.0"), "export stecker:plugin/meta@1.0.0;");
    let digest = inspect(&bytes).unwrap().digest;
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            if let Ok(inspection) = inspect(&damaged) {
                assert_ne!(inspection.digest, digest, "byte {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(inspect(&bytes).is_err());
        let mut framed = b"\0asm\x0d\0\x01\0".to_vec();
        framed.extend(&bytes);
        prop_assert!(inspect(&framed).is_err());
        let _ = embed_manifest(&framed, &manifest());
    }

    #[test]
    fn spliced_components_never_panic(cut in 0.0..1.0_f64, len in 0_usize..64, fill in any::<u8>()) {
        use std::sync::LazyLock;
        static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| plugin(&contract("1.0.0"), CONNECTOR));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in the file")]
        let at = (WHOLE.len() as f64 * cut) as usize;
        let mut bytes = WHOLE.clone();
        bytes.splice(at..(at + len / 2).min(WHOLE.len()), std::iter::repeat_n(fill, len));
        let _ = inspect(&bytes);
    }
}
