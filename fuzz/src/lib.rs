//! What several fuzz targets share: ways to cut an input, and second readings that owe nothing to the code under test.

pub mod events;
pub mod json;

/// The ways in which an input is cut: whole, byte by byte, and in two at every place of its first bytes.
pub fn cuts(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    const PLACES: usize = 32;
    let halves = (0..text.len().min(PLACES)).map(|at| vec![&text[..at], &text[at..]]);
    [vec![text], text.chunks(1).collect()].into_iter().chain(halves)
}

/// The first line of an input, and the rest: for targets that take two things.
pub fn line_and_rest(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}
