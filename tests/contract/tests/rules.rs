//! Every rule refuses what it is there for, and the contract of this repository keeps all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use stecker_contract_rules::{
    faults, frozen,
    rules::{Contract, Rule, broken},
};

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

fn fixture(name: &str) -> Contract {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.wit"));
    Contract::parse(&fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn the_contract_of_this_repository_keeps_the_rules() {
    assert_eq!(faults(&wit()).unwrap(), Vec::<String>::new());
}

#[test]
fn what_a_minor_version_may_add() {
    assert_eq!(broken(&fixture("earlier"), &fixture("grown")).unwrap(), []);
    assert_eq!(broken(&fixture("earlier"), &fixture("earlier")).unwrap(), []);
}

#[test]
fn every_rule_refuses_what_it_is_there_for() {
    for (name, rule, names) in [
        ("removed-interface", Rule::Removed, "the interface `sink`"),
        ("removed-function", Rule::Removed, "`host.store`"),
        ("removed-type", Rule::Removed, "`types.amount`"),
        (
            "removed-import",
            Rule::Removed,
            "the import `host` of the world `imports`",
        ),
        ("removed-world", Rule::Removed, "the world `plugin`"),
        ("record-with-a-field-more", Rule::Record, "currency: string"),
        ("record-with-a-field-less", Rule::Record, "`types.order`"),
        ("record-with-another-order", Rule::Record, "`types.order`"),
        ("variant-with-a-case-more", Rule::Variant, "unknown(_)"),
        ("variant-with-a-case-less", Rule::Variant, "`types.outcome`"),
        ("enum-with-a-case-more", Rule::Enum, "middle"),
        ("enum-with-a-case-less", Rule::Enum, "`types.level`"),
        ("flags-with-one-more", Rule::Flags, "admin"),
        ("flags-with-one-less", Rule::Flags, "`types.rights`"),
        ("type-changed", Rule::Type, "was u64 and is s64"),
        (
            "function-with-a-parameter-more",
            Rule::Function,
            "fields: list<string>",
        ),
        (
            "function-with-another-result",
            Rule::Function,
            "result<u32, string>",
        ),
        (
            "function-with-another-parameter-name",
            Rule::Function,
            "most: u32",
        ),
        (
            "role-grew",
            Rule::RoleGrew,
            "the role `source` has a function more, `count`",
        ),
        (
            "export-added",
            Rule::ExportAdded,
            "the world `plugin` asks for the export `sink`",
        ),
    ] {
        let breaches = broken(&fixture("earlier"), &fixture(name)).unwrap();
        assert!(
            breaches
                .iter()
                .any(|breach| breach.rule == rule && breach.what.contains(names)),
            "{name}: {breaches:?}"
        );
        let others = breaches
            .iter()
            .filter(|breach| breach.rule != rule && breach.rule != Rule::Removed);
        assert_eq!(others.count(), 0, "{name}: {breaches:?}");
    }
}

/// Without the lints, which see most of it first: the component model's own judgement is asked as well.
#[test]
fn the_component_model_is_asked_too() {
    let earlier = Contract::parse("package a:b@1.0.0; world w { import log: func(text: string); }").unwrap();
    let later =
        Contract::parse("package a:b@1.1.0; world w { import log: func(text: string, more: u8); }").unwrap();
    let breaches = broken(&earlier, &later).unwrap();
    assert_eq!(breaches.len(), 1, "{breaches:?}");
    assert_eq!(breaches[0].rule, Rule::Semver);
}

/// A copy of the folder, to change things in.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(wit().join(frozen::LIST), copy.path().join(frozen::LIST)).unwrap();
    for version in stecker_contract_rules::versions(&wit()).unwrap() {
        let (from, to) = (
            wit().join(version.to_string()),
            copy.path().join(version.to_string()),
        );
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn what_was_published_is_not_edited() {
    let untouched = copy();
    assert_eq!(frozen::faults(untouched.path()).unwrap(), Vec::<String>::new());

    let changed = copy();
    let types = changed.path().join("1.0.0/types.wit");
    let text = fs::read_to_string(&types).unwrap();
    fs::write(&types, text + "\n// A comment more.\n").unwrap();
    fs::remove_file(changed.path().join("1.0.0/worlds.wit")).unwrap();
    fs::write(
        changed.path().join("1.1.0/more.wit"),
        "package stecker:plugin@1.1.0;",
    )
    .unwrap();
    fs::create_dir(changed.path().join("1.2.0")).unwrap();
    fs::write(
        changed.path().join("1.2.0/types.wit"),
        "package stecker:plugin@1.2.0;",
    )
    .unwrap();
    let faults = frozen::faults(changed.path()).unwrap();
    for part in [
        "1.0.0/types.wit was changed",
        "1.0.0/worlds.wit is gone",
        "1.1.0/more.wit was added to a published version",
        "1.2.0/types.wit is not in frozen.sha256",
    ] {
        assert!(
            faults.iter().any(|fault| fault.contains(part)),
            "{part}: {faults:?}"
        );
    }
    assert_eq!(faults.len(), 4, "{faults:?}");
}
