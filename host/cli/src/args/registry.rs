//! The words of `stecker registry`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Serve a registry of plugins, which every OCI client can push to and pull from
    #[command(after_help = "Examples:
  stecker registry serve
  stecker registry serve --listen 0.0.0.0:7421 --registry-data /var/lib/stecker-registry --users users.txt --anonymous-pull

It takes releases in the layout that `wkg` and `oras` push, under the name and the version that the component itself says, and
nothing that the gate refuses (`stecker plugin check` says beforehand what that is):

  oras push --plain-http --config config.json:application/vnd.wasm.config.v0+json \\
    127.0.0.1:7421/acme/shop:1.4.0 acme-shop-1.4.0.wasm:application/wasm")]
    Serve(ServeRegistry),
    /// Make a line of the users' file: a name and the hash of a password, which is read from standard input
    #[command(after_help = "Examples:\n  stecker registry user ci < password.txt >> users.txt")]
    User {
        /// The user's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeRegistry {
    /// Address and port; port 0 takes a free one. Beyond loopback others can reach it, unencrypted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7421")]
    pub(crate) listen: SocketAddr,
    /// Where blobs and the database are [default: registry, in the data folder]
    #[arg(long = "registry-data", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Who may push and pull, `name:hash` to a line; without it everybody on this machine may
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Let whoever has no password pull
    #[arg(long, requires = "users")]
    pub(crate) anonymous_pull: bool,
}
