//! What a stream works with while it reads, lent to it by its thread: a stream that holds nothing back keeps none of it.

use super::bulk::Scratch;
use super::escape::{Decoders, LEVELS};
use super::lane::{Block, Candidates, Tray};
use super::resolve::{Claim, Pending};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Nobody's while a stream of this thread reads.
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

/// The most memory of a buffer that waits for the next stream, in bytes.
const KEPT: usize = 256 << 10;

/// What a stream works with while it reads. Between two streams nothing is on it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) block: Block,
    pub(crate) tray: Tray,
    pub(crate) decoders: Decoders,
    /// What they decode of the bytes that are being read.
    pub(crate) scratch: [Scratch; LEVELS],
    /// Memory for what waits.
    pub(crate) spare: Spare,
}

/// Memory that a stream takes while something of it waits.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(crate) candidates: Lent<Candidates>,
    pub(crate) pending: Lent<Pending>,
    /// Claims that are being settled.
    pub(crate) ready: Vec<Claim>,
}

impl Desk {
    /// The thread's, which has none while one of its streams reads: then a new one.
    pub(crate) fn take() -> Box<Self> {
        DESK.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Gives it to the next stream of the thread.
    pub(crate) fn put(mut self: Box<Self>) {
        self.block.clear();
        self.tray.clear();
        if self.spare.ready.capacity() * size_of::<Claim>() > KEPT {
            self.spare.ready = Vec::new();
        }
        // A thread that ends has no use for it.
        let _ = DESK.try_with(|desk| desk.set(Some(self)));
    }
}

/// Something that takes memory only while it isn't empty: the memory is lent by the desk.
#[derive(Clone, Debug)]
pub(crate) struct Lent<T>(Option<Box<T>>);

/// What can be lent.
pub(crate) trait Lend: Default + 'static {
    /// One that is empty and has no memory.
    const EMPTY: &'static Self;

    fn is_empty(&self) -> bool;

    /// Its memory, in bytes.
    fn memory(&self) -> usize;
}

impl<T: Lend> Lent<T> {
    /// Takes memory for what will come.
    pub(crate) fn borrow(&mut self, spare: &mut Self) {
        if self.0.is_none() {
            std::mem::swap(self, spare);
        }
    }

    /// Gives the memory back if this is empty.
    pub(crate) fn give_back(&mut self, spare: &mut Self) {
        let own = self.0.take_if(|own| own.is_empty()).filter(|own| own.memory() <= KEPT);
        if spare.0.is_none() {
            spare.0 = own;
        }
    }
}

impl<T> Default for Lent<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Lend> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Lend> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
