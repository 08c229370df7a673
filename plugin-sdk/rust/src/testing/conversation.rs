//! Matching what a plugin asks against what it is expected to ask.

use crate::bindings::host::stecker::plugin::{http, types};
use serde_json::Value;
use similar::TextDiff;
use std::collections::VecDeque;
use std::fmt::Write as _;

/// What an expected body has to be.
#[derive(Clone, Debug)]
pub(super) enum ExpectedBody {
    Json(Value),
    JsonIncluding(Value),
    Text(String),
    Bytes(Vec<u8>),
    Nothing,
}

/// A request as it is expected. `None` and empty lists: anything; inner `None`: has to be absent.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) method: String,
    /// A path, or a URL without query.
    pub(super) place: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) absent_query: Vec<String>,
    /// Whether the query has to be exactly `query`.
    pub(super) whole_query: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) credential: Option<Option<String>>,
    pub(super) idempotency_key: Option<Option<String>>,
    pub(super) body: Option<ExpectedBody>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Response(http::Response),
    Failure(types::Error),
}

impl Answer {
    pub(super) fn failure(message: &str, sent: &str) -> Self {
        Self::Failure(types::Error {
            code: "transient".to_owned(),
            message: message.to_owned(),
            retry_after_ms: None,
            details: vec![("sent".to_owned(), sent.to_owned())],
        })
    }

    fn into_result(self) -> Result<http::Response, types::Error> {
        match self {
            Self::Response(response) => Ok(response),
            Self::Failure(error) => Err(error),
        }
    }
}

/// A request that the plugin made, in a test.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// In upper case.
    pub method: String,
    /// With the query.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, if there was one.
    pub body: Option<Vec<u8>>,
    /// The named credential.
    pub credential: Option<String>,
    /// The idempotency key.
    pub idempotency_key: Option<String>,
}

impl Recorded {
    pub(super) fn of(request: &http::Request) -> Self {
        let headers = request.headers.iter();
        Self {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect(),
            body: request.body.clone(),
            credential: request.credential.clone(),
            idempotency_key: request.idempotency_key.clone(),
        }
    }

    /// The body as JSON; null if there is none or it is something else.
    pub fn json(&self) -> Value {
        self.body
            .as_deref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default()
    }

    fn place(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }

    fn path(&self) -> &str {
        let place = self.place();
        let start = place.find("://").map_or(0, |at| at + 3);
        place[start..].find('/').map_or("/", |at| &place[start + at..])
    }

    fn query(&self) -> Vec<(String, String)> {
        let query = self
            .url
            .split_once('?')
            .map_or("", |(_, rest)| rest.split('#').next().unwrap_or_default());
        form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    /// One line a fact, for messages.
    fn describe(&self) -> String {
        let mut text = format!("{} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        if let Some(credential) = &self.credential {
            let _ = writeln!(text, "(credential {credential})");
        }
        if let Some(key) = &self.idempotency_key {
            let _ = writeln!(text, "(idempotency key {key})");
        }
        if let Some(body) = &self.body {
            let _ = writeln!(text, "\n{}", show_body(body));
        }
        text
    }
}

impl Expected {
    pub(super) fn new(method: &str, place: &str) -> Self {
        Self {
            method: method.to_owned(),
            place: place.to_owned(),
            query: Vec::new(),
            absent_query: Vec::new(),
            whole_query: false,
            headers: Vec::new(),
            credential: None,
            idempotency_key: None,
            body: None,
        }
    }

    fn title(&self) -> String {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.place, query.join("&"))
    }

    /// What is not as expected, a line or a diff each; empty if it matches.
    fn differences(&self, actual: &Recorded) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, expected: &str, actual: &str| {
            if expected != actual {
                found.push(format!("{what}: expected `{expected}`, got `{actual}`"));
            }
        };
        compare("method", &self.method, &actual.method);
        if self.place.contains("://") {
            compare("URL", &self.place, actual.place());
        } else {
            compare("path", &self.place, actual.path());
        }
        for (name, value) in &self.headers {
            let got = actual.headers.iter().find(|(other, _)| other == name);
            compare(
                &format!("header {name}"),
                value,
                got.map_or("(absent)", |(_, value)| value),
            );
        }
        for (what, expected, got) in [
            ("credential", &self.credential, &actual.credential),
            ("idempotency key", &self.idempotency_key, &actual.idempotency_key),
        ] {
            if let Some(expected) = expected {
                let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
                compare(what, &show(expected), &show(got));
            }
        }
        self.query_differences(actual, &mut found);
        if let Some(body) = &self.body {
            found.extend(body.difference(actual.body.as_deref()));
        }
        found
    }

    fn query_differences(&self, actual: &Recorded, found: &mut Vec<String>) {
        let mut left = actual.query();
        for (name, value) in &self.query {
            if let Some(at) = left
                .iter()
                .position(|pair| pair == &(name.clone(), value.clone()))
            {
                left.remove(at);
            } else {
                let got: Vec<&str> = left
                    .iter()
                    .filter(|(other, _)| other == name)
                    .map(|(_, value)| value.as_str())
                    .collect();
                let got = if got.is_empty() {
                    "(absent)".to_owned()
                } else {
                    got.join("`, `")
                };
                found.push(format!("query {name}: expected `{value}`, got `{got}`"));
            }
        }
        for (name, value) in &left {
            if self.whole_query || self.absent_query.contains(name) {
                found.push(format!("query {name}: expected none, got `{value}`"));
            }
        }
    }
}

impl ExpectedBody {
    fn difference(&self, actual: Option<&[u8]>) -> Option<String> {
        let json = || actual.and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let matches = match self {
            Self::Json(expected) => json().as_ref() == Some(expected),
            Self::JsonIncluding(expected) => json().is_some_and(|actual| includes(&actual, expected)),
            Self::Text(expected) => actual == Some(expected.as_bytes()),
            Self::Bytes(expected) => actual == Some(expected.as_slice()),
            Self::Nothing => actual.is_none_or(<[u8]>::is_empty),
        };
        if matches {
            return None;
        }
        let expected = match self {
            Self::Json(value) | Self::JsonIncluding(value) => pretty(value),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => show_body(bytes),
            Self::Nothing => String::new(),
        };
        let actual = actual.map(show_body).unwrap_or_default();
        let diff = TextDiff::from_lines(&expected, &actual);
        let diff = diff
            .unified_diff()
            .context_radius(3)
            .header("expected", "got")
            .to_string();
        let part = if matches!(self, Self::JsonIncluding(_)) {
            " (has to include)"
        } else {
            ""
        };
        Some(format!("body{part}:\n{diff}"))
    }
}

/// Whether everything in `part` is in `whole`.
fn includes(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| includes(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| includes(whole, part))
        }
        _ => whole == part,
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn show_body(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => pretty(&value),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// The steps that are still to come.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    steps: VecDeque<(Expected, Answer)>,
    done: usize,
}

impl Conversation {
    pub(super) fn new(steps: Vec<(Expected, Answer)>) -> Self {
        Self {
            steps: steps.into(),
            done: 0,
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.steps.extend(other.steps);
    }

    /// The answer to a request, or why it was not expected.
    pub(super) fn ask(&mut self, actual: &Recorded) -> Result<Result<http::Response, types::Error>, String> {
        let number = self.done + 1;
        let Some((expected, _)) = self.steps.front() else {
            return Err(format!(
                "request {number} was not expected: the conversation is over\n\n{}",
                actual.describe()
            ));
        };
        let differences = expected.differences(actual);
        if !differences.is_empty() {
            return Err(format!(
                "request {number} is not the one expected, {}\n\n{}\n\nthe request was\n\n{}",
                expected.title(),
                differences.join("\n"),
                actual.describe()
            ));
        }
        self.done += 1;
        match self.steps.pop_front() {
            Some((_, answer)) => Ok(answer.into_result()),
            None => Err("the conversation is over".to_owned()),
        }
    }

    /// What was expected and never asked.
    pub(super) fn left(&self) -> Option<String> {
        if self.steps.is_empty() {
            return None;
        }
        let titles: Vec<String> = self
            .steps
            .iter()
            .map(|(expected, _)| format!("  {}", expected.title()))
            .collect();
        Some(format!(
            "{} of {} expected requests never came:\n{}",
            titles.len(),
            self.done + titles.len(),
            titles.join("\n")
        ))
    }
}
