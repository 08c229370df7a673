//! Guests written as core WebAssembly text, made into components with the contract's own types. So they can do what no honest toolchain
//! would.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use stecker_model::{Grants, Limits, Name, Operation, Period, Record};
use stecker_registry::{Manifest, embed_manifest};
use stecker_sandbox::{
    Binding, Denial, LogLevel, NoCredentials, NoStorage, Observer, Release, Sandbox, SandboxOptions, Session,
    Storage,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) const MANIFEST: &str = r#"
    name = "tests/guest"
    version = "1.0.0"
    title = "Guest"
    contract = "1.0.0"
"#;

/// What every guest has: a memory, an allocator that never frees, and a description at address 1,024.
const PRELUDE: &str = r#"
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 8192))
    (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $len i32) (param $align i32) (param $new i32) (result i32)
        (local $at i32)
        (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
        (local.set $at (global.get $heap))
        (global.set $heap (i32.add (global.get $heap) (local.get $new)))
        (block $fits (loop $grow
            (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
            (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
            unreachable))
        (local.get $at))
    (data (i32.const 1024) "\10\04\00\00\11\00\00\00")
    (data (i32.const 1040) "{\"title\":\"Guest\"}")
    (func $describe (export "stecker:plugin/meta@1.0.0#describe") (result i32) (i32.const 1024))
"#;

/// The function `transform.apply`, with `body` inside. It has `$at` and `$len`, the batch, and returns the address of the answer.
pub(crate) fn apply(body: &str) -> String {
    format!(
        "(func $apply (export \"stecker:plugin/transform@1.0.0#apply\")
            (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32) {body})"
    )
}

/// An answer at 2,048: ok, with `count` answers at 2,064, the first of which is `drop` with the text at (`text`, `len`).
pub(crate) fn answer(count: u32, text: u32, len: u32) -> String {
    format!(
        "(i32.store8 (i32.const 2048) (i32.const 0))
         (i32.store (i32.const 2056) (i32.const 2064)) (i32.store (i32.const 2060) (i32.const {count}))
         (i32.store8 (i32.const 2064) (i32.const 1))
         (i32.store (i32.const 2068) (i32.const {text})) (i32.store (i32.const 2072) (i32.const {len}))"
    )
}

/// A component that exports meta and transform, and imports what `imports` says.
pub(crate) fn transform(imports: &str, code: &str) -> Vec<u8> {
    component(
        &format!("{imports} export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;"),
        "",
        code,
        MANIFEST,
    )
}

/// `imports` of core functions have to come first in `code`, as the text format wants it.
pub(crate) fn component(world: &str, other_packages: &str, code: &str, manifest: &str) -> Vec<u8> {
    let mut wit = format!(
        "package local:guest;\nworld w {{ {world} }}\n{other_packages}\npackage stecker:plugin@1.0.0 {{\n"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/1.0.0");
    for file in ["types.wit", "imports.wit", "roles.wit"] {
        let source = fs::read_to_string(folder.join(file)).unwrap();
        for line in source.lines().filter(|line| !line.starts_with("package ")) {
            wit.push_str(line);
            wit.push('\n');
        }
    }
    wit.push('}');
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();

    let (imports, rest) = code.split_once(";; imports end\n").unwrap_or(("", code));
    let text = format!("(module $guest {imports} {PRELUDE} {rest})");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap_or_else(|error| panic!("{error:?}"));
    embed_manifest(&component, &Manifest::from_toml(manifest).unwrap()).unwrap()
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Mutex<Vec<(LogLevel, String)>>,
    pub(crate) denials: Mutex<Vec<Denial>>,
}

impl Observer for Recorder {
    fn log(&self, level: LogLevel, message: &str, _: &[(String, String)]) {
        self.lines.lock().unwrap().push((level, message.to_owned()));
    }

    fn denied(&self, denial: &Denial) {
        self.denials.lock().unwrap().push(denial.clone());
    }
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(SandboxOptions {
        max_instances: 4,
        tick: Duration::from_millis(1),
        ..SandboxOptions::default()
    })
    .unwrap()
}

pub(crate) fn binding() -> Binding {
    let name: Name = "test".parse().unwrap();
    Binding {
        tenant: name.clone(),
        connection: name,
        config: "{}".to_owned(),
        grants: Grants::default(),
        limits: Limits {
            memory_mib: 4,
            deadline: Period::from_secs(30),
            ..Limits::default()
        },
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        observer: Arc::new(Recorder::default()),
    }
}

pub(crate) fn within(millis: u64) -> Binding {
    let mut binding = binding();
    binding.limits.deadline = Period::from_millis(millis);
    binding
}

pub(crate) fn storing(storage: impl Storage + 'static) -> Binding {
    Binding {
        storage: Arc::new(storage),
        grants: Grants {
            storage: Some(stecker_model::StorageGrant { max_bytes: 1_000 }),
            ..Grants::default()
        },
        ..binding()
    }
}

pub(crate) async fn load(sandbox: &Sandbox, component: Vec<u8>) -> Release {
    sandbox
        .load(component)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn session(component: Vec<u8>) -> Session {
    load(&sandbox(), component).await.bind(binding()).unwrap()
}

pub(crate) fn record() -> Record {
    Record {
        stream: "orders".to_owned(),
        key: "1".to_owned(),
        operation: Operation::Upsert,
        payload: "{}".to_owned(),
        before: None,
        event_time: None,
        source_version: "1".to_owned(),
        attributes: Vec::new(),
    }
}
