//! What is around the sandbox in a scenario: upstreams that may be reached, a canary that must not be, a name server, a store, a
//! neighbour. Everything is on loopback.
//!
//! The upstream listens on 127.0.0.2, the canary on the same port of 127.0.0.1 and `[::1]`. So the address alone is between what is
//! granted and what is forbidden, and a policy that looks at anything else lets the canary be reached. On a second port the canary has
//! 127.0.0.2 as well, for what is wrong about ports.

pub(crate) mod answers;
pub(crate) mod canary;
pub(crate) mod dns;
pub(crate) mod observer;
pub(crate) mod secrets;
pub(crate) mod storage;
pub(crate) mod upstream;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use stecker_sandbox::{CompileBounds, Compiler, MemoryBlobs, Sandbox, SandboxOptions};
use tokio::net::TcpListener;

use crate::{neighbour::Neighbour, scenario::Places};
use canary::Canary;
use dns::NameServer;
use storage::MemoryStorage;
use upstream::Upstream;

const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Instances at the same time. Small, so that scenarios can take all of them.
const INSTANCES: u32 = 8;
/// Some times what the largest honest guest takes, and little enough to wait for. Processor time, which does not depend on what else the
/// machine is doing.
const COMPILE_SECONDS: u64 = 10;
/// A bomb must not take the machine with it that the suite runs on.
const COMPILE_MEMORY: u64 = 3 << 30;
/// The only argument of the program `denials` when it is to compile a guest.
pub(crate) const COMPILE: &str = "compile-component";

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) canary: Canary,
    pub(crate) upstream: Upstream,
    pub(crate) names: NameServer,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) blobs: MemoryBlobs,
    pub(crate) neighbour: Neighbour,
    pub(crate) places: Places,
}

impl World {
    /// `cache` is where compiled guests are kept, `compiler` the program that compiles them.
    pub(crate) async fn new(cache: &Path, compiler: &Path) -> Result<Self> {
        let (upstream, forbidden, port) = doors().await?;
        let mut canary = Canary::default();
        for listener in forbidden {
            canary.watch(listener)?;
        }
        let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let canary_port = elsewhere.local_addr()?.port();
        canary.watch(elsewhere)?;
        canary.watch(TcpListener::bind((UPSTREAM, canary_port)).await?)?;
        let names = NameServer::start().await?;
        let sandbox = Sandbox::new(options(cache, compiler, names.address()))?;
        Ok(Self {
            neighbour: Neighbour::new(&sandbox).await?,
            sandbox,
            canary,
            upstream: Upstream::start(upstream)?,
            names,
            storage: Arc::default(),
            blobs: MemoryBlobs::default(),
            places: Places::default()
                .with("port", &port.to_string())
                .with("canary-port", &canary_port.to_string()),
        })
    }
}

fn options(cache: &Path, compiler: &Path, names: SocketAddr) -> SandboxOptions {
    SandboxOptions {
        cache_dir: Some(cache.to_owned()),
        compiler: Compiler::Child {
            program: compiler.to_owned(),
            arguments: vec![COMPILE.into()],
            bounds: CompileBounds {
                cpu_seconds: COMPILE_SECONDS,
                memory: COMPILE_MEMORY,
                ..CompileBounds::default()
            },
        },
        dns: vec![names],
        max_instances: INSTANCES,
        tick: Duration::from_millis(5),
        ..SandboxOptions::default()
    }
}

/// A port on which the upstream's address and the canary's are free.
async fn doors() -> Result<(TcpListener, Vec<TcpListener>, u16)> {
    for _ in 0..50 {
        let canary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = canary.local_addr()?.port();
        let upstream = match TcpListener::bind((UPSTREAM, port)).await {
            Ok(upstream) => upstream,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue,
            Err(error) => {
                return Err(error).context(
                    "127.0.0.2 cannot be listened on. Linux has the whole of 127.0.0.0/8 on loopback; elsewhere add the address to the \
                     loopback interface first",
                );
            }
        };
        let mut canaries = vec![canary];
        match TcpListener::bind((IpAddr::from(Ipv6Addr::LOCALHOST), port)).await {
            Ok(canary) => canaries.push(canary),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue,
            // A machine without IPv6 has nothing there to be reached.
            Err(_) => {}
        }
        return Ok((upstream, canaries, port));
    }
    bail!("no port is free on 127.0.0.1, 127.0.0.2 and [::1] at the same time")
}
