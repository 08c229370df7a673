//! Progress of what takes longer than a moment, on standard error; nothing at all unless a person watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A line that shows that something is going on, and what.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Hidden for programs; `indicatif` hides it by itself where no terminal is.
    pub(crate) fn new(output: Output, what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(if output.json {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        });
        let plain = !output.colors_errors();
        let template = if plain {
            "{spinner} {elapsed:>4} {wide_msg}"
        } else {
            "{spinner:.green} {elapsed:>4} {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// What is going on now. Of several lines, the last.
    pub(crate) fn say(&self, what: &str) {
        let last = what.lines().next_back().unwrap_or_default();
        self.0.set_message(anstream::adapter::strip_str(last).to_string());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
