//! Comparing sales: their references, currencies and totals.
//!
//! Pages go by reference in the order of Tryton's own database, whatever its collation is; only that database compares with it. Several
//! sales of one reference are next to each other then, and a reference that a page may have cut is left to the next one.

use super::{COMPARED, FIELDS, MODEL, Row};
use crate::Tryton;
use crate::rpc::Query;
use serde_json::{Value, json};
use stecker_sdk::prelude::*;

/// Sales of one page; a reference with more than these cannot be got past.
const PAGE: u32 = 500;

/// The last reference of the page before.
#[derive(Serialize, Deserialize)]
struct After {
    reference: String,
}

impl Tryton {
    pub(crate) fn list_sales(&self, question: &Question, after: Option<&str>, limit: u32) -> Result<Listing> {
        let unknown = |field: &&String| !COMPARED.contains(&field.as_str());
        if question.fields.is_empty() || question.fields.iter().any(|field| unknown(&field)) {
            return Err(Error::config(format!(
                "of Tryton's sales these places can be compared: {}; set `reconcile.fields` of the flow to some of them, or leave it out",
                COMPARED.join(", ")
            )));
        }
        let after: Option<After> = after.map(serde_json::from_str).transpose()?;
        let mut domain = vec![json!(["reference", "!=", null])];
        if let Some(After { reference }) = &after {
            domain.push(json!(["reference", ">", reference]));
        }
        let size = PAGE.min(limit.max(2));
        let query = Query {
            domain: Value::Array(domain),
            limit: Some(size),
            order: json!([["reference", "ASC"], ["id", "ASC"]]),
            ..Query::default()
        };
        let rows: Vec<Row> = self.rpc.read_some(MODEL, &query, &FIELDS)?;
        let is_last = rows.len() < usize::try_from(size).unwrap_or(usize::MAX);
        let mut references: Vec<&[Row]> = rows.chunk_by(|a, b| a.reference == b.reference).collect();
        if !is_last && references.len() > 1 {
            references.pop();
        } else if !is_last {
            return Err(Error::data(format!(
                "{size} sales or more have the reference {:?}; look at them in Tryton",
                rows.first()
                    .and_then(|row| row.reference.as_deref())
                    .unwrap_or_default()
            )));
        }
        let last = references.last().and_then(|rows| rows.first()?.reference.clone());
        let mut entries = Vec::new();
        for rows in references {
            entries.extend(entry(question, rows)?);
        }
        let next = last
            .filter(|_| !is_last)
            .map(|reference| serde_json::to_string(&After { reference }))
            .transpose()?;
        Ok(Listing { entries, next })
    }
}

/// Drafts and quotations are earlier states, which writing again goes on with: they are not there yet.
fn entry(question: &Question, rows: &[Row]) -> Result<Option<Entry>> {
    let booked: Vec<&Row> = rows.iter().filter(|row| row.is_booked()).collect();
    let (Some(first), Some(reference)) = (booked.first(), rows.first().and_then(|row| row.reference.clone()))
    else {
        return Ok(None);
    };
    if !question.asks_for(&reference) {
        return Ok(None);
    }
    let now = json!({ "currency": first.currency(), "total": first.total_text() });
    let mut entry = Entry::new(reference, question.digest_of(&now)?).with_id(first.id.to_string());
    entry.copies = u32::try_from(booked.len()).unwrap_or(u32::MAX);
    Ok(Some(entry))
}
