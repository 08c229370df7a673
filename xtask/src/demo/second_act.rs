//! The second act: the shop's API moves to version 2 while orders come in, and the operator moves the connection with one command. Then version 3 of
//! the connector turns out to be broken, and goes back by itself.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use stecker_scenarios::{Artifacts, Host};
use stecker_simulators::Running;

use super::{Demo, Moved};
use crate::cargo::say;

/// Between two orders, or changes of orders.
const PAUSE: Duration = Duration::from_millis(120);
/// A rollout that is not over by then is a fault.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
struct Rollout {
    state: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    what: String,
}

pub(super) async fn play(
    demo: &Demo,
    host: &Host,
    artifacts: &Artifacts,
    systems: &Running,
) -> Result<Vec<Moved>> {
    let stage = Stage {
        demo,
        host,
        artifacts,
        systems,
    };
    say("orders keep coming; the shop announces version 2 of its API");
    stage.add("2.0.0")?;
    let second = stage
        .upgrade("2.0.0", "6s", "the shop ends version 1 of its API")
        .await?;
    say("the shop ends version 1");
    systems.end_first_version();
    say("a release 3.0.0 comes out, with a fault that nobody has seen yet");
    stage.add("3.0.0")?;
    let third = stage.upgrade("3.0.0", "60s", "routine").await?;
    Ok(vec![second, third])
}

struct Stage<'s> {
    demo: &'s Demo,
    host: &'s Host,
    artifacts: &'s Artifacts,
    systems: &'s Running,
}

impl Stage<'_> {
    fn add(&self, version: &str) -> Result<()> {
        let component = self.artifacts.release("demo-shop", version)?;
        self.host
            .cli(["release".as_ref(), "add".as_ref(), component.as_os_str()])?;
        Ok(())
    }

    /// One command, while orders come in.
    async fn upgrade(&self, version: &str, bake: &str, reason: &str) -> Result<Moved> {
        let to = format!("={version}");
        say(&format!(
            "stecker upgrade shop --to {to} --bake {bake} --reason '{reason}' --wait"
        ));
        let begun = Instant::now();
        let child = tokio::process::Command::new(&self.artifacts.stecker)
            .args([
                "upgrade", "shop", "--to", &to, "--bake", bake, "--reason", reason, "--wait", "--json",
            ])
            .env("STECKER_DATA", self.host.data())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let ended = child.wait_with_output();
        tokio::pin!(ended);
        let mut turn = 0_usize;
        let output = loop {
            tokio::select! {
                output = &mut ended => break output?,
                () = tokio::time::sleep(PAUSE) => {}
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "the rollout to {version} is not over after {PATIENCE:?}"
            );
            turn += 1;
            let made = self.systems.create_orders(1);
            if turn.is_multiple_of(3) {
                let ids: Vec<u64> = made.iter().map(|order| order.id).collect();
                let changed = self.systems.update_orders(&ids);
                ensure!(
                    changed.is_ok(),
                    "orders that were made a moment ago are not there"
                );
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let rollout: Rollout = serde_json::from_str(text.trim())
            .with_context(|| format!("stecker upgrade: {}", String::from_utf8_lossy(&output.stderr)))?;
        let seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        if !self.demo.json {
            say(&format!("{} after {seconds:.1} s", rollout.state));
        }
        Ok(Moved {
            to: version.to_owned(),
            result: rollout.state,
            seconds,
            story: rollout.events.into_iter().map(|event| event.what).collect(),
        })
    }
}
