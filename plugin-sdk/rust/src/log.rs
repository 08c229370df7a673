//! Lines for the operator. Rate and size are capped by the host; what is over is counted and left out.
//!
//! ```
//! # let _host = stecker_sdk::testing::TestHost::new();
//! let pages = 3;
//! stecker_sdk::info!("read {pages} pages", stream = "orders", records = 250);
//! ```

use crate::imports;

pub use crate::bindings::host::stecker::plugin::log::Level;

/// Writes a line; the macros are the shorter way.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    imports::log::write(level, message, fields);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $message:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($message),
            &[$((stringify!($key).replace('_', "-"), ::std::string::ToString::to_string(&$value))),*],
        )
    };
}

/// Logs at level trace: `trace!("text with {captures}", key = value, …)`.
#[macro_export]
macro_rules! trace { ($($line:tt)*) => { $crate::__log!(Trace, $($line)*) }; }

/// Logs at level debug: `debug!("text with {captures}", key = value, …)`.
#[macro_export]
macro_rules! debug { ($($line:tt)*) => { $crate::__log!(Debug, $($line)*) }; }

/// Logs at level info: `info!("text with {captures}", key = value, …)`.
#[macro_export]
macro_rules! info { ($($line:tt)*) => { $crate::__log!(Info, $($line)*) }; }

/// Logs at level warn: `warn!("text with {captures}", key = value, …)`.
#[macro_export]
macro_rules! warn { ($($line:tt)*) => { $crate::__log!(Warn, $($line)*) }; }

/// Logs at level error: `error!("text with {captures}", key = value, …)`.
#[macro_export]
macro_rules! error { ($($line:tt)*) => { $crate::__log!(Error, $($line)*) }; }
