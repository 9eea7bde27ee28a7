//! What editors are given: the grammar in the repository is the one that the table of words prints, and it colours.

use regex_automata::meta::Regex;
use serde_json::Value;
use std::path::Path;

/// The expressions of a grammar, wherever they stand.
fn expressions(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| expressions(item, out)),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if ["match", "begin", "end"].contains(&name.as_str()) => out.push(text.clone()),
                    _ => expressions(member, out),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_grammar_of_the_extension_is_the_printed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../editors/vscode/syntaxes/sluice.tmLanguage.json");
    let printed = format!("{:#}\n", sluice_dsl::grammar::textmate());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &printed).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).expect("the grammar");
    assert!(there == printed, "{} is old: `cargo xtask bless`", path.display());
}

#[test]
fn each_word_of_the_language_is_coloured_and_no_part_of_a_longer_one() {
    let grammar = sluice_dsl::grammar::textmate();
    let mut all = Vec::new();
    expressions(&grammar, &mut all);
    for one in &all {
        Regex::new(one).unwrap_or_else(|error| panic!("{one}: {error}"));
    }
    let words: Vec<Regex> = grammar["repository"]["word"]["patterns"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pattern| Regex::new(pattern["match"].as_str().expect("text")).expect("it was compiled above"))
        .collect();
    for word in sluice_dsl::words::WORDS {
        let kinds = words.iter().filter(|regex| regex.find(word.text).is_some_and(|m| m.len() == word.text.len()));
        assert_eq!(kinds.count(), 1, "{}", word.text);
        assert!(!words.iter().any(|regex| regex.is_match(&format!("x_{}_x", word.text))), "{}", word.text);
    }
}
