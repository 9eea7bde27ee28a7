//! Both sides of a PostgreSQL session: the same for every cut; what a rule masks or blocks never leaves; the client gets whole
//! messages; what is refused doesn't go upstream, nor what waits before it is approved. The input is a play: a byte says who speaks (its lowest bit), the two after
//! it how many bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_dsl::{CompileOptions, SessionFacts, SessionPolicy, compile_source};
use sluice_engine::Budget;
use sluice_gateway::protocol::postgres::frame::{Frames, message};
use sluice_gateway::protocol::postgres::report::Report;
use sluice_gateway::protocol::postgres::startup::opening;
use sluice_gateway::protocol::postgres::{Conversation, Opened, Out, Verdict};
use std::sync::LazyLock;

const RULES: &str = r#"language 1
pack fuzz.postgres "1.0.0" { owner "fuzz" reviewed 2026-01-01 }
pattern mail = /\bbob@[a-z]{1,8}\.org\b/
pattern secret = /\bSECRET-[0-9]{4}\b/
scope db { protocol == postgres }
rule mask { meta { severity low } on response in db match mail then mask redact(with: "[mail]") }
rule column { meta { severity low } on response in db match column ["pan"] then mask redact(with: "[pan]") }
rule block { meta { severity low } on both match secret then block "no" }
rule delete { meta { severity low } on request in db when sql.verb in [delete] then approve by ["dba"] }
rule drop { meta { severity low } on request in db when sql.verb in [drop] then block "no" }
"#;

static POLICY: LazyLock<SessionPolicy> = LazyLock::new(|| {
    let compiled = compile_source("fuzz.rules", RULES, &CompileOptions::for_tests());
    let policy = compiled.policy.expect("the rules are valid");
    policy.specialise(&SessionFacts { protocol: "postgres".into(), target: "crm".into(), ..SessionFacts::default() })
});

/// What left on either side, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Played {
    upstream: Vec<u8>,
    client: Vec<u8>,
    records: String,
    end: Option<&'static str>,
}

/// Plays what both say, `piece` bytes at a time.
fn play(turns: &[(bool, &[u8])], piece: usize) -> Played {
    let opened = Opened {
        policy: POLICY.clone(),
        budget: Budget::new(64 << 20),
        purpose: None,
        counter: None,
        refuses_unmaskable: false,
        processes: (1, 2),
    };
    let mut conversation = Conversation::new(opened);
    let mut played = Played { upstream: Vec::new(), client: Vec::new(), records: String::new(), end: None };
    let (mut from_client, mut from_server) = (Frames::default(), Frames::default());
    from_server.push(&message(b'Z', b"I"));
    for (is_client, bytes) in turns {
        for bytes in bytes.chunks(piece) {
            if *is_client { &mut from_client } else { &mut from_server }.push(bytes);
            if let Err(end) = turn(&mut conversation, &mut from_client, &mut from_server, *is_client, &mut played) {
                played.end = Some(end);
                return played;
            }
        }
    }
    played
}

fn turn(
    conversation: &mut Conversation,
    from_client: &mut Frames,
    from_server: &mut Frames,
    is_client: bool,
    played: &mut Played,
) -> Result<(), &'static str> {
    let mut out = Out::default();
    let heard =
        if is_client { said(conversation, from_client, played) } else { heard(conversation, from_server, &mut out) };
    // What was decided before the end has left, wherever the bytes were cut.
    conversation.settle(&mut out);
    out.client.iter().for_each(|bytes| played.client.extend_from_slice(bytes));
    heard
}

fn said(conversation: &mut Conversation, frames: &mut Frames, played: &mut Played) -> Result<(), &'static str> {
    while let Some(message) = frames.next_message().map_err(|_| "client frame")? {
        let sent = conversation.client(&message).map_err(|_| "client")?;
        // A play has no time to wait in: where the client would have to, it ends.
        let mut sent = sent.ok_or("wait")?;
        if let Some(hold) = sent.hold.take() {
            assert!(sent.upstream.is_empty() && sent.records.is_empty(), "what waits is nowhere yet");
            // Approvers are of two minds, and of the same about the same command.
            let approves = hold.command.hash.ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']);
            let verdict = match approves {
                true => Verdict::Cleared("ap-1".to_owned()),
                false => Verdict::Refused(Some("ap-1".to_owned()), Report::error("42501", "denied")),
            };
            conversation.decided(hold.command.hash.clone(), verdict);
            sent = conversation.client(&message).map_err(|_| "client")?.expect("it waited for this alone");
            assert!(sent.hold.is_none(), "a decision counts");
            let went = sent.upstream.iter().any(|bytes| bytes == message.raw());
            assert!(approves || !went, "a denied command went upstream");
        }
        sent.upstream.iter().for_each(|bytes| played.upstream.extend_from_slice(bytes));
        played.records.push_str(&format!("{:?}", sent.records));
    }
    Ok(())
}

fn heard(conversation: &mut Conversation, frames: &mut Frames, out: &mut Out) -> Result<(), &'static str> {
    loop {
        if let Some(run) = frames.next_run(b'D', usize::MAX) {
            conversation.rows(&run, out).map_err(|_| "server")?;
            continue;
        }
        let Some(message) = frames.next_message().map_err(|_| "server frame")? else { return Ok(()) };
        conversation.server(&message, out).map_err(|_| "server")?;
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fuzz_target!(|data: &[u8]| {
    let _ = opening(&mut bytes::BytesMut::from(data));

    let mut turns = Vec::new();
    let mut rest = data;
    while let [who, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        turns.push((who & 1 == 0, &more[..length]));
        rest = &more[length..];
    }
    let whole = play(&turns, usize::MAX);
    for piece in [1, 3, 7] {
        assert_eq!(play(&turns, piece), whole, "the cut shows");
    }
    // Whole messages on either side.
    for bytes in [&whole.client, &whole.upstream] {
        let mut frames = Frames::default();
        frames.push(bytes);
        while frames.next_message().expect("what leaves is well formed").is_some() {}
        assert_eq!(frames.held(), 0, "half a message left");
    }
    // The server says these two in answers only; in messages of the client they go the other way.
    let said = turns.iter().filter(|(is_client, _)| *is_client).any(|(_, bytes)| has(bytes, b"bob@mail.org"));
    assert!(said || !has(&whole.client, b" bob@mail.org "), "a masked value left");
    assert!(!has(&whole.client, b" SECRET-1234 "), "a blocked value left");
    assert!(!has(&whole.upstream, b" SECRET-1234 "), "a blocked value went upstream");
});
