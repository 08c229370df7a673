//! Guests that are too large to be written down: what is meant to keep a compiler, a validator or a cache busy.

use std::fmt::Write as _;

use anyhow::{Result, bail};

/// What a generator makes.
pub(crate) enum Bomb {
    /// Core WebAssembly text without the `(module …)`, to become a transform.
    Module(String),
    /// A file as it is.
    File(Vec<u8>),
}

const HONEST: &str =
    "(func (export \"stecker:plugin/transform@VERSION#apply\") (param i32 i32 i32 i32) (result i32)
    (call $dropping (i32.const 1042) (i32.const 5)))";

pub(crate) fn make(name: &str) -> Result<Bomb> {
    Ok(match name {
        "huge-function" => Bomb::Module(format!("{} {HONEST}", huge_function(400_000))),
        "slow-function" => Bomb::Module(format!("{} {HONEST}", slow_function(800, 14_000))),
        "many-functions" => Bomb::Module(format!("{} {HONEST}", many_functions(300_000))),
        "many-locals" => Bomb::Module(format!("{} {HONEST}", many_locals())),
        "nested-blocks" => Bomb::Module(format!("{} {HONEST}", nested_blocks(15_000))),
        "many-data-segments" => Bomb::Module(format!("{} {HONEST}", many_segments(90_000))),
        "huge-table" => Bomb::Module(format!("(table $large 10000000 funcref) {HONEST}")),
        "huge-memory" => Bomb::Module(format!("(memory $large 49152) {HONEST}")),
        "many-memories" => Bomb::Module(format!("{} {HONEST}", "(memory 1) ".repeat(99))),
        "many-tables" => Bomb::Module(format!("{} {HONEST}", "(table 1 funcref) ".repeat(99))),
        "nested-components" => Bomb::File(nested_components(200)),
        "many-instances" => Bomb::File(wat::parse_str(many_instances(2_000))?),
        "huge-file" => Bomb::File(vec![0; 65 << 20]),
        "random-file" => Bomb::File(noise(1 << 20)),
        other => bail!("there is no generator `{other}`"),
    })
}

/// One function whose code grows a compiler's tables faster than itself.
fn huge_function(steps: usize) -> String {
    let mut code = "(func $huge (param $a i64) (param $b i64) (result i64)\n".to_owned();
    for i in 0..steps {
        let (to, from) = if i % 2 == 0 { ("$a", "$b") } else { ("$b", "$a") };
        writeln!(
            code,
            "(local.set {to} (i64.add (i64.mul (local.get $a) (i64.const {i})) (i64.rotl (local.get {from}) (local.get $b))))"
        )
        .ok();
    }
    code.push_str("(local.get $a))");
    code
}

/// A small function that every cap lets through: each of its locals lives through each of its loops, so what a register allocator has to think
/// about is their product.
fn slow_function(locals: usize, loops: usize) -> String {
    let mut code = format!(
        "(func (param $again i32) (result i64) (local {})\n",
        "i64 ".repeat(locals)
    );
    for i in 0..loops {
        let (to, from) = (1 + i % locals, 1 + (i * 7 + 3) % locals);
        writeln!(
            code,
            "(loop $l (local.set {to} (i64.add (local.get {to}) (local.get {from}))) (br_if $l (local.get $again)))"
        )
        .ok();
    }
    code.push_str("(i64.const 0)");
    for i in 1..=locals {
        write!(code, "(i64.add (local.get {i}))").ok();
    }
    code.push(')');
    code
}

fn many_functions(count: usize) -> String {
    "(func)\n".repeat(count)
}

/// The most locals that a function may have, in each of many functions: their frames have to be laid out and cleared.
fn many_locals() -> String {
    let locals = "i64 ".repeat(49_000);
    let mut code = String::new();
    for _ in 0..100 {
        writeln!(code, "(func (local {locals}))").ok();
    }
    code
}

fn nested_blocks(depth: usize) -> String {
    // Written flat: the text parser itself would run out of stack over folded ones.
    format!("(func {} {})", "block ".repeat(depth), "end ".repeat(depth))
}

fn many_segments(count: usize) -> String {
    "(data (i32.const 0) \"x\")\n".repeat(count)
}

/// Written byte by byte, because the text parser has a bound of its own: a header, and a section 4 with the next one in it.
fn nested_components(depth: usize) -> Vec<u8> {
    const HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    let mut bytes = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        outer.push(4);
        let mut len = bytes.len();
        while len > 0x7f {
            outer.push(u8::try_from(len & 0x7f).unwrap_or_default() | 0x80);
            len >>= 7;
        }
        outer.push(u8::try_from(len).unwrap_or_default());
        outer.append(&mut bytes);
        bytes = outer;
    }
    bytes
}

/// One small module, instantiated very often.
fn many_instances(count: usize) -> String {
    let instances = "(core instance (instantiate $m))\n".repeat(count);
    format!("(component (core module $m (memory 1) (table 1 funcref)) {instances})")
}

/// The same bytes every time, and no WebAssembly.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
