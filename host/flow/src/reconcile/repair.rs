//! Brings back what is missing and what differs: by the ledger's own path, so in the order of each key, with the idempotency key that the
//! record has, and never over a newer state. No faster than was asked for.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use stecker_model::{
    Operation, Record, RepairKind,
    api::{Difference, DifferenceKind},
};
use stecker_store::{ExpectedKey, LedgerRecord, NewRecord, Repair, Repaired};

use super::{
    collect::Rereading,
    expected::{Expected, Origin},
    stop::Stop,
    work::Work,
};
use crate::outcome::Progress;

/// Records that are queued in one transaction.
const BATCH: usize = 100;

/// Repairs the wanted kinds, and writes into each difference what was done about it.
pub(crate) async fn repair(
    work: &mut Work<'_>,
    expected: &Expected,
    differences: &mut [Difference],
    wanted: &[RepairKind],
) -> Result<(), Stop> {
    let mut by_record: BTreeMap<i64, Vec<&mut Difference>> = BTreeMap::new();
    let mut by_source = AtSource::new();
    let mut unknown = Vec::new();
    for one in differences {
        match kind_of(one.kind).filter(|kind| wanted.contains(kind)) {
            None => {}
            Some(RepairKind::ExtraDelete) => match expected.gone(&one.key) {
                Some(seq) => by_record.entry(seq).or_default().push(one),
                None => unknown.push(one),
            },
            Some(RepairKind::Missing | RepairKind::Different) => {
                match expected.get(&one.key).map(|thing| &thing.origin) {
                    Some(Origin::Ledger(seq)) => by_record.entry(*seq).or_default().push(one),
                    Some(Origin::Source { key, version }) => {
                        let of_key = by_source.entry(key.clone());
                        of_key
                            .or_insert_with(|| (version.clone(), Vec::new()))
                            .1
                            .push(one);
                    }
                    None => {}
                }
            }
        }
    }
    let new = split_source(work, by_source, &mut by_record).await?;
    queue(work, by_record).await?;
    accept(work, new).await?;
    delete_unknown(work, unknown).await?;
    work.ctx.deliver_now.notify_one();
    Ok(())
}

/// Differences by the source's key, with the state that the source told.
type AtSource<'d> = HashMap<Box<str>, (Box<str>, Vec<&'d mut Difference>)>;

/// A thing that is there twice cannot be repaired by writing it.
fn kind_of(kind: DifferenceKind) -> Option<RepairKind> {
    match kind {
        DifferenceKind::Missing => Some(RepairKind::Missing),
        DifferenceKind::Different => Some(RepairKind::Different),
        DifferenceKind::Extra => Some(RepairKind::ExtraDelete),
        DifferenceKind::Doubled => None,
    }
}

fn told(differences: &mut [&mut Difference], what: &str) {
    for one in differences {
        one.repair = Some(what.to_owned());
    }
}

/// What the ledger has delivered in the state that the source told, or in a later one, goes by the ledger's record; the rest, which the
/// ledger does not have, is returned.
async fn split_source<'d>(
    work: &Work<'_>,
    mut by_source: AtSource<'d>,
    by_record: &mut BTreeMap<i64, Vec<&'d mut Difference>>,
) -> Result<AtSource<'d>, Stop> {
    let ctx = work.ctx;
    let keys: Vec<String> = by_source.keys().map(ToString::to_string).collect();
    let known: Vec<ExpectedKey> = ctx
        .store
        .expected_of((&ctx.tenant, ctx.flow()), &ctx.spec.source.stream, &keys)
        .await?;
    let delivered = newest_versions(work, &known).await?;
    for key in known {
        let Some((version, mut of_key)) = by_source.remove(key.key.as_str()) else {
            continue;
        };
        if key.waiting.is_some() {
            told(
                &mut of_key,
                "not repaired: a newer state of it is on its way or in quarantine",
            );
            continue;
        }
        match delivered.get(&key.key) {
            Some((seq, known)) if *version <= **known => {
                by_record.entry(*seq).or_default().extend(of_key);
            }
            _ => drop(by_source.insert(key.key.into(), (version, of_key))),
        }
    }
    Ok(by_source)
}

/// By key, the newest delivered record and its version.
async fn newest_versions(
    work: &Work<'_>,
    known: &[ExpectedKey],
) -> Result<HashMap<String, (i64, String)>, Stop> {
    let ctx = work.ctx;
    let seqs: Vec<i64> = known.iter().filter_map(|key| key.delivered).collect();
    let records = ctx.store.ledger_records((&ctx.tenant, ctx.flow()), &seqs).await?;
    Ok(records
        .into_iter()
        .map(|LedgerRecord { seq, record, .. }| (record.key, (seq, record.source_version)))
        .collect())
}

/// Sends records of the ledger once more.
async fn queue(work: &mut Work<'_>, by_record: BTreeMap<i64, Vec<&mut Difference>>) -> Result<(), Stop> {
    let ctx = work.ctx;
    let rate = work.run.request.rate.max(1);
    let size = BATCH.min(rate as usize);
    let total = by_record.len();
    let mut left = by_record.into_iter().peekable();
    let mut done = 0_usize;
    while left.peek().is_some() {
        let mut batch: BTreeMap<i64, Vec<&mut Difference>> = left.by_ref().take(size).collect();
        work.step(&format!("repairing: {done} of {total} records"))
            .await?;
        let seqs: Vec<i64> = batch.keys().copied().collect();
        let records = ctx.store.ledger_records((&ctx.tenant, ctx.flow()), &seqs).await?;
        let repairs: Vec<Repair> = records
            .iter()
            .filter_map(|record| once_more(record, batch.get(&record.seq)?))
            .collect();
        let queued = match ctx
            .store
            .repair(&ctx.lease, &work.run, &repairs, ctx.now())
            .await?
        {
            Repaired::Queued(queued) => queued,
            Repaired::Ended => return Err(Stop::Ended),
        };
        work.report.repaired += queued.len() as u64;
        for (seq, of_record) in &mut batch {
            let what = if queued.contains(seq) {
                "queued"
            } else {
                "not repaired: it changed meanwhile"
            };
            told(of_record, what);
        }
        done += batch.len();
        ctx.deliver_now.notify_one();
        if left.peek().is_some() {
            pace(batch.len(), rate).await;
        }
    }
    Ok(())
}

/// The outputs that differ are written again, the others are not.
fn once_more(record: &LedgerRecord, differences: &[&mut Difference]) -> Option<Repair> {
    let mut progress = Progress::parse(record.outputs.as_deref());
    for one in differences {
        progress.undo(&one.key);
    }
    // One record, one word: what is missing is the weaker claim on what is there.
    let kind = differences.iter().filter_map(|one| kind_of(one.kind)).max()?;
    Some(Repair {
        seq: record.seq,
        kind,
        outputs: progress.to_text(),
    })
}

async fn pace(records: usize, rate: u32) {
    let seconds = f64::from(u32::try_from(records).unwrap_or(u32::MAX)) / f64::from(rate);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Takes records from the source that the ledger never accepted: an event that was lost, or a cursor that went past. The source is read
/// once more for them, because a comparison keeps digests and no payloads.
async fn accept(work: &mut Work<'_>, mut new: AtSource<'_>) -> Result<(), Stop> {
    if new.is_empty() {
        return Ok(());
    }
    let ctx = work.ctx;
    let source = ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.source.connection)
        .await?;
    let rate = work.run.request.rate.max(1);
    let mut reading = Rereading::default();
    while let Some(page) = reading.next(ctx).await? {
        for record in page {
            let Some((version, of_key)) = new.get_mut(record.key.as_str()) else {
                continue;
            };
            if *record.source_version < **version {
                continue;
            }
            work.step("repairing: records that the ledger never had").await?;
            let taken = take_in(work, &source.release, record).await?;
            told(of_key, taken);
            pace(1, rate).await;
        }
    }
    for (_, of_key) in new.values_mut() {
        let open = of_key.iter_mut().filter(|one| one.repair.is_none());
        for one in open {
            one.repair = Some("not repaired: the source does not have it any more".to_owned());
        }
    }
    Ok(())
}

async fn take_in(
    work: &mut Work<'_>,
    release: &stecker_model::Digest,
    record: Record,
) -> Result<&'static str, Stop> {
    let ctx = work.ctx;
    let records = vec![NewRecord::from(record)];
    let committed = ctx
        .store
        .accept_found(&ctx.lease, &work.run, release, records, ctx.now())
        .await?
        .ok_or(Stop::Ended)?;
    work.report.repaired += committed.accepted;
    Ok(if committed.accepted > 0 {
        "accepted"
    } else {
        "not repaired: the ledger has this state or a newer one, left out by a transform or given up by a person"
    })
}

/// Deletes what nothing here knows of. Asked for by name only.
async fn delete_unknown(work: &mut Work<'_>, mut unknown: Vec<&mut Difference>) -> Result<(), Stop> {
    if unknown.is_empty() {
        return Ok(());
    }
    let ctx = work.ctx;
    if !ctx.spec.transforms.is_empty() {
        told(
            &mut unknown,
            "not repaired: the flow has transforms, and nothing says which thing of the source this would be",
        );
        return Ok(());
    }
    let source = ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.source.connection)
        .await?;
    let rate = work.run.request.rate.max(1);
    for one in unknown {
        work.step("repairing: deleting what is not known here").await?;
        let deletion = Record {
            stream: ctx.spec.source.stream.clone(),
            key: one.key.clone(),
            operation: Operation::Delete,
            payload: "{}".to_owned(),
            before: None,
            event_time: None,
            // Before every state that the source may ever tell of it, so that none of those is taken for overtaken.
            source_version: String::new(),
            attributes: Vec::new(),
        };
        let taken = take_in(work, &source.release, deletion).await?;
        one.repair = Some(taken.to_owned());
        pace(1, rate).await;
    }
    Ok(())
}
