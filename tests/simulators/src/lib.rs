//! A shop and an ERP that nobody owns, with seeded data, faults on purpose, and an account of what really happened.
//!
//! Connectors are proven against systems whose state outlives the synchroniser: the simulators hold their own books, so a
//! test may kill the host at any moment and ask both ends afterwards. They run inside a test ([`Simulators::start`]) or as
//! a process of their own (the binary `stecker-simulators`), which prints one [`Announcement`] as JSON when it is ready and is
//! then steered through [`Remote`].
//!
//! The references of both systems are [`demo_shop`] and [`demo_erp`]; the routes behind [`Remote`] are in [`control`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! use stecker_simulators::{Config, Simulators};
//!
//! let running = Simulators::start(Config { orders: 100, seed: 7, ..Config::default() }).await?;
//! let verdict = running.account().verdict();
//! assert_eq!((verdict.orders, verdict.missing.len()), (100, 100)); // nobody has brought them over yet
//! running.stop().await;
//! # Ok(()) }
//! ```

mod account;
pub mod control;
#[path = "erp/mod.rs"]
pub mod demo_erp;
#[path = "shop/mod.rs"]
pub mod demo_shop;
mod fault_plan;
mod faults;
mod http;
mod misconduct;
mod money;
mod remote;
mod running;
mod world;

pub(crate) use demo_erp as erp;
pub(crate) use demo_shop as shop;

pub use account::{
    Account, Booking, ErpAccount, OrderTruth, Received, Rejection, Served, ShopAccount, Verdict,
    VersionTruth, WebhookAccount,
};
pub use demo_erp::ItemStatus;
pub use demo_shop::webhooks::signature;
pub use demo_shop::{Customer, DISCONTINUED, Line, Order, Product};
pub use faults::{Fault, Faults, InvalidFaults};
pub use misconduct::{ApiVersion, Paging};
pub use money::{Cents, NotAnAmount};
pub use remote::Remote;
pub use running::{Announcement, Config, Running, Simulators};
pub use world::Damage;
