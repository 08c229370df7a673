//! WASI 0.2 for guests whose toolchain imports it whether they use it or not: no files, no environment, no arguments, no sockets, no
//! input. What they write to their outputs becomes log lines; the clocks are as coarse as the contract's own. HTTP is in
//! [`wasi_http`](super::wasi_http).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, Resource},
};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder,
    cli::{IsTerminal, StdoutStream},
    p2::{
        Network, OutputStream, Pollable, StreamResult, TcpSocket, UdpSocket,
        bindings::sockets::{
            ip_name_lookup::ResolveAddressStream,
            network::{ErrorCode, IpAddressFamily},
        },
    },
};

use super::{
    clock,
    http::denied,
    log::{LogSink, Output},
};
use crate::{
    binding::Denial,
    call::{CallState, Caller},
    tape::TimeOfDay,
};

/// Offered to a guest for one write; it also bounds what the host allocates for one.
const WRITE_AT_ONCE: usize = 64 << 10;
/// Of the clocks, as of the contract's own: a finer one helps to measure what other tenants do.
const TICK: Duration = Duration::from_millis(1);
/// The version of the interfaces that `wasmtime-wasi` defines, to take the place of some of its functions. A guest may import any 0.2.
pub(crate) const VERSION: &str = "0.2.12";

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    super::random::add_to_linker(linker)?;
    refuse_sockets(linker)?;
    add_timezone(linker)
}

type Refused<T> = wasmtime::Result<(Result<Resource<T>, ErrorCode>,)>;

/// `wasmtime-wasi` says no as well, but only to the guest. The operator is to know it, too.
fn refuse_sockets(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    fn refuse<T>(store: &StoreContextMut<'_, CallState>, asked: &str) -> Refused<T> {
        let denial = Denial {
            rule: "wasi.sockets".to_owned(),
            layer: "host".to_owned(),
            asked: format!("{asked} with `wasi:sockets`, while HTTP is the only way out,"),
            smallest_grant: String::new(),
        };
        drop(denied(&*store.data().caller.bound.binding.observer, denial));
        Ok((Err(ErrorCode::AccessDenied),))
    }
    linker.allow_shadowing(true);
    linker
        .instance(&format!("wasi:sockets/tcp-create-socket@{VERSION}"))?
        .func_wrap("create-tcp-socket", |store, (_,): (IpAddressFamily,)| {
            refuse::<TcpSocket>(&store, "opening a TCP socket")
        })?;
    linker
        .instance(&format!("wasi:sockets/udp-create-socket@{VERSION}"))?
        .func_wrap("create-udp-socket", |store, (_,): (IpAddressFamily,)| {
            refuse::<UdpSocket>(&store, "opening a UDP socket")
        })?;
    linker
        .instance(&format!("wasi:sockets/ip-name-lookup@{VERSION}"))?
        .func_wrap(
            "resolve-addresses",
            |store, (_, name): (Resource<Network>, String)| {
                let name: String = name.chars().take(MAX_SHOWN).collect();
                let asked = format!("looking up the name `{}`", name.escape_debug());
                refuse::<ResolveAddressStream>(&store, &asked)
            },
        )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Of a name that a guest looks up, in what the operator is told.
const MAX_SHOWN: usize = 256;

/// `wasi:clocks/timezone`, which `wasmtime-wasi` leaves out because it is not stable yet: UTC, whatever the machine is set to.
/// <https://github.com/WebAssembly/wasi-clocks/blob/v0.2.7/wit/timezone.wit>
fn add_timezone(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    #[derive(ComponentType, Lift)]
    #[component(record)]
    #[expect(dead_code, reason = "UTC is the same at any moment")]
    struct Datetime {
        seconds: u64,
        nanoseconds: u32,
    }

    #[derive(ComponentType, Lower)]
    #[component(record)]
    struct Display {
        #[component(name = "utc-offset")]
        utc_offset: i32,
        name: String,
        #[component(name = "in-daylight-saving-time")]
        in_daylight_saving_time: bool,
    }

    let mut timezone = linker.instance(&format!("wasi:clocks/timezone@{VERSION}"))?;
    timezone.func_wrap("display", |_, (_,): (Datetime,)| {
        let utc = Display {
            utc_offset: 0,
            name: "UTC".to_owned(),
            in_daylight_saving_time: false,
        };
        Ok((utc,))
    })?;
    timezone.func_wrap("utc-offset", |_, (_,): (Datetime,)| Ok((0_i32,)))
}

pub(crate) fn context(caller: &Caller) -> WasiCtx {
    let (log, clock_start) = (&caller.log, caller.clock_start);
    let output = |output| GuestOutput {
        log: Arc::clone(log),
        output,
    };
    WasiCtxBuilder::new()
        .stdout(output(Output::Stdout))
        .stderr(output(Output::Stderr))
        // These are what the builder does anyway; a change of its mind must not become a hole.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .socket_addr_check(|_, _| Box::pin(async { false }))
        .wall_clock(WallClock(Arc::clone(&caller.time)))
        .monotonic_clock(MonotonicClock { start: clock_start })
        .build()
}

struct WallClock(Arc<TimeOfDay>);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        TICK
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now())
    }
}

struct MonotonicClock {
    start: Instant,
}

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        nanos(TICK)
    }

    fn now(&self) -> u64 {
        nanos(Duration::from_millis(clock::monotonic_ms(self.start)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Clone)]
struct GuestOutput {
    log: Arc<LogSink>,
    output: Output,
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.output(self.output, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_AT_ONCE)
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.log.output(self.output, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
