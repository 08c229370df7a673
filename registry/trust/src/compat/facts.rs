//! What is known of every instance of some schemas at once.
//!
//! The old side of a comparison is a list of facts, all of which hold. Leaving one out is always sound: less is then known of the instance.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// A set of JSON types, with whole numbers apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const ALL: Self = Self(0b111_1111);
    pub(super) const NONE: Self = Self(0);
    const NAMES: [(&'static str, u8); 7] = [
        ("null", 1),
        ("boolean", 2),
        ("integer", 4),
        ("number", 4 | 8),
        ("string", 16),
        ("array", 32),
        ("object", 64),
    ];
    pub(super) const NUMBER: Self = Self(4 | 8);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.without(other) == Self::NONE
    }

    /// What `type` says; none if it is not of a form that can be read.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let one = |value: &Value| {
            let name = value.as_str()?;
            Self::NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, bits)| *bits)
        };
        match value {
            Value::Array(list) => list
                .iter()
                .try_fold(0, |bits, value| Some(bits | one(value)?))
                .map(Self),
            value => one(value).map(Self),
        }
    }

    /// The type of a value. 1.0 is a whole number (JSON Schema, section 6.1.1), and whether larger ones with a fraction are is left open.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self(1),
            Value::Bool(_) => Self(2),
            Value::Number(number) if number.is_i64() || number.is_u64() => Self::INTEGER,
            Value::Number(number) => match number.as_f64() {
                Some(value) if value.fract() != 0.0 => Self(8),
                _ => Self::NUMBER,
            },
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Each type by itself.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..7)
            .map(|bit| Self(1 << bit))
            .filter(move |one| self.meets(*one))
    }

    pub(super) fn names(self) -> String {
        let all: Vec<_> = [
            ("null", 1),
            ("boolean", 2),
            ("whole number", 4),
            ("number with a fraction", 8),
            ("string", 16),
            ("array", 32),
            ("object", 64),
        ]
        .iter()
        .filter(|(_, bit)| self.0 & bit != 0)
        .map(|(name, _)| *name)
        .collect();
        all.join(", ")
    }
}

/// Something that holds of every instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact<'a> {
    /// It satisfies this schema. Alternatives that were split by are not looked at again.
    Schema {
        schema: &'a Map<String, Value>,
        split: bool,
    },
    /// It is this value.
    Is(&'a Value),
    /// It is of one of these types.
    Of(Types),
    /// There is no instance.
    Never,
}

/// Facts that hold together.
pub(super) type Facts<'a> = Vec<Fact<'a>>;

/// The value that the instance is, where only one is left.
pub(super) fn value<'a>(facts: &[Fact<'a>]) -> Option<&'a Value> {
    facts.iter().find_map(|fact| match fact {
        Fact::Is(value) => Some(*value),
        Fact::Schema { schema, .. } => schema.get("const"),
        _ => None,
    })
}

/// The keyword in every schema that has it.
pub(super) fn keyword<'a>(facts: &[Fact<'a>], name: &'a str) -> impl Iterator<Item = &'a Value> {
    facts.iter().filter_map(move |fact| match fact {
        Fact::Schema { schema, .. } => schema.get(name),
        _ => None,
    })
}

/// The types that are left.
pub(super) fn types(facts: &[Fact<'_>]) -> Types {
    facts.iter().fold(Types::ALL, |types, fact| match fact {
        Fact::Never => Types::NONE,
        Fact::Of(these) => types.and(*these),
        Fact::Is(value) => types.and(Types::of(value)),
        Fact::Schema { schema, .. } => {
            let mut types = types;
            if let Some(these) = schema.get("type").and_then(Types::read) {
                types = types.and(these);
            }
            if let Some(value) = schema.get("const") {
                types = types.and(Types::of(value));
            }
            if let Some(Value::Array(values)) = schema.get("enum") {
                let any = values.iter().fold(0, |bits, value| bits | Types::of(value).0);
                types = types.and(Types(any));
            }
            types
        }
    })
}

/// The order of two numbers, where it can be told exactly.
pub(super) fn order(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |number: &Number| {
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (a_whole, b_whole) => {
            // Up to 2^53 every whole number is a double.
            let exact = |whole: Option<i128>| whole.is_none_or(|whole| whole.unsigned_abs() <= 1 << 53);
            if !exact(a_whole) || !exact(b_whole) {
                return None;
            }
            a.as_f64()?.partial_cmp(&b.as_f64()?)
        }
    }
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        // 3.0 is a count, too; what is larger than that many is none.
        (number.fract() == 0.0 && (0.0..1e9).contains(&number))
            .then(|| format!("{number:.0}").parse().ok())?
    })
}

/// The count that a keyword asks for.
pub(super) fn as_count(value: &Value) -> Option<u64> {
    count(value)
}

/// How many characters, items or members the instance has at least and, where that is known, at most. `what` is one of `Length`, `Items`, `Properties`.
pub(super) fn bounds(facts: &[Fact<'_>], what: Counted) -> (u64, Option<u64>) {
    let (low, high) = what.keywords();
    let mut least = keyword(facts, low).filter_map(count).max().unwrap_or(0);
    let mut most = keyword(facts, high).filter_map(count).min();
    if let Some(value) = value(facts).and_then(|value| what.of(value)) {
        least = least.max(value);
        most = Some(most.map_or(value, |most| most.min(value)));
    }
    if let Counted::Properties = what {
        least = least.max(u64::try_from(required(facts).len()).unwrap_or(u64::MAX));
    }
    (least, most)
}

/// What can be counted.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Length,
    Items,
    Properties,
}

impl Counted {
    pub(super) const fn keywords(self) -> (&'static str, &'static str) {
        match self {
            Self::Length => ("minLength", "maxLength"),
            Self::Items => ("minItems", "maxItems"),
            Self::Properties => ("minProperties", "maxProperties"),
        }
    }

    pub(super) const fn types(self) -> Types {
        match self {
            Self::Length => Types::STRING,
            Self::Items => Types::ARRAY,
            Self::Properties => Types::OBJECT,
        }
    }

    fn of(self, value: &Value) -> Option<u64> {
        let count = match (self, value) {
            (Self::Length, Value::String(text)) => text.chars().count(),
            (Self::Items, Value::Array(items)) => items.len(),
            (Self::Properties, Value::Object(members)) => members.len(),
            _ => return None,
        };
        u64::try_from(count).ok()
    }
}

/// The members that the instance has for certain, if it is an object.
pub(super) fn required(facts: &[Fact<'_>]) -> std::collections::BTreeSet<String> {
    let mut names: std::collections::BTreeSet<String> = keyword(facts, "required")
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    if let Some(Value::Object(members)) = value(facts) {
        names.extend(members.keys().cloned());
    }
    names
}

/// A piece of a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
