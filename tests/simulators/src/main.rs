//! The simulators as a process of their own, so that they outlive a host that is killed.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use stecker_simulators::{Config, Faults, Simulators};
use tokio::sync::oneshot;

/// A shop and an ERP on 127.0.0.1, with seeded data and faults on purpose. Prints one line of JSON when both are ready.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port of the shop; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    shop_port: u16,
    /// Port of the ERP; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    erp_port: u16,
    /// Orders that the shop opens with
    #[arg(long, default_value_t = 1000)]
    orders: usize,
    /// Decides data and faults
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// off, on (the same as demo), demo or harsh
    #[arg(long, default_value = "off", value_parser = Faults::preset)]
    faults: Faults,
    /// How long a hanging call hangs, in milliseconds
    #[arg(long)]
    hang_ms: Option<u64>,
    /// Where the shop sends its events
    #[arg(long)]
    webhook_url: Option<String>,
    /// Also write the line of JSON to this file, when both systems are ready
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// End when the standard input ends
    #[arg(long)]
    exit_with_stdin: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut faults = arguments.faults;
    faults.hang_ms = arguments.hang_ms.unwrap_or(faults.hang_ms);
    let running = Simulators::start(Config {
        shop_port: arguments.shop_port,
        erp_port: arguments.erp_port,
        orders: arguments.orders,
        seed: arguments.seed,
        faults,
        webhook_url: arguments.webhook_url,
    })
    .await?;
    // Before the announcement, or a signal right after it would not find us listening.
    let end = end(arguments.exit_with_stdin)?;
    let line = format!("{}\n", serde_json::to_string(running.announcement())?);
    if let Some(file) = &arguments.port_file {
        write_whole(file, &line)?;
    }
    let mut stdout = io::stdout();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .context("nobody reads the announcement")?;
    end.await;
    running.stop().await;
    Ok(())
}

/// Whoever finds the file finds all of it.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("the announcement could not be written to {}", file.display()))
}

/// Ends with SIGTERM, ctrl-c and, if asked to, the end of the standard input.
fn end(with_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?
    };
    let (closed, input_closed) = oneshot::channel();
    if with_stdin {
        // A thread, because a read of the standard input cannot be cancelled; the process ends without it.
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while matches!(io::stdin().read(&mut buffer), Ok(1..)) {}
            // Nobody listens when the process ends for another reason.
            let _ = closed.send(());
        });
    }
    Ok(async move {
        let input = async {
            if !with_stdin || input_closed.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        #[cfg(unix)]
        let terminated = terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<()>();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
            () = input => {}
        }
    })
}
