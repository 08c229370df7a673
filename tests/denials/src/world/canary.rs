//! Counts connections to where nothing may connect.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Notify,
    task::JoinSet,
};

/// For a connection on loopback to be accepted, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Canary {
    doors: Vec<SocketAddr>,
    counter: Arc<Counter>,
    /// Ends with the canary.
    listening: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counter {
    reached: AtomicU64,
    /// The canary's own connections, which do not count.
    own: Mutex<BTreeSet<SocketAddr>>,
    passed: Notify,
}

impl Counter {
    fn accepted(&self, peer: SocketAddr) {
        let own = self
            .own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&peer);
        if own {
            self.passed.notify_one();
        } else {
            self.reached.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Canary {
    pub(crate) fn watch(&mut self, listener: TcpListener) -> Result<()> {
        self.doors.push(listener.local_addr()?);
        let counter = Arc::clone(&self.counter);
        self.listening.spawn(async move {
            // The connection is closed at once: it was one too many.
            while let Ok((_, peer)) = listener.accept().await {
                counter.accepted(peer);
            }
        });
        Ok(())
    }

    /// Connections so far. A door accepts in the order of arrival, so the canary goes through each of its own, and knows that who came before
    /// has been counted.
    pub(crate) async fn reached(&self) -> Result<u64> {
        for door in &self.doors {
            self.pass(*door)
                .await
                .with_context(|| format!("the canary's own door {door}"))?;
        }
        Ok(self.counter.reached.load(Ordering::SeqCst))
    }

    async fn pass(&self, door: SocketAddr) -> Result<()> {
        let socket = match door.ip() {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(door.ip(), 0))?;
        self.counter
            .own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(socket.local_addr()?);
        let passed = self.counter.passed.notified();
        let _connection = socket.connect(door).await?;
        tokio::time::timeout(PATIENCE, passed).await?;
        Ok(())
    }
}
