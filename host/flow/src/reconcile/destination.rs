//! Asks the destination what it holds, and keeps count of the calls. What passes by itself is asked again a few times; no question is
//! without an end.

use std::time::Duration;

use stecker_model::{
    Bucket, ErrorCode, Finding, KeyRange, ListedKey, Listing, LookupItem, Question, RetryClass,
    api::ReconcileCalls,
};
use stecker_registry::Role;
use stecker_sandbox::CallError;

use super::{drill::MOST_LISTED, stop::Stop};
use crate::{backoff, calls::Bound, context::FlowContext, reader::millis};

/// Entries of one page of a list.
const ENTRIES: u32 = 1_000;
/// Pages in a row that may be empty: a system may have to be searched for a few keys.
const EMPTY_PAGES: u32 = 1_000;
/// How often a call is made that fails for the moment.
const TRIES: u32 = 5;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The destination of a flow, for one comparison.
pub(crate) struct Destination<'c> {
    ctx: &'c FlowContext,
    pub(crate) fields: Vec<String>,
    pub(crate) calls: ReconcileCalls,
    pub(crate) has_role: bool,
}

impl<'c> Destination<'c> {
    /// With the compared fields: those of the flow, else those that the plugin names for the stream.
    pub(crate) async fn open(ctx: &'c FlowContext) -> Result<Self, Stop> {
        let bound = bound(ctx).await?;
        let release = bound.session.release();
        let policy = ctx.spec.reconcile.as_ref();
        let mut fields = policy.map(|policy| policy.fields.clone()).unwrap_or_default();
        if fields.is_empty() {
            let described = release.describe().await?;
            let streams = described.get("streams").and_then(|streams| streams.as_array());
            let stream = streams.into_iter().flatten().find(|stream| {
                stream.get("name").and_then(|name| name.as_str()) == Some(&ctx.spec.destination.stream)
            });
            let named = stream.and_then(|stream| stream.get("compare")?.as_array());
            fields = named
                .into_iter()
                .flatten()
                .filter_map(|field| field.as_str().map(str::to_owned))
                .collect();
        }
        Ok(Self {
            ctx,
            fields,
            calls: ReconcileCalls::default(),
            has_role: release.has(Role::Reconcile),
        })
    }

    fn question(&self, ranges: &[KeyRange]) -> Question {
        Question {
            stream: self.ctx.spec.destination.stream.clone(),
            fields: self.fields.clone(),
            ranges: ranges.to_vec(),
        }
    }

    /// None: the system cannot be summed up.
    pub(crate) async fn digest(
        &mut self,
        ranges: &[KeyRange],
        split: u32,
    ) -> Result<Option<Vec<Bucket>>, Stop> {
        let question = self.question(ranges);
        let mut tries = 0;
        loop {
            let bound = bound(self.ctx).await?;
            self.calls.digest += 1;
            match bound.digest(&question, split).await.result {
                Ok(buckets) => return Ok(Some(buckets)),
                Err(error) if error.code() == ErrorCode::Unsupported => return Ok(None),
                Err(error) => again(self.ctx, &mut tries, error).await?,
            }
        }
    }

    /// Begins a list of every key of the ranges.
    pub(crate) fn list(&self, ranges: &[KeyRange]) -> Pages {
        Pages {
            question: self.question(ranges),
            after: None,
            over: false,
            empty: 0,
            listed: 0,
        }
    }

    /// The next page of a list.
    pub(crate) async fn page(&mut self, pages: &mut Pages) -> Result<Page, Stop> {
        if pages.over {
            return Ok(Page::End);
        }
        let mut tries = 0;
        let listing = loop {
            let bound = bound(self.ctx).await?;
            self.calls.list += 1;
            let called = bound
                .list_keys(&pages.question, pages.after.as_deref(), ENTRIES)
                .await;
            match called.result {
                Ok(listing) => break listing,
                Err(error) if error.code() == ErrorCode::Unsupported => return Ok(Page::Unsupported),
                Err(error) => again(self.ctx, &mut tries, error).await?,
            }
        };
        pages.take(&listing)?;
        Ok(Page::Entries(listing.entries))
    }

    /// A finding for each item.
    pub(crate) async fn lookup(&mut self, items: &[LookupItem]) -> Result<Vec<Finding>, Stop> {
        let stream = &self.ctx.spec.destination.stream;
        let mut tries = 0;
        loop {
            let bound = bound(self.ctx).await?;
            self.calls.lookup += 1;
            match bound.lookup(stream, items.to_vec(), None).await.result {
                Ok(findings) => return Ok(findings),
                Err(error) if error.code() == ErrorCode::Unsupported => {
                    return Ok(vec![Finding::Undecided; items.len()]);
                }
                Err(error) => again(self.ctx, &mut tries, error).await?,
            }
        }
    }
}

/// What a page of a list brought.
pub(crate) enum Page {
    Entries(Vec<ListedKey>),
    /// There are no more.
    End,
    /// The system cannot be listed.
    Unsupported,
}

/// A list in progress.
pub(crate) struct Pages {
    question: Question,
    after: Option<String>,
    over: bool,
    empty: u32,
    listed: u64,
}

impl Pages {
    /// Goes on to the next page, as long as this comes to an end.
    fn take(&mut self, listing: &Listing) -> Result<(), Stop> {
        self.empty = if listing.entries.is_empty() {
            self.empty + 1
        } else {
            0
        };
        self.listed += listing.entries.len() as u64;
        let endless = if self.empty > EMPTY_PAGES {
            format!("gave {EMPTY_PAGES} pages in a row without a single key")
        } else if self.listed > MOST_LISTED {
            format!("lists more than {MOST_LISTED} keys, which is more than one comparison takes")
        } else {
            self.over = listing.next.is_none();
            self.after.clone_from(&listing.next);
            return Ok(());
        };
        Err(Stop::failed(
            "endless",
            format!(
                "the destination's plugin {endless}; this is a fault of the plugin, unless there really is that much"
            ),
        ))
    }
}

/// Bound anew for each call: the connection may have been applied with a change, or its circuit may have opened.
async fn bound(ctx: &FlowContext) -> Result<Bound, Stop> {
    let connection = &ctx.spec.destination.connection;
    Ok(ctx.sessions.connection(&ctx.tenant, connection).await?)
}

/// Waits for the next try, if there is one.
pub(super) async fn again(ctx: &FlowContext, tries: &mut u32, error: CallError) -> Result<(), CallError> {
    *tries += 1;
    if *tries >= TRIES || !error.code().passes_by_itself() {
        return Err(error);
    }
    let asked = match &error {
        CallError::Plugin(error) => error.retry_after_ms,
        _ => None,
    };
    let pause = millis(backoff::pause_ms(
        &ctx.spec.retry.budget(RetryClass::of(error.code().as_str())),
        *tries,
        asked,
        &mut rand::rng(),
    ));
    tracing::debug!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, ?pause, "asked again for a comparison");
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages {
            question: Question {
                stream: "orders".to_owned(),
                fields: Vec::new(),
                ranges: vec![KeyRange::ALL],
            },
            after: None,
            over: false,
            empty: 0,
            listed: 0,
        }
    }

    #[test]
    fn a_list_without_an_end_is_ended() {
        let mut pages = pages();
        let mut turns = 0_u32;
        let why = loop {
            let listing = Listing {
                entries: Vec::new(),
                next: Some(turns.to_string()),
            };
            match pages.take(&listing) {
                Ok(()) => turns += 1,
                Err(Stop::Failed(reason)) => break reason,
                Err(other) => panic!("{other:?}"),
            }
            assert!(turns <= EMPTY_PAGES, "it never ends");
        };
        assert_eq!(why.code, "endless");
        assert!(why.message.contains("without a single key"), "{}", why.message);
    }

    #[test]
    fn the_last_page_ends_a_list() {
        let mut pages = pages();
        pages.take(&Listing::default()).unwrap();
        assert!(pages.over);
    }
}
