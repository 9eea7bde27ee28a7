//! JSON paths and column names, followed while a document passes.

use crate::pattern::{JsonPath, PathStep};
use crate::program::PatternId;

/// What selects a value.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Path(JsonPath),
    /// A member of one of these names, at any depth.
    Column(Vec<String>),
}

/// All paths of a plan as one small automaton: a bit for each place in each path.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathSet {
    places: Vec<Place>,
    /// Bits that hold at a root.
    roots: Bits,
}

#[derive(Clone, Debug)]
struct Place {
    pattern: PatternId,
    /// None: the path ends here, and what it selects includes all that stands below.
    step: Option<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    AnyCaseKey(Vec<String>),
    Index(usize),
    Any,
    Descend,
}

/// Which places hold at one depth of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, bit: usize) {
        if self.0.len() <= bit / 64 {
            self.0.resize(bit / 64 + 1, 0);
        }
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(at, word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
    }

    /// No place holds.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn add(&mut self, other: &Self) {
        other.iter().for_each(|bit| self.set(bit));
    }
}

/// A step down in a document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Down<'a> {
    /// Into the member of this name.
    Key(&'a [u8]),
    /// Into the element of this place.
    Index(usize),
}

/// The longest member name that a path can name, in bytes.
pub(crate) const MAX_KEY: usize = 256;

impl PathSet {
    pub(crate) fn new(targets: impl Iterator<Item = (PatternId, Target)>) -> Self {
        let mut set = Self::default();
        for (pattern, target) in targets {
            let steps: Vec<Step> = match target {
                Target::Column(names) => vec![Step::Descend, Step::AnyCaseKey(names)],
                Target::Path(path) => path
                    .steps
                    .into_iter()
                    .map(|step| match step {
                        PathStep::Key(key) => Step::Key(key),
                        PathStep::Index(index) => Step::Index(index),
                        PathStep::Any => Step::Any,
                        PathStep::Descend => Step::Descend,
                    })
                    .collect(),
            };
            let begin = set.places.len();
            set.places.extend(steps.into_iter().map(|step| Place { pattern, step: Some(step) }));
            set.places.push(Place { pattern, step: None });
            let mut roots = std::mem::take(&mut set.roots);
            set.hold(&mut roots, begin);
            set.roots = roots;
        }
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn roots(&self) -> Bits {
        self.roots.clone()
    }

    pub(crate) fn add_roots(&self, bits: &mut Bits) {
        bits.add(&self.roots);
    }

    /// A place holds, and with `..` the one after it.
    fn hold(&self, bits: &mut Bits, place: usize) {
        bits.set(place);
        if let Some(Step::Descend) = self.places[place].step {
            self.hold(bits, place + 1);
        }
    }

    /// The places that hold one step down.
    pub(crate) fn down(&self, from: &Bits, step: Down<'_>) -> Bits {
        let mut to = Bits::default();
        for place in from.iter() {
            let next = match (&self.places[place].step, step) {
                (None | Some(Step::Descend), _) => place,
                (Some(Step::Any), _) => place + 1,
                (Some(Step::Key(name)), Down::Key(key)) if name.as_bytes() == key => place + 1,
                (Some(Step::AnyCaseKey(names)), Down::Key(key))
                    if names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(key)) =>
                {
                    place + 1
                }
                (Some(Step::Index(wanted)), Down::Index(index)) if *wanted == index => place + 1,
                _ => continue,
            };
            self.hold(&mut to, next);
        }
        to
    }

    /// The patterns whose path ends here or above.
    pub(crate) fn selected(&self, bits: &Bits) -> Vec<PatternId> {
        let mut found: Vec<PatternId> = bits
            .iter()
            .filter(|place| self.places[*place].step.is_none())
            .map(|place| self.places[place].pattern)
            .collect();
        found.dedup();
        found
    }

    /// The patterns that a column of this name selects.
    pub(crate) fn columns(&self, name: &str) -> Vec<PatternId> {
        self.places
            .iter()
            .filter(|place| matches!(&place.step, Some(Step::AnyCaseKey(names)) if names.iter().any(|n| n.eq_ignore_ascii_case(name))))
            .map(|place| place.pattern)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(path: &str, steps: &[Down<'_>]) -> bool {
        let set = PathSet::new([(PatternId(0), Target::Path(JsonPath::parse(path).expect("valid")))].into_iter());
        let bits = steps.iter().fold(set.roots(), |bits, step| set.down(&bits, *step));
        !set.selected(&bits).is_empty()
    }

    #[test]
    fn paths_select_what_they_name_and_all_below() {
        let (a, b, one) = (Down::Key(b"a"), Down::Key(b"b"), Down::Index(1));
        assert!(select("$.a.*.b", &[a, one, b]));
        assert!(!select("$.a.*.b", &[a, b]));
        assert!(select("$..b", &[a, one, b]));
        assert!(select("$..b", &[b, a]));
        assert!(select("$.a[1]", &[a, one]));
        assert!(!select("$.a[1]", &[a, Down::Index(2)]));
    }
}
