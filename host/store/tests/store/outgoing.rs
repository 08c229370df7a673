//! Webhooks that go out: what happened is written down with what happened, handed to one node at a time, and never lost on the way.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};
use stecker_model::{
    Name, RecordState,
    api::{
        Circuit, CircuitState, DeliveryFilter, DeliveryState, EventType, QuarantineSelection, WebhookAttempt,
        WebhookDelivery, WebhookInfo,
    },
};
use stecker_store::{
    AuditEntry, CircuitChange, ClaimedEvent, Disabling, EventOutcome, Forget, NewWebhook, SettledState,
    StoreError, Vault, VaultError, WhatNext,
};

use crate::{
    vault::{Keys, host},
    world::{START, World, delivered, name, reason, record, scenarios, settlement},
};

scenarios!(
    events_are_written_down_with_what_happened,
    what_is_undone_tells_nothing,
    nobody_is_told_what_nobody_wants,
    an_event_is_with_one_node_at_a_time,
    many_nodes_share_the_events_without_taking_one_twice,
    who_begins_anew_takes_its_own_claims_back,
    a_webhook_that_only_fails_is_disabled_and_loses_nothing,
    one_success_is_enough_against_disabling,
    what_was_sent_before_it_was_enabled_does_not_disable_it_again,
    a_webhook_that_is_gone_takes_everything_with_it,
    secrets_are_rotated_and_old_ones_forgotten,
    circuits_are_told_of_when_they_open_and_close,
    events_are_forgotten_when_their_time_is_over,
    names_and_numbers_are_bounded,
);

const HOUR: i64 = 3_600_000;
/// How long claims last here.
const CLAIM: i64 = 60_000;

async fn vault(world: &World) -> Vault {
    host(world, &Arc::new(Keys::default())).await
}

impl World {
    async fn subscribe(&self, vault: &Vault, webhook: &str, events: &[EventType], flows: &[&str]) {
        let new = NewWebhook {
            name: name(webhook),
            url: format!("https://{webhook}.example/hook"),
            events: events.to_vec(),
            flows: flows.iter().copied().map(name).collect(),
        };
        vault
            .add_webhook(&self.tenant, &new, "whsec_first", "ada", START)
            .await
            .unwrap();
    }

    async fn claim(&self, webhook: &str, owner: &str, now: i64) -> Vec<ClaimedEvent> {
        let webhook = name(webhook);
        self.store
            .claim_events((&self.tenant, &webhook), owner, now, now + CLAIM, 100)
            .await
            .unwrap()
    }

    async fn deliveries(&self, webhook: &str) -> Vec<WebhookDelivery> {
        let mut all = self
            .store
            .webhook_deliveries(&self.tenant, &name(webhook), &DeliveryFilter::default())
            .await
            .unwrap();
        all.reverse();
        all
    }

    async fn told(&self, webhook: &str) -> Vec<&'static str> {
        let all = self.deliveries(webhook).await;
        all.iter().map(|delivery| delivery.event.as_str()).collect()
    }

    async fn info(&self, webhook: &str) -> WebhookInfo {
        let found = self.store.webhook(&self.tenant, &name(webhook)).await;
        found.unwrap().unwrap()
    }

    async fn finish(&self, event: &ClaimedEvent, next: WhatNext, now: i64) -> bool {
        let outcome = EventOutcome {
            attempt: attempt(now, next),
            next,
            disable: None,
        };
        self.store.finish_event(event, &outcome, now).await.unwrap()
    }

    async fn fail(&self, event: &ClaimedEvent, at_once: bool, now: i64) -> bool {
        let next = WhatNext::Retry { at: now + 5_000 };
        let outcome = EventOutcome {
            attempt: attempt(now, next),
            next,
            disable: Some(Disabling {
                reason: "it only fails".to_owned(),
                at_once,
            }),
        };
        self.store.finish_event(event, &outcome, now).await.unwrap()
    }

    async fn run_sql(&self, statement: &'static str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Delivers that many records, so that there is something to tell.
    async fn happen(&self, records: std::ops::RangeInclusive<i64>) {
        let lease = self.lease("worker").await;
        let page = records.clone().map(|n| record(&format!("k{n}"), "1")).collect();
        self.commit(&lease, page, "c").await.unwrap();
        for seq in records {
            self.deliver(&lease, seq, delivered()).await;
        }
    }
}

fn attempt(at: i64, next: WhatNext) -> WebhookAttempt {
    let ok = next == WhatNext::Delivered;
    WebhookAttempt {
        at,
        status: Some(if ok { 204 } else { 500 }),
        error: (!ok).then(|| "answered with the status 500".to_owned()),
    }
}

fn body(event: &ClaimedEvent) -> Value {
    serde_json::from_str(&event.body).unwrap()
}

async fn events_are_written_down_with_what_happened(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    let lease = world.lease("node-1").await;
    let page = (1..=4).map(|n| record(&format!("k{n}"), "1")).collect();
    world.commit(&lease, page, "c").await.unwrap();
    assert!(world.told("ops").await.is_empty(), "what is only read is no news");
    world.begin(&lease, &[1, 2, 3, 4]).await.unwrap();
    let settlements = vec![
        settlement(1, delivered()),
        settlement(
            2,
            SettledState::Quarantined {
                reason: reason("data"),
            },
        ),
        settlement(
            3,
            SettledState::Dropped {
                reason: reason("test-order"),
            },
        ),
        settlement(
            4,
            SettledState::Retry {
                at: START + 9,
                reason: reason("transient"),
            },
        ),
    ];
    let first = name("first");
    world
        .store
        .settle(&lease, &first, settlements, START + 2)
        .await
        .unwrap();
    let selection = QuarantineSelection {
        flow: Some(first.clone()),
        ..QuarantineSelection::default()
    };
    world
        .store
        .discard_quarantined(&world.tenant, &selection, "a test", "ada", START + 3)
        .await
        .unwrap();
    for pause in [true, true, false, false] {
        let switched = if pause {
            world
                .store
                .pause_flow(&world.tenant, &first, "stock-taking", "ada", START + 4)
                .await
        } else {
            world
                .store
                .resume_flow(&world.tenant, &first, "ada", START + 5)
                .await
        };
        switched.unwrap();
    }
    assert_eq!(
        world.told("ops").await,
        [
            "record.delivered",
            "record.quarantined",
            "record.dropped",
            "record.discarded",
            "flow.paused",
            "flow.resumed"
        ]
    );
    let claimed = world.claim("ops", "node-1", START + 10).await;
    assert_eq!(claimed[0].url, "https://ops.example/hook");
    let bodies: Vec<Value> = claimed.iter().map(body).collect();
    assert_eq!(
        bodies[0],
        json!({
            "type": "record.delivered",
            "timestamp": "2023-11-14T22:13:20.002Z",
            "data": { "tenant": "acme", "flow": "first", "stream": "orders", "key": "k1", "seq": 1, "external-id": "erp-1" },
        })
    );
    assert_eq!(
        bodies[1]["data"]["reason"],
        json!({ "code": "data", "message": "because of data", "path": "/key" })
    );
    assert_eq!(bodies[2]["data"]["key"], "k3");
    assert_eq!(bodies[3]["data"]["reason"]["message"], "a test");
    assert_eq!(
        bodies[4]["data"],
        json!({ "tenant": "acme", "flow": "first", "reason": { "code": "paused", "message": "stock-taking" } })
    );
    assert!(
        bodies.iter().all(|body| !body.to_string().contains("version")),
        "never the payload"
    );
}

async fn what_is_undone_tells_nothing(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    let lease = world.lease("node-1").await;
    world
        .commit(&lease, vec![record("a", "1"), record("b", "1")], "c")
        .await
        .unwrap();
    world.begin(&lease, &[1]).await.unwrap();
    // The transaction fails at its very end, when the event was written already.
    world.run_sql("ALTER TABLE counters RENAME TO elsewhere").await;
    assert!(world.settle(&lease, 1, delivered()).await.is_err());
    world.run_sql("ALTER TABLE elsewhere RENAME TO counters").await;
    assert_eq!(world.state(1).await, RecordState::Sending);
    assert!(world.told("ops").await.is_empty());
    world.settle(&lease, 1, delivered()).await.unwrap();
    assert_eq!(world.told("ops").await, ["record.delivered"]);
    world.begin(&lease, &[2]).await.unwrap();
    let _other = world.take_over("node-2", START).await;
    assert!(matches!(
        world.settle(&lease, 2, delivered()).await,
        Err(StoreError::Fenced { .. })
    ));
    assert_eq!(world.told("ops").await, ["record.delivered"]);
}

async fn nobody_is_told_what_nobody_wants(world: World) {
    let vault = vault(&world).await;
    world
        .subscribe(&vault, "failures", &[EventType::RecordQuarantined], &[])
        .await;
    world.subscribe(&vault, "second-only", &[], &["second"]).await;
    world.subscribe(&vault, "first-only", &[], &["first"]).await;
    world.subscribe(&vault, "off", &[], &[]).await;
    world
        .store
        .disable_webhook(&world.tenant, &name("off"), "not now", "ada", START)
        .await
        .unwrap();
    let other = world.for_tenant("globex").await;
    other.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=2).await;
    assert_eq!(
        world.told("first-only").await,
        ["record.delivered", "record.delivered"]
    );
    for webhook in ["failures", "second-only", "off"] {
        assert!(world.told(webhook).await.is_empty(), "{webhook}");
    }
    assert!(other.told("ops").await.is_empty(), "another tenant");
    let due = world.store.webhooks_due(START + 10).await.unwrap();
    assert_eq!(due, [(world.tenant.clone(), name("first-only"))]);
}

async fn an_event_is_with_one_node_at_a_time(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=1).await;
    let now = START + 10;
    let first = world.claim("ops", "node-1", now).await;
    assert_eq!((first.len(), first[0].tries), (1, 0));
    assert!(world.claim("ops", "node-2", now).await.is_empty());
    assert!(
        world
            .store
            .webhooks_due(now + CLAIM - 1)
            .await
            .unwrap()
            .is_empty()
    );
    // The first node was killed, or hangs, or its clock is ahead of everybody's.
    let second = world.claim("ops", "node-2", now + CLAIM).await;
    assert_eq!(second[0].id, first[0].id, "the same event under the same id");
    assert!(
        !world.finish(&first[0], WhatNext::Failed, now + CLAIM).await,
        "it was overtaken"
    );
    assert!(world.finish(&second[0], WhatNext::Delivered, now + CLAIM).await);
    assert!(
        !world.finish(&second[0], WhatNext::Failed, now + CLAIM).await,
        "it is done"
    );
    let done = world.deliveries("ops").await;
    assert_eq!(done[0].state, DeliveryState::Delivered);
    assert_eq!(done[0].attempts.len(), 1, "who was overtaken wrote nothing");
    assert!(world.claim("ops", "node-2", now + 100 * HOUR).await.is_empty());
}

async fn many_nodes_share_the_events_without_taking_one_twice(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=40).await;
    let mut nodes = tokio::task::JoinSet::new();
    for node in 0..4 {
        let world = world.clone();
        nodes.spawn(async move {
            let (mut mine, webhook) = (Vec::new(), name("ops"));
            loop {
                let claimed = world
                    .store
                    .claim_events(
                        (&world.tenant, &webhook),
                        &format!("node-{node}"),
                        START + 9,
                        START + CLAIM,
                        3,
                    )
                    .await
                    .unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                for event in claimed {
                    assert!(world.finish(&event, WhatNext::Delivered, START + 9).await);
                    mine.push(event.id);
                }
            }
        });
    }
    let mut sent = nodes.join_all().await.concat();
    sent.sort();
    let all: Vec<String> = world
        .deliveries("ops")
        .await
        .into_iter()
        .map(|one| one.id)
        .collect();
    assert_eq!((sent.len(), &sent), (40, &all));
}

async fn who_begins_anew_takes_its_own_claims_back(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=2).await;
    let lost = world.claim("ops", "node-1", START + 10).await;
    assert_eq!(lost.len(), 2);
    assert_eq!(world.store.release_events("node-2", START + 11).await.unwrap(), 0);
    assert_eq!(world.store.release_events("node-1", START + 11).await.unwrap(), 2);
    let again = world.claim("ops", "node-1", START + 11).await;
    assert_eq!(again.len(), 2);
    assert!(
        !world.finish(&lost[0], WhatNext::Failed, START + 12).await,
        "its former self is fenced off"
    );
}

async fn a_webhook_that_only_fails_is_disabled_and_loses_nothing(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=1).await;
    let mut now = START + 10;
    let event = world.claim("ops", "n", now).await.remove(0);
    assert!(
        world
            .finish(&event, WhatNext::Retry { at: now + 5_000 }, now)
            .await
    );
    let failing = world.info("ops").await;
    assert_eq!(
        (failing.failing_since, failing.enabled, failing.waiting),
        (Some(now), true, 1)
    );
    assert!(world.claim("ops", "n", now + 4_999).await.is_empty());
    now += 5_000;
    let event = world.claim("ops", "n", now).await.remove(0);
    assert_eq!((event.tries, event.failing_since), (1, Some(START + 10)));
    assert!(world.fail(&event, false, now).await);
    let disabled = world.info("ops").await;
    assert!(!disabled.enabled);
    assert_eq!(disabled.disabled.unwrap().reason, "it only fails");
    assert_eq!(disabled.waiting, 1, "the event waits");
    let audit = world.store.audit_log(&world.tenant, 1).await.unwrap().remove(0);
    assert_eq!(
        (audit.action.as_str(), audit.actor.as_str()),
        ("webhook.disable", "host")
    );
    assert!(
        world
            .store
            .webhooks_due(now + 999 * HOUR)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(world.claim("ops", "n", now + 999 * HOUR).await.is_empty());
    now += HOUR;
    let webhook = name("ops");
    assert!(
        world
            .store
            .enable_webhook(&world.tenant, &webhook, "ada", now)
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .enable_webhook(&world.tenant, &webhook, "ada", now)
            .await
            .unwrap()
    );
    let again = world.claim("ops", "n", now).await.remove(0);
    assert_eq!((again.id, again.tries, again.failing_since), (event.id, 0, None));
    let log = world.deliveries("ops").await.remove(0);
    assert_eq!(log.attempts.len(), 2, "the attempts before are still known");
}

async fn one_success_is_enough_against_disabling(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=3).await;
    let now = START + 10;
    let mut events = world.claim("ops", "n", now).await;
    assert!(
        world
            .finish(&events.remove(0), WhatNext::Retry { at: now }, now)
            .await
    );
    let failing = world.claim("ops", "n", now).await.remove(0);
    assert_eq!(failing.failing_since, Some(now));
    assert!(
        world
            .finish(&events.remove(0), WhatNext::Delivered, now + 1)
            .await
    );
    assert_eq!(world.info("ops").await.failing_since, None);
    // Decided on by what was known before the success.
    assert!(world.fail(&failing, false, now + 2).await);
    assert!(world.info("ops").await.enabled);
    // Gone is gone, whatever was known.
    assert!(world.fail(&events.remove(0), true, now + 3).await);
    assert!(!world.info("ops").await.enabled);
}

async fn what_was_sent_before_it_was_enabled_does_not_disable_it_again(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=2).await;
    let now = START + 10;
    let mut events = world.claim("ops", "n", now).await;
    assert!(world.fail(&events.remove(0), true, now).await);
    assert!(!world.info("ops").await.enabled);
    let webhook = name("ops");
    world
        .store
        .enable_webhook(&world.tenant, &webhook, "ada", now + 1)
        .await
        .unwrap();
    // Its answer took longer than the person.
    assert!(world.fail(&events.remove(0), true, now + 2).await);
    assert!(world.info("ops").await.enabled);
    let again = world.claim("ops", "n", now + HOUR).await.remove(0);
    assert!(world.fail(&again, true, now + HOUR).await);
    assert!(!world.info("ops").await.enabled, "what was sent since does");
}

async fn a_webhook_that_is_gone_takes_everything_with_it(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=2).await;
    let claimed = world.claim("ops", "n", START + 10).await;
    let webhook = name("ops");
    world
        .store
        .remove_webhook(&world.tenant, &webhook, "ada", START + 11)
        .await
        .unwrap();
    assert!(!world.finish(&claimed[0], WhatNext::Delivered, START + 12).await);
    let secrets = vault.webhook_secrets(&world.tenant, &webhook, START).await;
    assert!(matches!(
        secrets,
        Err(VaultError::Store(StoreError::NotFound { .. }))
    ));
    for gone in [
        world
            .store
            .remove_webhook(&world.tenant, &webhook, "ada", START)
            .await
            .map(|()| true),
        world
            .store
            .enable_webhook(&world.tenant, &webhook, "ada", START)
            .await,
        world
            .store
            .disable_webhook(&world.tenant, &webhook, "x", "ada", START)
            .await,
    ] {
        assert!(
            matches!(gone, Err(StoreError::NotFound { what: "webhook", .. })),
            "{gone:?}"
        );
    }
    world.subscribe(&vault, "ops", &[], &[]).await;
    assert!(
        world.claim("ops", "n", START + 99 * HOUR).await.is_empty(),
        "it is another one"
    );
}

async fn secrets_are_rotated_and_old_ones_forgotten(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "shop", &[], &[]).await;
    let (tenant, webhook) = (&world.tenant, name("shop"));
    let secrets = async |now| {
        let all = vault.webhook_secrets(tenant, &webhook, now).await.unwrap();
        all.iter().map(|secret| secret.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(secrets(START).await, ["whsec_first"]);
    let until = START + 24 * HOUR;
    vault
        .rotate_webhook(tenant, &webhook, "whsec_second", until, "ada", START)
        .await
        .unwrap();
    assert_eq!(secrets(START).await, ["whsec_second", "whsec_first"]);
    assert_eq!(secrets(until).await, ["whsec_second"]);
    assert_eq!(world.info("shop").await.old_secret_until, Some(until));
    // Data keys change meanwhile, and a connection of the same name has secrets of its own.
    assert!(
        vault.list(tenant).await.unwrap().is_empty(),
        "a webhook's secret is no connection's"
    );
    vault.rotate(tenant, "ada", START, &mut |_| {}).await.unwrap();
    assert_eq!(secrets(START).await, ["whsec_second", "whsec_first"]);
    assert!(
        vault
            .webhooks_with_old_secrets(until - 1)
            .await
            .unwrap()
            .is_empty()
    );
    let over = vault.webhooks_with_old_secrets(until).await.unwrap();
    assert_eq!(over, [(tenant.clone(), webhook.clone())]);
    vault
        .forget_old_webhook_secrets(tenant, &webhook, until)
        .await
        .unwrap();
    assert_eq!(
        secrets(START).await,
        ["whsec_second"],
        "it is gone, whatever the time"
    );
    assert_eq!(world.info("shop").await.old_secret_until, None);
    assert!(vault.webhooks_with_old_secrets(until).await.unwrap().is_empty());
    let log = world.store.audit_log(tenant, 10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert!(
        actions.contains(&"webhook.add") && actions.contains(&"webhook.rotate-secret"),
        "{actions:?}"
    );
    assert!(
        !format!("{log:?}").contains("whsec_"),
        "no secret in the audit trail"
    );
}

async fn circuits_are_told_of_when_they_open_and_close(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.subscribe(&vault, "flows", &[], &["first"]).await;
    let shop = name("shop");
    let change = async |state, audited: bool| {
        let audit = audited.then(|| AuditEntry {
            at: START + 7,
            actor: "host".to_owned(),
            action: "connection.circuit".to_owned(),
            subject: "connection/shop".to_owned(),
            detail: json!({}),
        });
        let circuit = Circuit {
            state,
            since: START,
            reason: "it kept crashing".to_owned(),
            ..Circuit::default()
        };
        world
            .store
            .change_circuit(&world.tenant, &shop, |_, _| {
                Some(CircuitChange { circuit, audit })
            })
            .await
            .unwrap();
    };
    change(CircuitState::BackingOff, false).await;
    change(CircuitState::Open, true).await;
    change(CircuitState::Open, true).await;
    change(CircuitState::Probing, false).await;
    change(CircuitState::Closed, true).await;
    change(CircuitState::Closed, true).await;
    assert_eq!(
        world.told("ops").await,
        ["connection.circuit-open", "connection.circuit-close"]
    );
    assert!(world.told("flows").await.is_empty());
    let claimed = world.claim("ops", "n", START + 10).await;
    assert_eq!(
        body(&claimed[0])["data"],
        json!({ "tenant": "acme", "connection": "shop", "reason": { "code": "circuit-open", "message": "it kept crashing" } })
    );
}

async fn events_are_forgotten_when_their_time_is_over(world: World) {
    let vault = vault(&world).await;
    world.subscribe(&vault, "ops", &[], &[]).await;
    world.happen(1..=5).await;
    let events = world.claim("ops", "n", START + 10).await;
    for event in &events[..3] {
        assert!(world.finish(event, WhatNext::Delivered, START + 20).await);
    }
    let forget = async |what, before| world.store.forget(what, before, 2).await.unwrap();
    assert_eq!(forget(Forget::SettledEvents, START + 20).await, 0);
    assert_eq!(forget(Forget::SettledEvents, START + 21).await, 2);
    assert_eq!(forget(Forget::SettledEvents, START + 21).await, 1);
    assert_eq!(world.deliveries("ops").await.len(), 2);
    assert_eq!(forget(Forget::WaitingEvents, START + 1).await, 0);
    assert_eq!(forget(Forget::WaitingEvents, START + 100).await, 2);
    assert!(world.deliveries("ops").await.is_empty());
}

async fn names_and_numbers_are_bounded(world: World) {
    let vault = vault(&world).await;
    let add = async |webhook: String| {
        let new = NewWebhook {
            name: webhook.parse::<Name>().unwrap(),
            url: "https://acme.example/".to_owned(),
            events: Vec::new(),
            flows: Vec::new(),
        };
        vault
            .add_webhook(&world.tenant, &new, "whsec_x", "ada", START)
            .await
    };
    for n in 0..50 {
        add(format!("w{n}")).await.unwrap();
    }
    for refused in ["w0", "w50"] {
        let error = add(refused.to_owned()).await.unwrap_err();
        assert!(
            matches!(error, VaultError::Store(StoreError::Conflict { .. })),
            "{refused}: {error}"
        );
    }
    assert_eq!(world.store.webhooks(&world.tenant).await.unwrap().len(), 50);
}
