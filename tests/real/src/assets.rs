//! The files that run inside Node and Python, and the names of the cache folders that follow from their contents.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// How many paid orders the prepared shop holds.
pub(crate) const ORDERS: u32 = 64;

/// Name of the database in Tryton, and so the first part of every path of its API.
pub(crate) const TRYTON_DATABASE: &str = "stecker";

pub(crate) const PACKAGE_JSON: &str = include_str!("../assets/vendure/package.json");
pub(crate) const PACKAGE_LOCK: &str = include_str!("../assets/vendure/package-lock.json");
pub(crate) const REQUIREMENTS: &str = include_str!("../assets/tryton/requirements.txt");
pub(crate) const PRODUCTS: &str = include_str!("../assets/products.csv");
pub(crate) const STRIPE_REQUIREMENTS: &str = include_str!("../assets/stripe/requirements.txt");
pub(crate) const STRIPE_SERVER: &str = include_str!("../assets/stripe/server.py");
pub(crate) const TRYTOND_CONF: &str = include_str!("../assets/tryton/trytond.conf");

/// What the prepared folder holds besides the databases: path and contents.
pub(crate) const SCRIPTS: &[(&str, &str)] = &[
    ("products.csv", PRODUCTS),
    ("vendure/config.js", include_str!("../assets/vendure/config.js")),
    (
        "vendure/initial-data.json",
        include_str!("../assets/vendure/initial-data.json"),
    ),
    ("vendure/orders.js", include_str!("../assets/vendure/orders.js")),
    ("vendure/seed.js", include_str!("../assets/vendure/seed.js")),
    ("vendure/server.js", include_str!("../assets/vendure/server.js")),
    ("tryton/seed.py", include_str!("../assets/tryton/seed.py")),
    ("tryton/server.py", include_str!("../assets/tryton/server.py")),
];

/// Folder of the installed npm packages: the same packages, the same name.
pub(crate) fn node_folder(node_version: &str) -> String {
    // Native modules are built for one version of Node.
    format!("node-{}", digest(&[PACKAGE_JSON, PACKAGE_LOCK, node_version]))
}

/// Folder of the Python environment.
pub(crate) fn python_folder(python_version: &str) -> String {
    format!("python-{}", digest(&[REQUIREMENTS, python_version]))
}

/// Folder of the Python environment of localstripe, with its launcher.
pub(crate) fn stripe_folder(python_version: &str) -> String {
    format!(
        "stripe-{}",
        digest(&[STRIPE_REQUIREMENTS, STRIPE_SERVER, python_version])
    )
}

/// Folder of the scripts and the filled databases; changes with anything that shaped them.
pub(crate) fn data_folder(node: &str, python: &str) -> String {
    let orders = ORDERS.to_string();
    let mut parts = vec![node, python, TRYTOND_CONF, &orders];
    parts.extend(SCRIPTS.iter().flat_map(|(name, text)| [*name, *text]));
    format!("data-{}", digest(&parts))
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(16);
    text
}

/// Writes the scripts under `root`, creating the folders they need.
pub(crate) fn write_scripts(root: &Path) -> Result<()> {
    for (name, text) in SCRIPTS {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Writes Tryton's configuration to `path`, for a database kept in the folder `data`.
pub(crate) fn write_trytond_conf(path: &Path, data: &Path) -> Result<()> {
    let data = data
        .to_str()
        .with_context(|| format!("the path {} is not valid UTF-8", data.display()))?;
    std::fs::write(path, TRYTOND_CONF.replace("@DATA@", data))
        .with_context(|| format!("writing {}", path.display()))
}
