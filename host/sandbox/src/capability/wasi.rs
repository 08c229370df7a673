//! WASI 0.2 for guests whose toolchain imports it whether they use it or not: no files, no environment, no arguments, no sockets, no
//! input. What they write to their outputs becomes log lines.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::log::{LogSink, Output};
use crate::call::CallState;

/// Offered to a guest for one write; it also bounds what the host allocates for one.
const WRITE_AT_ONCE: usize = 64 << 10;
/// What one call of `wasi:random` gives.
const MAX_RANDOM: u64 = 64 << 10;

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// Whether a component imports something that the registry accepts and the linker does not have.
pub(crate) fn imports_unlinked(imports: &[String]) -> bool {
    imports
        .iter()
        .any(|import| import.starts_with("wasi:http/") || import.starts_with("wasi:clocks/timezone@"))
}

pub(crate) fn context(log: &Arc<LogSink>) -> WasiCtx {
    let output = |output| GuestOutput {
        log: Arc::clone(log),
        output,
    };
    WasiCtxBuilder::new()
        .stdout(output(Output::Stdout))
        .stderr(output(Output::Stderr))
        // Both are what the builder does anyway; a change of its mind must not become a hole.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM)
        .build()
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
