//! Reading what systems say: HTTP statuses, codes and names in messages that are written for people.

use jiff::Timestamp;

/// Reason phrases that stand behind a status (RFC 9110, section 15).
const PHRASES: [(&str, u16); 10] = [
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not found", 404),
    ("request timeout", 408),
    ("too many requests", 429),
    ("internal server error", 500),
    ("bad gateway", 502),
    ("service unavailable", 503),
    ("gateway timeout", 504),
    ("gateway time-out", 504),
];

/// The message of the last attempt, without what the host says about giving up.
pub(crate) fn last_message(message: &str) -> &str {
    let Some(rest) = message.strip_prefix("given up after ") else {
        return message;
    };
    rest.split_once("; the last: ").map_or(message, |(_, last)| last)
}

/// The first line, for a place that has one line.
pub(crate) fn first_line(message: &str) -> String {
    const LONGEST: usize = 200;
    let line = message.lines().next().unwrap_or_default();
    let short: String = line.chars().take(LONGEST).collect();
    if short.len() < line.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// The HTTP status that a message tells of. A number alone is none: order 401 is an order.
pub(crate) fn http_status(message: &str) -> Option<u16> {
    let text = message.to_lowercase();
    for (at, number) in numbers(&text) {
        if !(400..600).contains(&number) {
            continue;
        }
        let before = text
            .get(..at)
            .unwrap_or_default()
            .trim_end_matches([' ', ':', '"']);
        let after = text
            .get(at + 3..)
            .unwrap_or_default()
            .trim_start_matches([' ', ':', '-']);
        let named = [
            "answered with",
            "http",
            "http/1.1",
            "http/2",
            "status",
            "status code",
            "statuscode",
        ]
        .iter()
        .any(|word| before.ends_with(word));
        let phrased = PHRASES
            .iter()
            .any(|(phrase, status)| *status == number && after.starts_with(phrase));
        if named || phrased {
            return Some(number);
        }
    }
    None
}

/// Numbers of exactly three digits that stand alone, with their places.
fn numbers(text: &str) -> impl Iterator<Item = (usize, u16)> {
    let mut found = Vec::new();
    let mut at = 0;
    for part in text.split(|c: char| !c.is_alphanumeric()) {
        if part.len() == 3
            && let Ok(number) = part.parse()
        {
            found.push((at, number));
        }
        // What separates may be longer than a byte.
        at += part.len();
        at += text
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8);
    }
    found.into_iter()
}

/// Whether a code has one of these among its words: `unknown-item` has `item`, `unknowns` has no `unknown`.
pub(crate) fn code_has(code: &str, words: &[&str]) -> bool {
    code.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
}

/// Whether a message has one of these parts, whatever the case.
pub(crate) fn says(message: &str, parts: &[&str]) -> bool {
    let text = message.to_lowercase();
    parts.iter().any(|part| text.contains(part))
}

/// What stands in quotes in a message, at most 8 of 1 to 200 bytes.
pub(crate) fn quoted(message: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = message;
    while let Some((at, open)) = rest
        .char_indices()
        .find(|(_, c)| matches!(c, '`' | '"' | '“' | '„' | '«' | '‘'))
    {
        let close = match open {
            '“' => '”',
            '„' => '“',
            '«' => '»',
            '‘' => '’',
            same => same,
        };
        let inner = rest.get(at + open.len_utf8()..).unwrap_or_default();
        let Some(end) = inner.find(close) else { break };
        let value = inner.get(..end).unwrap_or_default();
        if (1..=200).contains(&value.len()) && !found.iter().any(|known| known == value) {
            found.push(value.to_owned());
        }
        rest = inner.get(end + close.len_utf8()..).unwrap_or_default();
        if found.len() == 8 {
            break;
        }
    }
    found
}

/// A moment in RFC 3339, UTC, to the second.
pub(crate) fn time(at: i64) -> String {
    Timestamp::from_millisecond(at).map_or_else(
        |_| at.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// How long something is, in the two largest units that matter.
pub(crate) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0 => "less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `1 record`, `7 records`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_only_where_it_is_called_so() {
        for (message, status) in [
            (
                "POST https://erp.example/v2/x was answered with 401: no",
                Some(401),
            ),
            ("HTTP 503", Some(503)),
            ("status code: 429", Some(429)),
            ("upstream: 502 Bad Gateway", Some(502)),
            ("the ERP says 403 Forbidden", Some(403)),
            ("order 401 was refused", None),
            ("the total 503.00 is not 429", None),
            ("SO-401 is unauthorized", None),
            ("HTTP 200", None),
            ("answered with 4011", None),
            ("ä401 Unauthorized — HTTP 503", Some(503)),
            ("", None),
        ] {
            assert_eq!(http_status(message), status, "{message}");
        }
    }

    #[test]
    fn names_are_what_stands_in_quotes() {
        assert_eq!(quoted("There is no item `A-1` in \"B\"."), ["A-1", "B"]);
        assert_eq!(quoted("kein Artikel „Tasse“"), ["Tasse"]);
        assert_eq!(quoted("an open `quote"), Vec::<String>::new());
        assert_eq!(quoted("`` and `x`"), ["x"]);
    }

    #[test]
    fn the_last_message_is_without_giving_up() {
        assert_eq!(last_message("given up after 3 attempts; the last: 503"), "503");
        assert_eq!(last_message("given up after all"), "given up after all");
    }

    #[test]
    fn words_of_codes_are_whole() {
        assert!(code_has("unknown-item", &["item"]));
        assert!(!code_has("unknown-items", &["item"]));
        assert!(code_has("ERR_DUPLICATE", &["duplicate"]));
    }
}
