//! The reference of the language as the book has it, printed from the tables that the checker itself uses.

use crate::check::reach;
use crate::codes::Code;
use crate::fields::{FIELDS, FieldType};
use crate::syntax::tree::ItemKind;
use crate::words::{MASKS, SEVERITIES, WORDS, WordKind, validators};
use crate::{CompileOptions, describe, load};
use sluice_engine::Keyring;
use std::fmt::Write as _;

/// The whole page, as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Reference of the rule language\n\n<!-- Printed from the tables of the code by `cargo xtask bless`; changes here \
         are lost. -->\n\nEvery word, field, mask, validator, detector and message there is. How they are used together: \
         [The rule language](rules.md).\n",
    );
    words(&mut out);
    fields(&mut out);
    masks(&mut out);
    packs(&mut out);
    messages(&mut out);
    out
}

/// A row of a table.
fn row<const N: usize>(out: &mut String, cells: [&str; N]) {
    for cell in cells {
        // A bar ends a cell, in code too.
        let _ = write!(out, "| {} ", cell.replace('|', "\\|"));
    }
    out.push_str("|\n");
}

fn head<const N: usize>(out: &mut String, title: &str, about: &str, columns: [&str; N]) {
    let _ = write!(out, "\n{title}\n\n");
    if !about.is_empty() {
        let _ = write!(out, "{about}\n\n");
    }
    row(out, columns);
    row(out, columns.map(|_| "---"));
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn words(out: &mut String) {
    let kinds = [
        (WordKind::Item, "## Items", "What stands in a file."),
        (WordKind::Clause, "## Clauses", "What stands in an item, in this order."),
        (WordKind::Action, "## Actions", "What a rule does, the strictest first; what a test expects."),
        (WordKind::Operator, "## Operators", "In conditions, beside `==`, `!=`, `<`, `<=`, `>` and `>=`."),
        (WordKind::Part, "## Other words", ""),
    ];
    for (kind, title, about) in kinds {
        head(out, title, about, ["word", "as in", "meaning"]);
        for word in WORDS.iter().filter(|word| word.kind == kind) {
            row(out, [&code(word.text), &code(word.usage), word.about]);
        }
    }
    let _ = write!(out, "\nSeverities, the mildest first: {}.\n", listed(SEVERITIES));
}

fn listed(values: &[&str]) -> String {
    values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ")
}

fn fields(out: &mut String) {
    let about = "What conditions compare, and what the `given` of a test sets. A field of a protocol that the rule's scope \
                 excludes is an error.";
    head(out, "## Fields", about, ["field", "is", "of", "known", "meaning"]);
    for field in FIELDS {
        let of = if field.protocols.is_empty() { "every protocol".to_owned() } else { listed(field.protocols) };
        let known = if field.session { "when the session opens" } else { "with each request" };
        row(out, [&code(field.name), field.kind.name(), &of, known, field.about]);
    }
    out.push_str("\nThe words of the fixed sets:\n\n");
    for field in FIELDS {
        if let FieldType::Enum(values) | FieldType::Enums(values) = field.kind {
            let _ = writeln!(out, "- `{}`: {}", field.name, listed(values));
        }
    }
}

fn masks(out: &mut String) {
    head(out, "## Masks", "The strictest first.", ["mask", "as in", "leaves", "arguments"]);
    for mask in MASKS {
        let arguments: Vec<String> = mask.arguments.iter().map(|(name, about)| format!("`{name}`: {about}")).collect();
        row(out, [&code(mask.name), &code(mask.usage), mask.about, &arguments.join("; ")]);
    }
    head(out, "## Validators", "After `validate`.", ["validator", "as in", "accepts"]);
    for (name, usage, about) in validators() {
        row(out, [&code(name), &code(usage), about]);
    }
}

/// The packs that come with the program: what they detect, and what their rules do.
fn packs(out: &mut String) {
    let options = CompileOptions::new(Keyring::for_tests());
    let loaded = load::load_packs(&load::standard().collect::<Vec<_>>(), &options);
    out.push_str(
        "\n## Standard packs\n\nWith an import, a detector is named as `std.pii.email`, and `std.pii.any` is all of a pack. \
         The longest match is in bytes of decoded text.\n",
    );
    for (unit, read) in loaded.units.iter().enumerate() {
        let mut detectors = Vec::new();
        let mut rules = Vec::new();
        for item in &read.tree.items {
            match &item.kind {
                ItemKind::Pattern(pattern) => {
                    let about = describe::comment_above(&read.source.text, &read.tree.comments, item.span.start);
                    let about = about.unwrap_or_else(|| describe::pattern(pattern));
                    let name = format!("{}.{}", read.pack, pattern.name.value);
                    let longest = reach::of_pattern(&loaded, &options, unit, &pattern.name.value);
                    let longest = longest.map_or_else(String::new, |reach| reach.held.longest.to_string());
                    detectors.push([code(&name), about, longest]);
                }
                ItemKind::Rule(rule) => {
                    let id = rule.meta.id.as_ref().map_or("", |id| &id.value);
                    rules.push([code(&rule.name.value), id.to_owned(), describe::rule(rule)]);
                }
                _ => {}
            }
        }
        if !detectors.is_empty() {
            head(out, &format!("### Detectors of `{}`", read.pack), "", ["detector", "finds", "longest match"]);
            detectors.iter().for_each(|[name, about, longest]| row(out, [name, about, longest]));
        }
        if !rules.is_empty() {
            head(out, &format!("### Rules of `{}`", read.pack), "", ["rule", "id", "does"]);
            rules.iter().for_each(|[name, id, does]| row(out, [name, id, does]));
        }
    }
}

fn messages(out: &mut String) {
    let about = "`E…` is an error: the rules can't be used. `W…` is a warning, which can be suppressed with a reason. \
                 `rulec explain CODE` has an example of each and what to use instead.";
    head(out, "## Messages of the checker", about, ["code", "name", "meaning"]);
    for code in Code::ALL {
        row(out, [&format!("`{}`", code.id()), code.name(), code.text()]);
    }
}
