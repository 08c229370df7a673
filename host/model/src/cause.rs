//! What two messages have in common that were caused by the same thing: the message without what is different each time.
//!
//! A system that refuses a hundred orders for a hundred wrong article numbers has one cause and a hundred messages. Pure, and the same
//! for ever: the patterns are what groups of records are named by.

/// Characters of a pattern; what is beyond says little about the cause.
const LONGEST: usize = 300;
/// What the host puts before the last message of a record that it gave up: no part of the cause.
const GIVEN_UP: &str = "; the last: ";

/// A message with quoted values as `…` and every word that has a digit in it as `#`: numbers, amounts, ids, times, addresses.
///
/// ```
/// use stecker_model::message_pattern;
/// assert_eq!(message_pattern("There is no item `MUG-7`."), "There is no item `…`.");
/// assert_eq!(message_pattern("order SO-001042 came at 12:30:01, twice"), "order # came at #, twice");
/// ```
#[must_use]
pub fn message_pattern(message: &str) -> String {
    let message = match message.strip_prefix("given up after ") {
        Some(rest) => rest.split_once(GIVEN_UP).map_or(message, |(_, last)| last),
        None => message,
    };
    let mut pattern = String::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let before = pattern.chars().next_back();
        if first.is_whitespace() {
            pattern.push(' ');
            rest = rest.trim_start();
        } else if let Some((open, close, after)) = quoted(rest, before) {
            pattern.extend([open, '…', close]);
            rest = after;
        } else if is_of_a_word(first) {
            let (word, after) = word(rest);
            pattern.push_str(if word.bytes().any(|byte| byte.is_ascii_digit()) {
                "#"
            } else {
                word
            });
            rest = after;
        } else {
            pattern.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    pattern.chars().take(LONGEST).collect()
}

/// A JSON Pointer with `*` for every place in a list.
///
/// ```
/// assert_eq!(stecker_model::path_pattern("/lines/12/sku"), "/lines/*/sku");
/// ```
#[must_use]
pub fn path_pattern(path: &str) -> String {
    let part = |part: &str| {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            "*".to_owned()
        } else {
            part.to_owned()
        }
    };
    let parts: Vec<String> = path.split('/').map(part).collect();
    parts.join("/").chars().take(LONGEST).collect()
}

/// A value in quotes at the beginning of a text: its quotes and what comes after. An apostrophe within a word is none.
fn quoted(text: &str, before: Option<char>) -> Option<(char, char, &str)> {
    let open = text.chars().next()?;
    let close = match open {
        '`' | '"' | '\'' => open,
        '“' => '”',
        '„' => '“',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    if open == '\'' && before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let inner = text.get(open.len_utf8()..)?;
    let end = inner.find(close)?;
    let after = inner.get(end + close.len_utf8()..)?;
    Some((open, close, after))
}

const fn is_joint(c: char) -> bool {
    matches!(
        c,
        '-' | '_' | '.' | ',' | ':' | '/' | '+' | '@' | '%' | '~' | '#' | '=' | '&' | '?'
    )
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric()
}

/// Letters and digits, with what joins them into one value (`SO-1`, `12:30`, `https://shop.example/42`), and what comes after.
/// What joins without a digit anywhere ends the word as in prose.
fn word(text: &str) -> (&str, &str) {
    let end = text
        .char_indices()
        .find(|(_, c)| !is_of_a_word(*c) && !is_joint(*c))
        .map_or(text.len(), |(end, _)| end);
    let whole = text.get(..end).unwrap_or(text);
    let value = whole.trim_end_matches(is_joint);
    if value.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.split_at(value.len());
    }
    let end = text
        .char_indices()
        .find(|(_, c)| !is_of_a_word(*c))
        .map_or(text.len(), |(end, _)| end);
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_taken_out() {
        for (message, pattern) in [
            ("There is no item `MUG-BLU-9`.", "There is no item `…`."),
            ("There is no item `HAT`.", "There is no item `…`."),
            ("no such customer \"Ada Lind\"", "no such customer \"…\""),
            ("kein Artikel „Tasse“ da", "kein Artikel „…“ da"),
            ("the total 39.80 is not 40,10", "the total # is not #"),
            ("order SO-001042 was refused", "order # was refused"),
            ("409 for 6f9619ff-8b86-d011-b42d-00c04fc964ff", "# for #"),
            ("GET https://shop.example/orders/42?x=1 failed.", "GET # failed."),
            ("at 2026-11-27T04:55:30Z, again", "at #, again"),
            ("it doesn't fit", "it doesn't fit"),
            ("it doesn't fit 'a b'", "it doesn't fit '…'"),
            ("no  answer\n from\tthere ", "no answer from there"),
            ("timeout: waited 30s (3 of 5)", "timeout: waited # (# of #)"),
            ("given up after 12 attempts; the last: 503 Busy", "# Busy"),
            ("given up after all", "given up after all"),
            ("an open `quote", "an open `quote"),
            ("and/or, e.g. this", "and/or, e.g. this"),
            ("", ""),
            ("ä`ö`1", "ä`…`#"),
        ] {
            assert_eq!(message_pattern(message), pattern, "{message}");
        }
    }

    #[test]
    fn a_pattern_is_its_own_pattern_and_bounded() {
        for message in [
            "There is no item `…`.",
            "order # was refused",
            "it doesn't fit '…'",
        ] {
            assert_eq!(message_pattern(message), message);
        }
        assert_eq!(message_pattern(&"ä ".repeat(10_000)).chars().count(), LONGEST);
    }

    #[test]
    fn places_in_lists_are_one_place() {
        for (path, pattern) in [
            ("/lines/0/sku", "/lines/*/sku"),
            ("/0", "/*"),
            ("/a1/b", "/a1/b"),
            ("", ""),
        ] {
            assert_eq!(path_pattern(path), pattern);
        }
    }
}
