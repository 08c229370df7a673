//! One file per group of commands: take the words, call the operation, show what it says.

mod check;
mod confirm;
mod connection;
mod denials;
mod doctor;
mod edit;
mod explain;
mod flow;
mod key;
mod lock;
mod manage;
mod plugin;
mod publish;
mod pull;
mod quarantine;
mod reconcile;
mod records;
mod registry;
mod release;
mod replay;
mod rollout;
mod schema;
mod secret;
mod serve;
mod setup;
mod shadow;
mod steps;
mod storage;
mod tenant;
mod trust;
mod upstream;
mod webhook;

pub(crate) use connection::connection;
pub(crate) use denials::denials;
pub(crate) use doctor::doctor;
pub(crate) use explain::explain;
pub(crate) use flow::flow;
pub(crate) use key::{key, sign};
pub(crate) use lock::{at_risk, lock, outdated};
pub(crate) use plugin::plugin;
pub(crate) use quarantine::quarantine;
pub(crate) use reconcile::reconcile;
pub(crate) use records::records;
pub(crate) use registry::registry;
pub(crate) use release::release;
pub(crate) use replay::replay;
pub(crate) use rollout::{rollout, upgrade};
pub(crate) use schema::{completion, schema};
pub(crate) use secret::secret;
pub(crate) use serve::serve;
pub(crate) use setup::apply;
pub(crate) use shadow::{shadow, tape};
pub(crate) use storage::storage;
pub(crate) use tenant::tenant;
pub(crate) use trust::trust;
pub(crate) use upstream::upstream;
pub(crate) use webhook::webhook;

use stecker_model::{Probe, api::Reason};

use crate::output::{Page, bad, dim, good};

/// Things that were tried, each with what to do about it.
fn probes(page: &mut Page, probes: &[Probe]) {
    for probe in probes {
        let mark = if probe.ok { good("✓") } else { bad("✗") };
        page.line(format!("{mark} {}: {}", probe.name, probe.message));
        if let Some(hint) = probe.hint.as_ref().filter(|_| !probe.ok) {
            page.line(format!("  {} {hint}", good("→")));
        }
    }
}

/// A cause on one line.
fn cause(reason: &Reason) -> String {
    // The empty pointer is the payload as a whole.
    let place = reason.path.as_ref().filter(|path| !path.is_empty());
    let place = place.map_or_else(String::new, |path| format!(" at {path}"));
    let message = reason.message.lines().next().unwrap_or_default();
    format!("{}{place} {}", reason.code, dim(message))
}
