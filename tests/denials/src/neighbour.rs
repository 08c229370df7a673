//! Another tenant, who does honest work on the same sandbox while scenarios try to stop it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use stecker_model::{Grants, Instances, Limits, Name, Operation, Period, Record, TenantLimits, Transformed};
use stecker_registry::{Manifest, contract};
use stecker_sandbox::{Binding, NoBlobs, NoCredentials, NoStorage, Sandbox, Session};
use stecker_test_guests::Guest;

use crate::world::observer::Recorder;

const HONEST: &str = r#"(func (export "stecker:plugin/transform@VERSION#apply")
    (param i32 i32 i32 i32) (result i32) (call $dropping (i32.const 1042) (i32.const 5)))"#;
const MANIFEST: &str =
    "name = \"tests/neighbour\"\nversion = \"1.0.0\"\ntitle = \"Neighbour\"\ncontract = \"";

pub(crate) struct Neighbour(Session);

impl Neighbour {
    pub(crate) async fn new(sandbox: &Sandbox) -> Result<Self> {
        let guest = Guest {
            world: "export stecker:plugin/meta@VERSION; export stecker:plugin/transform@VERSION;",
            packages: "",
            code: HONEST,
            prelude: true,
        };
        let manifest = Manifest::from_toml(&format!("{MANIFEST}{}\"", contract::OFFERED))?;
        let release = sandbox
            .load(guest.build(&contract::OFFERED, &manifest)?)
            .await
            .context("the neighbour's plugin")?;
        let of = (name("neighbour")?, name("shop")?);
        Ok(Self(release.bind(nobody(of))?))
    }

    /// One call, as it always is.
    pub(crate) async fn work(&self) -> Result<()> {
        let called = self.0.apply(batch(1)).await;
        let answers = called.result.context("the neighbour's call failed")?;
        ensure!(
            answers == [Transformed::Drop("title".to_owned())],
            "the neighbour got another answer than always: {answers:?}"
        );
        Ok(())
    }
}

/// A tenant's connection without grants, secrets or a store.
pub(crate) fn nobody((tenant, connection): (Name, Name)) -> Binding {
    Binding {
        tenant,
        connection,
        config: "{}".to_owned(),
        grants: Grants::default(),
        limits: Limits {
            deadline: Period::from_secs(20),
            ..Limits::default()
        },
        tenant_limits: TenantLimits::default(),
        instances: Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(Recorder::default()),
        http_bytes_today: 0,
    }
}

pub(crate) fn name(text: &str) -> Result<Name> {
    text.parse()
        .map_err(|error| anyhow::anyhow!("`{text}` as a name: {error}"))
}

/// Records for a transform.
pub(crate) fn batch(records: u32) -> Vec<Record> {
    let record = |i: u32| Record {
        stream: "orders".to_owned(),
        key: i.to_string(),
        operation: Operation::Upsert,
        payload: "{}".to_owned(),
        before: None,
        event_time: None,
        source_version: "1".to_owned(),
        attributes: Vec::new(),
    };
    (0..records).map(record).collect()
}
