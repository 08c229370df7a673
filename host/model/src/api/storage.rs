//! How much room everything takes, and giving it back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Name;

/// How much room the database takes, and who in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StorageReport {
    /// The database as a whole.
    pub database: DatabaseSize,
    /// By tenant, by name.
    pub tenants: Vec<TenantStorage>,
}

/// The database as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DatabaseSize {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bytes of it that hold nothing and are used for what comes next; PostgreSQL does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub free_bytes: Option<u64>,
}

/// What one tenant has in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TenantStorage {
    /// The tenant.
    pub tenant: Name,
    /// Its flows, by name.
    pub flows: Vec<FlowStorage>,
    /// Everything else.
    pub other: Vec<KindStorage>,
}

/// What one flow has in the database. Kept by the transactions that change it, so that nobody has to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FlowStorage {
    /// The flow.
    pub flow: Name,
    /// Records in the ledger.
    pub records: u64,
    /// Of those, records that are not done.
    pub waiting: u64,
    /// Payloads that are kept.
    pub payloads: u64,
    /// Bytes of them.
    pub payload_bytes: u64,
    /// Payloads of which only digest and size are left.
    pub payloads_removed: u64,
    /// Attempts that are kept.
    pub attempts: u64,
    /// Records that are not in the ledger any more, because they were too old.
    pub records_removed: u64,
}

/// One kind of things that are not of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KindStorage {
    /// `releases`, `guest-storage`, `tapes`, `webhooks` or `audit`.
    pub kind: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of what is in them, where that is known without looking at each.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
}

/// Giving space back to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Vacuum {
    /// Only say what it would do.
    pub dry_run: bool,
    /// Write the whole database anew. Nothing can be written meanwhile, and there has to be room for a second copy.
    pub full: bool,
}

/// What giving space back came to, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Vacuumed {
    /// Whether it was done.
    pub done: bool,
    /// Bytes before.
    pub before_bytes: u64,
    /// Bytes afterwards; as far as that can be known, if it was not done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_bytes: Option<u64>,
    /// In words.
    pub how: String,
}
