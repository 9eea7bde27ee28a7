//! The conversation, played from both sides: what goes where, in which order, for every cut of the bytes.

mod held;
mod runs;

use super::*;
use crate::evidence::RequestOutcome;
use crate::limits::Limits;
use crate::protocol::postgres::frame::{Frames, message};
use sluice_dsl::{CompileOptions, SessionFacts, compile_source};
use std::sync::LazyLock;

const RULES: &str = r#"language 1
pack t "1.0.0" { owner "t" reviewed 2026-01-01 }
pattern email = /\b[a-z]{1,20}@[a-z]{1,20}\.org\b/
pattern secret = /\bSECRET-[0-9]{4}\b/
scope db { protocol == postgres }
rule no_drop { meta { id "T-1" severity high } on request in db when sql.verb == drop then block "Nothing is dropped." }
rule mask_email { meta { severity low } on response in db match email then mask redact(with: "[email]") }
rule no_secret { meta { severity low } on both match secret then block "Secrets stay." }
pattern client = /\bCLIENT-[0-9]{4}\b/
rule bulk { meta { id "T-2" severity high } on response in db match client limit 3 records per 10m by user.id then block "Enough." }
rule delete { meta { severity high } on request in db when sql.verb == delete then approve by ["dba"] }
rule mask_pan { meta { severity low } on response in db when sql.tables has "cards" match column ["pan"] then mask redact(with: "[pan]") }
"#;

static POLICY: LazyLock<SessionPolicy> = LazyLock::new(|| {
    let compiled = compile_source("t.rules", RULES, &CompileOptions::for_tests());
    let policy = compiled.policy.clone().unwrap_or_else(|| panic!("{}", compiled.render(false)));
    policy.specialise(&SessionFacts { protocol: "postgres".into(), target: "crm".into(), ..SessionFacts::default() })
});

/// A session in which both sides say what the test has them say.
struct Play {
    conversation: Conversation,
    upstream: Vec<u8>,
    client: Vec<u8>,
    records: Vec<Event>,
    notes: Vec<Note>,
}

impl Play {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(refuses_unmaskable: bool) -> Self {
        let opened = Opened {
            policy: POLICY.clone(),
            budget: Budget::unlimited(),
            purpose: None,
            counter: Counter::new(&Limits::default(), &POLICY),
            refuses_unmaskable,
            processes: (11, 77),
        };
        let mut play = Self {
            conversation: Conversation::new(opened),
            upstream: Vec::new(),
            client: Vec::new(),
            records: Vec::new(),
            notes: Vec::new(),
        };
        play.server(&ready(b'I'));
        play.client.clear();
        play
    }

    /// The client sends these messages; false where one of them has to wait.
    fn client(&mut self, bytes: &[u8]) -> bool {
        self.try_client(bytes).unwrap_or_else(|report| panic!("{report:?}"))
    }

    fn try_client(&mut self, bytes: &[u8]) -> Result<bool, Report> {
        let mut frames = Frames::default();
        frames.push(bytes);
        while let Some(message) = frames.next_message().unwrap() {
            let Some(sent) = self.conversation.client(&message)? else { return Ok(false) };
            self.records.extend(sent.records);
            sent.upstream.iter().for_each(|bytes| self.upstream.extend_from_slice(bytes));
        }
        assert_eq!(frames.held(), 0);
        let mut out = Out::default();
        self.conversation.settle(&mut out);
        self.take(out);
        Ok(true)
    }

    fn server(&mut self, bytes: &[u8]) {
        self.try_server(bytes).unwrap_or_else(|report| panic!("{report:?}"));
    }

    fn try_server(&mut self, bytes: &[u8]) -> Result<(), Report> {
        let mut frames = Frames::default();
        frames.push(bytes);
        while frames.held() > 0 {
            let mut out = Out::default();
            let heard = match frames.next_run(b'D', usize::MAX) {
                Some(run) => self.conversation.rows(&run, &mut out),
                None => self.conversation.server(&frames.next_message().unwrap().unwrap(), &mut out),
            };
            self.take(out);
            heard?;
        }
        Ok(())
    }

    fn take(&mut self, out: Out) {
        out.client.iter().for_each(|bytes| self.client.extend_from_slice(bytes));
        self.notes.extend(out.notes);
    }

    /// The types of the messages that went to the server since this was last asked.
    fn sent(&mut self) -> String {
        tags(&std::mem::take(&mut self.upstream))
    }

    /// The types of the messages that the client got since this was last asked.
    fn got(&mut self) -> String {
        tags(&std::mem::take(&mut self.client))
    }

    fn outcomes(&self) -> Vec<RequestOutcome> {
        let outcome = |event: &Event| match event {
            Event::Request { outcome, .. } => *outcome,
            other => panic!("{other:?}"),
        };
        self.records.iter().map(outcome).collect()
    }
}

fn tags(bytes: &[u8]) -> String {
    let mut frames = Frames::default();
    frames.push(bytes);
    let mut tags = String::new();
    while let Some(message) = frames.next_message().unwrap() {
        tags.push(char::from(message.tag()));
    }
    assert_eq!(frames.held(), 0, "whole messages");
    tags
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn all(messages: &[Bytes]) -> Vec<u8> {
    messages.concat()
}

// What a client says.

fn query(sql: &str) -> Bytes {
    message(b'Q', format!("{sql}\0").as_bytes())
}
fn parse(name: &str, sql: &str) -> Bytes {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}
fn bind(portal: &str, statement: &str, parameters: &[&str]) -> Bytes {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.extend((parameters.len() as i16).to_be_bytes());
    for parameter in parameters {
        body.extend((parameter.len() as i32).to_be_bytes());
        body.extend(parameter.as_bytes());
    }
    body.extend([0, 0]);
    message(b'B', &body)
}
fn describe(what: char, name: &str) -> Bytes {
    message(b'D', format!("{what}{name}\0").as_bytes())
}
fn execute(portal: &str) -> Bytes {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}
fn sync() -> Bytes {
    message(b'S', b"")
}

// What a server says.

fn columns(names: &[&str]) -> Bytes {
    let mut body = (names.len() as i16).to_be_bytes().to_vec();
    for name in names {
        body.extend(name.as_bytes());
        // No table, text of any length, in the text format.
        body.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        let at = body.len() - 18;
        body.insert(at, 0);
    }
    message(b'T', &body)
}
fn row(values: &[Option<&str>]) -> Bytes {
    let mut body = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(value) => {
                body.extend((value.len() as i32).to_be_bytes());
                body.extend(value.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    message(b'D', &body)
}
fn complete(tag: &str) -> Bytes {
    message(b'C', format!("{tag}\0").as_bytes())
}
fn error(state: &str, text: &str) -> Bytes {
    message(
        b'E',
        format!("SERROR\0VERROR\0C{state}\0M{text}\0DKey (email)=(bob@example.org) already exists.\0\0").as_bytes(),
    )
}
const PARSED: &[u8] = b"1\0\0\0\x04";
const BOUND: &[u8] = b"2\0\0\0\x04";
const NO_DATA: &[u8] = b"n\0\0\0\x04";

#[test]
fn what_no_rule_touches_leaves_as_the_bytes_that_came() {
    let mut play = Play::new();
    let asked = query("SELECT id, note FROM t");
    assert!(play.client(&asked));
    assert_eq!(play.upstream, asked);
    let answer = all(&[
        columns(&["id", "note"]),
        row(&[Some("1"), None]),
        row(&[Some("2"), Some("x")]),
        complete("SELECT 2"),
        ready(b'I'),
    ]);
    play.server(&answer);
    assert_eq!(play.client, answer);
    assert!(play.conversation.is_idle());
    let seen: Vec<u8> =
        play.notes.iter().flat_map(|note| if let Note::Seen(1, text) = note { text.clone() } else { vec![] }).collect();
    assert_eq!(String::from_utf8(seen).unwrap(), "id\tnote\n1\t\\N\n2\tx\nSELECT 2\n");
    assert!(matches!(play.notes.last(), Some(Note::Done(1, ResponseOutcome::Complete, None))));
}

#[test]
fn rows_are_masked_with_their_lengths_and_a_column_only_where_its_rule_holds() {
    let mut play = Play::new();
    for (sql, pan) in [("SELECT email, pan FROM cards", "[pan]"), ("SELECT email, pan FROM t", "4711")] {
        play.client(&query(sql));
        play.client.clear();
        play.server(&all(&[columns(&["email", "pan"]), row(&[Some("to bob@example.org!"), Some("4711")])]));
        assert_eq!(play.client, all(&[columns(&["email", "pan"]), row(&[Some("to [email]!"), Some(pan)])]));
        play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    }
}

#[test]
fn a_refused_query_never_goes_on_and_the_session_does() {
    let mut play = Play::new();
    play.client(&query("BEGIN"));
    play.server(&all(&[complete("BEGIN"), ready(b'T')]));
    play.sent();
    play.got();
    play.client(&query("SELECT 1; DROP TABLE t"));
    assert!(has(&play.client, "42501") && has(&play.client, "no_drop") && has(&play.client, "T-1"));
    assert!(play.client.ends_with(&ready(b'T')), "the transaction is as it was");
    assert_eq!((play.sent(), play.got()), (String::new(), "EZ".to_owned()));
    assert_eq!(play.outcomes(), [RequestOutcome::Forwarded, RequestOutcome::Refused]);
    play.client(&query("SELEC 1"));
    assert!(has(&play.client, "42601"));
    assert_eq!((play.sent(), play.got()), (String::new(), "EZ".to_owned()));
}

#[test]
fn a_refusal_waits_for_the_answers_before_it() {
    let mut play = Play::new();
    play.client(&all(&[query("SELECT 1"), query("DROP TABLE t"), query("SELECT 2")]));
    assert_eq!((play.sent(), play.got()), ("QQ".to_owned(), String::new()));
    play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    assert_eq!(play.got(), "CZEZ");
    play.server(&all(&[complete("SELECT 2"), ready(b'I')]));
    assert_eq!(play.got(), "CZ");
}

#[test]
fn a_refused_parse_is_answered_by_an_error_and_what_follows_is_passed_over_up_to_sync() {
    let mut play = Play::new();
    play.client(&all(&[parse("", "DROP TABLE t"), bind("", "", &[]), describe('P', ""), execute(""), sync()]));
    assert_eq!((play.sent(), play.got()), ("S".to_owned(), "E".to_owned()));
    play.server(&ready(b'I'));
    assert_eq!(play.got(), "Z");
    assert!(play.conversation.is_idle());
}

#[test]
fn a_refusal_in_a_batch_undoes_what_the_batch_has_done() {
    let mut play = Play::new();
    let insert = [parse("", "INSERT INTO t VALUES (1)"), bind("", "", &[]), execute("")];
    play.client(&all(&insert));
    play.client(&all(&[parse("", "DROP TABLE t"), bind("", "", &[]), execute(""), sync()]));
    let upstream = play.upstream.clone();
    assert!(has(&upstream, POISON) && !has(&upstream, "DROP"));
    assert_eq!(play.sent(), "PBDEPS", "the describe is the gateway's, the last parse fails");
    play.server(&[PARSED, BOUND, NO_DATA, &complete("INSERT 0 1"), &error("42601", "syntax error")].concat());
    assert!(has(&play.client, "no_drop") && !has(&play.client, "syntax error"));
    assert_eq!(play.got(), "12CE");
    play.server(&ready(b'I'));
    assert_eq!(play.got(), "Z");
}

#[test]
fn rows_of_a_portal_that_the_client_did_not_describe_are_described_for_the_gateway() {
    let mut play = Play::new();
    play.client(&all(&[parse("s", "SELECT email FROM t"), describe('S', "s"), sync()]));
    play.server(&[PARSED, &message(b't', &[0, 0]), &columns(&["email"]), &ready(b'I')].concat());
    play.sent();
    play.got();
    play.client(&all(&[bind("", "s", &[]), execute(""), sync()]));
    assert_eq!(play.sent(), "BDES");
    play.server(
        &[BOUND, &columns(&["email"]), &row(&[Some("bob@example.org")]), &complete("SELECT 1"), &ready(b'I')].concat(),
    );
    assert!(has(&play.client, "[email]") && !has(&play.client, "bob@"));
    assert_eq!(play.got(), "2DCZ");
    // One that the client does describe is described once.
    play.client(&all(&[bind("", "s", &[]), describe('P', ""), execute(""), sync()]));
    assert_eq!(play.sent(), "BDES");
    play.server(&[BOUND, &columns(&["email"]), &complete("SELECT 0"), &ready(b'I')].concat());
    assert_eq!(play.got(), "2TCZ");
}

#[test]
fn an_error_ends_a_batch_and_its_detail_is_masked() {
    let mut play = Play::new();
    play.client(&all(&[
        parse("", "INSERT INTO t VALUES ($1)"),
        bind("", "", &["x"]),
        execute(""),
        execute(""),
        sync(),
    ]));
    play.server(&[PARSED, BOUND, NO_DATA, &error("XX000", "no")].concat());
    assert!(!has(&play.client, "bob@"));
    assert_eq!(play.got(), "12E");
    play.server(&ready(b'I'));
    assert_eq!(play.got(), "Z");
    assert!(play.conversation.is_idle());
    let cancelled =
        play.notes.iter().filter(|note| matches!(note, Note::Done(_, ResponseOutcome::Cancelled, _))).count();
    assert_eq!(cancelled, 1, "the second execute was passed over");
}

#[test]
fn after_an_error_everything_up_to_sync_is_passed_over() {
    let mut play = Play::new();
    play.client(&parse("", "SELECT nothing"));
    play.server(&error("42703", "no such column"));
    play.sent();
    play.got();
    play.client(&all(&[bind("", "", &[]), query("SELECT 1"), parse("", "DROP TABLE t")]));
    assert_eq!((play.sent(), play.got()), (String::new(), String::new()));
    play.client(&sync());
    play.server(&ready(b'I'));
    assert_eq!((play.sent(), play.got()), ("S".to_owned(), "Z".to_owned()));
}

#[test]
fn parameters_are_inspected_and_a_hidden_constant_is_found() {
    let mut play = Play::new();
    play.client(&all(&[parse("", "SELECT $1"), bind("", "", &["SECRET-1234"]), execute(""), sync()]));
    assert_eq!(play.sent(), "PS");
    play.server(&[PARSED, &ready(b'I')].concat());
    assert_eq!(play.got(), "1EZ");
    let stored = format!("{:?}", play.records);
    assert!(!stored.contains("SECRET-1234"), "what led to a match is not stored");
    play.client(&query(r"SELECT U&'SECRET-\00312\0033' || '4'"));
    assert_eq!(play.got(), "", "half of it is no secret");
    play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    play.got();
    play.client(&query(r"SELECT E'SECRET-\x31234'"));
    assert_eq!(play.got(), "EZ");
}

#[test]
fn a_blocked_row_ends_the_result_and_the_client_can_go_on() {
    let mut play = Play::new();
    play.client(&query("SELECT note FROM t; SELECT 2"));
    play.server(&all(&[columns(&["note"]), row(&[Some("fine")]), row(&[Some("SECRET-1234")]), row(&[Some("later")])]));
    assert!(has(&play.client, "no_secret") && !has(&play.client, "1234") && !has(&play.client, "later"));
    assert_eq!(play.got(), "TDE");
    play.server(&all(&[complete("SELECT 3"), columns(&["x"]), row(&[Some("2")]), complete("SELECT 1"), ready(b'I')]));
    assert_eq!(play.got(), "Z");
    play.client(&query("SELECT 1"));
    play.server(&all(&[columns(&["x"]), row(&[Some("1")]), complete("SELECT 1"), ready(b'I')]));
    assert_eq!(play.got(), "TDCZ");
}

#[test]
fn what_copies_out_is_masked_line_by_line() {
    let mut play = Play::new();
    play.client(&query("COPY t (id, email) TO STDOUT"));
    let response = message(b'H', &[0, 0, 2, 0, 0, 0, 0]);
    let (clean, dirty) = (message(b'd', b"1\t\\N\n"), message(b'd', b"2\tbob@example.org\n"));
    let rest = [message(b'c', b""), complete("COPY 2"), ready(b'I')];
    play.server(&all(&[response.clone(), clean.clone(), dirty]));
    play.server(&all(&rest));
    assert_eq!(play.client, [response, clean, message(b'd', b"2\t[email]\n"), all(&rest).into()].concat());
    play.got();
    play.client(&query("COPY t TO STDOUT"));
    assert_eq!(play.got(), "EZ", "a rule masks columns by name, and none is named");
}

#[test]
fn what_copies_out_in_binary_is_masked_with_its_lengths() {
    let mut play = Play::new();
    play.client(&query("COPY cards (id, email, pan, doc) TO STDOUT (FORMAT binary)"));
    let response = message(b'H', &[1, 0, 4, 0, 1, 0, 1, 0, 1, 0, 1]);
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = |fields: [Option<&[u8]>; 4]| {
        let mut row = vec![0, 4];
        for field in fields {
            match field {
                None => row.extend((-1_i32).to_be_bytes()),
                Some(field) => {
                    row.extend(i32::try_from(field.len()).unwrap().to_be_bytes());
                    row.extend(field);
                }
            }
        }
        row
    };
    let end = &[0xff, 0xff][..];
    let id = &7_i32.to_be_bytes()[..];
    let clean = row([Some(id), None, None, Some(b"\x01{}")]);
    let first = message(b'd', &[header, &clean[..]].concat());
    let number = 4_111_111_111_111_111_i64.to_be_bytes();
    let dirty =
        row([Some(id), Some(b"to bob@example.org"), Some(&number), Some(b"\x01{\"a\": \"bob\\u0040example.org\"}")]);
    let masked = row([Some(id), Some(b"to [email]"), None, Some(b"\x01{\"a\": \"[email]\"}")]);
    let rest = [message(b'd', end), message(b'c', b""), complete("COPY 2"), ready(b'I')];
    play.server(&all(&[response.clone(), first.clone(), message(b'd', &dirty)]));
    play.server(&all(&rest));
    assert_eq!(play.client, [response.clone(), first, message(b'd', &masked), all(&rest).into()].concat());
    let seen = play.notes.iter().filter_map(|note| match note {
        Note::Seen(_, seen) => Some(String::from_utf8_lossy(seen)),
        _ => None,
    });
    let seen: String = seen.collect();
    assert!(seen.contains("\tto [email]\t\\N\t{\"a\": \"[email]\"}\n"), "{seen}");
    play.got();
    // What is not as a server writes it does not pass.
    for wrong in [&b"PGCOPY\n"[..], &[&header[..], &[0, 3]].concat(), &[&header[..], end, end].concat()] {
        let mut play = Play::new();
        play.client(&query("COPY cards (id, email, pan, doc) TO STDOUT (FORMAT binary)"));
        play.server(&response);
        assert!(play.try_server(&message(b'd', wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_copies_in_is_refused_as_a_whole() {
    let mut play = Play::new();
    play.client(&query("COPY t FROM STDIN"));
    play.server(&message(b'G', &[0, 0, 1, 0, 0]));
    play.client(&all(&[
        message(b'd', b"fine\n"),
        message(b'd', b"SECRET-1"),
        message(b'd', b"23\\064\nmore\n"),
        message(b'c', b""),
    ]));
    assert_eq!(play.sent(), "Qdf");
    play.server(&all(&[error("57014", "COPY from stdin failed"), ready(b'I')]));
    assert!(has(&play.client, "no_secret"));
    assert_eq!(play.got(), "GEZ");
    play.client(&query("COPY t FROM STDIN"));
    play.server(&message(b'G', &[0, 0, 1, 0, 0]));
    play.client(&all(&[message(b'd', b"fine\n"), message(b'd', b"SECRET-12 is none\n"), message(b'c', b"")]));
    assert_eq!(play.sent(), "Qddc");
    play.server(&all(&[complete("COPY 2"), ready(b'I')]));
    assert_eq!(play.got(), "GCZ");
}

#[test]
fn a_refusal_is_told_before_what_the_server_answers_whoever_comes_first() {
    // The server is quick: its answer is here before anybody asked for what the gateway itself has to say.
    for (client, server, got) in [
        (all(&[parse("", "DROP TABLE t"), sync()]), all(&[ready(b'I')]), "EZ"),
        (all(&[query("DROP TABLE t"), query("SELECT 1")]), all(&[complete("SELECT 0"), ready(b'I')]), "EZCZ"),
    ] {
        let mut play = Play::new();
        let mut frames = Frames::default();
        frames.push(&client);
        while let Some(message) = frames.next_message().unwrap() {
            play.conversation.client(&message).unwrap().unwrap();
        }
        play.server(&server);
        assert_eq!(play.got(), got);
        assert!(play.conversation.is_idle());
    }
}

/// A RowDescription of one column of this type, from the third column of a table of this number.
fn from_table(name: &str, oid: u32, table: u32) -> Bytes {
    let mut body = [&b"\0\x01"[..], name.as_bytes(), b"\0"].concat();
    body.extend(table.to_be_bytes());
    body.extend([0, 3]);
    body.extend(oid.to_be_bytes());
    body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    message(b'T', &body)
}

#[test]
fn a_column_counts_as_what_it_comes_from_and_as_all_that_rules_claim_where_that_is_not_known() {
    use crate::protocol::postgres::origins::{Relation, Relations};
    use sluice_dsl::{Origin, Origins};
    let relation = |table: &str, column: &str| {
        let mut relation = Relation::default();
        let (schema, table) = (Some("public".to_owned()), Some(table.to_owned()));
        relation.add(3, Origins::Of(vec![Origin { schema, table, column: column.to_owned() }]));
        Some(relation)
    };
    // A rule masks `pan` where the table `cards` is read.
    for (sql, known, is_masked) in [
        ("SELECT pan AS x FROM cards", relation("cards", "pan"), true),
        ("SELECT pan AS x FROM cards", relation("cards", "note"), false),
        ("SELECT pan AS x FROM cards", None, true),
        ("SELECT x FROM v", relation("cards", "pan"), true),
        ("SELECT x FROM v", relation("other", "pan"), false),
    ] {
        for is_batch in [false, true] {
            let mut play = Play::new();
            play.client(&if is_batch {
                all(&[parse("", sql), bind("", "", &[]), describe('P', ""), execute(""), sync()])
            } else {
                query(sql).to_vec()
            });
            if is_batch {
                play.server(&[PARSED, BOUND].concat());
            }
            let description = from_table("x", 25, 7);
            let mut frames = Frames::default();
            frames.push(&description);
            assert_eq!(play.conversation.tables(&frames.next_message().unwrap().unwrap()), [7], "{sql}");
            let known = known.clone().map(|relation| (7, Arc::new(relation)));
            play.conversation.knows(known.into_iter().collect::<Relations>());
            play.server(&all(&[description, row(&[Some("4711")]), complete("SELECT 1"), ready(b'I')]));
            assert_eq!(has(&play.client, "[pan]"), is_masked, "{sql} {is_batch}");
            assert_eq!(has(&play.client, "4711"), !is_masked, "{sql} {is_batch}");
        }
    }
}

#[test]
fn what_is_computed_counts_as_the_columns_that_are_named_in_it() {
    for (sql, is_masked) in [
        ("SELECT upper(pan) AS x FROM cards", true),
        ("SELECT upper(note) AS x FROM cards", false),
        ("SELECT c::text AS x FROM cards c", true),
        ("SELECT x FROM cards UNION SELECT pan FROM cards", true),
        ("SELECT count(*) AS x FROM cards WHERE pan = ''", false),
    ] {
        let mut play = Play::new();
        play.client(&query(sql));
        play.server(&all(&[columns(&["x"]), row(&[Some("4711")]), complete("SELECT 1"), ready(b'I')]));
        assert_eq!(has(&play.client, "[pan]"), is_masked, "{sql}");
        assert_eq!(has(&play.client, "4711"), !is_masked, "{sql}");
    }
}

#[test]
fn others_are_told_that_tables_changed_when_they_can_see_it() {
    let mut play = Play::new();
    play.client(&query("BEGIN; ALTER TABLE t RENAME a TO b"));
    play.server(&all(&[complete("BEGIN"), complete("ALTER TABLE"), ready(b'T')]));
    assert!(!play.conversation.has_redefined(), "not before the end of the transaction");
    play.client(&query("COMMIT"));
    play.server(&all(&[complete("COMMIT"), ready(b'I')]));
    assert!(play.conversation.has_redefined() && !play.conversation.has_redefined());
    play.client(&query("SELECT 1"));
    play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    assert!(!play.conversation.has_redefined());
}

#[test]
fn a_value_that_cannot_be_masked_in_place_is_null_or_ends_the_result_as_is_set() {
    const INT: u32 = 23;
    for (refuses, wanted) in [(false, "TDDCZ"), (true, "TDEZ")] {
        let mut play = Play::with(refuses);
        play.client(&query("SELECT pan FROM cards"));
        play.conversation.knows(Default::default());
        let rows = [row(&[None]), row(&[Some("4711")])];
        play.server(&all(&[from_table("pan", INT, 7), rows[0].clone(), rows[1].clone()]));
        play.server(&all(&[complete("SELECT 2"), ready(b'T')]));
        assert!(!has(&play.client, "4711"));
        assert_eq!(has(&play.client, "C42501\0") && has(&play.client, "Rule mask_pan"), refuses);
        assert!(play.client.ends_with(b"T"), "the transaction is what the server says that it is");
        assert_eq!(play.got(), wanted);
        let outcome = if refuses { ResponseOutcome::Blocked } else { ResponseOutcome::Complete };
        let done = play.notes.iter().any(|note| matches!(note, Note::Done(1, ended, _) if *ended == outcome));
        assert!(done, "{:?}", play.notes);
        assert!(play.conversation.is_idle());
    }
}

#[test]
fn a_limit_ends_a_result_where_it_is_reached_and_holds_for_what_follows() {
    // Two matches in a row are one record.
    let one = row(&[Some("CLIENT-1000 or CLIENT-2000"), Some("CLIENT-3000")]);
    let other = row(&[Some("nobody"), None]);
    let rows = all(&[one.clone(), one.clone(), other.clone(), one.clone(), other, one.clone(), one.clone()]);
    let mut play = Play::new();
    play.client(&query("SELECT a, b FROM t"));
    play.server(&[&columns(&["a", "b"])[..], &rows, &complete("SELECT 7"), &ready(b'T')].concat());
    assert!(has(&play.client, "refused by rule `bulk`: Enough.") && has(&play.client, "Rule bulk (T-2) of pack t."));
    assert!(play.client.ends_with(b"T"), "the transaction is what the server says that it is");
    assert_eq!(play.got(), "TDDDDDEZ");
    let blocked = |note: &Note| matches!(note, Note::Done(1, ResponseOutcome::Blocked, Some(_)));
    assert!(play.notes.iter().any(blocked), "{:?}", play.notes);
    // In a batch, and what is copied; what has no match still passes.
    play.client(&all(&[parse("", "SELECT a, b FROM t"), bind("", "", &[]), describe('P', ""), execute(""), sync()]));
    play.server(&[PARSED, BOUND, &columns(&["a", "b"]), &one, &complete("SELECT 1"), &ready(b'T')].concat());
    assert_eq!(play.got(), "12TEZ");
    play.client(&query("COPY t (a, b) TO STDOUT"));
    let lines = [message(b'd', b"nobody\t\\N\n"), message(b'd', b"CLIENT-1000\tx\n"), message(b'd', b"nobody\tx\n")];
    play.server(&all(&[message(b'H', &[0, 0, 2, 0, 0, 0, 0]), lines[0].clone(), lines[1].clone(), lines[2].clone()]));
    play.server(&all(&[message(b'c', b""), complete("COPY 3"), ready(b'T')]));
    assert_eq!(play.got(), "HdEZ");
    play.client(&query("SELECT 1"));
    play.server(&all(&[message(b'N', b"SNOTICE\0Mfor CLIENT-1000\0\0"), complete("SELECT 1"), ready(b'T')]));
    assert!(has(&play.client, "Mwithheld: refused by rule `bulk`") && !has(&play.client, "CLIENT-1000"));
    assert_eq!(play.got(), "NCZ");
}

#[test]
fn copy_in_a_batch_is_waited_for_and_a_sync_in_the_data_is_dropped_as_the_server_drops_it() {
    let mut play = Play::new();
    assert!(play.client(&all(&[parse("", "COPY t FROM STDIN"), bind("", "", &[]), describe('P', ""), execute("")])));
    assert!(!play.client(&sync()), "the client waits until the server takes data");
    assert_eq!(play.sent(), "PBDEH");
    play.server(&[PARSED, BOUND, NO_DATA, &message(b'G', &[0, 0, 1, 0, 0])].concat());
    assert!(play.client(&all(&[sync(), message(b'd', b"x\n"), message(b'c', b""), sync()])));
    assert_eq!(play.sent(), "dcS");
    play.server(&all(&[complete("COPY 1"), ready(b'I')]));
    assert_eq!(play.got(), "12nGCZ");
    assert!(play.conversation.is_idle());
}

#[test]
fn what_would_change_how_sql_is_read_is_refused_or_ends_the_session() {
    let mut play = Play::new();
    for sql in ["SET client_encoding TO 'SJIS'", "SET NAMES 'latin1'", "SET standard_conforming_strings = off"] {
        play.client(&query(sql));
        assert_eq!(play.got(), "EZ", "{sql}");
    }
    play.client(&query("SET client_encoding TO 'utf-8'"));
    assert_eq!(play.sent(), "Q");
    assert!(!play.client(&query(r"SELECT '\'")), "it may be read otherwise by then");
    play.server(&all(&[complete("SET"), ready(b'I')]));
    assert!(play.client(&query(r"SELECT '\'")));
    let parameter = message(b'S', b"standard_conforming_strings\0off\0");
    assert_eq!(play.try_server(&parameter).unwrap_err().severity, "FATAL");
    let mut play = Play::new();
    play.client(&all(&[parse("", "SELECT f()"), bind("", "", &[]), execute(""), parse("", r"SELECT '\'")]));
    assert!(has(&play.upstream, POISON), "in one batch there is no moment to find out");
}

#[test]
fn names_stand_for_what_the_server_takes_them_for() {
    let mut play = Play::new();
    // The second parse fails, so the name stands for the first: the column rule of its table holds.
    play.client(&all(&[parse("s", "SELECT pan FROM cards"), sync(), parse("s", "SELECT pan FROM t"), sync()]));
    play.server(&[PARSED, &ready(b'I'), &error("42P05", "exists"), &ready(b'I')].concat());
    play.client(&all(&[bind("", "s", &[]), execute(""), sync()]));
    play.got();
    play.server(&[BOUND, &columns(&["pan"]), &row(&[Some("4711")]), &complete("SELECT 1"), &ready(b'I')].concat());
    assert!(has(&play.client, "[pan]") && !has(&play.client, "4711"));
    // What SQL has prepared is read under every rule.
    let mut play = Play::new();
    play.client(&query("PREPARE s AS SELECT pan FROM cards"));
    play.server(&all(&[complete("PREPARE"), ready(b'I')]));
    play.client(&all(&[bind("", "s", &[]), execute(""), sync()]));
    play.got();
    play.server(&[BOUND, &columns(&["pan"]), &row(&[Some("4711")]), &complete("SELECT 1"), &ready(b'I')].concat());
    assert!(has(&play.client, "[pan]"));
    // So is what a cursor gives, whatever the statement that fetches is called.
    let mut play = Play::new();
    play.client(&query("DECLARE c CURSOR WITH HOLD FOR SELECT pan FROM cards"));
    play.server(&all(&[complete("DECLARE CURSOR"), ready(b'I')]));
    for fetch in [&[query("FETCH c")][..], &[parse("", "FETCH c"), bind("", "", &[]), execute(""), sync()]] {
        play.client(&all(fetch));
        play.got();
        if fetch.len() > 1 {
            play.server(&[PARSED, BOUND].concat());
        }
        play.server(&all(&[columns(&["pan"]), row(&[Some("4711")]), complete("FETCH 1"), ready(b'I')]));
        assert!(has(&play.client, "[pan]") && !has(&play.client, "4711"));
    }
}

#[test]
fn messages_that_answer_nothing_are_masked_and_come_at_any_time() {
    let mut play = Play::new();
    play.client(&query("SELECT 1"));
    let own = message(b'A', b"\0\0\0\x0bnews\0bob@example.org\0");
    play.server(&all(&[
        columns(&["x"]),
        own,
        row(&[Some("1")]),
        message(b'S', b"application_name\0bob@example.org\0"),
    ]));
    assert!(!has(&play.client, "bob@") && has(&play.client, "\0\0\0\x4dnews\0[email]\0"));
    assert_eq!(play.got(), "TADS");
    play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    play.server(&message(b'A', b"\0\0\0\x01news\0SECRET-1234\0"));
    assert_eq!(play.got(), "CZ", "what a rule blocks does not arrive");
    play.server(&message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhello bob@example.org\0\0"));
    assert!(has(&play.client, "hello [email]"));
}

#[test]
fn what_fits_no_command_ends_the_session() {
    let unasked: [&[u8]; 9] = [
        PARSED,
        BOUND,
        NO_DATA,
        &row(&[Some("bob@example.org")]),
        &complete("SELECT 1"),
        &ready(b'I'),
        &message(b'G', &[0, 0, 0]),
        &message(b'W', &[0, 0, 0]),
        &message(b'R', &[0, 0, 0, 0]),
    ];
    for bytes in unasked {
        let mut play = Play::new();
        assert_eq!(play.try_server(bytes).unwrap_err().severity, "FATAL");
        assert_eq!(play.got(), "");
    }
    let mut play = Play::new();
    play.client(&query("SELECT 1"));
    play.server(&columns(&["a"]));
    assert!(play.try_server(&row(&[Some("x"), Some("y")])).is_err(), "more values than columns");
    for bytes in [&b"Q\0\0\0\x05x"[..], b"B\0\0\0\x06\0\0", b"y\0\0\0\x04", b"D\0\0\0\x06X\0", b"p\0\0\0\x05\0"] {
        assert_eq!(Play::new().try_client(bytes).unwrap_err().severity, "FATAL");
    }
    let mut play = Play::new();
    play.client(&message(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    assert_eq!((play.sent(), play.got()), (String::new(), "EZ".to_owned()));
}

/// A session with everything in it: the client's bytes and the server's, step by step.
fn script() -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = [columns(&["email", "n"]), row(&[Some("bob@example.org"), Some("1")]), row(&[None, Some("2")])];
    vec![
        (query("SELECT email, n FROM t").to_vec(), all(&[&rows[..], &[complete("SELECT 2"), ready(b'I')]].concat())),
        (query("DROP TABLE t").to_vec(), vec![]),
        (
            all(&[parse("s", "SELECT email, n FROM cards WHERE x = $1"), bind("p", "s", &["y"]), execute("p"), sync()]),
            [PARSED, BOUND, &all(&rows), &complete("SELECT 2"), &ready(b'T')].concat(),
        ),
        (query("COPY t (email) TO STDOUT (FORMAT csv)").to_vec(), {
            let lines = [message(b'd', b"bob@example.org\n"), message(b'd', b"\"a \"\"bob@example.org\"\"\"\n")];
            all(&[
                &[message(b'H', &[0, 0, 1, 0, 0])],
                &lines[..],
                &[message(b'c', b""), complete("COPY 2"), ready(b'E')],
            ]
            .concat())
        }),
        (query("SELECT 1").to_vec(), [error("23505", "duplicate").to_vec(), ready(b'I').to_vec()].concat()),
    ]
}

/// Plays the script with both sides cut into pieces of this many bytes.
fn played(piece: usize) -> (Vec<u8>, Vec<u8>, String) {
    let mut play = Play::new();
    let (mut from_client, mut from_server) = (Frames::default(), Frames::default());
    for (client, server) in script() {
        for piece in client.chunks(piece) {
            from_client.push(piece);
            while let Some(message) = from_client.next_message().unwrap() {
                play.client(message.raw());
            }
        }
        for piece in server.chunks(piece) {
            from_server.push(piece);
            while let Some(message) = from_server.next_message().unwrap() {
                play.server(message.raw());
            }
        }
    }
    (play.upstream, play.client, format!("{:?}", play.records))
}

#[test]
fn every_cut_of_both_sides_gives_the_same() {
    let whole = played(usize::MAX);
    assert!(!has(&whole.1, "bob@") && has(&whole.1, "[email]"));
    assert!(!has(&whole.0, "DROP"));
    for piece in (1..64).chain([100, 200]) {
        assert_eq!(played(piece), whole, "pieces of {piece} bytes");
    }
}

#[test]
fn a_value_in_the_numbers_of_the_protocol_ends_the_session() {
    let value = b" bob@example.org  ";
    let column = message(b'T', &[&b"\0\x01x\0"[..], &value[..16], b"\0\0"].concat());
    let mut play = Play::new();
    play.client(&query("SELECT 1"));
    assert!(play.try_server(&column).is_err() && !has(&play.client, "bob@"));
    let mut play = Play::new();
    play.client(&all(&[parse("s", "SELECT $1, $2, $3, $4"), describe('S', "s"), sync()]));
    play.server(&message(b'1', b""));
    let parameters = message(b't', &[&b"\0\x04"[..], &value[..16]].concat());
    assert!(play.try_server(&parameters).is_err() && !has(&play.client, "bob@"));
    // The types of parameters come from the client, and are refused like a name.
    let mut play = Play::new();
    play.client(&all(&[message(b'P', &[&b"\0SELECT 1\0\0\x04"[..], b" SECRET-1234    "].concat()), sync()]));
    assert!(!has(&play.upstream, "SECRET") && play.outcomes() == [RequestOutcome::Refused]);
    let mut play = Play::new();
    play.client(&query("COPY t FROM STDIN"));
    let formats = message(b'G', &[&b"\0\0\x08"[..], &value[..16]].concat());
    assert!(play.try_server(&formats).is_err() && !has(&play.client, "bob@"));
}

#[test]
fn clean_rows_are_slices_of_what_came_in() {
    let mut play = Play::new();
    play.client(&query("SELECT a FROM t"));
    play.server(&columns(&["a"]));
    let mut frames = Frames::default();
    frames.push(&row(&[Some("nothing here")]));
    let message = frames.next_message().unwrap().unwrap();
    let mut out = Out::default();
    play.conversation.server(&message, &mut out).unwrap();
    assert_eq!(out.client[0].as_ptr(), message.raw().as_ptr());
}

/// What both sides may say, in any order.
fn pool() -> (Vec<Bytes>, Vec<Bytes>) {
    let client = vec![
        query("SELECT email FROM t"),
        query("DROP TABLE t"),
        query("COPY t FROM STDIN"),
        query("COPY t (email) TO STDOUT"),
        query("PREPARE s AS SELECT 1"),
        query(r"SELECT E'a\\b'"),
        parse("", "SELECT email FROM t"),
        parse("s", "SELECT pan FROM cards"),
        parse("", "DROP TABLE t"),
        parse("", "COPY t FROM STDIN"),
        bind("", "", &["bob@example.org"]),
        bind("p", "s", &[]),
        describe('P', ""),
        describe('S', "s"),
        execute(""),
        execute("p"),
        message(b'C', b"Ss\0"),
        message(b'H', b""),
        message(b'd', b"SECRET-"),
        message(b'd', b"1234 and more\n"),
        message(b'c', b""),
        message(b'f', b"no\0"),
        sync(),
        sync(),
    ];
    let server = vec![
        Bytes::from_static(PARSED),
        Bytes::from_static(BOUND),
        Bytes::from_static(NO_DATA),
        message(b'3', b""),
        message(b't', &[0, 0]),
        columns(&["email"]),
        columns(&["pan"]),
        row(&[Some("bob@example.org")]),
        row(&[Some("SECRET-1234")]),
        row(&[None]),
        complete("SELECT 1"),
        message(b's', b""),
        message(b'G', &[0, 0, 1, 0, 0]),
        message(b'H', &[0, 0, 1, 0, 0]),
        message(b'd', b"bob@example.org\n"),
        message(b'c', b""),
        error("22000", "for bob@example.org"),
        message(b'N', b"SNOTICE\0Mbob@example.org\0\0"),
        message(b'A', b"\0\0\0\x0bnews\0bob@example.org\0"),
        message(b'S', b"application_name\0bob@example.org\0"),
        ready(b'I'),
        ready(b'T'),
    ];
    (client, server)
}

/// What leaves on either side, and whether the session came to an end.
fn improvised(turns: &[(bool, Vec<u8>)], piece: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let mut play = Play::new();
    play.upstream.clear();
    let (mut from_client, mut from_server) = (Frames::default(), Frames::default());
    for (is_client, bytes) in turns {
        for bytes in bytes.chunks(piece) {
            let frames = if *is_client { &mut from_client } else { &mut from_server };
            frames.push(bytes);
            loop {
                if let Some(run) = if *is_client { None } else { frames.next_run(b'D', usize::MAX) } {
                    if play.try_server(run.raw()).is_err() {
                        return (play.upstream, play.client, true);
                    }
                    continue;
                }
                let went_on = match frames.next_message() {
                    Ok(None) => break,
                    Ok(Some(message)) if *is_client => play.try_client(message.raw()).unwrap_or(false),
                    Ok(Some(message)) => play.try_server(message.raw()).is_ok(),
                    Err(_) => false,
                };
                if !went_on {
                    return (play.upstream, play.client, true);
                }
            }
        }
    }
    (play.upstream, play.client, false)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_both_sides_say_no_value_passes_and_no_cut_shows(
        said in proptest::collection::vec((proptest::bool::ANY, 0usize..1000), 1..24),
        spoilt in proptest::option::weighted(0.3, (0usize..24, 0usize..64, proptest::num::u8::ANY)),
    ) {
        let (client, server) = pool();
        let pick = |(is_client, at): &(bool, usize)| {
            let pool = if *is_client { &client } else { &server };
            (*is_client, pool[at % pool.len()].to_vec())
        };
        let mut turns: Vec<(bool, Vec<u8>)> = said.iter().map(pick).collect();
        if let Some((turn, at, byte)) = spoilt {
            let count = turns.len();
            let bytes = &mut turns[turn % count].1;
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let whole = improvised(&turns, usize::MAX);
        for piece in [1, 5] {
            proptest::prop_assert_eq!(&improvised(&turns, piece), &whole);
        }
        tags(&whole.0);
        tags(&whole.1);
        if spoilt.is_none() {
            proptest::prop_assert!(!has(&whole.1, "bob@example.org"));
            proptest::prop_assert!(!has(&whole.1, "SECRET-1234") && !has(&whole.0, "SECRET-1234"));
        }
    }
}
