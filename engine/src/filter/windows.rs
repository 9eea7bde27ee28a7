//! Windows of classes that are not listed as words: gathered into groups of eight buckets, and told apart where they hit.

use super::bytes::ByteSet;
use super::gather::{Quality, gather, quality};
use super::vectors::{BEFORE, DEPTH, Group, Index, bits};

#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: Vec<Window>,
    /// The windows of each bucket, eight buckets to a group.
    buckets: Vec<Vec<u32>>,
}

#[derive(Debug)]
struct Window {
    classes: Vec<ByteSet>,
    probe: u32,
    /// Where in the window of the probe these classes begin, counted from the byte before it.
    from: usize,
}

/// Buckets of a group.
const BUCKETS: usize = super::vectors::BUCKETS;

impl Windows {
    /// Takes a window and what must stand before it, if that matters; the rarest part of it is looked for.
    pub(crate) fn add(&mut self, probe: u32, before: Option<&ByteSet>, window: &[ByteSet]) {
        let (from, classes, _) = rarest(before, window);
        self.windows.push(Window { classes, probe, from });
    }

    /// The groups, once all windows are in.
    pub(crate) fn finish(&mut self) -> Vec<Group> {
        if self.windows.is_empty() {
            return Vec::new();
        }
        let classes: Vec<Vec<ByteSet>> = self.windows.iter().map(|window| window.classes.clone()).collect();
        let (groups, _) = gather(Index::Bytes, &classes);
        groups
            .iter()
            .map(|group| {
                let buckets: Vec<Vec<&[ByteSet]>> =
                    group.buckets.iter().map(|bucket| bucket.iter().map(|at| &classes[*at][..]).collect()).collect();
                self.buckets.extend(group.buckets.iter().map(|bucket| bucket.iter().map(|at| *at as u32).collect()));
                self.buckets.resize(self.buckets.len().next_multiple_of(BUCKETS), Vec::new());
                Group::new(Index::Bytes, group.depth, &buckets)
            })
            .collect()
    }

    /// Calls `hit` with each probe of these buckets of a group and the place of its window in the text; stops where that
    /// gives false, and gives false itself. `at` is counted from the byte before the text.
    pub(crate) fn told(&self, group: usize, at: usize, buckets: u8, hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        bits(buckets.into()).all(|bucket| {
            self.buckets[group * BUCKETS + bucket].iter().all(|window| {
                let window = &self.windows[*window as usize];
                // The byte before the window is at place `at - from` of that count, so the window is there in the text.
                at < window.from || hit(window.probe, at - window.from)
            })
        })
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
