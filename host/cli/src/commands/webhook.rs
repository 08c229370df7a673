//! `stecker webhook …`

use stecker_model::{
    Name,
    api::{
        AddWebhook, DeliveryFilter, DeliveryState, DisableWebhook, EventType, RotateWebhookSecret,
        WebhookDelivery, WebhookInfo, WebhookSecret,
    },
};

use crate::{
    args::{Globals, Webhook},
    failure::{Failure, Result},
    output::{Output, Page, bad, bold, dim, good, time, warn},
    target::Target,
};

pub(crate) async fn webhook(globals: &Globals, output: Output, command: Webhook) -> Result<()> {
    let target = Target::find(globals, output, "stecker webhook").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Webhook) -> Result<()> {
    let operations = target.operations();
    match command {
        Webhook::List => {
            let all = operations.webhooks().await?;
            output.answer(&all, |page| list(page, &all))?;
        }
        Webhook::Add(words) => {
            let wish = AddWebhook {
                name: words.name,
                url: words.url,
                events: words.events,
                flows: words.flows,
            };
            let made = operations.add_webhook(&wish).await?;
            told_secret(output, &made)?;
        }
        Webhook::Show { name } => {
            let info = operations.webhook(&name).await?;
            output.answer(&info, |page| show(page, &info))?;
        }
        Webhook::Enable { name } => {
            let info = operations.enable_webhook(&name).await?;
            output.answer(&info, |page| show(page, &info))?;
        }
        Webhook::Disable { name, reason } => {
            let info = operations
                .disable_webhook(&name, &DisableWebhook { reason })
                .await?;
            output.answer(&info, |page| show(page, &info))?;
        }
        Webhook::Remove { name } => {
            let info = operations.remove_webhook(&name).await?;
            output.answer(&info, |page| page.line(format!("removed {name}")))?;
        }
        Webhook::RotateSecret { name, overlap } => {
            let made = operations
                .rotate_webhook_secret(&name, &RotateWebhookSecret { overlap })
                .await?;
            told_secret(output, &made)?;
        }
        Webhook::Test { name } => {
            let test = operations.test_webhook(&name).await?;
            output.answer(&test, |page| {
                let mark = if test.ok { good("✓") } else { bad("✗") };
                let answer = match (&test.error, test.status) {
                    (Some(error), _) => error.clone(),
                    (None, Some(status)) => format!("answered {status}"),
                    (None, None) => "no answer".to_owned(),
                };
                page.line(format!(
                    "{mark} {answer} {}",
                    dim(&format!("({} ms, {})", test.took_ms, test.id))
                ));
            })?;
            if !test.ok {
                return Err(Failure::Told);
            }
        }
        Webhook::Deliveries { name, state, limit } => {
            let filter = DeliveryFilter {
                state,
                limit: Some(limit),
            };
            let all = operations.webhook_deliveries(&name, &filter).await?;
            output.answer(&all, |page| deliveries(page, &all))?;
        }
    }
    Ok(())
}

fn told_secret(output: Output, made: &WebhookSecret) -> Result<()> {
    output.answer(made, |page| {
        show(page, &made.webhook);
        page.line("");
        page.line(bold("the secret, which is not shown again:"));
        page.line(made.secret.expose());
    })?;
    Ok(())
}

fn state(info: &WebhookInfo) -> String {
    match (&info.disabled, info.failing_since) {
        (Some(_), _) => bad("disabled"),
        (None, Some(_)) => warn("failing"),
        (None, None) => good("enabled"),
    }
}

fn events(info: &WebhookInfo) -> String {
    if info.events.is_empty() {
        "all".to_owned()
    } else {
        let types: Vec<&str> = info.events.iter().copied().map(EventType::as_str).collect();
        types.join(" ")
    }
}

fn list(page: &mut Page, all: &[WebhookInfo]) {
    if all.is_empty() {
        return page.line("no webhooks; `stecker webhook add NAME URL` makes one");
    }
    let rows = all.iter().map(|info| {
        vec![
            info.name.to_string(),
            state(info),
            info.waiting.to_string(),
            events(info),
            info.url.clone(),
        ]
    });
    page.table(
        &["WEBHOOK", "STATE", "WAITING", "EVENTS", "ADDRESS"],
        &rows.collect::<Vec<_>>(),
    );
}

fn show(page: &mut Page, info: &WebhookInfo) {
    page.field("webhook", info.name.as_str());
    page.field("address", &info.url);
    page.field("events", events(info));
    let flows: Vec<&str> = info.flows.iter().map(Name::as_str).collect();
    page.field("flows", flows.join(" "));
    page.field("state", state(info));
    if let Some(disabled) = &info.disabled {
        page.field(
            "disabled",
            format!("{} {}", time(disabled.since), disabled.reason),
        );
    }
    if let Some(since) = info.failing_since {
        page.field("failing", format!("since {}", time(since)));
    }
    page.field("waiting", info.waiting.to_string());
    page.field("made", time(info.created_at));
    if let Some(until) = info.old_secret_until {
        page.field("old secret", format!("signs until {}", time(until)));
    }
}

fn deliveries(page: &mut Page, all: &[WebhookDelivery]) {
    if all.is_empty() {
        return page.line("no events");
    }
    let rows = all.iter().map(|delivery| {
        let state = match delivery.state {
            DeliveryState::Delivered => good("delivered"),
            DeliveryState::Waiting => warn("waiting"),
            DeliveryState::Failed => bad("failed"),
        };
        let last = delivery.attempts.last();
        let answer = match last.map(|attempt| (&attempt.error, attempt.status)) {
            Some((Some(error), _)) => error.clone(),
            Some((None, Some(status))) => status.to_string(),
            _ => String::new(),
        };
        vec![
            delivery.id.clone(),
            delivery.event.as_str().to_owned(),
            time(delivery.created_at),
            state,
            delivery.attempts.len().to_string(),
            delivery.next_try_at.map(time).unwrap_or_default(),
            answer,
        ]
    });
    page.table(
        &[
            "EVENT",
            "TYPE",
            "HAPPENED",
            "STATE",
            "ATTEMPTS",
            "NEXT",
            "LAST ANSWER",
        ],
        &rows.collect::<Vec<_>>(),
    );
}
