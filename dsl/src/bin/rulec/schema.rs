//! `rulec schema`: JSON Schemas of what the tools write and of the facts that rules ask about, made from the types and the
//! table themselves.

use crate::output::{Failure, print};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use sluice_dsl::Diagnostic;
use sluice_dsl::bundle::Bundle;
use sluice_dsl::difference::Difference;
use sluice_dsl::fields::{FIELDS, FieldInfo, FieldType, nearest};
use sluice_dsl::testing::{Coverage, TestOutcome};

/// JSON Schema 2020-12.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One schema; all of them by name where none is named.
    name: Option<String>,
}

/// The schemas by name, with what each is of.
fn all() -> [(&'static str, Value); 8] {
    let coverage = of::<Coverage>();
    [
        ("facts", facts()),
        ("check", titled("a line of `rulec check --format json`", of::<Diagnostic>())),
        ("test", titled("a line of `rulec test --format json`", of::<TestOutcome>())),
        ("coverage", titled("`coverage` in the last line of `rulec test --coverage --format json`", coverage)),
        ("diff", titled("`rulec diff --format json`", of::<Difference>())),
        ("scan", scan()),
        ("bench", titled("`rulec bench --format json`", of::<crate::bench::Report>())),
        ("bundle", titled("a bundle of `rulec build`", of::<Bundle>())),
    ]
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let all = all();
    let shown = match &args.name {
        None => Value::Object(all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()),
        Some(wanted) => {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            let found = all.iter().find(|(name, _)| name == wanted).map(|(_, schema)| schema.clone());
            found.ok_or_else(|| {
                let help = nearest(wanted, names.iter().copied()).map_or_else(
                    || format!("the schemas are {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                Failure::Because(format!("there is no schema `{wanted}`; {help}"))
            })?
        }
    };
    print(&format!("{shown:#}\n"))?;
    Ok(false)
}

/// The schema of a type as it is written: what may be left out isn't required.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

fn titled(title: &str, mut schema: Value) -> Value {
    schema["title"] = json!(title);
    schema
}

/// The facts of one request, by the names that rules use.
fn facts() -> Value {
    let members: Map<String, Value> = FIELDS.iter().map(|field| (field.name.to_owned(), fact(field))).collect();
    json!({
        "$schema": DIALECT, "title": "the facts that rules ask about", "type": "object",
        "properties": members, "additionalProperties": false,
    })
}

fn fact(field: &FieldInfo) -> Value {
    let mut schema = match field.kind {
        FieldType::Text => json!({ "type": "string" }),
        FieldType::Enum(words) => json!({ "enum": words }),
        FieldType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        FieldType::Enums(words) => json!({ "type": "array", "items": { "enum": words } }),
        FieldType::Number => json!({ "type": "number" }),
        FieldType::Bytes => json!({ "type": "integer", "minimum": 0 }),
        FieldType::Flag => json!({ "type": "boolean" }),
        // A value at a path of the arguments.
        FieldType::Argument => json!({ "type": "object" }),
    };
    schema["description"] = json!(field.about);
    // Words of our own: JSON Schema lets them be.
    schema["x-session"] = json!(field.session);
    if !field.protocols.is_empty() {
        schema["x-protocols"] = json!(field.protocols);
    }
    schema
}

/// Decisions of `rulec scan`: of the engine on bytes, and of the facts on a statement as a whole.
fn scan() -> Value {
    let text = || json!({ "type": "string" });
    let span = json!({ "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 2, "maxItems": 2 });
    json!({
        "$schema": DIALECT, "title": "a line of `rulec scan --format json`, on standard error",
        "oneOf": [
            {
                "description": "A match, with its place in bytes of the input.", "type": "object",
                "properties": {
                    "rule": text(), "pattern": text(), "span": span, "action": { "enum": ["alert", "mask", "block"] },
                },
                "required": ["rule", "pattern", "span", "action"], "additionalProperties": false,
            },
            {
                "description": "A decision on a statement as a whole.", "type": "object",
                "properties": {
                    "rule": text(), "action": { "enum": ["alert", "approve", "block"] }, "detail": text(), "message": text(),
                },
                "required": ["rule", "action", "detail", "message"], "additionalProperties": false,
            },
        ],
    })
}
