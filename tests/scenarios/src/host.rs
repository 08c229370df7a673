//! The `stecker` binary as a process: started, asked, killed, started again.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Once,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use stecker_model::api::FlowStatus;

use crate::Artifacts;

/// How long a host may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a host may take to end gracefully.
const END_WITHIN: Duration = Duration::from_secs(40);

/// How a host is started.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// The database; the embedded default if it is `None`.
    pub database: Option<String>,
    /// A fixed port on loopback; a free one if it is 0.
    pub port: u16,
    /// How long a lease lasts, such as `2s`; the default if it is `None`.
    pub lease: Option<String>,
    /// The network namespace that it runs in, and its address there; the usual one and loopback if it is `None`.
    pub namespace: Option<(String, Ipv4Addr)>,
}

/// A running `stecker serve` on a data folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct Host {
    artifacts: Artifacts,
    data: PathBuf,
    options: HostOptions,
    child: Child,
    url: String,
    token: String,
    client: reqwest::Client,
}

/// What `serve` writes for other processes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ServerContext {
    url: String,
    pid: u32,
    token_file: PathBuf,
}

impl Host {
    /// Starts a host on a data folder and waits until it is ready. Its log goes to `host.log` in that folder.
    ///
    /// # Errors
    /// It ends or does not get ready; the message has the end of its log.
    pub async fn start(artifacts: &Artifacts, data: &Path, options: HostOptions) -> Result<Self> {
        fs::create_dir_all(data)?;
        let child = spawn(artifacts, data, &options, None)?;
        let mut host = Self {
            artifacts: artifacts.clone(),
            data: data.to_owned(),
            options,
            child,
            url: String::new(),
            token: String::new(),
            client: client()?,
        };
        host.wait_until_ready().await?;
        Ok(host)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the host ended with {status} before it was ready:\n{}",
                    self.log_end()
                );
            }
            if let Some(context) = self.read_context() {
                self.url = context.url;
                self.token = fs::read_to_string(&context.token_file)?.trim().to_owned();
                let ready = self.client.get(format!("{}/readyz", self.url)).send().await;
                if ready.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
            }
            ensure!(
                begun.elapsed() < READY_WITHIN,
                "the host is not ready after {READY_WITHIN:?}:\n{}",
                self.log_end()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The context file, if it is of this process and not left over from one that was killed.
    fn read_context(&self) -> Option<ServerContext> {
        let text = fs::read_to_string(self.data.join("server.json")).ok()?;
        let context: ServerContext = serde_json::from_str(&text).ok()?;
        (context.pid == self.child.id()).then_some(context)
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.data.join("host.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(30)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Where it listens, such as `http://127.0.0.1:7420`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, now; nothing is flushed, nothing is told.
    ///
    /// # Errors
    /// The process cannot be ended or waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.artifacts, &self.data, &self.options, None)?;
        self.wait_until_ready().await
    }

    /// Starts it again on the same data, to be killed by itself when it passes a place of its code for the `pass`th time
    /// ([`stecker_model::FAIL_POINTS`]). It may be dead before it is ready, so nobody waits for that.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_to_fail(&mut self, place: &str, pass: u32) -> Result<()> {
        let fail_point = format!("{place}:{pass}");
        self.child = spawn(&self.artifacts, &self.data, &self.options, Some(&fail_point))?;
        Ok(())
    }

    /// Whether it ended within some time, and then whether by SIGKILL.
    ///
    /// # Errors
    /// It ended with an error of its own.
    pub async fn was_killed_within(&mut self, patience: Duration) -> Result<Option<bool>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let killed = status.signal() == Some(9);
                ensure!(
                    killed || status.success(),
                    "the host ended with {status}:\n{}",
                    self.log_end()
                );
                return Ok(Some(killed));
            }
            if begun.elapsed() > patience {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// It cannot be told.
    pub fn ask_to_end(&self) -> Result<()> {
        let told = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        ensure!(told.success(), "the host could not be told to end");
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// It does not end in time, or not with status 0.
    pub async fn terminate(&mut self) -> Result<()> {
        self.ask_to_end()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "the host ended with {status}:\n{}",
                    self.log_end()
                );
                return Ok(());
            }
            ensure!(
                begun.elapsed() < END_WITHIN,
                "the host does not end:\n{}",
                self.log_end()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As [`Host::terminate`], for good.
    ///
    /// # Errors
    /// As there.
    pub async fn stop(mut self) -> Result<()> {
        self.terminate().await
    }

    /// Runs a `stecker` command against this host; its standard output.
    ///
    /// # Errors
    /// It fails; the message has what it said.
    pub fn cli<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<String> {
        let output = Command::new(&self.artifacts.stecker)
            .args(arguments)
            .env("STECKER_DATA", &self.data)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "the command failed with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Asks this host in the name of a tenant, also after the host was borrowed for something else.
    #[must_use]
    pub fn caller(&self, tenant: &str) -> Caller {
        Caller {
            client: self.client.clone(),
            url: self.url.clone(),
            token: self.token.clone(),
            tenant: tenant.to_owned(),
        }
    }

    /// GET of an API path, such as `/api/v1/flows`.
    ///
    /// # Errors
    /// No answer, or not a good one.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = self.text(path).await?;
        serde_json::from_str(&body).with_context(|| format!("GET {path} answered something else: {body}"))
    }

    /// GET of any path that needs the token, such as `/metrics`.
    ///
    /// # Errors
    /// No answer, or not a good one.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .send()
            .await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "GET {path}: {status}: {body}");
        Ok(body)
    }

    /// The status of every flow.
    ///
    /// # Errors
    /// As [`Host::get`].
    pub async fn flows(&self) -> Result<Vec<FlowStatus>> {
        self.get("/api/v1/flows").await
    }
}

/// Asks a host in the name of a tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    client: reqwest::Client,
    url: String,
    token: String,
    tenant: String,
}

impl Caller {
    /// POST of an API path without a body; the status of the answer, whatever it is.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, path: &str) -> Result<reqwest::StatusCode> {
        self.post_json(path, &serde_json::json!({})).await
    }

    /// As [`Self::post`], with a body.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Result<reqwest::StatusCode> {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("stecker-tenant", &self.tenant)
            .json(body);
        let answer = request.send().await?;
        let status = answer.status();
        // To its end, so that the connection can be used again.
        answer.bytes().await?;
        Ok(status)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    artifacts: &Artifacts,
    data: &Path,
    options: &HostOptions,
    fail_point: Option<&str>,
) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.join("host.log"))?;
    let (mut command, address) = match &options.namespace {
        None => (Command::new(&artifacts.stecker), Ipv4Addr::LOCALHOST),
        Some((name, address)) => {
            // It becomes what it starts, so that the process is that of the host.
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(&artifacts.stecker);
            (command, *address)
        }
    };
    command.args(["serve", "--listen", &format!("{address}:{}", options.port)]);
    if let Some(database) = &options.database {
        command.args(["--database", database]);
    }
    if let Some(lease) = &options.lease {
        command.args(["--lease", lease]);
    }
    match fail_point {
        Some(fail_point) => command.env("STECKER_FAIL_POINT", fail_point),
        None => command.env_remove("STECKER_FAIL_POINT"),
    };
    command
        .env("STECKER_DATA", data)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} cannot be started", artifacts.stecker.display()))
}

pub(crate) fn client() -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()?)
}
