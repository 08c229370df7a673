//! Working in the data folder, and beside a server that does.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::{ran, run, stecker};

/// A server; ended when dropped, gracefully by [`Serving::end`].
pub(crate) struct Serving {
    child: Child,
    context: Value,
}

impl Serving {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut child = stecker(dir)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--log-format",
                "json",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // The answer is one object over several lines; its end is a line of its own.
        let mut text = String::new();
        for line in stdout.lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let context = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { child, context }
    }

    #[cfg(unix)]
    fn end(mut self) -> Option<i32> {
        let kill = std::process::Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_doctor_is_content_with_a_new_folder() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(dir.path(), &["doctor", "--json"]).expect(0).json();
    assert_eq!(report["ok"], true, "{report}");
    let names: Vec<_> = report["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| probe["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["server", "database", "data folder", "vault", "plugins", "flows"]
    );
    let people = run(dir.path(), &["doctor"]).expect(0).stdout;
    assert!(
        people.contains("✓ database") && people.contains("all is well"),
        "{people}"
    );
    assert!(!people.contains('\u{1b}'), "no colours in a pipe");
    assert!(
        run(dir.path(), &["doctor", "--color", "always"])
            .expect(0)
            .stdout
            .contains('\u{1b}')
    );
}

#[test]
fn the_doctor_tells_why_a_host_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let letter = "this is a letter and no database, and it is long enough to be looked at as one";
    std::fs::write(dir.path().join("data/stecker.sqlite"), letter).unwrap();
    let report = run(dir.path(), &["doctor", "--json"]).expect(1).json();
    assert_eq!(report["ok"], false);
    assert!(
        report["probes"][0]["message"]
            .as_str()
            .unwrap()
            .contains("stecker.sqlite"),
        "{report}"
    );
    let flows = run(dir.path(), &["flow", "list"]).expect(1);
    assert!(flows.stderr.contains("stecker.sqlite"), "{}", flows.stderr);
}

#[test]
fn empty_lists_say_what_to_do_and_are_empty_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        ["connection", "list"],
        ["flow", "list"],
        ["release", "list"],
        ["quarantine", "list"],
        ["quarantine", "groups"],
        ["replay", "list"],
        ["upstream", "list"],
    ] {
        assert!(run(dir.path(), &words).expect(0).stdout.lines().count() == 1);
        assert_eq!(
            run(dir.path(), &[words[0], words[1], "--json"]).expect(0).json(),
            json!([])
        );
    }
    assert_eq!(
        run(dir.path(), &["records", "list", "--json"]).expect(0).json(),
        json!({ "records": [] })
    );
    std::fs::write(dir.path().join("setup.toml"), "").unwrap();
    let plan = run(dir.path(), &["apply", "-f", "setup.toml", "--json"])
        .expect(0)
        .json();
    assert_eq!(plan, json!({ "applied": true, "changes": [] }));
}

#[test]
fn commands_go_through_the_server_that_runs_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path());
    let url = serving.context["url"].as_str().unwrap().to_owned();
    let report = run(dir.path(), &["doctor", "--json"]).expect(0).json();
    assert!(
        report["probes"][0]["message"].as_str().unwrap().contains(&url),
        "{report}"
    );
    // From elsewhere, with the token, and without.
    let elsewhere = tempfile::tempdir().unwrap();
    let token = std::fs::read_to_string(serving.context["token-file"].as_str().unwrap()).unwrap();
    let mut flows = stecker(elsewhere.path());
    flows
        .args(["--server", &url, "flow", "list", "--json"])
        .env("STECKER_TOKEN", token.trim());
    assert_eq!(ran(flows.output().unwrap()).expect(0).json(), json!([]));
    let refused = run(
        elsewhere.path(),
        &["--server", &url, "--token", "guess", "flow", "list"],
    )
    .expect(1);
    assert!(
        refused.stderr.contains("nobody here has this token"),
        "{}",
        refused.stderr
    );
    // Refusals are the same words through the server.
    let through = run(dir.path(), &["flow", "run", "orders"]).expect(1).stderr;
    let direct = run(elsewhere.path(), &["flow", "run", "orders"]).expect(1).stderr;
    assert_eq!(through, direct);
    #[cfg(unix)]
    {
        assert_eq!(serving.end(), Some(0), "SIGTERM ends it gracefully");
        assert!(!dir.path().join("data/server.json").exists());
        run(dir.path(), &["flow", "list"]).expect(0);
    }
}

#[test]
fn a_second_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path());
    let second = run(dir.path(), &["serve", "--listen", "127.0.0.1:0"]).expect(1);
    let pid = serving.child.id().to_string();
    for part in [
        "is in use by `stecker serve`",
        &pid,
        serving.context["url"].as_str().unwrap(),
        "--server",
    ] {
        assert!(second.stderr.contains(part), "{part}: {}", second.stderr);
    }
}

#[test]
fn a_server_that_was_killed_leaves_nothing_that_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    drop(Serving::start(dir.path()));
    assert!(
        dir.path().join("data/server.json").exists(),
        "nobody could clean up"
    );
    run(dir.path(), &["flow", "list"]).expect(0);
    assert!(!dir.path().join("data/server.json").exists());
}
