//! What must be found, by one pattern at a time, and whether a contender found it.
//!
//! Contenders differ in what they report: the inspector each pattern's leftmost matches that don't overlap, `regex-automata`
//! those of all patterns together, Hyperscan every place where a match ends. All are held against the same reference. Where
//! a contender reports what the reference has, the two must be equal, one for one. Of the others each report must lie in a
//! stretch of text that matches of the reference cover without a gap, and none of these stretches may lack one.

use crate::corpora::Corpus;
use crate::peers::{Contender, Report, Semantics, compile, literals};
use crate::workload::Workload;
use regex_automata::Input;
use sluice_engine::{Format, Validator};

/// What a workload must find in a corpus.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The leftmost matches of each pattern that don't overlap.
    pub matches: Vec<Report>,
    /// The same, of the matches that the validators accept.
    pub valid: Vec<Report>,
    /// Stretches that `matches` cover, as places of start and end, in order.
    stretches: Vec<(u64, u64)>,
    /// The places of matches are those of the text that is searched.
    exact: bool,
}

impl Reference {
    /// Searches the corpus, decoded, for one pattern after another.
    #[must_use]
    pub fn new(workload: &Workload, corpus: &Corpus) -> Self {
        let text = &corpus.decoded[..];
        let (mut matches, mut valid) = (Vec::new(), Vec::new());
        for (pattern, rule) in workload.rules.iter().enumerate() {
            let regex = compile(std::slice::from_ref(&rule.regex));
            let found = each(pattern, text, None, |input| regex.search(&input).map(|m| m.range()));
            match rule.validator {
                None => valid.extend_from_slice(&found),
                some => valid.extend(each(pattern, text, some, |input| regex.search(&input).map(|m| m.range()))),
            }
            matches.extend(found);
        }
        if let Some(words) = literals(workload) {
            let find = |found: aho_corasick::Match| Report {
                pattern: workload.rules.len() as u32,
                start: Some(found.start() as u64),
                end: found.end() as u64,
            };
            let found: Vec<Report> = words.find_iter(text).map(find).collect();
            valid.extend_from_slice(&found);
            matches.extend(found);
        }
        matches.sort_unstable();
        valid.sort_unstable();
        let stretches = stretches(&matches);
        Self { matches, valid, stretches, exact: corpus.format == Format::Raw }
    }

    /// Searches with a contender and holds what it reports against the reference. Gives the number of its reports.
    ///
    /// # Errors
    /// A sentence that says what differs and where, without the text.
    pub fn check(&self, contender: &mut dyn Contender, corpus: &Corpus, chunk: usize) -> Result<u64, String> {
        let semantics = contender.semantics();
        if semantics == Semantics::None || (!self.exact && stretched(semantics)) {
            // A peer that searches JSON as raw bytes reads another text than the inspector, which decodes it.
            return Ok(contender.search(&corpus.bytes, chunk));
        }
        let mut reports = contender.reports(&corpus.bytes, chunk);
        let count = reports.len() as u64;
        reports.sort_unstable();
        match semantics {
            Semantics::EachPattern => self.equal(&reports, &self.matches),
            Semantics::EachValid => self.equal(&reports, &self.valid),
            _ => self.covered(&reports),
        }
        .map(|()| count)
    }

    fn equal(&self, reports: &[Report], wanted: &[Report]) -> Result<(), String> {
        let same = |a: &Report, b: &Report| a.pattern == b.pattern && (!self.exact || a == b);
        if let Some((found, wanted)) = reports.iter().zip(wanted).find(|(a, b)| !same(a, b)) {
            return Err(format!("reports {found:?} where the reference has {wanted:?}"));
        }
        if reports.len() == wanted.len() {
            Ok(())
        } else {
            let longer = if reports.len() > wanted.len() { reports } else { wanted };
            let first = longer[reports.len().min(wanted.len())];
            Err(format!("{} reports, the reference has {}; the first more is {first:?}", reports.len(), wanted.len()))
        }
    }

    fn covered(&self, reports: &[Report]) -> Result<(), String> {
        let mut hit = vec![false; self.stretches.len()];
        for report in reports {
            // The last stretch that starts before the end of the match.
            let at = self.stretches.partition_point(|(start, _)| *start < report.end);
            match at.checked_sub(1).filter(|at| report.end <= self.stretches[*at].1) {
                Some(at) => hit[at] = true,
                None => return Err(format!("reports {report:?} where the reference has nothing")),
            }
        }
        match hit.iter().position(|hit| !hit) {
            Some(at) => Err(format!("reports nothing in {:?}, where the reference has a match", self.stretches[at])),
            None => Ok(()),
        }
    }
}

fn stretched(semantics: Semantics) -> bool {
    matches!(semantics, Semantics::AllPatterns | Semantics::EveryEnd)
}

/// The leftmost matches of one pattern that don't overlap; where a validator refuses one, the search goes on behind its start.
fn each(
    pattern: usize,
    text: &[u8],
    validator: Option<Validator>,
    search: impl Fn(Input<'_>) -> Option<std::ops::Range<usize>>,
) -> Vec<Report> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(range) = search(Input::new(text).range(at..)) {
        if validator.is_some_and(|validator| !validator.accepts(&text[range.clone()])) {
            at = range.start + 1;
            continue;
        }
        at = range.end;
        found.push(Report { pattern: pattern as u32, start: Some(range.start as u64), end: range.end as u64 });
    }
    found
}

fn stretches(matches: &[Report]) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> =
        matches.iter().map(|found| (found.start.unwrap_or(found.end), found.end)).collect();
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let joined = next.0 < last.1;
        if joined {
            last.1 = last.1.max(next.1);
        }
        joined
    });
    spans
}
