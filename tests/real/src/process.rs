//! A server that talks JSON lines over its standard streams.
//!
//! Ready means that the server said so on its standard output, with the port that the system gave it: no port
//! is guessed, and nothing is polled. Each server ends when its standard input closes, so none survives this program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
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

pub(crate) struct Server {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    answers: mpsc::Receiver<Value>,
    log: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// Starts `command` with its log in `log`, and waits until it says that it is ready.
    pub(crate) async fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let log_file = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
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
        let mut server = Self {
            name,
            child,
            input,
            answers,
            log: log.to_owned(),
            port: 0,
        };
        let ready = server.next(READY_LIMIT).await?;
        server.port = ready["ready"]["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .with_context(|| format!("{name} began with {ready} instead of its port"))?;
        Ok(server)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_server_that_ends_before_it_is_ready_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let started = Server::start(
            "the shop",
            &mut shell("echo 'disk full' >&2"),
            &dir.path().join("log"),
        )
        .await;
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
        let mut server = Server::start("the shop", &mut shell(script), &dir.path().join("log"))
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
