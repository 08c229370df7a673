//! Records as a shop's order stream has them.

use crate::exchange::{Operation, Record};

/// That many records, each with a payload of that many bytes (at least 200): an order with as many lines as fit. Always the same.
#[must_use]
pub fn orders(records: usize, payload_bytes: usize) -> Vec<Record> {
    (0..records).map(|number| order(number, payload_bytes)).collect()
}

fn order(number: usize, payload_bytes: usize) -> Record {
    let mut payload = format!(
        r#"{{"billing":{{"city":"Köln","country":"DE","name":"Änne Müller"}},"currency":"EUR","id":"{number:010}","lines":["#
    );
    const NOTE: &str = r#"],"note":""#;
    const END: &str = r#"","paid":true,"total":1234.5}"#;
    let mut separator = "";
    for position in number.. {
        let line = format!(
            r#"{separator}{{"price":{}.{:02},"quantity":{},"sku":"ART-{:06}","title":"Kaffee \"Größe {}\", gemahlen"}}"#,
            position % 90 + 1,
            position % 100,
            position % 7 + 1,
            position * 7919 % 1_000_000,
            position % 5,
        );
        if payload.len() + line.len() + NOTE.len() + END.len() > payload_bytes {
            break;
        }
        payload.push_str(&line);
        separator = ",";
    }
    payload.push_str(NOTE);
    while payload.len() + END.len() < payload_bytes {
        payload.push('n');
    }
    payload.push_str(END);
    Record {
        stream: "orders".to_owned(),
        key: format!("gid://shop/order/{number:010}"),
        operation: if number % 50 == 49 {
            Operation::Delete
        } else {
            Operation::Upsert
        },
        payload,
        before: None,
        event_time: Some(1_700_000_000_000 + number as u64),
        source_version: format!("2026-01-01T00:00:00.{:03}Z", number % 1_000),
        attributes: vec![
            ("api-version".to_owned(), "2026-01".to_owned()),
            ("trace".to_owned(), format!("{number:032x}")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_the_asked_size() {
        for size in [200, 1_024, 8_192] {
            let records = orders(3, size);
            assert_eq!(records.len(), 3);
            for record in records {
                assert_eq!(record.payload.len(), size);
                let order: serde_json::Value = serde_json::from_str(&record.payload).unwrap();
                assert!(size < 1_000 || !order["lines"].as_array().unwrap().is_empty());
            }
        }
    }
}
