//! Whether a release can be moved to: loaded, verified, linked, its configuration checked, and its systems tried, all of it on instances that are
//! thrown away and with a storage whose writes nobody sees.

use std::time::Duration;

use futures_util::{FutureExt as _, future::join_all};
use stecker_model::{
    Name,
    api::{RolloutInfo, StartRollout},
};
use stecker_sandbox::{CallError, Release};

use super::plan::{self, with_release};
use crate::{FlowError, engine::Inner, sessions::bind_candidate};

/// Systems that are tried at the same time.
const AT_ONCE: usize = 8;
/// A system that fails now and then does so here, too.
const TRIES: u32 = 5;
/// Before the second try; longer before each one after it.
const BETWEEN: Duration = Duration::from_millis(300);

/// What preparing comes to.
pub(super) enum Fit {
    /// It can be moved to; what is worth telling.
    Ready(Vec<String>),
    /// A person has to approve of it, for these reasons.
    Approval(Vec<String>),
    /// It cannot.
    Unfit(Vec<String>),
}

pub(super) async fn prepare(inner: &Inner, tenant: &Name, info: &RolloutInfo) -> Result<Fit, FlowError> {
    let mut request = info.request.clone();
    // What is moved to was decided when it was started.
    request.to = info.to.to_string();
    let planned = match plan::plan(inner, tenant, &request).await {
        Ok(planned) => planned,
        Err(FlowError::Store(error)) => return Err(FlowError::Store(error)),
        Err(error) => return Ok(Fit::Unfit(vec![error.to_string()])),
    };
    let release = match inner.releases.get(tenant, &info.to).await {
        Ok(release) => release,
        Err(FlowError::Store(error)) => return Err(FlowError::Store(error)),
        Err(error) => return Ok(Fit::Unfit(vec![error.to_string()])),
    };
    if !planned.faults.is_empty() {
        let faults = planned.faults.iter();
        return Ok(Fit::Unfit(
            faults
                .map(|fault| format!("{}: {}", fault.path, fault.reason))
                .collect(),
        ));
    }
    let mut tried = Vec::with_capacity(info.connections.len());
    for some in info.connections.chunks(AT_ONCE) {
        let trying = some
            .iter()
            .map(|one| try_out(inner, tenant, (info, &request), &release, &one.connection).boxed());
        tried.extend(join_all(trying).await);
    }
    let mut wrong = Vec::new();
    for tried in tried {
        match tried {
            Ok(found) => wrong.extend(found),
            Err(FlowError::Store(error)) => return Err(FlowError::Store(error)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if !wrong.is_empty() {
        return Ok(Fit::Unfit(wrong));
    }
    if !planned.approvals.is_empty() {
        let asked = planned.approvals.into_iter();
        return Ok(Fit::Approval(
            asked
                .map(|what| format!("it asks for more than before: {what}"))
                .collect(),
        ));
    }
    Ok(Fit::Ready(vec![format!(
        "{} {} is loaded, and works with {} connection(s)",
        planned.plugin,
        planned.version,
        info.connections.len()
    )]))
}

/// Has a release say whether it reaches its system with a connection's configuration; what is wrong, if anything is.
async fn try_out(
    inner: &Inner,
    tenant: &Name,
    (info, request): (&RolloutInfo, &StartRollout),
    release: &Release,
    connection: &Name,
) -> Result<Option<String>, FlowError> {
    let Some(stored) = inner.store.connection(tenant, connection).await? else {
        return Ok(None);
    };
    let limits = inner.supplies.tenant_limits(tenant).await?;
    let spec = with_release(&stored.spec, &info.to, request);
    let session = bind_candidate(&inner.supplies, release, tenant, &spec, &limits).await?;
    let mut wrong = None;
    for turn in 0..TRIES {
        if turn > 0 {
            tokio::time::sleep(BETWEEN * turn).await;
        }
        wrong = match session.check().await.result {
            Ok(probes) => probes
                .into_iter()
                .find(|probe| !probe.ok)
                .map(|probe| format!("{connection}: {}: {}", probe.name, probe.message)),
            Err(CallError::NoRole(_)) => None,
            Err(error) => Some(format!("{connection}: {error}")),
        };
        if wrong.is_none() {
            break;
        }
    }
    Ok(wrong)
}
