//! Collects what should be at the destination: by the ledger, or by reading the source again from its beginning. Either way it is what the
//! flow's transforms make of it now, because that is what a repair would write.

use std::collections::HashMap;

use serde_json::Value;
use stecker_model::{Fingerprint, Operation, ReadRequest, Record, digest_of};
use stecker_store::{ExpectedKey, LedgerRecord};

use super::{
    destination::again,
    expected::{Collecting, Expected, MOST_THINGS, Origin},
    stop::Stop,
};
use crate::{
    calls::Bound,
    context::FlowContext,
    outcome::Progress,
    prepare::{self, Prepared},
};

/// Keys of the ledger that are looked at together.
const KEYS: u32 = 1_000;
/// Records that are transformed together.
const BATCH: usize = 200;
/// Payload bytes that a page of the source is asked to stay under.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;
/// Pages of a source that is read again, at most.
const PAGES: u32 = 1_000_000;

/// What should be there, and how much of it cannot be compared.
pub(crate) struct Collected {
    pub(crate) expected: Expected,
    /// On their way, or in quarantine.
    pub(crate) pending: u64,
    /// Delivered once, and nothing is known any more of what that was.
    pub(crate) undecided: u64,
}

/// Key and digest of one thing at the destination; no digest: it is gone.
type Output = (String, Option<Fingerprint>);

/// What a record becomes at the destination.
pub(crate) struct Becomes {
    /// Each of its outputs.
    pub(crate) outputs: Vec<Output>,
    /// Whether the transforms made something of it.
    pub(crate) is_known: bool,
}

/// What the flow's transforms make of records, one answer each.
pub(crate) async fn becomes(
    ctx: &FlowContext,
    transforms: &[Bound],
    records: Vec<Record>,
    fields: &[String],
) -> Result<Vec<Becomes>, Stop> {
    let mut all = Vec::with_capacity(records.len());
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        let batch: Vec<Record> = records.by_ref().take(BATCH).collect();
        for prepared in prepare::prepare(&ctx.spec, transforms, batch).await? {
            all.push(match prepared {
                Prepared::Write(outputs) => Becomes {
                    outputs: outputs
                        .into_iter()
                        .map(|output| digested(output, fields))
                        .collect(),
                    is_known: true,
                },
                Prepared::Dropped(_) | Prepared::Rejected(_) => Becomes {
                    outputs: Vec::new(),
                    is_known: false,
                },
            });
        }
    }
    Ok(all)
}

fn digested(output: Record, fields: &[String]) -> Output {
    let digest = (output.operation == Operation::Upsert).then(|| {
        let payload: Value = serde_json::from_str(&output.payload).unwrap_or_default();
        digest_of(&payload, fields)
    });
    (output.key, digest)
}

fn full() -> Stop {
    Stop::failed(
        "too-many",
        format!("there are more than {MOST_THINGS} things, which is more than one comparison takes"),
    )
}

/// By the ledger: of each key the newest state that was delivered.
pub(crate) async fn by_ledger(
    ctx: &FlowContext,
    transforms: &[Bound],
    fields: &[String],
) -> Result<Collected, Stop> {
    let mut collecting = Collecting::default();
    let (mut pending, mut undecided) = (0, 0);
    let mut after = String::new();
    while let Some((keys, last)) = expected_keys(ctx, &after).await? {
        after = last;
        let seqs: Vec<i64> = keys
            .iter()
            .flat_map(|key| key.waiting.into_iter().chain(key.delivered))
            .collect();
        let mut records = looked_at(ctx, transforms, &seqs, fields).await?;
        for key in keys {
            if key.waiting.is_some() {
                pending += 1;
                untold(&mut collecting, &key, &mut records);
                continue;
            }
            let Some(seq) = key.delivered else { continue };
            let Some((_, becomes)) = records.remove(&seq).filter(|(_, becomes)| becomes.is_known) else {
                undecided += 1;
                untold(&mut collecting, &key, &mut records);
                continue;
            };
            for (output, digest) in becomes.outputs {
                match digest {
                    Some(digest) => collecting.thing(&output, digest, Origin::Ledger(seq)),
                    None => collecting.gone(&output, seq),
                }
            }
        }
        if collecting.is_full() {
            return Err(full());
        }
    }
    Ok(Collected {
        expected: collecting.done(),
        pending,
        undecided,
    })
}

type Looked = HashMap<i64, (Progress, Becomes)>;

async fn expected_keys(ctx: &FlowContext, after: &str) -> Result<Option<(Vec<ExpectedKey>, String)>, Stop> {
    let stream = &ctx.spec.source.stream;
    Ok(ctx
        .store
        .expected_keys((&ctx.tenant, ctx.flow()), stream, after, KEYS)
        .await?)
}

async fn looked_at(
    ctx: &FlowContext,
    transforms: &[Bound],
    seqs: &[i64],
    fields: &[String],
) -> Result<Looked, Stop> {
    let found = ctx.store.ledger_records((&ctx.tenant, ctx.flow()), seqs).await?;
    let records = found.iter().map(|found| found.record.clone()).collect();
    let becomes = becomes(ctx, transforms, records, fields).await?;
    let with_progress = found
        .iter()
        .map(|LedgerRecord { seq, outputs, .. }| (*seq, Progress::parse(outputs.as_deref())));
    Ok(with_progress
        .zip(becomes)
        .map(|((seq, progress), becomes)| (seq, (progress, becomes)))
        .collect())
}

/// Whatever a key of the source may be at the destination is left out of the comparison.
fn untold(collecting: &mut Collecting, key: &ExpectedKey, records: &mut Looked) {
    collecting.untold(&key.key);
    for seq in key.waiting.into_iter().chain(key.delivered) {
        let Some((progress, becomes)) = records.remove(&seq) else {
            continue;
        };
        for output in progress
            .keys()
            .chain(becomes.outputs.iter().map(|(key, _)| key.as_str()))
        {
            collecting.untold(output);
        }
    }
}

/// By the source, read again from its beginning. What the ledger has on its way or in quarantine is left out.
pub(crate) async fn by_source(
    ctx: &FlowContext,
    transforms: &[Bound],
    fields: &[String],
) -> Result<Collected, Stop> {
    let mut newest: HashMap<String, (String, Vec<Output>)> = HashMap::new();
    let mut reading = Rereading::default();
    while let Some(page) = reading.next(ctx).await? {
        let versions: Vec<(String, String)> = page
            .iter()
            .map(|record| (record.key.clone(), record.source_version.clone()))
            .collect();
        let becomes = becomes(ctx, transforms, page, fields).await?;
        for ((key, version), becomes) in versions.into_iter().zip(becomes) {
            if newest.get(&key).is_none_or(|(known, _)| *known <= version) {
                newest.insert(key, (version, becomes.outputs));
            }
        }
        if newest.len() > MOST_THINGS {
            return Err(full());
        }
    }
    let mut collecting = Collecting::default();
    for (key, (version, outputs)) in newest {
        for (output, digest) in outputs {
            if let Some(digest) = digest {
                let origin = Origin::Source {
                    key: key.as_str().into(),
                    version: version.as_str().into(),
                };
                collecting.thing(&output, digest, origin);
            }
        }
    }
    let mut pending = 0;
    let mut after = String::new();
    while let Some((keys, last)) = expected_keys(ctx, &after).await? {
        after = last;
        let waiting: Vec<ExpectedKey> = keys.into_iter().filter(|key| key.waiting.is_some()).collect();
        let seqs: Vec<i64> = waiting
            .iter()
            .flat_map(|key| key.waiting.into_iter().chain(key.delivered))
            .collect();
        let mut records = looked_at(ctx, transforms, &seqs, fields).await?;
        for key in waiting {
            pending += 1;
            untold(&mut collecting, &key, &mut records);
        }
    }
    if collecting.is_full() {
        return Err(full());
    }
    Ok(Collected {
        expected: collecting.done(),
        pending,
        undecided: 0,
    })
}

/// Reads the source from its beginning to its end. The flow's cursor stays where it is, and nothing is acknowledged.
#[derive(Default)]
pub(crate) struct Rereading {
    cursor: Option<String>,
    pages: u32,
    over: bool,
}

impl Rereading {
    /// The records of the next page; none at the end.
    pub(crate) async fn next(&mut self, ctx: &FlowContext) -> Result<Option<Vec<Record>>, Stop> {
        if self.over {
            return Ok(None);
        }
        self.pages += 1;
        if self.pages > PAGES {
            return Err(Stop::failed(
                "endless",
                format!("the source has more than {PAGES} pages and does not come to an end"),
            ));
        }
        let mut tries = 0;
        loop {
            let source = ctx
                .sessions
                .connection(&ctx.tenant, &ctx.spec.source.connection)
                .await?;
            let request = ReadRequest {
                stream: ctx.spec.source.stream.clone(),
                cursor: self.cursor.clone(),
                max_records: ctx.spec.delivery.page,
                max_bytes: PAGE_BYTES,
                deadline_ms: u64::MAX,
                options: Vec::new(),
            };
            match source.read(request).await.result {
                Ok(page) => {
                    self.over = !page.more;
                    self.cursor = page.cursor;
                    return Ok(Some(page.records));
                }
                Err(error) => again(ctx, &mut tries, error).await?,
            }
        }
    }
}
