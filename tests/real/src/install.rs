//! One installation or seeding step as a child process: bounded in time, its output in a log, its failure explained.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::assets::{self, ORDERS, PACKAGE_JSON, PACKAGE_LOCK, TRYTON_DATABASE};
use crate::secrets::{self, Secrets};

/// Long enough for a slow line and a compiler run; short enough that nobody waits for a dead one all day.
const STEP_LIMIT: Duration = Duration::from_secs(20 * 60);
/// As many lines of a log as an error quotes.
const QUOTED_LINES: usize = 15;
/// A seed that fails does so for a reason in our own scripts, or because the machine is short of something.
const SEED_HINT: &str = "check free disk space and memory, and try again";

/// Installs Vendure's packages into `folder`.
pub(crate) async fn node_packages(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("package.json"), PACKAGE_JSON)?;
    std::fs::write(folder.join("package-lock.json"), PACKAGE_LOCK)?;
    let mut command = Command::new("npm");
    command
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .env("VENDURE_DISABLE_TELEMETRY", "true");
    let hint = "npm must reach its registry, and where better-sqlite3 has no ready-made build \
                a C++ compiler and make are needed (Debian: `apt install g++ make`)";
    step("npm ci", &mut command, folder, hint).await?;
    Ok(())
}

/// Makes a Python environment with these packages in `folder`/venv.
pub(crate) async fn python_packages(folder: &Path, wanted: &str) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, wanted)?;
    let hint = "on Debian `apt install python3-venv` is needed";
    step(
        "python3 -m venv",
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(folder.join("venv")),
        folder,
        hint,
    )
    .await?;
    let mut pip = Command::new(python(folder));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ])
    .arg(&requirements);
    step(
        "pip install",
        &mut pip,
        folder,
        "pip must reach its package index",
    )
    .await?;
    Ok(())
}

/// The interpreter of an environment. Only this is used of it: its scripts hold absolute paths, and the folder is
/// renamed when it is complete.
pub(crate) fn python(folder: &Path) -> std::path::PathBuf {
    folder.join("venv").join("bin").join("python")
}

/// Creates and fills both databases under `folder`, which must hold the scripts, and writes the secrets.
pub(crate) async fn databases(
    folder: &Path,
    python_env: &Path,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let mut known = Secrets {
        vendure_password: secrets::generated(),
        vendure_api_key: String::new(),
        tryton_user: "connector".to_owned(),
        tryton_password: secrets::generated(),
        tryton_company: 0,
    };
    progress(&format!(
        "filling Vendure: products, taxes and {ORDERS} paid orders (about half a minute, once)"
    ));
    let vendure = folder.join("vendure");
    let mut seed = Command::new("node");
    seed.arg("seed.js")
        .current_dir(&vendure)
        .env("VENDURE_DB", vendure.join("shop.sqlite"))
        .env("VENDURE_PASSWORD", &known.vendure_password)
        .env("PRODUCTS_CSV", folder.join("products.csv"))
        .env("ORDERS", ORDERS.to_string());
    let said = step("node seed.js", &mut seed, folder, SEED_HINT).await?;
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shop {
        api_key: String,
    }
    known.vendure_api_key = last_json::<Shop>(&said)?.api_key;

    progress("filling Tryton: company, accounts, products with stock (about a minute, once)");
    known.tryton_company = tryton_database(folder, python_env, &known).await?;
    known.write(folder)
}

async fn tryton_database(folder: &Path, python_env: &Path, known: &Secrets) -> Result<i64> {
    let tryton = folder.join("tryton");
    let data = tryton.join("data");
    std::fs::create_dir_all(&data)?;
    // `trytond-admin` fills a database only where it finds a file, empty or not.
    File::create(data.join(format!("{TRYTON_DATABASE}.sqlite")))?;
    let conf = tryton.join("prepare.conf");
    assets::write_trytond_conf(&conf, &data)?;
    let password_file = tryton.join("admin-password");
    secrets::write_private(&password_file, secrets::generated().as_bytes())?;

    let mut admin = Command::new(python(python_env));
    admin
        .args(["-m", "trytond.cli.admin", "-c"])
        .arg(&conf)
        .args([
            "-d",
            TRYTON_DATABASE,
            "-u",
            "sale",
            "--activate-dependencies",
            "--email",
            "admin@example.com",
        ])
        .env("TRYTONPASSFILE", &password_file);
    step("trytond-admin", &mut admin, folder, SEED_HINT).await?;
    // Nobody needs the administrator of Tryton any more.
    std::fs::remove_file(&password_file)?;

    let mut seed = Command::new(python(python_env));
    seed.arg(tryton.join("seed.py"))
        .arg(&conf)
        .arg(TRYTON_DATABASE)
        .arg(folder.join("products.csv"))
        .env("TRYTON_USER", &known.tryton_user)
        .env("TRYTON_PASSWORD", &known.tryton_password);
    let said = step("seed.py", &mut seed, folder, SEED_HINT).await?;
    std::fs::remove_file(&conf)?;
    #[derive(serde::Deserialize)]
    struct Erp {
        company: i64,
    }
    Ok(last_json::<Erp>(&said)?.company)
}

/// Runs `command` to its end and returns what it printed on standard output.
async fn step(name: &str, command: &mut Command, folder: &Path, hint: &str) -> Result<String> {
    let log_path = folder.join(format!("{}.log", name.replace(' ', "-")));
    let log = File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;
    command.stdin(Stdio::null()).stderr(log).kill_on_drop(true);
    let output = match tokio::time::timeout(STEP_LIMIT, command.output()).await {
        Ok(output) => output.with_context(|| format!("starting `{name}`; {hint}"))?,
        Err(_) => bail!(
            "`{name}` did not end within {} minutes and was stopped; {hint}",
            STEP_LIMIT.as_secs() / 60
        ),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        // The folder of a failed attempt is removed, so the error carries what its log said.
        let quoted = tail(&log_path, &said);
        bail!(
            "`{name}` failed ({}); {hint}. It said last:\n{quoted}",
            output.status
        );
    }
    Ok(said)
}

/// The last lines of a log, or of `otherwise` when the log is empty or gone.
pub(crate) fn tail(log: &Path, otherwise: &str) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let text = if text.trim().is_empty() {
        otherwise
    } else {
        text.as_str()
    };
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

fn last_json<T: serde::de::DeserializeOwned>(said: &str) -> Result<T> {
    let line = said
        .lines()
        .rfind(|line| line.starts_with('{'))
        .context("the seed script ended without its result line")?;
    serde_json::from_str(line).with_context(|| format!("the seed script's result `{line}` is not understood"))
}
