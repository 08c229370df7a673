//! What is wrong with a manifest, and where.

use std::fmt;

/// A manifest that cannot be taken: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// From 1; none if the fault has no single place.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The line as it stands there.
    pub excerpt: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl ManifestError {
    pub(super) fn from_toml(error: &toml::de::Error, text: &str) -> Self {
        let message = error.message().replace('\n', ", ");
        match error.span() {
            Some(span) => Self::at(text, span.start, message),
            None => Self::nowhere(message),
        }
    }

    pub(super) fn from_json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // The position is a field of its own here.
        let message = text
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&text)
            .to_owned();
        Self {
            line: Some(line).filter(|line| *line > 0),
            column: Some(column),
            excerpt: None,
            message,
        }
    }

    pub(super) fn at(text: &str, offset: usize, message: String) -> Self {
        let offset = (0..=offset.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        let (before, after) = text.split_at(offset);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(text.len(), |at| offset + at);
        Self {
            line: Some(before.matches('\n').count() + 1),
            column: Some(before.get(line_start..).unwrap_or_default().chars().count() + 1),
            excerpt: text
                .get(line_start..line_end)
                .map(|line| line.trim_end().to_owned()),
            message,
        }
    }

    pub(super) fn nowhere(message: String) -> Self {
        Self {
            line: None,
            column: None,
            excerpt: None,
            message,
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: ")?,
            (Some(line), None) => write!(f, "line {line}: ")?,
            _ => {}
        }
        write!(f, "{}.", self.message.trim_end_matches('.'))?;
        match (&self.excerpt, self.line) {
            (Some(excerpt), Some(line)) if !excerpt.trim().is_empty() => {
                write!(f, "\n  {line} | {excerpt}\n")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ManifestError {}
