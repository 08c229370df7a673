//! Webhooks that go out.

use stecker_flow::now_ms;
use stecker_model::{
    Name,
    api::{
        AddWebhook, DeliveryFilter, DisableWebhook, Problem, RotateWebhookSecret, WebhookDelivery,
        WebhookInfo, WebhookSecret, WebhookTest,
    },
};
use stecker_store::NewWebhook;

use super::{PAGE, Service, failed, reason};
use crate::problem;

/// Bytes of an address. Above, servers and proxies disagree (RFC 9110, section 4.1).
const URL_BYTES: usize = 2_048;
/// The longest that two secrets sign, in days.
const OVERLAP_DAYS: u64 = 30;

pub(super) async fn list(service: &Service) -> Result<Vec<WebhookInfo>, Problem> {
    service.store.webhooks(&service.tenant).await.map_err(failed)
}

pub(super) async fn show(service: &Service, name: &Name) -> Result<WebhookInfo, Problem> {
    let found = service
        .store
        .webhook(&service.tenant, name)
        .await
        .map_err(failed)?;
    found.ok_or_else(|| problem::not_found("webhook", name))
}

pub(super) async fn add(service: &Service, wish: &AddWebhook) -> Result<WebhookSecret, Problem> {
    if wish.url.len() > URL_BYTES {
        let reason = format!("has {} bytes; it may have {URL_BYTES}", wish.url.len());
        return Err(problem::invalid_field("url", reason));
    }
    for flow in &wish.flows {
        let known = service.store.flow(&service.tenant, flow).await.map_err(failed)?;
        if known.is_none() {
            let reason = format!("there is no flow `{flow}`; `stecker flow list` shows those that there are");
            return Err(problem::invalid_field("flows", reason));
        }
    }
    let outgoing = service.engine.outgoing();
    let checked = outgoing.check(&service.tenant, &wish.url).await.map_err(failed)?;
    checked.map_err(|error| problem::invalid_field("url", error.to_string()))?;
    let (mut events, mut flows) = (wish.events.clone(), wish.flows.clone());
    events.sort_unstable();
    events.dedup();
    flows.sort_unstable();
    flows.dedup();
    let new = NewWebhook {
        name: wish.name.clone(),
        url: wish.url.clone(),
        events,
        flows,
    };
    service
        .store
        .ensure_tenant(&service.tenant, now_ms())
        .await
        .map_err(failed)?;
    let secret = outgoing
        .add(&service.tenant, &new, &service.actor)
        .await
        .map_err(|error| problem::vault(&error))?;
    Ok(WebhookSecret {
        webhook: show(service, &wish.name).await?,
        secret: secret.to_string().into(),
    })
}

pub(super) async fn enable(service: &Service, name: &Name) -> Result<WebhookInfo, Problem> {
    service
        .store
        .enable_webhook(&service.tenant, name, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    show(service, name).await
}

pub(super) async fn disable(
    service: &Service,
    name: &Name,
    request: &DisableWebhook,
) -> Result<WebhookInfo, Problem> {
    reason(&request.reason)?;
    service
        .store
        .disable_webhook(&service.tenant, name, &request.reason, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    show(service, name).await
}

pub(super) async fn remove(service: &Service, name: &Name) -> Result<WebhookInfo, Problem> {
    let was = show(service, name).await?;
    service
        .store
        .remove_webhook(&service.tenant, name, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    Ok(was)
}

pub(super) async fn rotate(
    service: &Service,
    name: &Name,
    request: RotateWebhookSecret,
) -> Result<WebhookSecret, Problem> {
    let overlap = request.overlap.duration();
    if overlap.as_secs() > OVERLAP_DAYS * 24 * 60 * 60 {
        let reason =
            format!("is longer than {OVERLAP_DAYS} days; a secret that is not needed should not sign");
        return Err(problem::invalid_field("overlap", reason));
    }
    let secret = service
        .engine
        .outgoing()
        .rotate(&service.tenant, name, overlap, &service.actor)
        .await
        .map_err(|error| problem::vault(&error))?;
    Ok(WebhookSecret {
        webhook: show(service, name).await?,
        secret: secret.to_string().into(),
    })
}

pub(super) async fn test(service: &Service, name: &Name) -> Result<WebhookTest, Problem> {
    let tested = service.engine.outgoing().test(&service.tenant, name).await;
    tested
        .map_err(|error| problem::vault(&error))?
        .ok_or_else(|| problem::not_found("webhook", name))
}

pub(super) async fn deliveries(
    service: &Service,
    name: &Name,
    filter: &DeliveryFilter,
) -> Result<Vec<WebhookDelivery>, Problem> {
    if let Some(limit) = filter.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
        return Err(problem::invalid_field(
            "limit",
            format!("{limit} is out of bounds; use 1 to {PAGE}"),
        ));
    }
    service
        .store
        .webhook_deliveries(&service.tenant, name, filter)
        .await
        .map_err(failed)
}
