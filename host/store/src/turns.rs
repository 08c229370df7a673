//! Turns at SQLite's one writer, tenant by tenant.
//!
//! The writer's connection is handed out in the order in which it is asked for. A tenant that has a hundred writes waiting would get a
//! hundred turns before its neighbour's next one. So a tenant waits in a line of its own first, and has one write at a time in the line that
//! everybody shares: whoever comes waits for one write of each other tenant at most. Postgres has many writers and needs none of this.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use stecker_model::Name;
use tokio::sync::{Mutex as Line, OwnedMutexGuard};

/// A tenant's turn, for as long as this is kept.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// The lines of all tenants that have something to write.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    by_tenant: HashMap<Name, Weak<Line<()>>>,
    /// At this size, lines in which nobody stands are taken out; so that costs as much as was put in, however many tenants there are.
    sweep_at: usize,
}

const LEAST_SWEEP: usize = 64;

impl Turns {
    /// Waits until it is the tenant's turn for this one of its writes.
    pub(crate) async fn of(&self, tenant: &Name) -> Turn {
        self.line(tenant).lock_owned().await
    }

    fn line(&self, tenant: &Name) -> Arc<Line<()>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.by_tenant.get(tenant).and_then(Weak::upgrade) {
            return line;
        }
        if lines.by_tenant.len() >= lines.sweep_at {
            lines.by_tenant.retain(|_, line| line.strong_count() > 0);
            lines.sweep_at = (lines.by_tenant.len() * 2).max(LEAST_SWEEP);
        }
        let line = Arc::new(Line::new(()));
        lines.by_tenant.insert(tenant.clone(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_tenant_waits_for_itself_and_for_nobody_else() {
        let turns = Turns::default();
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = turns.of(&a).await;
        let mut second = Box::pin(turns.of(&a));
        assert!((&mut second).now_or_never().is_none());
        assert!(turns.of(&b).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn lines_in_which_nobody_stands_are_forgotten() {
        let turns = Turns::default();
        let held = turns.of(&"held".parse().unwrap()).await;
        for n in 0..10_000 {
            drop(turns.of(&format!("tenant-{n}").parse().unwrap()).await);
        }
        let lines = turns.0.lock().unwrap();
        assert!(lines.by_tenant.len() <= LEAST_SWEEP, "{}", lines.by_tenant.len());
        assert!(lines.by_tenant.contains_key(&"held".parse().unwrap()));
        drop(held);
    }
}
