//! From the component's exports to the traits: parses the configuration once, converts errors, reports panics.

use crate::bindings::host::stecker::plugin::types;
use crate::bindings::{connection, destination, meta, reconcile, source, transform, webhook};
use crate::{Connection, Destination, Error, Outcome, Plugin, Reconcile, Result, Source, Transform, Webhook};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// What the export macros export in place of the plugin.
#[derive(Debug)]
pub struct Adapter<P>(PhantomData<P>);

struct Opened {
    plugin_type: TypeId,
    config: String,
    plugin: Rc<dyn Any>,
}

thread_local! {
    /// One place is enough: a host gives an instance to one connection. Keyed by the text, which is cheaper to compare than
    /// to parse and cannot be stale.
    static OPENED: RefCell<Option<Opened>> = const { RefCell::new(None) };
}

/// The plugin for this configuration: the one of the call before, if the text is the same.
pub(crate) fn open<P: Plugin>(config: &str) -> Result<Rc<P>> {
    report_panics();
    let known = OPENED.with_borrow(|opened| match opened {
        Some(opened) if opened.plugin_type == TypeId::of::<P>() && opened.config == config => {
            Rc::clone(&opened.plugin).downcast::<P>().ok()
        }
        _ => None,
    });
    if let Some(plugin) = known {
        return Ok(plugin);
    }
    let parsed: P::Config = crate::json::parse(config).map_err(|misfit| {
        Error::config(format!("the configuration {}", misfit.message)).detail("path", misfit.pointer)
    })?;
    let plugin = Rc::new(P::open(parsed)?);
    let entry = Opened {
        plugin_type: TypeId::of::<P>(),
        config: config.to_owned(),
        plugin: Rc::<P>::clone(&plugin),
    };
    OPENED.set(Some(entry));
    Ok(plugin)
}

/// Forgets the opened plugin, so that one test's cannot be seen by the next on the same thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn forget_opened() {
    OPENED.set(None);
}

/// A panic ends the instance with a trap that has no message; the log is the only way to get it out.
#[cfg(target_arch = "wasm32")]
fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            crate::log::write(
                crate::log::Level::Error,
                &format!("the plugin panicked: {info}"),
                &[],
            );
        }));
    });
}

#[cfg(not(target_arch = "wasm32"))]
fn report_panics() {}

type Wire<T> = std::result::Result<T, types::Error>;

impl<P: Plugin> meta::exports::stecker::plugin::meta::Guest for Adapter<P> {
    fn describe() -> String {
        report_panics();
        P::describe().into_json::<P::Config>()
    }
}

impl<P: Connection> connection::exports::stecker::plugin::connection::Guest for Adapter<P> {
    fn check(config: String) -> Wire<Vec<crate::Probe>> {
        Ok(open::<P>(&config)?.check()?)
    }

    fn discover(config: String) -> Wire<Vec<crate::StreamInfo>> {
        Ok(open::<P>(&config)?.discover()?)
    }
}

impl<P: Source> source::exports::stecker::plugin::source::Guest for Adapter<P> {
    fn read(config: String, request: crate::ReadRequest) -> Wire<crate::Page> {
        Ok(open::<P>(&config)?.read(&request)?)
    }

    fn acknowledge(config: String, stream: String, cursor: String) -> Wire<()> {
        Ok(open::<P>(&config)?.acknowledge(&stream, &cursor)?)
    }
}

mod wire {
    pub(super) use crate::bindings::destination::exports::stecker::plugin::destination::Outcome;
}

impl From<Outcome> for wire::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered(receipt) => Self::Delivered(receipt),
            Outcome::Duplicate(receipt) => Self::Duplicate(receipt),
            Outcome::Retry(error) => Self::Retry(error.into()),
            Outcome::Rejected(rejection) => Self::Rejected(rejection),
            Outcome::Unknown(error) => Self::Unknown(error.into()),
        }
    }
}

impl From<wire::Outcome> for Outcome {
    fn from(outcome: wire::Outcome) -> Self {
        match outcome {
            wire::Outcome::Delivered(receipt) => Self::Delivered(receipt),
            wire::Outcome::Duplicate(receipt) => Self::Duplicate(receipt),
            wire::Outcome::Retry(error) => Self::Retry(error.into()),
            wire::Outcome::Rejected(rejection) => Self::Rejected(rejection),
            wire::Outcome::Unknown(error) => Self::Unknown(error.into()),
        }
    }
}

impl<P: Destination> destination::exports::stecker::plugin::destination::Guest for Adapter<P> {
    fn write(config: String, stream: String, batch: Vec<crate::WriteItem>) -> Wire<Vec<wire::Outcome>> {
        let outcomes = open::<P>(&config)?.write(&stream, &batch)?;
        Ok(outcomes.into_iter().map(Into::into).collect())
    }

    fn lookup(config: String, stream: String, items: Vec<crate::LookupItem>) -> Wire<Vec<crate::Finding>> {
        Ok(open::<P>(&config)?.lookup(&stream, &items)?)
    }
}

impl<P: Reconcile> reconcile::exports::stecker::plugin::reconcile::Guest for Adapter<P> {
    fn digest(config: String, question: crate::Question, split: u32) -> Wire<Vec<crate::Bucket>> {
        Ok(open::<P>(&config)?.digest(&question, split)?)
    }

    fn list_keys(
        config: String,
        question: crate::Question,
        after: Option<String>,
        limit: u32,
    ) -> Wire<crate::Listing> {
        Ok(open::<P>(&config)?.list_keys(&question, after.as_deref(), limit)?)
    }
}

impl<P: Webhook> webhook::exports::stecker::plugin::webhook::Guest for Adapter<P> {
    fn receive(config: String, request: crate::RawRequest) -> Wire<crate::Received> {
        Ok(open::<P>(&config)?.receive(&request)?)
    }

    fn subscribe(config: String, url: String, topics: Vec<String>) -> Wire<Vec<crate::Subscription>> {
        Ok(open::<P>(&config)?.subscribe(&url, &topics)?)
    }

    fn unsubscribe(config: String, subscriptions: Vec<crate::Subscription>) -> Wire<()> {
        Ok(open::<P>(&config)?.unsubscribe(&subscriptions)?)
    }
}

impl<P: Transform> transform::exports::stecker::plugin::transform::Guest for Adapter<P> {
    fn apply(config: String, batch: Vec<crate::Record>) -> Wire<Vec<crate::Transformed>> {
        Ok(open::<P>(&config)?.apply(&batch)?)
    }
}

/// Exports a plugin: `meta` and exactly the roles named.
///
/// ```text
/// stecker_sdk::export_plugin!(Shop: connection, source, webhook);
/// ```
///
/// Roles: `connection`, `source`, `destination`, `reconcile`, `webhook`, `transform`. On other targets than WebAssembly it only checks
/// that the traits are implemented, so that several plugins can be linked into one test.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => { $crate::export_plugin!($plugin:); };
    ($plugin:ty : $($role:ident),* $(,)?) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            type SteckerPlugin = $crate::export::Adapter<$plugin>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::meta::export_meta!(SteckerPlugin with_types_in $crate::bindings::meta);
            const fn is_plugin<P: $crate::Plugin>() {}
            is_plugin::<$plugin>();
            $($crate::__export_role!($role SteckerPlugin $plugin);)*
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (connection $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Connection, export_connection, connection);
    };
    (source $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Source, export_source, source);
    };
    (destination $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Destination, export_destination, destination);
    };
    (reconcile $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Reconcile, export_reconcile, reconcile);
    };
    (webhook $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Webhook, export_webhook, webhook);
    };
    (transform $alias:ident $plugin:ty) => {
        $crate::__export_role!(@ $alias $plugin, Transform, export_transform, transform);
    };
    (@ $alias:ident $plugin:ty, $role:ident, $export:ident, $module:ident) => {
        const _: () = {
            const fn has_role<P: $crate::$role>() {}
            has_role::<$plugin>();
        };
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::$module::$export!($alias with_types_in $crate::bindings::$module);
    };
    ($role:ident $alias:ident $plugin:ty) => {
        compile_error!(concat!(
            "there is no role `", stringify!($role),
            "`; the roles are: connection, source, destination, reconcile, webhook, transform",
        ));
    };
}
