//! The cache of compiled plugins: what is taken from it, and what never is.

use std::{fs, path::Path};

use stecker_sandbox::{Release, Sandbox, SandboxError, SandboxOptions};

use crate::support::{answer, apply, binding, load, record, transform};

fn plugin(title: &str) -> Vec<u8> {
    let code = format!(
        "{} (data (i32.const 4096) \"{title}\")",
        apply(&format!("{} (i32.const 2048)", answer(1, 1040, 5)))
    );
    transform("", &code)
}

fn open(dir: &Path) -> Sandbox {
    Sandbox::new(SandboxOptions {
        cache_dir: Some(dir.to_owned()),
        max_instances: 2,
        ..SandboxOptions::default()
    })
    .unwrap()
}

/// As after a restart: in a new sandbox, and it has to work.
async fn load_fresh(dir: &Path, title: &str) -> Release {
    let release = load(&open(dir), plugin(title)).await;
    let called = release.bind(binding()).unwrap().apply(vec![record()]).await;
    assert_eq!(called.result.unwrap().len(), 1);
    release
}

fn entry(dir: &Path, release: &Release) -> std::path::PathBuf {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .into_iter()
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(release.digest().hex())
        })
        .expect("an entry for the release")
}

#[tokio::test]
async fn the_second_start_does_not_compile() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!load_fresh(dir.path(), "a").await.from_cache());
    assert!(load_fresh(dir.path(), "a").await.from_cache());
    assert!(!load_fresh(dir.path(), "b").await.from_cache());
}

#[tokio::test]
async fn what_this_host_did_not_write_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let one = load_fresh(dir.path(), "a").await;
    let two = load_fresh(dir.path(), "b").await;
    let (one, two) = (entry(dir.path(), &one), entry(dir.path(), &two));
    let genuine = fs::read(&one).unwrap();

    let mut flipped = genuine.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut without_mac = genuine.clone();
    without_mac.drain(14..46);
    for (what, bytes) in [
        ("one bit flipped", flipped),
        ("cut off", genuine[..genuine.len() - 1].to_vec()),
        ("only the header", genuine[..20].to_vec()),
        ("empty", Vec::new()),
        ("without the MAC", without_mac),
        ("another plugin's valid entry", fs::read(&two).unwrap()),
    ] {
        fs::write(&one, bytes).unwrap();
        assert!(!load_fresh(dir.path(), "a").await.from_cache(), "{what}");
        assert!(
            load_fresh(dir.path(), "a").await.from_cache(),
            "written anew after: {what}"
        );
    }

    // An entry of a host with another key, such as a copied cache.
    let other = tempfile::tempdir().unwrap();
    let foreign = load_fresh(other.path(), "a").await;
    fs::copy(entry(other.path(), &foreign), &one).unwrap();
    assert!(!load_fresh(dir.path(), "a").await.from_cache());
}

#[cfg(unix)]
#[tokio::test]
async fn the_key_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("made/by/the/host");
    drop(open(&dir));
    let key = dir.join("key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);

    let refused = |because: &str| {
        let options = SandboxOptions {
            cache_dir: Some(dir.clone()),
            max_instances: 1,
            ..SandboxOptions::default()
        };
        match Sandbox::new(options) {
            Err(error @ SandboxError::Cache { .. }) => {
                assert!(error.to_string().contains(because), "{error}");
            }
            other => panic!("{other:?}"),
        }
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused("other users of this machine can read the key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "short").unwrap();
    refused("the key is damaged");
}
