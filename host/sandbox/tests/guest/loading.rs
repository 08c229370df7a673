//! What is loaded and what is not.

use stecker_registry::{InspectError, Role};
use stecker_sandbox::{BindError, CallError, LoadError, Sandbox, SandboxError, SandboxOptions};

use crate::support::{MANIFEST, answer, apply, binding, component, load, record, sandbox, transform};

fn harmless() -> Vec<u8> {
    transform("", &apply(&format!("{} (i32.const 2048)", answer(1, 1040, 5))))
}

#[tokio::test]
async fn a_release_says_what_it_is() {
    let release = load(&sandbox(), harmless()).await;
    assert_eq!(release.inspection().manifest.name.as_str(), "tests/guest");
    assert!(release.has(Role::Transform) && !release.has(Role::Source));
    assert_eq!(
        release.describe().await.unwrap(),
        serde_json::json!({ "title": "Guest" })
    );
    let called = release.bind(binding()).unwrap().check().await;
    assert_eq!(called.result.unwrap_err(), CallError::NoRole(Role::Connection));
}

#[tokio::test]
async fn what_is_not_a_plugin_is_not_loaded() {
    let sandbox = sandbox();
    let good = harmless();
    let code = async |bytes: Vec<u8>| match sandbox.load(bytes).await {
        Err(LoadError::Inspect(error)) => error.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(Vec::new()).await, "not-wasm");
    assert_eq!(code(b"#!/bin/sh\n".to_vec()).await, "not-wasm");
    assert_eq!(code(wat::parse_str("(module)").unwrap()).await, "core-module");
    assert_eq!(code(good[..good.len() / 2].to_vec()).await, "truncated");
    assert_eq!(code(wat::parse_str("(component)").unwrap()).await, "no-meta");

    let mut unknown = wat::parse_str("(component (import \"evil:host/shell@1.0.0\" (instance)))").unwrap();
    assert_eq!(code(unknown.clone()).await, "unknown-import");
    unknown.truncate(unknown.len() - 1);
    assert_eq!(code(unknown).await, "truncated");
}

#[tokio::test]
async fn a_large_component_is_not_even_looked_at() {
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 1,
        max_component_bytes: 1_000,
        ..SandboxOptions::default()
    })
    .unwrap();
    let error = sandbox.load(vec![0; 1_001]).await.unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::Inspect(InspectError::TooLarge {
                size: 1_001,
                max: 1_000
            })
        ),
        "{error}"
    );
}

/// The right names with the wrong types: the linker finds out, without running anything.
#[tokio::test]
async fn other_types_than_the_contracts() {
    let world = "import stecker:plugin/clock@1.0.0; export stecker:plugin/meta@1.0.0;";
    let good = component(
        world,
        "",
        "(import \"stecker:plugin/clock@1.0.0\" \"monotonic-ms\" (func $ms (result i64)))\n;; imports end\n",
        MANIFEST,
    );
    load(&sandbox(), good).await;

    let wat = "(component
        (import \"stecker:plugin/clock@1.0.0\" (instance (export \"now\" (func (result string)))))
        (core module $m (func (export \"describe\") (result i32) i32.const 0) (memory (export \"memory\") 1))
        (core instance $i (instantiate $m))
        (func $describe (result string) (canon lift (core func $i \"describe\") (memory (core memory $i \"memory\"))))
        (instance $meta (export \"describe\" (func $describe)))
        (export \"stecker:plugin/meta@1.0.0\" (instance $meta)))";
    let manifest = stecker_registry::Manifest::from_toml(MANIFEST).unwrap();
    let wrong = stecker_registry::embed_manifest(&wat::parse_str(wat).unwrap(), &manifest).unwrap();
    match sandbox().load(wrong).await {
        Err(LoadError::Link { message }) => assert!(message.contains("clock"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_bound() {
    let release = load(&sandbox(), harmless()).await;
    for config in ["", "[]", "{", "7"] {
        let mut bad = binding();
        bad.config = config.to_owned();
        assert!(
            matches!(release.bind(bad), Err(BindError::Config { .. })),
            "{config}"
        );
    }
    for mib in [0, 1_025] {
        let mut bad = binding();
        bad.limits.memory_mib = mib;
        assert!(
            matches!(release.bind(bad), Err(BindError::Limits { .. })),
            "{mib}"
        );
    }
    let mut bad = binding();
    bad.grants.http.push(stecker_model::HttpGrant {
        host: "https://acme.example".to_owned(),
        schemes: vec!["https".to_owned()],
        methods: Vec::new(),
        ..stecker_model::HttpGrant::default()
    });
    assert!(matches!(release.bind(bad), Err(BindError::Grant { .. })));
}

#[test]
fn options_out_of_range() {
    for options in [
        SandboxOptions {
            max_instances: 0,
            ..SandboxOptions::default()
        },
        SandboxOptions {
            max_instances: 5_000,
            ..SandboxOptions::default()
        },
        SandboxOptions {
            tick: std::time::Duration::ZERO,
            ..SandboxOptions::default()
        },
    ] {
        assert!(matches!(Sandbox::new(options), Err(SandboxError::Option { .. })));
    }
}

/// Two tasks ask at once, and the result is one and the same release: both work, and the second did not compile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_the_same_twice() {
    let sandbox = sandbox();
    let (one, two) = tokio::join!(sandbox.load(harmless()), sandbox.load(harmless()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(
        std::ptr::eq(one.inspection(), two.inspection()),
        "one release, shared"
    );
    for release in [one, two] {
        let called = release.bind(binding()).unwrap().apply(vec![record()]).await;
        assert_eq!(called.result.unwrap().len(), 1);
    }
}
