//! Values that the events of a stream cut: nothing of them passes that could still be held, however the stream is cut.

use bytes::Bytes;
use proptest::prelude::*;
use sluice_engine::{
    Action, Budget, Collected, Format, JsonPath, Mask, Matcher, PatternSpec, Program, RuleSpec, Stop, Stream,
    StreamOptions, Validator,
};

const CARD: &str = "4111 1111 1111 1111";

fn program(block: bool) -> Program {
    let mut builder = Program::builder();
    let mut add = |spec: PatternSpec| builder.pattern(spec).expect("valid");
    let mail = add(PatternSpec::regex("mail", r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,100}\.[A-Za-z]{2,10}\b"));
    let card = add(PatternSpec::regex("card", r"\b(?:[0-9][ -]?){12,18}[0-9]\b").validate(Validator::Luhn));
    let near = add(PatternSpec::regex("pin", r"\b[0-9]{6}\b").near(["pin"], 12));
    let drop = add(PatternSpec::regex("drop", "DROP DATABASE"));
    builder.rule(RuleSpec::new("mail", Action::Mask(Mask::redact("<mail>")), [mail]));
    builder.rule(RuleSpec::new("card", Action::Mask(Mask::Partial { keep_first: 0, keep_last: 4, with: '*' }), [card]));
    builder.rule(RuleSpec::new("pin", Action::Mask(Mask::redact("<pin>")), [near]));
    builder.rule(RuleSpec::new("drop", if block { Action::Block } else { Action::Alert }, [drop]));
    builder.build().expect("valid")
}

fn open(program: &Program) -> Stream {
    Stream::open(program, StreamOptions::format(Format::Sse), &Budget::unlimited())
}

/// Events whose message at one path is each of these texts.
fn events<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts
        .into_iter()
        .enumerate()
        .map(|(at, text)| {
            let text = serde_json::to_string(text).expect("text");
            format!("event: message\ndata: {{\"n\":{at},\"params\":{{\"message\":{text}}}}}\n\n")
        })
        .collect()
}

/// The texts at that path, one after the other.
fn shown(events: &[u8]) -> String {
    let text = std::str::from_utf8(events).expect("UTF-8");
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| {
            let value: serde_json::Value = serde_json::from_str(data).expect("an event is JSON still");
            value["params"]["message"].as_str().expect("a message").to_owned()
        })
        .collect()
}

fn inspect(program: &Program, text: &str) -> Collected {
    let mut out = Collected::default();
    let mut stream = open(program);
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("passes");
    stream.finish(&mut out).expect("passes");
    out
}

#[test]
fn a_value_cut_by_an_event_is_masked_wherever_it_is_cut() {
    let program = program(false);
    for (before, value, mask, after) in [
        ("mail ", "bob@example.com", "<mail>", " now"),
        ("card ", CARD, "**** **** **** 1111", "."),
        ("", CARD, "**** **** **** 1111", ""),
    ] {
        for cut in 1..value.len() {
            let (head, tail) = value.split_at(cut);
            let out =
                shown(&inspect(&program, &events([&*format!("{before}{head}"), &*format!("{tail}{after}")])).bytes);
            let left =
                out.strip_prefix(before).and_then(|out| out.strip_suffix(after)).unwrap_or_else(|| panic!("{out}"));
            let rare = head.contains('@') || head.bytes().filter(u8::is_ascii_digit).count() > 2;
            // A candidate that is nothing rare yet has left: the rest of it is redacted, or a value by itself.
            let gone = [format!("{head}[redacted]"), format!("{head}{mask}")];
            // What is a value by itself does not wait for more.
            let alone = head == "bob@example.co" && left == "<mail>m";
            let right = if rare { left == mask || alone } else { gone.iter().any(|gone| gone == left) };
            assert!(right, "cut at {cut}: {left}");
        }
    }
}

#[test]
fn a_value_in_many_events_is_masked_with_escapes_as_well() {
    let program = program(false);
    let letters: Vec<String> = "to bob@example.com.".chars().map(String::from).collect();
    let out = shown(&inspect(&program, &events(letters.iter().map(String::as_str))).bytes);
    assert!(!out.contains("example") && !out.contains("@"), "{out}");
    let escaped = events(["bob\u{40}exa", "mple.com ", "x"]).replace('@', "\\u0040");
    assert_eq!(shown(&inspect(&program, &escaped).bytes), "<mail> x");
    let quoted = events([r#"{"m":"bob@exa"#, r#"mple.com"}"#]);
    assert_eq!(shown(&inspect(&program, &quoted).bytes), r#"{"m":"<mail>"}"#);
    let text = inspect(&program, "data: bob@exa\n\ndata: mple.com \n\n");
    assert_eq!(text.text(), "data: <mail>\n\ndata:  \n\n");
}

#[test]
fn lines_of_one_event_other_places_and_elements_are_not_joined() {
    let program = program(false);
    for text in [
        "data: bob@exa\ndata: mple.com\n\n",
        "data: {\"a\":\"bob@exa\"}\n\ndata: {\"b\":\"mple.com\"}\n\n",
        "data: [\"bob@exa\",\"mple.com\"]\n\n",
        "data: {\"bob@exa\":1}\n\ndata: {\"mple.com\":1}\n\n",
    ] {
        assert_eq!(inspect(&program, text).text(), text);
    }
}

#[test]
fn what_is_a_value_by_itself_is_not_joined_with_what_follows() {
    let program = program(false);
    let out = shown(&inspect(&program, &events(["at bob@example.co", "2 of 10", "m"])).bytes);
    assert_eq!(out, "at <mail>2 of 10m");
    let two = shown(&inspect(&program, &events(["bob", "alice@example.com done"])).bytes);
    assert!(two == "bob<mail> done" || two == "bob[redacted] done", "{two}");
}

#[test]
fn an_event_waits_only_for_what_is_rare_and_only_until_it_is_decided() {
    let program = program(false);
    let mut out = Collected::default();
    let mut stream = open(&program);
    let first = events(["working on it"]);
    stream.push(Bytes::from(first.clone()), &mut out).expect("passes");
    assert!(!stream.awaits_event());
    assert_eq!(out.text(), first, "an event that ends in a word leaves at once");
    stream.push(Bytes::from(events(["mail to bob@exa"])), &mut out).expect("passes");
    assert!(stream.awaits_event());
    assert!(!out.text().contains("bob@"));
    stream.decide(&mut out).expect("passes");
    assert!(!stream.awaits_event());
    assert_eq!(stream.held(), 0);
    assert!(out.text().ends_with("mail to bob@exa\"}}\n\n"));
    stream.push(Bytes::from(events(["mple.com now"])), &mut out).expect("passes");
    assert!(out.text().ends_with("\"message\":\"[redacted] now\"}}\n\n"), "{}", out.text());
    stream.finish(&mut out).expect("passes");
}

#[test]
fn a_rule_that_blocks_stops_a_value_that_an_event_cuts() {
    let text = events(["please DROP DATA", "BASE x"]);
    let mut out = Collected::default();
    let mut stream = open(&program(true));
    let stop = stream.push(Bytes::from(text), &mut out);
    assert!(matches!(stop, Err(Stop::Blocked(_))), "{stop:?}");
    assert!(out.text().ends_with("please "), "{}", out.text());
    let out = inspect(&program(false), &events(["please DROP DATA", "BASE x"]));
    assert_eq!(out.decisions.len(), 1, "a value in two parts is reported once");
}

#[test]
fn a_context_in_an_earlier_event_counts() {
    let program = program(false);
    assert_eq!(shown(&inspect(&program, &events(["the pin is 123", "456, ok"])).bytes), "the pin is <pin>, ok");
    assert_eq!(shown(&inspect(&program, &events(["it is 123", "456, ok"])).bytes), "it is 123456, ok");
}

#[test]
fn what_has_left_of_a_text_is_what_leaves_of_it_byte_by_byte() {
    let mut builder = Program::builder();
    let capped = builder.pattern(PatternSpec::regex("capped", r"--[\s\S]+?--").max(9)).expect("valid");
    let member = Matcher::Json(JsonPath::parse("$..n").expect("valid"));
    let member = builder.pattern(PatternSpec::new("member", member).max(6)).expect("valid");
    builder.rule(RuleSpec::new("capped", Action::Mask(Mask::redact("c")), [capped]));
    builder.rule(RuleSpec::new("member", Action::Mask(Mask::redact("N")), [member]));
    let program = builder.build().expect("valid");
    for (format, text) in [
        (Format::Json, &b"\"--\"\"-----!\"\x00"[..]),
        (Format::Sse, b"data: {\"a\":\"--\"}\n\ndata: {\"a\":\"-----!\"}\n\ndata: {x"),
        (Format::Sse, b"data: {\"a\":\"--\"}\n\ndata: {\"a\":\"-----!\"}\n\ndata: {\"a\":\"--\"}\n\n"),
    ] {
        let outcomes = [text.len(), 1].map(|step| {
            let mut out = Collected::default();
            let mut stream = Stream::open(&program, StreamOptions::format(format), &Budget::unlimited());
            let mut chunks = text.chunks(step).map(Bytes::copy_from_slice);
            let stop = chunks.try_for_each(|chunk| stream.push(chunk, &mut out)).and_then(|()| stream.finish(&mut out));
            (out, stop)
        });
        assert_eq!(outcomes[0], outcomes[1]);
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let program = program(false);
    let budget = Budget::new(1 << 20);
    let mut out = Collected::default();
    let mut stream = Stream::open(&program, StreamOptions::format(Format::Sse), &budget);
    for round in 0..200 {
        let members: String =
            (0..100).map(|at| format!("\"m{round}-{at}\":\"{} bob\",", "words ".repeat(100))).collect();
        stream.push(Bytes::from(format!("data: {{{members}\"z\":0}}\n\n")), &mut out).expect("passes");
        assert_eq!(stream.held(), 0);
        assert!(budget.used() < 32 << 10, "{}", budget.used());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn output_does_not_depend_on_the_cuts(texts in proptest::collection::vec("(bob|a|@|@x|ex\\.|com|[0-9]{1,6}|4111 1111|pin| |\"|é){0,4}", 1..5)) {
        let program = program(false);
        let text = events(texts.iter().map(String::as_str));
        let whole = inspect(&program, &text);
        for at in 0..=text.len() {
            let mut out = Collected::default();
            let mut stream = open(&program);
            stream.push(Bytes::copy_from_slice(&text.as_bytes()[..at]), &mut out).expect("passes");
            stream.push(Bytes::copy_from_slice(&text.as_bytes()[at..]), &mut out).expect("passes");
            stream.finish(&mut out).expect("passes");
            prop_assert_eq!(&out, &whole, "cut at {}", at);
        }
        let mut out = Collected::default();
        let mut stream = open(&program);
        for byte in text.as_bytes() {
            stream.push(Bytes::copy_from_slice(&[*byte]), &mut out).expect("passes");
        }
        stream.finish(&mut out).expect("passes");
        prop_assert_eq!(&out, &whole, "byte by byte");
    }

    #[test]
    fn no_address_passes_whichever_events_cut_it(before in "[a-z ]{0,4}", cuts in proptest::collection::vec(1..15usize, 0..4), decide in any::<bool>()) {
        let program = program(false);
        let text = format!("{before} bob@example.com!");
        let mut places: Vec<usize> = cuts.iter().map(|cut| before.len() + 1 + cut).collect();
        places.sort_unstable();
        places.dedup();
        let mut parts = Vec::new();
        let mut from = 0;
        for place in places {
            parts.push(&text[from..place]);
            from = place;
        }
        parts.push(&text[from..]);
        let mut out = Collected::default();
        let mut stream = open(&program);
        for part in parts {
            stream.push(Bytes::from(events([part])), &mut out).expect("passes");
            if decide {
                stream.decide(&mut out).expect("passes");
                prop_assert_eq!(stream.held(), 0);
            }
        }
        stream.finish(&mut out).expect("passes");
        let seen = shown(&out.bytes);
        prop_assert!(!seen.contains("example.com"), "{}", seen);
        prop_assert!(decide || !seen.contains('@'), "{}", seen);
    }
}
