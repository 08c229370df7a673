//! The words of `stecker plugin publish|pull|versions`, `stecker key` and `stecker sign`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct AtRegistry {
    /// Its address, such as `https://registry.acme.example` [default: the one of the host, if a server is named or runs in the data folder; else
    /// `http://127.0.0.1:7421`]
    #[arg(long, value_name = "URL", env = "STECKER_REGISTRY", hide_env_values = true)]
    pub(crate) registry: Option<String>,
    /// What stands before a plugin's name there, such as `plugins/`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
}

#[derive(Debug, Args)]
pub(crate) struct PublishPlugin {
    /// The component
    #[arg(required_unless_present = "from")]
    pub(crate) file: Option<PathBuf>,
    /// Publish the release of an OCI image layout, with its signatures: a folder, or an archive
    #[arg(long, value_name = "PATH", conflicts_with = "file")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
    /// A signature of it (Sigstore bundle) to be published with it; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// Sign it with this private key (PEM, PKCS #8)
    #[arg(long, value_name = "KEY")]
    pub(crate) sign_with: Option<PathBuf>,
    /// Say what would be published, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PullPlugin {
    /// `namespace/name`, with `@` and a version or a range behind it, such as `acme/shop@1.4`; the newest release without
    pub(crate) plugin: String,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
    /// Where the component goes [default: NAMESPACE-NAME-VERSION.wasm, here]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Add it to the host, with its signatures, instead of writing a file
    #[arg(long, conflicts_with = "output")]
    pub(crate) install: bool,
    /// Write it as an OCI image layout, with all that is said about it: a folder, or an archive if it ends in `.tar`
    #[arg(long, value_name = "PATH", conflicts_with_all = ["output", "install", "from"])]
    pub(crate) to: Option<PathBuf>,
    /// A registry that is asked first for what has a digest; may be given several times
    #[arg(
        long,
        value_name = "URL",
        env = "STECKER_REGISTRY_MIRROR",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) mirror: Vec<String>,
    /// Fetch everything, also what was pulled before
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Take it out of an OCI image layout instead of a registry: a folder, or an archive
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// `namespace/name`
    pub(crate) plugin: stecker_registry::PluginName,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key to sign releases and trust roots with
    #[command(
        after_help = "Examples:\n  stecker key new author.pem\n  stecker key new author.pem --algorithm p256

The file holds the private key, unencrypted, for whoever runs this only; keep it in a vault."
    )]
    New {
        /// Where the private key goes; not there yet
        file: PathBuf,
        /// The kind of key
        #[arg(long, value_enum, default_value_t = KeyKind::Ed25519)]
        algorithm: KeyKind,
    },
    /// Show the public key of a private one, as it stands in a trust root
    #[command(after_help = "Examples:\n  stecker key show author.pem\n  stecker key show author.pem --json")]
    Show {
        /// The private key
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    Ed25519,
    /// ECDSA with P-256, as cosign makes
    P256,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The component
    pub(crate) file: PathBuf,
    /// The private key (PEM, PKCS #8)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Where the signature goes [default: beside the component, with `.sigstore.json`]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
