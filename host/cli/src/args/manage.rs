//! The words of `stecker plugin search|info|yank|unyank|deprecate|undeprecate`.

use std::str::FromStr;

use clap::Args;
use jiff::civil::Date;
use semver::Version;
use stecker_registry::PluginName;

use super::AtRegistry;

/// `namespace/name@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseName {
    pub(crate) name: PluginName,
    pub(crate) version: Version,
}

impl FromStr for ReleaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = text
            .split_once('@')
            .ok_or("give name and version, such as acme/shop@1.4.2")?;
        Ok(Self {
            name: name.parse().map_err(|error| format!("`{name}`: {error}"))?,
            version: Version::parse(version)
                .map_err(|error| format!("`{version}` is no complete version: {error}"))?,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct SearchPlugins {
    /// Words that all have to be in name, title or description; everything without
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
    /// At most so many releases are looked at
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct InfoOf {
    /// `namespace/name`, with `@` and a version or a range behind it, such as `acme/shop@1.4`; the newest release without
    pub(crate) plugin: String,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseOf {
    /// `namespace/name@version`
    pub(crate) release: ReleaseName,
    #[command(flatten)]
    pub(crate) at: AtRegistry,
}

#[derive(Debug, Args)]
pub(crate) struct YankPlugin {
    #[command(flatten)]
    pub(crate) of: ReleaseOf,
    /// Why, for whoever uses it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeprecatePlugin {
    #[command(flatten)]
    pub(crate) of: ReleaseOf,
    /// Why, and where to move
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: String,
    /// By when, a day such as 2027-03-31
    #[arg(long, value_name = "DAY")]
    pub(crate) deadline: Option<Date>,
}
