//! Another release, tried on what the running one did: recorded calls are played again, with the network closed, writes refused, and the clock and the
//! random bytes of back then, and what comes of them is compared.
//!
//! - [`matching`]: which recorded exchange answers a request. Pure.
//! - [`player`]: answers requests from a tape.
//! - [`view`]: a storage whose writes stay in memory.
//! - [`stage`]: everything else that a call has around it.
//! - [`fields`], [`compare`]: what is different. Pure.
//! - [`report`]: what is noise, what it cost, and the verdict. Pure.
//!
//! Each tape is played twice, one after the other: by the running release, to see what the tape is worth, and by the candidate.

mod compare;
mod fields;
mod matching;
mod player;
mod report;
mod stage;
mod view;

pub(crate) use view::View;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use stecker_model::{
    ConnectionSpec, Digest, Name, TAPE_FORM, Tape, TapedCall, TapedResult, TenantLimits,
    api::{ShadowRelease, ShadowReport, ShadowRequest, TapeInfo},
};
use stecker_sandbox::{CallError, CallOptions, Called, Circumstances, Release, Session, StoredEntry};
use stecker_store::{Store, StoreError};

use crate::{FlowError, taping};
use compare::{Seen, compare, compare_storage};
use fields::Ignore;
use report::{MAX_CPU_RATIO, Tally};
use stage::Stage;

/// Of a connection's storage: a copy of it is in memory.
const MAX_SNAPSHOT: u64 = 64 << 20;
/// Tapes, unless said otherwise, and the most.
const USUAL_CALLS: u32 = 100;
const MOST_CALLS: u32 = 500;

/// What is tried.
pub(crate) struct Trial<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tenant: &'a Name,
    pub(crate) spec: &'a ConnectionSpec,
    pub(crate) tenant_limits: &'a TenantLimits,
    pub(crate) running: &'a Release,
    pub(crate) candidate: &'a Release,
    pub(crate) request: &'a ShadowRequest,
}

/// Bounds of what is asked.
fn checked(request: &ShadowRequest) -> Result<(Ignore, usize, f64), FlowError> {
    let invalid = |path: &str, reason: String| {
        let path = path.to_owned();
        FlowError::Invalid(vec![stecker_model::api::Fault { path, reason }])
    };
    let ignore = Ignore::parse(&request.ignore).map_err(|reason| invalid("ignore", reason))?;
    let calls = request.calls.unwrap_or(USUAL_CALLS);
    if !(1..=MOST_CALLS).contains(&calls) {
        return Err(invalid(
            "calls",
            format!("{calls} is out of bounds; use 1 to {MOST_CALLS}"),
        ));
    }
    let ratio = request.max_cpu_ratio.unwrap_or(MAX_CPU_RATIO);
    if !(ratio.is_finite() && ratio > 0.0) {
        return Err(invalid(
            "max-cpu-ratio",
            format!("{ratio} is no ratio; use 3, for example"),
        ));
    }
    Ok((ignore, usize::try_from(calls).unwrap_or(usize::MAX), ratio))
}

/// Plays the tapes of a connection, the newest first.
///
/// # Errors
/// A request out of bounds; a configuration or grants that do not fit the candidate; a storage too large to be copied; a store or a vault that
/// fails.
pub(crate) async fn run(trial: Trial<'_>) -> Result<ShadowReport, FlowError> {
    let (ignore, calls, max_cpu_ratio) = checked(trial.request)?;
    let Trial {
        store, tenant, spec, ..
    } = trial;
    let stage = stage(&trial).await?;
    let config = trial.request.config.as_ref().unwrap_or(&spec.config);
    // Said before any tape is looked at, and as what it is.
    for (release, config) in [(trial.running, &spec.config), (trial.candidate, config)] {
        stage
            .scene(release, config, &[])
            .map_err(|error| FlowError::Load(error.to_string()))?;
    }
    let mut tally = Tally::default();
    for info in store.tapes(tenant, &spec.name).await?.into_iter().take(calls) {
        let tape = match opened(&trial, &info).await? {
            Ok(tape) => tape,
            Err(why) => {
                tally.leave_out(why);
                continue;
            }
        };
        let running = play(&stage, trial.running, &spec.config, &tape).await?;
        let candidate = play(&stage, trial.candidate, config, &tape).await?;
        let (Some(running), Some(candidate)) = (running, candidate) else {
            tally.leave_out("the host had no room to play it");
            continue;
        };
        let noise = compare(&tape, &running, &ignore);
        let mut found = compare(&tape, &candidate, &ignore);
        found.extend(compare_storage(tape.call.stream(), &running, &candidate));
        tally.add(&info.id, noise, found, (running.usage, candidate.usage));
        // Between two calls, whoever delivers something comes first.
        tokio::task::yield_now().await;
    }
    let judged = tally.judge(max_cpu_ratio);
    Ok(ShadowReport {
        connection: spec.name.to_string(),
        running: named(trial.running),
        candidate: named(trial.candidate),
        verdict: judged.verdict,
        reasons: judged.reasons,
        tapes: judged.tapes,
        compared: judged.compared,
        left_out: judged.left_out,
        differences: judged.differences,
        noise: judged.noise,
        cost: judged.cost,
    })
}

fn named(release: &Release) -> ShadowRelease {
    let manifest = &release.inspection().manifest;
    ShadowRelease {
        digest: release.digest().clone(),
        plugin: format!("{}@{}", manifest.name, manifest.version),
    }
}

async fn stage<'a>(trial: &Trial<'a>) -> Result<Stage<'a>, FlowError> {
    let Trial {
        store, tenant, spec, ..
    } = trial;
    let snapshot = store.kv_snapshot(tenant, &spec.name, MAX_SNAPSHOT).await?;
    let snapshot = snapshot.ok_or_else(|| {
        FlowError::Load(format!(
            "the storage of the connection `{}` holds more than {} MiB, and no copy of it is made for a trial. Lower `grants.storage` of the \
             connection, or have its plugin keep less",
            spec.name,
            MAX_SNAPSHOT >> 20
        ))
    })?;
    let entry = |(key, entry): (String, stecker_store::KvEntry)| {
        let entry = StoredEntry {
            value: entry.value,
            version: entry.version,
        };
        (key, entry)
    };
    let releases = [trial.running, trial.candidate].into_iter();
    let systems = releases.flat_map(|release| &release.inspection().manifest.upstream);
    Ok(Stage {
        store,
        tenant,
        spec,
        tenant_limits: trial.tenant_limits,
        snapshot: Arc::new(snapshot.into_iter().map(entry).collect::<BTreeMap<_, _>>()),
        versions: systems.map(|system| system.api_version.clone()).collect(),
    })
}

/// A tape that something can be compared with, or why not.
async fn opened(trial: &Trial<'_>, info: &TapeInfo) -> Result<Result<Tape, &'static str>, FlowError> {
    let Trial {
        store,
        tenant,
        spec,
        running,
        ..
    } = trial;
    if info.release != *running.digest() {
        return Ok(Err("another release was recorded than the one that runs now"));
    }
    let Some(tape) = open(store, tenant, &spec.name, &info.id).await? else {
        return Ok(Err("it is gone"));
    };
    Ok(if tape.truncated {
        Err("not everything of the call is on the tape")
    } else {
        Ok(tape)
    })
}

/// A tape as it was kept. None: there is none.
///
/// # Errors
/// A master key that is missing or wrong, a tape that was altered or is of a form that this host does not know, or a store that fails.
pub(crate) async fn open(
    store: &Store,
    tenant: &Name,
    connection: &Name,
    id: &str,
) -> Result<Option<Tape>, FlowError> {
    let vault = store.vault().map_err(taping::unopened)?;
    let opened = vault.open_tape(tenant, connection, id).await;
    let Some(bytes) = opened.map_err(taping::unopened)? else {
        return Ok(None);
    };
    let tape: Tape = serde_json::from_slice(&bytes).map_err(|error| {
        StoreError::internal(format!(
            "the tape `{id}` of `{connection}` cannot be read: {error}"
        ))
    })?;
    if tape.form != TAPE_FORM {
        return Err(FlowError::Load(format!(
            "the tape `{id}` has the form {}, and this host knows {TAPE_FORM}; use the version of the host that recorded it",
            tape.form
        )));
    }
    Ok(Some(tape))
}

/// None: the host had no room, so the plugin had no part in it.
async fn play(
    stage: &Stage<'_>,
    release: &Release,
    config: &Value,
    tape: &Tape,
) -> Result<Option<Seen>, FlowError> {
    let scene = stage
        .scene(release, config, &tape.exchanges)
        .map_err(|error| FlowError::Load(error.to_string()))?;
    let mut seed = [0; 32];
    // One that is none gives other random bytes to both releases alike.
    let _ = hex::decode_to_slice(&tape.seed, &mut seed);
    let of = Circumstances {
        clock: tape.clock,
        readings: tape.clock_readings.clone(),
        seed,
    };
    let session = scene.session.with(CallOptions::Played(Arc::new(of)));
    let called = call(&session, &tape.call).await;
    let result = match called.result {
        Ok(result) => result,
        Err(error) => match taping::failed(&error) {
            Some(failed) => failed,
            None => return Ok(None),
        },
    };
    let (off_tape, unsent) = scene.player.ended();
    Ok(Some(Seen {
        result,
        off_tape,
        unsent,
        denied: scene.denied.all(),
        storage: scene.view.changes(),
        usage: called.usage,
    }))
}

async fn call(session: &Session, call: &TapedCall) -> Called<TapedResult> {
    fn with<T>(called: Called<T>, result: fn(T) -> TapedResult) -> Called<TapedResult> {
        Called {
            result: called.result.map(result),
            usage: called.usage,
        }
    }
    match call {
        TapedCall::Read(request) => with(session.read(request.clone()).await, TapedResult::Page),
        TapedCall::Write { stream, items } => {
            with(session.write(stream, items.clone()).await, TapedResult::Outcomes)
        }
        TapedCall::Lookup { stream, items } => {
            with(session.lookup(stream, items.clone()).await, TapedResult::Findings)
        }
        TapedCall::Receive(request) => match request.raw() {
            Some(request) => with(session.receive(request).await, TapedResult::Received),
            None => Called {
                result: Err(CallError::Host {
                    message: "the body on the tape is no base64".to_owned(),
                }),
                usage: stecker_model::CallUsage::default(),
            },
        },
    }
}

/// The release that a request names: by its digest, or the newest one that a range takes.
///
/// # Errors
/// There is none; a store that fails.
pub(crate) async fn candidate(store: &Store, tenant: &Name, text: &str) -> Result<Digest, FlowError> {
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok(digest);
    }
    let (name, range) = text.split_once('@').unwrap_or((text, "*"));
    let range: semver::VersionReq = range.parse().map_err(|error| {
        FlowError::Load(format!(
            "`{text}` is neither a digest nor `namespace/name@range`: {error}. `stecker release list` shows what there is"
        ))
    })?;
    let mut fitting: Vec<(semver::Version, Digest)> = store
        .releases(tenant)
        .await?
        .into_iter()
        .filter(|release| release.name == name)
        .filter_map(|release| Some((release.version.parse().ok()?, release.digest)))
        .filter(|(version, _)| range.matches(version))
        .collect();
    fitting.sort_by(|(one, _), (other, _)| one.cmp(other));
    let newest = fitting.pop().map(|(_, digest)| digest);
    newest.ok_or_else(|| FlowError::not_found("release", &text))
}
