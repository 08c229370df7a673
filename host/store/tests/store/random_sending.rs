//! Random lives of events on their way out: nodes whose clocks disagree claim, answer, hang and begin anew, and whatever they do, an event is
//! only what the newest claim on it says, and none is lost.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use stecker_model::api::{DeliveryFilter, DeliveryState, WebhookAttempt};
use stecker_store::{ClaimedEvent, EventOutcome, NewWebhook, WhatNext};

use crate::{
    vault::{Keys, host},
    world::{START, World, name, scenarios},
};

scenarios!(whatever_nodes_do_the_newest_claim_counts_and_nothing_is_lost);

const CLAIM: i64 = 60_000;
const EVENTS: usize = 6;
/// What the clocks of the nodes show beside the true time.
const SKEWS: [i64; 3] = [-40_000, 0, 40_000];

#[derive(Debug, Clone)]
enum Step {
    /// A node takes up to this many events.
    Claim(usize, u32),
    /// The nth attempt that somebody has begun and not ended ends so.
    Finish(usize, End),
    /// A node begins anew, and its former self goes on.
    Restart(usize),
    Wait(i64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Delivered,
    Retry(i64),
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        2 => Just(End::Delivered), 5 => (0..90_000_i64).prop_map(End::Retry), 1 => Just(End::Failed),
    ];
    let step = prop_oneof![
        5 => (0..SKEWS.len(), 1..4_u32).prop_map(|(node, events)| Step::Claim(node, events)),
        6 => (0..8_usize, end).prop_map(|(nth, end)| Step::Finish(nth, end)),
        1 => (0..SKEWS.len()).prop_map(Step::Restart),
        3 => (0..90_000_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// What is true of an event, told by the newest claims alone.
#[derive(Debug, Default, Clone)]
struct Truth {
    claims: u32,
    /// The number of the claim that counts; none: nobody holds it.
    holder: Option<u32>,
    attempts: usize,
    is_over: bool,
}

/// An attempt that somebody has begun.
struct Begun {
    node: usize,
    event: ClaimedEvent,
    claim: u32,
}

struct Life {
    world: World,
    webhook: stecker_model::Name,
    now: i64,
    truth: BTreeMap<String, Truth>,
    begun: Vec<Begun>,
}

impl Life {
    fn clock(&self, node: usize) -> i64 {
        self.now + SKEWS[node]
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Wait(time) => self.now += time,
            Step::Claim(node, events) => {
                let now = self.clock(node);
                let claimed = self
                    .world
                    .store
                    .claim_events(
                        (&self.world.tenant, &self.webhook),
                        &format!("node-{node}"),
                        now,
                        now + CLAIM,
                        events,
                    )
                    .await
                    .unwrap();
                for event in claimed {
                    let truth = self.truth.entry(event.id.clone()).or_default();
                    assert!(!truth.is_over, "what is over is not sent again");
                    truth.claims += 1;
                    truth.holder = Some(truth.claims);
                    let claim = truth.claims;
                    self.begun.push(Begun { node, event, claim });
                }
            }
            Step::Finish(nth, end) if !self.begun.is_empty() => {
                let begun = self.begun.remove(nth % self.begun.len());
                self.finish(&begun, end).await;
            }
            Step::Finish(..) => {}
            Step::Restart(node) => {
                let now = self.clock(node);
                self.world
                    .store
                    .release_events(&format!("node-{node}"), now)
                    .await
                    .unwrap();
                for begun in self.begun.iter().filter(|begun| begun.node == node) {
                    if let Some(truth) = self.truth.get_mut(&begun.event.id)
                        && truth.holder == Some(begun.claim)
                    {
                        truth.holder = None;
                    }
                }
            }
        }
    }

    async fn finish(&mut self, begun: &Begun, end: End) {
        let now = self.clock(begun.node);
        let next = match end {
            End::Delivered => WhatNext::Delivered,
            End::Retry(pause) => WhatNext::Retry { at: now + pause },
            End::Failed => WhatNext::Failed,
        };
        let outcome = EventOutcome {
            attempt: WebhookAttempt {
                at: now,
                status: Some(200),
                error: None,
            },
            next,
            disable: None,
        };
        let counts = self
            .world
            .store
            .finish_event(&begun.event, &outcome, now)
            .await
            .unwrap();
        let truth = self.truth.get_mut(&begun.event.id).unwrap();
        assert_eq!(
            counts,
            truth.holder == Some(begun.claim),
            "only the newest claim counts"
        );
        if counts {
            truth.holder = None;
            truth.attempts += 1;
            truth.is_over = !matches!(end, End::Retry(_));
        }
    }
}

async fn whatever_nodes_do_the_newest_claim_counts_and_nothing_is_lost(world: World) {
    let vault = host(&world, &Arc::new(Keys::default())).await;
    let mut runner = TestRunner::new(Config::default());
    for life in 0..12 {
        let webhook = name(&format!("w{life}"));
        let new = NewWebhook {
            name: webhook.clone(),
            url: "https://acme.example/".to_owned(),
            events: Vec::new(),
            flows: Vec::new(),
        };
        vault
            .add_webhook(&world.tenant, &new, "whsec_x", "ada", START)
            .await
            .unwrap();
        let flow = name("first");
        for event in 0..EVENTS {
            let done = if event % 2 == 0 {
                world
                    .store
                    .pause_flow(&world.tenant, &flow, "a test", "ada", START)
                    .await
            } else {
                world.store.resume_flow(&world.tenant, &flow, "ada", START).await
            };
            assert!(done.unwrap());
        }
        let steps = steps().new_tree(&mut runner).unwrap().current();
        println!("{steps:?}");
        let mut life = Life {
            world: world.clone(),
            webhook: webhook.clone(),
            now: START + 100_000,
            truth: BTreeMap::new(),
            begun: Vec::new(),
        };
        for step in steps {
            life.step(step).await;
        }
        // Everybody comes back, and everything gets through.
        life.now += 1_000_000;
        life.step(Step::Claim(1, 100)).await;
        while !life.begun.is_empty() {
            life.step(Step::Finish(0, End::Delivered)).await;
        }
        let all = world
            .store
            .webhook_deliveries(&world.tenant, &webhook, &DeliveryFilter::default())
            .await
            .unwrap();
        assert_eq!(all.len(), EVENTS);
        for delivery in all {
            assert_ne!(delivery.state, DeliveryState::Waiting, "{delivery:?}");
            let truth = &life.truth[&delivery.id];
            assert_eq!(delivery.attempts.len(), truth.attempts.min(20));
        }
        world
            .store
            .disable_webhook(&world.tenant, &webhook, "the next life", "ada", START)
            .await
            .unwrap();
    }
}
