//! Contract 1.1: what is linked for it, which roles a release has, and how they are called. It is 1.0 and blobs.

mod convert;
mod imports;

use std::collections::BTreeSet;

use stecker_model::{
    Finding, LookupItem, Outcome, Page, PluginError, Probe, Question, RawRequest, ReadRequest, Received,
    Record, Transformed, WriteItem,
};
use stecker_registry::Role;
use wasmtime::{
    Store,
    component::{HasSelf, InstancePre, Linker},
};

use crate::{
    call::CallState,
    check::{RawBucket, RawListing},
    instance::Live,
    session::Subscription,
};
use bindings::exports::stecker::plugin as exports;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/1.1.0",
        world: "all-roles",
        imports: {
            "stecker:plugin/http": async | trappable,
            "stecker:plugin/storage": async | trappable,
            "stecker:plugin/crypto.hmac-sign": async | trappable,
            "stecker:plugin/crypto.hmac-verify": async | trappable,
            "stecker:plugin/blobs": async | trappable,
            "stecker:plugin/http-blobs": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::AllRoles::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// A release of this contract: ready to instantiate, with its functions looked up.
pub(crate) struct Guest {
    pre: InstancePre<CallState>,
    meta: exports::meta::GuestIndices,
    connection: Option<exports::connection::GuestIndices>,
    source: Option<exports::source::GuestIndices>,
    destination: Option<exports::destination::GuestIndices>,
    reconcile: Option<exports::reconcile::GuestIndices>,
    webhook: Option<exports::webhook::GuestIndices>,
    transform: Option<exports::transform::GuestIndices>,
}

/// The functions of one instance, role by role: a look-up compares their types with the contract's, which a warm instance needs once.
#[derive(Default)]
pub(crate) struct Loaded {
    connection: Option<exports::connection::Guest>,
    source: Option<exports::source::Guest>,
    destination: Option<exports::destination::Guest>,
    reconcile: Option<exports::reconcile::Guest>,
    webhook: Option<exports::webhook::Guest>,
    transform: Option<exports::transform::Guest>,
}

fn once<G: Clone>(known: &mut Option<G>, load: impl FnOnce() -> wasmtime::Result<G>) -> wasmtime::Result<G> {
    match known {
        Some(guest) => Ok(guest.clone()),
        None => Ok(known.insert(load()?).clone()),
    }
}

/// Checked by the session before it calls; here for the case that it did not.
fn role<T>(indices: Option<&T>, role: Role) -> wasmtime::Result<&T> {
    indices.ok_or_else(|| wasmtime::format_err!("the plugin does not export the role `{role}`"))
}

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

impl Guest {
    pub(crate) fn new(pre: InstancePre<CallState>, roles: &BTreeSet<Role>) -> wasmtime::Result<Self> {
        fn probe<T>(
            roles: &BTreeSet<Role>,
            role: Role,
            new: impl FnOnce() -> wasmtime::Result<T>,
        ) -> wasmtime::Result<Option<T>> {
            roles.contains(&role).then(new).transpose()
        }
        Ok(Self {
            meta: exports::meta::GuestIndices::new(&pre)?,
            connection: probe(roles, Role::Connection, || {
                exports::connection::GuestIndices::new(&pre)
            })?,
            source: probe(roles, Role::Source, || exports::source::GuestIndices::new(&pre))?,
            destination: probe(roles, Role::Destination, || {
                exports::destination::GuestIndices::new(&pre)
            })?,
            reconcile: probe(roles, Role::Reconcile, || {
                exports::reconcile::GuestIndices::new(&pre)
            })?,
            webhook: probe(roles, Role::Webhook, || exports::webhook::GuestIndices::new(&pre))?,
            transform: probe(roles, Role::Transform, || {
                exports::transform::GuestIndices::new(&pre)
            })?,
            pre,
        })
    }

    /// A new instance, in a store of its own.
    pub(crate) async fn instantiate(&self, mut store: Store<CallState>) -> wasmtime::Result<Live> {
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok(Live {
            store,
            instance,
            loaded: Loaded::default(),
        })
    }

    fn connection(&self, live: &mut Live) -> wasmtime::Result<exports::connection::Guest> {
        once(&mut live.loaded.connection, || {
            role(self.connection.as_ref(), Role::Connection)?.load(&mut live.store, &live.instance)
        })
    }

    fn source(&self, live: &mut Live) -> wasmtime::Result<exports::source::Guest> {
        once(&mut live.loaded.source, || {
            role(self.source.as_ref(), Role::Source)?.load(&mut live.store, &live.instance)
        })
    }

    fn destination(&self, live: &mut Live) -> wasmtime::Result<exports::destination::Guest> {
        once(&mut live.loaded.destination, || {
            role(self.destination.as_ref(), Role::Destination)?.load(&mut live.store, &live.instance)
        })
    }

    fn reconcile(&self, live: &mut Live) -> wasmtime::Result<exports::reconcile::Guest> {
        once(&mut live.loaded.reconcile, || {
            role(self.reconcile.as_ref(), Role::Reconcile)?.load(&mut live.store, &live.instance)
        })
    }

    fn webhook(&self, live: &mut Live) -> wasmtime::Result<exports::webhook::Guest> {
        once(&mut live.loaded.webhook, || {
            role(self.webhook.as_ref(), Role::Webhook)?.load(&mut live.store, &live.instance)
        })
    }

    fn transform(&self, live: &mut Live) -> wasmtime::Result<exports::transform::Guest> {
        once(&mut live.loaded.transform, || {
            role(self.transform.as_ref(), Role::Transform)?.load(&mut live.store, &live.instance)
        })
    }

    pub(crate) async fn describe(&self, live: &mut Live) -> Answer<String> {
        let guest = self.meta.load(&mut live.store, &live.instance)?;
        guest.call_describe(&mut live.store).await.map(Ok)
    }

    pub(crate) async fn check(&self, live: &mut Live, config: &String) -> Answer<Vec<Probe>> {
        let guest = self.connection(live)?;
        let answer = guest.call_check(&mut live.store, config).await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn discover(
        &self,
        live: &mut Live,
        config: &String,
    ) -> Answer<Vec<crate::check::RawStreamInfo>> {
        let guest = self.connection(live)?;
        let answer = guest.call_discover(&mut live.store, config).await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn read(&self, live: &mut Live, config: &String, request: ReadRequest) -> Answer<Page> {
        let guest = self.source(live)?;
        let answer = guest.call_read(&mut live.store, config, &request.into()).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    pub(crate) async fn acknowledge(
        &self,
        live: &mut Live,
        config: &String,
        stream: &str,
        cursor: &String,
    ) -> Answer<()> {
        let guest = self.source(live)?;
        let answer = guest
            .call_acknowledge(&mut live.store, config, stream, cursor)
            .await?;
        Ok(answer.map_err(Into::into))
    }

    pub(crate) async fn write(
        &self,
        live: &mut Live,
        config: &String,
        stream: &str,
        batch: Vec<WriteItem>,
    ) -> Answer<Vec<Outcome>> {
        let guest = self.destination(live)?;
        let batch: Vec<_> = convert::all(batch);
        let answer = guest.call_write(&mut live.store, config, stream, &batch).await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn lookup(
        &self,
        live: &mut Live,
        config: &String,
        stream: &str,
        items: Vec<LookupItem>,
    ) -> Answer<Vec<Finding>> {
        let guest = self.destination(live)?;
        let items: Vec<_> = convert::all(items);
        let answer = guest.call_lookup(&mut live.store, config, stream, &items).await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn digest(
        &self,
        live: &mut Live,
        config: &String,
        question: Question,
        split: u32,
    ) -> Answer<Vec<RawBucket>> {
        let guest = self.reconcile(live)?;
        let answer = guest
            .call_digest(&mut live.store, config, &question.into(), split)
            .await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn list_keys(
        &self,
        live: &mut Live,
        config: &String,
        question: Question,
        after: Option<String>,
        limit: u32,
    ) -> Answer<RawListing> {
        let guest = self.reconcile(live)?;
        let answer = guest
            .call_list_keys(&mut live.store, config, &question.into(), after.as_ref(), limit)
            .await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    pub(crate) async fn receive(
        &self,
        live: &mut Live,
        config: &String,
        request: RawRequest,
    ) -> Answer<Received> {
        let guest = self.webhook(live)?;
        let answer = guest
            .call_receive(&mut live.store, config, &request.into())
            .await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    pub(crate) async fn subscribe(
        &self,
        live: &mut Live,
        config: &String,
        url: &str,
        topics: &[String],
    ) -> Answer<Vec<Subscription>> {
        let guest = self.webhook(live)?;
        let answer = guest.call_subscribe(&mut live.store, config, url, topics).await?;
        Ok(answer.map(convert::all).map_err(Into::into))
    }

    pub(crate) async fn unsubscribe(
        &self,
        live: &mut Live,
        config: &String,
        subscriptions: Vec<Subscription>,
    ) -> Answer<()> {
        let guest = self.webhook(live)?;
        let subscriptions: Vec<_> = convert::all(subscriptions);
        let answer = guest
            .call_unsubscribe(&mut live.store, config, &subscriptions)
            .await?;
        Ok(answer.map_err(Into::into))
    }

    /// With the batch, which the answers are compared with.
    pub(crate) async fn apply(
        &self,
        live: &mut Live,
        config: &String,
        batch: Vec<Record>,
    ) -> Answer<(Vec<Transformed>, Vec<Record>)> {
        let guest = self.transform(live)?;
        let batch: Vec<_> = convert::all(batch);
        let answer = guest.call_apply(&mut live.store, config, &batch).await?;
        Ok(answer
            .map(|answers| (convert::all(answers), convert::all(batch)))
            .map_err(Into::into))
    }
}
