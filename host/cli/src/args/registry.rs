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
    /// How others reach it, through a proxy, such as `https://registry.acme.example`; for the document by which `wkg` finds packages
    #[arg(long, value_name = "URL", value_parser = authority)]
    pub(crate) public_url: Option<String>,
}

/// The host and port of a URL, as clients of a registry name it.
pub(super) fn authority(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or("write it as https://registry.acme.example")?;
    let authority = rest.trim_end_matches('/');
    let is_one = !authority.is_empty()
        && authority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    if is_one {
        Ok(authority.to_owned())
    } else {
        Err("clients know a registry by host and port alone: give no path and no user".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn a_public_url_is_a_host_and_a_port() {
        assert_eq!(
            authority("https://registry.acme.example/").unwrap(),
            "registry.acme.example"
        );
        assert_eq!(authority("http://[::1]:7420").unwrap(), "[::1]:7420");
        for bad in [
            "registry.acme.example",
            "https://",
            "https://a/b",
            "https://user@a",
            "ftp://a",
        ] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
