//! The little that stands between this crate's SQL and the driver: statements put together at run time, lists in pieces of
//! a few fixed sizes, and checks of values on their way in and out.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Any, Arguments, AssertSqlSafe, Encode, Row, Type,
    any::{AnyArguments, AnyRow},
    query::Query,
};
use stecker_model::Name;

use crate::{
    Backend, StoreError,
    patience::{self, Guarded},
    turns::Turn,
};

/// A transaction on either database.
pub(crate) struct Tx {
    // Before the turn, so that it is over when the next one begins.
    inner: Guarded,
    backend: Backend,
    _turn: Option<Turn>,
}

impl Tx {
    pub(crate) fn new(inner: Guarded, backend: Backend, turn: Option<Turn>) -> Self {
        Self {
            inner,
            backend,
            _turn: turn,
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// An error does not say that nothing was committed: the answer may have been lost.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        patience::within(self.inner.patience, self.inner.tx.commit()).await
    }

    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        patience::within(self.inner.patience, self.inner.tx.rollback()).await
    }
}

impl Deref for Tx {
    type Target = Guarded;

    fn deref(&self) -> &Guarded {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Guarded {
        &mut self.inner
    }
}

/// Ends an `UPDATE records` that began with [`Sql::with_keys`], or with a list that has the same key.
pub(crate) const OF_RECORDS: &str =
    " FROM v WHERE records.tenant = v.tenant AND records.flow = v.flow AND records.seq = v.seq";
/// As [`OF_RECORDS`], for `UPDATE queue`.
pub(crate) const OF_QUEUE: &str =
    " FROM v WHERE queue.tenant = v.tenant AND queue.flow = v.flow AND queue.seq = v.seq";
/// Ends a statement that began with [`Sql::with_keys`]: what is done leaves the queue.
pub(crate) const LEAVE_QUEUE: &str =
    "DELETE FROM queue WHERE (tenant, flow, seq) IN (SELECT tenant, flow, seq FROM v)";

/// A statement that grows with its values.
///
/// Postgres wants them numbered: `$1`, `$2`, … SQLite would understand that, too, but as *names*, which its driver looks up for each value in
/// a list of all of them: the cost of a statement with thousands of values would grow with their square. So it gets a bare `?` for each.
pub(crate) struct Sql {
    /// Without the places of values.
    text: String,
    /// Where in the text a value goes, in order.
    places: Vec<usize>,
    values: AnyArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Sql {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            places: Vec::new(),
            values: AnyArguments::default(),
            failed: None,
        }
    }

    /// Adds text of this program, never of anybody else.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(crate) fn bind<'v, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'v, Any> + Type<Any>,
    {
        if let Err(error) = self.values.add(value) {
            self.failed.get_or_insert(error);
        }
        self.places.push(self.text.len());
        self
    }

    /// Adds `(…), (…), …`, one for each row, filled by `fill`, which binds the row's values with [`Sql::value`].
    pub(crate) fn rows<R>(&mut self, rows: &[R], mut fill: impl FnMut(&mut Values<'_>, &R)) -> &mut Self {
        for (index, row) in rows.iter().enumerate() {
            self.text.push_str(if index == 0 { "(" } else { ", (" });
            fill(
                &mut Values {
                    sql: self,
                    first: true,
                },
                row,
            );
            self.text.push(')');
        }
        self
    }

    /// Begins `WITH v (tenant, flow, seq) AS (…)`, to join with. The whole key stands in each row and nothing of it in a
    /// condition of its own, so that Postgres, which may know nothing of the table yet, is not led to read a whole flow
    /// in the belief that it is one row.
    pub(crate) fn with_keys(tenant: &Name, flow: &Name, seqs: &[i64]) -> Self {
        let mut sql = Self::new("WITH v (tenant, flow, seq) AS (VALUES ");
        sql.rows(seqs, |row, seq| {
            row.value(tenant.as_str()).value(flow.as_str()).value(*seq);
        });
        sql.push(") ");
        sql
    }

    /// As a database reads it.
    pub(crate) fn text(&self, backend: Backend) -> String {
        let mut text = String::with_capacity(self.text.len() + 6 * self.places.len());
        let mut rest = self.text.as_str();
        let mut taken = 0;
        for (place, number) in self.places.iter().zip(1_usize..) {
            let (before, after) = rest.split_at(place - taken);
            text.push_str(before);
            match backend {
                Backend::Sqlite => text.push('?'),
                Backend::Postgres => {
                    text.push('$');
                    text.push_str(&number.to_string());
                }
            }
            (rest, taken) = (after, *place);
        }
        text.push_str(rest);
        text
    }

    pub(crate) fn query<'q>(self, backend: Backend) -> Result<Query<'q, Any, AnyArguments>, StoreError> {
        let text = self.text(backend);
        if let Some(error) = self.failed {
            return Err(sqlx::Error::Encode(error).into());
        }
        Ok(sqlx::query_with(AssertSqlSafe(text), self.values))
    }
}

/// The values of one row.
pub(crate) struct Values<'s> {
    sql: &'s mut Sql,
    first: bool,
}

impl Values<'_> {
    pub(crate) fn value<'v, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'v, Any> + Type<Any>,
    {
        if !self.first {
            self.sql.push(", ");
        }
        self.first = false;
        self.sql.bind(value);
        self
    }
}

/// Sizes of pieces, close enough to each other that a batch is one or two statements and rarely more.
const SIZES: [usize; 16] = [256, 192, 128, 96, 64, 50, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// A list in pieces of few sizes: a statement for each size, and both databases keep those prepared. The largest piece with
/// the widest row stays far below SQLite's 32,766 and Postgres' 65,535 values a statement.
pub(crate) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (piece, after) = rest.split_at(size);
        rest = after;
        Some(piece)
    })
}

/// Refuses a text that Postgres cannot hold, on both databases alike.
pub(crate) fn storable<'t>(what: &str, text: &'t str) -> Result<&'t str, StoreError> {
    if text.contains('\0') {
        return Err(StoreError::Unstorable {
            what: what.to_owned(),
            reason: "it contains the character U+0000".to_owned(),
        });
    }
    Ok(text)
}

/// A text for people, of which no character is worth an error.
pub(crate) fn readable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unstorable {
        what: "a value".to_owned(),
        reason: error.to_string(),
    })
}

pub(crate) fn from_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("column {column}"), error))
}

/// Counts and sizes are below 2^63 as long as there are not that many bytes in the world.
pub(crate) fn to_i64(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// Reading columns.
pub(crate) trait Columns {
    fn text(&self, column: &str) -> Result<String, StoreError>;
    fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError>;
    fn int(&self, column: &str) -> Result<i64, StoreError>;
    fn maybe_int(&self, column: &str) -> Result<Option<i64>, StoreError>;
    fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError>;
    /// A count that cannot be negative.
    fn count(&self, column: &str) -> Result<u64, StoreError>;
    /// A validated text, such as a name.
    fn parsed<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>;
    fn maybe_parsed<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError>;
    fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError>;
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn count(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?)
            .map_err(|error| StoreError::corrupt(format!("column {column}"), error))
    }

    fn parsed<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        self.text(column)?
            .parse()
            .map_err(|error| StoreError::corrupt(format!("column {column}"), error))
    }

    fn maybe_parsed<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        self.maybe_text(column)?
            .map(|text| {
                text.parse()
                    .map_err(|error| StoreError::corrupt(format!("column {column}"), error))
            })
            .transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        from_json(column, &self.text(column)?)
    }

    fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?
            .map(|text| from_json(column, &text))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_were_added() {
        let mut sql = Sql::new("WITH v (a, b) AS (VALUES ");
        sql.rows(&[1_i64, 2], |row, n| {
            row.value(*n).value("ä");
        });
        sql.push(") SELECT 'ä' WHERE c = ").bind(3_i64);
        let with = |values: [&str; 5]| {
            let [a, b, c, d, e] = values;
            format!("WITH v (a, b) AS (VALUES ({a}, {b}), ({c}, {d})) SELECT 'ä' WHERE c = {e}")
        };
        assert_eq!(sql.text(Backend::Sqlite), with(["?"; 5]));
        assert_eq!(sql.text(Backend::Postgres), with(["$1", "$2", "$3", "$4", "$5"]));
    }

    #[test]
    fn pieces_cover_a_list_in_few_sizes() {
        let list: Vec<u32> = (0..1_003).collect();
        let sizes: Vec<_> = pieces(&list).map(<[u32]>::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 1_003);
        assert_eq!(pieces(&list).flatten().copied().collect::<Vec<_>>(), list);
        assert_eq!(sizes, [256, 256, 256, 192, 32, 8, 3]);
        assert_eq!(pieces::<u32>(&[]).count(), 0);
    }
}
