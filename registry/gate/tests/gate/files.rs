//! Files that are no plugins, or none that a host could run.

use stecker_gate::{Code, GatePolicy, Step, examine};
use stecker_registry::{component::MANIFEST_SECTION, embed_manifest, section};
use stecker_sandbox::{Sandbox, SandboxOptions};

use crate::support::{Plugin, now, quick, refusals};

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn without_manifest(component: &[u8]) -> Vec<u8> {
    section::without_custom_sections(component, |name| name == MANIFEST_SECTION).unwrap()
}

/// The component with one more manifest, whatever that is.
fn with_section(mut component: Vec<u8>, content: &str) -> Vec<u8> {
    let mut data = vec![u8::try_from(MANIFEST_SECTION.len()).unwrap()];
    data.extend_from_slice(MANIFEST_SECTION.as_bytes());
    data.extend_from_slice(content.as_bytes());
    component.push(0);
    component.push(u8::try_from(data.len()).unwrap());
    component.extend(data);
    component
}

fn files() -> Vec<(Code, Vec<u8>)> {
    let good = Plugin::default();
    let component = good.build();
    let bare = without_manifest(&component);
    let mut other_contract = good.manifest();
    other_contract.contract = "1.7.0".parse().unwrap();
    let nested = "(component ".repeat(17) + &")".repeat(17);
    let many = format!("(component {})", "(core module (memory 1))".repeat(9));
    let long = format!("(component (core module (func {})))", "nop ".repeat(600_000));
    let mut damaged = component.clone();
    // A section that there is not, correctly framed.
    damaged.extend([99, 0]);
    let other_types = "(component
        (import \"stecker:plugin/clock@1.0.0\" (instance (export \"now\" (func (result string)))))
        (core module $m (func (export \"describe\") (result i32) i32.const 0) (memory (export \"memory\") 1))
        (core instance $i (instantiate $m))
        (func $describe (result string) (canon lift (core func $i \"describe\") (memory (core memory $i \"memory\"))))
        (instance $meta (export \"describe\" (func $describe)))
        (export \"stecker:plugin/meta@1.0.0\" (instance $meta)))";
    let three_memories = Plugin {
        code: format!("(memory $b 1) (memory $c 1) {}", good.code),
        ..good.clone()
    };
    let not_json = Plugin {
        description: "Guest".to_owned(),
        ..good.clone()
    };
    vec![
        (Code::TooDeep, wat(&nested)),
        (Code::TooMany, wat(&many)),
        (
            Code::TooLargeAtFirst,
            wat("(component (core module (memory 16385)))"),
        ),
        (Code::FunctionTooLarge, wat(&long)),
        (Code::NotWasm, b"#!/bin/sh\n".to_vec()),
        (Code::CoreModule, wat("(module)")),
        (Code::Truncated, component[..component.len() / 2].to_vec()),
        (Code::Invalid, damaged),
        (
            Code::WrongContract,
            wat("(component (import \"stecker:plugin/clock@2.0.0\" (instance)))"),
        ),
        (
            Code::UnknownImport,
            wat("(component (import \"evil:host/shell@1.0.0\" (instance)))"),
        ),
        (Code::NoMeta, wat("(component)")),
        (
            Code::IncompleteRole,
            wat("(component (instance $m) (export \"stecker:plugin/meta@1.0.0\" (instance $m)))"),
        ),
        (Code::NoManifest, bare.clone()),
        (Code::SeveralManifests, with_section(component.clone(), "{}")),
        (Code::BadManifest, with_section(bare, "{\"name\":\"acme/shop\"}")),
        (
            Code::ContractMismatch,
            embed_manifest(&component, &other_contract).unwrap(),
        ),
        (
            Code::Link,
            embed_manifest(&wat(other_types), &good.manifest()).unwrap(),
        ),
        (Code::DoesNotFit, three_memories.build()),
        (Code::NotDescribed, not_json.build()),
    ]
}

#[tokio::test]
async fn each_is_refused_for_its_own_reason_at_both_gates() {
    for (code, file) in files() {
        for policy in [GatePolicy::publish(), GatePolicy::install()] {
            assert_eq!(refusals(&file, &policy).await, [code], "{code}");
        }
    }
}

/// What cannot be provoked by a file alone: a compiler that refuses what a validator took, one that reaches its bounds, a host that fails.
#[test]
fn every_code_of_the_first_steps_has_a_file() {
    let there: Vec<Code> = files().into_iter().map(|(code, _)| code).collect();
    for code in Code::ALL.iter().filter(|code| code.step() <= Step::Link) {
        let elsewhere = [
            Code::TooLarge,
            Code::Compile,
            Code::CompileBounds,
            Code::HostFailed,
        ];
        assert!(there.contains(code) || elsewhere.contains(code), "{code}");
    }
}

#[tokio::test]
async fn a_file_beyond_the_cap_is_not_even_looked_at() {
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 1,
        max_component_bytes: 1_000,
        ..SandboxOptions::default()
    })
    .unwrap();
    let refused = examine(&sandbox, &[0; 1_001], None, &quick(), now())
        .await
        .unwrap_err();
    assert_eq!(refused.findings().next().unwrap().code, Code::TooLarge);
    assert!(refused.to_string().contains("1001 bytes"), "{refused}");
    assert_eq!(refused.report.digest, None);
}

#[tokio::test]
async fn a_good_one_passes() {
    for policy in [quick(), GatePolicy::install()] {
        assert_eq!(refusals(&Plugin::default().build(), &policy).await, []);
    }
}
