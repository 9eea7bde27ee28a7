//! A segment of the evidence's log, and a signed note: any bytes are read to an end, the same each time; what is read is what stands there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_gateway::evidence::{Note, Signer, Verifier, read_segment};

fuzz_target!(|bytes: &[u8]| {
    let read = read_segment(bytes);
    assert_eq!(read, read_segment(bytes));
    let mut at = None;
    for (place, record) in &read {
        let stood = bytes.get(place + HEAD..place + HEAD + record.len());
        assert_eq!(stood, Some(record.as_slice()), "a record that doesn't stand there");
        assert!(at.is_none_or(|end| end == *place), "frames follow each other");
        at = Some(place + HEAD + record.len());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.unverified()) && note.unverified().ends_with('\n'));
        let key = Signer::generate("log").expect("a key");
        assert!(note.verified(key.verifier()).is_err(), "signed without the key");
    }
    if let Ok(key) = Verifier::parse(text) {
        assert_eq!(key.to_string(), text, "one spelling");
    }
});

/// What stands before a record.
const HEAD: usize = 44;
