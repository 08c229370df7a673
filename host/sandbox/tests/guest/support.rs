//! Guests written as core WebAssembly text, made into components with the contract's own types. So they can do what no honest toolchain
//! would.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use semver::Version;
use stecker_model::{Grants, Limits, Name, Operation, Period, Record};
use stecker_registry::Manifest;
use stecker_sandbox::{
    Binding, Denial, LogLevel, NoBlobs, NoCredentials, NoStorage, Observer, Release, Sandbox, SandboxOptions,
    Session, Storage,
};
use stecker_test_guests::Guest;

pub(crate) const MANIFEST: &str = r#"
    name = "tests/guest"
    version = "1.0.0"
    title = "Guest"
    contract = "1.0.0"
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
pub(crate) fn component(world: &str, packages: &str, code: &str, manifest: &str) -> Vec<u8> {
    let guest = Guest {
        world,
        packages,
        code,
        prelude: true,
    };
    guest
        .build(&Version::new(1, 0, 0), &Manifest::from_toml(manifest).unwrap())
        .unwrap_or_else(|error| panic!("{error:?}"))
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
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
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
            storage: Some(stecker_model::StorageGrant::of_bytes(1_000)),
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
