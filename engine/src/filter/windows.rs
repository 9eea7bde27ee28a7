//! All windows of a set of patterns, in groups of eight, looked for at 64 places at a time.

use super::bytes::ByteSet;
use super::probe::rate;
use super::vectors::{DEPTH, Group, Vectors, bits, look};

#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: Vec<Window>,
    groups: Vec<Group>,
    vectors: Vectors,
}

#[derive(Debug)]
struct Window {
    classes: [ByteSet; DEPTH],
    probe: u32,
    /// Where in the window of the probe these classes stand.
    from: usize,
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
        let class = |place| part(from).get(place).copied().unwrap_or_else(ByteSet::all);
        self.windows.push(Window { classes: std::array::from_fn(class), probe, from });
    }

    /// Builds the tables, once all windows are in.
    pub(crate) fn finish(&mut self) {
        let classes: Vec<[ByteSet; DEPTH]> = self.windows.iter().map(|window| window.classes).collect();
        self.groups = classes.chunks(8).map(Group::new).collect();
    }

    /// Calls `hit` with each probe and the place of its window; stops where that gives false, and gives false itself.
    pub(crate) fn look(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        look(self.vectors, &self.groups, text, |group, start, places, which| {
            bits(places).all(|place| {
                bits(which[place].into()).all(|bit| {
                    let window = &self.windows[group * 8 + bit];
                    let at = start + place;
                    at < window.from || hit(window.probe, at - window.from)
                })
            })
        })
    }
}
