//! Reading, without losing anything, from lists that know only when a thing was created.
//!
//! **Events** are read in passes: everything created since a second, page by page to the end of the list. The next pass begins some
//! seconds (`overlap_seconds`) before this one began, so that an event which shows late, or a clock that differs, costs nothing; the host
//! recognises what it has. Whether a list begins with its newest or its oldest makes no difference, and what is added while a pass goes
//! on is in this pass or in the next.
//!
//! **Things** are listed once, all of them, and then followed by the events about them, from some seconds before the listing began. A
//! listed state counts as older than every event from there on, so whatever happens meanwhile comes behind it. Stripe keeps events for 30
//! days: whoever was not reading for longer than that has missed some, and lists everything again.
//!
//! A thing that went away between two pages is no place to go on from: then the pass begins again.

use crate::Stripe;
use crate::api::{List, Part};
use crate::events::{self, Event};
use crate::objects::Kind;
use crate::version;
use serde_json::Value;
use stecker_sdk::clock;
use stecker_sdk::prelude::*;

/// How far back events are relied upon, in seconds: a day less than Stripe keeps them.
const KEPT: u64 = 29 * 86_400;
/// Without any event, the beginning of a pass moves on after so many seconds; more often would be writing for nothing.
const QUIET: u64 = 3_600;

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
enum Cursor {
    /// All things are being listed.
    Listing {
        /// Seconds since 1970; events from here on are newer than what is listed.
        began: u64,
        after: Option<String>,
    },
    /// Events are followed.
    Following {
        /// Seconds since 1970.
        from: u64,
        pass: Option<Pass>,
        /// Passes that found anything: a place in time alone would stay where it is for two polls within one second.
        passes: u64,
    },
}

impl Cursor {
    const fn at(from: u64) -> Self {
        Self::Following {
            from,
            pass: None,
            passes: 0,
        }
    }
}

/// A pass that is not at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pass {
    /// Seconds since 1970.
    began: u64,
    after: String,
}

/// The page of the stream of events.
pub(crate) fn events(plugin: &Stripe, request: &ReadRequest) -> Result<Page> {
    let cursor = request.cursor_as()?.unwrap_or(Cursor::at(0));
    let (from, pass, passes) = match cursor {
        Cursor::Following { from, pass, passes } => (from, pass, passes),
        Cursor::Listing { began, .. } => (began, None, 0),
    };
    if is_gap(from, pass.as_ref()) {
        stecker_sdk::warn!(
            "events are kept for 30 days and were not read for longer; what happened before is not among them any more",
            read_until = crate::objects::moment(from)
        );
    }
    follow(plugin, request, (from, pass, passes), |event| {
        event.record().map(Some)
    })
}

/// The page of a stream of things.
pub(crate) fn things(plugin: &Stripe, request: &ReadRequest, kind: Kind) -> Result<Page> {
    let beginning = || Cursor::Listing {
        began: now().saturating_sub(plugin.overlap_seconds),
        after: None,
    };
    let cursor = match request.cursor_as()?.unwrap_or_else(beginning) {
        Cursor::Following { from, pass, .. } if is_gap(from, pass.as_ref()) => {
            stecker_sdk::warn!(
                "events are kept for 30 days and were not read for longer; everything is listed again",
                stream = kind.stream(),
                read_until = crate::objects::moment(from)
            );
            beginning()
        }
        cursor => cursor,
    };
    match cursor {
        Cursor::Listing { began, after } => list(plugin, request, kind, began, after.as_deref()),
        Cursor::Following { from, pass, passes } => follow(plugin, request, (from, pass, passes), |event| {
            (event.about() == Some(kind))
                .then(|| event.record_of(kind))
                .transpose()
        }),
    }
}

/// Events may have gone since.
fn is_gap(from: u64, pass: Option<&Pass>) -> bool {
    from > 0 && pass.is_none() && from < now().saturating_sub(KEPT)
}

fn now() -> u64 {
    clock::now() / 1_000
}

fn list(plugin: &Stripe, request: &ReadRequest, kind: Kind, began: u64, after: Option<&str>) -> Result<Page> {
    let part = Part {
        limit: request.limit(plugin.page_size),
        starting_after: after,
        created_from: None,
    };
    let List { data, has_more } = page(&part, |part| plugin.api.list::<Value>(kind.stream(), part))
        .map_err(|error| error.context(format!("reading {}", kind.stream())))?;
    let mut budget = request.budget();
    let (mut records, mut last, mut cut) = (Vec::new(), None, false);
    for value in &data {
        let thing = kind.thing(value)?;
        let record = Record::upsert(
            kind.stream(),
            &thing.id,
            version::of_listing(began),
            &thing.payload,
        )?
        .at(thing.created.saturating_mul(1_000));
        if !budget.take(&record) {
            cut = true;
            break;
        }
        last = Some(thing.id);
        records.push(record);
    }
    let page = Page::new(records).more(true);
    match last {
        Some(last) if has_more || cut => page.resume_at(&Cursor::Listing {
            began,
            after: Some(last),
        }),
        // The events since are read at once.
        _ => page.resume_at(&Cursor::at(began)),
    }
}

fn follow(
    plugin: &Stripe,
    request: &ReadRequest,
    (from, pass, passes): (u64, Option<Pass>, u64),
    record: impl Fn(&Event) -> Result<Option<Record>>,
) -> Result<Page> {
    let began = pass.as_ref().map_or_else(now, |pass| pass.began);
    let part = Part {
        limit: request.limit(plugin.page_size),
        starting_after: pass.as_ref().map(|pass| pass.after.as_str()),
        created_from: (from > 0).then_some(from),
    };
    let List { data, has_more } = page(&part, |part| plugin.api.list::<Event>(events::STREAM, part))
        .map_err(|error| error.context("reading events"))?;
    let mut budget = request.budget();
    let (mut records, mut last, mut cut) = (Vec::new(), None, false);
    for event in &data {
        if let Some(record) = record(event)? {
            if !budget.take(&record) {
                cut = true;
                break;
            }
            records.push(record);
        }
        last = Some(event.id.clone());
    }
    // In the order in which they happened, as far as one page goes.
    if data.first().map(|event| event.created) > data.last().map(|event| event.created) {
        records.reverse();
    }
    let going_on = has_more || cut;
    let page = Page::new(records).more(going_on);
    match last {
        Some(after) if going_on => page.resume_at(&Cursor::Following {
            from,
            pass: Some(Pass { began, after }),
            passes,
        }),
        None if pass.is_none() && began.saturating_sub(from) < QUIET.max(2 * plugin.overlap_seconds) => page
            .resume_at(&Cursor::Following {
                from,
                pass: None,
                passes,
            }),
        _ => page.more(false).resume_at(&Cursor::Following {
            from: began.saturating_sub(plugin.overlap_seconds).max(from),
            pass: None,
            passes: passes.saturating_add(1),
        }),
    }
}

/// The part of a list; from its beginning, if the thing to go on after is not there any more.
fn page<T>(part: &Part<'_>, fetch: impl Fn(&Part<'_>) -> Result<List<T>>) -> Result<List<T>> {
    match fetch(part) {
        Err(error) if part.starting_after.is_some() && error.detail_of("param") == Some("starting_after") => {
            fetch(&Part {
                starting_after: None,
                ..*part
            })
        }
        answer => answer,
    }
}
