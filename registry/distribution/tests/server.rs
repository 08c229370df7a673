//! A server in a process of its own: the example, killed at seeded moments, measured, and used by a real client.
//!
//! `cargo test -p stecker-distribution` builds the example with the tests; a single test target does not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Client;
use serde_json::{Value, json};
use stecker_distribution::{Algorithm, Digest, IMAGE_MANIFEST};

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("examples/serve");
        assert!(
            program.is_file(),
            "{} is not built: cargo build -p stecker-distribution --example serve",
            program.display()
        );
        let mut process = Command::new(program)
            .arg(folder)
            .arg(port.to_string())
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().to_owned();
        assert!(address.starts_with("http://"), "{line:?}");
        Self { process, address }
    }

    fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// The most memory that the process ever had, in KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL on Unix; one that is gone already is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}

fn descriptor(content: &[u8], kind: &str) -> Value {
    json!({ "mediaType": kind, "digest": digest(content).as_str(), "size": content.len() })
}

fn image(config: &[u8], layer: &[u8]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")] })
}

/// One attempt at a push; none: the connection broke, or the registry asks for another attempt.
async fn push(
    client: &Client,
    base: &str,
    tag: &str,
    config: &[u8],
    layer: &[u8],
    chunked: bool,
) -> Option<()> {
    for content in [config, layer] {
        let digest = digest(content);
        if client
            .head(format!("{base}/v2/k/blobs/{digest}"))
            .send()
            .await
            .ok()?
            .status()
            == 200
        {
            continue;
        }
        let status = if chunked {
            let answer = client
                .post(format!("{base}/v2/k/blobs/uploads/"))
                .send()
                .await
                .ok()?;
            let location = format!("{base}{}", answer.headers().get("location")?.to_str().ok()?);
            let (first, second) = content.split_at(content.len() / 2);
            client.patch(&location).body(first.to_vec()).send().await.ok()?;
            client
                .put(format!("{location}?digest={digest}"))
                .body(second.to_vec())
                .send()
                .await
                .ok()?
                .status()
        } else {
            client
                .post(format!("{base}/v2/k/blobs/uploads/?digest={digest}"))
                .body(content.to_vec())
                .send()
                .await
                .ok()?
                .status()
        };
        if status != 201 {
            return None;
        }
    }
    let manifest = serde_json::to_vec(&image(config, layer)).unwrap();
    let request = client
        .put(format!("{base}/v2/k/manifests/{tag}"))
        .header("content-type", IMAGE_MANIFEST)
        .body(manifest);
    let status = request.send().await.ok()?.status();
    assert!(matches!(status.as_u16(), 201 | 404 | 500 | 503), "{status}");
    (status == 201).then_some(())
}

async fn up(client: &Client, base: &str) {
    for _ in 0..600 {
        if client.get(format!("{base}/v2/")).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server does not come back");
}

/// 200 pushes beside collections every few milliseconds, and a server that is killed all the time: what was acknowledged is there,
/// whole, and what is not needed is gone in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_breaks_no_manifest_and_loses_no_blob() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("GRACE_MS", "500"), ("COLLECT_MS", "7")];
    let mut server = Server::start(folder.path(), 0, &settings);
    let (base, port, client) = (server.address.clone(), server.port(), client());
    let done = Arc::new(AtomicBool::new(false));
    let attempts = Arc::new(AtomicUsize::new(0));
    let contents = |n: u64| {
        // Layers are shared by some, and some have more than one piece.
        let length = if n.is_multiple_of(20) {
            9 * 1024 * 1024
        } else {
            20_000
        };
        (random(n, 300), random(10_000 + n / 3, length))
    };
    let pushers: Vec<_> = (0..4_u64)
        .map(|pusher| {
            let (client, base, attempts) = (client.clone(), base.clone(), attempts.clone());
            tokio::spawn(async move {
                for n in (pusher..200).step_by(4) {
                    let (config, layer) = contents(n);
                    while push(&client, &base, &format!("1.0.{n}"), &config, &layer, n % 2 == 0)
                        .await
                        .is_none()
                    {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        up(&client, &base).await;
                    }
                }
            })
        })
        .collect();
    let killer = {
        let (done, folder) = (done.clone(), folder.path().to_owned());
        tokio::task::spawn_blocking(move || {
            let (mut random, mut kills) = (StdRng::seed_from_u64(20), 0);
            while !done.load(Ordering::SeqCst) {
                // The seeded moments of kills are times.
                std::thread::sleep(Duration::from_millis(random.random_range(100..900)));
                drop(server);
                kills += 1;
                server = Server::start(&folder, port, &settings);
            }
            drop(server);
            kills
        })
    };
    for pusher in pushers {
        pusher.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let kills = killer.await.unwrap();
    println!(
        "{kills} kills, {} attempts that failed",
        attempts.load(Ordering::SeqCst)
    );
    assert!(kills > 3);

    let mut server = Server::start(folder.path(), 0, &[("GRACE_MS", "0"), ("COLLECT_MS", "10")]);
    let mut blobs = std::collections::BTreeSet::new();
    for n in 0..200 {
        let (config, layer) = contents(n);
        let manifest = client
            .get(format!("{}/v2/k/manifests/1.0.{n}", server.address))
            .send()
            .await
            .unwrap();
        assert_eq!(manifest.status(), 200, "1.0.{n}");
        assert_eq!(manifest.json::<Value>().await.unwrap(), image(&config, &layer));
        for content in [config, layer] {
            let digest = digest(&content);
            if blobs.insert(digest.to_string()) {
                let answer = client
                    .get(format!("{}/v2/k/blobs/{digest}", server.address))
                    .send()
                    .await
                    .unwrap();
                assert_eq!(answer.status(), 200, "1.0.{n} {digest}");
                assert!(answer.bytes().await.unwrap() == content, "1.0.{n} {digest}");
            }
        }
    }
    // Uploads that were broken off live for a day: their pieces may stay; nothing else may.
    let kept = folder.path().join("blobs/blobs");
    for _ in 0..500 {
        if files(&kept).len() == blobs.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(server.process.try_wait().unwrap().is_none());
    }
    panic!(
        "{} objects for {} blobs: {:?}",
        files(&kept).len(),
        blobs.len(),
        files(&kept)
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            out.extend(files(&entry.path()));
        } else {
            out.push(entry.path());
        }
    }
    out
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_blob_streams_through() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), 0, &[]);
    let client = client();
    client
        .post(format!(
            "{}/v2/a/blobs/uploads/?digest={}",
            server.address,
            digest(b"x")
        ))
        .body("x")
        .send()
        .await
        .unwrap();
    let before = server.peak();
    let content = random(1, 64 * 1024 * 1024);
    let digest = digest(&content);
    let begun = client
        .post(format!("{}/v2/a/blobs/uploads/", server.address))
        .send()
        .await
        .unwrap();
    let location = format!(
        "{}{}?digest={digest}",
        server.address,
        begun.headers()["location"].to_str().unwrap()
    );
    let answer = client.put(location).body(content.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let pushed = server.peak();
    let pulled = client
        .get(format!("{}/v2/a/blobs/{digest}", server.address))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(pulled == content);
    let peak = server.peak();
    println!("peak memory: {before} KiB before, {pushed} KiB after the push, {peak} KiB after the pull");
    assert!(peak - before < 48 * 1024, "{before} KiB before, {peak} KiB after");
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output().unwrap();
    if !output.status.success() {
        println!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    output.status.success()
}

#[test]
fn skopeo_pushes_and_pulls_the_same_bytes() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        println!("skipped: skopeo is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("from");
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let write = |content: &[u8]| {
        std::fs::write(layout.join("blobs/sha256").join(digest(content).hex()), content).unwrap();
    };
    let layer = random(2, 5_000_000);
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(&layer).as_str()] } }).to_string();
    let manifest = serde_json::to_vec(&image(config.as_bytes(), &layer)).unwrap();
    write(&layer);
    write(config.as_bytes());
    write(&manifest);
    let mut entry = descriptor(&manifest, IMAGE_MANIFEST);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1.0.0" });
    std::fs::write(
        layout.join("index.json"),
        json!({ "schemaVersion": 2, "manifests": [entry] }).to_string(),
    )
    .unwrap();
    std::fs::write(
        layout.join("oci-layout"),
        json!({ "imageLayoutVersion": "1.0.0" }).to_string(),
    )
    .unwrap();

    for (name, settings) in [
        ("open", vec![]),
        ("tokens", vec![("DISTRIBUTION_USER", "ada:secret")]),
        (
            "passwords",
            vec![("DISTRIBUTION_USER", "ada:secret"), ("DISTRIBUTION_BASIC", "1")],
        ),
    ] {
        let server = Server::start(&folder.path().join(name), 0, &settings);
        let remote = format!(
            "docker://{}/team/plugin:1.0.0",
            server.address.strip_prefix("http://").unwrap()
        );
        let (from, to) = (
            format!("oci:{}:1.0.0", layout.display()),
            folder.path().join(format!("to-{name}")),
        );
        let back = format!("oci:{}:1.0.0", to.display());
        let credentials: &[&str] = if settings.is_empty() {
            &[]
        } else {
            &["--creds", "ada:secret"]
        };
        let common = ["--insecure-policy", "copy", "--preserve-digests"];
        let with = |more: &[&str], option: &str| {
            let mut all = common.to_vec();
            if let [flag, value] = more {
                all.extend([
                    if option.starts_with("--dest") {
                        "--dest-creds"
                    } else {
                        "--src-creds"
                    },
                    *value,
                ]);
                assert_eq!(*flag, "--creds");
            }
            all.push(option);
            all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
        };
        let mut push = with(credentials, "--dest-tls-verify=false");
        push.extend([
            "--dest-oci-accept-uncompressed-layers".to_owned(),
            from,
            remote.clone(),
        ]);
        assert!(
            run("skopeo", &push.iter().map(String::as_str).collect::<Vec<_>>()),
            "{name}: push"
        );
        let mut pull = with(credentials, "--src-tls-verify=false");
        pull.extend(["--dest-oci-accept-uncompressed-layers".to_owned(), remote, back]);
        assert!(
            run("skopeo", &pull.iter().map(String::as_str).collect::<Vec<_>>()),
            "{name}: pull"
        );
        for content in [&layer[..], config.as_bytes(), &manifest[..]] {
            let copy = std::fs::read(to.join("blobs/sha256").join(digest(content).hex())).unwrap();
            assert!(copy == content, "{name}");
        }
    }
}
