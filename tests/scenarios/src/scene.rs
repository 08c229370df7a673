//! A host with the job of the demo, whose orders come by webhooks alone: so a test says when one comes, whatever happens to calls.

use std::{fs, time::Duration};

use anyhow::{Result, bail, ensure};
use stecker_simulators::{Config, Faults, Running, Simulators};
use tempfile::TempDir;

use crate::{Artifacts, Host, HostOptions, Job, Progress};

/// The trigger of the flow of orders in the job.
const BOTH: &str = r#"trigger = { every = "1s", webhook = true }"#;

/// Systems at both ends and a host between them.
pub struct Scene {
    /// The systems.
    pub systems: Running,
    /// The host.
    pub host: Host,
    /// Where the host's data and the job are; deleted with this.
    pub folder: TempDir,
}

impl Scene {
    /// A shop without orders, and the job with the text of its setup changed by `edit`.
    ///
    /// # Errors
    /// The systems or the host do not start; the setup is refused.
    pub async fn by_webhook(
        artifacts: &Artifacts,
        faults: Faults,
        edit: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        let systems = Simulators::start(Config {
            orders: 0,
            faults,
            ..Config::default()
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let host = Host::start(artifacts, &folder.path().join("data"), HostOptions::default()).await?;
        let job = Job::write(&folder.path().join("job"), artifacts, systems.announcement())?;
        let setup = fs::read_to_string(job.setup())?;
        ensure!(setup.contains(BOTH), "the job has another trigger now:\n{setup}");
        fs::write(
            job.setup(),
            edit(setup.replace(BOTH, "trigger = { webhook = true }")),
        )?;
        job.apply(&host)?;
        Ok(Self {
            systems,
            host,
            folder,
        })
    }

    /// Where the shop's events go.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/hooks/default/shop", self.host.url())
    }

    /// Waits for something that the host and the systems say, at most 90 seconds.
    ///
    /// # Errors
    /// It does not come; the message has what the host says instead.
    pub async fn until(&self, what: &str, holds: impl Fn(&Progress, &Running) -> bool) -> Result<Progress> {
        let mut progress = Progress::of(&self.host).await?;
        for _ in 0..900 {
            if holds(&progress, &self.systems) {
                return Ok(progress);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            progress = Progress::of(&self.host).await?;
        }
        bail!("it never came to this: {what}; {progress:?}")
    }
}
