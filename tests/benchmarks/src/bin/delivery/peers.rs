//! Tools of Python that do the same work, each installed into an environment of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{api::Api, process, throughput::Run};

/// A tool at the version that it is measured at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    script: &'static str,
    /// What a shell is told; `$0` is Python, `$1` the script. State goes to the folder `$STATE`.
    command: &'static str,
}

/// All of them.
pub(crate) const PEERS: [Peer; 3] = [
    Peer {
        package: "dlt",
        version: "1.31.0",
        script: "dlt_peer.py",
        command: r#""$0" "$1""#,
    },
    Peer {
        package: "singer-sdk",
        version: "0.54.9",
        script: "singer_peer.py",
        command: r#""$0" "$1" tap | "$0" "$1" target > "$STATE/state""#,
    },
    Peer {
        package: "airbyte-cdk",
        version: "7.39.1",
        script: "airbyte_peer.py",
        command: r#""$0" "$1" source read --config "$STATE/config.json" --catalog "$STATE/catalog.json" | "$0" "$1" destination write --config "$STATE/config.json" --catalog "$STATE/catalog.json" > "$STATE/state""#,
    },
];

const CATALOG: &str = r#"{"streams": [{"stream": {"name": "orders", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"],
  "source_defined_cursor": true, "default_cursor_field": ["id"]}, "sync_mode": "incremental", "destination_sync_mode": "append", "cursor_field": ["id"]}]}"#;

/// A peer that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) peer: Peer,
    python: PathBuf,
}

impl Peer {
    /// As it is written for a reader.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    /// Into a folder of its own below `folder`, unless it is there already.
    ///
    /// # Errors
    /// There is no Python, or the package cannot be had; the message has what pip said.
    pub(crate) fn install(self, folder: &Path) -> Result<Installed> {
        let place = folder.join(format!("{}-{}", self.package, self.version));
        let python = place.join("bin/python");
        let done = place.join("installed");
        if !done.is_file() {
            quietly(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
            let pinned = format!("{}=={}", self.package, self.version);
            quietly(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                &pinned,
                "requests",
            ]))?;
            fs::write(done, pinned)?;
        }
        Ok(Installed { peer: self, python })
    }
}

/// What is said goes into the error, if there is one.
fn quietly(command: &mut Command) -> Result<()> {
    let name = format!("{:?}", command.get_program());
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    ensure!(
        output.status.success(),
        "{name} failed: {}",
        last.into_iter().rev().collect::<Vec<_>>().join(" / ")
    );
    Ok(())
}

impl Installed {
    /// Brings that many orders over.
    ///
    /// # Errors
    /// It fails, with the end of what it said; what it brought over is not what there was.
    pub(crate) async fn run(&self, orders: u64, folder: &Path) -> Result<Run> {
        let api = Api::start(orders).await?;
        let state = folder.join(self.peer.package);
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        fs::write(state.join("config.json"), "{}")?;
        fs::write(state.join("catalog.json"), CATALOG)?;
        let said = state.join("said");
        let begun = std::time::Instant::now();
        let child = Command::new("bash")
            .args(["-o", "pipefail", "-c", self.peer.command])
            .arg(&self.python)
            .arg(scripts().join(self.peer.script))
            .env("API", api.url())
            .env("STATE", &state)
            .env("HOME", &state)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&state)
            .stdin(Stdio::null())
            .stdout(File::create(state.join("out"))?)
            .stderr(File::create(&said)?)
            .spawn()
            .context("there is no bash")?;
        let (used, status) = process::to_its_end(child).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let end = || -> String {
            let said = fs::read_to_string(&said).unwrap_or_default();
            let lines: Vec<&str> = said.lines().rev().take(5).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
        };
        ensure!(status.success(), "{} failed: {}", self.peer.name(), end());
        let booked = api.account().with_context(end)?;
        Ok(Run {
            orders,
            seconds,
            used,
            repeated: booked.repeated,
        })
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python")
}
