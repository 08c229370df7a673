//! What a tenant trusts: trust roots follow each other, signatures keep the moment at which they were first seen, and a component is kept once.

use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Connection as _, Row as _};
use stecker_model::{Digest, api::ReleaseInfo};
use stecker_store::{MAX_SIGNATURES, NewRelease, RootRow, StoreError};

use crate::world::{START, World, digest, name, scenarios};

scenarios!(
    a_trust_root_follows_the_one_that_is_in_force,
    a_signature_keeps_the_moment_at_which_it_was_first_seen,
    a_component_is_kept_once_and_belongs_to_whoever_added_it,
);

fn root(version: i64, digit: char) -> RootRow {
    RootRow {
        version,
        digest: digest(digit),
        document: format!("{{\"version\":{version}}}"),
        taken_at: START + version,
    }
}

async fn a_trust_root_follows_the_one_that_is_in_force(world: World) {
    let (store, tenant) = (&world.store, &world.tenant);
    assert_eq!(store.trust_root(tenant).await.unwrap(), None);
    let first = root(1, 'a');
    store.put_trust_root(tenant, None, &first, "ada").await.unwrap();
    assert_eq!(store.trust_root(tenant).await.unwrap(), Some(first.clone()));
    let row = store.tenant_row(tenant).await.unwrap().unwrap();
    assert_eq!(
        row.trust,
        Some(first.digest.clone()),
        "bindings are made anew by this"
    );
    // Two at the same time: one of them saw what is no longer in force.
    let second = root(2, 'b');
    for after in [None, Some(&second.digest)] {
        let refused = store.put_trust_root(tenant, after, &second, "eve").await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    store
        .put_trust_root(tenant, Some(&first.digest), &second, "ada")
        .await
        .unwrap();
    assert_eq!(store.trust_root(tenant).await.unwrap(), Some(second));
    assert_eq!(
        store.trust_root(&name("globex")).await.unwrap(),
        None,
        "another tenant's"
    );
    store
        .drop_trust_root(tenant, "the key is lost", "ada", START + 9)
        .await
        .unwrap();
    assert_eq!(store.trust_root(tenant).await.unwrap(), None);
    let again = store.drop_trust_root(tenant, "again", "ada", START + 9).await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })), "{again:?}");
    let audit = store.audit_log(tenant, 10).await.unwrap();
    let actions: Vec<_> = audit
        .iter()
        .map(|entry| entry.action.as_str())
        .filter(|action| action.starts_with("trust."))
        .collect();
    assert_eq!(actions, ["trust.drop", "trust.rotate", "trust.establish"]);
}

async fn a_signature_keeps_the_moment_at_which_it_was_first_seen(world: World) {
    let (store, tenant) = (&world.store, &world.tenant);
    let component = digest('c');
    for (now, bundle, is_new) in [(1, "one", true), (2, "one", false), (3, "two", true)] {
        let put = store
            .put_signature(tenant, &component, bundle, "ada", START + now)
            .await;
        assert_eq!(put.unwrap(), is_new, "{bundle} at {now}");
    }
    let found = store.signatures(tenant, &component).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.bundle.as_str(), row.seen_at - START))
        .collect();
    assert_eq!(found, [("one", 1), ("two", 3)]);
    let elsewhere = store.signatures(&name("globex"), &component).await.unwrap();
    assert_eq!(elsewhere, [], "what one tenant saw, another did not");
    for n in 2..MAX_SIGNATURES {
        let bundle = format!("number {n}");
        store
            .put_signature(tenant, &component, &bundle, "ada", START)
            .await
            .unwrap();
    }
    let one_too_many = store
        .put_signature(tenant, &component, "more", "ada", START)
        .await;
    assert!(
        matches!(one_too_many, Err(StoreError::Conflict { .. })),
        "{one_too_many:?}"
    );
}

async fn a_component_is_kept_once_and_belongs_to_whoever_added_it(world: World) {
    let (store, acme, globex) = (&world.store, &world.tenant, name("globex"));
    let component = b"a component".to_vec();
    let digest: Digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)))
        .parse()
        .unwrap();
    let release = NewRelease {
        info: ReleaseInfo {
            digest: digest.clone(),
            name: "acme/shop".to_owned(),
            version: "1.0.0".to_owned(),
            roles: Vec::new(),
            size: component.len() as u64,
            added_at: START,
        },
        inspection_json: "{}".to_owned(),
        component: component.clone(),
    };
    store.put_release(acme, release.clone(), START).await.unwrap();
    assert_eq!(
        store.release_component(&globex, &digest).await.unwrap(),
        None,
        "that it is here does not make it everybody's"
    );
    store.ensure_tenant(&globex, START).await.unwrap();
    store.put_release(&globex, release, START).await.unwrap();
    for tenant in [acme, &globex] {
        let found = store.release_component(tenant, &digest).await.unwrap();
        assert_eq!(found.as_deref(), Some(&*component));
    }
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM components) AS components, (SELECT COUNT(*) FROM releases) AS releases",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(
        (row.get::<i64, _>("components"), row.get::<i64, _>("releases")),
        (1, 2)
    );
    connection.close().await.unwrap();
}
