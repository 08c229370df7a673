//! Webhooks that go out: who is told of which events.

use axum::Json;
use stecker_model::{
    Name,
    api::{
        AddWebhook, DeliveryFilter, DisableWebhook, RotateWebhookSecret, WebhookDelivery, WebhookInfo,
        WebhookSecret, WebhookTest,
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::{Body, InPath, InQuery},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, remove))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(rotate))
        .routes(routes!(test))
        .routes(routes!(deliveries))
}

/// Lists the webhooks, by name.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", operation_id = "webhooks",
    responses((status = 200, description = "All of them, with how many events are on their way.", body = Vec<WebhookInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<WebhookInfo>> {
    Ok(Json(ops.webhooks().await?))
}

/// Makes a webhook: from now on events are sent to its address, signed as Standard Webhooks says.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", operation_id = "add-webhook", request_body = AddWebhook,
    responses((status = 200, description = "The webhook, and its secret, which is shown this one time.", body = WebhookSecret), ApiProblem))]
async fn add(Ops(ops): Ops, Body(wish): Body<AddWebhook>) -> ApiResult<WebhookSecret> {
    Ok(Json(ops.add_webhook(&wish).await?))
}

/// Shows a webhook.
#[utoipa::path(get, path = "/webhooks/{name}", tag = "webhooks", operation_id = "webhook",
    params(("name" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "Everything known of it; never its secret.", body = WebhookInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<WebhookInfo> {
    Ok(Json(ops.webhook(&name).await?))
}

/// Removes a webhook with its secret and everything that was to be sent to it.
#[utoipa::path(delete, path = "/webhooks/{name}", tag = "webhooks", operation_id = "remove-webhook",
    params(("name" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "What it was.", body = WebhookInfo), ApiProblem))]
async fn remove(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<WebhookInfo> {
    Ok(Json(ops.remove_webhook(&name).await?))
}

/// Has events sent to a webhook again that was disabled; those that waited are sent now.
#[utoipa::path(post, path = "/webhooks/{name}/enable", tag = "webhooks", operation_id = "enable-webhook",
    params(("name" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "As it is now.", body = WebhookInfo), ApiProblem))]
async fn enable(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<WebhookInfo> {
    Ok(Json(ops.enable_webhook(&name).await?))
}

/// Has nothing more sent to a webhook. What waits stays for 30 days; what happens from now on is not kept for it.
#[utoipa::path(post, path = "/webhooks/{name}/disable", tag = "webhooks", operation_id = "disable-webhook",
    params(("name" = String, Path, description = "The webhook.")), request_body = DisableWebhook,
    responses((status = 200, description = "As it is now.", body = WebhookInfo), ApiProblem))]
async fn disable(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<DisableWebhook>,
) -> ApiResult<WebhookInfo> {
    Ok(Json(ops.disable_webhook(&name, &request).await?))
}

/// Gives a webhook a new secret. The one before signs too for a while, so that the receiver can change over at its leisure.
#[utoipa::path(post, path = "/webhooks/{name}/rotate-secret", tag = "webhooks", operation_id = "rotate-webhook-secret",
    params(("name" = String, Path, description = "The webhook.")), request_body = RotateWebhookSecret,
    responses((status = 200, description = "The webhook, and its new secret, which is shown this one time.", body = WebhookSecret), ApiProblem))]
async fn rotate(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<RotateWebhookSecret>,
) -> ApiResult<WebhookSecret> {
    Ok(Json(ops.rotate_webhook_secret(&name, &request).await?))
}

/// Sends an event of the type `webhook.test`, once and now.
#[utoipa::path(post, path = "/webhooks/{name}/test", tag = "webhooks", operation_id = "test-webhook",
    params(("name" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "What was answered.", body = WebhookTest), ApiProblem))]
async fn test(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<WebhookTest> {
    Ok(Json(ops.test_webhook(&name).await?))
}

/// Lists the events of a webhook with what came of them, the newest first. They are kept for 7 days after they were delivered or given up.
#[utoipa::path(get, path = "/webhooks/{name}/deliveries", tag = "webhooks", operation_id = "webhook-deliveries",
    params(("name" = String, Path, description = "The webhook."), DeliveryFilter),
    responses((status = 200, description = "The events, each with its attempts.", body = Vec<WebhookDelivery>), ApiProblem))]
async fn deliveries(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    InQuery(filter): InQuery<DeliveryFilter>,
) -> ApiResult<Vec<WebhookDelivery>> {
    Ok(Json(ops.webhook_deliveries(&name, &filter).await?))
}
