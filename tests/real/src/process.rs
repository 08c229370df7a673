//! A server that talks JSON lines over its standard streams.
//!
//! Ready means that the server said so on its standard output, with the port that the system gave it: no port
//! is guessed, and nothing is polled. Each server ends when its standard input closes, so none survives this program.
//!
//! A server can be ended in the middle of its work and started again where it was, on the same port and the same data, because
//! that is what systems do to those who talk to them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::install::tail;

/// Loading takes five to ten seconds on two cores; this is for a machine that does other work too.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Placing a hundred orders takes about thirty seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Vendure closes its database and its connections first.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How a system is ended in the middle of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, as a supervisor does it.
    Terminated,
    /// SIGKILL, as the kernel does it when memory is short.
    Killed,
}

/// Makes the command that serves on a port; 0 lets the system choose one.
type Make = Box<dyn Fn(u16) -> Command + Send + Sync>;

pub(crate) struct Server {
    name: &'static str,
    make: Make,
    child: Child,
    input: Option<ChildStdin>,
    answers: mpsc::Receiver<Value>,
    log: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// Starts what `make` makes with its log in `log`, and waits until it says that it is ready.
    pub(crate) async fn start(
        name: &'static str,
        make: impl Fn(u16) -> Command + Send + Sync + 'static,
        log: &Path,
    ) -> Result<Self> {
        std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let (child, input, answers) = spawn(name, make(0), log)?;
        let mut server = Self {
            name,
            make: Box::new(make),
            child,
            input,
            answers,
            log: log.to_owned(),
            port: 0,
        };
        server.port = server.ready().await?;
        Ok(server)
    }

    /// Starts it again after [`Server::end`], on the port that it had.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let command = (self.make)(self.port);
        (self.child, self.input, self.answers) = spawn(self.name, command, &self.log)?;
        let port = self.ready().await?;
        ensure!(
            port == self.port,
            "{} came back on port {port} instead of {}",
            self.name,
            self.port
        );
        Ok(())
    }

    async fn ready(&mut self) -> Result<u16> {
        let ready = self.next(READY_LIMIT).await?;
        ready["ready"]["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .with_context(|| format!("{} began with {ready} instead of its port", self.name))
    }

    /// Ends it, whatever it is doing, and waits until it is gone.
    pub(crate) async fn end(&mut self, how: End) -> Result<()> {
        match (how, self.child.id()) {
            (End::Killed, _) => self.child.start_kill()?,
            (End::Terminated, None) => {}
            (End::Terminated, Some(pid)) => {
                let told = Command::new("kill")
                    .args(["-TERM", &pid.to_string()])
                    .status()
                    .await?;
                ensure!(told.success(), "{} could not be told to end", self.name);
            }
        }
        match timeout(END_LIMIT, self.child.wait()).await {
            Ok(ended) => {
                ended?;
                Ok(())
            }
            Err(_) => bail!(
                "{} did not end within {} s; {}",
                self.name,
                END_LIMIT.as_secs(),
                self.last_words()
            ),
        }
    }

    /// Sends one command and returns what it was answered with.
    pub(crate) async fn ask(&mut self, command: &Value) -> Result<Value> {
        let input = self
            .input
            .as_mut()
            .with_context(|| format!("{} is being stopped", self.name))?;
        input
            .write_all(format!("{command}\n").as_bytes())
            .await
            .with_context(|| format!("writing to {}; its log is {}", self.name, self.log.display()))?;
        let mut answer = self.next(ANSWER_LIMIT).await?;
        if let Some(reason) = answer.get("failed").and_then(Value::as_str) {
            bail!(
                "{} could not do what it was asked: {reason}; its log is {}",
                self.name,
                self.log.display()
            );
        }
        Ok(answer["done"].take())
    }

    /// Lets the server end by itself, and kills it if it does not.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.input.take());
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            self.child
                .kill()
                .await
                .with_context(|| format!("stopping {}", self.name))?;
        }
        Ok(())
    }

    async fn next(&mut self, limit: Duration) -> Result<Value> {
        match timeout(limit, self.answers.recv()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => bail!("{} ended; {}", self.name, self.last_words()),
            Err(_) => bail!(
                "{} did not answer within {} s; {}",
                self.name,
                limit.as_secs(),
                self.last_words()
            ),
        }
    }

    fn last_words(&self) -> String {
        format!(
            "its log {} ends with:\n{}",
            self.log.display(),
            tail(&self.log, "(nothing)")
        )
    }
}

/// The process, its standard input, and what it says.
fn spawn(
    name: &'static str,
    mut command: Command,
    log: &Path,
) -> Result<(Child, Option<ChildStdin>, mpsc::Receiver<Value>)> {
    let log_file = std::fs::File::options()
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let output = child
        .stdout
        .take()
        .context("the child's standard output is not piped")?;
    let input = child.stdin.take();
    let (send, answers) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        // Libraries may print to standard output as well; only JSON is meant for us. Reading goes on until the
        // child ends, because a full pipe would stop it.
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(message) = serde_json::from_str(&line) {
                let _nobody_waits = send.send(message).await;
            }
        }
    });
    Ok((child, input, answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &'static str) -> impl Fn(u16) -> Command {
        move |port| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh", &port.to_string()]);
            command
        }
    }

    #[tokio::test]
    async fn a_server_that_was_ended_comes_back_on_its_port() {
        let dir = tempfile::tempdir().unwrap();
        // As a real one: the port that it is given, or one of its own.
        let script = r#"if [ "$1" = 0 ]; then port=4711; else port=$1; fi; echo '{"ready":{"port":'$port'}}'; exec cat"#;
        let mut server = Server::start("the shop", shell(script), &dir.path().join("log"))
            .await
            .unwrap();
        for how in [End::Killed, End::Terminated] {
            server.end(how).await.unwrap();
            assert!(server.ask(&serde_json::json!(1)).await.is_err(), "{how:?}");
            server.start_again().await.unwrap();
            assert_eq!(server.port, 4711);
        }
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_ends_before_it_is_ready_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let started = Server::start("the shop", shell("echo 'disk full' >&2"), &dir.path().join("log")).await;
        let message = started.err().unwrap().to_string();
        assert!(
            message.contains("the shop ended") && message.contains("disk full"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn noise_is_skipped_failures_are_errors_and_a_closed_input_ends_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"echo 'welcome!'; echo '{"ready":{"port":7}}'; read l; echo '{"done":"'$l'"}'; read l; echo '{"failed":"no stock"}'; cat"#;
        let mut server = Server::start("the shop", shell(script), &dir.path().join("log"))
            .await
            .unwrap();
        assert_eq!(server.port, 7);
        assert_eq!(server.ask(&serde_json::json!(5)).await.unwrap(), "5");
        assert!(
            server
                .ask(&serde_json::json!(6))
                .await
                .unwrap_err()
                .to_string()
                .contains("no stock")
        );
        server.stop().await.unwrap();
    }
}
