//! Secrets through the vault, by the real binary: set, used, seen without being shown, renewed under a running server, and gone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use stecker_scenarios::{Artifacts, Host, HostOptions};
use stecker_simulators::{Config, Running, Simulators};
use tempfile::TempDir;

struct Scene {
    artifacts: Artifacts,
    systems: Running,
    folder: TempDir,
}

struct Answer {
    ok: bool,
    out: String,
    err: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.ok, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Scene {
    async fn set_up() -> Option<Self> {
        Some(Self {
            artifacts: Artifacts::or_skip()?,
            systems: Simulators::start(Config {
                orders: 1,
                ..Config::default()
            })
            .await
            .unwrap(),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command; `input` is piped in.
    fn with(&self, arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Answer {
        let mut child = Command::new(&self.artifacts.stecker)
            .args(arguments)
            .env("STECKER_DATA", self.data())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that wants nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Answer {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn stecker(&self, arguments: &[&str]) -> Answer {
        self.with(arguments, "", &[])
    }

    /// Applies two connections whose secrets are in the vault.
    fn apply(&self) {
        let systems = self.systems.announcement();
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let plugin = |name: &str| self.artifacts.plugin(name).unwrap().display().to_string();
        let setup = format!(
            r#"
[[connection]]
name = "shop"
plugin = {{ path = {:?} }}
config = {{ base_url = {:?} }}
grants.http = [{{ host = {:?}, schemes = ["http"] }}]
credentials.api = {{ secret = "vault" }}
credentials.webhook = {{ secret = "vault" }}

[[connection]]
name = "erp"
plugin = {{ path = {:?} }}
config = {{ base_url = {:?} }}
grants.http = [{{ host = {:?}, schemes = ["http"] }}]
credentials.api = {{ secret = "vault" }}
"#,
            plugin("demo-shop"),
            systems.shop_url,
            host(&systems.shop_url),
            plugin("demo-erp"),
            systems.erp_url,
            host(&systems.erp_url),
        );
        let file = self.folder.path().join("setup.toml");
        fs::write(&file, setup).unwrap();
        let applied = self.stecker(&["apply", "-f", file.to_str().unwrap()]);
        assert!(applied.ok, "{}", applied.err);
    }

    fn set_all(&self) {
        let systems = self.systems.announcement();
        let piped = self.with(
            &["secret", "set", "shop", "api"],
            &format!("{}\n", systems.shop_api_key),
            &[],
        );
        assert!(piped.ok, "{}", piped.err);
        let file = self.folder.path().join("password");
        fs::write(&file, format!("{}\r\n", systems.erp_password)).unwrap();
        let from_file = [
            "secret",
            "set",
            "erp",
            "api",
            "--username",
            &systems.erp_user,
            "--from-file",
            file.to_str().unwrap(),
        ];
        assert!(self.stecker(&from_file).ok);
        let from_env = ["secret", "set", "shop", "webhook", "--from-env", "WEBHOOK_SECRET"];
        assert!(
            self.with(&from_env, "", &[("WEBHOOK_SECRET", &systems.webhook_secret)])
                .ok
        );
    }

    fn both_work(&self) {
        for connection in ["shop", "erp"] {
            let answer = self.stecker(&["connection", "check", connection]);
            assert!(answer.ok, "{connection}: {}{}", answer.out, answer.err);
        }
    }

    fn secrets(&self) -> [String; 3] {
        let systems = self.systems.announcement();
        [
            systems.shop_api_key.clone(),
            systems.erp_password.clone(),
            systems.webhook_secret.clone(),
        ]
    }

    /// No secret is in any file of the data folder: database, journal, log, cache.
    fn nothing_readable_in(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.nothing_readable_in(&path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            for secret in self.secrets() {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "a secret is in {}", path.display());
            }
        }
    }
}

/// Set before and after, used, listed, renewed, removed; all on a running server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_takes_its_secrets_from_the_vault_of_a_running_server() {
    let Some(scene) = Scene::set_up().await else {
        return;
    };
    let host = Host::start(&scene.artifacts, &scene.data(), HostOptions::default())
        .await
        .unwrap();
    scene.apply();
    let missing = scene.stecker(&["connection", "check", "shop"]);
    let said = format!("{}{}", missing.out, missing.err);
    assert!(
        !missing.ok && said.contains("stecker secret set shop api"),
        "{said}"
    );

    scene.set_all();
    scene.both_work();
    let listed = scene.stecker(&["secret", "list", "--json"]);
    let list = listed.json();
    let shown: Vec<(&str, &str, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["connection"].as_str().unwrap(),
                one["credential"].as_str().unwrap(),
                one["kind"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("erp", "api", "basic"),
        ("shop", "api", "api-key-header"),
        ("shop", "webhook", "hmac-secret"),
    ];
    assert_eq!(shown, expected);
    assert!(
        list[0]["set-at"].is_i64() && list[1]["used-at"].is_i64(),
        "{list}"
    );
    assert!(
        list[2]["used-at"].is_null(),
        "looking for it in answers is no use of it: {list}"
    );

    let rotated = scene
        .stecker(&["secret", "rotate-keys", "--master", "--json"])
        .json();
    assert_eq!(
        (rotated["key-version"].as_u64(), rotated["items"].as_u64()),
        (Some(2), Some(3))
    );
    assert_eq!(rotated["data-keys"].as_u64(), Some(1));
    scene.both_work();
    for secret in scene.secrets() {
        assert!(!listed.out.contains(&secret));
    }
    scene.nothing_readable_in(&scene.data());

    let removed = scene.stecker(&["secret", "remove", "erp", "api"]);
    assert!(removed.ok, "{}", removed.err);
    let again = scene.stecker(&["secret", "remove", "erp", "api"]);
    assert!(
        !again.ok && again.err.contains("stecker secret list"),
        "{}",
        again.err
    );
    host.stop().await.unwrap();

    // Without a server, in the folder itself: the vault is as it was left.
    let list = scene.stecker(&["secret", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_secret_is_refused_before_anything_is_kept() {
    let Some(scene) = Scene::set_up().await else {
        return;
    };
    scene.apply();
    for (arguments, input, says) in [
        (vec!["secret", "set", "shop", "api"], "short", "8 to"),
        (
            vec!["secret", "set", "shop", "api"],
            "\n",
            "no secret in what was given",
        ),
        (
            vec!["secret", "set", "shop", "apj"],
            "a-long-enough-one",
            "it has: api, webhook",
        ),
        (
            vec!["secret", "set", "erp", "api"],
            "a-long-enough-one",
            "--username",
        ),
        (
            vec!["secret", "set", "shop", "api", "--refresh-token"],
            "a-long-enough-one",
            "oauth2-refresh-token",
        ),
        (
            vec![
                "secret",
                "authorize",
                "shop",
                "api",
                "--redirect-uri",
                "https://a.example/",
            ],
            "",
            "no credential `api` that somebody could authorize",
        ),
    ] {
        let answer = scene.with(&arguments, input, &[]);
        assert!(
            !answer.ok && answer.err.contains(says),
            "{arguments:?}: {}",
            answer.err
        );
        assert!(!answer.err.contains("a-long-enough-one"), "{}", answer.err);
    }
    assert_eq!(scene.stecker(&["secret", "list", "--json"]).out.trim(), "[]");
}

/// The key is lost, is another one, or comes from the operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_master_key_the_vault_stays_shut_and_whole() {
    let Some(scene) = Scene::set_up().await else {
        return;
    };
    scene.apply();
    scene.set_all();
    let (own, elsewhere) = (scene.data().join("master-key"), scene.folder.path().join("kept"));
    fs::rename(&own, &elsewhere).unwrap();
    let shut = |answer: Answer, says: &str| {
        assert!(
            !answer.ok && answer.err.contains(says),
            "{}{}",
            answer.out,
            answer.err
        );
    };
    let set = ["secret", "set", "shop", "api"];
    shut(
        scene.with(&set, "another-secret", &[]),
        "there is no master key here",
    );
    assert!(!own.exists(), "no key is made over old secrets");
    let doctor = scene.stecker(&["doctor"]);
    assert!(
        !doctor.ok && doctor.out.contains("there is no master key here"),
        "{}",
        doctor.out
    );
    let wrong = "0123456789abcdef".repeat(4);
    let variables = [("STECKER_MASTER_KEY", wrong.as_str())];
    shut(
        scene.with(&set, "another-secret", &variables),
        "were sealed with the master key",
    );
    let right = fs::read_to_string(&elsewhere).unwrap();
    let both = [
        ("STECKER_MASTER_KEY", right.as_str()),
        ("STECKER_MASTER_KEY_FILE", "x"),
    ];
    shut(
        scene.with(&set, "another-secret", &both),
        "there are two master keys",
    );

    // The operator's file from now on, with a new key in front of the old one.
    let file = elsewhere.to_str().unwrap();
    let key = |arguments: &[&str]| scene.stecker(&[&["--master-key-file", file], arguments].concat());
    assert!(key(&["connection", "check", "shop"]).ok);
    fs::write(&elsewhere, format!("{wrong}\n{right}")).unwrap();
    shut(key(&["secret", "rotate-keys", "--master"]), "is the operator's");
    assert_eq!(
        key(&["secret", "rotate-keys", "--json"]).json()["data-keys"].as_u64(),
        Some(1)
    );
    fs::write(&elsewhere, wrong.as_str()).unwrap();
    for connection in ["shop", "erp"] {
        let answer = key(&["connection", "check", connection]);
        assert!(answer.ok, "{}{}", answer.out, answer.err);
    }
}
