//! Prints `docs/gate.md`: `cargo run -p stecker-gate --example page > docs/gate.md`.
#![expect(clippy::print_stdout, reason = "an example speaks to a terminal")]

fn main() {
    print!("{}", stecker_gate::page());
}
