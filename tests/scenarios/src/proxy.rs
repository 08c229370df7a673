//! A wire that can be cut: stands between two programs on loopback and does what networks do.
//!
//! - **held**: nothing comes through, and all of it comes late; what a short cut looks like, because TCP sends again what was lost.
//! - **swallowed**: nothing comes through, ever, on the connections that there are, which stay open; what it looks like when something in between
//!   has forgotten them, or is stuck.
//! - **reset**: the connections end, and new ones work.
//!
//! Each direction has its own way. A commit can be met on its way: it arrives or not, and its answer never does.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What becomes of bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// They arrive.
    #[default]
    Open,
    /// They arrive when this is over.
    Held,
    /// They are lost, and so is the rest of their connection.
    Swallowed,
}

/// What a cut does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// From the one who connects.
    pub to_server: Way,
    /// To the one who connects.
    pub to_client: Way,
    /// The next `COMMIT` of a Postgres connection is met: whether it arrives.
    pub commit_arrives: Option<bool>,
}

impl Cut {
    /// The same in both directions.
    #[must_use]
    pub fn both(way: Way) -> Self {
        Self {
            to_server: way,
            to_client: way,
            commit_arrives: None,
        }
    }
}

#[derive(Debug)]
struct Wire {
    cut: watch::Sender<Cut>,
    /// Ends the connections that there are.
    reset: watch::Sender<CancellationToken>,
    commits_met: AtomicU64,
}

/// A wire. It is gone when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<Wire>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// A wire to a server, open, that begins at an address of this machine.
    ///
    /// # Errors
    /// No port can be had there.
    pub async fn to(server: SocketAddr, at: Ipv4Addr) -> Result<Self> {
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let wire = Arc::new(Wire {
            cut: watch::Sender::new(Cut::default()),
            reset: watch::Sender::new(CancellationToken::new()),
            commits_met: AtomicU64::new(0),
        });
        let serving = tokio::spawn({
            let wire = Arc::clone(&wire);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let wire = Arc::clone(&wire);
                    tokio::spawn(async move {
                        // The one end hears from the other how it ended.
                        let _ = wire.carry(client, server).await;
                    });
                }
            }
        });
        Ok(Self {
            address,
            wire,
            serving,
        })
    }

    /// A wire to the server of a URL; the URL through the wire.
    ///
    /// # Errors
    /// The URL has no address and port, or no port can be had.
    pub async fn before(url: &str, at: Ipv4Addr) -> Result<(Self, String)> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let server: SocketAddr = host
            .parse()
            .with_context(|| format!("{host} is not an address and a port"))?;
        let proxy = Self::to(server, at).await?;
        let through = url.replacen(host, &proxy.address.to_string(), 1);
        Ok((proxy, through))
    }

    /// From now on.
    pub fn cut(&self, cut: Cut) {
        self.wire.cut.send_replace(cut);
    }

    /// Everything arrives again, except on connections that lost something.
    pub fn heal(&self) {
        self.cut(Cut::default());
    }

    /// Ends the connections that there are.
    pub fn reset(&self) {
        self.wire.reset.send_replace(CancellationToken::new()).cancel();
    }

    /// How many commits were met.
    #[must_use]
    pub fn commits_met(&self) -> u64 {
        self.wire.commits_met.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        self.reset();
    }
}

/// What one connection lost, which makes the rest of it worthless.
#[derive(Debug, Default)]
struct Lost {
    to_server: CancellationToken,
    to_client: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Wire {
    async fn carry(&self, client: TcpStream, server: SocketAddr) -> Result<()> {
        let ended = self.reset.borrow().clone();
        let carrying = async {
            let mut cut = self.cut.subscribe();
            // Who cannot be reached does not answer, not even that it is there.
            cut.wait_for(|cut| cut.to_server == Way::Open).await?;
            let server = TcpStream::connect(server).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let lost = Lost::default();
            let there = self.pump(Direction::ToServer, &mut from_client, &mut to_server, &lost);
            let back = self.pump(Direction::ToClient, &mut from_server, &mut to_client, &lost);
            tokio::select! {
                ended = there => ended,
                ended = back => ended,
            }
        };
        tokio::select! {
            () = ended.cancelled() => Ok(()),
            carried = carrying => carried,
        }
    }

    /// Until one of the ends ends.
    async fn pump(
        &self,
        direction: Direction,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        lost: &Lost,
    ) -> Result<()> {
        let way = |cut: &Cut| match direction {
            Direction::ToServer => cut.to_server,
            Direction::ToClient => cut.to_client,
        };
        let broken = match direction {
            Direction::ToServer => &lost.to_server,
            Direction::ToClient => &lost.to_client,
        };
        let mut cut = self.cut.subscribe();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            let now = *cut.wait_for(|cut| way(cut) != Way::Held).await?;
            if way(&now) == Way::Swallowed {
                broken.cancel();
            }
            if direction == Direction::ToServer
                && let Some(arrives) = now.commit_arrives
                && has_commit(bytes)
                && self.meets()
            {
                lost.to_client.cancel();
                if !arrives {
                    broken.cancel();
                }
            }
            if !broken.is_cancelled() {
                to.write_all(bytes).await?;
            }
        }
    }

    /// Only the first commit is met, whoever else sees one at the same time.
    fn meets(&self) -> bool {
        let first = self
            .cut
            .send_if_modified(|cut| cut.commit_arrives.take().is_some());
        if first {
            self.commits_met.fetch_add(1, Ordering::Relaxed);
        }
        first
    }
}

/// A simple query (`Q`, its length, its text with a zero at the end), as drivers send it at the end of a transaction.
fn has_commit(bytes: &[u8]) -> bool {
    const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
    bytes.windows(COMMIT.len()).any(|window| window == COMMIT)
}
