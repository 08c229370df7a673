//! What a registry says about releases after they were published: that they were yanked, or are to be left. A host asks the registry that it has, if it
//! has one; which that is, is for whoever makes the engine.

use std::fmt;

use async_trait::async_trait;
use stecker_model::Digest;
use stecker_registry::PluginName;
use stecker_trust::index::Deprecation;

/// What is said about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its component.
    pub component: Digest,
    /// Why it was yanked, if it was.
    pub yanked: Option<String>,
    /// Why and by when it is to be left, if it is.
    pub deprecated: Option<Deprecation>,
}

/// Knows what is said about releases.
#[async_trait]
pub trait Marks: fmt::Debug + Send + Sync + 'static {
    /// The releases of a plugin that something is said about. Where it cannot be known now, that is an error in a sentence.
    async fn of(&self, name: &PluginName) -> Result<Vec<Mark>, String>;
}
