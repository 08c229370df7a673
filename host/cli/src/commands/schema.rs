//! `stecker schema` and `stecker completion`

use clap::CommandFactory as _;
use serde_json::{Value, json};
use stecker_model::Setup;

use crate::{
    args::{Cli, Schema},
    failure::{Result, failed},
    output::Output,
};

/// JSON in any case: a schema is for programs.
pub(crate) fn schema(output: Output, what: Schema) -> Result<()> {
    let titled = |schema: schemars::Schema, title: &str, description: &str| -> Value {
        let mut value = Value::from(schema);
        if let Some(map) = value.as_object_mut() {
            map.insert("title".to_owned(), json!(title));
            map.insert("description".to_owned(), json!(description));
        }
        value
    };
    let document = match what {
        Schema::Setup => titled(
            schemars::schema_for!(Setup),
            "Stecker setup",
            "Connections and the flows between them, as `stecker apply -f` takes them (TOML or JSON).",
        ),
        Schema::Manifest => titled(
            stecker_registry::Manifest::json_schema(),
            "Stecker plugin manifest",
            "The file plugin.toml beside the Cargo.toml of a plugin.",
        ),
        Schema::Openapi => stecker_server::openapi_document(),
    };
    let text =
        serde_json::to_string_pretty(&document).map_err(|error| failed("schema", error.to_string()))?;
    output.text(&format!("{text}\n"))?;
    Ok(())
}

pub(crate) fn completion(output: Output, shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stecker", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(())
}
