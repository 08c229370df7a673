//! The page that people read is the list that the code has.

use std::{fs, path::Path};

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gate.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == stecker_gate::page(),
        "docs/gate.md is not what the code says: run `cargo run -p stecker-gate --example page > docs/gate.md`"
    );
}
