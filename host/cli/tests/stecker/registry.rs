//! Plugins in the registry of a host that serves: published, found, yanked, pulled, and what the host makes of it.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{host::Serving, run};

/// A plugin, if plugins were built.
fn plugin() -> Option<PathBuf> {
    built("stecker-jq-0.1.0.wasm")
}

fn built(file: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("STECKER_PLUGINS") else {
        eprintln!("skipped: STECKER_PLUGINS is not set; `cargo xtask test` sets it");
        return None;
    };
    Some(PathBuf::from(folder).join(file))
}

#[test]
fn a_release_lives_in_the_registry_of_the_host() {
    let Some(file) = plugin() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let _serving = Serving::start(dir);
    let file = file.to_str().unwrap();
    run(dir, &["key", "new", "author.pem"]).expect(0);
    let published = run(
        dir,
        &["plugin", "publish", file, "--sign-with", "author.pem", "--json"],
    )
    .expect(0)
    .json();
    assert_eq!(published["release"], "stecker/jq@0.1.0", "{published}");

    // Once more with the same key, and there is still one signature.
    let again = ["plugin", "publish", file, "--sign-with", "author.pem", "--json"];
    assert_eq!(run(dir, &again).expect(0).json()["signatures"], 0);
    let info = run(dir, &["plugin", "info", "stecker/jq", "--json"])
        .expect(0)
        .json();
    assert_eq!(info["signatures"].as_array().unwrap().len(), 1, "{info}");

    let found = run(dir, &["plugin", "search", "JQ", "--json"]).expect(0).json();
    assert_eq!(found[0]["name"], "stecker/jq", "{found}");
    assert!(
        run(dir, &["plugin", "search"])
            .expect(0)
            .stdout
            .contains("stecker/jq")
    );
    assert!(
        run(dir, &["plugin", "search", "nowhere"])
            .expect(0)
            .stdout
            .contains("no plugin has")
    );
    let info = run(dir, &["plugin", "info", "stecker/jq", "--json"])
        .expect(0)
        .json();
    assert_eq!(info["version"], "0.1.0");
    assert!(info["signatures"][0]["key"].is_string(), "{info}");
    let missing = run(dir, &["plugin", "info", "stecker/jq@2"]).expect(1).stderr;
    assert!(missing.contains("there are 0.1.0"), "{missing}");

    // In use: by a setup that names it.
    run(dir, &["plugin", "pull", "stecker/jq@0.1", "--install"]).expect(0);
    let setup = |version: &str| {
        let text = format!(
            "[[connection]]\nname = \"jq\"\nplugin = {{ name = \"stecker/jq\", version = \"{version}\" }}\n"
        );
        fs::write(dir.join("setup.toml"), text).unwrap();
    };
    setup("0.1");
    run(dir, &["lock", "-f", "setup.toml"]).expect(0);
    fs::remove_file(dir.join("setup.lock")).unwrap();

    let release = "stecker/jq@0.1.0";
    let deprecate = [
        "plugin",
        "deprecate",
        release,
        "--message",
        "use 0.2",
        "--deadline",
        "2099-03-31",
    ];
    run(dir, &deprecate).expect(0);
    let pulled = run(dir, &["plugin", "pull", "stecker/jq@0.1", "--output", "a.wasm"])
        .expect(0)
        .stdout;
    assert!(pulled.contains("until 2099-03-31"), "{pulled}");
    let locked = run(dir, &["lock", "-f", "setup.toml"]).expect(0).stderr;
    assert!(
        locked.contains("deprecated (until 2099-03-31): use 0.2"),
        "{locked}"
    );
    fs::remove_file(dir.join("setup.lock")).unwrap();

    // No range comes to what was yanked; who names it gets it with a warning.
    run(dir, &["plugin", "yank", release, "--reason", "wrong sums"]).expect(0);
    let refused = run(dir, &["plugin", "pull", "stecker/jq@0.1", "--output", "b.wasm"])
        .expect(1)
        .stderr;
    assert!(
        refused.contains("0.1.0 was yanked (wrong sums)") && refused.contains("exactly"),
        "{refused}"
    );
    assert!(!dir.join("b.wasm").exists());
    let pulled = run(dir, &["plugin", "pull", release, "--output", "b.wasm"])
        .expect(0)
        .stdout;
    assert!(pulled.contains("was yanked: wrong sums"), "{pulled}");
    let refused = run(dir, &["lock", "-f", "setup.toml"]).expect(1).stderr;
    assert!(refused.contains("yanked: wrong sums"), "{refused}");
    setup("=0.1.0");
    let locked = run(dir, &["lock", "-f", "setup.toml"]).expect(0).stderr;
    assert!(locked.contains("yanked: wrong sums"), "{locked}");

    run(dir, &["plugin", "unyank", release]).expect(0);
    run(dir, &["plugin", "undeprecate", release]).expect(0);
    let info = run(dir, &["plugin", "info", release, "--json"]).expect(0).json();
    assert_eq!(
        (&info["yanked"], &info["deprecated"]),
        (&json!(null), &json!(null))
    );
    let missing = run(dir, &["plugin", "yank", "stecker/jq@9.9.9", "--reason", "x"])
        .expect(1)
        .stderr;
    assert!(
        missing.contains("stecker/jq@9.9.9 is not in the registry"),
        "{missing}"
    );
}

#[test]
fn whoever_uses_what_was_yanked_or_is_deprecated_is_told() {
    let Some(file) = built("stecker-demo-shop-0.1.0.wasm") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serving = Serving::start(dir);
    run(dir, &["plugin", "publish", file.to_str().unwrap()]).expect(0);
    run(dir, &["plugin", "pull", "stecker/demo-shop", "--install"]).expect(0);
    let secret = dir.join("secret");
    fs::write(&secret, format!("{:?}", std::time::SystemTime::now())).unwrap();
    let secret = format!("{{ secret = {{ file = {:?} }} }}", secret.to_str().unwrap());
    let setup = format!(
        "[[connection]]\nname = \"shop\"\nplugin = {{ name = \"stecker/demo-shop\", version = \"0.1\" }}\n\
         config = {{ base_url = \"http://127.0.0.1:1/\" }}\ncredentials.api = {secret}\ncredentials.webhook = {secret}\n"
    );
    fs::write(dir.join("setup.toml"), setup).unwrap();
    run(dir, &["apply", "-f", "setup.toml"]).expect(0);
    assert_eq!(run(dir, &["outdated", "--json"]).expect(0).json(), json!([]));
    let release = "stecker/demo-shop@0.1.0";
    run(dir, &["plugin", "yank", release, "--reason", "wrong totals"]).expect(0);
    let deprecate = [
        "plugin",
        "deprecate",
        release,
        "--message",
        "use 0.2",
        "--deadline",
        "2099-03-31",
    ];
    run(dir, &deprecate).expect(0);
    let expected = json!(["yanked: wrong totals", "deprecated (until 2099-03-31): use 0.2"]);
    let outdated = run(dir, &["outdated", "--json"]).expect(0).json();
    assert_eq!(outdated[0]["user"], "connection/shop");
    assert_eq!(outdated[0]["wrong"], expected);
    // What is in use goes on, and is known without the server, too.
    run(dir, &["apply", "-f", "setup.toml"]).expect(0);
    drop(serving);
    let outdated = run(dir, &["outdated", "--json"]).expect(0).json();
    assert_eq!(outdated[0]["wrong"], expected);
}

#[test]
fn a_release_goes_where_no_registry_can_be_reached() {
    let Some(file) = plugin() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serving = Serving::start(dir);
    run(dir, &["key", "new", "author.pem"]).expect(0);
    run(
        dir,
        &[
            "plugin",
            "publish",
            file.to_str().unwrap(),
            "--sign-with",
            "author.pem",
        ],
    )
    .expect(0);
    for to in ["jq.tar", "jq"] {
        let got = run(dir, &["plugin", "pull", "stecker/jq", "--to", to, "--json"])
            .expect(0)
            .json();
        assert_eq!(got["signatures"], 1, "{got}");
    }
    let taken = run(dir, &["plugin", "pull", "stecker/jq", "--to", "jq"])
        .expect(1)
        .stderr;
    assert!(taken.contains("something is there already"), "{taken}");
    drop(serving);

    // Another host, which reaches nobody.
    let other = tempfile::tempdir().unwrap();
    for from in ["jq.tar", "jq"] {
        let from = dir.join(from);
        let from = from.to_str().unwrap();
        let got = run(
            other.path(),
            &[
                "plugin",
                "pull",
                "stecker/jq@0.1",
                "--from",
                from,
                "--output",
                "a.wasm",
            ],
        );
        assert!(got.expect(0).stdout.contains("1 signature(s)"));
        assert_eq!(
            fs::read(other.path().join("a.wasm")).unwrap(),
            fs::read(&file).unwrap()
        );
        let wrong = run(other.path(), &["plugin", "pull", "acme/shop", "--from", from])
            .expect(1)
            .stderr;
        assert!(wrong.contains("holds stecker/jq@0.1.0"), "{wrong}");
    }
    let from = dir.join("jq.tar");
    run(
        other.path(),
        &[
            "plugin",
            "pull",
            "stecker/jq",
            "--from",
            from.to_str().unwrap(),
            "--install",
        ],
    )
    .expect(0);
    let _serving = Serving::start(other.path());
    let published = run(
        other.path(),
        &["plugin", "publish", "--from", from.to_str().unwrap(), "--json"],
    )
    .expect(0);
    assert_eq!(published.json()["signatures"], 1);

    // A single bit, and it does not come in.
    let blob = fs::read_dir(dir.join("jq/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let damaged = run(
        dir,
        &[
            "plugin",
            "pull",
            "stecker/jq",
            "--from",
            "jq",
            "--output",
            "b.wasm",
        ],
    )
    .expect(1)
    .stderr;
    assert!(damaged.contains("has the digest"), "{damaged}");
    assert!(!dir.join("b.wasm").exists());
}

#[test]
fn skopeo_reads_what_was_written() {
    let Some(file) = plugin() else { return };
    if std::process::Command::new("skopeo")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let _serving = Serving::start(dir);
    run(dir, &["plugin", "publish", file.to_str().unwrap()]).expect(0);
    for (to, from, copy) in [
        ("jq.tar", "oci-archive:jq.tar:0.1.0", "dir:one"),
        ("jq", "oci:jq:0.1.0", "oci:copy:0.1.0"),
    ] {
        run(dir, &["plugin", "pull", "stecker/jq", "--to", to]).expect(0);
        let copied = std::process::Command::new("skopeo")
            .args(["--insecure-policy", "copy", from, copy])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
    }
    // And what skopeo wrote is read.
    run(
        dir,
        &[
            "plugin",
            "pull",
            "stecker/jq",
            "--from",
            "copy",
            "--output",
            "c.wasm",
        ],
    )
    .expect(0);
    assert_eq!(fs::read(dir.join("c.wasm")).unwrap(), fs::read(&file).unwrap());
}
