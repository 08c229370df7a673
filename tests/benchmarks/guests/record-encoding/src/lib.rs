//! Takes records in each encoding, does the same work on them, and gives them back in the same encoding.
//!
//! The two pages are read as views into the bytes that came in, which a plugin cannot do with typed records: pages get the best
//! that they can have here, so that a decision against them cannot be laid to a clumsy guest.

wit_bindgen::generate!({
    path: ["../../../../wit/1.0.0", "wit"],
    world: "stecker:benchmarks/record-encoding",
    generate_all,
});

// Both sides have to agree on the pages, so both compile the same files.
#[path = "../../../src/lines.rs"]
#[allow(dead_code, reason = "the host uses the other half")]
mod lines;
#[path = "../../../src/page.rs"]
#[allow(dead_code, reason = "the host uses the other half")]
mod page;

use exports::stecker::benchmarks::exchange::{Guest, Record, Work};
use serde_json::{Value, value::RawValue};

struct Exchange;

fn reparsed(payload: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    serde_json::to_string(&value).map_err(|error| error.to_string())
}

impl Guest for Exchange {
    fn typed(work: Work, mut batch: Vec<Record>) -> Result<Vec<Record>, String> {
        if work == Work::Reparse {
            for record in &mut batch {
                record.payload = reparsed(&record.payload)?;
            }
        }
        Ok(batch)
    }

    fn packed(work: Work, page: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(page.len());
        for record in page::read(&page) {
            let record = record.map_err(|fault| fault.to_string())?;
            match work {
                Work::Echo => page::write(&record, &mut out),
                Work::Reparse => {
                    let payload = reparsed(record.payload)?;
                    page::write(
                        &page::View {
                            payload: &payload,
                            ..record
                        },
                        &mut out,
                    );
                }
            }
        }
        Ok(out)
    }

    fn lines(work: Work, page: Vec<u8>) -> Result<Vec<u8>, String> {
        let result = match work {
            Work::Echo => lines::copy::<&RawValue>(&page),
            // The payload is parsed along with its line: the one thing that this encoding gets for nothing.
            Work::Reparse => lines::copy::<Value>(&page),
        };
        result.map_err(|error| error.to_string())
    }
}

export!(Exchange);
