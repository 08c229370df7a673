//! The words of `stecker trust`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Show the trust root, and which releases are loaded by it
    #[command(after_help = "Examples:\n  stecker trust show\n  stecker trust show --tenant acme --json")]
    Show,
    /// Sign a trust root: the document says whom to trust, the keys stand for it
    #[command(after_help = "Examples:
  stecker trust new root.toml --key operator.pem --output root.json
  stecker trust new root-2.toml --key operator.pem --key operator-2027.pem --output root-2.json

A document, with public keys as PEM texts (`openssl pkey -in operator.pem -pubout`):

  tenant = \"default\"
  version = 1
  issued = \"2026-06-01T00:00:00Z\"
  root = { keys = [\"operator\"], threshold = 1 }

  [[keys]]
  name = \"operator\"
  key = '''-----BEGIN PUBLIC KEY-----
  …'''
  valid-from = \"2026-06-01T00:00:00Z\"

  [[releases]]
  names = [\"acme/*\"]
  keys = [\"operator\"]
  threshold = 1

The next document has the next version, and is signed by enough of the root keys of the one before and of its own.")]
    New {
        /// The document, as TOML or JSON
        document: PathBuf,
        /// A private key (PEM, PKCS #8) to sign with; may be given several times
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
        /// Where the signed document goes [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Add a signature to a trust root that somebody else has signed
    #[command(after_help = "Examples:\n  stecker trust countersign root.json --key second.pem")]
    Countersign {
        /// The signed document; it is replaced by the one with one more signature
        document: PathBuf,
        /// The private key (PEM, PKCS #8)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Have the tenant trust what a signed document says: its first, or the next one
    #[command(after_help = "Examples:
  stecker trust take root.json
  stecker trust take root-2.json --tenant acme

From then on, releases are loaded only with the signatures that it asks for. What runs and is not trusted by it stops with the
next call; `stecker trust show` tells which that is.")]
    Take {
        /// The signed document
        document: PathBuf,
    },
    /// End the trust root: every release that the tenant has is loaded again
    #[command(
        after_help = "Examples:\n  stecker trust drop --reason 'the key was lost; a new root follows'\n\nFor whoever runs the host."
    )]
    Drop {
        /// Why; kept in the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Hand in a signature of a component, before or after the release itself
    #[command(after_help = "Examples:
  stecker trust sign acme-shop-1.4.0.wasm acme-shop-1.4.0.sigstore.json

The signature is a Sigstore bundle made with a key: by `cosign sign-blob --key … --bundle …`, for example.")]
    Sign {
        /// The component
        component: PathBuf,
        /// The bundle
        bundle: PathBuf,
    },
}
