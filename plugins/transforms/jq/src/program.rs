//! Compiling and running a program, with errors that say where.

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, Error as LoadError, File, Loader};
use jaq_core::native::Fun;
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::{Map, Val, read as json};
use stecker_sdk::prelude::*;

type Data = JustLut<Val>;

/// What would make two runs of the same program differ, or end more than one record.
const LEFT_OUT: &[&str] = &["now", "env", "localtime", "strflocaltime", "halt", "halt_error"];

/// How much of a line an error quotes.
const QUOTED: usize = 60;

/// How much of a value an error quotes. Values are somebody's data; a message is read by more people.
const QUOTED_VALUE: usize = 200;

/// A compiled program.
pub(crate) struct Program {
    filter: jaq_core::Filter<Data>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

fn functions() -> impl Iterator<Item = Fun<Data>> {
    let all = jaq_core::funs::<Data>()
        .chain(jaq_std::funs::<Data>())
        .chain(jaq_json::funs::<Data>());
    all.filter(|(name, _, _)| !LEFT_OUT.contains(name))
}

impl Program {
    /// Compiles; `field` is the configuration's field that it comes from, as a JSON Pointer.
    pub(crate) fn compile(code: &str, field: &str) -> Result<Self> {
        let at = |part: &str, what: String| located(code, part, field, &what);
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let loader = Loader::new(definitions.filter(|definition| !LEFT_OUT.contains(&definition.name)));
        let arena = Arena::default();
        let modules = loader.load(&arena, File { code, path: () }).map_err(|files| {
            let first = files.into_iter().next().map(|(_, error)| error);
            match first {
                Some(LoadError::Lex(errors)) => match errors.into_iter().next() {
                    Some((expected, found)) => at(found, format!("expected {}", expected.as_str())),
                    None => at(code, "it cannot be read".to_owned()),
                },
                Some(LoadError::Parse(errors)) => match errors.into_iter().next() {
                    Some((expected, found)) => at(found, format!("expected {}", expected.as_str())),
                    None => at(code, "it cannot be read".to_owned()),
                },
                Some(LoadError::Io(errors)) => match errors.first() {
                    Some((path, _)) => at(
                        path,
                        "modules cannot be loaded here; put the definitions into the program".to_owned(),
                    ),
                    None => at(code, "it cannot be read".to_owned()),
                },
                None => at(code, "it cannot be read".to_owned()),
            }
        })?;
        let compiler = Compiler::default()
            .with_funs(functions())
            .with_global_vars(["$record"]);
        let filter = compiler.compile(modules).map_err(|files| {
            let first = files.into_iter().flat_map(|(_, errors)| errors).next();
            match first {
                Some((name, _))
                    if LEFT_OUT.contains(&name) || matches!(name, "input" | "inputs" | "$ENV") =>
                {
                    at(
                        name,
                        format!("`{name}` is left out, so that the same record always gives the same result"),
                    )
                }
                Some((name, undefined)) => at(name, format!("there is no {} `{name}`", undefined.as_str())),
                None => at(code, "it cannot be compiled".to_owned()),
            }
        })?;
        Ok(Self { filter })
    }

    /// All outputs for an input.
    pub(crate) fn run(&self, input: Val, about: &Val) -> Result<Vec<Val>, Rejection> {
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([about.clone()]));
        let outputs = self.filter.id.run((context, input));
        outputs
            .map(|output| {
                output.map_err(|exception| {
                    let reason = match exception.get_err() {
                        Ok(error) => shorten(&message(error), QUOTED_VALUE),
                        Err(_) => "the program ended itself".to_owned(),
                    };
                    Rejection::new("transform-error", reason)
                })
            })
            .collect()
    }

    /// The one output as a key.
    pub(crate) fn key(&self, input: Val, about: &Val) -> Result<String, Rejection> {
        let bad = |what: String| {
            Rejection::new(
                "bad-key",
                format!("{what}; `key` has to give one text of 1 to 512 bytes, or one number"),
            )
        };
        let outputs = self.run(input, about)?;
        let [output] = outputs.as_slice() else {
            return Err(bad(format!(
                "the program of `key` gave {} outputs",
                outputs.len()
            )));
        };
        let key = match output {
            Val::TStr(bytes) => {
                String::from_utf8(bytes.to_vec()).map_err(|_| bad("the key is not UTF-8".to_owned()))?
            }
            Val::Num(_) => output.to_string(),
            other => {
                return Err(bad(format!(
                    "the key is {}",
                    shorten(&other.to_string(), QUOTED_VALUE)
                )));
            }
        };
        if key.is_empty() || key.len() > 512 {
            return Err(bad(format!("the key has {} bytes", key.len())));
        }
        Ok(key)
    }
}

/// What `error("…")` said, without the quotes of a JSON text.
fn message(error: jaq_json::Error) -> String {
    match error.into_val() {
        Val::TStr(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => other.to_string(),
    }
}

/// `$record`.
pub(crate) fn about(record: &Record) -> Val {
    let text = |text: &str| Val::from(text.to_owned());
    let attributes = record
        .attributes
        .iter()
        .map(|(name, value)| (text(name), text(value)));
    let operation = match record.operation {
        Operation::Upsert => "upsert",
        Operation::Delete => "delete",
    };
    let fields = [
        ("key", text(&record.key)),
        ("stream", text(&record.stream)),
        ("operation", text(operation)),
        // As a text first: the plain integer type has 32 bits in a component.
        (
            "event_time",
            record
                .event_time
                .map_or(Val::Null, |millis| number(&millis.to_string())),
        ),
        ("source_version", text(&record.source_version)),
        ("attributes", Val::obj(attributes.collect())),
    ];
    Val::obj(
        fields
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect::<Map>(),
    )
}

fn number(digits: &str) -> Val {
    json::parse_single(digits.as_bytes()).unwrap_or_default()
}

/// The payload as the program's input.
pub(crate) fn read(payload: &str) -> Result<Val, Rejection> {
    json::parse_single(payload.as_bytes())
        .map_err(|error| Rejection::new("payload", format!("the payload is not JSON: {error}")))
}

/// An output as a payload. The language has values that JSON has not: infinities, bytes, keys that are no texts.
pub(crate) fn write(output: &Val) -> Result<String, Rejection> {
    let text = output.to_string();
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Rejection::new(
            "not-json",
            format!(
                "the program's output cannot be written as JSON ({error}): {}",
                shorten(&text, QUOTED_VALUE)
            ),
        )),
    }
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A configuration error at the place where `part`, a piece of `code`, begins.
fn located(code: &str, part: &str, field: &str, what: &str) -> Error {
    // The piece's address within the code is its position; a piece from elsewhere would be beyond the end.
    let offset = (part.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize);
    let offset = if offset <= code.len() { offset } else { code.len() };
    let before = code.get(..offset).unwrap_or(code);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].chars().count() + 1;
    let text = code[start..].lines().next().unwrap_or_default();
    // Far to the right, quote what is around the place.
    let skipped = (column - 1).saturating_sub(QUOTED / 2);
    let excerpt: String = text.chars().skip(skipped).take(QUOTED).collect();
    let marker = format!("{}^", " ".repeat(column - 1 - skipped));
    Error::config(format!(
        "the jq program in `{}` does not compile at line {line}, column {column}: {what}\n  {excerpt}\n  {marker}",
        field.trim_start_matches('/')
    ))
    .detail("path", field)
    .detail("line", line)
    .detail("column", column)
    .detail("excerpt", excerpt)
}
