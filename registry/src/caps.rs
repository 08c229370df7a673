//! What a component may be made of, counted in one pass over its sections before anything validates or compiles it: each of these can make a
//! file of modest size costly.

use wasmparser::{Parser, Payload};

use crate::{
    component::{InspectLimits, invalid},
    error::InspectError,
};

/// Counts while the parser walks.
struct Count {
    what: &'static str,
    found: usize,
    max: usize,
}

impl Count {
    fn new(what: &'static str, max: usize) -> Self {
        Self { what, found: 0, max }
    }

    fn add(&mut self, more: u32) -> Result<(), InspectError> {
        self.found = self
            .found
            .saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
        if self.found > self.max {
            return Err(InspectError::TooMany {
                what: self.what,
                max: self.max,
            });
        }
        Ok(())
    }
}

/// What an instance would have before it has done anything.
fn begins_with(what: &'static str, asked: u64, max: u64) -> Result<(), InspectError> {
    if asked > max {
        return Err(InspectError::TooLargeAtFirst { what, asked, max });
    }
    Ok(())
}

pub(crate) fn check(bytes: &[u8], limits: InspectLimits) -> Result<(), InspectError> {
    let mut functions = Count::new("functions", limits.max_functions);
    let mut memories = Count::new("memories", limits.max_memories);
    let mut tables = Count::new("tables", limits.max_tables);
    let mut parts = Count::new("modules, components and instances", limits.max_parts);
    let mut types = Count::new("types", limits.max_types);
    let mut sections = Count::new("sections", limits.max_sections);
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| invalid(&error))?;
        if payload.as_section().is_some() {
            sections.add(1)?;
        }
        match payload {
            Payload::Version { .. } => {
                depth += 1;
                if depth > limits.max_depth {
                    return Err(InspectError::TooDeep {
                        depth,
                        max: limits.max_depth,
                    });
                }
                parts.add(1)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => functions.add(count)?,
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let size = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
                if size > limits.max_function_bytes {
                    return Err(InspectError::FunctionTooLarge {
                        size,
                        offset: range.start,
                        max: limits.max_function_bytes,
                    });
                }
            }
            Payload::MemorySection(section) => {
                memories.add(section.count())?;
                for memory in section {
                    let memory = memory.map_err(|error| invalid(&error))?;
                    let page = memory.page_size_log2.unwrap_or(16).min(16);
                    let bytes = memory.initial.saturating_mul(1 << page);
                    begins_with("bytes of memory", bytes, limits.max_initial_memory)?;
                }
            }
            Payload::TableSection(section) => {
                tables.add(section.count())?;
                for table in section {
                    let elements = table.map_err(|error| invalid(&error))?.ty.initial;
                    begins_with("elements in a table", elements, limits.max_initial_table)?;
                }
            }
            Payload::TypeSection(section) => types.add(section.count())?,
            Payload::CoreTypeSection(section) => types.add(section.count())?,
            Payload::ComponentTypeSection(section) => types.add(section.count())?,
            Payload::InstanceSection(section) => parts.add(section.count())?,
            Payload::ComponentInstanceSection(section) => parts.add(section.count())?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, limits: InspectLimits) -> Result<(), InspectError> {
        check(&wat::parse_str(text).unwrap(), limits)
    }

    #[test]
    fn each_cap_is_a_reason_of_its_own() {
        let limits = InspectLimits {
            max_depth: 2,
            max_functions: 2,
            max_function_bytes: 10,
            max_memories: 1,
            max_tables: 1,
            max_parts: 4,
            max_types: 3,
            max_sections: 12,
            max_initial_memory: 1 << 20,
            max_initial_table: 10,
            ..InspectLimits::default()
        };
        let body = "(func nop nop nop nop nop nop nop nop nop nop nop nop)";
        for (text, expected) in [
            ("(component)", None),
            ("(component (core module (func) (func)))", None),
            (
                "(component (core module (func) (func)) (core module (func)))",
                Some("2 functions"),
            ),
            (&format!("(component (core module {body}))"), Some("function")),
            (
                "(component (core module (memory 1)) (core module (memory 1)))",
                Some("1 memories"),
            ),
            (
                "(component (core module (table 1 funcref) (table 1 funcref)))",
                Some("1 tables"),
            ),
            ("(component (core module (memory 17)))", Some("1114112 bytes")),
            (
                "(component (core module (table 11 funcref)))",
                Some("11 elements"),
            ),
            ("(component (component (component)))", Some("nested")),
            (
                "(component (core module) (core module) (core module) (core module))",
                Some("4 modules"),
            ),
            (
                "(component (type (list u8)) (type (list u16)) (type (list u32)) (type (list u64)))",
                Some("3 types"),
            ),
            (
                "(component (core module (type (func)) (type (func (param i32))) (type (func (param i64))) (type (func (param f32)))))",
                Some("3 types"),
            ),
            (
                &format!("(component {})", "(@custom \"a\" \"b\")".repeat(13)),
                Some("12 sections"),
            ),
        ] {
            match (found(text, limits), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(word)) => assert!(error.to_string().contains(word), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
