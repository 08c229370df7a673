//! Whether a reader or a deliverer may begin, as far as its upstream goes.

use std::sync::Mutex;

use stecker_model::{Name, api::Breaker};
use stecker_sandbox::Look;
use stecker_store::{DueRecord, StoreError};
use tokio_util::sync::CancellationToken;

use super::Accounts;
use crate::{
    batch::{Shared, locked},
    context::FlowContext,
    sessions::Sessions,
};

/// How long a trial is waited for before another one may begin, in milliseconds: a call and a little more, because a host that is killed
/// within one says nothing.
const PATIENCE: i64 = 90_000;
/// How often a flow that waits looks again, in milliseconds: a person may end its waiting. That costs no question to anybody but its own
/// queue.
const LOOK: i64 = 1_000;
/// A run by hand does not wait for longer than this, in milliseconds.
const LONG: i64 = 30_000;
/// Hosts of one connection that are tried before one batch.
const HOSTS: usize = 8;

/// Whether work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Go,
    /// The least that can be asked of the upstream: it is being tried.
    Alone,
    /// Not before this moment.
    Wait(i64),
}

/// A batch that may begin now: the same, its first record alone while the upstream is being tried, or none. `alone`: no other batch of the flow
/// is under way.
pub(crate) async fn admit_batch(
    ctx: &FlowContext,
    shared: &Mutex<Shared>,
    mut batch: Vec<DueRecord>,
    alone: bool,
) -> Result<Option<Vec<DueRecord>>, StoreError> {
    let unit = format!("deliver/{}", ctx.flow());
    match gate(ctx, &ctx.spec.destination.connection, &unit).await? {
        Gate::Go => Ok(Some(batch)),
        Gate::Alone if alone => {
            batch.truncate(1);
            Ok(Some(batch))
        }
        // The one that is under way says more when it is over.
        Gate::Alone => Ok(None),
        Gate::Wait(until) => {
            let now = ctx.now();
            locked(shared).hold_until = until.min(now.saturating_add(LOOK));
            if ctx.once && is_long(until, now) {
                ctx.stop.cancel();
            }
            Ok(None)
        }
    }
}

/// Until when the source must not be read, if it must not, and whether that is long.
pub(crate) async fn keeps_reader(ctx: &FlowContext) -> Result<Option<(i64, bool)>, StoreError> {
    let unit = format!("read/{}", ctx.flow());
    Ok(match gate(ctx, &ctx.spec.source.connection, &unit).await? {
        Gate::Go | Gate::Alone => None,
        Gate::Wait(until) => Some((until, is_long(until, ctx.now()))),
    })
}

const fn is_long(until: i64, now: i64) -> bool {
    until.saturating_sub(now) > LONG
}

async fn gate(ctx: &FlowContext, connection: &Name, unit: &str) -> Result<Gate, StoreError> {
    let asker = Asker {
        tenant: &ctx.tenant,
        connection,
        unit,
    };
    // On the heap: a trial is a call, which makes for a big future, and hardly ever happens.
    Box::pin(ctx.upstreams.admit(&ctx.sessions, asker, &ctx.stop)).await
}

/// Who wants to begin something.
#[derive(Clone, Copy)]
struct Asker<'a> {
    tenant: &'a Name,
    connection: &'a Name,
    unit: &'a str,
}

impl Accounts {
    /// The account of a connection; none if there is no such connection, which whoever calls it says best.
    async fn account_of(&self, asker: Asker<'_>) -> Result<Option<Name>, StoreError> {
        if let Some(account) = self.registry.account_of(asker.tenant, asker.connection) {
            return Ok(Some(account));
        }
        match self.store.connection(asker.tenant, asker.connection).await? {
            Some(stored) => Ok(Some(self.assign(asker.tenant, &stored.spec).await?)),
            None => Ok(None),
        }
    }

    async fn admit(
        &self,
        sessions: &Sessions,
        asker: Asker<'_>,
        stop: &CancellationToken,
    ) -> Result<Gate, StoreError> {
        self.ensure_loaded().await?;
        let Some(account) = self.account_of(asker).await? else {
            return Ok(Gate::Go);
        };
        let soon = || self.clock.now_ms().saturating_add(LOOK);
        for _ in 0..HOSTS {
            match self
                .registry
                .look(asker.tenant, &account, asker.connection, asker.unit)
            {
                Look::Clear => return Ok(Gate::Go),
                Look::Trying { .. } => return Ok(Gate::Alone),
                Look::Held(hold) => return Ok(Gate::Wait(hold.until)),
                Look::Down { breaker, .. } => return Ok(Gate::Wait(breaker.until.unwrap_or_else(soon))),
                Look::Due { host, .. } => {
                    if !self.begin_trial(asker, &account, &host, false).await? {
                        return Ok(Gate::Wait(soon()));
                    }
                    tokio::select! {
                        () = stop.cancelled() => return Ok(Gate::Wait(soon())),
                        () = try_it(sessions, asker) => {}
                    }
                }
            }
        }
        Ok(Gate::Wait(soon()))
    }

    /// Whether the asker is the one that tries a host now.
    async fn begin_trial(
        &self,
        asker: Asker<'_>,
        account: &Name,
        host: &str,
        by_hand: bool,
    ) -> Result<bool, StoreError> {
        let at = (asker.tenant, account);
        let now = self.clock.now_ms();
        let tried = self.store.try_upstream(at, host, by_hand, now, PATIENCE).await?;
        let Some(breaker) = tried else {
            // Somebody else does, or it is not down any more.
            self.reload(asker.tenant, account).await?;
            return Ok(false);
        };
        let Breaker { since, trips, .. } = breaker;
        tracing::info!(tenant = %asker.tenant, %account, host, since, trips, by = asker.unit, "the upstream was down; it is tried whether it answers again");
        self.registry
            .tried(at, host, breaker, asker.connection, asker.unit);
        Ok(true)
    }

    /// A person asks whether a connection works, and need not wait for the time of the next trial.
    pub(crate) async fn try_by_hand(&self, tenant: &Name, connection: &Name) -> Result<(), StoreError> {
        self.ensure_loaded().await?;
        let asker = Asker {
            tenant,
            connection,
            unit: "check",
        };
        let Some(account) = self.account_of(asker).await? else {
            return Ok(());
        };
        for _ in 0..HOSTS {
            match self.registry.look(tenant, &account, connection, asker.unit) {
                Look::Down { host, .. } | Look::Due { host, .. } => {
                    if !self.begin_trial(asker, &account, &host, true).await? {
                        return Ok(());
                    }
                }
                Look::Clear | Look::Trying { .. } | Look::Held(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Asks the plugin whether its system answers: that costs no record anything. What comes of it is seen by the requests that it makes. A plugin that
/// makes none, or cannot be called, leaves the trial to the work itself.
async fn try_it(sessions: &Sessions, asker: Asker<'_>) {
    match sessions
        .connection_for_webhook(asker.tenant, asker.connection)
        .await
    {
        Ok(bound) => {
            if let Err(error) = bound.probe().await.result {
                tracing::debug!(tenant = %asker.tenant, connection = %asker.connection, %error, "a trial of the upstream ended with an error");
            }
        }
        Err(error) => {
            tracing::debug!(tenant = %asker.tenant, connection = %asker.connection, %error, "the plugin cannot be asked whether its upstream answers");
        }
    }
}
