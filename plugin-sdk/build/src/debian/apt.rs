//! Asking Debian's archive: which packages make a compiler, and fetching them. `apt-get` checks the archive's signatures.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use super::{is_new_enough, upstream_version};
use crate::{BuildError, Progress, process, toolchain::MINIMUM};

const QUESTION: Duration = Duration::from_secs(60);
const LISTS: Duration = Duration::from_secs(300);
const DOWNLOAD: Duration = Duration::from_secs(1_800);

/// The compilers that Debian has, each with the package of its sources: in stable releases, a newer one is kept for browsers.
const COMPILERS: [(&str, &str); 2] = [("rustc-web", "rust-web-src"), ("rustc", "rust-src")];

/// What is to be downloaded.
#[derive(Debug)]
pub(super) struct Plan {
    /// The compiler's version, as Debian writes it.
    pub(super) version: String,
    packages: Vec<Record>,
}

/// What the archive says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    name: String,
    version: String,
    depends: Vec<String>,
    size: u64,
}

/// Apt, with the system's lists or with its own.
pub(super) struct Apt {
    options: Vec<String>,
}

impl Apt {
    pub(super) fn of_the_system() -> Self {
        Self { options: Vec::new() }
    }

    /// Fetches lists into `dir`, which needs no rights beyond it.
    pub(super) fn with_own_lists(dir: &Path) -> Result<Self, BuildError> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(BuildError::file("create", &path))?;
        }
        let at = |key: &str, path: &Path| format!("{key}={}", path.display());
        let options = [
            at("Dir::State", &dir.join("state")),
            at("Dir::Cache", &dir.join("cache")),
            "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        let apt = Self {
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
        };
        process::run(apt.command("apt-get").args(["--quiet", "update"]), LISTS)?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = process::clean(program);
        command.env("LC_ALL", "C.UTF-8").args(&self.options);
        command
    }

    /// The packages of the first compiler that is new enough.
    pub(super) fn plan(&self) -> Result<Plan, BuildError> {
        let mut seen = Vec::new();
        for (compiler, source) in COMPILERS {
            let record = match self.record(compiler) {
                Ok(record) => record,
                Err(error @ BuildError::Start { .. }) => return Err(error),
                Err(_) => {
                    seen.push(format!("no package {compiler}"));
                    continue;
                }
            };
            if !upstream_version(&record.version).is_some_and(|version| is_new_enough(&version)) {
                seen.push(format!("{compiler} is {}", record.version));
                continue;
            }
            let version = record.version.clone();
            let source = self.record(&format!("{source}={version}"))?;
            let mut packages = self.with_libraries(record)?;
            packages.push(source);
            return Ok(Plan { version, packages });
        }
        Err(BuildError::Command {
            command: "apt-cache show".to_owned(),
            status: format!("no compiler of version {MINIMUM} or later"),
            output: seen.join(", "),
        })
    }

    /// The compiler, the libraries that it needs, and the linker of the same LLVM.
    fn with_libraries(&self, compiler: Record) -> Result<Vec<Record>, BuildError> {
        let mut taken: BTreeMap<String, Record> = BTreeMap::new();
        let mut waiting = vec![compiler];
        while let Some(record) = waiting.pop() {
            for name in &record.depends {
                let is_ours = name.starts_with("libstd-rust") || is_llvm(name);
                // Any other library is the system's affair, unless the system lacks it.
                let is_lacking =
                    !is_ours && name.starts_with("lib") && !name.ends_with("-dev") && !is_installed(name);
                if (is_ours || is_lacking) && name != &record.name && !taken.contains_key(name) {
                    waiting.push(self.record(name)?);
                }
            }
            if let Some(version) = llvm_version(&record.name) {
                let linker = format!("lld-{version}");
                if !taken.contains_key(&linker) {
                    taken.insert(linker.clone(), self.record(&linker)?);
                }
            }
            taken.insert(record.name.clone(), record);
        }
        Ok(taken.into_values().collect())
    }

    /// What the archive says of the package, of its newest version unless `name=version` asks for one.
    fn record(&self, package: &str) -> Result<Record, BuildError> {
        let mut command = self.command("apt-cache");
        let finished = process::run(command.args(["show", "--no-all-versions", package]), QUESTION)?;
        parse_record(&finished.stdout).ok_or_else(|| process::failed(&command, &finished))
    }

    /// Downloads all packages of the plan into `dir`.
    pub(super) fn download(&self, plan: &Plan, dir: &Path, progress: Progress<'_>) -> Result<(), BuildError> {
        let bytes: u64 = plan.packages.iter().map(|package| package.size).sum();
        let (count, version) = (plan.packages.len(), &plan.version);
        progress(&format!(
            "downloading Debian's Rust {version}: {count} packages, {} MB",
            bytes.div_ceil(1_000_000)
        ));
        let mut command = self.command("apt-get");
        command.current_dir(dir).args(["--quiet", "download"]);
        command.args(
            plan.packages
                .iter()
                .map(|package| format!("{}={}", package.name, package.version)),
        );
        process::run(&mut command, DOWNLOAD).map(|_| ())
    }
}

fn is_llvm(name: &str) -> bool {
    llvm_version(name).is_some()
}

/// `22` of `libllvm22`.
fn llvm_version(name: &str) -> Option<u32> {
    name.to_ascii_lowercase()
        .strip_prefix("libllvm")?
        .split(':')
        .next()?
        .parse()
        .ok()
}

fn is_installed(name: &str) -> bool {
    let mut command = process::clean("dpkg-query");
    let status = process::run(
        command.args(["--show", "--showformat=${db:Status-Status}", name]),
        QUESTION,
    );
    // Of several architectures, each adds its status.
    status.is_ok_and(|finished| {
        finished.stdout.contains("installed") && !finished.stdout.contains("not-installed")
    })
}

/// The first record of what `apt-cache show` prints.
fn parse_record(text: &str) -> Option<Record> {
    let first = text.split("\n\n").next()?;
    let field = |name: &str| {
        first
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let depends = ["Pre-Depends", "Depends"]
        .into_iter()
        .filter_map(field)
        .flat_map(|list| list.split(','));
    Some(Record {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        // Of alternatives, the first is Debian's own choice.
        depends: depends
            .filter_map(|dependency| dependency.split_whitespace().next())
            .map(|name| name.split(':').next().unwrap_or(name).to_owned())
            .collect(),
        size: field("Size").and_then(|size| size.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_archive() {
        let text = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\nInstalled-Size: 13205\nPre-Depends: dpkg\n\
                    Depends: libc6 (>= 2.34), libstd-rust-web-dev (= 1.96.0), gcc:any | clang, libc-dev\nSize: 4450500\n\nPackage: other\n";
        let record = parse_record(text).unwrap();
        assert_eq!(
            (record.name.as_str(), record.version.as_str()),
            ("rustc-web", "1.96.0+dfsg1-1~deb12u2")
        );
        assert_eq!(
            record.depends,
            ["dpkg", "libc6", "libstd-rust-web-dev", "gcc", "libc-dev"]
        );
        assert_eq!(record.size, 4_450_500);
        assert_eq!(parse_record(""), None);
    }

    #[test]
    fn the_version_of_llvm_is_in_its_name() {
        assert_eq!(llvm_version("libllvm22"), Some(22));
        assert_eq!(llvm_version("libLLVM19"), Some(19));
        assert_eq!(llvm_version("libstd-rust-1.96"), None);
    }
}
