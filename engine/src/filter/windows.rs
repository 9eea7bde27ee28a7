//! Windows of classes that are not listed as words: gathered into groups of eight buckets, and told apart where they hit.

use super::bytes::ByteSet;
use super::gather::{Quality, gather, quality};
use super::vectors::{BEFORE, BUCKETS, DEPTH, FOLD, Group, Index, bits, six};

/// Bytes that are compared where a bucket hits, from the first one that is looked at.
const COMPARED: usize = 17;

/// Windows that are compared together.
const TOGETHER: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: Vec<Window>,
    /// The windows of each bucket, eight buckets to a group.
    buckets: Vec<Vec<Members>>,
}

#[derive(Debug)]
struct Window {
    /// What may stand where it is looked for, and after it.
    classes: Vec<ByteSet>,
    /// How many of these are of the window: no more may be asked for where a text ends.
    looked: usize,
    probe: u32,
    /// Where in the window of the probe these classes begin, counted from the byte before it.
    from: usize,
}

/// Windows of one bucket.
#[derive(Debug)]
struct Members {
    windows: Vec<u32>,
    /// For each place and each byte in six bits: the windows that it may stand in there.
    tables: Box<[[u16; 64]; COMPARED]>,
    /// What the vectors tell of the first places is all that these tables can.
    told: bool,
}

impl Members {
    fn new(all: &[Window], windows: &[usize], depth: usize) -> Self {
        let mut tables = Box::new([[0; 64]; COMPARED]);
        for (bit, window) in windows.iter().enumerate() {
            for (place, table) in tables.iter_mut().enumerate() {
                bits(six(Index::Bytes, &all[*window].classes, place)).for_each(|six| table[six] |= 1 << bit);
            }
        }
        let told = windows.len() == 1 && all[windows[0]].looked <= depth;
        Self { windows: windows.iter().map(|window| *window as u32).collect(), tables, told }
    }

    /// The windows that may stand at a place, counted from the byte before the text, as bits.
    fn fit(&self, text: &[u8], at: usize) -> u64 {
        let table = |place: usize, byte: u8| self.tables[place][usize::from(FOLD[usize::from(byte)])];
        let all = (1 << self.windows.len()) - 1;
        let whole = at.checked_sub(1).and_then(|at| text[at..].first_chunk::<COMPARED>());
        let Some(bytes) = whole else {
            // At the edges of the text: as far as it goes.
            let byte = |place: usize| match (at + place).checked_sub(1) {
                None => Some(BEFORE),
                Some(at) => text.get(at).copied(),
            };
            let fits = (0..COMPARED).filter_map(|place| Some(table(place, byte(place)?)));
            return fits.fold(all, |fits, table| fits & u64::from(table));
        };
        // What is looked at by vectors mostly fits: what comes after it tells more.
        let far = (DEPTH..COMPARED).fold(u16::MAX, |fits, place| fits & table(place, bytes[place]));
        if far == 0 || self.told {
            return u64::from(far) & all;
        }
        u64::from((0..DEPTH).fold(far, |fits, place| fits & table(place, bytes[place]))) & all
    }
}

impl Windows {
    /// Takes a window, what must stand before it, if that matters, and what comes after it. The rarest part is looked for.
    pub(crate) fn add(&mut self, probe: u32, before: Option<&ByteSet>, window: &[ByteSet], beyond: &[ByteSet]) {
        let (from, mut classes, _) = rarest(before, window);
        let looked = classes.len();
        let after = window.iter().skip((from + looked).saturating_sub(1)).chain(beyond);
        classes.extend(after.take(COMPARED - looked));
        self.windows.push(Window { classes, looked, probe, from });
    }

    /// The groups, once all windows are in.
    pub(crate) fn finish(&mut self) -> Vec<Group> {
        if self.windows.is_empty() {
            return Vec::new();
        }
        let looked = |window: &Window| window.classes[..window.looked].to_vec();
        let classes: Vec<Vec<ByteSet>> = self.windows.iter().map(looked).collect();
        let (groups, _) = gather(Index::Bytes, &classes);
        let mut made = Vec::with_capacity(groups.len());
        for group in &groups {
            let buckets: Vec<Vec<&[ByteSet]>> =
                group.buckets.iter().map(|bucket| bucket.iter().map(|at| &classes[*at][..]).collect()).collect();
            made.push(Group::new(Index::Bytes, group.depth, &buckets));
            let members = |bucket: &Vec<usize>| {
                bucket.chunks(TOGETHER).map(|windows| Members::new(&self.windows, windows, group.depth)).collect()
            };
            self.buckets.extend(group.buckets.iter().map(members));
            self.buckets.resize_with(self.buckets.len().next_multiple_of(BUCKETS), Vec::new);
        }
        made
    }

    /// Calls `hit` with each probe of these buckets of a group whose window stands at a place, and the place of the window in
    /// the text; stops where that gives false, and gives false itself. `at` is counted from the byte before the text.
    pub(crate) fn told(
        &self,
        group: usize,
        text: &[u8],
        at: usize,
        buckets: u8,
        hit: &mut impl FnMut(u32, usize) -> bool,
    ) -> bool {
        for bucket in bits(buckets.into()) {
            for members in &self.buckets[group * BUCKETS + bucket] {
                for member in bits(members.fit(text, at)) {
                    let window = &self.windows[members.windows[member] as usize];
                    // The byte before the window is at place `at - from` of that count, so the window is there in the text.
                    if at >= window.from && !hit(window.probe, at - window.from) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// The rarest part of a window with what stands before it: where it begins, counted from the byte before the window.
pub(crate) fn rarest(before: Option<&ByteSet>, window: &[ByteSet]) -> (usize, Vec<ByteSet>, Quality) {
    let mut behind = before.copied().unwrap_or_else(ByteSet::all);
    behind.insert(BEFORE);
    let classes: Vec<ByteSet> = std::iter::once(behind).chain(window.iter().copied()).collect();
    let part = |from: usize| &classes[from..(from + DEPTH).min(classes.len())];
    let first = usize::from(before.is_none());
    let mut best = (first, quality(Index::Bytes, part(first)));
    for from in first + 1..classes.len() {
        let next = quality(Index::Bytes, part(from));
        if next < best.1 {
            best = (from, next);
        }
    }
    (best.0, part(best.0).to_vec(), best.1)
}
