//! What a rollout would do.

use semver::{Version, VersionReq};
use sha2::{Digest as _, Sha256};
use stecker_model::{
    ConnectionSpec, Digest, FlowSpec, Name, Setup,
    api::{Fault, PlannedMove, RolloutPlan, StartRollout},
};
use stecker_registry::{Inspection, manifest::Sunset};
use stecker_store::{ReleaseRow, Stored};
use stecker_trust::compat::CapabilityDiff;

use crate::{FlowError, engine::Inner, validate};

/// A connection's specification with another release.
pub(crate) fn with_release(spec: &ConnectionSpec, to: &Digest, request: &StartRollout) -> ConnectionSpec {
    let mut spec = spec.clone();
    spec.plugin.digest = Some(to.clone());
    spec.plugin.path = None;
    if let Some(config) = &request.config {
        spec.config = config.clone();
    }
    spec
}

fn invalid(path: &str, reason: String) -> FlowError {
    FlowError::Invalid(vec![Fault {
        path: path.to_owned(),
        reason,
    }])
}

/// What runs what.
struct Stock {
    connections: Vec<(Stored<ConnectionSpec>, Option<ReleaseRow>)>,
    flows: Vec<FlowSpec>,
}

impl Stock {
    async fn of(inner: &Inner, tenant: &Name, request: &StartRollout) -> Result<Self, FlowError> {
        let mut connections = Vec::new();
        for stored in inner.store.connections(tenant).await? {
            if request
                .connection
                .as_ref()
                .is_some_and(|name| *name != stored.spec.name)
            {
                continue;
            }
            let row = match &stored.spec.plugin.digest {
                Some(digest) => inner.store.release(tenant, digest).await?,
                None => None,
            };
            let is_meant = match &request.all_of {
                Some(plugin) => row.as_ref().is_some_and(|row| row.info.name == *plugin),
                None => true,
            };
            if is_meant {
                connections.push((stored, row));
            }
        }
        let flows = inner.store.flows(tenant).await?;
        Ok(Self {
            connections,
            flows: flows.into_iter().map(|row| row.spec).collect(),
        })
    }

    fn flows_of(&self, connection: &Name) -> impl Iterator<Item = &FlowSpec> {
        self.flows.iter().filter(move |flow| {
            flow.source.connection == *connection || flow.destination.connection == *connection
        })
    }
}

/// The release that is meant.
async fn target(
    inner: &Inner,
    tenant: &Name,
    plugin: &str,
    request: &StartRollout,
) -> Result<ReleaseRow, FlowError> {
    if let Ok(digest) = request.to.parse::<Digest>() {
        let row = inner.store.release(tenant, &digest).await?;
        return row.ok_or_else(|| FlowError::not_found("release", &digest));
    }
    let range = VersionReq::parse(&request.to).map_err(|error| {
        invalid(
            "to",
            format!(
                "`{}` is neither a digest nor a range of versions ({error}); write `=2.0.0`, `^2` or `sha256:…`",
                request.to
            ),
        )
    })?;
    let mut best: Option<(Version, ReleaseRow)> = None;
    for info in inner.store.releases(tenant).await? {
        let Ok(version) = info.version.parse::<Version>() else {
            continue;
        };
        if info.name == plugin
            && range.matches(&version)
            && best.as_ref().is_none_or(|(known, _)| *known < version)
            && let Some(row) = inner.store.release(tenant, &info.digest).await?
        {
            best = Some((version, row));
        }
    }
    best.map(|(_, row)| row).ok_or_else(|| {
        invalid(
            "to",
            format!(
                "the host has no release of `{plugin}` that `{}` admits; add one with `stecker plugin add` or `stecker plugin pull --install`",
                request.to
            ),
        )
    })
}

/// Those that are moved first, by a hash of their names: `(connection, wave)`, in the order of waves.
fn waves(names: Vec<Name>, canary: u8) -> Vec<(Name, u32)> {
    let mut ranked: Vec<(Vec<u8>, Name)> = names
        .into_iter()
        .map(|name| (Sha256::digest(name.as_str()).to_vec(), name))
        .collect();
    ranked.sort();
    let first = (ranked.len() * usize::from(canary)).div_ceil(100).max(1);
    let mut waves: Vec<(Name, u32)> = ranked
        .into_iter()
        .enumerate()
        .map(|(index, (_, name))| (name, if index < first { 1 } else { 2 }))
        .collect();
    waves.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    waves
}

/// See [`crate::Engine::plan_rollout`].
pub(crate) async fn plan(
    inner: &Inner,
    tenant: &Name,
    request: &StartRollout,
) -> Result<RolloutPlan, FlowError> {
    let faults = request.faults();
    if !faults.is_empty() {
        return Err(FlowError::Invalid(faults));
    }
    let stock = Stock::of(inner, tenant, request).await?;
    let plugin = match (&request.connection, &request.all_of) {
        (Some(connection), _) => {
            let Some((_, row)) = stock.connections.first() else {
                return Err(FlowError::not_found("connection", connection));
            };
            row.as_ref().map(|row| row.info.name.clone())
        }
        (None, all_of) => all_of.clone(),
    };
    let plugin = plugin.ok_or_else(|| {
        invalid(
            "connection",
            "the release that it runs is not known to the host".to_owned(),
        )
    })?;
    let target = target(inner, tenant, &plugin, request).await?;
    let to = &target.info.digest;
    if target.info.name != plugin {
        let reason = format!(
            "is a release of `{}`, and the connection runs `{plugin}`",
            target.info.name
        );
        return Err(invalid("to", reason));
    }
    let new = crate::trust::inspection(&target.inspection_json)?;
    let moving: Vec<_> = stock
        .connections
        .iter()
        .filter(|(stored, _)| stored.spec.plugin.digest.as_ref() != Some(to))
        .collect();
    if moving.is_empty() {
        let reason = format!(
            "there is no connection of `{plugin}` that does not run {} already",
            target.info.version
        );
        return Err(invalid("to", reason));
    }
    let (mut wider, mut narrower) = (Vec::new(), Vec::new());
    for (_, row) in &moving {
        let Some(row) = row else { continue };
        let diff = CapabilityDiff::between(
            &crate::trust::inspection(&row.inspection_json)?.manifest,
            &new.manifest,
        );
        wider.extend(diff.wider());
        narrower.extend(diff.narrower.iter().map(|change| change.what.clone()));
    }
    for list in [&mut wider, &mut narrower] {
        list.sort();
        list.dedup();
    }
    let names = moving
        .iter()
        .map(|(stored, _)| stored.spec.name.clone())
        .collect();
    let connections: Vec<PlannedMove> = waves(names, request.canary())
        .into_iter()
        .filter_map(|(name, wave)| {
            let (stored, row) = moving.iter().find(|(stored, _)| stored.spec.name == name)?;
            Some(PlannedMove {
                wave,
                from: stored.spec.plugin.digest.clone()?,
                from_version: row.as_ref().map(|row| row.info.version.clone()),
                flows: stock.flows_of(&name).map(|flow| flow.name.clone()).collect(),
                connection: name,
            })
        })
        .collect();
    let faults = faults_of(inner, tenant, request, &stock, to).await?;
    let approvals = if request.approved {
        Vec::new()
    } else {
        wider.clone()
    };
    Ok(RolloutPlan {
            plugin,
            version: target.info.version.clone(),
            to: to.clone(),
            steps: steps(request, &connections),
            connections,
            wider,
            narrower,
            breaking: breaking(&new),
            upstream: upstream(&new),
            approvals,
            faults,
            back: "each connection goes back to the release, configuration, cursor and storage that it had before it was moved; what the new \
                   release read and nobody sent yet is read again"
                .to_owned(),
    })
}

/// What the specifications have against the new release.
async fn faults_of(
    inner: &Inner,
    tenant: &Name,
    request: &StartRollout,
    stock: &Stock,
    to: &Digest,
) -> Result<Vec<Fault>, FlowError> {
    let mut setup = Setup::default();
    for (stored, _) in &stock.connections {
        setup.connections.push(with_release(&stored.spec, to, request));
        for flow in stock.flows_of(&stored.spec.name) {
            if !setup.flows.iter().any(|known| known.name == flow.name) {
                setup.flows.push(flow.clone());
            }
        }
    }
    Ok(validate::setup(&inner.supplies, &inner.releases, tenant, &setup).await?)
}

fn breaking(new: &Inspection) -> Vec<String> {
    new.manifest
        .breaking
        .iter()
        .map(|change| change.message.clone())
        .collect()
}

fn upstream(new: &Inspection) -> Vec<String> {
    new.manifest
        .upstream
        .iter()
        .map(|api| match api.sunset.and_then(Sunset::date) {
            Some(sunset) => format!("{} {}, until {sunset}", api.system, api.api_version),
            None => format!("{} {}", api.system, api.api_version),
        })
        .collect()
}

fn steps(request: &StartRollout, connections: &[PlannedMove]) -> Vec<String> {
    let first = connections.iter().filter(|one| one.wave == 1).count();
    let rest = connections.len() - first;
    let bake = std::time::Duration::from_millis(u64::try_from(request.bake_ms()).unwrap_or(0));
    let mut steps = vec![
        "load the release, verify its signature where the tenant has a trust root, and link it".to_owned(),
        format!(
            "try it with the live configuration of {} connection(s), on instances that are thrown away",
            connections.len()
        ),
    ];
    if let Some(calls) = request.shadow {
        steps.push(format!(
            "play it {calls} recorded calls of each connection, without a network, and stop if it does something else"
        ));
    }
    steps.push(format!("move {first} connection(s), at a checkpoint each"));
    steps.push(format!(
        "watch for {bake:?}; go back if it does worse than before"
    ));
    if rest > 0 {
        steps.push(format!("move the other {rest}, and watch for {bake:?} again"));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ones_go_first_each_time_and_never_none() {
        let names = |n: usize| -> Vec<Name> { (0..n).map(|n| format!("c-{n}").parse().unwrap()).collect() };
        let first = |n, canary| {
            let waves = waves(names(n), canary);
            assert_eq!(waves.len(), n);
            waves
                .into_iter()
                .filter(|(_, wave)| *wave == 1)
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(first(1, 10).len(), 1);
        assert_eq!(first(100, 10).len(), 10);
        assert_eq!(first(101, 10).len(), 11);
        assert_eq!(first(7, 100).len(), 7);
        assert_eq!(first(100, 10), first(100, 10));
        let more = first(100, 20);
        assert!(
            first(100, 10).iter().all(|name| more.contains(name)),
            "a wider share holds the narrower one"
        );
    }
}
