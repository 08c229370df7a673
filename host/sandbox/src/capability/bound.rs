//! What several allow together, and who allows no more: shared by the capabilities that have numbers for bounds.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::binding::Denial;

/// The least of what several allow, and who allows no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound<T> {
    pub(crate) value: T,
    pub(crate) layer: Layer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Manifest,
    Grant,
    Ceiling,
}

impl Layer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Grant => "grant",
            Self::Ceiling => "ceiling",
        }
    }

    /// The table that the bounds of a capability stand in, where the layer is written down.
    pub(crate) fn table(self, capability: &str) -> String {
        match self {
            Self::Manifest => format!("[capabilities.{capability}]"),
            Self::Grant => format!("[connection.grants.{capability}]"),
            Self::Ceiling => format!("[ceiling.{capability}]"),
        }
    }

    /// The refusal of somebody who does not allow the capability at all; `max_bytes` would be enough.
    pub(crate) fn nothing(self, capability: &str, asked: &str, max_bytes: u64) -> Denial {
        Denial {
            rule: capability.to_owned(),
            layer: self.name().to_owned(),
            asked: asked.to_owned(),
            smallest_grant: format!("{}\nmax-bytes = {max_bytes}", self.table(capability)),
        }
    }
}

/// Of equal bounds the one of the operator is named, who can change it most easily.
pub(crate) fn least<G, T: Ord + Copy>(
    asked: &G,
    granted: &G,
    ceiling: Option<&G>,
    of: impl Fn(&G) -> T,
) -> Bound<T> {
    let mut least = Bound {
        value: of(granted),
        layer: Layer::Grant,
    };
    for (layer, grant) in [(Layer::Manifest, Some(asked)), (Layer::Ceiling, ceiling)] {
        if let Some(value) = grant.map(&of).filter(|value| *value < least.value) {
            least = Bound { value, layer };
        }
    }
    least
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            state: Mutex::new((per_second, now)),
        }
    }

    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, at) = *state;
        let gained = now.saturating_duration_since(at).as_secs_f64() * self.per_second;
        let tokens = (tokens + gained).min(self.per_second);
        let taken = tokens >= 1.0;
        *state = (if taken { tokens - 1.0 } else { tokens }, now.max(at));
        taken
    }
}
