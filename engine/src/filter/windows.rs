//! All windows of a set of patterns, in groups of eight, looked for at 64 places at a time.

use super::bytes::ByteSet;
use super::probe::rate;
use super::vectors::{DEPTH, Group, Vectors, bits, look};

#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: Vec<Window>,
    groups: Vec<Group>,
    /// What must stand around the windows of each group.
    around: Vec<Around>,
    vectors: Vectors,
}

#[derive(Debug)]
struct Window {
    classes: [ByteSet; DEPTH],
    /// The classes before and after them; any byte where the window of the probe has none.
    before: [ByteSet; SIDE],
    after: [ByteSet; SIDE],
    probe: u32,
    /// Where in the window of the probe these classes stand.
    from: usize,
}

/// Bytes on each side of a window that are looked at before its probe is.
const SIDE: usize = 4;

/// For each byte before and after the windows of a group: in which of them it may stand there.
#[derive(Debug)]
struct Around {
    before: [[u8; 256]; SIDE],
    after: [[u8; 256]; SIDE],
}

impl Around {
    fn new(windows: &[Window]) -> Self {
        let tables = |classes: fn(&Window) -> &[ByteSet; SIDE]| {
            let mut tables = [[0; 256]; SIDE];
            for (bit, window) in windows.iter().enumerate() {
                for (table, class) in tables.iter_mut().zip(classes(window)) {
                    class.iter().for_each(|byte| table[usize::from(byte)] |= 1 << bit);
                }
            }
            tables
        };
        Self { before: tables(|window| &window.before), after: tables(|window| &window.after) }
    }

    /// Which of these windows may stand at a place of the text.
    fn agree(&self, text: &[u8], at: usize, windows: u8) -> u8 {
        let side = |tables: &[[u8; 256]; SIDE], bytes: &[u8; SIDE]| {
            tables.iter().zip(bytes).fold(u8::MAX, |windows, (table, byte)| windows & table[usize::from(*byte)])
        };
        // At the edges of the text all that is there is looked at with the probe.
        let before = text[..at].last_chunk::<SIDE>().map_or(u8::MAX, |bytes| side(&self.before, bytes));
        let rest = text.get(at + DEPTH..).unwrap_or_default();
        windows & before & rest.first_chunk::<SIDE>().map_or(u8::MAX, |bytes| side(&self.after, bytes))
    }
}

impl Windows {
    pub(crate) fn new(vectors: Vectors) -> Self {
        Self { vectors, ..Self::default() }
    }

    /// Takes the rarest part of a window; after its end any byte may stand.
    pub(crate) fn add(&mut self, probe: u32, window: &[ByteSet]) {
        let last = window.len().saturating_sub(DEPTH);
        let part = |at: usize| &window[at..(at + DEPTH).min(window.len())];
        let from = (0..=last).min_by(|a, b| rate(part(*a)).total_cmp(&rate(part(*b)))).unwrap_or(0);
        let class = |place: Option<usize>| place.and_then(|at| window.get(at)).copied().unwrap_or_else(ByteSet::all);
        self.windows.push(Window {
            classes: std::array::from_fn(|place| class(Some(from + place))),
            before: std::array::from_fn(|place| class((from + place).checked_sub(SIDE))),
            after: std::array::from_fn(|place| class(Some(from + DEPTH + place))),
            probe,
            from,
        });
    }

    /// Builds the tables, once all windows are in.
    pub(crate) fn finish(&mut self) {
        let classes: Vec<[ByteSet; DEPTH]> = self.windows.iter().map(|window| window.classes).collect();
        self.groups = classes.chunks(8).map(Group::new).collect();
        self.around = self.windows.chunks(8).map(Around::new).collect();
    }

    /// Calls `hit` with each probe and the place of its window; stops where that gives false, and gives false itself.
    pub(crate) fn look(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        look(self.vectors, &self.groups, text, |group, start, places, which| {
            bits(places).all(|place| {
                let at = start + place;
                let windows = self.groups[group].agree(text, at, self.around[group].agree(text, at, which[place]));
                bits(windows.into()).all(|bit| {
                    let window = &self.windows[group * 8 + bit];
                    at < window.from || hit(window.probe, at - window.from)
                })
            })
        })
    }
}
