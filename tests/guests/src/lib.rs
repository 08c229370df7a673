//! Guests written as core WebAssembly text, made into components with the contract's own types. So they can do what no honest toolchain
//! would: lie about lengths, loop in their allocator, jump out of their memory.
//!
//! The text names the contract's version as `@VERSION`, so that one guest serves every version that the host offers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use semver::Version;
use stecker_registry::{Manifest, embed_manifest};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Ends the core imports of a guest's text: the text format wants them before everything else, the prelude included.
pub const IMPORTS_END: &str = ";; imports end\n";

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
    (func $describe (export "stecker:plugin/meta@VERSION#describe") (result i32) (i32.const 1024))
    ;; Answers a batch of one record: it is dropped, with the text as the reason.
    (func $dropping (param $text i32) (param $len i32) (result i32)
        (i32.store8 (i32.const 2048) (i32.const 0))
        (i32.store (i32.const 2056) (i32.const 2064))
        (i32.store (i32.const 2060) (i32.const 1))
        (i32.store8 (i32.const 2064) (i32.const 1))
        (i32.store (i32.const 2068) (local.get $text))
        (i32.store (i32.const 2072) (local.get $len))
        (i32.const 2048))
"#;

/// A guest as text.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The items of its world, such as `import stecker:plugin/http@VERSION;`.
    pub world: &'a str,
    /// WIT packages besides the contract that the world names.
    pub packages: &'a str,
    /// The fields of the module, without `(module …)` around them; imports before [`IMPORTS_END`].
    pub code: &'a str,
    /// Whether the module begins with a memory, an allocator, `meta.describe` and `$dropping`. Without, it brings its own.
    pub prelude: bool,
}

impl Guest<'_> {
    /// Makes it a component of a version of the contract, with the manifest in it.
    ///
    /// # Errors
    /// The text or the types do not fit together, or the manifest is not one.
    pub fn build(&self, version: &Version, manifest: &Manifest) -> Result<Vec<u8>> {
        let mut resolve = Resolve::default();
        let wit = self.wit(version)?;
        let package = resolve
            .push_str("guest.wit", &wit)
            .map_err(|error| anyhow::anyhow!("the guest's world: {error:#}"))?;
        let world = resolve.select_world(&[package], Some("w"))?;
        let (imports, rest) = self.code.split_once(IMPORTS_END).unwrap_or(("", self.code));
        let prelude = if self.prelude { PRELUDE } else { "" };
        let text = in_version(&format!("(module $guest {imports} {prelude} {rest})"), version);
        let mut module = wat::parse_str(&text)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        let component = ComponentEncoder::default()
            .module(&module)?
            .validate(true)
            .encode()?;
        Ok(embed_manifest(&component, manifest)?)
    }

    fn wit(&self, version: &Version) -> Result<String> {
        let (world, packages) = (self.world, self.packages);
        let mut wit = in_version(
            &format!(
                "package local:guest;\nworld w {{ {world} }}\n{packages}\npackage stecker:plugin@VERSION {{\n"
            ),
            version,
        );
        let folder = contract_folder(version);
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            files.push(entry?.path());
        }
        files.sort();
        // Worlds may have the name that the guest's own one has.
        files
            .retain(|file| file.extension().is_some_and(|wit| wit == "wit") && !file.ends_with("worlds.wit"));
        for path in files {
            let source =
                fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            for line in source.lines().filter(|line| !line.starts_with("package ")) {
                wit.push_str(line);
                wit.push('\n');
            }
        }
        wit.push('}');
        Ok(wit)
    }
}

/// The WIT files of a version of the contract.
#[must_use]
pub fn contract_folder(version: &Version) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../wit")
        .join(version.to_string())
}

/// The text with its `@VERSION` filled in.
#[must_use]
pub fn in_version(text: &str, version: &Version) -> String {
    text.replace("@VERSION", &format!("@{version}"))
}
