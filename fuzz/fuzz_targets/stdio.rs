//! Lines of a child: the same for every cut, none over the cap, nothing lost; a message as a line is one line.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluice_fuzz::cuts;
use sluice_gateway::protocol::mcp::stdio::{LineTooLong, Lines, line};

const CAP: usize = 24;

/// The lines up to the first that is too long, and whether there is one.
type Read = (Vec<Bytes>, bool);

fuzz_target!(|text: &[u8]| {
    let expected = reference(text);
    for pieces in cuts(text) {
        assert_eq!(read(&pieces), expected, "the cut shows");
    }

    let mut lines = Lines::new(text.len() + 1);
    lines.push(&line(text));
    let spaced: Vec<u8> = text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    let first = lines.next_line().expect("it fits");
    assert_eq!(first.as_deref(), Some(&spaced[..]).filter(|line| !line.is_empty()));
    assert_eq!(lines.next_line(), Ok(None), "a message is one line");
});

fn read(pieces: &[&[u8]]) -> Read {
    let mut lines = Lines::new(CAP);
    let mut out = Vec::new();
    for piece in pieces {
        lines.push(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => out.push(line),
                Ok(None) => break,
                Err(LineTooLong { cap }) => {
                    assert_eq!(cap, CAP);
                    return (out, true);
                }
            }
        }
    }
    (out, false)
}

/// All at once: what ends with a line feed is a line, a carriage return before it is part of the end.
fn reference(text: &[u8]) -> Read {
    let mut out = Vec::new();
    let mut parts = text.split(|byte| *byte == b'\n');
    let open = parts.next_back().unwrap_or_default();
    for part in parts {
        if part.len() > CAP {
            return (out, true);
        }
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        if !part.is_empty() {
            out.push(Bytes::copy_from_slice(part));
        }
    }
    (out, open.len() > CAP)
}
