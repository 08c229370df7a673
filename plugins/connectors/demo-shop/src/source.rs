//! Reading orders and products by keyset.

use crate::DemoShop;
use crate::api::{Listed, Order, Product};
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use stecker_sdk::prelude::*;

/// The most that the shop lists at once.
const MOST: u32 = 100;

/// The pair of the last thing read. Both parts are needed: bulk operations give hundreds of things the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct After {
    updated_since: String,
    after_id: u64,
}

/// A page of a listing; the name of its list differs by stream.
struct Listing<T> {
    things: Vec<T>,
    more: bool,
}

impl<'de, T: Listed> Deserialize<'de> for Listing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Listed> Visitor<'de> for Fields<T> {
            type Value = Listing<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with `{}` and `next`", T::NAME)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let (mut things, mut more) = (None, false);
                while let Some(name) = map.next_key::<String>()? {
                    if name == T::NAME {
                        things = Some(map.next_value()?);
                    } else if name == "next" {
                        more = map.next_value::<Option<serde::de::IgnoredAny>>()?.is_some();
                    } else {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                let things = things.ok_or_else(|| serde::de::Error::missing_field(T::NAME))?;
                Ok(Listing { things, more })
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl Source for DemoShop {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        match request.stream.as_str() {
            Order::NAME => self.page::<Order>(request),
            Product::NAME => self.page::<Product>(request),
            other => Err(unknown_stream(other, &[Order::NAME, Product::NAME])),
        }
    }
}

impl DemoShop {
    fn page<T: Listed>(&self, request: &ReadRequest) -> Result<Page> {
        let after: Option<After> = request.cursor_as()?;
        let listing: Listing<T> = self
            .api
            .get(&format!("/{}", T::NAME))
            .query("limit", request.limit(MOST))
            .query_opt("updated_since", after.as_ref().map(|after| &after.updated_since))
            .query_opt("after_id", after.as_ref().map(|after| after.after_id))
            .send()?
            .error_for_status()?
            .json()?;
        let mut budget = request.budget();
        let mut page = Page::new(Vec::new()).resume_where(request).more(listing.more);
        let mut last = None;
        for thing in &listing.things {
            let record = thing.to_record()?;
            if !budget.take(&record) {
                page = page.more(true);
                break;
            }
            page.records.push(record);
            last = Some(After {
                updated_since: thing.updated_at().to_owned(),
                after_id: thing.id(),
            });
        }
        match last {
            // Also on the last page: what changes later comes after this pair.
            Some(last) => page.resume_at(&last),
            None => Ok(page.more(false)),
        }
    }
}
