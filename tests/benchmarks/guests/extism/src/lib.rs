//! The work of the benchmark `sandbox` as a plugin of Extism: payloads come and go as JSON Lines, since Extism hands over bytes.
//!
//! Less crosses the boundary than in Stecker, where whole records do: the comparison leans towards Extism.

use extism_pdk::{Error, FnResult, plugin_fn};

#[path = "../../../src/work.rs"]
mod work;

/// Gives the payloads back as they are.
#[plugin_fn]
pub fn echo(payloads: String) -> FnResult<String> {
    Ok(payloads)
}

/// Makes a sale of each order.
#[plugin_fn]
pub fn transform(payloads: String) -> FnResult<String> {
    let mut sales = String::with_capacity(payloads.len());
    for payload in payloads.lines() {
        sales.push_str(&work::transform(payload).map_err(Error::msg)?);
        sales.push('\n');
    }
    Ok(sales)
}
