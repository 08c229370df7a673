//! Two plugins in variants: one reads amounts, one writes an order. Each variant is what a careless release could be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use semver::Version;
use stecker_registry::Manifest;
use stecker_test_guests::Guest;

pub(crate) const LINES: usize = 1_000;
/// Bytes of one line, with its end.
pub(crate) const WIDTH: usize = 64;

/// What a release does with a line before it is a record, and whether it leaves one out.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) version: &'static str,
    pub(crate) path: &'static str,
    /// `$line` is its address.
    pub(crate) change: &'static str,
    /// `$i` is its number; leaves 1 on the stack to skip it.
    pub(crate) skip: &'static str,
}

pub(crate) const RUNNING: Variant = Variant {
    version: "1.0.0",
    path: "/lines",
    change: "",
    skip: "(i32.const 0)",
};

/// `"total"` becomes `"gross"`.
pub(crate) const RENAMED: Variant = Variant {
    version: "1.1.0",
    change: "(i32.store (i32.add (local.get $line) (i32.const 14)) (i32.const 0x736f7267)) (i32.store8 (i32.add (local.get $line) (i32.const 18)) (i32.const 0x73))",
    ..RUNNING
};

/// `"0012.50"` becomes `"0001250"`.
pub(crate) const IN_CENTS: Variant = Variant {
    version: "1.2.0",
    change: "(local.set $at (i32.const 25))
        (loop $left
            (i32.store8 (i32.add (local.get $line) (i32.add (local.get $at) (i32.const 1))) (i32.load8_u (i32.add (local.get $line) (local.get $at))))
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (br_if $left (i32.ge_u (local.get $at) (i32.const 22))))
        (i32.store8 (i32.add (local.get $line) (i32.const 22)) (i32.const 48))",
    ..RUNNING
};

pub(crate) const ONE_MISSING: Variant = Variant {
    version: "1.3.0",
    skip: "(i32.eq (local.get $i) (i32.const 500))",
    ..RUNNING
};

pub(crate) const ELSEWHERE: Variant = Variant {
    version: "1.4.0",
    path: "/other",
    ..RUNNING
};

pub(crate) const SAME: Variant = Variant {
    version: "1.5.0",
    ..RUNNING
};

/// Less than 256 bytes.
pub(crate) const DESCRIPTION: &str = r#"{"title":"Lines","credentials":[{"name":"api","kind":"api-key-header","title":"A key"}],"streams":[{"name":"orders","title":"Orders","modes":["read"]}]}"#;

impl Variant {
    pub(crate) fn build(self, system: &str, folder: &Path) -> PathBuf {
        let url = format!("{system}{}", self.path);
        let Self { change, skip, .. } = self;
        let described = DESCRIPTION.len();
        let description = DESCRIPTION.replace('"', "\\\"");
        let code = format!(
            r#"(import "stecker:plugin/http@1.0.0" "send" (func $send (param i32 i32)))
;; imports end
            (data (i32.const 4096) "GET{url}") (data (i32.const 4400) "orders1{{\"n\":1}}") (data (i32.const 4800) "api")
            {MEMORY}
            (data (i32.const 1024) "\10\04\00\00\{described:02x}\00\00\00")
            (data (i32.const 1040) "{description}")
            (func (export "stecker:plugin/meta@1.0.0#describe") (result i32) (i32.const 1024))
            (func $skip (param $i i32) (result i32) {skip})
            (func $change (param $line i32) (local $at i32) {change})
            (func (export "stecker:plugin/source@1.0.0#read") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)
                (local $body i32) (local $n i32) (local $i i32) (local $count i32) (local $records i32) (local $line i32) (local $at i32)
                (i32.store (i32.const 5000) (i32.const 4096)) (i32.store (i32.const 5004) (i32.const 3))
                (i32.store (i32.const 5008) (i32.const 4099)) (i32.store (i32.const 5012) (i32.const {length}))
                (i32.store8 (i32.const 5036) (i32.const 1)) (i32.store (i32.const 5040) (i32.const 4800)) (i32.store (i32.const 5044) (i32.const 3))
                (call $send (i32.const 5000) (i32.const 6000))
                (if (i32.load8_u (i32.const 6000)) (then (return (i32.const 6000))))
                (local.set $body (i32.load (i32.const 6020)))
                (local.set $n (i32.div_u (i32.load (i32.const 6024)) (i32.const {WIDTH})))
                (local.set $records (call $cabi_realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $n) (i32.const 72))))
                (block $done (loop $next
                    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
                    (local.set $line (i32.add (local.get $body) (i32.mul (local.get $i) (i32.const {WIDTH}))))
                    (if (i32.eqz (call $skip (local.get $i))) (then
                        (call $change (local.get $line))
                        (local.set $at (i32.add (local.get $records) (i32.mul (local.get $count) (i32.const 72))))
                        (i32.store (local.get $at) (i32.const 4400)) (i32.store offset=4 (local.get $at) (i32.const 6))
                        (i32.store offset=8 (local.get $at) (i32.add (local.get $line) (i32.const 7))) (i32.store offset=12 (local.get $at) (i32.const 4))
                        (i32.store offset=20 (local.get $at) (local.get $line)) (i32.store offset=24 (local.get $at) (i32.const {payload}))
                        (i32.store offset=56 (local.get $at) (i32.const 4406)) (i32.store offset=60 (local.get $at) (i32.const 1))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
                (i32.store (i32.const 7008) (local.get $records)) (i32.store (i32.const 7012) (local.get $count))
                (i32.store8 (i32.const 7016) (i32.const 1)) (i32.store (i32.const 7020) (i32.const 4407)) (i32.store (i32.const 7024) (i32.const 7))
                (i32.const 7000))
            (func (export "stecker:plugin/source@1.0.0#acknowledge") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))"#,
            length = url.len(),
            payload = WIDTH - 1,
        );
        let manifest = format!(
            "name = \"tests/lines\"\nversion = \"{}\"\ntitle = \"Lines\"\ncontract = \"1.0.0\"\n\
             [[capabilities.http]]\nschemes = [\"http\"]\nhosts = [\"{{config:/url}}\"]\nmethods = [\"GET\"]\npurpose = \"tests\"\n\
             [credentials.api]\nkind = \"api-key-header\"\nheader = \"x-api-key\"\ndescription = \"tests\"\n",
            self.version
        );
        let world = "import stecker:plugin/http@1.0.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/source@1.0.0;";
        built(
            world,
            &code,
            &manifest,
            &folder.join(format!("lines-{}.wasm", self.version)),
        )
    }
}

/// Sends the same order for every batch, whatever is in it.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    pub(crate) version: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
}

impl Writer {
    pub(crate) const RUNNING: Self = Self {
        version: "1.0.0",
        path: "/orders",
        body: r#"{"id":"1","total":"12.50","lines":[{"n":1}]}"#,
    };
    /// Written in another way, and the same.
    pub(crate) const SAME: Self = Self {
        version: "1.1.0",
        body: r#"{ "lines": [{ "n": 1.0 }], "total": "12.50", "id": "1" }"#,
        ..Self::RUNNING
    };
    pub(crate) const IN_CENTS: Self = Self {
        version: "1.2.0",
        body: r#"{"id":"1","total":1250,"lines":[{"n":1}]}"#,
        ..Self::RUNNING
    };
    pub(crate) const ELSEWHERE: Self = Self {
        version: "1.3.0",
        path: "/sales",
        ..Self::RUNNING
    };

    pub(crate) fn build(self, system: &str, folder: &Path) -> PathBuf {
        let text = |text: &str| text.replace('"', "\\\"");
        let url = format!("{system}{}", self.path);
        let description =
            r#"{"title":"Writer","streams":[{"name":"orders","title":"Orders","modes":["write"]}]}"#;
        let code = format!(
            r#"(import "stecker:plugin/http@1.0.0" "send" (func $send (param i32 i32)))
;; imports end
            {MEMORY}
            (data (i32.const 1024) "\10\04\00\00\{described:02x}\00\00\00")
            (data (i32.const 1040) "{description}")
            (data (i32.const 4096) "POST{url}") (data (i32.const 4400) "{body}")
            (func (export "stecker:plugin/meta@1.0.0#describe") (result i32) (i32.const 1024))
            (func (export "stecker:plugin/destination@1.0.0#write") (param i32 i32 i32 i32 i32 i32) (result i32)
                (i32.store (i32.const 5000) (i32.const 4096)) (i32.store (i32.const 5004) (i32.const 4))
                (i32.store (i32.const 5008) (i32.const 4100)) (i32.store (i32.const 5012) (i32.const {url_len}))
                (i32.store8 (i32.const 5024) (i32.const 1)) (i32.store (i32.const 5028) (i32.const 4400)) (i32.store (i32.const 5032) (i32.const {body_len}))
                (call $send (i32.const 5000) (i32.const 6000))
                (if (i32.load8_u (i32.const 6000)) (then (return (i32.const 6000))))
                (i32.store (i32.const 3008) (i32.const 7000)) (i32.store (i32.const 3012) (local.get 5))
                (i32.const 3000))
            (func (export "stecker:plugin/destination@1.0.0#lookup") (param i32 i32 i32 i32 i32 i32) (result i32) (unreachable))"#,
            described = description.len(),
            description = text(description),
            body = text(self.body),
            url_len = url.len(),
            body_len = self.body.len(),
        );
        let manifest = format!(
            "name = \"tests/writer\"\nversion = \"{}\"\ntitle = \"Writer\"\ncontract = \"1.0.0\"\n\
             [[capabilities.http]]\nschemes = [\"http\"]\nhosts = [\"{{config:/url}}\"]\nmethods = [\"POST\"]\npurpose = \"tests\"\n",
            self.version
        );
        let world = "import stecker:plugin/http@1.0.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/destination@1.0.0;";
        built(
            world,
            &code,
            &manifest,
            &folder.join(format!("writer-{}.wasm", self.version)),
        )
    }
}

/// A memory of which the first 64 KiB are for what is written down here, and an allocator that never frees.
const MEMORY: &str = r#"
            (memory (export "memory") 8)
            (global $heap (mut i32) (i32.const 65536))
            (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $len i32) (param $align i32) (param $new i32) (result i32)
                (local $at i32)
                (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (local.set $at (global.get $heap))
                (global.set $heap (i32.add (global.get $heap) (local.get $new)))
                (local.get $at))"#;

fn built(world: &str, code: &str, manifest: &str, path: &Path) -> PathBuf {
    let guest = Guest {
        world,
        packages: "",
        code,
        prelude: false,
    };
    let component = guest.build(&Version::new(1, 0, 0), &Manifest::from_toml(manifest).unwrap());
    fs::write(path, component.unwrap()).unwrap();
    path.to_owned()
}
