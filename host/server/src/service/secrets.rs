//! Secrets: into the vault, out of it, and never shown.

use std::collections::BTreeMap;

use serde_json::Value;
use stecker_flow::now_ms;
use stecker_model::{
    Authorization, Authorize, Authorized, ConnectionSpec, Name, RotateKeys, RotatedKeys, SecretInfo,
    SecretPart, SecretRef, SetSecret, api::Problem,
};
use stecker_registry::{
    Inspection,
    manifest::{Credential, CredentialKind},
};
use stecker_store::{AuditEntry, Place, Vault, VaultEntry, VaultSecret};

use super::{Service, failed};
use crate::problem;

/// How often tokens are tried to be replaced while others do the same.
const TRIES: usize = 3;

fn vault(service: &Service) -> Result<Vault, Problem> {
    service.store.vault().map_err(|error| problem::vault(&error))
}

/// A connection, and the credentials that its plugin names.
struct Connection {
    spec: ConnectionSpec,
    credentials: BTreeMap<Name, Credential>,
}

async fn connection(service: &Service, name: &Name) -> Result<Option<Connection>, Problem> {
    let stored = service.store.connection(&service.tenant, name).await;
    let Some(stored) = stored.map_err(failed)? else {
        return Ok(None);
    };
    let mut credentials = BTreeMap::new();
    if let Some(digest) = &stored.spec.plugin.digest {
        let release = service
            .store
            .release(&service.tenant, digest)
            .await
            .map_err(failed)?;
        if let Some(release) = release {
            let inspection: Inspection = serde_json::from_str(&release.inspection_json).map_err(|error| {
                problem::internal(format!(
                    "the inspection of the release {digest} cannot be read: {error}"
                ))
            })?;
            credentials = inspection.manifest.credentials;
        }
    }
    Ok(Some(Connection {
        spec: stored.spec,
        credentials,
    }))
}

fn info(entry: VaultEntry, connection: Option<&Connection>) -> SecretInfo {
    let credential = connection.and_then(|connection| connection.credentials.get(&entry.credential));
    SecretInfo {
        kind: credential.map(|credential| credential.kind.as_str().to_owned()),
        connection: entry.connection,
        credential: entry.credential,
        set_at: entry.set_at,
        used_at: entry.used_at,
        tokens_at: entry.tokens_at,
        expires_at: entry.expires_at,
    }
}

pub(super) async fn list(service: &Service) -> Result<Vec<SecretInfo>, Problem> {
    let entries = vault(service)?.list(&service.tenant).await;
    let entries = entries.map_err(|error| problem::vault(&error))?;
    let mut connections: BTreeMap<Name, Option<Connection>> = BTreeMap::new();
    let mut infos = Vec::with_capacity(entries.len());
    for entry in entries {
        if !connections.contains_key(&entry.connection) {
            let found = connection(service, &entry.connection).await?;
            connections.insert(entry.connection.clone(), found);
        }
        let known = connections.get(&entry.connection).and_then(Option::as_ref);
        infos.push(info(entry, known));
    }
    Ok(infos)
}

async fn one(service: &Service, connection: &Name, credential: &Name) -> Result<SecretInfo, Problem> {
    let all = list(service).await?;
    all.into_iter()
        .find(|info| info.connection == *connection && info.credential == *credential)
        .ok_or_else(|| problem::not_found("secret", format!("{connection}/{credential}")))
}

/// The slips that would only show at the next call of the plugin. A connection that is not there yet is none: its secrets may come first.
fn check(connection: &Connection, credential: &Name, secret: &SetSecret) -> Result<(), Problem> {
    let name = &connection.spec.name;
    let Some(known) = connection.credentials.get(credential) else {
        let names: Vec<&str> = connection.credentials.keys().map(Name::as_str).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        let reason = format!("the plugin of connection `{name}` names no such credential; it has: {names}");
        return Err(problem::invalid_field("credential", reason));
    };
    let spec = connection.spec.credentials.get(credential);
    if secret.part == SecretPart::RefreshToken {
        if known.kind != CredentialKind::Oauth2RefreshToken {
            let reason = format!(
                "only the kind oauth2-refresh-token takes a refresh token; `{credential}` is of the kind {}",
                known.kind.as_str()
            );
            return Err(problem::invalid_field("part", reason));
        }
        return Ok(());
    }
    if spec.is_some_and(|spec| spec.secret != SecretRef::Vault) {
        return Err(problem::conflict(
            format!(
                "the setup has connection `{name}` take the secret `{credential}` from elsewhere, not from the vault"
            ),
            format!(
                "write `secret = \"vault\"` under [connection.credentials.{credential}], apply the setup, and set it again"
            ),
        ));
    }
    let has_username = secret.username.is_some() || spec.is_some_and(|spec| spec.username.is_some());
    if known.kind.needs_username() && !has_username {
        return Err(problem::invalid_field(
            "username",
            "is missing: this kind of credential needs the user name, client id or key id that goes with the secret (--username)",
        ));
    }
    Ok(())
}

pub(super) async fn set(
    service: &Service,
    name: &Name,
    credential: &Name,
    secret: &SetSecret,
) -> Result<SecretInfo, Problem> {
    if let Some(connection) = connection(service, name).await? {
        check(&connection, credential, secret)?;
    }
    let now = now_ms();
    service
        .store
        .ensure_tenant(&service.tenant, now)
        .await
        .map_err(failed)?;
    let vault = vault(service)?;
    let place = Place {
        tenant: &service.tenant,
        connection: name,
        credential,
    };
    match secret.part {
        SecretPart::Secret => {
            let secret = VaultSecret {
                username: secret.username.clone(),
                value: secret.value.expose().to_owned().into(),
            };
            vault
                .set(place, &secret, &service.actor, now)
                .await
                .map_err(|error| problem::vault(&error))?;
        }
        SecretPart::RefreshToken => set_refresh_token(service, &vault, place, secret, now).await?,
    }
    service.engine.wake_tenant(&service.tenant);
    one(service, name, credential).await
}

async fn set_refresh_token(
    service: &Service,
    vault: &Vault,
    place: Place<'_>,
    secret: &SetSecret,
    now: i64,
) -> Result<(), Problem> {
    let failed = |error| problem::vault(&error);
    let bytes = stecker_sandbox::refresh_token_only(secret.value.expose());
    let told = Some((service.actor.as_str(), "secret.set-refresh-token"));
    for _ in 0..TRIES {
        let version = vault
            .tokens(place)
            .await
            .map_err(failed)?
            .map_or(0, |tokens| tokens.version);
        let stored = vault.put_tokens(place, &bytes, None, version, told, now).await;
        if stored.map_err(failed)?.is_some() {
            return Ok(());
        }
    }
    Err(problem::conflict(
        "the tokens of this credential are being replaced all the time",
        "try again in a moment",
    ))
}

pub(super) async fn remove(
    service: &Service,
    connection: &Name,
    credential: &Name,
) -> Result<SecretInfo, Problem> {
    let was = one(service, connection, credential).await?;
    let place = Place {
        tenant: &service.tenant,
        connection,
        credential,
    };
    vault(service)?
        .remove(place, &service.actor, now_ms())
        .await
        .map_err(|error| problem::vault(&error))?;
    Ok(was)
}

fn subject(connection: &Name, credential: &Name) -> String {
    format!("secret/{connection}/{credential}")
}

async fn tell(service: &Service, action: &str, subject: String, detail: Value) -> Result<(), Problem> {
    let entry = AuditEntry {
        at: now_ms(),
        actor: service.actor.clone(),
        action: action.to_owned(),
        subject,
        detail,
    };
    service.store.audit(&service.tenant, &entry).await.map_err(failed)
}

pub(super) async fn authorize(
    service: &Service,
    connection: &Name,
    credential: &Name,
    request: &Authorize,
) -> Result<Authorization, Problem> {
    let begun = service
        .engine
        .authorize(&service.tenant, connection, credential, &request.redirect_uri)
        .await
        .map_err(problem::flow)?;
    tell(
        service,
        "secret.authorize",
        subject(connection, credential),
        Value::Null,
    )
    .await?;
    Ok(begun)
}

pub(super) async fn authorized(
    service: &Service,
    connection: &Name,
    credential: &Name,
    answer: &Authorized,
) -> Result<SecretInfo, Problem> {
    service
        .engine
        .authorized(&service.tenant, connection, credential, answer.callback.expose())
        .await
        .map_err(problem::flow)?;
    tell(
        service,
        "secret.authorized",
        subject(connection, credential),
        Value::Null,
    )
    .await?;
    service.engine.wake_tenant(&service.tenant);
    one(service, connection, credential).await
}

pub(super) async fn rotate(service: &Service, request: RotateKeys) -> Result<RotatedKeys, Problem> {
    let failed = |error| problem::vault(&error);
    let vault = vault(service)?;
    let data_keys = if request.master {
        vault.renew_master().await.map_err(failed)?
    } else {
        vault.rewrap().await.map_err(failed)?
    };
    if data_keys > 0 {
        let detail = serde_json::json!({ "data-keys": data_keys, "by-the-host": request.master });
        tell(service, "vault.renew-master-key", "vault".to_owned(), detail).await?;
    }
    let rotated = vault
        .rotate(&service.tenant, &service.actor, now_ms(), &mut |items| {
            tracing::info!(items, "secrets encrypted under the new key");
        })
        .await
        .map_err(failed)?;
    Ok(RotatedKeys {
        key_version: rotated.key_version,
        items: rotated.items,
        data_keys,
    })
}
