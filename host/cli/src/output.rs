//! What is told: tables and lines for people, one JSON value for programs. Answers go to standard output, everything else to
//! standard error.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use stecker_model::api::Problem;

use crate::args::Color;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether programs read it.
    pub(crate) json: bool,
    choice: ColorChoice,
}

impl Output {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { json, choice }
    }

    /// Whether text on standard error is coloured.
    pub(crate) fn colors_errors(self) -> bool {
        AutoStream::new(io::stderr(), self.choice).current_choice() != ColorChoice::Never
    }

    /// The answer: `value` for programs, what `people` writes for people.
    pub(crate) fn answer(self, value: &impl Serialize, people: impl FnOnce(&mut Page)) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, value)?;
            return writeln!(out);
        }
        let mut page = Page::default();
        people(&mut page);
        self.text(&page.0)
    }

    /// A text as it is.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut out = AutoStream::new(io::stdout(), self.choice).lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Something by the way, for a person. Whether it arrives does not matter.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(AutoStream::new(io::stderr(), self.choice), "{text}");
        }
    }

    /// Why it failed.
    pub(crate) fn problem(self, problem: &Problem) {
        let mut out = AutoStream::new(io::stderr(), self.choice);
        if self.json {
            let text = serde_json::to_string_pretty(problem).unwrap_or_else(|_| problem.detail.clone());
            let _ = writeln!(out, "{text}");
            return;
        }
        let _ = writeln!(out, "{}: {}", paint(BAD.bold(), "error"), problem.detail);
        // A single fault usually is the message already.
        for fault in problem
            .errors
            .iter()
            .filter(|fault| !problem.detail.contains(&fault.reason))
        {
            let _ = writeln!(out, "  {}: {}", paint(BOLD, &fault.path), fault.reason);
        }
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "  {} {hint}", paint(GOOD, "→"));
        }
    }
}

/// Lines of an answer for people.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.0.push_str(text.as_ref());
        self.0.push('\n');
    }

    /// A name and what it is; nothing for an empty value.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.line(format!("{} {value}", paint(BOLD, &format!("{name:<14}"))));
        }
    }

    /// Columns as wide as they need to be. Numbers to the right.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| plain_width(cell));
            cells
                .chain([head.get(column).map_or(0, |text| text.chars().count())])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let right: Vec<bool> = (0..head.len())
            .map(|column| {
                !rows.is_empty()
                    && rows
                        .iter()
                        .all(|row| row.get(column).is_some_and(|cell| number(cell)))
            })
            .collect();
        let mut write = |cells: &mut dyn Iterator<Item = (String, usize)>| {
            let mut line = String::new();
            for (column, (cell, length)) in cells.enumerate() {
                let pad = " ".repeat(widths.get(column).copied().unwrap_or(0).saturating_sub(length));
                if column > 0 {
                    line.push_str("  ");
                }
                let to_the_right = right.get(column).copied().unwrap_or(false);
                line.push_str(&if to_the_right {
                    format!("{pad}{cell}")
                } else {
                    format!("{cell}{pad}")
                });
            }
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        };
        write(&mut head.iter().map(|text| (paint(DIM, text), text.chars().count())));
        for row in rows {
            write(&mut row.iter().map(|cell| (cell.clone(), plain_width(cell))));
        }
    }
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Text that is well, in its colour.
pub(crate) fn good(text: &str) -> String {
    paint(GOOD, text)
}

/// Text that is not.
pub(crate) fn bad(text: &str) -> String {
    paint(BAD, text)
}

/// Text to look at.
pub(crate) fn warn(text: &str) -> String {
    paint(WARN, text)
}

/// Text that may be skipped.
pub(crate) fn dim(text: &str) -> String {
    paint(DIM, text)
}

/// Text to find again.
pub(crate) fn bold(text: &str) -> String {
    paint(BOLD, text)
}

/// Characters without the colours.
fn plain_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// Milliseconds since 1970 as UTC.
pub(crate) fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| millis.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_whatever_the_colours() {
        let mut page = Page::default();
        let row = |name: &str, n: &str| vec![name.to_owned(), n.to_owned(), good("ok")];
        page.table(&["name", "n", "state"], &[row("a", "1"), row("längerer", "1042")]);
        let plain = anstream::adapter::strip_str(&page.0).to_string();
        assert_eq!(
            plain,
            "name         n  state\na            1  ok\nlängerer  1042  ok\n"
        );
    }

    #[test]
    fn times_are_readable_and_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(1_767_225_600_000), "2026-01-01 00:00:00Z");
    }
}
