//! One value sent through a policy's own program under some of its rules: what messages show was seen to happen.

use super::samples;
use crate::fields::SQL_PROTOCOLS;
use bytes::Bytes;
use sluice_engine::{
    Budget, Collected, Decision, Format, Matcher, PathStep, PatternSpec, Program, RuleId, RuleSet, Stream,
    StreamOptions,
};

/// Bytes, and how they would come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) text: String,
    /// The column that the text is the value of.
    pub(crate) column: Option<String>,
}

impl Trial {
    /// What the rules decide, and what comes out. None where the stream stops.
    pub(crate) fn run(
        &self,
        program: &Program,
        rules: impl IntoIterator<Item = RuleId>,
        protocol: &str,
    ) -> Option<(Vec<Decision>, String)> {
        let native = SQL_PROTOCOLS.contains(&protocol);
        let json = !native && self.text.starts_with('{');
        let options = StreamOptions {
            format: if json { Format::Json } else { Format::Raw },
            rules: Some(rules.into_iter().collect::<RuleSet>()),
            column: self.column.clone().filter(|_| native),
            ..StreamOptions::default()
        };
        let mut out = Collected::default();
        let mut stream = Stream::open(program, options, &Budget::unlimited());
        stream.push(Bytes::copy_from_slice(self.text.as_bytes()), &mut out).ok()?;
        stream.finish(&mut out).ok()?;
        let text = out.text().into_owned();
        Some((out.decisions, text))
    }
}

/// Values of every pattern, as they stand and where each path and column would have them.
pub(crate) fn of<'s>(patterns: impl IntoIterator<Item = &'s PatternSpec>) -> Vec<Trial> {
    let mut specs: Vec<&PatternSpec> = Vec::new();
    for spec in patterns {
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    let mut values = vec!["any value".to_owned()];
    for spec in &specs {
        // A word that must stand near may stand behind.
        let near = spec.near.as_ref().and_then(|near| near.words.first());
        let values_of = samples::values(spec).into_iter();
        values.extend(values_of.map(|value| near.map_or(value.clone(), |word| format!("{value} {word}"))));
    }
    let mut out: Vec<Trial> = values.iter().map(|text| Trial { text: text.clone(), column: None }).collect();
    for spec in &specs {
        match &spec.matcher {
            Matcher::Column(names) => {
                for (name, value) in names.iter().take(1).flat_map(|name| values.iter().map(move |value| (name, value)))
                {
                    out.push(Trial { text: value.clone(), column: Some(name.clone()) });
                    out.push(Trial { text: serde_json::json!({ name: value }).to_string(), column: None });
                }
            }
            Matcher::Json(path) => out.extend(values.iter().map(|value| {
                let document = path.steps.iter().rev().fold(serde_json::json!(value), |inner, step| match step {
                    PathStep::Key(key) => serde_json::json!({ key.as_str(): inner }),
                    PathStep::Index(index) => {
                        let mut items = vec![serde_json::Value::Null; *index];
                        items.push(inner);
                        serde_json::Value::Array(items)
                    }
                    PathStep::Any => serde_json::json!({ "any": inner }),
                    PathStep::Descend => inner,
                });
                Trial { text: document.to_string(), column: None }
            })),
            Matcher::Regex(_) | Matcher::Words { .. } => {}
        }
    }
    out
}
