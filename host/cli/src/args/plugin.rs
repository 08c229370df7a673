//! The words of `stecker plugin` and `stecker release`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    DeprecatePlugin, InfoOf, PublishPlugin, PullPlugin, ReleaseOf, SearchPlugins, Versions, YankPlugin,
};

use super::CheckPlugin;

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// List releases
    #[command(after_help = "Examples:\n  stecker release list\n  stecker release list --json")]
    List,
    /// Add a component; the same one again changes nothing
    #[command(after_help = "Examples:\n  stecker release add target/plugins/acme-shop-1.0.0.wasm")]
    Add {
        /// The component
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Write a new plugin that builds and has a test
    #[command(after_help = "Examples:
  stecker plugin new acme/shop --kind source
  stecker plugin new acme/ledger --kind destination --path connectors/ledger
  stecker plugin new acme/clean-up --kind transform --sdk-path ../stecker/plugin-sdk/rust")]
    New(NewPlugin),
    /// Build the plugins of a folder
    #[command(after_help = "Examples:
  stecker plugin build
  stecker plugin build plugins --only acme/shop --out dist

The first build may fetch a compiler for WebAssembly; that takes minutes once.")]
    Build(BuildPlugin),
    /// Show what a component is, asks for and says of itself
    #[command(after_help = "Examples:
  stecker plugin inspect target/plugins/acme-shop-0.1.0.wasm
  stecker plugin inspect target/plugins/acme-shop-0.1.0.wasm --json

It runs in the sandbox, without any grant, and is not added to the host.")]
    Inspect {
        /// The component
        file: PathBuf,
    },
    /// See what the gate says about a component, before it is published
    #[command(after_help = "Examples:
  stecker plugin check target/plugins/acme-shop-1.1.0.wasm
  stecker plugin check target/plugins/acme-shop-1.1.0.wasm --previous acme-shop-1.0.0.wasm --json
  stecker plugin check target/plugins/acme-shop-1.1.0.wasm --config sample.json

It runs in the sandbox, in front of a script instead of a system: nothing is sent. Exit code 1 if it would be refused.
The codes and checks are explained in docs/gate.md.")]
    Check(CheckPlugin),
    /// Publish a component in a registry, under its own name and version
    #[command(after_help = "Examples:
  stecker plugin publish acme-shop-1.4.0.wasm --registry https://registry.acme.example
  stecker plugin publish acme-shop-1.4.0.wasm --sign-with author.pem
  stecker plugin publish acme-shop-1.4.0.wasm --dry-run
  stecker plugin publish --from shop.tar

Who publishes is said by STECKER_REGISTRY_TOKEN, or STECKER_REGISTRY_USER and STECKER_REGISTRY_PASSWORD. What is there already is not sent
again; a version is published once and never as something else.")]
    Publish(PublishPlugin),
    /// Get a release out of a registry
    #[command(after_help = "Examples:
  stecker plugin pull acme/shop
  stecker plugin pull acme/shop@1.4 --registry https://registry.acme.example
  stecker plugin pull acme/shop@1.4.2 --install
  stecker plugin pull acme/shop@1.4 --to shop.tar          # for where no registry can be reached
  stecker plugin pull acme/shop --from shop.tar --install
  stecker plugin pull acme/shop --mirror https://mirror.inside.example

What was pulled before is kept in the user's cache folder, up to 1 GiB, and verified whenever it is used.")]
    Pull(PullPlugin),
    /// List the releases of a plugin that a registry offers
    #[command(
        after_help = "Examples:\n  stecker plugin versions acme/shop\n  stecker plugin versions acme/shop --json"
    )]
    Versions(Versions),
    /// Find plugins in a registry
    #[command(after_help = "Examples:
  stecker plugin search
  stecker plugin search shop orders --registry https://registry.acme.example
  stecker plugin search shop --json")]
    Search(SearchPlugins),
    /// Show all that a registry knows of a release
    #[command(after_help = "Examples:
  stecker plugin info acme/shop
  stecker plugin info acme/shop@1.4.2 --json

Roles, what it asks for, the systems behind it and when their APIs end, signatures, and whether it was yanked or is deprecated. A signature is
named by what it calls its key, and not verified: `stecker trust` says who is believed.")]
    Info(InfoOf),
    /// Take a release out of what a registry offers
    #[command(after_help = "Examples:
  stecker plugin yank acme/shop@1.4.2 --reason 'wrong totals for refunds, use 1.4.3'

No range comes to it any more. Who has it pinned, or asks for exactly this version, still gets it, with a warning.")]
    Yank(YankPlugin),
    /// Offer a yanked release again
    #[command(after_help = "Examples:\n  stecker plugin unyank acme/shop@1.4.2")]
    Unyank(ReleaseOf),
    /// Tell whoever uses a release to move on
    #[command(after_help = "Examples:
  stecker plugin deprecate acme/shop@1.4.2 --message 'speaks an API that ends; use 2.0' --deadline 2027-03-31

It is still offered, with a warning; `stecker outdated` names who uses it.")]
    Deprecate(DeprecatePlugin),
    /// Take a deprecation back
    #[command(after_help = "Examples:\n  stecker plugin undeprecate acme/shop@1.4.2")]
    Undeprecate(ReleaseOf),
}

#[derive(Debug, Args)]
pub(crate) struct NewPlugin {
    /// `namespace/name`
    pub(crate) name: stecker_registry::PluginName,
    /// What it does
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Where to; not there yet, or empty [default: the name, in this folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// The SDK as a folder [default: found above the new folder or this one, if it is there]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Reads records from a system
    Source,
    /// Writes records to a system
    Destination,
    /// Makes records into other records
    Transform,
}

#[derive(Debug, Args)]
pub(crate) struct BuildPlugin {
    /// A plugin's folder, or that of a workspace of plugins
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Only this one, by name or by Cargo package; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Where the components go [default: plugins, in Cargo's target folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Quick to build, large and slow; not to be published
    #[arg(long)]
    pub(crate) debug: bool,
}
