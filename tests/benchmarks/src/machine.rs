//! Where something was measured.

use std::{fs, thread};

use serde::Serialize;

/// This machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The model.
    pub processor: String,
    /// How many.
    pub cores: usize,
    /// Its release.
    pub kernel: String,
    /// Before the measurement, averaged over one, five and fifteen minutes: what others did.
    pub load: String,
    /// Whether this program is. What is measured within it is only fully optimised together with it.
    pub optimised: bool,
}

impl Machine {
    /// As it says of itself.
    #[must_use]
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let processors = read("/proc/cpuinfo");
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        Self {
            processor: model
                .unwrap_or_default()
                .trim_start_matches([' ', '\t', ':'])
                .to_owned(),
            cores: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease"),
            load: read("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            optimised: cfg!(not(debug_assertions)),
        }
    }
}
