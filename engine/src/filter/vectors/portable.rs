//! Plain code, for every machine: the reference of the others.

use super::{DEPTH, Groups, Part, READY, STEP, Which, Wide};

#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Wide for Portable {
    type Views = [u8; READY];

    #[inline(always)]
    fn views(self) -> Self::Views {
        [0; READY]
    }

    #[inline(always)]
    fn prepare(self, text: &Part, at: usize, views: &mut Self::Views) {
        views[at * STEP..][..STEP].copy_from_slice(&text[..STEP]);
    }

    #[inline(always)]
    fn look<F: FnMut(usize, usize, u64, &Which) -> bool>(
        self,
        groups: &Groups,
        text: &mut Self::Views,
        steps: usize,
        tell: &mut F,
    ) -> bool {
        let mut which = [0; STEP];
        for step in 0..steps {
            // A stretch is longer by a step than the places that are looked at.
            let bytes = &text[step * STEP..][..STEP + DEPTH];
            for (at, group) in groups.all.iter().enumerate() {
                let mut places = 0;
                for (place, which) in which.iter_mut().enumerate() {
                    let mut buckets = u8::MAX;
                    for (table, byte) in group.exact[..group.bytes].iter().zip(&bytes[place..]) {
                        buckets &= table[usize::from(*byte)];
                        if buckets == 0 {
                            break;
                        }
                    }
                    *which = buckets;
                    places |= u64::from(buckets != 0) << place;
                }
                if places != 0 && !tell(at, step, places, &which) {
                    return false;
                }
            }
        }
        true
    }
}
