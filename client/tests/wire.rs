//! The frames of `sluice/1`: what is written is read back, each frame has one spelling, and a cut changes nothing.

use proptest::prelude::*;
use sluice_client::wire::{Answer, Carries, Code, ConnectionName, Dial, Frame, MAX_FIELDS, Opening, Token, WireError};

const ID: &str = "01a20a81-4b74-726f-97c8-0f928da2ee18";

fn token() -> impl Strategy<Value = Token> {
    prop_oneof!["[!-~]{1,64}", Just("t".repeat(16 * 1024))]
        .prop_map(|text| Token::new(text).expect("it is visible ASCII"))
}

fn name() -> impl Strategy<Value = ConnectionName> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| ConnectionName::new(text).expect("it is a name"))
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[^\\p{Cc}]{1,40}".prop_filter("not too long", |text| text.len() <= 200))
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        (prop::option::of(token()), name(), text(), text()).prop_map(|(token, connection, purpose, client)| {
            Opening::Session { token, connection, purpose, client }
        }),
        (token(), name(), prop::option::of(Just(ID.to_owned())))
            .prop_map(|(token, connection, session)| Opening::Token { token, connection, session }),
        (prop::option::of(token()), name(), text()).prop_map(|(token, connection, client)| Opening::Serve {
            token,
            connection,
            client
        }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (
            prop::option::of(Just(ID.to_owned())),
            any::<u32>(),
            prop::sample::select(vec![None, Some(Carries::Bytes), Some(Carries::Mcp)])
        )
            .prop_map(|(session, seconds, carries)| Answer::Accepted { session, seconds, carries }),
        (0_u64..14, "\\PC{0,80}")
            .prop_map(|(code, message)| Answer::refused(Code::of(code).expect("a code"), &message)),
    ]
}

/// What is written is read back; no beginning of it is taken for a frame; what follows it is left alone.
fn check<F: Frame + PartialEq + std::fmt::Debug>(frame: &F, after: &[u8]) -> Result<(), TestCaseError> {
    let mut bytes = frame.encode().expect("the frame is well formed");
    let len = bytes.len();
    for end in (0..len.min(80)).chain([len - 1]) {
        prop_assert_eq!(F::decode(&bytes[..end]), Ok(None), "{} of {} bytes", end, len);
    }
    bytes.extend_from_slice(after);
    let (read, used) = F::decode(&bytes).expect("it is well formed").expect("it is whole");
    prop_assert_eq!(&read, frame);
    prop_assert_eq!(used, len);
    Ok(())
}

/// What is read is written as it stood.
fn has_one_spelling<F: Frame>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(Some((frame, len))) = F::decode(bytes) {
        prop_assert_eq!(frame.encode().expect("what was read can be written"), &bytes[..len]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(opening in opening(), answer in answer(), after: Vec<u8>) {
        check(&opening, &after)?;
        check(&answer, &after)?;
    }

    #[test]
    fn a_frame_that_was_changed_is_refused_or_says_what_it_now_says(opening in opening(), at: prop::sample::Index, byte: u8) {
        let mut bytes = opening.encode().expect("the frame is well formed");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        has_one_spelling::<Opening>(&bytes)?;
        has_one_spelling::<Answer>(&bytes)?;
    }

    #[test]
    fn whatever_comes_is_read_in_one_way(bytes: Vec<u8>) {
        has_one_spelling::<Opening>(&bytes)?;
        has_one_spelling::<Answer>(&bytes)?;
        has_one_spelling::<Dial>(&bytes)?;
    }

    #[test]
    fn what_the_gateway_dials_for_comes_back_out_of_its_bytes(connection in name(), after: Vec<u8>) {
        check(&Dial { connection, session: ID.to_owned() }, &after)?;
    }
}

#[test]
fn an_opening_stands_on_the_wire_as_the_book_says() {
    let opening = Opening::Session {
        token: Token::new("tok"),
        connection: ConnectionName::new("db").expect("a name"),
        purpose: Some("why".to_owned()),
        client: None,
    };
    assert_eq!(opening.encode(), Ok(b"\x01\x01\x00\x11\x01\x00\x03tok\x02\x00\x02db\x03\x00\x03why".to_vec()),);
    let certified = Opening::Session {
        token: None,
        connection: ConnectionName::new("db").expect("a name"),
        purpose: None,
        client: None,
    };
    assert_eq!(certified.encode(), Ok(b"\x01\x01\x00\x05\x02\x00\x02db".to_vec()));
    let refused = Answer::refused(Code::Busy, "later");
    assert_eq!(refused.encode(), Ok(b"\x01\x82\x00\x0d\x06\x00\x02\x00\x06\x07\x00\x05later".to_vec()));
    let accepted = Answer::Accepted { session: None, seconds: 3600, carries: Some(Carries::Bytes) };
    assert_eq!(accepted.encode(), Ok(b"\x01\x81\x00\x0b\x08\x00\x04\x00\x00\x0e\x10\x09\x00\x01\x01".to_vec()));
}

#[test]
fn what_is_no_frame_is_refused_as_soon_as_it_is_certain() {
    let cases: [(&[u8], WireError); 12] = [
        (b"\x02", WireError::Version(2)),
        (b"GET /", WireError::Version(b'G')),
        (b"\x01\x81", WireError::Kind(0x81)),
        (b"\x01\x01\xff\xff", WireError::TooLong(0xffff)),
        (b"\x01\x01\x00\x00", WireError::Missing(2)),
        (b"\x01\x01\x00\x07\x01\x00\x00\x02\x00\x01d", WireError::Value(1)),
        (b"\x01\x02\x00\x04\x02\x00\x01d", WireError::Missing(1)),
        (b"\x01\x01\x00\x04\x01\x00\x01t", WireError::Missing(2)),
        (b"\x01\x01\x00\x04\x05\x00\x01x", WireError::Tag(5)),
        (b"\x01\x01\x00\x08\x01\x00\x01t\x01\x00\x01t", WireError::Order(1)),
        (b"\x01\x01\x00\x04\x01\x00\x02t", WireError::CutOff),
        (b"\x01\x01\x00\x08\x01\x00\x01 \x02\x00\x01d", WireError::Value(1)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Opening::decode(bytes), Err(error), "{bytes:?}");
    }
    assert!(MAX_FIELDS < usize::from(u16::MAX));
    let shouted = Answer::Accepted { session: Some(ID.to_uppercase()), seconds: 1, carries: None };
    assert_eq!(shouted.encode(), Err(WireError::Value(5)), "an identifier has one spelling");
}

#[test]
fn a_token_is_not_shown() {
    let opening = Opening::Token {
        token: Token::new("s3cret").expect("a token"),
        connection: ConnectionName::new("db").expect("a name"),
        session: None,
    };
    assert!(!format!("{opening:?}").contains("s3cret"));
}
