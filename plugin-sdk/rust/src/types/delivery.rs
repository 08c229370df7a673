//! What becomes of records at a destination.

use super::{Finding, Found, Receipt, Rejection, set};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt::Display;

/// What became of one record at the destination.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Written, known for sure.
    Delivered(Receipt),
    /// It was there already, in this very state.
    Duplicate(Receipt),
    /// Not written, known for sure; worth another try.
    Retry(Error),
    /// Not written, and never will be like this.
    Rejected(Rejection),
    /// Asked, but the answer never came: it may be written or not. The host asks `lookup` before any repetition.
    Unknown(Error),
}

impl Outcome {
    /// Written under this id of the destination's.
    pub fn delivered(external_id: impl Into<String>) -> Self {
        Self::Delivered(Receipt::with_id(external_id))
    }

    /// There already, under this id of the destination's.
    pub fn duplicate(external_id: impl Into<String>) -> Self {
        Self::Duplicate(Receipt::with_id(external_id))
    }

    /// What a failed write of one record amounts to: `Unknown` if it may have been acted on, `Rejected` if the record is at
    /// fault (codes `data`, `not-found`, `conflict`), `Retry` if it may work later, and otherwise (`config`, `auth`,
    /// `denied`, …) the error itself, because it concerns the whole batch.
    ///
    /// # Errors
    /// The error, where it is not about this record.
    pub fn from_error(error: Error) -> Result<Self> {
        if error.maybe_sent() {
            return Ok(Self::Unknown(error));
        }
        match error.code() {
            "transient" | "rate-limited" => Ok(Self::Retry(error)),
            "data" | "not-found" | "conflict" => Ok(Self::Rejected(Rejection {
                code: error.code().to_owned(),
                reason: error.message().to_owned(),
                path: error.detail_of("path").map(ToOwned::to_owned),
                details: error.details().to_vec(),
            })),
            _ => Err(error),
        }
    }
}

impl Outcome {
    /// The batch's answer from each record's own. Where every record failed with an error, nothing was written, and the
    /// first error stands for the batch. Where some records have an outcome, an error of another must not hide it: it
    /// becomes `Retry`.
    ///
    /// # Errors
    /// The first error, if there is no outcome at all.
    pub fn settle(results: Vec<Result<Self>>) -> Result<Vec<Self>> {
        if results.iter().any(Result::is_ok) {
            return Ok(results
                .into_iter()
                .map(|result| result.unwrap_or_else(Self::Retry))
                .collect());
        }
        results.into_iter().collect()
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Receipt {
    /// A receipt with the thing's id at the destination.
    pub fn with_id(external_id: impl Into<String>) -> Self {
        Self {
            external_id: Some(external_id.into()),
            attributes: Vec::new(),
        }
    }

    /// A receipt of a system that gives no ids.
    pub fn without_id() -> Self {
        Self {
            external_id: None,
            attributes: Vec::new(),
        }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }
}

impl Finding {
    /// There, under this id, in the asked state or a later one.
    pub fn present(external_id: impl Into<String>) -> Self {
        Self::Present(Found {
            external_id: Some(external_id.into()),
            payload: None,
            attributes: Vec::new(),
        })
    }

    /// There, under this id, and looking like this.
    ///
    /// # Errors
    /// Code `data` if the payload cannot be written as JSON.
    pub fn present_as(external_id: impl Into<String>, payload: &impl Serialize) -> Result<Self> {
        let payload = Some(serde_json::to_string(payload)?);
        Ok(Self::Present(Found {
            external_id: Some(external_id.into()),
            payload,
            attributes: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_the_outcome_that_loses_and_doubles_nothing() {
        let lost = Error::transient("connection reset").detail("sent", "maybe");
        assert!(matches!(Outcome::from_error(lost), Ok(Outcome::Unknown(_))));
        let never_left = Error::transient("refused").detail("sent", "no");
        assert!(matches!(Outcome::from_error(never_left), Ok(Outcome::Retry(_))));
        assert!(matches!(
            Outcome::from_error(Error::data("bad")),
            Ok(Outcome::Rejected(_))
        ));
        assert!(
            Outcome::from_error(Error::auth("no")).is_err(),
            "concerns every record of the batch"
        );
    }

    #[test]
    fn one_outcome_is_enough_to_keep_a_batch_from_failing_as_a_whole() {
        let refused = || Err(Error::auth("no"));
        assert_eq!(
            Outcome::settle(vec![refused(), refused()]).unwrap_err().code(),
            "auth"
        );
        let mixed = Outcome::settle(vec![refused(), Ok(Outcome::delivered("1"))]).unwrap();
        assert!(
            matches!(mixed[0], Outcome::Retry(_)),
            "an error would say that nothing was written"
        );
        assert_eq!(Outcome::settle(Vec::new()).unwrap(), []);
    }
}
