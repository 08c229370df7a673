//! The gate: what is asked of a release before anybody can have it.
//!
//! [`examine`] looks at a component's bytes, and at those of the release before it, in this order: caps before anything is decoded, known imports only,
//! linked against the contract, the world compared with the one before, the configuration schema and the capabilities compared, the days at
//! which vendors end their APIs, the version, and last a run of every role in the sandbox against a scripted upstream ([`conformance`]). Whatever it finds has
//! a stable [`Code`], and says what was seen, why that matters, and what to do; `docs/gate.md` has the list.
//!
//! The same gate stands at both ends. A registry that takes a release asks everything ([`GatePolicy::publish`]). A host that installs one asks what
//! protects itself, quickly, and warns of the rest ([`GatePolicy::install`]): that a release was published properly is for its signature to say.
//!
//! The result is data ([`GateReport`]), bounded, to be shown, kept, and attached to a release. Nothing in here keeps anything or reaches the network.
//!
//! ```no_run
//! # async fn publish(sandbox: stecker_sandbox::Sandbox, component: Vec<u8>, before: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! use stecker_gate::{GatePolicy, Previous, examine};
//!
//! let released: [semver::Version; 2] = ["1.0.0".parse()?, "1.1.0".parse()?];
//! let previous = Previous { component: Some(&before), released: &released };
//! let now: jiff::Timestamp = "2026-06-01T12:00:00Z".parse()?;
//! match examine(&sandbox, &component, Some(previous), &GatePolicy::publish(), now).await {
//!     Ok(report) => println!("taken, with {} remarks", report.findings.len()),
//!     Err(refused) => println!("{refused}"),
//! }
//! # Ok(())
//! # }
//! ```

mod changes;
mod code;
pub mod conformance;
mod document;
mod examine;
mod findings;
mod policy;
mod report;
mod upstreams;
mod version;
mod world;

pub use code::{Code, Severity, Step};
pub use conformance::{Check, CheckOutcome, CheckResult, Conformance};
pub use document::page;
pub use examine::{Previous, contracts, examine};
pub use policy::{ConformancePolicy, GatePolicy, Stage};
pub use report::{Finding, GateReport, Refusals};
pub use version::predecessor;
