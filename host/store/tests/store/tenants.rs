//! What tenants may have in all, and the circuits of their connections.

use stecker_model::{
    TenantLimits,
    api::{Circuit, CircuitState},
};
use stecker_store::{AuditEntry, CircuitChange, StoreError};

use crate::world::{START, World, connection_spec, name, scenarios};

scenarios!(
    limits_are_kept_with_the_tenant_and_reach_every_call,
    a_circuit_is_changed_by_one_at_a_time,
    a_quiet_circuit_leaves_nothing_behind,
);

async fn limits_are_kept_with_the_tenant_and_reach_every_call(world: World) {
    let limits = TenantLimits {
        memory_mib: 64,
        calls: 2,
        ceiling: Some(stecker_model::Grants::default()),
        ..TenantLimits::default()
    };
    let binder = async |tenant: &str| {
        let found = world.store.binder(&name(tenant), &name("shop")).await;
        found.unwrap().map(|binder| binder.limits)
    };
    assert_eq!(binder("acme").await, Some(TenantLimits::default()));
    for (tenant, actor) in [("acme", "ada"), ("acme", "ada again"), ("globex", "ada")] {
        let limited = world
            .store
            .limit_tenant(&name(tenant), &limits, actor, START)
            .await;
        limited.unwrap();
    }
    assert_eq!(binder("acme").await, Some(limits.clone()));
    assert_eq!(binder("globex").await, None, "a tenant without connections");
    let rows = world.store.tenant_rows().await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["acme", "globex"]);
    assert!(rows.iter().all(|row| row.limits.as_ref() == Some(&limits)));
    assert_eq!(world.store.tenant_row(&name("initech")).await.unwrap(), None);
    let audit = world.store.audit_log(&world.tenant, 10).await.unwrap();
    let limited: Vec<_> = audit
        .iter()
        .filter(|entry| entry.action == "tenant.limit")
        .collect();
    assert_eq!(limited.len(), 1, "the same again is no change");
    assert_eq!(limited[0].actor, "ada");
}

fn open() -> Circuit {
    Circuit {
        state: CircuitState::Open,
        since: START,
        until: Some(START + 60_000),
        reason: "it crashed".to_owned(),
        ..Circuit::default()
    }
}

async fn change(world: &World, connection: &str, circuit: Circuit) -> Result<(Circuit, bool), StoreError> {
    let change = CircuitChange {
        audit: Some(AuditEntry {
            at: START,
            actor: "ada".to_owned(),
            action: format!("connection.circuit-{}", circuit.state.as_str()),
            subject: format!("connection/{connection}"),
            detail: serde_json::json!({}),
        }),
        circuit,
    };
    world
        .store
        .change_circuit(&world.tenant, &name(connection), |_, _| Some(change))
        .await
}

async fn a_circuit_is_changed_by_one_at_a_time(world: World) {
    let shop = name("shop");
    change(&world, "shop", open()).await.unwrap();
    let binder = world.store.binder(&world.tenant, &shop).await.unwrap().unwrap();
    assert_eq!(binder.circuit, open());
    // Twenty want to be the one that tries it.
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (world, shop) = (world.clone(), shop.clone());
        nodes.spawn(async move {
            let claim = |circuit: Circuit, generation: i64| {
                assert_eq!(generation, 1);
                (circuit.state == CircuitState::Open).then(|| CircuitChange {
                    circuit: Circuit {
                        state: CircuitState::Probing,
                        ..circuit
                    },
                    audit: None,
                })
            };
            let changed = world.store.change_circuit(&world.tenant, &shop, claim).await;
            let (circuit, mine) = changed.unwrap();
            assert_eq!(circuit.state, CircuitState::Probing);
            mine
        });
    }
    let mut claimed = 0;
    while let Some(mine) = nodes.join_next().await {
        claimed += u32::from(mine.unwrap());
    }
    assert_eq!(claimed, 1);
    // The generation of the connection's specification comes along.
    let mut spec = connection_spec("shop");
    spec.config = serde_json::json!({ "changed": true });
    world
        .store
        .apply(&world.tenant, &[spec], &[], "ada", START)
        .await
        .unwrap();
    let (_, changed) = world
        .store
        .change_circuit(&world.tenant, &shop, |_, generation| {
            assert_eq!(generation, 2);
            None
        })
        .await
        .unwrap();
    assert!(!changed);
    let unknown = change(&world, "nothing", open()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

async fn a_quiet_circuit_leaves_nothing_behind(world: World) {
    let shop = name("shop");
    change(&world, "shop", open()).await.unwrap();
    assert_eq!(
        world.store.circuits(&world.tenant).await.unwrap(),
        [(shop.clone(), open())]
    );
    let elsewhere = world.store.circuit(&name("globex"), &shop).await.unwrap();
    assert_eq!(elsewhere, Circuit::default());
    change(&world, "shop", Circuit::default()).await.unwrap();
    assert_eq!(world.store.circuits(&world.tenant).await.unwrap(), []);
    let quiet = world.store.circuit(&world.tenant, &shop).await.unwrap();
    assert_eq!(quiet, Circuit::default());
    let audit = world.store.audit_log(&world.tenant, 2).await.unwrap();
    let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["connection.circuit-closed", "connection.circuit-open"]);
}
