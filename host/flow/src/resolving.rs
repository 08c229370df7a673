//! Which release each use of a plugin runs, could run, or should leave. The rules are those of `stecker_trust::resolve`; here they meet what a tenant
//! has: its connections and transforms, its releases, and whom it trusts.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use semver::{Version, VersionReq};
use stecker_model::{
    Digest, Name, PluginRef, UpgradePolicy,
    api::{ChosenRelease, Fault, OutdatedUse, PassedRelease, ResolveWish, Resolved, UseAtRisk},
};
use stecker_registry::{Inspection, PluginName, component, contract};
use stecker_store::Store;
use stecker_trust::{
    compat::CapabilityDiff,
    resolve::{
        Hazard, InUse, Known, MoveTo, Note, Pinned, Policy, Trust as Trusted, Wish, at_risk, outdated,
        resolve,
    },
};

use crate::{FlowError, marks::Marks, trust::Trust};

/// What a tenant has, as it is at one moment.
struct Stock {
    releases: Vec<(Known, Inspection)>,
    uses: Vec<InUse>,
}

const fn policy(policy: UpgradePolicy) -> Policy {
    match policy {
        UpgradePolicy::Exact => Policy::Exact,
        UpgradePolicy::Patch => Policy::Patch,
        UpgradePolicy::Minor => Policy::Minor,
        UpgradePolicy::Manual => Policy::Manual,
    }
}

impl Stock {
    async fn of(
        store: &Store,
        trust: &Trust,
        marks: Option<&dyn Marks>,
        tenant: &Name,
    ) -> Result<Self, FlowError> {
        let info = trust.info(tenant).await?;
        let mut releases = Vec::with_capacity(info.releases.len());
        for entry in info.releases {
            let Some(row) = store.release(tenant, &entry.digest).await? else {
                continue;
            };
            let inspection = crate::trust::inspection(&row.inspection_json)?;
            let manifest = &inspection.manifest;
            let known = Known {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                component: entry.digest,
                manifest: component::digest(manifest.to_canonical_json().as_bytes()),
                contract: inspection.contract.clone(),
                yanked: None,
                deprecated: None,
                upstream: manifest.upstream.clone(),
                trust: entry.reason.map_or(Trusted::Trusted, Trusted::Refused),
                wider: Vec::new(),
            };
            releases.push((known, inspection));
        }
        if let Some(marks) = marks {
            mark(marks, &mut releases).await?;
        }
        let mut stock = Self {
            releases,
            uses: Vec::new(),
        };
        for connection in store.connections(tenant).await? {
            stock.add_use(
                format!("connection/{}", connection.spec.name),
                &connection.spec.plugin,
            );
        }
        for flow in store.flows(tenant).await? {
            for (index, step) in flow.spec.transforms.iter().enumerate() {
                stock.add_use(format!("flow/{}/transform/{index}", flow.spec.name), &step.plugin);
            }
        }
        Ok(stock)
    }

    /// A use that names a digest alone wishes for exactly that: it is told of newer ones, and never moves by itself.
    fn add_use(&mut self, user: String, plugin: &PluginRef) {
        let Some(digest) = &plugin.digest else { return };
        let Some((known, _)) = self.release(digest) else {
            return;
        };
        let wish = Wish {
            name: known.name.clone(),
            range: plugin.range().unwrap_or(VersionReq::STAR),
            policy: if plugin.name.is_some() {
                policy(plugin.upgrade.unwrap_or_default())
            } else {
                Policy::Exact
            },
            approved: None,
        };
        let current = Pinned {
            version: known.version.clone(),
            component: digest.clone(),
        };
        self.uses.push(InUse { user, wish, current });
    }

    fn release(&self, digest: &Digest) -> Option<&(Known, Inspection)> {
        self.releases.iter().find(|(known, _)| known.component == *digest)
    }

    fn current(&self, user: &str, name: &PluginName) -> Option<&Pinned> {
        let mut uses = self.uses.iter();
        uses.find(|used| used.user == user && used.wish.name == *name)
            .map(|used| &used.current)
    }

    /// The releases of a plugin, each with what it asks for beyond the one in use.
    fn known(&self, name: &PluginName, current: Option<&Pinned>) -> Vec<Known> {
        let old = current.and_then(|current| self.release(&current.component));
        let releases = self.releases.iter().filter(|(known, _)| known.name == *name);
        releases
            .map(|(known, inspection)| {
                let mut known = known.clone();
                if let Some((_, old)) = old {
                    known.wider = CapabilityDiff::between(&old.manifest, &inspection.manifest).wider();
                }
                known
            })
            .collect()
    }

    /// For each use what it asks for beyond its own release, so one at a time.
    fn each<T>(&self, mut ask: impl FnMut(&InUse, &[Known]) -> Vec<T>) -> Vec<T> {
        let mut made: HashMap<(&PluginName, &Digest), Vec<Known>> = HashMap::new();
        let mut found = Vec::new();
        for used in &self.uses {
            let known = made
                .entry((&used.wish.name, &used.current.component))
                .or_insert_with(|| self.known(&used.wish.name, Some(&used.current)));
            found.extend(ask(used, known));
        }
        found
    }
}

/// Puts what the registry says beside the releases. A choice that was made without it could be one that must not be made any more, so there is none
/// while the registry cannot be asked.
async fn mark(marks: &dyn Marks, releases: &mut [(Known, Inspection)]) -> Result<(), FlowError> {
    let names: BTreeSet<PluginName> = releases.iter().map(|(known, _)| known.name.clone()).collect();
    for name in names {
        for mark in marks.of(&name).await.map_err(FlowError::Registry)? {
            for (known, _) in releases
                .iter_mut()
                .filter(|(known, _)| known.component == mark.component)
            {
                known.yanked.clone_from(&mark.yanked);
                known.deprecated.clone_from(&mark.deprecated);
            }
        }
    }
    Ok(())
}

/// What every wish comes to, in their order.
///
/// # Errors
/// [`FlowError::Invalid`] for a name or range that is none; the store fails.
pub(crate) async fn resolve_all(
    store: &Store,
    trust: &Trust,
    marks: Option<&dyn Marks>,
    tenant: &Name,
    wishes: &[ResolveWish],
) -> Result<Vec<Resolved>, FlowError> {
    let stock = Stock::of(store, trust, marks, tenant).await?;
    let mut resolved = Vec::with_capacity(wishes.len());
    let mut faults = Vec::new();
    for wished in wishes {
        match wish(wished) {
            Ok(wish) => resolved.push(one(&stock, wished, &wish)),
            Err(reason) => faults.push(Fault {
                path: wished.user.clone(),
                reason,
            }),
        }
    }
    if faults.is_empty() {
        Ok(resolved)
    } else {
        Err(FlowError::Invalid(faults))
    }
}

fn wish(wished: &ResolveWish) -> Result<Wish, String> {
    let range = PluginRef {
        version: wished.version.clone(),
        ..PluginRef::default()
    };
    Ok(Wish {
        name: wished
            .name
            .parse()
            .map_err(|error| format!("`{}`: {error}", wished.name))?,
        range: range.range()?,
        policy: policy(wished.upgrade),
        approved: wished.approved.clone(),
    })
}

fn one(stock: &Stock, wished: &ResolveWish, wish: &Wish) -> Resolved {
    let current = stock.current(&wished.user, &wish.name);
    let known = stock.known(&wish.name, current);
    let resolution = resolve(wish, current, &known, &contract::VERSIONS);
    Resolved {
        user: wished.user.clone(),
        name: wish.name.to_string(),
        chosen: resolution.chosen.map(|choice| ChosenRelease {
            version: choice.version.to_string(),
            component: choice.component,
            manifest: choice.manifest,
            notes: choice.notes.iter().map(note).collect(),
        }),
        current: current.map(|current| current.component.clone()),
        passed_over: resolution
            .passed_over
            .into_iter()
            .map(|passed| PassedRelease {
                version: passed.version.to_string(),
                component: passed.component,
                why: passed.why.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}

fn note(note: &Note) -> String {
    match note {
        Note::Yanked { reason } => format!("yanked: {reason}"),
        Note::Deprecated { deprecation } => {
            let by = deprecation
                .deadline
                .map_or_else(String::new, |deadline| format!(" (until {deadline})"));
            format!("deprecated{by}: {}", deprecation.message)
        }
    }
}

/// Every use that is behind, or whose release should not be used any more.
///
/// # Errors
/// The store fails.
pub(crate) async fn outdated_uses(
    store: &Store,
    trust: &Trust,
    marks: Option<&dyn Marks>,
    tenant: &Name,
) -> Result<Vec<OutdatedUse>, FlowError> {
    let stock = Stock::of(store, trust, marks, tenant).await?;
    let found = stock.each(|used, known| outdated(std::slice::from_ref(used), known, &contract::VERSIONS));
    let text = |version: Option<Version>| version.map(|version| version.to_string());
    let found = found.into_iter().map(|use_| OutdatedUse {
        user: use_.user,
        name: use_.name.to_string(),
        from: use_.from.to_string(),
        automatic: text(use_.automatic),
        newest: text(use_.newest),
        step: use_.step.map(|step| step.to_string()),
        why_not: use_.why_not,
        wrong: use_.wrong,
    });
    Ok(found.collect())
}

/// Every use that stops working on or before a day, the earliest first.
///
/// # Errors
/// The store fails.
pub(crate) async fn uses_at_risk(
    store: &Store,
    trust: &Trust,
    marks: Option<&dyn Marks>,
    tenant: &Name,
    by: Date,
) -> Result<Vec<UseAtRisk>, FlowError> {
    let stock = Stock::of(store, trust, marks, tenant).await?;
    let mut found =
        stock.each(|used, known| at_risk(std::slice::from_ref(used), by, known, &contract::VERSIONS));
    found.sort_by(|a, b| (a.on, &a.user).cmp(&(b.on, &b.user)));
    let found = found.into_iter().map(|risk| {
        let (kind, what, url) = told(&risk.hazard);
        let (move_to, in_the_way) = match risk.move_to {
            MoveTo::Automatic { version } => (Some(version), Vec::new()),
            MoveTo::ByHand { version, why } => (Some(version), why),
            MoveTo::Nowhere => (None, Vec::new()),
        };
        UseAtRisk {
            user: risk.user,
            name: risk.name.to_string(),
            version: risk.version.to_string(),
            on: risk.on.map(|on| on.to_string()),
            kind: kind.to_owned(),
            what,
            url,
            move_to: move_to.map(|version| version.to_string()),
            in_the_way,
        }
    });
    Ok(found.collect())
}

fn told(hazard: &Hazard) -> (&'static str, String, Option<String>) {
    match hazard {
        Hazard::Sunset {
            system,
            api_version,
            url,
        } => (
            "sunset",
            format!("{system} no longer answers {api_version} of its API"),
            url.as_ref().map(ToString::to_string),
        ),
        Hazard::Deprecated { message, guide } => (
            "deprecated",
            message.clone(),
            guide.as_ref().map(ToString::to_string),
        ),
        Hazard::NotListed => ("not-listed", "nothing is known of its systems".to_owned(), None),
    }
}
