//! The durable state of a host: releases, connections, flows, cursors, the ledger with every attempt, webhooks, guests'
//! storage, the audit trail. One schema and one SQL text for SQLite (embedded, the default) and Postgres (many nodes).
//!
//! Three rules shape it:
//!
//! - **A call is a transaction.** It happens as a whole or not at all, whatever kills the process in between.
//! - **Work is fenced.** What a flow's worker does goes in only while its [`Lease`] is the current one; a worker that was
//!   overtaken gets [`StoreError::Fenced`] and has written nothing.
//! - **Time is the caller's.** Every moment comes in as milliseconds since 1970, so that tests run on virtual time.
//!
//! Every call names its tenant first, and every table has the tenant in its primary key.

mod accept;
mod ahead;
mod audit;
mod begin;
mod blobs;
mod causes;
mod circuits;
mod counters;
mod denials;
mod due;
mod edits;
mod error;
mod expiry;
mod explain;
mod flows;
mod kv;
mod leases;
mod lists;
mod nodes;
mod open;
mod outgoing;
mod patience;
mod quarantine;
mod reading;
mod reconcile;
mod releases;
mod replay_feed;
mod replay_rules;
mod replay_set;
mod replays;
mod retention;
mod rollouts;
mod settle;
mod specs;
mod sql;
mod storage;
mod taping;
mod tenants;
mod trust;
mod turns;
mod upstreams;
mod usage;
mod vault;
mod waiting;
mod webhooks;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::AnyPool;
use stecker_model::Name;
use zeroize::Zeroizing;

pub use accept::{Committed, NewRecord};
pub use audit::AuditEntry;
pub use blobs::{BlobFault, BlobFolder, BlobPieces, BlobRoom, BlobUpload};
pub use circuits::CircuitChange;
pub use denials::{NewDenial, NewDenials};
pub use due::DueRecord;
pub use edits::{EditDone, NewEdit};
pub use error::{BoxError, StoreError};
pub use expiry::Forget;
pub use explain::{ExplainedRecord, MentioningCall, Settled, StuckCause};
pub use flows::FlowRow;
pub use kv::{KvCondition, KvEntry, KvQuota, KvRoom};
pub use leases::Lease;
pub use nodes::{Listener, Told};
pub use open::sqlite_url;
pub use outgoing::{ClaimedEvent, Disabling, EventOutcome, NewWebhook, WhatNext};
pub use reading::{CommitPage, ReadAt, ReaderState};
pub use reconcile::{ExpectedKey, LedgerRecord, Repair, Repaired};
pub use releases::{NewRelease, ReleaseRow};
pub use replay_feed::Fed;
pub use replays::NewReplay;
pub use retention::Forgotten;
pub use rollouts::{Moved, NewCalls, NewRollout, Restored, RolloutStep, rollout_unit};
pub use settle::{SettledState, Settlement};
pub use specs::{Applied, Stored};
pub use tenants::{Binder, TenantRow};
pub use trust::{MAX_SIGNATURES, RootRow, SignatureRow};
pub use upstreams::UpstreamRow;
pub use usage::{NewUsage, day_of};
pub use vault::{
    InvalidMasterKey, MasterKey, MasterKeySource, MasterKeys, NewTape, Place, Rotated, Vault, VaultEntry,
    VaultError, VaultSecret, VaultTokens,
};
pub use webhooks::{Fanout, SettleWebhook, SettledWebhook, StoredWebhook, WebhookVerdict};

use patience::{Guarded, Patient};
use sql::Tx;
use turns::{Turn, Turns};

/// A database of the host. Cheap to clone; all clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: AnyPool,
    reader: AnyPool,
    backend: Backend,
    schema_version: i64,
    /// Where a Postgres is, for connections of other kinds than the pools'.
    server: Option<Zeroizing<String>>,
    turns: Turns,
    slot: AtomicI64,
    vault: OnceLock<Arc<vault::Shared>>,
}

/// Which database is behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file of this host.
    Sqlite,
    /// A server, shared by hosts.
    Postgres,
}

impl Backend {
    const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// How long an answer may take, where it can fail to come.
    const fn patience(self) -> Option<Duration> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(patience::ANSWER),
        }
    }
}

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Connections to Postgres, or for reading from SQLite (at most 8 there). 16 unless said otherwise.
    pub max_connections: u32,
    /// SQLite only: how many pages (of 4 KiB, as a rule) the file may have; beyond it, writes fail with
    /// [`StoreError::Full`]. No bound but the disk unless said otherwise.
    pub max_pages: Option<u32>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            max_pages: None,
        }
    }
}

impl Store {
    /// Waits for running transactions and closes every connection.
    pub async fn close(&self) {
        self.inner.writer.close().await;
        self.inner.reader.close().await;
    }

    /// Which database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// The version of the schema, which is the number of the newest migration.
    #[must_use]
    pub fn schema_version(&self) -> i64 {
        self.inner.schema_version
    }

    /// Asks the database for a sign of life, on the connections for writing and for reading.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        for pool in [&self.inner.writer, &self.inner.reader] {
            let patient = Patient::new(pool, self.inner.backend.patience());
            sqlx::query("SELECT 1").execute(patient).await?;
        }
        Ok(())
    }

    fn reader(&self) -> Patient<&AnyPool> {
        Patient::new(&self.inner.reader, self.inner.backend.patience())
    }

    async fn begin_tx(&self) -> Result<Tx, StoreError> {
        self.begin_in_turn(None).await
    }

    /// For what a tenant's plugins, callers and flows write all day: in its turn among the tenants.
    async fn begin_tx_of(&self, tenant: &Name) -> Result<Tx, StoreError> {
        let turn = self.inner.turns.of(tenant).await;
        self.begin_in_turn(Some(turn)).await
    }

    async fn begin_in_turn(&self, turn: Option<Turn>) -> Result<Tx, StoreError> {
        let (pool, backend) = (&self.inner.writer, self.inner.backend);
        let patience = backend.patience();
        let tx = patience::within(patience, pool.begin_with(backend.begin())).await?;
        Ok(Tx::new(Guarded { tx, patience }, backend, turn))
    }

    /// What makes a `SELECT` of a transaction keep others away from its rows. SQLite has one writer anyway.
    fn lock(&self) -> &'static str {
        match self.inner.backend {
            Backend::Sqlite => "",
            Backend::Postgres => " FOR UPDATE",
        }
    }

    /// As [`Store::lock`], but lets others read for the same purpose.
    fn share(&self) -> &'static str {
        match self.inner.backend {
            Backend::Sqlite => "",
            Backend::Postgres => " FOR SHARE",
        }
    }

    /// The counter slot of the next transaction.
    fn slot(&self) -> i64 {
        match self.inner.backend {
            Backend::Sqlite => 0,
            Backend::Postgres => self.inner.slot.fetch_add(1, Ordering::Relaxed).rem_euclid(8),
        }
    }
}
