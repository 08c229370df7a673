//! Upstream accounts, for people.

use std::collections::{BTreeMap, BTreeSet};

use stecker_model::{
    ConnectionSpec, Name,
    api::{Breaker, BreakerState, UpstreamHost, UpstreamInfo, UpstreamWait},
};
use stecker_sandbox::Look;
use stecker_store::StoreError;

use super::Accounts;
use crate::{FlowError, status::time};

/// Who asks for the sake of people.
const NOBODY: &str = "";

impl Accounts {
    /// The accounts of a tenant by name, each with what this process knows of it.
    pub(crate) async fn infos(&self, tenant: &Name) -> Result<Vec<UpstreamInfo>, StoreError> {
        self.ensure_loaded().await?;
        let mut by_account: BTreeMap<Name, Vec<ConnectionSpec>> = BTreeMap::new();
        for stored in self.store.connections(tenant).await? {
            let account = stored.spec.upstream.account_of(&stored.spec.name).clone();
            by_account.entry(account).or_default().push(stored.spec);
        }
        let flows = self.store.flows(tenant).await?;
        let infos = by_account.into_iter().map(|(account, specs)| {
            let connections: Vec<Name> = specs.iter().map(|spec| spec.name.clone()).collect();
            let flows = flows.iter().map(|row| &row.spec).filter(|flow| {
                [&flow.source, &flow.destination]
                    .iter()
                    .any(|end| connections.contains(&end.connection))
            });
            let view = self.registry.view(tenant, &account);
            let budget = specs
                .iter()
                .filter_map(|spec| spec.upstream.budget())
                .reduce(stecker_model::UpstreamBudget::least);
            UpstreamInfo {
                flows: flows.map(|flow| flow.name.clone()).collect(),
                hosts: hosts(&specs, view.hosts),
                account,
                connections,
                hold: view.hold,
                budget,
                learned: view.learned,
                waiting: view.waiting,
                waited: view.waited,
                waited_ms: view.waited_ms,
            }
        });
        Ok(infos.collect())
    }

    /// One account.
    pub(crate) async fn info(&self, tenant: &Name, account: &Name) -> Result<UpstreamInfo, FlowError> {
        let infos = self.infos(tenant).await?;
        infos
            .into_iter()
            .find(|info| info.account == *account)
            .ok_or_else(|| FlowError::not_found("upstream account", account))
    }

    /// Why a connection's upstream is left alone now, if it is.
    pub(crate) async fn wait_of(
        &self,
        tenant: &Name,
        connection: &Name,
    ) -> Result<Option<UpstreamWait>, StoreError> {
        self.ensure_loaded().await?;
        // While all is well, nobody asks the store whose account it is.
        if self.registry.is_quiet(tenant) {
            return Ok(None);
        }
        let Some(stored) = self.store.connection(tenant, connection).await? else {
            return Ok(None);
        };
        let account = stored.spec.upstream.account_of(connection).clone();
        let look = self.registry.look(tenant, &account, connection, NOBODY);
        let (host, since, until, message) = match look {
            Look::Clear | Look::Trying { .. } => return Ok(None),
            Look::Held(hold) => {
                let message = format!(
                    "the upstream account {account} is held until {}: {}",
                    time(hold.until),
                    hold.reason
                );
                (None, hold.since, hold.until, message)
            }
            Look::Down { host, breaker } | Look::Due { host, breaker } => {
                let now = self.clock.now_ms();
                let until = breaker.until.unwrap_or(now);
                let message = told(&host, &breaker, now);
                (Some(host), breaker.since, until, message)
            }
        };
        Ok(Some(UpstreamWait {
            connection: connection.clone(),
            account,
            host,
            since,
            until,
            message,
        }))
    }
}

/// A host that is down, in a few words.
fn told(host: &str, breaker: &Breaker, now: i64) -> String {
    let next = match (breaker.state, breaker.until) {
        (BreakerState::HalfOpen, Some(until)) if until > now => "it is being tried now".to_owned(),
        (_, Some(until)) if until > now => format!("next try at {}", time(until)),
        _ => "the next try is due".to_owned(),
    };
    format!(
        "the upstream {host} is down since {}, {next}: {}",
        time(breaker.since),
        breaker.reason
    )
}

/// The hosts that are granted by name, and those that requests went to.
fn hosts(specs: &[ConnectionSpec], watched: Vec<(String, Breaker)>) -> Vec<UpstreamHost> {
    let granted = specs
        .iter()
        .flat_map(|spec| &spec.grants.http)
        .map(|grant| &grant.host);
    let mut names: BTreeSet<String> = granted.filter(|host| !host.contains('*')).cloned().collect();
    let watched: BTreeMap<String, Breaker> = watched.into_iter().collect();
    names.extend(watched.keys().cloned());
    let shown = names.into_iter().map(|host| UpstreamHost {
        breaker: watched.get(&host).cloned().unwrap_or_default(),
        host,
    });
    shown.collect()
}
