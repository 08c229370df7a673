//! A throw-away Postgres for tests, of the programs that the machine has: a cluster of its own in a temporary folder, on a free
//! port of 127.0.0.1, stopped and deleted when the value is dropped.
//!
//! Postgres refuses to run as root. Where a test run is root (containers, mostly), the cluster runs as the user `postgres`, or
//! `nobody`.

use std::{
    env, fs, io,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Why there is no Postgres to test with.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The programs are not there.
    #[error(
        "no `initdb` and `pg_ctl` in PATH or /usr/lib/postgresql/*/bin; install the package `postgresql`"
    )]
    NotInstalled,
    /// Root, with nobody else to be.
    #[error(
        "Postgres does not run as root, and /etc/passwd has neither `postgres` nor `nobody`; run this as another user"
    )]
    OnlyRoot,
    /// A program failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Which.
        program: String,
        /// What it said.
        said: String,
    },
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// To what.
        what: String,
        /// How.
        source: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> PostgresError {
    let what = what.into();
    move |source| PostgresError::Io { what, source }
}

/// A running Postgres, until it is dropped.
#[derive(Debug)]
pub struct TestPostgres {
    programs: PathBuf,
    user: Option<User>,
    data: PathBuf,
    url: String,
    /// What the server is started with.
    options: String,
    // Deleted last.
    _folder: TempDir,
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl TestPostgres {
    /// Starts one. Takes a second or two.
    ///
    /// # Errors
    /// The programs are missing or fail.
    pub fn start() -> Result<Self, PostgresError> {
        Self::start_with("")
    }

    /// Starts one whose commits survive [`Self::crash`]. (Others may lose those of the last moment, for being faster.)
    ///
    /// # Errors
    /// The programs are missing or fail.
    pub fn start_to_crash() -> Result<Self, PostgresError> {
        Self::start_with("-c synchronous_commit=on")
    }

    fn start_with(more: &str) -> Result<Self, PostgresError> {
        let programs = programs().ok_or(PostgresError::NotInstalled)?;
        let folder = tempfile::Builder::new()
            .prefix("stecker-postgres-")
            .tempdir()
            .map_err(io_error("a temporary folder cannot be made"))?;
        let user = other_user(folder.path())?;
        if let Some(User { uid, gid }) = user {
            chown(folder.path(), Some(uid), Some(gid))
                .map_err(io_error("the temporary folder cannot be given away"))?;
        }
        let data = folder.path().join("data");
        let run = |name: &str, arguments: &[&str]| run(&programs, user, folder.path(), name, arguments);
        let data_text = data.to_string_lossy().into_owned();
        // Nothing here outlives a crash, so nothing waits for a disk.
        run(
            "initdb",
            &[
                "-D",
                &data_text,
                "-U",
                "stecker",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ],
        )?;
        // Somebody else may take the port between asking for it and using it; that is worth another try.
        let mut last = None;
        for _ in 0..3 {
            let port = free_port()?;
            let options = format!(
                "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={} -c fsync=off \
                 -c synchronous_commit=off -c full_page_writes=off -c max_connections=400 -c shared_buffers=64MB {more}",
                folder.path().display()
            );
            let log = folder.path().join("log").to_string_lossy().into_owned();
            match run(
                "pg_ctl",
                &[
                    "-D", &data_text, "-w", "-t", "60", "-l", &log, "-o", &options, "start",
                ],
            ) {
                Ok(()) => {
                    return Ok(Self {
                        programs,
                        user,
                        data,
                        url: format!("postgres://stecker@127.0.0.1:{port}/postgres"),
                        options,
                        _folder: folder,
                    });
                }
                Err(error) => {
                    let log = fs::read_to_string(&log).unwrap_or_default();
                    last = Some(match error {
                        PostgresError::Failed { program, said } => PostgresError::Failed {
                            program,
                            said: format!("{said}\n{log}"),
                        },
                        other => other,
                    });
                }
            }
        }
        Err(last.unwrap_or(PostgresError::NotInstalled))
    }

    /// Where it is: a database to connect to, as a user who may create others.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it without a word to those who use it, as a crash would.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn crash(&self) -> Result<(), PostgresError> {
        self.pg_ctl(&["-m", "immediate", "-w", "stop"])
    }

    /// Starts it again after [`Self::crash`], at the same address.
    ///
    /// # Errors
    /// It does not come back.
    pub fn start_again(&self) -> Result<(), PostgresError> {
        let log = self.folder().join("log").to_string_lossy().into_owned();
        self.pg_ctl(&["-w", "-t", "60", "-l", &log, "-o", &self.options, "start"])
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), PostgresError> {
        let data = self.data.to_string_lossy();
        let arguments: Vec<&str> = ["-D", &data]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        run(&self.programs, self.user, self.folder(), "pg_ctl", &arguments)
    }

    fn folder(&self) -> &Path {
        self.data.parent().unwrap_or(Path::new("/"))
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        // There is nobody to tell; a cluster that is gone already is fine, and the folder goes in any case.
        drop(self.crash());
    }
}

fn programs() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    // The newest version first: a wrapper in PATH may be of any.
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    let path = env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .map(|(_, folder)| folder)
        .chain(env::split_paths(&path))
        .find(complete)
}

/// Whom to be instead of root; none if this is not root.
fn other_user(own: &Path) -> Result<Option<User>, PostgresError> {
    use std::os::unix::fs::MetadataExt;
    // A file that was made just now tells who we are.
    let owner = fs::metadata(own)
        .map_err(io_error("the temporary folder cannot be looked at"))?
        .uid();
    if owner != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(io_error("/etc/passwd cannot be read"))?;
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            Some(User {
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    };
    match find("postgres").or_else(|| find("nobody")) {
        Some(user) => Ok(Some(user)),
        None => Err(PostgresError::OnlyRoot),
    }
}

fn run(
    programs: &Path,
    user: Option<User>,
    folder: &Path,
    name: &str,
    arguments: &[&str],
) -> Result<(), PostgresError> {
    let mut command = Command::new(programs.join(name));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("PGDATA")
        .env_remove("PGPORT")
        .env("LC_ALL", "C");
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    // The server inherits what pg_ctl has open, so that a pipe would stay open as long as it runs: files instead.
    let said = folder.join(format!("{name}.said"));
    let file = fs::File::create(&said).map_err(io_error(format!("{} cannot be made", said.display())))?;
    let again = file.try_clone().map_err(io_error("a file cannot be shared"))?;
    let Output { status, .. } = command
        .stdin(std::process::Stdio::null())
        .stdout(file)
        .stderr(again)
        .output()
        .map_err(io_error(format!("`{name}` cannot be run")))?;
    if status.success() {
        return Ok(());
    }
    Err(PostgresError::Failed {
        program: name.to_owned(),
        said: fs::read_to_string(&said).unwrap_or_default(),
    })
}

fn free_port() -> Result<u16, PostgresError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(io_error("no free port on 127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn it_answers_until_it_is_dropped() {
        let postgres = match TestPostgres::start() {
            Ok(postgres) => postgres,
            Err(PostgresError::NotInstalled) => {
                println!("skipped: {}", PostgresError::NotInstalled);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let address = postgres
            .url()
            .split(['@', '/'])
            .find(|part| part.starts_with("127.0.0.1"))
            .unwrap()
            .to_owned();
        let folder = postgres.data.parent().unwrap().to_owned();
        assert!(TcpStream::connect(&address).is_ok());
        postgres.crash().unwrap();
        assert!(TcpStream::connect(&address).is_err());
        postgres.start_again().unwrap();
        assert!(TcpStream::connect(&address).is_ok());
        drop(postgres);
        assert!(TcpStream::connect(&address).is_err());
        assert!(!folder.exists());
    }
}
