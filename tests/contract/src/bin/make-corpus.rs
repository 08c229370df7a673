//! Builds the corpus' plugin against a version of the contract that was just published: `make-corpus 1.1.0`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks to a terminal"
)]

use std::process::ExitCode;

use stecker_contract_rules::corpus;

fn main() -> ExitCode {
    let Some(version) = std::env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("give the version of the contract: make-corpus 1.1.0");
        return ExitCode::from(2);
    };
    match corpus::make(&version, &|step| eprintln!("{step}")) {
        Ok(place) => {
            println!("{}", place.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
