//! Small plugins, as core WebAssembly text with the contract's own types.

use std::time::Duration;

use jiff::Timestamp;
use semver::Version;
use stecker_gate::{Code, GatePolicy, GateReport, Previous, Severity, examine};
use stecker_registry::Manifest;
use stecker_sandbox::{Sandbox, SandboxOptions};
use stecker_test_guests::Guest;

/// Where what a guest writes down begins, behind its description.
const HEAP: u32 = 80_000;

/// A small plugin, piece by piece.
#[derive(Clone)]
pub(crate) struct Plugin {
    /// The manifest besides name, version, title and contract.
    pub(crate) manifest: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) contract: String,
    /// What `meta.describe` says.
    pub(crate) description: String,
    /// `meta.describe` itself, in place of the one that says that.
    pub(crate) describe: Option<String>,
    /// Items of its world besides `meta`.
    pub(crate) world: String,
    /// WIT packages besides the contract.
    pub(crate) packages: String,
    /// Imports of core functions.
    pub(crate) imports: String,
    /// Its functions.
    pub(crate) code: String,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            manifest: String::new(),
            name: "tests/guest".to_owned(),
            version: "1.0.0".to_owned(),
            contract: "1.0.0".to_owned(),
            description: r#"{"title":"Guest","config":{"type":"object"}}"#.to_owned(),
            describe: None,
            world: "export stecker:plugin/transform@1.0.0;".to_owned(),
            packages: String::new(),
            imports: String::new(),
            code: apply("(i32.const 2048)"),
        }
    }
}

impl Plugin {
    pub(crate) fn version(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let Self {
            name,
            version,
            contract,
            manifest,
            ..
        } = self;
        let text = format!(
            "name = \"{name}\"\nversion = \"{version}\"\ntitle = \"Guest\"\ncontract = \"{contract}\"\n{manifest}"
        );
        Manifest::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let length = self.description.len();
        let text: String = self
            .description
            .bytes()
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        let description = format!(
            "(data (i32.const 1024) \"{}{}\") (data (i32.const 70000) \"{text}\")",
            hex(70_000),
            hex(u32::try_from(length).unwrap())
        );
        let describe = self.describe.as_deref().unwrap_or(
            "(func (export \"stecker:plugin/meta@1.0.0#describe\") (result i32) (i32.const 1024))",
        );
        let code = format!(
            "{}\n;; imports end\n
            (memory (export \"memory\") 8)
            (global $heap (mut i32) (i32.const {HEAP}))
            (func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            {description} {describe} {}",
            self.imports, self.code
        );
        let guest = Guest {
            world: &format!("{} export stecker:plugin/meta@1.0.0;", self.world),
            packages: &self.packages,
            code: &code,
            prelude: false,
        };
        guest
            .build(&Version::new(1, 0, 0), &self.manifest())
            .unwrap_or_else(|error| panic!("{error:?}"))
    }
}

/// A number as the bytes of a data segment.
fn hex(number: u32) -> String {
    number
        .to_le_bytes()
        .iter()
        .map(|byte| format!("\\{byte:02x}"))
        .collect()
}

/// `transform.apply`: at 2,048 it finds `ok` and an empty list, unless the body writes something else.
pub(crate) fn apply(body: &str) -> String {
    format!(
        "(func (export \"stecker:plugin/transform@1.0.0#apply\") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32)
            (result i32) {body})"
    )
}

/// Drops each record of a batch of three.
pub(crate) fn dropping() -> String {
    // An answer has 40 bytes: a discriminant, and room for a rejection.
    apply(
        "(local $i i32)
         (i32.store (i32.const 2056) (i32.const 4096))
         (i32.store (i32.const 2060) (local.get $len))
         (loop $each
            (i32.store8 (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 40))) (i32.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $each (i32.lt_u (local.get $i) (local.get $len))))
         (i32.const 2048)",
    )
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(SandboxOptions {
        max_instances: 4,
        tick: Duration::from_millis(1),
        ..SandboxOptions::default()
    })
    .unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// Everything but the run.
pub(crate) fn quick() -> GatePolicy {
    GatePolicy {
        conformance: None,
        ..GatePolicy::publish()
    }
}

pub(crate) async fn report(
    component: &[u8],
    previous: Option<Previous<'_>>,
    policy: &GatePolicy,
) -> GateReport {
    let examined = examine(&sandbox(), component, previous, policy, now()).await;
    let report = match examined {
        Ok(report) => report,
        Err(refused) => {
            let text = refused.to_string();
            for finding in refused.findings() {
                assert!(text.contains(finding.seen.trim_end()), "{text}");
            }
            *refused.report
        }
    };
    assert_eq!(report.passes, report.of(Severity::Refusal).count() == 0);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<GateReport>(&json).unwrap(), report);
    report
}

/// What a component is refused for.
pub(crate) async fn refusals(component: &[u8], policy: &GatePolicy) -> Vec<Code> {
    codes(&report(component, None, policy).await, Severity::Refusal)
}

pub(crate) fn codes(report: &GateReport, severity: Severity) -> Vec<Code> {
    report.of(severity).map(|finding| finding.code).collect()
}
