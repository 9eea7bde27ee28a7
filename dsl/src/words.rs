//! The one table of the language's words: keywords, masks, validators and fixed values, each with its sentence. The
//! language server, the editors' grammar and the book's reference are made from it; a test holds it against the grammar.

use sluice_engine::Validator;

/// What a keyword is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WordKind {
    /// It starts an item of a file.
    Item,
    /// It starts a clause of an item.
    Clause,
    /// It says what a rule does, or what a test expects.
    Action,
    /// It joins or compares in a condition.
    Operator,
    /// It stands inside a clause.
    Part,
}

/// A keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is written.
    pub text: &'static str,
    /// What it is for.
    pub kind: WordKind,
    /// How it is used.
    pub usage: &'static str,
    /// One sentence for the reference.
    pub about: &'static str,
}

const fn word(text: &'static str, kind: WordKind, usage: &'static str, about: &'static str) -> Word {
    Word { text, kind, usage, about }
}

use WordKind::{Action, Clause, Item, Operator, Part};

/// Every keyword, in the order in which a file and its items have them.
#[rustfmt::skip]
pub const WORDS: &[Word] = &[
    word("language", Item, "language 1", "The version of the language; the first item of every file."),
    word("pack", Item, r#"pack acme.staff "1.0.0" { owner "people-systems" reviewed 2026-11-23 }"#, "Names the file as a pack, with its version, and says who answers for it since when."),
    word("import", Item, r#"import std.pii "1""#, "Brings the names of a pack or of a file. Its rules hold only where its own file is deployed."),
    word("defaults", Item, "defaults { mode enforce on_error block }", "What holds for every rule of the file that doesn't say otherwise."),
    word("list", Item, r#"list prod_hosts = ["db-prod-1", "db-prod-2"]"#, "Values under a name, to compare with. A list may hold other lists."),
    word("pattern", Item, r"pattern staff_id = /\bEMP-[0-9]{6}\b/", "What to look for in the data. Every pattern has a longest match, because data is inspected while it streams."),
    word("decode", Item, r#"decode tool "query*" arg "$.sql" as sql"#, "Says which argument of which MCP tools holds SQL, so that `sql.*` speaks of it."),
    word("scope", Item, "scope prod_sql { protocol in [postgres, mysql] and target in prod_hosts }", "A condition under a name, which says where rules hold."),
    word("rule", Item, "rule NAME { on … then … }", "What happens when. The order of rules means nothing; of several that apply the strictest wins."),
    word("except", Item, r#"except RULE { when … until 2027-03-31 reason "…" approved_by "…" }"#, "Relaxes one rule for some, until a day, with a reason and an approver."),
    word("test", Item, r#"test "a sentence" { given … send "…" expect … }"#, "Proof of a rule; run with its input whole, cut at every place, and byte by byte."),

    word("meta", Clause, r#"meta { id "ACME-001" severity high tags [pii] gdpr ["Art. 32"] }"#, "What people want to know about a rule."),
    word("mode", Clause, "mode audit", "`enforce` acts; `audit` records what would have happened and does nothing."),
    word("on", Clause, "on response in agents", "Which way the bytes go, and in which scopes the rule holds."),
    word("when", Clause, r#"when tool.name matches "crm.*""#, "The condition under which it holds, on what is known before any data."),
    word("unless", Clause, "unless user.group has org.breakglass", "The condition under which it doesn't hold."),
    word("match", Clause, r#"match std.pii.email, json "$.customer.*.name""#, "What to look for in the bytes; one of them is enough."),
    word("limit", Clause, "limit 500 records per 10m by user.id", "How many records (rows, messages) with a match are let through in a sliding window before the rule blocks. In a test a record that is counted is an `alert`."),
    word("then", Clause, "then mask redact(with: \"[email]\")", "What the rule does."),
    word("priority", Clause, "priority 60", "Picks among actions of the same strength, from 0 to 100; 50 unless told."),
    word("until", Clause, "until 2027-03-31", "The last day on which an exception holds."),
    word("reason", Clause, r#"reason "SEC-812: full card number for the fraud desk""#, "Why there is an exception."),
    word("approved_by", Clause, r#"approved_by "dpo@acme.example""#, "Who approved an exception."),
    word("given", Clause, r#"given response { protocol mcp target "crm" }"#, "What is known in a test: the direction, and fields with their values."),
    word("send", Clause, r#"send "card 4111 1111 1111 1111 ok""#, "The bytes of a test."),
    word("expect", Clause, r#"expect mask "card **** **** **** 1111 ok" by mask_cards"#, "What must happen in a test, and by which rule."),

    word("block", Action, r#"block "Ask for a change.""#, "Refuses; the text is shown to whoever sent the command."),
    word("approve", Action, "approve by [org.dba_leads] count 1 ttl 30m wait 10m grant 1h estimate", "Holds a request until members of a group approve it."),
    word("mask", Action, r#"mask partial(keep_last: 4, with: "*")"#, "Puts something else in the place of each match."),
    word("alert", Action, "alert", "Lets it pass, and reports it."),
    word("pass", Action, "expect pass", "In a test: nothing happens."),

    word("and", Operator, "… and …", "Both hold. Doesn't stand beside `or` without parentheses."),
    word("or", Operator, "… or …", "One of them holds. Doesn't stand beside `and` without parentheses."),
    word("not", Operator, "not sql.has_where", "It doesn't hold."),
    word("in", Operator, "target in prod_hosts", "The value is one of these. After `on`: the scopes."),
    word("has", Operator, r#"user.group has "dba""#, "One of the field's values is one of these."),
    word("matches", Operator, r#"tool.name matches "crm.*""#, "The value fits a glob: `*` is any characters, `?` is one."),

    word("as", Part, r#"import "./org.rules" as org"#, "The prefix of an import's names; in `decode`, what an argument holds."),
    word("owner", Part, r#"owner "payments-security""#, "Who answers for the pack."),
    word("reviewed", Part, "reviewed 2026-08-01", "When the pack was last reviewed."),
    word("on_error", Part, "on_error block", "What an error counts as: `block`, and nothing else, because errors fail closed."),
    word("words", Part, r#"words ["project titan"] nocase"#, "Looks for any of these words, as they stand."),
    word("nocase", Part, "nocase", "Words are found in any ASCII case."),
    word("base64", Part, r#"detect std.pii.email base64"#, "Looked for in base64 as well: in runs of 8 characters or more, a line at a time."),
    word("detect", Part, r#"detect std.pii.credit_card near ["card"] within 40"#, "Another pattern, with conditions added."),
    word("near", Part, r#"near ["card", "pan"] within 40"#, "One of these words must stand near the match."),
    word("within", Part, "within 40", "How near, in bytes before and after."),
    word("validate", Part, "validate luhn", "Arithmetic that settles what a form alone can't."),
    word("max", Part, "max 8KiB", "The longest match; needed where none can be computed. A match that is still going on there counts as one."),
    word("tool", Part, r#"decode tool "query*" …"#, "A glob over the names of tools."),
    word("arg", Part, r#"arg "$.sql""#, "The path of the argument."),
    word("sealed", Part, "rule NAME sealed { … }", "No exception may touch the rule."),
    word("id", Part, r#"id "ACME-001""#, "The id that evidence and tickets name; of one rule alone."),
    word("severity", Part, "severity high", "How much it matters."),
    word("tags", Part, "tags [sql, change]", "Words to find rules by."),
    word("gdpr", Part, r#"gdpr ["Art. 32"]"#, "The articles of the GDPR that the rule serves."),
    word("message", Part, r#"message "Ask for a change.""#, "What the user is told where `block` has no text of its own."),
    word("json", Part, r#"match json "$.customer.*.name""#, "The value of a JSON member at a path."),
    word("column", Part, "match column card_cols", "The value of a column of one of these names (`column`, `table.column`, `schema.table.column`); as a field, the name of the column."),
    word("records", Part, "limit 500 records …", "What is counted."),
    word("per", Part, "per 10m", "The window."),
    word("by", Part, "by user.id", "Whose values are counted apart; who may approve; which rule a test means."),
    word("count", Part, "count 2", "How many must approve; 1 unless told."),
    word("ttl", Part, "ttl 30m", "How long an approval holds; 30m unless told."),
    word("wait", Part, "wait 10m", "How long a request waits for its approval; 10m unless told."),
    word("grant", Part, "grant 1h", "How long the same command goes on once it is approved; left out, an approval counts once."),
    word("estimate", Part, "estimate", "Approvers are shown what PostgreSQL estimates that the command touches (EXPLAIN)."),
];

/// A mask: what stands in the place of a matched value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskInfo {
    /// As it is written.
    pub name: &'static str,
    /// Its arguments, and what each is.
    pub arguments: &'static [(&'static str, &'static str)],
    /// How it is used.
    pub usage: &'static str,
    /// One sentence for the reference.
    pub about: &'static str,
}

const KEY: (&str, &str) = ("key", "the name of a key of the gateway; needed");

/// Every mask, the strictest first.
pub const MASKS: &[MaskInfo] = &[
    MaskInfo {
        name: "redact",
        arguments: &[("with", "the text that stands there; `[redacted]` unless told")],
        usage: r#"redact(with: "[email]")"#,
        about: "A fixed text. Nothing of the value stays.",
    },
    MaskInfo {
        name: "hash",
        arguments: &[KEY],
        usage: r#"hash(key: "pii")"#,
        about: "A keyed hash (HMAC-SHA-256): equal values stay equal, and nobody without the key can try values out.",
    },
    MaskInfo {
        name: "tokenize",
        arguments: &[KEY],
        usage: r#"tokenize(key: "pay")"#,
        about: "A token (AES-SIV) that those who hold the key can turn back; equal values give equal tokens.",
    },
    MaskInfo {
        name: "format_preserving",
        arguments: &[KEY],
        usage: r#"format_preserving(key: "pay")"#,
        about: "Digits for digits (FF1), so that the value still fits its column. Fewer than six digits are redacted.",
    },
    MaskInfo {
        name: "partial",
        arguments: &[
            ("keep_first", "letters and digits kept at the start; 0 unless told"),
            ("keep_last", "letters and digits kept at the end; 0 unless told"),
            ("with", "the character that stands for each other one; `*` unless told"),
        ],
        usage: r#"partial(keep_last: 4, with: "*")"#,
        about: "The first and last letters and digits stay, and so do separators. A value that would be shown whole is hidden whole.",
    },
];

/// What each validator checks, by its name.
const VALIDATORS: &[(&str, &str)] = &[
    ("luhn", "The check digit of payment cards (ISO/IEC 7812-1)."),
    ("iban", "An account number: the country's length, and mod 97 (ISO 13616)."),
    ("us_ssn", "A United States social security number that could have been issued."),
    ("phone", "A telephone number: 7 to 15 digits (E.164), not all the same."),
    ("entropy", "At least so many bits of Shannon entropy a byte, from above 0 to 8: random, not a word."),
    ("jwt", "A JSON Web Token: its first two parts are base64url of JSON objects."),
    ("tld", "A host name whose last label could be in the root zone."),
];

/// The severities of rules, the mildest first.
pub const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];

/// The keyword of this text.
#[must_use]
pub fn find(text: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.text == text)
}

/// The mask of this name.
#[must_use]
pub fn mask(name: &str) -> Option<&'static MaskInfo> {
    MASKS.iter().find(|mask| mask.name == name)
}

/// Every validator: its name, how it is written, and what it checks.
pub fn validators() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let about = |name| VALIDATORS.iter().find(|(n, _)| *n == name).map_or("", |(_, about)| *about);
    Validator::NAMES.iter().map(move |(name, usage)| (*name, *usage, about(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_the_words_of_the_grammar_and_no_others() {
        let grammar = include_str!("syntax/rules.pest");
        let keyword = |line: &'static str| Some(line.split_once("= @{ \"")?.1.split_once("\" ~ boundary")?.0);
        let words = grammar.lines().filter(|line| line.starts_with("k_")).filter_map(keyword);
        // `in`, `has`, `matches` and `pass` among them.
        let grammar: BTreeSet<&str> = words.collect();
        let table: BTreeSet<&str> = WORDS.iter().map(|word| word.text).collect();
        assert_eq!(table, grammar);
        assert_eq!(table.len(), WORDS.len(), "a word stands twice");
    }

    #[test]
    fn the_items_of_the_table_are_those_of_the_parser() {
        let items = WORDS.iter().filter(|word| word.kind == WordKind::Item).map(|word| word.text);
        assert_eq!(items.collect::<Vec<_>>(), crate::syntax::KEYWORDS);
    }

    #[test]
    fn every_validator_says_what_it_checks() {
        for (name, _, about) in validators() {
            assert!(about.ends_with('.'), "{name}");
        }
        assert_eq!(VALIDATORS.len(), Validator::NAMES.len());
    }
}
