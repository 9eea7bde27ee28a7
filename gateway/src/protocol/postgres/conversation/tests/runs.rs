//! Rows that come together: what leaves of them, and what is on record, is what it would be of each alone.

use super::*;
use proptest::prelude::*;

/// Columns of these types, each in the text format or the binary one.
fn described(columns: &[(u32, bool)]) -> Bytes {
    let mut body = (columns.len() as i16).to_be_bytes().to_vec();
    for (oid, binary) in columns {
        body.extend(b"c\0\0\0\0\0\0\0");
        body.extend(oid.to_be_bytes());
        body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, u8::from(*binary)]);
    }
    message(b'T', &body)
}

fn row_of(values: &[Option<Vec<u8>>]) -> Bytes {
    let mut body = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        let length = value.as_ref().map_or(-1, |value| value.len() as i32);
        body.extend(length.to_be_bytes());
        body.extend(value.iter().flatten());
    }
    message(b'D', &body)
}

/// What the client gets, what is on record, what was decided, and whether the session goes on, of rows that come in these portions.
fn played(columns: &[(u32, bool)], rows: &[Bytes], most: usize) -> (Vec<u8>, Vec<u8>, usize, bool) {
    let mut play = Play::new();
    assert!(play.client(&query("SELECT a FROM t")));
    play.server(&described(columns));
    let mut frames = Frames::default();
    frames.push(&rows.concat());
    let mut goes_on = true;
    while let Some(run) = frames.next_run(b'D', most) {
        let mut out = Out::default();
        goes_on = play.conversation.rows(&run, &mut out).is_ok();
        play.take(out);
        if !goes_on {
            break;
        }
    }
    if goes_on {
        play.server(&all(&[complete("SELECT 1"), ready(b'I')]));
    }
    let (mut seen, mut decided) = (Vec::new(), 0);
    for note in &play.notes {
        match note {
            Note::Seen(_, text) => seen.extend_from_slice(text),
            Note::Decided(_, decisions) => decided += decisions.len(),
            Note::Done(..) => {}
        }
    }
    (play.client, seen, decided, goes_on)
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let texts = prop::sample::select(vec![
        "",
        "a",
        "bob@example.org",
        "to bob@example.org, now",
        "x\tbob@example.org",
        "bob@example",
        ".org",
        "@example.org",
        "bob",
        "{\"a\":\"bob\\u0040example.org\"}",
        "{bob@example.org,b}",
        "(1,bob@example.org)",
        "bob%40example.org",
        "a\\b\nc",
        "4711",
        "\\x626f62406578616d706c652e6f7267",
    ]);
    prop_oneof![
        8 => texts.prop_map(|text| Some(text.as_bytes().to_vec())),
        1 => Just(None),
        1 => prop::sample::select(vec!["CLIENT-1234", "a CLIENT-5678"]).prop_map(|text| Some(text.as_bytes().to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Some),
        1 => Just(Some(b"SECRET-1234".to_vec())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn rows_that_come_together_are_read_as_if_each_came_alone(
        columns in prop::collection::vec((prop::sample::select(vec![25u32, 23, 20, 114, 3802, 17, 1009, 1700, 99_999]), any::<bool>()), 0..4),
        rows in prop::collection::vec(prop::collection::vec(value(), 3), 0..12),
        odd in prop::option::weighted(0.1, 0usize..12),
        most in 1usize..200,
    ) {
        let rows: Vec<Bytes> = rows.iter().enumerate().map(|(at, row)| {
            // One value too few.
            let count = if odd == Some(at) { columns.len().saturating_sub(1) } else { columns.len() };
            row_of(&row[..count])
        }).collect();
        let alone = played(&columns, &rows, 1);
        prop_assert_eq!(&played(&columns, &rows, usize::MAX), &alone);
        prop_assert_eq!(&played(&columns, &rows, most), &alone);
        prop_assert!(!has(&alone.0, " bob@example.org") && !has(&alone.0, "SECRET-1234"));
    }
}

#[test]
fn clean_rows_leave_as_the_slice_that_came_and_what_is_masked_stands_between_them() {
    let mut play = Play::new();
    assert!(play.client(&query("SELECT a FROM t")));
    play.server(&columns(&["a"]));
    let clean = [row(&[Some("one")]), row(&[None]), row(&[Some("three")])].concat();
    let mut frames = Frames::default();
    frames.push(&clean);
    let run = frames.next_run(b'D', usize::MAX).unwrap();
    let mut out = Out::default();
    play.conversation.rows(&run, &mut out).unwrap();
    assert!(matches!(&out.client[..], [bytes] if bytes.as_ptr() == run.raw().as_ptr() && bytes.len() == clean.len()));
    play.client.clear();
    play.server(&[row(&[Some("one")]), row(&[Some("bob@example.org")]), row(&[Some("three")])].concat());
    assert_eq!(play.client, [row(&[Some("one")]), row(&[Some("[email]")]), row(&[Some("three")])].concat());
}
