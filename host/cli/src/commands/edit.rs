//! `stecker quarantine edit`: the payload of a record in an editor, or from a file.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use stecker_model::{
    RecordId, RecordState,
    api::{EditPayload, PayloadText, QuarantineSelection},
};

use crate::{
    args::Edit,
    failure::{Result, failed, file},
    output::{Output, good, warn},
    target::Target,
};

/// More than any payload has.
const MAX_INPUT: u64 = 16 << 20;

pub(super) async fn edit(target: &Target, output: Output, words: Edit) -> Result<()> {
    let operations = target.operations();
    let before = operations.payload(&words.id).await?;
    if before.state != RecordState::Quarantined {
        // As the host would say it, before anybody has worked in vain.
        let detail = format!(
            "the record {} is {}; only a record in quarantine can be edited",
            words.id,
            before.state.as_str()
        );
        return Err(failed("conflict", detail)
            .with_hint(format!(
                "`stecker records show {}` shows where it stands",
                words.id
            ))
            .into());
    }
    let payload = match &words.payload {
        Some(path) if path.as_os_str() == "-" => read(io::stdin(), "standard input")?,
        Some(path) => {
            let opened = fs::File::open(path).map_err(|error| {
                file(
                    "read",
                    path,
                    error,
                    "give the payload with --payload, or `-` for standard input",
                )
            })?;
            read(opened, &path.display().to_string())?
        }
        None => in_editor(&words.id, &before)?,
    };
    let request = EditPayload {
        payload,
        reason: words.reason,
        after_edits: Some(before.edits),
    };
    let edited = operations.edit_payload(&words.id, &request).await?;
    let mut retried = 0;
    if edited.changed && !words.no_retry {
        let selection = QuarantineSelection {
            ids: vec![words.id.clone()],
            ..QuarantineSelection::default()
        };
        retried = operations.quarantine_retry(&selection).await?.records;
    }
    let here = matches!(target, Target::Here { .. });
    output.answer(&edited, |page| {
        if !edited.changed {
            return page.line("the payload is as it was; nothing was changed");
        }
        page.line(format!("{} {}", good("edited"), words.id));
        for warning in &edited.warnings {
            page.line(warn(&format!("warning: {warning}")));
        }
        match (retried, here) {
            (0, _) => page.line(format!(
                "it is in quarantine; `stecker quarantine retry {}` tries it again",
                words.id
            )),
            (_, true) => page.line("it will be tried again at the next run"),
            (_, false) => page.line("it is being tried again"),
        }
    })?;
    Ok(())
}

fn read(from: impl io::Read, name: &str) -> Result<String> {
    let mut text = String::new();
    from.take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| failed("input", format!("{name} could not be read: {error}")))?;
    checked(text.trim()).map_err(|error| {
        failed("input", format!("{name} is not JSON: {error}"))
            .with_hint("nothing was changed; correct it and try again")
            .into()
    })
}

fn checked(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)?;
    Ok(text.to_owned())
}

/// Opens the payload, indented, in the editor of whoever works here. What does not parse afterwards is kept, so that no work is lost.
fn in_editor(id: &RecordId, before: &PayloadText) -> Result<String> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|editor| !editor.trim().is_empty()))
        .ok_or_else(|| {
            failed("editor", "neither VISUAL nor EDITOR names an editor")
                .with_hint("set one of them, or give the new payload with --payload FILE")
        })?;
    let path = env::temp_dir().join(format!(
        "stecker-{}-{}-{}.json",
        id.flow,
        id.seq,
        jiff::Timestamp::now().as_nanosecond()
    ));
    let shown = indented(&before.payload);
    write_private(&path, &shown)
        .map_err(|error| file("write", &path, error, "give the new payload with --payload FILE"))?;
    // As git does it: the variable may hold arguments.
    let ended = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&path)
        .status();
    let done = matches!(&ended, Ok(status) if status.success());
    if !done {
        let why = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        remove(&path);
        return Err(failed(
            "editor",
            format!("the editor `{editor}` failed ({why}); nothing was changed"),
        )
        .into());
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| file("read", &path, error, "give the new payload with --payload FILE"))?;
    if text.trim() == shown.trim() {
        remove(&path);
        return Ok(before.payload.clone());
    }
    match checked(text.trim()) {
        Ok(text) => {
            remove(&path);
            Ok(text)
        }
        Err(error) => Err(failed(
            "input",
            format!("what was edited is not JSON: {error}; nothing was changed"),
        )
        .with_hint(format!(
            "it is kept in {0}: correct it and give it with --payload {0}",
            path.display()
        ))
        .into()),
    }
}

/// It holds what customers ordered; should it stay, only this user can read it.
fn remove(path: &PathBuf) {
    let _ = fs::remove_file(path);
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// A JSON text with line breaks and indentation. Numbers and the order of keys stay as they are, which a parsed value would not promise.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut chars = json.trim().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                let mut escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '"' && !escaped {
                        break;
                    }
                    escaped = c == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indenting_changes_nothing_but_white_space() {
        let json = r#"{"b":1.10,"a":[1, {"t":"x, {\"y\": [1]}\\"},[],{ }],"n":12345678901234567890123}"#;
        let shown = indented(json);
        assert_eq!(
            shown,
            "{\n  \"b\": 1.10,\n  \"a\": [\n    1,\n    {\n      \"t\": \"x, {\\\"y\\\": [1]}\\\\\"\n    },\n    [],\n    {}\n  ],\n  \
             \"n\": 12345678901234567890123\n}\n"
        );
        let without = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(without(&shown), without(json));
        assert_eq!(indented(&shown), shown);
        assert_eq!(indented("5"), "5\n");
        assert_eq!(indented(""), "\n");
    }
}
