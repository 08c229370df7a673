//! The circuit of one connection, as calls see it: asks the store, has `circuit` decide, and keeps what was decided.

use std::sync::Arc;

use stecker_model::{
    Name,
    api::{Circuit, CircuitState, Crash},
};
use stecker_sandbox::CallError;
use stecker_store::{AuditEntry, CircuitChange, Store, StoreError};

use crate::{
    circuit::{self, Admission},
    clock::Clock,
};

/// Who the audit trail names for what happens by itself.
const HOST: &str = "host";
/// Added to a call's deadline for everything around it, in milliseconds.
const GRACE: i64 = 30_000;

/// Lets calls of one connection through, and hears how they ended.
pub(crate) struct Guard {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    /// `namespace/name@version`, for people.
    pub(crate) plugin: String,
    /// The generation of the specification that is called.
    pub(crate) generation: i64,
    /// How long a call may take, in milliseconds.
    pub(crate) deadline: i64,
}

impl Guard {
    /// Whether a call may be made by a circuit that was read a moment ago: the circuit that holds while it runs, or the one that keeps it
    /// back.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn admit(
        &self,
        circuit: Circuit,
        may_probe: bool,
    ) -> Result<Result<Circuit, Circuit>, StoreError> {
        let now = self.clock.now_ms();
        let circuit = circuit::current(circuit, self.generation);
        match circuit::admission(&circuit, now) {
            Admission::Call => return Ok(Ok(circuit)),
            Admission::Wait => return Ok(Err(circuit)),
            Admission::Probe if !may_probe => return Ok(Err(circuit)),
            Admission::Probe => {}
        }
        let patience = self.deadline.saturating_add(GRACE);
        let (circuit, mine) = self
            .store
            .change_circuit(&self.tenant, &self.connection, |circuit, generation| {
                let probing = circuit::probe(circuit::current(circuit, generation), now, patience)?;
                Some(CircuitChange {
                    circuit: probing,
                    audit: None,
                })
            })
            .await?;
        if mine {
            tracing::info!(tenant = %self.tenant, connection = %self.connection, "the circuit is open; one call is let through");
            return Ok(Ok(circuit));
        }
        Ok(Err(circuit))
    }

    pub(crate) async fn crashed(&self, function: &'static str, record: Option<&str>, error: &CallError) {
        let now = self.clock.now_ms();
        let crash = Crash {
            at: now,
            function: function.to_owned(),
            // The frames have a place of their own.
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
            backtrace: error.backtrace().to_vec(),
            plugin: self.plugin.clone(),
        };
        let changed = self
            .store
            .change_circuit(&self.tenant, &self.connection, |before, generation| {
                // Of a specification that is not there any more.
                if generation != self.generation {
                    return None;
                }
                let before = circuit::current(before, generation);
                let was_open = before.state == CircuitState::Open;
                let after = circuit::crashed(before, crash, record, now, &mut rand::rng());
                let audit = (after.state == CircuitState::Open && !was_open)
                    .then(|| self.entry("connection.circuit-open", HOST, now, &after));
                Some(CircuitChange {
                    circuit: after,
                    audit,
                })
            })
            .await;
        let (tenant, connection) = (&self.tenant, &self.connection);
        match changed {
            Ok((circuit, true)) if circuit.state == CircuitState::Open => {
                tracing::error!(%tenant, %connection, function, reason = circuit.reason, until = circuit.until, "the circuit is open");
            }
            Ok(_) => tracing::warn!(%tenant, %connection, function, %error, "crashed"),
            Err(failure) => {
                tracing::error!(%tenant, %connection, function, %error, %failure, "crashed, and that could not be written down");
            }
        }
    }

    pub(crate) async fn worked(&self, function: &'static str) {
        let now = self.clock.now_ms();
        let changed = self
            .store
            .change_circuit(&self.tenant, &self.connection, |before, generation| {
                let before = circuit::current(before, generation);
                if !circuit::matters(&before, function) || before.state == CircuitState::Open {
                    return None;
                }
                let was_probing = before.state == CircuitState::Probing;
                let after = circuit::worked(before, function, now);
                let audit = was_probing.then(|| self.entry("connection.circuit-close", HOST, now, &after));
                Some(CircuitChange {
                    circuit: after,
                    audit,
                })
            })
            .await;
        if let Err(error) = changed {
            tracing::warn!(tenant = %self.tenant, connection = %self.connection, %error, "that the plugin works again could not be written down");
        }
    }

    fn entry(&self, action: &str, actor: &str, now: i64, circuit: &Circuit) -> AuditEntry {
        entry(&self.connection, action, actor, now, circuit)
    }
}

fn entry(connection: &Name, action: &str, actor: &str, now: i64, circuit: &Circuit) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("connection/{connection}"),
        detail: serde_json::json!({ "reason": circuit.reason, "until": circuit.until, "last-crash": circuit.last_crash }),
    }
}

/// A person opens or closes the circuit of a connection.
///
/// # Errors
/// The connection is unknown, or the store fails.
pub(crate) async fn by_hand(
    store: &Store,
    (tenant, connection): (&Name, &Name),
    open: bool,
    actor: &str,
    reason: &str,
    now: i64,
) -> Result<Circuit, StoreError> {
    let (circuit, _) = store
        .change_circuit(tenant, connection, |before, generation| {
            let before = circuit::current(before, generation);
            let (circuit, action) = if open {
                let opened = circuit::opened(before, actor, reason, generation, now);
                (opened, "connection.circuit-open")
            } else {
                (Circuit::default(), "connection.circuit-close")
            };
            let mut audit = entry(connection, action, actor, now, &circuit);
            audit.detail = serde_json::json!({ "reason": reason });
            Some(CircuitChange {
                circuit,
                audit: Some(audit),
            })
        })
        .await?;
    Ok(circuit)
}
