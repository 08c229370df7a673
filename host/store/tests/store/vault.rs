//! The vault: what goes in comes out at its place, with its key, and nowhere else.

use std::sync::{Arc, Mutex};

use sqlx::{AnyConnection, Connection, Row};
use stecker_model::Name;
use stecker_store::{
    MasterKey, MasterKeySource, MasterKeys, Place, Store, StoreOptions, Vault, VaultError, VaultSecret,
};

use crate::world::{START, World, name, scenarios};

scenarios!(
    a_secret_comes_out_as_it_went_in_and_its_use_is_known,
    nothing_readable_is_in_the_database,
    what_was_moved_or_altered_does_not_open,
    the_wrong_key_opens_nothing_and_nothing_new_is_made_over_old_secrets,
    of_two_who_store_tokens_over_the_same_version_one_wins,
    data_keys_are_renewed_while_others_read_and_write,
    the_master_key_is_renewed_over_all_tenants,
);

/// Keys in memory, as a file would hold them: a line each, the current one first.
#[derive(Default)]
pub(crate) struct Keys(Mutex<Vec<String>>);

impl Keys {
    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl MasterKeySource for Keys {
    fn load(&self) -> Result<Option<MasterKeys>, VaultError> {
        Ok(MasterKeys::parse(&self.text()).ok())
    }

    fn create(&self) -> Result<(), VaultError> {
        self.add()
    }

    fn add(&self) -> Result<(), VaultError> {
        let key = MasterKey::generate()?.to_text().to_string();
        self.0.lock().unwrap().insert(0, key);
        Ok(())
    }

    fn forget_old(&self) -> Result<(), VaultError> {
        self.0.lock().unwrap().truncate(1);
        Ok(())
    }
}

/// Another host on the same database, with these keys.
pub(crate) async fn host(world: &World, keys: &Arc<Keys>) -> Vault {
    let store = Store::open(&world.url, StoreOptions::default()).await.unwrap();
    store.with_master_key(Arc::clone(keys) as _).vault().unwrap()
}

fn random() -> String {
    MasterKey::generate().unwrap().to_text().to_string()
}

fn secret(value: &str) -> VaultSecret {
    VaultSecret {
        username: Some("otto".to_owned()),
        value: value.to_owned().into(),
    }
}

struct At {
    tenant: Name,
    connection: Name,
    credential: Name,
}

impl At {
    fn new(world: &World, connection: &str, credential: &str) -> Self {
        Self {
            tenant: world.tenant.clone(),
            connection: name(connection),
            credential: name(credential),
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            tenant: &self.tenant,
            connection: &self.connection,
            credential: &self.credential,
        }
    }
}

async fn read(vault: &Vault, at: &At) -> Option<String> {
    let found = vault.secret(at.place(), START).await.unwrap();
    found.map(|secret| secret.value.to_string())
}

async fn a_secret_comes_out_as_it_went_in_and_its_use_is_known(world: World) {
    let vault = host(&world, &Arc::default()).await;
    let at = At::new(&world, "shop", "api");
    assert_eq!(read(&vault, &at).await, None);
    for length in [7, 16_385] {
        let refused = vault
            .set(at.place(), &secret(&"x".repeat(length)), "ada", START)
            .await;
        assert!(matches!(refused, Err(VaultError::Length { len }) if len == length));
    }
    let value = random();
    vault
        .set(at.place(), &secret(&value), "ada", START)
        .await
        .unwrap();
    let found = vault.secret(at.place(), START + 5).await.unwrap().unwrap();
    assert_eq!(
        (found.username.as_deref(), found.value.as_str()),
        (Some("otto"), value.as_str())
    );
    assert!(!format!("{found:?}").contains(&value));
    // Other tenants and connections have rooms of their own.
    assert_eq!(read(&vault, &At::new(&world, "erp", "api")).await, None);
    let globex = world.for_tenant("globex").await;
    assert_eq!(read(&vault, &At::new(&globex, "shop", "api")).await, None);

    let used = async || vault.list(&world.tenant).await.unwrap()[0].used_at;
    assert_eq!(used().await, Some(START + 5));
    vault.secret(at.place(), START + 59_000).await.unwrap();
    assert_eq!(used().await, Some(START + 5), "to the minute");
    vault.secret(at.place(), START + 61_000).await.unwrap();
    assert_eq!(used().await, Some(START + 61_000));

    assert!(vault.remove(at.place(), "ada", START).await.unwrap());
    assert!(!vault.remove(at.place(), "ada", START).await.unwrap());
    assert_eq!(read(&vault, &at).await, None);
    let log = world.store.audit_log(&world.tenant, 10).await.unwrap();
    let told: Vec<_> = log
        .iter()
        .map(|entry| (&*entry.action, &*entry.subject))
        .collect();
    assert!(told.contains(&("secret.set", "secret/shop/api")), "{told:?}");
    assert!(told.contains(&("secret.remove", "secret/shop/api")), "{told:?}");
    assert!(log.iter().all(|entry| !format!("{entry:?}").contains(&value)));
}

async fn nothing_readable_is_in_the_database(world: World) {
    let keys = Arc::new(Keys::default());
    let vault = host(&world, &keys).await;
    let (at, value) = (At::new(&world, "shop", "api"), random());
    vault
        .set(at.place(), &secret(&value), "ada", START)
        .await
        .unwrap();
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    let row = sqlx::query("SELECT sealed, wrapped FROM vault, vault_keys")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let master = keys.text();
    for column in ["sealed", "wrapped"] {
        let bytes: Vec<u8> = row.get(column);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(&value) && !text.contains("otto") && !text.contains(&master));
    }
    connection.close().await.unwrap();
}

async fn what_was_moved_or_altered_does_not_open(world: World) {
    let vault = host(&world, &Arc::default()).await;
    let (shop, erp) = (At::new(&world, "shop", "api"), At::new(&world, "erp", "api"));
    for at in [&shop, &erp] {
        vault
            .set(at.place(), &secret(&random()), "ada", START)
            .await
            .unwrap();
    }
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    sqlx::query(
        "UPDATE vault SET sealed = (SELECT sealed FROM vault WHERE connection = 'shop') WHERE connection = 'erp'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let refused = vault.secret(erp.place(), START).await.unwrap_err();
    assert!(matches!(refused, VaultError::Damaged { .. }), "{refused}");
    assert!(read(&vault, &shop).await.is_some());
}

async fn the_wrong_key_opens_nothing_and_nothing_new_is_made_over_old_secrets(world: World) {
    let (right, wrong, none) = (
        Arc::new(Keys::default()),
        Arc::new(Keys::default()),
        Arc::new(Keys::default()),
    );
    wrong.add().unwrap();
    let (at, value) = (At::new(&world, "shop", "api"), random());
    host(&world, &right)
        .await
        .set(at.place(), &secret(&value), "ada", START)
        .await
        .unwrap();
    let globex = world.for_tenant("globex").await;
    let elsewhere = At::new(&globex, "shop", "api");
    for (keys, missing) in [(&wrong, false), (&none, true)] {
        let vault = host(&world, keys).await;
        let read = vault.secret(at.place(), START).await.unwrap_err();
        let written = vault
            .set(at.place(), &secret(&value), "eve", START)
            .await
            .unwrap_err();
        // Not for a tenant without secrets either: two keys in one database would be one too many to lose.
        let new = vault
            .set(elsewhere.place(), &secret(&value), "eve", START)
            .await
            .unwrap_err();
        for error in [read, written, new] {
            let as_expected = match error {
                VaultError::NoMasterKey { .. } => missing,
                VaultError::WrongMasterKey { .. } => !missing,
                _ => false,
            };
            assert!(as_expected, "{error}");
        }
        // What there is can still be seen, by name.
        assert_eq!(vault.list(&world.tenant).await.unwrap().len(), 1);
    }
    assert_eq!(none.text(), "", "no key was made");
    assert_eq!(read(&host(&world, &right).await, &at).await, Some(value));
}

async fn of_two_who_store_tokens_over_the_same_version_one_wins(world: World) {
    let vault = host(&world, &Arc::default()).await;
    let at = At::new(&world, "shop", "api");
    let put = async |bytes: &[u8], version| {
        vault
            .put_tokens(at.place(), bytes, Some(START), version, None, START)
            .await
            .unwrap()
    };
    assert_eq!(put(b"one", 0).await, Some(1));
    assert_eq!(put(b"late", 0).await, None);
    let (left, right) = tokio::join!(put(b"left", 1), put(b"right", 1));
    assert_eq!([left, right].iter().flatten().collect::<Vec<_>>(), [&2]);
    let kept = vault.tokens(at.place()).await.unwrap().unwrap();
    assert_eq!(kept.version, 2);
    assert_eq!(
        kept.bytes.as_slice(),
        if left.is_some() {
            b"left".as_slice()
        } else {
            b"right"
        }
    );
    let entry = &vault.list(&world.tenant).await.unwrap()[0];
    assert_eq!((entry.set_at, entry.expires_at), (None, Some(START)));
}

async fn data_keys_are_renewed_while_others_read_and_write(world: World) {
    let keys = Arc::new(Keys::default());
    let (vault, other) = (host(&world, &keys).await, host(&world, &keys).await);
    let places: Vec<At> = (0..130)
        .map(|n| At::new(&world, "shop", &format!("c{n}")))
        .collect();
    for at in &places {
        vault
            .set(
                at.place(),
                &secret(at.credential.as_str().repeat(4).as_str()),
                "ada",
                START,
            )
            .await
            .unwrap();
    }
    let quiet: &mut (dyn FnMut(u64) + Send) = &mut |_| {};
    let writes = async {
        for (version, at) in places.iter().enumerate().take(40) {
            other
                .put_tokens(at.place(), &version.to_be_bytes(), None, 0, None, START)
                .await
                .unwrap();
            assert!(read(&other, at).await.is_some());
        }
    };
    let (rotated, ()) = tokio::join!(vault.rotate(&world.tenant, "ada", START, quiet), writes);
    let rotated = rotated.unwrap();
    assert_eq!(rotated.key_version, 2);
    assert!((130..=170).contains(&rotated.items), "{rotated:?}");
    let again = vault
        .rotate(&world.tenant, "ada", START, &mut |_| {})
        .await
        .unwrap();
    assert_eq!((again.key_version, again.items), (3, 170));
    for vault in [&vault, &other, &host(&world, &keys).await] {
        for at in &places {
            assert_eq!(read(vault, at).await, Some(at.credential.as_str().repeat(4)));
        }
        assert!(vault.tokens(places[7].place()).await.unwrap().is_some());
    }
    let mut connection = AnyConnection::connect(&world.url).await.unwrap();
    let left = sqlx::query("SELECT version FROM vault_keys")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(left.len(), 1, "old keys are gone");
}

async fn the_master_key_is_renewed_over_all_tenants(world: World) {
    let keys = Arc::new(Keys::default());
    let vault = host(&world, &keys).await;
    let globex = world.for_tenant("globex").await;
    let places = [At::new(&world, "shop", "api"), At::new(&globex, "shop", "api")];
    for at in &places {
        vault
            .set(at.place(), &secret("a-long-secret"), "ada", START)
            .await
            .unwrap();
    }
    let before = keys.text();
    // Killed after the new key was made: both are there, and everything can be read.
    keys.add().unwrap();
    let restarted = host(&world, &keys).await;
    assert_eq!(
        read(&restarted, &places[1]).await.as_deref(),
        Some("a-long-secret")
    );
    assert_eq!(restarted.rewrap().await.unwrap(), 2);
    assert_eq!(restarted.rewrap().await.unwrap(), 0);
    assert_eq!(restarted.renew_master().await.unwrap(), 2);
    assert_eq!(keys.text().lines().count(), 1);
    assert!(!keys.text().contains(&before), "the old key is gone");
    let only = Arc::new(Keys(Mutex::new(vec![keys.text()])));
    for vault in [&vault, &host(&world, &only).await] {
        for at in &places {
            assert_eq!(read(vault, at).await.as_deref(), Some("a-long-secret"));
        }
    }
}
