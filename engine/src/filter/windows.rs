//! Windows of classes: bitmaps of 64 bytes, combined by shifts.

use super::bitmap::{Class, Kernel, Vectors, Wide};
use super::bytes::ByteSet;

/// The most classes of a program that have a bitmap of their own; windows take what is left out as always true.
pub(crate) const MAX_CLASSES: usize = 96;

#[derive(Debug)]
pub(crate) struct Windows {
    vectors: Vectors,
    sets: Vec<ByteSet>,
    classes: Vec<Class>,
    windows: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(Vectors::default())
    }
}

/// A window, as bitmaps to combine.
#[derive(Debug)]
struct Window {
    probe: u32,
    len: u32,
    /// Class and distance from the last byte, rarest first.
    terms: Vec<(u16, u8)>,
}

/// What was computed of a block and of the one before it.
struct Bits {
    known: [[u64; MAX_CLASSES.div_ceil(64)]; 2],
    bits: [[u64; MAX_CLASSES]; 2],
}

impl Windows {
    pub(crate) fn new(vectors: Vectors) -> Self {
        Self { vectors, sets: Vec::new(), classes: Vec::new(), windows: Vec::new() }
    }

    pub(crate) fn add(&mut self, probe: u32, window: &[ByteSet]) {
        let mut terms: Vec<(f64, u16, u8)> = Vec::new();
        for (place, set) in window.iter().enumerate() {
            let class = match self.sets.iter().position(|known| known == set) {
                Some(class) => class,
                None if self.sets.len() < MAX_CLASSES => {
                    self.sets.push(*set);
                    self.classes.push(Class::new(set));
                    self.sets.len() - 1
                }
                None => continue,
            };
            terms.push((set.frequency(), class as u16, (window.len() - 1 - place) as u8));
        }
        terms.sort_by(|a, b| a.0.total_cmp(&b.0));
        let terms = terms.into_iter().map(|(_, class, shift)| (class, shift)).collect();
        self.windows.push(Window { probe, len: window.len() as u32, terms });
        // Windows that begin with the same class stand together: its bitmap is looked at once for all of them.
        self.windows.sort_by_key(|window: &Window| window.terms.first().copied());
    }

    /// Calls `hit` with each probe and the place of its window; stops where that gives false, and gives false itself.
    pub(crate) fn look(&self, text: &[u8], hit: &mut impl FnMut(u32, usize) -> bool) -> bool {
        if self.windows.is_empty() {
            return true;
        }
        self.vectors.run(Look { windows: self, text, hit })
    }
}

struct Look<'a, H> {
    windows: &'a Windows,
    text: &'a [u8],
    hit: &'a mut H,
}

impl<H: FnMut(u32, usize) -> bool> Kernel for Look<'_, H> {
    type Output = bool;

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) -> bool {
        let mut bits = Bits { known: Default::default(), bits: [[0; MAX_CLASSES]; 2] };
        let mut padded = [0u8; 64];
        let mut before: &[u8; 64] = &[0; 64];
        let (blocks, rest) = self.text.as_chunks::<64>();
        let mut at = 0;
        for block in blocks {
            if !look_at(self.windows, wide, block, before, at, at != 0, u64::MAX, &mut bits, self.hit) {
                return false;
            }
            before = block;
            at += 64;
        }
        if rest.is_empty() {
            return true;
        }
        padded[..rest.len()].copy_from_slice(rest);
        let valid = u64::MAX >> (64 - rest.len());
        look_at(self.windows, wide, &padded, before, at, at != 0, valid, &mut bits, self.hit)
    }
}

/// The bitmap of a class over a block, computed where it isn't known.
#[inline(always)]
fn bitmap<W: Wide>(windows: &Windows, wide: W, bits: &mut Bits, which: usize, class: u16, block: &[u8; 64]) -> u64 {
    let class = usize::from(class);
    if bits.known[which][class / 64] >> (class % 64) & 1 == 0 {
        bits.known[which][class / 64] |= 1 << (class % 64);
        bits.bits[which][class] = wide.bitmap(block, &windows.classes[class]);
    }
    bits.bits[which][class]
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the state of one loop, inlined into it")]
fn look_at<W: Wide>(
    windows: &Windows,
    wide: W,
    block: &[u8; 64],
    before: &[u8; 64],
    at: usize,
    continues: bool,
    valid: u64,
    bits: &mut Bits,
    hit: &mut impl FnMut(u32, usize) -> bool,
) -> bool {
    let now = at / 64 % 2;
    bits.known[now] = Default::default();
    if !continues {
        bits.known[1 - now] = [u64::MAX; MAX_CLASSES.div_ceil(64)];
        bits.bits[1 - now] = [0; MAX_CLASSES];
    }
    for window in &windows.windows {
        let mut ends = valid;
        for (class, shift) in &window.terms {
            let mut here = bitmap(windows, wide, bits, now, *class, block);
            if *shift > 0 {
                let earlier = bitmap(windows, wide, bits, 1 - now, *class, before);
                here = here << shift | earlier >> (64 - shift);
            }
            ends &= here;
            if ends == 0 {
                break;
            }
        }
        while ends != 0 {
            let end = at + ends.trailing_zeros() as usize + 1;
            ends &= ends - 1;
            // A window with all its classes left out may seem to begin before the text.
            if end >= window.len as usize && !hit(window.probe, end - window.len as usize) {
                return false;
            }
        }
    }
    true
}
