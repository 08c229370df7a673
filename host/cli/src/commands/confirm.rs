//! Asking before much is done.

use std::io::{self, IsTerminal as _};

use crate::{
    failure::{Failure, Result, failed},
    output::Output,
};

/// Refuses where nobody can be asked. Before anything is touched, so that a script that lacks `--yes` fails at once.
pub(super) fn can_ask(output: Output, what: &str) -> Result<()> {
    if !output.json && io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{what}, and nobody can be asked here: --yes says so, --dry-run only shows it"
    )))
}

/// Asks; everything but a yes is a no, and ends the command.
pub(super) fn ask(output: Output, question: &str) -> Result<()> {
    output.note(&format!("{question} [y/N]"));
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| failed("input", format!("the answer could not be read: {error}")))?;
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(failed("not-confirmed", "not confirmed, so nothing was changed").into())
}
