//! Drives one rollout under its lease: does what its state asks for, until it is over, waits for a person, or the lease is lost.

use std::{sync::Arc, time::Duration};

use stecker_model::{
    Name,
    api::{
        CallNumbers, MoveState, RolloutEvent, RolloutInfo, RolloutState, RolloutWatch, ShadowRequest,
        ShadowVerdict, StartTaping,
    },
};
use stecker_store::{Lease, Moved, Restored, RolloutStep, StoreError};

use super::{
    judge::{self, Figures, Verdict},
    plan::with_release,
    prepare::{self, Fit},
};
use crate::{Engine, FlowError, engine::Inner};

/// How long a step may take before the lease is renewed is up to the renewal beside it; this is how often a state is looked at that has nothing to do.
const LOOK: Duration = Duration::from_millis(500);
/// Looks at what is on its way, after which nobody waits for it any more: a minute.
const SETTLING: u32 = 120;
/// In milliseconds: for how long calls are recorded, if there are so few. What there is then has to do.
const RECORDING: i64 = 600_000;
/// Differences that a rollout tells of; the report has all.
const PLACES: usize = 5;

/// Whether any connection still runs the release before.
pub(crate) fn is_waiting(info: &RolloutInfo) -> bool {
    info.connections.iter().any(|one| one.state == MoveState::Waiting)
}

/// Whether any connection runs the new release.
pub(crate) fn has_moved(info: &RolloutInfo) -> bool {
    info.connections.iter().any(|one| one.state == MoveState::Moved)
}

pub(super) async fn drive(inner: &Arc<Inner>, lease: &Lease, name: &Name) {
    let working = async {
        loop {
            match step(inner, lease, name).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(FlowError::Store(StoreError::Fenced { .. })) => return,
                // A person was faster; the next look sees what is to be done now.
                Err(FlowError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => {
                    tracing::warn!(tenant = %lease.tenant, rollout = %name, %error, "a step of a rollout failed; tried again");
                    tokio::time::sleep(LOOK).await;
                }
            }
            if inner.stop.is_cancelled() {
                return;
            }
        }
    };
    tokio::select! {
        () = working => {}
        () = renew(inner, lease) => tracing::warn!(tenant = %lease.tenant, rollout = %name, "the lease on a rollout went to somebody else"),
    }
    if let Err(error) = inner.store.release_lease(lease).await {
        tracing::debug!(%error, "the lease on a rollout could not be given back; it runs out");
    }
}

/// Keeps the lease. Ends when it is lost.
async fn renew(inner: &Inner, lease: &Lease) {
    let ttl = inner.keeper.ttl();
    let mut good_until = tokio::time::Instant::now() + ttl;
    loop {
        tokio::time::sleep(ttl / 3).await;
        let asked = tokio::time::Instant::now();
        let renewing = async {
            let until = inner.store.time_ms().await?.saturating_add(inner.keeper.ttl_ms());
            let mine = [(lease.tenant.clone(), lease.unit.clone(), lease.epoch)];
            inner.store.renew_all(&lease.owner, &mine, until).await
        };
        match tokio::time::timeout_at(good_until, renewing).await {
            Ok(Ok(kept)) if !kept.is_empty() => good_until = asked + ttl,
            Ok(Ok(_)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the lease on a rollout could not be renewed"),
        }
    }
}

async fn rest(inner: &Inner) {
    tokio::select! {
        () = inner.stop.cancelled() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

/// Does what there is to do; true: it is over.
async fn step(inner: &Arc<Inner>, lease: &Lease, name: &Name) -> Result<bool, FlowError> {
    let info = inner.store.rollout(&lease.tenant, name).await?;
    if info.state.is_over() {
        return Ok(true);
    }
    let work = Work {
        inner,
        lease,
        info: &info,
    };
    // What goes back goes back: a pause must not leave half of the connections at a release that was found to be wrong.
    if info.paused && info.state != RolloutState::RollingBack {
        rest(inner).await;
        return Ok(false);
    }
    match info.state {
        RolloutState::Preparing => work.prepare().await?,
        RolloutState::NeedsApproval => rest(inner).await,
        RolloutState::Shadowing => work.shadow().await?,
        RolloutState::Moving => work.move_wave().await?,
        RolloutState::Baking => work.look().await?,
        RolloutState::RollingBack => work.restore().await?,
        RolloutState::Promoted | RolloutState::RolledBack | RolloutState::Aborted | RolloutState::Failed => {}
    }
    Ok(false)
}

struct Work<'w> {
    inner: &'w Arc<Inner>,
    lease: &'w Lease,
    info: &'w RolloutInfo,
}

impl Work<'_> {
    fn now(&self) -> i64 {
        self.inner.options.clock.now_ms()
    }

    async fn note(&self, step: RolloutStep) -> Result<(), FlowError> {
        for note in &step.notes {
            tracing::info!(tenant = %self.lease.tenant, rollout = %self.info.name, "{note}");
        }
        self.inner
            .store
            .step_rollout(self.lease, &self.info.name, step, self.now())
            .await?;
        Ok(())
    }

    async fn happened(&self, event: RolloutEvent, notes: Vec<String>) -> Result<(), FlowError> {
        self.note(RolloutStep {
            event: Some(event),
            notes,
            ..RolloutStep::default()
        })
        .await
    }

    async fn prepare(&self) -> Result<(), FlowError> {
        match prepare::prepare(self.inner, &self.lease.tenant, self.info).await? {
            Fit::Ready(notes) => self.happened(RolloutEvent::Prepared, notes).await,
            Fit::Approval(notes) => self.happened(RolloutEvent::WantsApproval, notes).await,
            Fit::Unfit(notes) => self.happened(RolloutEvent::Unfit, notes).await,
        }
    }

    /// Plays recorded calls of the connections that are moved first; records some where there are too few.
    async fn shadow(&self) -> Result<(), FlowError> {
        let Some(calls) = self.info.request.shadow else {
            return self.happened(RolloutEvent::Shadowed, Vec::new()).await;
        };
        let (engine, tenant) = (Engine::of(self.inner), &self.lease.tenant);
        let waited = self.now().saturating_sub(self.info.state_since);
        let first = || self.info.connections.iter().filter(|one| one.wave == 1);
        for one in first() {
            let list = engine.tapes(tenant, &one.connection).await?;
            let usable = list.tapes.iter().filter(|tape| tape.release == one.from).count();
            if usable >= calls as usize || waited >= RECORDING {
                continue;
            }
            if list.taping.is_none() {
                let left = u32::try_from(calls as usize - usable).unwrap_or(calls);
                let wish = StartTaping {
                    calls: left.clamp(1, 500),
                    ..StartTaping::default()
                };
                let by = stecker_store::rollout_unit(&self.info.name);
                engine.start_taping(tenant, &one.connection, &wish, &by).await?;
                self.told(format!("recording {left} calls of `{}`", one.connection))
                    .await?;
            }
            rest(self.inner).await;
            return Ok(());
        }
        let mut notes = Vec::new();
        for one in first() {
            let options = ShadowRequest {
                release: self.info.to.to_string(),
                config: self.info.request.config.clone(),
                calls: Some(calls.clamp(1, 500)),
                ..ShadowRequest::default()
            };
            let report = engine
                .shadow(tenant, &one.connection, &self.info.to, None, &options)
                .await?;
            match report.verdict {
                ShadowVerdict::Pass => notes.push(format!(
                    "on {} recorded calls of `{}`, it did what the running release does",
                    report.compared, one.connection
                )),
                ShadowVerdict::Unknown => notes.push(format!(
                    "nothing of `{}` was recorded that it could be tried on",
                    one.connection
                )),
                ShadowVerdict::Fail => {
                    let places: Vec<_> = report
                        .differences
                        .iter()
                        .take(PLACES)
                        .map(|difference| format!("{} × {}", difference.count, difference.place))
                        .collect();
                    notes.push(format!(
                        "on {} recorded calls of `{}`, it does something else: {} ({}); `stecker shadow {} --release {}` shows all of it",
                        report.compared,
                        one.connection,
                        report.reasons.join("; "),
                        places.join(", "),
                        one.connection,
                        self.info.to
                    ));
                    return self.happened(RolloutEvent::Unfit, notes).await;
                }
            }
        }
        self.happened(RolloutEvent::Shadowed, notes).await
    }

    async fn told(&self, what: String) -> Result<(), FlowError> {
        self.note(RolloutStep {
            notes: vec![what],
            ..RolloutStep::default()
        })
        .await
    }

    async fn move_wave(&self) -> Result<(), FlowError> {
        let tenant = &self.lease.tenant;
        let due = self
            .info
            .connections
            .iter()
            .filter(|one| one.state == MoveState::Waiting && one.wave <= self.info.wave);
        for one in due {
            let Some(stored) = self.inner.store.connection(tenant, &one.connection).await? else {
                continue;
            };
            let spec = with_release(&stored.spec, &self.info.to, &self.info.request);
            let moved = self
                .inner
                .store
                .move_connection(
                    self.lease,
                    &self.info.name,
                    &spec,
                    stored.generation,
                    &self.info.to,
                    self.now(),
                )
                .await?;
            let what = match moved {
                Moved::Already => continue,
                Moved::Moved(_) => format!("`{}` runs the new release", one.connection),
                Moved::Left => format!(
                    "`{}` was changed by somebody meanwhile and is left as it is",
                    one.connection
                ),
            };
            self.told(what).await?;
        }
        self.happened(RolloutEvent::Moved, Vec::new()).await
    }

    /// What calls of all connections that were moved came to, with both releases.
    async fn figures(&self) -> Result<Figures, FlowError> {
        let (store, tenant) = (&self.inner.store, &self.lease.tenant);
        self.inner.supplies.books.write(store).await?;
        let mut figures = Figures {
            bake: self.info.request.bake_ms(),
            elapsed: self.now().saturating_sub(self.info.state_since),
            ..Figures::default()
        };
        for one in &self.info.connections {
            if one.state != MoveState::Moved {
                continue;
            }
            let mut new = store.call_numbers(tenant, &one.connection, &self.info.to).await?;
            let before = store
                .numbers_before(tenant, &self.info.name, &one.connection)
                .await?;
            take(&mut new, &before);
            add(&mut figures.candidate, new);
            add(
                &mut figures.baseline,
                store.call_numbers(tenant, &one.connection, &one.from).await?,
            );
        }
        Ok(figures)
    }

    async fn look(&self) -> Result<(), FlowError> {
        let figures = self.figures().await?;
        let (verdict, watch) = judge::look(&figures, self.info.watch.as_ref(), self.now());
        let said = summary(&watch);
        let mut step = RolloutStep {
            watch: Some(watch),
            ..RolloutStep::default()
        };
        match verdict {
            Verdict::Wait => {
                self.note(step).await?;
                rest(self.inner).await;
                return Ok(());
            }
            Verdict::Well => {
                step.event = Some(if is_waiting(self.info) {
                    RolloutEvent::DidWell
                } else {
                    RolloutEvent::AllDidWell
                });
                step.notes.push(format!("did well: {said}"));
            }
            Verdict::Back => {
                step.event = Some(RolloutEvent::WentWrong);
                step.notes.push(format!("went wrong: {said}"));
                step.bar = Some(format!("the rollout `{}` went wrong: {said}", self.info.name));
            }
        }
        self.note(step).await
    }

    async fn restore(&self) -> Result<(), FlowError> {
        for one in &self.info.connections {
            if one.state != MoveState::Moved {
                continue;
            }
            let restored = self
                .inner
                .store
                .restore_connection(
                    self.lease,
                    &self.info.name,
                    &one.connection,
                    &self.info.to,
                    self.now(),
                )
                .await?;
            let what = match restored {
                Restored::Already => continue,
                Restored::Restored(again) => format!(
                    "`{}` is back at the release before, at its cursor and storage; {again} record(s) that were not sent are read again",
                    one.connection
                ),
                Restored::Left => format!(
                    "`{}` was changed by somebody meanwhile and is left as it is",
                    one.connection
                ),
            };
            self.told(what).await?;
        }
        self.settle_rest().await?;
        self.happened(RolloutEvent::Restored, Vec::new()).await
    }

    /// Waits until what the new release had read and what was on its way has arrived, or has come to rest and is left out: it must not keep what was
    /// read again of the same thing waiting.
    async fn settle_rest(&self) -> Result<(), FlowError> {
        for _ in 0..SETTLING {
            let mut on_their_way = 0;
            for one in &self.info.connections {
                let of = (&self.info.to, self.info.created_at);
                let (_, left) = self
                    .inner
                    .store
                    .leave_out_rest(self.lease, &self.info.name, &one.connection, of, self.now())
                    .await?;
                on_their_way += left;
            }
            if on_their_way == 0 || self.inner.stop.is_cancelled() {
                return Ok(());
            }
            rest(self.inner).await;
        }
        Ok(())
    }
}

fn summary(watch: &RolloutWatch) -> String {
    if watch.signals.is_empty() {
        return format!("{} calls, nothing worse than before", watch.calls);
    }
    let signals: Vec<_> = watch.signals.iter().map(|signal| signal.what.as_str()).collect();
    signals.join("; ")
}

fn add(sum: &mut CallNumbers, numbers: CallNumbers) {
    for (what, classes) in numbers {
        let sum = sum.entry(what).or_default();
        for (class, n) in classes {
            *sum.entry(class).or_default() += n;
        }
    }
}

fn take(numbers: &mut CallNumbers, before: &CallNumbers) {
    for (what, classes) in before {
        for (class, n) in classes {
            if let Some(now) = numbers.get_mut(what).and_then(|known| known.get_mut(class)) {
                *now = now.saturating_sub(*n);
            }
        }
    }
}
