//! What the WIT says, as Rust: generated at build time from `wit/`, which stays the only source.
//!
//! Nearly everything is of 1.0.0, so that plugins run on every host. What came later is a world of its own behind a feature, with the types of 1.0.0
//! (which never change). The feature is needed because a component that has such a world linked in names all of its imports in the later version.
//!
//! The host's imports and the shared types are generated once; each role is a world of its own, so that a plugin's component
//! exports just the roles that it asked for. The export macros carry the world with them, which is why a plugin crate needs
//! neither the WIT files nor `wit-bindgen`. Nothing in here is for authors: they use the names that the crate re-exports.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    single_use_lifetimes,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated; its documentation is that of the WIT"
)]

pub mod host {
    //! The world `host-imports`: types and imports.
    wit_bindgen::generate!({
        path: "../../wit/1.0.0",
        world: "stecker:plugin/host-imports",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

#[cfg(feature = "blobs")]
pub mod blobs {
    //! What contract 1.1.0 has beyond 1.0.0.
    wit_bindgen::generate!({
        path: "../../wit/1.1.0",
        inline: "
            package stecker:sdk-blobs;
            world blobs {
                import stecker:plugin/blobs@1.1.0;
                import stecker:plugin/http-blobs@1.1.0;
            }
        ",
        world: "stecker:sdk-blobs/blobs",
        with: {
            "stecker:plugin/types@1.1.0": crate::bindings::host::stecker::plugin::types,
            "stecker:plugin/http@1.1.0": crate::bindings::host::stecker::plugin::http,
        },
        generate_all,
        additional_derives: [PartialEq],
    });
}

macro_rules! role_world {
    ($module:ident, $world:literal, $export:literal) => {
        pub mod $module {
            //! The world of one role.
            wit_bindgen::generate!({
                path: "../../wit/1.0.0",
                inline: "
                    package stecker:sdk-roles;
                    world role-meta { export stecker:plugin/meta@1.0.0; }
                    world role-connection { export stecker:plugin/connection@1.0.0; }
                    world role-source { export stecker:plugin/source@1.0.0; }
                    world role-destination { export stecker:plugin/destination@1.0.0; }
                    world role-reconcile { export stecker:plugin/reconcile@1.0.0; }
                    world role-webhook { export stecker:plugin/webhook@1.0.0; }
                    world role-transform { export stecker:plugin/transform@1.0.0; }
                ",
                world: $world,
                with: { "stecker:plugin/types@1.0.0": crate::bindings::host::stecker::plugin::types },
                generate_unused_types: true,
                additional_derives: [PartialEq],
                pub_export_macro: true,
                export_macro_name: $export,
            });
        }
    };
}

role_world!(meta, "stecker:sdk-roles/role-meta", "export_meta");
role_world!(
    connection,
    "stecker:sdk-roles/role-connection",
    "export_connection"
);
role_world!(source, "stecker:sdk-roles/role-source", "export_source");
role_world!(
    destination,
    "stecker:sdk-roles/role-destination",
    "export_destination"
);
role_world!(reconcile, "stecker:sdk-roles/role-reconcile", "export_reconcile");
role_world!(webhook, "stecker:sdk-roles/role-webhook", "export_webhook");
role_world!(transform, "stecker:sdk-roles/role-transform", "export_transform");
