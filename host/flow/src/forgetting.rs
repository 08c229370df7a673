//! Forgets what a flow keeps no longer, by the retention of its specification: in small transactions with pauses in between, because
//! deliveries come first.

use std::time::Duration;

use stecker_model::{Name, RetentionPolicy};
use stecker_store::{Forgotten, Lease, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::context::FlowContext;

/// How often the flow is looked through.
const INTERVAL: Duration = Duration::from_secs(600);
/// The first time, at least so long after the start: what a restart is for comes first. At most an interval later, so that the flows of a host
/// that starts do not all look at once.
const FIRST: Duration = Duration::from_secs(30);
/// Between two transactions of one pass.
const PAUSE: Duration = Duration::from_millis(100);
/// Records that one transaction looks at.
const PIECE: u32 = 200;
/// Transactions that a run by hand makes for this at most: somebody waits for its end.
const BY_HAND: u32 = 20;

/// Forgets until asked to stop; in a run by hand, one short pass. Losing the lease is an error here ([`StoreError::Fenced`]).
pub(crate) async fn run(ctx: &FlowContext) -> Result<(), StoreError> {
    let pass = |pieces, pause| Pass {
        store: &ctx.store,
        lease: &ctx.lease,
        flow: ctx.flow(),
        policy: ctx.spec.retention,
        now: ctx.now(),
        stop: &ctx.stop,
        pieces,
        pause,
    };
    if ctx.once {
        return pass(BY_HAND, Duration::ZERO).run().await;
    }
    let mut wait = FIRST + INTERVAL.mul_f64(rand::random());
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = INTERVAL;
        pass(u32::MAX, PAUSE).run().await?;
    }
}

/// What is forgotten.
#[derive(Clone, Copy)]
enum What {
    Payloads,
    Records,
}

/// One look through a flow, at one moment.
struct Pass<'p> {
    store: &'p Store,
    lease: &'p Lease,
    flow: &'p Name,
    policy: RetentionPolicy,
    now: i64,
    stop: &'p CancellationToken,
    /// Transactions that are left.
    pieces: u32,
    /// Between two of them.
    pause: Duration,
}

impl Pass<'_> {
    async fn run(mut self) -> Result<(), StoreError> {
        // Whole records first: their payloads need no digests then.
        for (what, name, keep) in [
            (What::Records, "records", self.policy.records),
            (What::Payloads, "payloads", self.policy.delivered_payloads),
        ] {
            let Some(cut_off) = keep.cut_off(self.now) else {
                continue;
            };
            let sum = self.forget(what, cut_off).await?;
            if sum.count > 0 {
                tracing::info!(
                    tenant = %self.lease.tenant, flow = %self.flow, what = name, count = sum.count, bytes = sum.bytes,
                    "forgotten, as the flow's retention says"
                );
            }
        }
        Ok(())
    }

    async fn forget(&mut self, what: What, cut_off: i64) -> Result<Forgotten, StoreError> {
        let mut sum = Forgotten::default();
        let mut after = 0;
        while !self.stop.is_cancelled() && self.pieces > 0 {
            self.pieces -= 1;
            let (store, lease, flow) = (self.store, self.lease, self.flow);
            let forgotten = match what {
                What::Payloads => {
                    store
                        .forget_payloads(lease, flow, cut_off, after, PIECE, self.now)
                        .await?
                }
                What::Records => store.forget_records(lease, flow, cut_off, after, PIECE).await?,
            };
            sum.count += forgotten.count;
            sum.bytes += forgotten.bytes;
            let Some(next) = forgotten.next else { break };
            after = next;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(self.pause) => {}
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use stecker_model::{Digest, FlowSpec, Operation, Record, RecordId, api::RecordDetail};
    use stecker_store::{CommitPage, NewRecord, SettledState, Settlement, StoreOptions, sqlite_url};

    use super::*;

    const DAY: i64 = 86_400_000;
    const START: i64 = 1_700_000_000_000;

    struct World {
        store: Store,
        lease: Lease,
        flow: Name,
    }

    impl World {
        /// A flow with 450 delivered records, so that a pass takes several transactions.
        async fn new(folder: &tempfile::TempDir) -> Self {
            let url = sqlite_url(&folder.path().join("store.db"));
            let store = Store::open(&url, StoreOptions::default()).await.unwrap();
            let tenant = Name::default_tenant();
            store.ensure_tenant(&tenant, START).await.unwrap();
            let release: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
            let connection = |name: &str| {
                let spec = serde_json::json!({ "name": name, "plugin": { "digest": release } });
                serde_json::from_value(spec).unwrap()
            };
            let flow: FlowSpec = serde_json::from_value(serde_json::json!({
                "name": "orders",
                "source": { "connection": "shop", "stream": "orders" },
                "destination": { "connection": "erp", "stream": "orders" },
            }))
            .unwrap();
            store
                .apply(
                    &tenant,
                    &[connection("shop"), connection("erp")],
                    std::slice::from_ref(&flow),
                    "ada",
                    START,
                )
                .await
                .unwrap();
            let lease = store
                .acquire(&tenant, "flow/orders", "node", START, 60_000)
                .await
                .unwrap()
                .unwrap();
            let records = (1..=450).map(|n| NewRecord {
                record: Record {
                    stream: "orders".to_owned(),
                    key: format!("k{n}"),
                    operation: Operation::Upsert,
                    payload: "{}".to_owned(),
                    before: None,
                    event_time: None,
                    source_version: "1".to_owned(),
                    attributes: Vec::new(),
                },
            });
            let page = CommitPage {
                flow: &flow.name,
                stream: "orders",
                release: &release,
                read_at: None,
                records: records.collect(),
                cursor: None,
                caught_up: true,
                run: 0,
                now: START,
            };
            store.commit_page(&lease, page).await.unwrap();
            let seqs: Vec<i64> = (1..=450).collect();
            store
                .begin(&lease, &flow.name, &seqs, &release, START)
                .await
                .unwrap();
            let settled = seqs.into_iter().map(|seq| Settlement {
                seq,
                to: SettledState::Delivered {
                    external_id: None,
                    duplicate: false,
                },
                outputs: None,
                outcome: "delivered".to_owned(),
                request: None,
                answer: None,
                tries: None,
            });
            store
                .settle(&lease, &flow.name, settled.collect(), START)
                .await
                .unwrap();
            Self {
                store,
                lease,
                flow: flow.name,
            }
        }

        async fn pass(&self, policy: &str, now: i64, pieces: u32) {
            let stop = CancellationToken::new();
            let pass = Pass {
                store: &self.store,
                lease: &self.lease,
                flow: &self.flow,
                policy: serde_json::from_str(policy).unwrap(),
                now,
                stop: &stop,
                pieces,
                pause: Duration::ZERO,
            };
            pass.run().await.unwrap();
        }

        async fn record(&self, seq: i64) -> Option<RecordDetail> {
            let id = RecordId {
                flow: self.flow.clone(),
                seq,
            };
            self.store.record(&self.lease.tenant, &id).await.unwrap()
        }

        async fn kept(&self, seq: i64) -> bool {
            self.record(seq).await.unwrap().payload_removed.is_none()
        }
    }

    #[tokio::test]
    async fn what_is_older_than_the_flow_keeps_it_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder).await;
        // The usual: payloads for 90 days, records for ever.
        world.pass("{}", START + 90 * DAY, u32::MAX).await;
        assert!(world.kept(1).await);
        world.pass("{}", START + 90 * DAY + 1, 1).await;
        assert!(!world.kept(1).await);
        assert!(world.kept(450).await, "one transaction was allowed");
        world.pass("{}", START + 90 * DAY + 1, u32::MAX).await;
        assert!(!world.kept(450).await);
        world.pass("{}", START + 90_000 * DAY, u32::MAX).await;
        assert!(world.record(1).await.is_some());
        let short = r#"{ "delivered-payloads": "1d", "records": "400d" }"#;
        world.pass(short, START + 400 * DAY + 1, u32::MAX).await;
        assert!(world.record(1).await.is_none() && world.record(450).await.is_none());
        world.store.close().await;
    }
}
