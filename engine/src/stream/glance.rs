//! What is known of texts before they are inspected one by one: which of many that stand together may be passed over, and which columns are
//! claimed whole.

use super::desk::Desk;
use super::plan::Plan;
use super::{Column, Stream};
use crate::filter::Starts;
use std::ops::Range;

impl Stream {
    /// True where the rules in force claim every value of a column, whatever it is.
    #[must_use]
    pub fn claims(&self, column: Column<'_>) -> bool {
        !column.selected(&self.inspector.plan.paths).is_empty()
    }

    /// Leaves of `texts` those in which something may begin that the rules in force look for. The others are clean:
    /// [`Stream::text`] would pass each of them as it is. One look at many short texts costs a fraction of a look at each.
    ///
    /// `texts` says where in `bytes` each text stands, from the first to the last, none over another. Around each stands the
    /// end of `bytes` or a byte that is neither a letter nor a digit, such as a tab. For texts of which no pattern claims the whole,
    /// as one for a column does.
    ///
    /// # Panics
    /// If a text stands outside of `bytes`.
    pub fn glance(&self, bytes: &[u8], texts: &mut Vec<Range<u32>>) {
        let plan = &self.inspector.plan;
        if !plan.tells_at_a_glance() {
            return;
        }
        let mut desk = Desk::take();
        let mut glance = Glance { plan, bytes, looked: 0..0, found: &mut desk.block.found, over: 0, percent: None };
        texts.retain(|text| glance.may_begin_in(text.start as usize..text.end as usize));
        desk.put();
    }
}

/// Texts that are gone through in their order.
struct Glance<'a> {
    plan: &'a Plan,
    bytes: &'a [u8],
    /// What was looked at last.
    looked: Range<usize>,
    /// Where candidates may begin in it, counted from its start.
    found: &'a mut Vec<Starts>,
    /// The starts before this one lie before the text.
    over: usize,
    /// The next percent sign, the length of the bytes where there is none.
    percent: Option<usize>,
}

impl Glance<'_> {
    fn may_begin_in(&mut self, text: Range<usize>) -> bool {
        if self.looked.end < text.end {
            let len = self.plan.filter.look(&self.bytes[text.start..], self.found);
            (self.looked, self.over) = (text.start..text.start + len, 0);
            if self.looked.end < text.end {
                // It is longer than one look.
                return true;
            }
        }
        let base = self.looked.start;
        while self.found.get(self.over).is_some_and(|starts| base + (starts.to as usize) < text.start) {
            self.over += 1;
        }
        self.found.get(self.over).is_some_and(|starts| base + (starts.from as usize) < text.end)
            || self.is_encoded(text)
    }

    /// What is percent-encoded must be decoded first.
    fn is_encoded(&mut self, text: Range<usize>) -> bool {
        let next = self.percent.filter(|next| *next >= text.start).unwrap_or_else(|| {
            memchr::memchr(b'%', &self.bytes[text.start..]).map_or(self.bytes.len(), |found| text.start + found)
        });
        self.percent = Some(next);
        next < text.end
    }
}
