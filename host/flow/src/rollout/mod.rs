//! Moves connections to another release while they work.
//!
//! A rollout is a row with a state; whoever holds its lease does what its state asks for, and writes down what came of it in the same transaction
//! that changes the state. So a host may be killed at any point: the next one finds either the state before or the one after, and does the step
//! again, each of which can be done twice.
//!
//! | state | what is done | file |
//! |---|---|---|
//! | preparing | the release is loaded, its configuration checked, each system tried | [`prepare`] |
//! | shadowing | it is played what the running one was answered | [`drive`] |
//! | moving | connections get the new release, one transaction each | [`drive`] |
//! | baking | what calls come to is held against what they came to before | [`judge`] |
//! | rolling-back | connections get the old release back, with cursor and storage | [`drive`] |

mod drive;
mod judge;
mod plan;
mod prepare;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use stecker_model::{Digest, Name};
use stecker_sandbox::Release;
use stecker_store::rollout_unit;
use tokio::task::JoinSet;

use crate::engine::Inner;

pub(crate) use drive::{has_moved, is_waiting};
pub(crate) use plan::plan;

/// The releases that rollouts move to, kept loaded on every host for as long as they are not over: the first call after a move must not wait for a
/// compiler.
#[derive(Default)]
struct Warm(HashMap<(Name, Digest), Option<Release>>);

impl Warm {
    async fn keep(&mut self, inner: &Inner, open: &[(Name, Name, Digest)]) {
        let wanted: HashSet<(Name, Digest)> = open
            .iter()
            .map(|(tenant, _, to)| (tenant.clone(), to.clone()))
            .collect();
        self.0.retain(|key, _| wanted.contains(key));
        for (tenant, to) in wanted {
            if let Entry::Vacant(place) = self.0.entry((tenant.clone(), to.clone())) {
                // What cannot be loaded is for whoever prepares the rollout to tell.
                place.insert(inner.releases.get(&tenant, &to).await.ok());
            }
        }
    }
}

/// Works on every rollout that nobody else works on, until the engine stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut warm = Warm::default();
    let mut tasks: JoinSet<(Name, Name)> = JoinSet::new();
    let mut busy: HashSet<(Name, Name)> = HashSet::new();
    while !inner.stop.is_cancelled() {
        match inner.store.open_rollouts().await {
            Ok(open) => {
                warm.keep(&inner, &open).await;
                for (tenant, name, _) in open {
                    let key = (tenant, name);
                    if busy.contains(&key) {
                        continue;
                    }
                    match take(&inner, &key).await {
                        Ok(Some(lease)) => {
                            busy.insert(key.clone());
                            let inner = Arc::clone(&inner);
                            tasks.spawn(async move {
                                drive::drive(&inner, &lease, &key.1).await;
                                key
                            });
                        }
                        Ok(None) => {}
                        Err(error) => tracing::warn!(%error, "a rollout could not be taken up; tried again"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "rollouts could not be looked at; tried again"),
        }
        tokio::select! {
            () = inner.stop.cancelled() => {}
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => match ended {
                Ok(key) => { busy.remove(&key); }
                Err(error) => {
                    tracing::error!(%error, "a rollout broke off; it is taken up again");
                    busy.clear();
                }
            },
            () = tokio::time::sleep(inner.options.poll) => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn take(
    inner: &Inner,
    (tenant, name): &(Name, Name),
) -> Result<Option<stecker_store::Lease>, stecker_store::StoreError> {
    let now = inner.store.time_ms().await?;
    let (unit, node) = (rollout_unit(name), &inner.options.node);
    inner
        .store
        .acquire(tenant, &unit, node, now, inner.keeper.ttl_ms())
        .await
}
