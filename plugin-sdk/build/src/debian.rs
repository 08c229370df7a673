//! Debian's compiler, unpacked into the user's cache.
//!
//! It builds guests where rustup cannot be reached, without root and without touching the system: packages are downloaded and unpacked, never
//! installed. Debian has no standard library for `wasm32-unknown-unknown` in the newer packages, so it is built once from their sources
//! (about a minute) and put into the unpacked sysroot; from then on the toolchain is an ordinary one. Compiler and library have
//! to be of one version, so the active toolchain's compiler is of no use here.

mod apt;

use std::{
    cmp::Reverse,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use semver::Version;

use self::apt::{Apt, Plan};
use crate::{
    BuildError, Progress,
    process::{self, Line},
    toolchain::{GuestToolchain, MINIMUM, Origin, TARGET, cargo_program, has_std},
};

const UNPACK: Duration = Duration::from_secs(300);
const BUILD_STD: Duration = Duration::from_secs(1_800);
const QUESTION: Duration = Duration::from_secs(60);

/// The newest toolchain in the cache that works.
pub(crate) fn find(root: &Path) -> Option<GuestToolchain> {
    let entries = fs::read_dir(root).ok()?;
    let mut prefixes: Vec<(Version, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((upstream_version(entry.file_name().to_str()?)?, entry.path())))
        .filter(|(version, _)| is_new_enough(version))
        .collect();
    prefixes.sort_by_key(|(version, _)| Reverse(version.clone()));
    prefixes
        .into_iter()
        .find_map(|(_, prefix)| at(&prefix).ok().filter(|_| has_std(&std_dir(&prefix))))
}

/// Downloads, unpacks and completes a toolchain below `root`.
pub(crate) fn make(root: &Path, progress: Progress<'_>) -> Result<GuestToolchain, BuildError> {
    fs::create_dir_all(root).map_err(BuildError::file("create", root))?;
    let lock_path = root.join(".lock");
    let lock = File::create(&lock_path).map_err(BuildError::file("create", &lock_path))?;
    if lock.try_lock().is_err() {
        progress("waiting for another build that is making the toolchain");
        lock.lock().map_err(BuildError::file("lock", &lock_path))?;
        if let Some(made) = find(root) {
            return Ok(made);
        }
    }
    // Beside the final place, so that the last step is a rename: the cache never has half a toolchain.
    let staging = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(root)
        .map_err(BuildError::file("create a folder in", root))?;
    let prefix = staging.path().join("prefix");
    let plan = download(staging.path(), progress)?;
    unpack(staging.path(), &prefix, progress)?;
    build_std(staging.path(), &prefix, progress)?;
    for unneeded in [
        "usr/src",
        "usr/lib/rustlib/src",
        "usr/share",
        "usr/libexec",
        "usr/bin/rustdoc",
    ] {
        remove(&prefix.join(unneeded))?;
    }
    let home = root.join(plan.version.replace([':', '/'], "_"));
    remove(&home)?;
    fs::rename(&prefix, &home).map_err(BuildError::file("move the toolchain to", &home))?;
    at(&home)
}

/// The archive as the system knows it; where that knows nothing or too little, lists of its own, fetched into the staging folder.
fn download(staging: &Path, progress: Progress<'_>) -> Result<Plan, BuildError> {
    let first = Apt::of_the_system();
    let result = first
        .plan()
        .and_then(|plan| first.download(&plan, staging, progress).map(|()| plan));
    let Err(error) = result else { return result };
    if matches!(error, BuildError::Start { .. }) {
        return Err(error);
    }
    progress("the lists of Debian's archive are missing or old; fetching them");
    let own = Apt::with_own_lists(&staging.join("apt"))?;
    let plan = own.plan()?;
    own.download(&plan, staging, progress)?;
    Ok(plan)
}

fn unpack(staging: &Path, prefix: &Path, progress: Progress<'_>) -> Result<(), BuildError> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(staging).map_err(BuildError::file("read", staging))? {
        let path = entry.map_err(BuildError::file("read", staging))?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    packages.sort();
    for package in &packages {
        progress(&format!(
            "unpacking {}",
            package.file_name().unwrap_or_default().to_string_lossy()
        ));
        process::run(
            process::clean("dpkg-deb")
                .arg("--extract")
                .arg(package)
                .arg(prefix),
            UNPACK,
        )?;
        fs::remove_file(package).map_err(BuildError::file("remove", package))?;
    }
    Ok(())
}

/// Builds the standard library by building an empty crate on it, and moves it to where the compiler looks for one.
fn build_std(staging: &Path, prefix: &Path, progress: Progress<'_>) -> Result<(), BuildError> {
    progress("building the standard library for WebAssembly, about a minute and only once");
    let seed = staging.join("seed");
    let source = seed.join("src");
    fs::create_dir_all(&source).map_err(BuildError::file("create", &source))?;
    let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(BuildError::file("write", path));
    write(
        seed.join("Cargo.toml"),
        "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    write(source.join("lib.rs"), "#![no_std]\n")?;

    let library = prefix.join("usr/lib/rustlib/src/rust/library");
    let real = fs::canonicalize(&library).map_err(BuildError::file(
        "find the sources of the standard library in",
        &library,
    ))?;
    let target_dir = staging.join("target");
    // Whoever links a guest with link-time optimisation needs bitcode, which Cargo leaves out of libraries otherwise. And the
    // paths of this machine have no business in a plugin's panic messages.
    let mut flags = vec!["-Cembed-bitcode=yes".to_owned()];
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let places = [
        (cargo_home.as_deref(), "/cargo"),
        (Some(library.as_path()), "/rust/library"),
        (Some(real.as_path()), "/rust/library"),
    ];
    for (from, to) in places {
        flags.extend(from.map(|from| format!("--remap-path-prefix={}={to}", from.display())));
    }
    let mut command = process::clean(cargo_program());
    command
        .current_dir(&seed)
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=std,panic_abort",
        ])
        .envs(env_at(prefix)?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let vendored = real.join("vendor");
    if vendored.is_dir() {
        let directory = serde_json::Value::from(vendored.to_string_lossy().as_ref());
        command.args([
            "--offline",
            "--config",
            "source.crates-io.replace-with=\"unpacked\"",
        ]);
        command.args(["--config", &format!("source.unpacked.directory={directory}")]);
    }
    let finished = process::listen(&mut command, BUILD_STD, &mut |line| {
        if let Line::Stderr(line) = line
            && let Some(what) = line.trim_start().strip_prefix("Compiling ")
        {
            progress(&format!("compiling {}", what.split(" (").next().unwrap_or(what)));
        }
    })?;
    if !finished.status.success() {
        return Err(process::failed(&command, &finished));
    }

    let built = target_dir.join(TARGET).join("release/deps");
    let into = std_dir(prefix);
    fs::create_dir_all(&into).map_err(BuildError::file("create", &into))?;
    for entry in fs::read_dir(&built).map_err(BuildError::file("read", &built))? {
        let path = entry.map_err(BuildError::file("read", &built))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libseed-") {
            fs::rename(&path, into.join(&name)).map_err(BuildError::file("move", &path))?;
        }
    }
    Ok(())
}

fn std_dir(prefix: &Path) -> PathBuf {
    prefix.join("usr/lib/rustlib").join(TARGET).join("lib")
}

/// The toolchain unpacked at `prefix`, if its compiler answers.
fn at(prefix: &Path) -> Result<GuestToolchain, BuildError> {
    let env = env_at(prefix)?;
    let mut ask = process::clean(prefix.join("usr/bin/rustc"));
    let version = process::run(
        ask.arg("-V").envs(env.iter().map(|(key, value)| (key, value))),
        QUESTION,
    )?;
    Ok(GuestToolchain {
        origin: Origin::Debian,
        version: version.stdout.trim().to_owned(),
        env,
    })
}

fn env_at(prefix: &Path) -> Result<Vec<(&'static str, OsString)>, BuildError> {
    let lib = prefix.join("usr/lib");
    let libraries = child_where(&lib, |dir| {
        fs::read_dir(dir).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("librustc_driver-")
            })
        })
    })?;
    let llvm = child_where(&lib, |dir| dir.join("bin/wasm-ld").exists())?;
    Ok(vec![
        ("RUSTC", prefix.join("usr/bin/rustc").into()),
        ("LD_LIBRARY_PATH", libraries.into()),
        (
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            llvm.join("bin/wasm-ld").into(),
        ),
    ])
}

fn child_where(dir: &Path, matches: impl Fn(&Path) -> bool) -> Result<PathBuf, BuildError> {
    let entries = fs::read_dir(dir).map_err(BuildError::file("read", dir))?;
    let found = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| matches(path));
    found.ok_or_else(|| {
        BuildError::file("find the compiler's libraries or linker in", dir)(
            std::io::ErrorKind::NotFound.into(),
        )
    })
}

fn remove(path: &Path) -> Result<(), BuildError> {
    let result = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    result.map_err(BuildError::file("remove", path))
}

/// `1.96.0` of `1.96.0+dfsg1-1~deb12u2`.
fn upstream_version(debian: &str) -> Option<Version> {
    let end = debian
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(debian.len());
    Version::parse(debian.get(..end)?).ok()
}

fn is_new_enough(version: &Version) -> bool {
    semver::VersionReq::parse(&format!(">={MINIMUM}")).is_ok_and(|minimum| minimum.matches(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_versions() {
        assert_eq!(
            upstream_version("1.96.0+dfsg1-1~deb12u2"),
            Some(Version::new(1, 96, 0))
        );
        assert_eq!(upstream_version(".making-x"), None);
        assert!(is_new_enough(&Version::new(1, 96, 0)) && !is_new_enough(&Version::new(1, 63, 0)));
    }

    #[test]
    fn half_a_toolchain_in_the_cache_is_not_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(find(root.path()), None);
        let std = std_dir(&root.path().join("1.96.0+dfsg1-1"));
        fs::create_dir_all(&std).unwrap();
        fs::write(std.join("libstd-0.rlib"), "").unwrap();
        assert_eq!(find(root.path()), None);
    }
}
