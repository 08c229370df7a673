//! What is signed of a request, and what the headers with the signature look like: text with words in braces.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text with words in braces, such as `{method}\n{path}`. A brace of its own is written twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands there.
    Text(String),
    /// Something of the request.
    Word(Word),
}

/// Something of a request that can be signed or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `{method}`: in upper case.
    Method,
    /// `{scheme}`: `https` or `http`.
    Scheme,
    /// `{host}`: with the port, where it is not the scheme's own.
    Host,
    /// `{path}`: as it is sent, percent-encoded; `/` at least.
    Path,
    /// `{query}`: as it is sent, without the question mark; empty if there is none.
    Query,
    /// `{query-sorted}`: the query's pieces between `&`, sorted by their bytes.
    QuerySorted,
    /// `{path-and-query}`: both, with the question mark if there is a query.
    PathAndQuery,
    /// `{url}`: the whole address.
    Url,
    /// `{timestamp}`: seconds since 1970.
    Timestamp,
    /// `{timestamp-ms}`: milliseconds since 1970.
    TimestampMs,
    /// `{timestamp-iso}`: RFC 3339, UTC, to the second.
    TimestampIso,
    /// `{nonce}`: 32 hexadecimal digits, new for every request.
    Nonce,
    /// `{body}`: as it is sent.
    Body,
    /// `{body-sha256-hex}`
    BodySha256Hex,
    /// `{body-sha256-base64}`
    BodySha256Base64,
    /// `{key-id}`: the user name that goes with the secret.
    KeyId,
    /// `{header:NAME}`: the value of a header that the plugin sets; empty if it does not.
    Header(String),
    /// `{signature}`: only in headers.
    Signature,
}

const WORDS: [(&str, Word); 17] = [
    ("method", Word::Method),
    ("scheme", Word::Scheme),
    ("host", Word::Host),
    ("path", Word::Path),
    ("query", Word::Query),
    ("query-sorted", Word::QuerySorted),
    ("path-and-query", Word::PathAndQuery),
    ("url", Word::Url),
    ("timestamp", Word::Timestamp),
    ("timestamp-ms", Word::TimestampMs),
    ("timestamp-iso", Word::TimestampIso),
    ("nonce", Word::Nonce),
    ("body", Word::Body),
    ("body-sha256-hex", Word::BodySha256Hex),
    ("body-sha256-base64", Word::BodySha256Base64),
    ("key-id", Word::KeyId),
    ("signature", Word::Signature),
];

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A word that there is not.
    #[error("there is no word `{{{word}}}`; there are {}", known_words())]
    Word {
        /// What was written.
        word: String,
    },
    /// A brace too many or too few.
    #[error("a brace is not closed or not opened; write `{{{{` or `}}}}` for a brace of its own")]
    Brace,
}

fn known_words() -> String {
    let words: Vec<String> = WORDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    format!("{} and {{header:NAME}}", words.join(", "))
}

impl Template {
    /// Its pieces, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its words, in order.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.parts.iter().filter_map(|part| match part {
            Part::Word(word) => Some(word),
            Part::Text(_) => None,
        })
    }
}

impl Word {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("header:") {
            return (!name.is_empty()).then(|| Self::Header(name.to_ascii_lowercase()));
        }
        let found = WORDS.iter().find(|(name, _)| *name == text);
        found.map(|(_, word)| word.clone())
    }

    /// Whether the body has to be known before the request is sent.
    #[must_use]
    pub const fn needs_body(&self) -> bool {
        matches!(self, Self::Body | Self::BodySha256Hex | Self::BodySha256Base64)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Header(name) = self {
            return write!(f, "{{header:{name}}}");
        }
        let found = WORDS.iter().find(|(_, word)| word == self);
        write!(f, "{{{}}}", found.map_or("", |(name, _)| name))
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let (word, after) = brace
                    .strip_prefix('{')
                    .and_then(|inner| inner.split_once('}'))
                    .filter(|(word, _)| !word.contains('{'))
                    .ok_or(InvalidTemplate::Brace)?;
                let parsed = Word::parse(word).ok_or_else(|| InvalidTemplate::Word {
                    word: word.to_owned(),
                })?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Word(parsed));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Word(word) => word.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Template {
    type Error = InvalidTemplate;
    fn try_from(text: String) -> Result<Self, InvalidTemplate> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": format!("Text with words in braces: {}", known_words()),
            "examples": ["{method}\n{path-and-query}\n{timestamp}\n{body-sha256-hex}", "{signature}"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_what_it_was_written_as() {
        for text in [
            "",
            "plain",
            "{method}\n{path}?{query}",
            "HMAC {key-id}:{signature}",
            "{{{header:x-date}}}",
            "a{{b}}c",
        ] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
        for (name, word) in WORDS {
            let template: Template = format!("{{{name}}}").parse().unwrap();
            assert_eq!(template.parts(), [Part::Word(word)]);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_there_is() {
        let error = "{methode}".parse::<Template>().unwrap_err().to_string();
        assert!(
            error.contains("`{methode}`") && error.contains("{method}, "),
            "{error}"
        );
        for text in ["{method", "method}", "{", "}", "{header:}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }
}
