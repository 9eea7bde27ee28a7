//! Frames of `sluice/1`: the same answer for every cut, one spelling, and the reading that the book's tables give.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_client::wire::{Answer, Dial, Frame, HEAD, MAX_FIELDS, Opening, fields_len};
use std::fmt::Debug;

fuzz_target!(|bytes: &[u8]| {
    check::<Opening>(bytes, &[(0x01, &[1, 2], &[3, 4]), (0x02, &[1, 2], &[5]), (0x03, &[1, 2], &[4])]);
    check::<Dial>(bytes, &[(0x41, &[2, 5], &[])]);
    check::<Answer>(bytes, &[(0x81, &[8], &[5, 9]), (0x82, &[6, 7], &[])]);
});

/// A kind, the tags that have to be there, and those that may be.
type Kind<'a> = (u8, &'a [u8], &'a [u8]);

fn check<F: Frame + Debug + PartialEq>(bytes: &[u8], kinds: &[Kind<'_>]) {
    let read = F::decode(bytes);
    if let Ok(Some((frame, len))) = &read {
        assert_eq!(frame.encode().as_deref(), Ok(&bytes[..*len]), "one spelling");
        let (tags, must, may) = reference(&bytes[..*len], kinds).expect("accepted what the tables refuse");
        assert!(
            must.iter().all(|tag| tags.contains(tag)) && tags.iter().all(|tag| must.contains(tag) || may.contains(tag))
        );
        assert_eq!(fields_len(bytes[..HEAD].try_into().expect("four bytes")), Ok(len - HEAD));
    }
    // Nothing that is read so far is read otherwise when more comes; an error stays that error.
    let mut last = Ok(None);
    for end in 0..=bytes.len().min(96) {
        let now = F::decode(&bytes[..end]);
        if !matches!(last, Ok(None)) {
            assert_eq!(now, last, "more bytes change what was said");
        }
        last = now;
    }
    if bytes.len() <= 96 {
        assert_eq!(last, read);
    }
}

/// The tags of a frame, read plainly.
fn reference<'k>(frame: &[u8], kinds: &[Kind<'k>]) -> Option<(Vec<u8>, &'k [u8], &'k [u8])> {
    let (_, must, may) = kinds.iter().find(|(kind, ..)| frame[1] == *kind)?;
    let len = usize::from(frame[2]) * 256 + usize::from(frame[3]);
    if frame[0] != 1 || len > MAX_FIELDS || len != frame.len() - 4 {
        return None;
    }
    let (mut at, mut tags) = (4, Vec::new());
    while at < frame.len() {
        let len = usize::from(*frame.get(at + 1)?) * 256 + usize::from(*frame.get(at + 2)?);
        if tags.last().is_some_and(|last| *last >= frame[at]) || at + 3 + len > frame.len() {
            return None;
        }
        tags.push(frame[at]);
        at += 3 + len;
    }
    Some((tags, must, may))
}
