//! Counts connections to where nothing may connect.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{net::TcpListener, task::JoinSet};

#[derive(Debug)]
pub(crate) struct Canary {
    reached: Arc<AtomicU64>,
    /// Ends with the canary.
    listening: JoinSet<()>,
}

impl Canary {
    pub(crate) fn new(listeners: Vec<TcpListener>) -> Self {
        let mut canary = Self {
            reached: Arc::default(),
            listening: JoinSet::new(),
        };
        for listener in listeners {
            canary.watch(listener);
        }
        canary
    }

    pub(crate) fn watch(&mut self, listener: TcpListener) {
        let reached = Arc::clone(&self.reached);
        self.listening.spawn(async move {
            // The connection is closed at once: it was one too many.
            while listener.accept().await.is_ok() {
                reached.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Connections so far.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }
}
