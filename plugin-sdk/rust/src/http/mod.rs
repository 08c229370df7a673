//! Requests to other systems, over the host: the only way out.
//!
//! A request names its credential; the host puts the secret in, checks the address against the connection's grants, and
//! limits the rate. Any status is a [`Response`]; an [`Error`](crate::Error) means that there is none, and
//! [`Error::maybe_sent`](crate::Error::maybe_sent) tells whether it may have been acted on all the same.
//!
//! ```
//! # use stecker_sdk::testing::{self, Script, TestHost};
//! # let host = TestHost::new();
//! # host.script(Script::new().expect(testing::get("/api/v1/orders").query("limit", 100)).reply(200, serde_json::json!([])));
//! use stecker_sdk::http::Client;
//! # fn orders() -> stecker_sdk::Result<Vec<serde_json::Value>> {
//! let shop = Client::new("https://shop.example").credential("api");
//! let orders = shop.get("/api/v1/orders").query("limit", 100).send()?.error_for_status()?.json()?;
//! # Ok(orders)
//! # }
//! # assert!(orders().unwrap().is_empty());
//! ```

mod graphql;
mod paginate;
mod request;
mod response;

pub use paginate::{Pages, pages, pages_by_link};
pub use request::{Client, RequestBuilder, delete, get, patch, post, put, request, segment, send_many};
pub use response::Response;

/// The request as the host gets it.
pub use crate::bindings::host::stecker::plugin::http::Request;
