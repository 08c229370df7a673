//! `debug` and `stderr` of the language arrive as lines of the crate `log`; from here they go to the host's log.

use log::{Level, LevelFilter, Log, Metadata, Record};
use stecker_sdk::log::{Level as HostLevel, write};

struct ToHost;

impl Log for ToHost {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error | Level::Warn => HostLevel::Warn,
            Level::Info | Level::Debug | Level::Trace => HostLevel::Debug,
        };
        write(level, &record.args().to_string(), &[]);
    }

    fn flush(&self) {}
}

/// More than once is harmless: the crate keeps the first.
pub(crate) fn to_host() {
    if log::set_logger(&ToHost).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
