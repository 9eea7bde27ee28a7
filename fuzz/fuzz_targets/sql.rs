//! Facts about SQL: any text gives facts or an error, the same each time; facts are spelled as rules expect them; a
//! comment changes none, and a text said twice does the same twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_dsl::sql::{SqlFacts, facts};
use std::collections::BTreeSet;

fuzz_target!(|text: &str| {
    let read = facts(text);
    assert_eq!(facts(text), read);
    let Ok(once) = read else { return };
    for list in [&once.verbs, &once.tables, &once.functions] {
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len(), "a name stands twice");
        assert!(list.iter().all(|name| !name.is_empty()));
    }
    assert!(once.verbs.iter().all(|verb| verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    assert!(once.statements == 0 || !once.verbs.is_empty(), "a statement that does nothing");

    // The line feed ends a comment that the text may end in.
    let commented = facts(&format!("/* drop */ {text}\n-- delete"));
    assert_eq!(commented.as_ref(), Ok(&once), "a comment counts");
    if let Ok(twice) = facts(&format!("{text}\n;\n{text}")) {
        assert_eq!(twice.statements, 2 * once.statements);
        assert!(twice.statements < 2 || twice.outputs.is_none(), "the columns of one result stand for those of two");
        let outputs = once.outputs.clone();
        assert_eq!(
            SqlFacts { statements: once.statements, outputs, ..SqlFacts::clone(&twice) },
            SqlFacts::clone(&once),
            "said twice, it does something else"
        );
    }
});
