//! Hosts to be measured: data folders with everything compiled already, setups, and databases of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use stecker_benchmarks::shop;
use stecker_scenarios::{Artifacts, Host, HostOptions};
use stecker_test_postgres::TestPostgres;

/// What calls are signed with. Nothing outside of loopback ever knows it.
pub(crate) const SECRET: &str = "benchmark";
/// The only flow.
pub(crate) const FLOW: &str = "orders";

/// Where a host keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
        }
    }
}

/// What a flow is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Orders become sales on their way. Without it, what comes is a sale already.
    pub(crate) transform: bool,
    /// Orders come as calls.
    pub(crate) webhook: bool,
}

pub(crate) struct Lab {
    artifacts: Artifacts,
    plugin: PathBuf,
    folder: PathBuf,
    postgres: Option<TestPostgres>,
}

/// A folder and a database, ready for a host.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) data: PathBuf,
    /// None: a file in the folder.
    pub(crate) database: Option<String>,
}

impl Lab {
    /// Compiles the plugins, once for all hosts.
    pub(crate) async fn open(
        stecker: PathBuf,
        plugins: PathBuf,
        plugin: &[u8],
        folder: PathBuf,
    ) -> Result<Self> {
        let path = folder.join("delivery.wasm");
        fs::write(&path, plugin)?;
        fs::write(folder.join("secret"), SECRET)?;
        let lab = Self {
            artifacts: Artifacts { stecker, plugins },
            plugin: path,
            folder,
            postgres: TestPostgres::start().ok(),
        };
        let template = Place {
            data: lab.folder.join("template"),
            database: None,
        };
        let shape = Shape {
            transform: true,
            webhook: false,
        };
        lab.apply(&template, "http://127.0.0.1:9", shape)?;
        Ok(lab)
    }

    /// The databases that there are.
    pub(crate) fn databases(&self) -> impl Iterator<Item = Database> {
        let has_postgres = self.postgres.is_some();
        Database::ALL
            .into_iter()
            .filter(move |database| has_postgres || *database == Database::Sqlite)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A fresh one; what was there under this name goes.
    pub(crate) async fn place(&self, name: &str, database: Database) -> Result<Place> {
        let data = self.folder.join(name);
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        copy(&self.folder.join("template/cache"), &data.join("cache"))?;
        let database = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(self.fresh_database(&name.replace('-', "_")).await?),
        };
        Ok(Place { data, database })
    }

    async fn server(&self) -> Result<(&str, PgConnection)> {
        let postgres = self.postgres.as_ref().context("there is no Postgres")?;
        let connection = PgConnection::connect(postgres.url()).await?;
        Ok((postgres.url(), connection))
    }

    async fn fresh_database(&self, name: &str) -> Result<String> {
        let (url, mut server) = self.server().await?;
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut server).await?;
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut server).await?;
        let (base, _) = url
            .rsplit_once('/')
            .context("the address of a Postgres has a database in it")?;
        Ok(format!("{base}/{name}"))
    }

    /// An empty database for somebody else than a host.
    pub(crate) async fn database(&self, name: &str, database: Database) -> Result<String> {
        match database {
            Database::Postgres => self.fresh_database(name).await,
            Database::Sqlite => {
                let path = self.folder.join(format!("{name}.db"));
                for end in ["", "-wal", "-shm"] {
                    let file = self.folder.join(format!("{name}.db{end}"));
                    if file.exists() {
                        fs::remove_file(file)?;
                    }
                }
                Ok(format!("sqlite:{}?mode=rwc", path.display()))
            }
        }
    }

    /// Transactions of a host's database until now; none on SQLite, which does not count.
    pub(crate) async fn transactions(&self, place: &Place) -> Result<Option<i64>> {
        let Some(database) = &place.database else {
            return Ok(None);
        };
        let (_, mut server) = self.server().await?;
        let row = sqlx::query(
            "SELECT (xact_commit + xact_rollback)::BIGINT AS n FROM pg_stat_database WHERE datname = $1",
        )
        .bind(database.rsplit_once('/').map_or("", |(_, name)| name))
        .fetch_one(&mut server)
        .await?;
        Ok(Some(row.try_get("n")?))
    }

    /// Applies the setup of one tenant, in the data folder, without a server.
    pub(crate) fn apply(&self, place: &Place, api: &str, shape: Shape) -> Result<()> {
        fs::create_dir_all(&place.data)?;
        let setup = place.data.join("setup.toml");
        fs::write(&setup, self.setup(api, shape)?)?;
        let mut command = Command::new(&self.artifacts.stecker);
        command.arg("apply").arg("-f").arg(&setup);
        command.env("STECKER_DATA", &place.data).stdin(Stdio::null());
        if let Some(database) = &place.database {
            command.args(["--database", database]);
        }
        let output = command.output().context("the host cannot be started")?;
        ensure!(
            output.status.success(),
            "the setup cannot be applied:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn setup(&self, api: &str, shape: Shape) -> Result<String> {
        let host = api.trim_start_matches("http://");
        let plugin = self.plugin.display().to_string();
        let secret = self.folder.join("secret").display().to_string();
        let connection = |name: &str| {
            format!(
                r#"
[[connection]]
name = "{name}"
plugin = {{ path = {plugin:?} }}
config = {{ url = {api:?} }}
grants.http = [{{ host = {host:?}, schemes = ["http"] }}]
credentials.webhook = {{ secret = {{ file = {secret:?} }} }}
limits.http = {{ in-flight = 64, per-second = 10000 }}
limits.webhook = {{ per-second = 10000, burst = 100000, backlog = 1000000 }}
"#
            )
        };
        let mut setup = connection("shop") + &connection("erp");
        setup.push_str(&format!(
            r#"
[[flow]]
name = "{FLOW}"
source = {{ connection = "shop", stream = "orders" }}
destination = {{ connection = "erp", stream = "sales" }}
trigger = {{ webhook = {} }}
delivery = {{ page = 250, batch = 50, lanes = 4 }}
retry = {{ max-attempts = 20, base = "50ms", cap = "1s" }}
"#,
            shape.webhook
        ));
        if shape.transform {
            setup.push_str(&format!(
                "\n[[flow.transform]]\nplugin = {{ path = {:?} }}\nconfig = {{ key = \".reference\", program = {:?} }}\n",
                self.artifacts.plugin("jq")?.display().to_string(),
                shop::ORDER_TO_SALE,
            ));
        }
        Ok(setup)
    }

    /// A running host.
    pub(crate) async fn host(&self, place: &Place) -> Result<Host> {
        let options = HostOptions {
            database: place.database.clone(),
            ..HostOptions::default()
        };
        Host::start(&self.artifacts, &place.data, options).await
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in from
        .read_dir()
        .with_context(|| format!("{} cannot be read", from.display()))?
    {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
