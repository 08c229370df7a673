//! What an answer says about its system's limits. Every system says it in its own way, and some say nonsense: what cannot be understood is
//! as if it had not been said, and no number gets beyond its bounds.
//!
//! | header | source |
//! |---|---|
//! | `Retry-After`, seconds or a date | RFC 9110, section 10.2.3; Shopify writes `2.0` |
//! | `RateLimit` with `RateLimit-Policy` | draft-ietf-httpapi-ratelimit-headers-10: `"burst";r=50;t=30`, `"burst";q=100;w=60` |
//! | `RateLimit` as a dictionary | the same draft, 07: `limit=100, remaining=50, reset=5` |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | the same draft, until 06 |
//! | `X-RateLimit-*`, `X-Rate-Limit-*`, `X-Sib-RateLimit-*` (Brevo) | usage; the reset is in seconds, or a moment since 1970 in seconds or milliseconds |
//! | `X-Plenty-Global-Short-Period-*` | plentymarkets: `Limit`, `Calls-Left`, `Decay` in seconds |
//! | `X-Shopify-Shop-Api-Call-Limit: 32/40` | Shopify: a leaky bucket, whose size leaks in 20 seconds on every plan |

/// The longest that a system is believed to want to be left alone, in milliseconds: a day.
pub(super) const LONGEST_MS: u64 = 24 * 60 * 60 * 1_000;
/// In which a bucket of Shopify's is empty, in milliseconds.
const SHOPIFY_EMPTY_MS: u64 = 20_000;
/// No more requests than anybody has.
const MOST: u64 = 1_000_000_000;

/// What a system says about how much it still takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) header: &'static str,
    pub(super) limit: Option<u64>,
    pub(super) left: u64,
    /// Milliseconds until all of it is there again.
    pub(super) reset_ms: Option<u64>,
    /// Milliseconds in which one comes back by itself, where they come one by one.
    pub(super) each_ms: Option<u64>,
}

/// What one answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// Milliseconds.
    pub(super) retry_after_ms: Option<u64>,
    pub(super) window: Option<Window>,
}

/// Limit, what is left, and the reset.
type Names = (&'static str, &'static str, &'static str);

const TRIPLES: [Names; 5] = [
    ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    (
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-reset",
    ),
    (
        "x-sib-ratelimit-limit",
        "x-sib-ratelimit-remaining",
        "x-sib-ratelimit-reset",
    ),
    (
        "x-plenty-global-short-period-limit",
        "x-plenty-global-short-period-calls-left",
        "x-plenty-global-short-period-decay",
    ),
];

/// Reads the headers of an answer; `header` gives the value of a name in lower case. `now`: milliseconds since 1970.
pub(super) fn read<'h>(header: impl Fn(&str) -> Option<&'h str>, now: i64) -> Said {
    let window = structured(&header)
        .or_else(|| TRIPLES.iter().find_map(|names| triple(&header, *names, now)))
        .or_else(|| shopify(&header));
    Said {
        retry_after_ms: header("retry-after").and_then(|text| retry_after(text, now)),
        window,
    }
}

/// Digits, with a fraction or without.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse::<f64>()
        .ok()
        .filter(|number| fits && number.is_finite())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and the cast saturates"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

fn count(text: &str) -> Option<u64> {
    number(text).map(|number| whole(number).min(MOST))
}

fn seconds(text: &str) -> Option<u64> {
    number(text).map(|number| whole((number * 1_000.0).ceil()).min(LONGEST_MS))
}

fn retry_after(text: &str, now: i64) -> Option<u64> {
    seconds(text).or_else(|| {
        let then = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Some(until(then.timestamp().as_millisecond(), now))
    })
}

fn until(then: i64, now: i64) -> u64 {
    u64::try_from(then.saturating_sub(now))
        .unwrap_or(0)
        .min(LONGEST_MS)
}

/// Seconds from now, or a moment: nobody has a window of thirty years.
fn reset(text: &str, now: i64) -> Option<u64> {
    let number = number(text)?;
    let moment_ms = if number >= 1e12 {
        number
    } else if number >= 1e9 {
        number * 1_000.0
    } else {
        return seconds(text);
    };
    Some(until(i64::try_from(whole(moment_ms)).unwrap_or(i64::MAX), now))
}

/// Splits at a character that is not within quotes.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == at && !quoted
    })
    .map(str::trim)
}

fn parameter<'t>(item: &'t str, name: &str) -> Option<&'t str> {
    split(item, ';')
        .skip(1)
        .filter_map(|part| part.split_once('='))
        .find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
}

fn name(item: &str) -> &str {
    split(item, ';').next().unwrap_or_default()
}

/// The newest form; of several policies, the one of which the least is left.
fn structured<'h>(header: &impl Fn(&str) -> Option<&'h str>) -> Option<Window> {
    let text = header("ratelimit")?;
    if let Some(window) = dictionary(text) {
        return Some(window);
    }
    let policies = header("ratelimit-policy").unwrap_or_default();
    let windows = split(text, ',').filter_map(|item| {
        let policy = split(policies, ',').find(|policy| name(policy) == name(item));
        let of_policy = |parameter_name| policy.and_then(|policy| parameter(policy, parameter_name));
        Some(Window {
            header: "RateLimit",
            limit: of_policy("q").and_then(count),
            left: count(parameter(item, "r")?)?,
            reset_ms: parameter(item, "t").or_else(|| of_policy("w")).and_then(seconds),
            each_ms: None,
        })
    });
    windows.min_by_key(|window| window.left)
}

fn dictionary(text: &str) -> Option<Window> {
    let member = |key: &str| {
        split(text, ',')
            .filter_map(|part| part.split_once('='))
            .find_map(|(name, value)| (name.trim() == key).then_some(value.trim()))
    };
    Some(Window {
        header: "RateLimit",
        limit: member("limit").and_then(count),
        left: count(member("remaining")?)?,
        reset_ms: member("reset").and_then(seconds),
        each_ms: None,
    })
}

fn triple<'h>(header: &impl Fn(&str) -> Option<&'h str>, names: Names, now: i64) -> Option<Window> {
    let (limit, left, reset_name) = names;
    // A limit may be followed by its policies: `100, 100;w=60`.
    let first = |text: &'h str| text.split([',', ';']).next().unwrap_or_default();
    Some(Window {
        header: left,
        limit: header(limit).map(first).and_then(count),
        left: count(first(header(left)?))?,
        reset_ms: header(reset_name).and_then(|text| reset(text, now)),
        each_ms: None,
    })
}

fn shopify<'h>(header: &impl Fn(&str) -> Option<&'h str>) -> Option<Window> {
    let (used, size) = header("x-shopify-shop-api-call-limit")?.split_once('/')?;
    let (used, size) = (count(used)?, count(size)?.max(1));
    let each_ms = (SHOPIFY_EMPTY_MS / size).max(1);
    Some(Window {
        header: "X-Shopify-Shop-Api-Call-Limit",
        limit: Some(size),
        left: size.saturating_sub(used),
        reset_ms: Some(used.min(size).saturating_mul(SHOPIFY_EMPTY_MS) / size),
        each_ms: Some(each_ms),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2023-11-14T22:13:20Z.
    const NOW: i64 = 1_700_000_000_000;

    fn said(headers: &[(&str, &str)]) -> Said {
        let find = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        read(find, NOW)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, expected) in [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("2.0", Some(2_000)),
            ("0.4", Some(400)),
            ("Tue, 14 Nov 2023 22:13:50 GMT", Some(30_000)),
            ("Tue, 14 Nov 2023 22:13:00 GMT", Some(0)),
            ("Tue, 31 Dec 2199 23:59:59 GMT", Some(LONGEST_MS)),
            ("99999999999", Some(LONGEST_MS)),
            ("-1", None),
            ("soon", None),
            ("1e9", None),
            ("", None),
            ("1.2.3", None),
        ] {
            assert_eq!(said(&[("retry-after", text)]).retry_after_ms, expected, "{text}");
        }
    }

    #[test]
    fn windows_are_read_in_each_of_their_forms() {
        let window = |header, limit, left, reset_ms| Window {
            header,
            limit,
            left,
            reset_ms,
            each_ms: None,
        };
        for (headers, expected) in [
            (
                &[
                    ("ratelimit", "\"default\";r=50;t=30"),
                    ("ratelimit-policy", "\"default\";q=100;w=60"),
                ][..],
                window("RateLimit", Some(100), 50, Some(30_000)),
            ),
            (
                &[
                    ("ratelimit", "\"day, all\";r=900;t=3600, \"burst\";r=2"),
                    (
                        "ratelimit-policy",
                        "\"day, all\";q=1000;w=86400, \"burst\";q=10;w=1",
                    ),
                ],
                window("RateLimit", Some(10), 2, Some(1_000)),
            ),
            (
                &[("ratelimit", "limit=100, remaining=0, reset=5")],
                window("RateLimit", Some(100), 0, Some(5_000)),
            ),
            (
                &[
                    ("ratelimit-limit", "100, 100;w=60"),
                    ("ratelimit-remaining", "7"),
                    ("ratelimit-reset", "12"),
                ],
                window("ratelimit-remaining", Some(100), 7, Some(12_000)),
            ),
            (
                &[
                    ("x-ratelimit-limit", "5000"),
                    ("x-ratelimit-remaining", "4999"),
                    ("x-ratelimit-reset", "1700000060"),
                ],
                window("x-ratelimit-remaining", Some(5_000), 4_999, Some(60_000)),
            ),
            (
                &[
                    ("x-rate-limit-remaining", "1"),
                    ("x-rate-limit-reset", "1700000005000"),
                ],
                window("x-rate-limit-remaining", None, 1, Some(5_000)),
            ),
            (
                &[
                    ("x-plenty-global-short-period-limit", "60"),
                    ("x-plenty-global-short-period-calls-left", "3"),
                    ("x-plenty-global-short-period-decay", "9"),
                ],
                window(
                    "x-plenty-global-short-period-calls-left",
                    Some(60),
                    3,
                    Some(9_000),
                ),
            ),
        ] {
            assert_eq!(said(headers).window, Some(expected), "{headers:?}");
        }
        assert_eq!(
            said(&[("x-shopify-shop-api-call-limit", "32/40")]).window,
            Some(Window {
                header: "X-Shopify-Shop-Api-Call-Limit",
                limit: Some(40),
                left: 8,
                reset_ms: Some(16_000),
                each_ms: Some(500),
            })
        );
    }

    #[test]
    fn nonsense_says_nothing() {
        for (header, text) in [
            ("ratelimit", "\"default\";t=30"),
            ("ratelimit", "50"),
            ("ratelimit", "remaining=-1"),
            ("ratelimit-remaining", "many"),
            ("x-ratelimit-remaining", ""),
            ("x-shopify-shop-api-call-limit", "32"),
            ("x-shopify-shop-api-call-limit", "/"),
        ] {
            assert_eq!(said(&[(header, text)]), Said::default(), "{header}: {text}");
        }
    }

    const NAMES: [&str; 9] = [
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-shopify-shop-api-call-limit",
    ];

    proptest! {
        #[test]
        fn nothing_that_a_stranger_writes_panics_or_gets_out_of_bounds(
            values in prop::collection::vec(
                prop_oneof![
                    "[0-9]{0,25}",
                    "[0-9.]{0,12}",
                    "\"?[a-z]{0,3}\"?(;[qwrt]=[0-9]{0,22}){0,4}(, ?\"?[a-z]\"?;r=[0-9]{1,3}){0,2}",
                    "(limit|remaining|reset)=[0-9]{0,22}(, (limit|remaining|reset)=[0-9]{0,22}){0,3}",
                    "[0-9]{0,22}/[0-9]{0,22}",
                    "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
                    "\\PC{0,40}",
                ],
                NAMES.len(),
            ),
            now in any::<i64>(),
        ) {
            let find = |name: &str| NAMES.iter().zip(&values).find(|(key, _)| **key == name).map(|(_, value)| value.as_str());
            let said = read(find, now);
            prop_assert!(said.retry_after_ms.is_none_or(|ms| ms <= LONGEST_MS));
            if let Some(window) = said.window {
                prop_assert!(window.left <= MOST && window.limit.is_none_or(|limit| limit <= MOST));
                prop_assert!(window.reset_ms.is_none_or(|ms| ms <= LONGEST_MS));
                prop_assert!(window.each_ms.is_none_or(|ms| (1..=SHOPIFY_EMPTY_MS).contains(&ms)));
            }
        }
    }
}
