//! One comparison, from what should be there to what is not: drives the drill-down or the look-ups, takes out what changed meanwhile, and asks
//! for the places that differ.

use std::collections::HashSet;

use serde_json::Value;
use stecker_model::{
    Finding, LookupItem, RecordId,
    api::{Difference, DifferenceKind, ReconcileMethod, ReconcileMode},
    digest_of,
};
use stecker_store::LedgerRecord;

use super::{
    collect::{self, Collected},
    destination::{Destination, Page},
    drill::{Drill, Found, Step},
    expected::{Expected, Origin, Thing},
    fields,
    stop::Stop,
    work::Work,
};
use crate::{calls::Bound, prepare, prepare::Prepared};

/// Keys that are looked up in one call.
const LOOKUP: usize = 50;
/// Different things whose places are told.
const SHOWN: usize = 100;
/// Records that came meanwhile and are looked at together.
const MEANWHILE: u32 = 500;

/// What came of it.
pub(crate) struct Compared {
    pub(crate) expected: Expected,
    /// By kind and key.
    pub(crate) differences: Vec<Difference>,
}

/// Compares, and leaves the numbers in the report.
pub(crate) async fn compare(
    work: &mut Work<'_>,
    destination: &mut Destination<'_>,
    transforms: &[Bound],
) -> Result<Compared, Stop> {
    let ctx = work.ctx;
    let began = ctx.store.newest_seq(&ctx.tenant, ctx.flow()).await?;
    let fields = destination.fields.clone();
    work.report.fields.clone_from(&fields);
    let collected = match work.run.request.mode {
        ReconcileMode::Ledger => {
            work.step("reading the ledger").await?;
            collect::by_ledger(ctx, transforms, &fields).await?
        }
        ReconcileMode::Full => {
            work.step("reading the source from its beginning").await?;
            collect::by_source(ctx, transforms, &fields).await?
        }
    };
    let Collected {
        expected,
        pending,
        undecided,
    } = collected;
    let counts = &mut work.report.counts;
    counts.expected = expected.things().len() as u64;
    (counts.pending, counts.undecided) = (pending, undecided);
    let (found, equal) = ask(work, destination, &expected).await?;
    work.step("looking at what changed meanwhile").await?;
    let changed = changed_since(work, transforms, began, &fields).await?;
    let before = found.len();
    let mut found: Vec<Found> = found
        .into_iter()
        .filter(|one| !changed.contains(&one.key))
        .collect();
    found.sort_unstable_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    let counts = &mut work.report.counts;
    counts.equal = equal;
    counts.pending += (before - found.len()) as u64;
    for one in &found {
        match one.kind {
            DifferenceKind::Missing => counts.missing += 1,
            DifferenceKind::Extra => counts.extra += 1,
            DifferenceKind::Different => counts.different += 1,
            DifferenceKind::Doubled => counts.doubled += 1,
        }
    }
    let mut differences: Vec<Difference> = found
        .into_iter()
        .map(|one| Difference {
            kind: one.kind,
            record: record_of(&expected, &one.key).map(|seq| RecordId {
                flow: ctx.flow().clone(),
                seq,
            }),
            key: one.key,
            external_id: one.external_id,
            fields: Vec::new(),
            repair: None,
        })
        .collect();
    work.report.calls = destination.calls;
    if differences
        .iter()
        .any(|one| one.kind == DifferenceKind::Different)
    {
        work.step("looking at what differs").await?;
        places(work, destination, transforms, &expected, &mut differences).await?;
    }
    work.report.calls = destination.calls;
    Ok(Compared {
        expected,
        differences,
    })
}

/// The record of the ledger behind a key, if it is known.
fn record_of(expected: &Expected, key: &str) -> Option<i64> {
    match expected.get(key).map(|thing| &thing.origin) {
        Some(Origin::Ledger(seq)) => Some(*seq),
        Some(Origin::Source { .. }) => None,
        None => expected.gone(key),
    }
}

async fn ask(
    work: &mut Work<'_>,
    destination: &mut Destination<'_>,
    expected: &Expected,
) -> Result<(Vec<Found>, u64), Stop> {
    if !destination.has_role {
        return look_up(work, destination, expected).await;
    }
    work.step("comparing sums").await?;
    work.report.method = Some(ReconcileMethod::Digest);
    let mut drill = Drill::by_sums(expected);
    loop {
        match drill.next() {
            Step::Digest { ranges, split } => match destination.digest(&ranges, split).await? {
                Some(buckets) => drill.summed(&ranges, split, &buckets),
                None => {
                    work.report.method = Some(ReconcileMethod::List);
                    drill = Drill::by_list(expected);
                }
            },
            Step::List { ranges } => {
                let mut pages = destination.list(&ranges);
                let mut listed = 0_usize;
                loop {
                    let entries = match destination.page(&mut pages).await? {
                        Page::Entries(entries) => entries,
                        Page::End => break,
                        Page::Unsupported => return look_up(work, destination, expected).await,
                    };
                    listed += entries.len();
                    drill.page(entries)?;
                    work.report.calls = destination.calls;
                    work.step(&format!("comparing lists: {listed} keys")).await?;
                }
                drill.listed()?;
            }
            Step::Done => return Ok(drill.into_found()),
        }
        work.report.calls = destination.calls;
    }
}

/// Key by key, for a destination that neither sums up nor lists.
async fn look_up(
    work: &mut Work<'_>,
    destination: &mut Destination<'_>,
    expected: &Expected,
) -> Result<(Vec<Found>, u64), Stop> {
    work.report.method = Some(ReconcileMethod::Lookup);
    let mut found = Vec::new();
    let (mut equal, mut looked) = (0, 0_usize);
    for things in expected.things().chunks(LOOKUP) {
        work.report.calls = destination.calls;
        work.step(&format!(
            "looking up: {looked} of {} keys",
            expected.things().len()
        ))
        .await?;
        looked += things.len();
        let items = questions(work, things).await?;
        let asked: Vec<LookupItem> = items.iter().flatten().cloned().collect();
        let mut findings = if asked.is_empty() {
            Vec::new()
        } else {
            destination.lookup(&asked).await?
        }
        .into_iter();
        for (thing, item) in things.iter().zip(&items) {
            let finding = item.as_ref().and_then(|_| findings.next());
            let (kind, external_id) = match judged(finding, thing, &destination.fields) {
                Judged::Equal => {
                    equal += 1;
                    continue;
                }
                Judged::Undecided => {
                    work.report.counts.undecided += 1;
                    continue;
                }
                Judged::Wrong(kind, external_id) => (kind, external_id),
            };
            found.push(Found {
                kind,
                key: thing.key.to_string(),
                external_id,
            });
        }
    }
    Ok((found, equal))
}

enum Judged {
    Equal,
    Undecided,
    Wrong(DifferenceKind, Option<String>),
}

/// A thing that is there and not shown cannot be compared: that it is there is all that is known.
fn judged(finding: Option<Finding>, thing: &Thing, fields: &[String]) -> Judged {
    match finding {
        None | Some(Finding::Undecided | Finding::Present { payload: None, .. }) => Judged::Undecided,
        Some(Finding::Absent) => Judged::Wrong(DifferenceKind::Missing, None),
        Some(Finding::Present {
            external_id,
            payload: Some(payload),
        }) => {
            let payload: Value = serde_json::from_str(&payload).unwrap_or_default();
            if digest_of(&payload, fields) == thing.digest {
                Judged::Equal
            } else {
                Judged::Wrong(DifferenceKind::Different, external_id)
            }
        }
    }
}

/// What to ask about things, one each; none for a thing that the ledger does not know.
async fn questions(work: &Work<'_>, things: &[Thing]) -> Result<Vec<Option<LookupItem>>, Stop> {
    let ctx = work.ctx;
    let seqs: Vec<i64> = things
        .iter()
        .filter_map(|thing| match thing.origin {
            Origin::Ledger(seq) => Some(seq),
            Origin::Source { .. } => None,
        })
        .collect();
    let records = ctx.store.ledger_records((&ctx.tenant, ctx.flow()), &seqs).await?;
    Ok(things
        .iter()
        .map(|thing| {
            let item = |record: Option<&LedgerRecord>| LookupItem {
                key: thing.key.to_string(),
                idempotency_key: record.map(|it| it.idempotency_key.clone()).unwrap_or_default(),
                source_version: record
                    .map(|it| it.record.source_version.clone())
                    .unwrap_or_default(),
            };
            match &thing.origin {
                Origin::Ledger(seq) => {
                    let record = records.iter().find(|record| record.seq == *seq)?;
                    Some(item(Some(record)))
                }
                // Of any state: what is asked is what is there.
                Origin::Source { .. } => Some(item(None)),
            }
        })
        .collect())
}

/// Keys at the destination of what was accepted since.
async fn changed_since(
    work: &Work<'_>,
    transforms: &[Bound],
    mut seq: i64,
    fields: &[String],
) -> Result<HashSet<String>, Stop> {
    let ctx = work.ctx;
    let mut changed = HashSet::new();
    loop {
        let records = ctx
            .store
            .accepted_after((&ctx.tenant, ctx.flow()), seq, MEANWHILE)
            .await?;
        let Some(last) = records.last() else {
            return Ok(changed);
        };
        seq = last.seq;
        changed.extend(records.iter().map(|record| record.record.key.clone()));
        let records = records.into_iter().map(|record| record.record).collect();
        for becomes in collect::becomes(ctx, transforms, records, fields).await? {
            changed.extend(becomes.outputs.into_iter().map(|(key, _)| key));
        }
    }
}

/// Asks for some of the different things and says where they differ. A destination that does not show its things leaves this empty.
async fn places(
    work: &mut Work<'_>,
    destination: &mut Destination<'_>,
    transforms: &[Bound],
    expected: &Expected,
    differences: &mut [Difference],
) -> Result<(), Stop> {
    let ctx = work.ctx;
    let mut shown: Vec<&mut Difference> = differences
        .iter_mut()
        .filter(|one| one.kind == DifferenceKind::Different && one.record.is_some())
        .take(SHOWN)
        .collect();
    for some in shown.chunks_mut(LOOKUP) {
        let things: Vec<Thing> = some
            .iter()
            .filter_map(|one| expected.get(&one.key).cloned())
            .collect();
        let items: Vec<LookupItem> = questions(work, &things).await?.into_iter().flatten().collect();
        if items.is_empty() {
            continue;
        }
        let seqs: Vec<i64> = some
            .iter()
            .filter_map(|one| one.record.as_ref().map(|record| record.seq))
            .collect();
        let records = ctx.store.ledger_records((&ctx.tenant, ctx.flow()), &seqs).await?;
        let records = records.into_iter().map(|record| record.record).collect();
        let written: Vec<_> = prepare::prepare(&ctx.spec, transforms, records)
            .await?
            .into_iter()
            .flat_map(|prepared| match prepared {
                Prepared::Write(outputs) => outputs,
                Prepared::Dropped(_) | Prepared::Rejected(_) => Vec::new(),
            })
            .collect();
        let findings = destination.lookup(&items).await?;
        for (item, finding) in items.iter().zip(findings) {
            let ours = written.iter().find(|output| output.key == item.key);
            let one = some.iter_mut().find(|one| one.key == item.key);
            if let (
                Finding::Present {
                    payload: Some(theirs),
                    external_id,
                },
                Some(ours),
                Some(one),
            ) = (finding, ours, one)
            {
                let ours: Value = serde_json::from_str(&ours.payload).unwrap_or_default();
                let theirs: Value = serde_json::from_str(&theirs).unwrap_or_default();
                one.fields = fields::differing(&ours, &theirs, &destination.fields);
                one.external_id = one.external_id.take().or(external_id);
            }
        }
    }
    Ok(())
}
