//! What the demo shows.
#![expect(clippy::print_stdout, reason = "this is the demo's face")]

use std::path::Path;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::Account;

/// A bar of orders that tells the states beside it.
pub(super) fn bar(orders: u64) -> ProgressBar {
    let bar = ProgressBar::new(orders);
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} orders  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar
}

pub(super) fn json(account: &Account) -> Result<()> {
    println!("{}", serde_json::to_string(account)?);
    Ok(())
}

pub(super) fn account(account: &Account) {
    println!();
    println!(
        "  read         {:>6}  orders accepted from the shop",
        account.read
    );
    println!("  delivered    {:>6}  booked in the ERP", account.delivered);
    println!(
        "  retried      {:>6}  needed more than one attempt",
        account.retried
    );
    println!("  quarantined  {:>6}  need a person", account.quarantined);
    for cause in &account.quarantine {
        println!(
            "               {:>6}  {}: {}",
            cause.count, cause.code, cause.message
        );
    }
    println!("  lost         {:>6}", account.lost);
    println!("  duplicated   {:>6}", account.duplicated);
    println!(
        "  stock        {:>6}  articles the same at both ends",
        account.stock_synced
    );
    for moved in &account.rollouts {
        println!("  to {:<8} {}, in {:.1} s", moved.to, moved.result, moved.seconds);
        for line in &moved.story {
            println!("               {line}");
        }
    }
    println!(
        "  in {:.1} s; the counts of lost and duplicated are the systems' own",
        account.seconds
    );
    for fault in &account.faults {
        println!("  NOT RIGHT: {fault}");
    }
}

pub(super) fn what_next(data: &Path, stecker: &Path) {
    println!();
    println!("The host is still up. In another terminal:");
    println!();
    println!("  export STECKER_DATA={}", data.display());
    println!("  alias stecker={}", stecker.display());
    println!("  stecker flow list");
    println!("  stecker quarantine list");
    println!("  stecker records list --flow orders-to-erp --limit 10");
    println!("  stecker records show orders-to-erp/1");
    println!("  stecker connection check shop");
    println!("  stecker quarantine discard --flow orders-to-erp --reason 'discontinued'");
    println!();
    println!("Ctrl-C ends everything.");
}
