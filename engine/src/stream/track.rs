//! Where in a document its values stand: followed for paths, and where it matters which texts stand in the same place.

use super::escape::{Decoded, Unescape, Wire};
use super::path::{Bits, Down, MAX_KEY, PathSet};
use crate::program::PatternId;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Follows one set of paths through a document.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    paths: Arc<PathSet>,
    /// Names of members whose value is a document of its own for paths.
    roots: &'static [&'static str],
    /// [`Tracker::place`] is asked for.
    places: bool,
    /// The arrays and objects that are open, without those in which nothing is selected.
    levels: Vec<Level>,
    /// Those that are open and in which nothing is selected: there is nothing to follow until they end.
    deaf: usize,
    /// Where the next value stands, or the one that was begun last.
    value: Spot,
    name: Vec<u8>,
    name_too_long: bool,
}

/// An open array or object.
#[derive(Clone, Debug)]
struct Level {
    spot: Spot,
    /// Elements before the next one.
    index: usize,
}

/// Where a value stands in its document.
#[derive(Clone, Debug)]
struct Spot {
    /// The places of paths that hold there.
    bits: Bits,
    /// The names and indices that lead there, as one number.
    place: u64,
}

impl Tracker {
    pub(crate) fn new(paths: Arc<PathSet>, roots: &'static [&'static str], places: bool) -> Self {
        let value = Spot { bits: paths.roots(), place: 0 };
        Self { paths, roots, places, levels: Vec::new(), deaf: 0, value, name: Vec::new(), name_too_long: false }
    }

    /// Nothing is selected from here to the end of so many open arrays and objects, whatever their members are called.
    pub(crate) fn deaf(&self) -> usize {
        self.deaf
    }

    /// So many of the open arrays and objects in which nothing is selected are left.
    pub(crate) fn stay_deaf(&mut self, left: usize) {
        self.deaf = left;
    }

    /// The patterns that select the value that was begun last.
    pub(crate) fn selected(&self) -> Vec<PatternId> {
        self.paths.selected(&self.value.bits)
    }

    /// The place of the value that was begun last, as a number; None where it wasn't asked for.
    pub(crate) fn place(&self) -> Option<u64> {
        self.places.then_some(self.value.place)
    }

    /// A document begins.
    pub(crate) fn restart(&mut self) {
        self.levels.clear();
        self.value = Spot { bits: self.paths.roots(), place: 0 };
    }

    /// An array or object begins.
    pub(crate) fn push(&mut self) {
        if self.deaf > 0 || (self.value.bits.is_empty() && self.roots.is_empty() && !self.places) {
            self.deaf += 1;
        } else {
            self.levels.push(Level { spot: self.value.clone(), index: 0 });
        }
    }

    /// An array or object ends.
    pub(crate) fn pop(&mut self) {
        if self.deaf > 0 {
            self.deaf -= 1;
        } else {
            self.levels.pop();
        }
    }

    /// The next element follows.
    pub(crate) fn next(&mut self) {
        if let (0, Some(level)) = (self.deaf, self.levels.last_mut()) {
            level.index += 1;
        }
    }

    /// A member's name begins.
    pub(crate) fn begin_name(&mut self) {
        self.name.clear();
        self.name_too_long = false;
    }

    /// The name goes on.
    pub(crate) fn extend_name(&mut self, bytes: &[u8]) {
        if self.deaf == 0 {
            self.name_too_long |= self.name.len() + bytes.len() > MAX_KEY;
            if !self.name_too_long {
                self.name.extend_from_slice(bytes);
            }
        }
    }

    /// The value that follows is an element of the array.
    pub(crate) fn enter_element(&mut self) {
        if let (0, Some(level)) = (self.deaf, self.levels.last()) {
            self.value = self.down(&level.spot, Down::Index(level.index));
        }
    }

    /// The value that follows is the member of the last name.
    pub(crate) fn enter_member(&mut self) {
        let (0, Some(level)) = (self.deaf, self.levels.last()) else { return };
        // Names are compared as decoded text; a name too long for any path selects by wildcards alone.
        let name = unescaped(if self.name_too_long { b"" } else { &self.name });
        let mut value = self.down(&level.spot, Down::Key(&name));
        if self.roots.iter().any(|root| root.as_bytes() == &*name) {
            self.paths.add_roots(&mut value.bits);
        }
        self.value = value;
    }

    fn down(&self, from: &Spot, step: Down<'_>) -> Spot {
        let mut place = 0;
        if self.places {
            let mut hasher = DefaultHasher::new();
            from.place.hash(&mut hasher);
            match step {
                Down::Key(name) => name.hash(&mut hasher),
                Down::Index(index) => index.hash(&mut hasher),
            }
            place = hasher.finish();
        }
        Spot { bits: self.paths.down(&from.bits, step), place }
    }
}

fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut collect = |piece: Decoded<'_>| match piece {
        Decoded::Run(run, _) => out.extend_from_slice(run),
        Decoded::Char(bytes, len, _) => out.extend_from_slice(&bytes[..len]),
    };
    let mut decoder = Unescape::default();
    // The lenient decoder has no errors.
    let _ = decoder.push(name, Wire::Linear(0), &mut collect);
    decoder.finish(name.len() as u64, &mut collect);
    Cow::Owned(out)
}
