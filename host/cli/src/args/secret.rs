//! The words of `stecker secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stecker_model::Name;

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// List secrets: age, last use, end of tokens; never a value
    #[command(after_help = "Examples:\n  stecker secret list\n  stecker secret list --json")]
    List,
    /// Put a secret into the vault, or replace it
    #[command(after_help = "Examples:
  stecker secret set shop api                                     asks for it, without showing it
  stecker secret set shop api --from-file key.txt
  pass show shop/api | stecker secret set shop api
  stecker secret set erp login --username integration             for HTTP Basic: user name and password
  stecker secret set shop oauth --username CLIENT_ID              for OAuth: client id and client secret
  stecker secret set shop oauth --refresh-token --from-env TOKEN  for oauth2-refresh-token: what was got elsewhere

The setup points to it with `secret = \"vault\"` under [connection.credentials.CREDENTIAL]. A secret has 8 bytes to 16 KiB;
line breaks at its end are cut off. It counts from the next call on.")]
    Set(SetSecret),
    /// Remove a secret, and the tokens that came from it
    #[command(after_help = "Examples:\n  stecker secret remove shop api")]
    Remove {
        /// The connection
        connection: Name,
        /// The credential, as the plugin names it
        credential: Name,
    },
    /// Have a person allow access (OAuth, authorization code with PKCE)
    #[command(after_help = "Examples:
  stecker secret authorize shop oauth --redirect-uri https://stecker.acme.example/oauth/callback
  stecker secret authorize shop oauth --redirect-uri http://127.0.0.1/callback

Prints an address. Somebody who may give the access opens it in a browser and consents; then the browser is sent to the
redirect URI, where nothing needs to answer. Paste the whole address that it was sent to. With --json, the first value says
the address to open, and the second one what is kept.")]
    Authorize {
        /// The connection
        connection: Name,
        /// The credential, of the kind oauth2-authorization-code
        credential: Name,
        /// Where the system sends the browser, exactly as it is registered there
        #[arg(long, value_name = "URL")]
        redirect_uri: String,
    },
    /// Encrypt every secret of the tenant under a new key
    #[command(after_help = "Examples:
  stecker secret rotate-keys              a new data key for the tenant; everything is encrypted again
  stecker secret rotate-keys --master     also a new master key, where the host keeps its own

Nothing has to stop meanwhile. Interrupted, the next one does the rest. Where the operator gives the master key
(--master-key-file): put the line of a new key (`openssl rand -hex 32`) in front of the old one, on every host; run this
without --master; then take the old line out.")]
    RotateKeys {
        /// Also a new master key, made by the host
        #[arg(long)]
        master: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetSecret {
    /// The connection
    pub(crate) connection: Name,
    /// The credential, as the plugin names it
    pub(crate) credential: Name,
    /// What goes with it: user name, client id or key id
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// It is a refresh token, not the secret of the client
    #[arg(long, conflicts_with = "username")]
    pub(crate) refresh_token: bool,
    /// Read it from a file
    #[arg(long, value_name = "FILE", conflicts_with = "from_env")]
    pub(crate) from_file: Option<PathBuf>,
    /// Read it from an environment variable of this command
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) from_env: Option<String>,
}
