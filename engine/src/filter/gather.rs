//! Windows gathered into buckets, and buckets into groups, so that a look costs least: few look-ups and few hits by chance.

use super::bytes::ByteSet;
use super::vectors::{BUCKETS, DEPTH, Index, PAIRS, STEP, bits, six};
use std::sync::LazyLock;

/// What a hit costs beside a look-up of one place in one group, for [`STEP`] places of text.
const HIT: f64 = 60.0;

/// The most buckets that are compared with each other.
const MOST: usize = 512;

/// The buckets of a group, each by the places of its windows, and how many of a window's places are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    pub(crate) depth: usize,
    pub(crate) buckets: Vec<Vec<usize>>,
}

/// The cheapest groups for these windows, and what a step of a look with them is estimated to cost, in look-ups.
pub(crate) fn gather(index: Index, windows: &[Vec<ByteSet>]) -> (Vec<Gathered>, f64) {
    let mut buckets: Vec<Bucket> =
        windows.iter().enumerate().map(|(at, window)| Bucket::new(index, at, &sets(index, window))).collect();
    if buckets.len() > MOST {
        // Neighbours in this order begin alike.
        buckets.sort_by_key(|bucket| bucket.sets.map(u64::trailing_zeros));
        let many = buckets.len().div_ceil(MOST);
        buckets =
            buckets.chunks(many).map(|near| near[1..].iter().fold(near[0].clone(), |a, b| a.with(index, b))).collect();
    }
    let mut best = grouped(index, &buckets);
    let mut pairs: Vec<Option<(f64, usize)>> = (0..buckets.len()).map(|at| nearest(index, &buckets, at)).collect();
    while buckets.len() > BUCKETS {
        merge(index, &mut buckets, &mut pairs);
        if buckets.len().is_multiple_of(BUCKETS) {
            let next = grouped(index, &buckets);
            if next.1 < best.1 {
                best = next;
            }
        }
    }
    best
}

/// How good a window is that begins with these classes: how often a place of ordinary text looks like it as far as it goes,
/// and what looking for it alone costs. Less is better.
pub(crate) fn quality(index: Index, window: &[ByteSet]) -> Quality {
    let bucket = Bucket::new(index, 0, &sets(index, window));
    Quality { rate: bucket.rates[DEPTH], cost: bucket.cheapest(index).1 }
}

/// See [`quality`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Quality {
    pub(crate) rate: f64,
    pub(crate) cost: f64,
}

type Sets = [u64; DEPTH];

fn sets(index: Index, window: &[ByteSet]) -> Sets {
    std::array::from_fn(|place| if place < most(index) { six(index, window, place) } else { u64::MAX })
}

/// The most places that are looked at.
fn most(index: Index) -> usize {
    match index {
        Index::Bytes => DEPTH,
        Index::Pairs => PAIRS,
    }
}

/// Windows that share a bit.
#[derive(Clone, Debug)]
struct Bucket {
    windows: Vec<usize>,
    /// What may stand at each place, by six bits.
    sets: Sets,
    /// Where in the sample each of them stands.
    stands: Vec<Stands>,
    /// How often a place of ordinary text looks like one of the windows, as far as the first places tell: from none to all.
    rates: [f64; DEPTH + 1],
    /// The last of them, as it is compared with others.
    alone: f64,
}

impl Bucket {
    fn new(index: Index, window: usize, sets: &Sets) -> Self {
        let stands: Vec<Stands> = (0..most(index)).map(|place| Sample::of(index).stands(sets[place], place)).collect();
        Self::made(index, vec![window], *sets, stands)
    }

    fn with(&self, index: Index, other: &Self) -> Self {
        let sets = std::array::from_fn(|place| self.sets[place] | other.sets[place]);
        let both = |(a, b): (&Stands, &Stands)| std::array::from_fn(|part| a[part] | b[part]);
        let stands: Vec<Stands> = self.stands.iter().zip(&other.stands).map(both).collect();
        Self::made(index, [&self.windows[..], &other.windows[..]].concat(), sets, stands)
    }

    fn made(index: Index, windows: Vec<usize>, sets: Sets, stands: Vec<Stands>) -> Self {
        let rates = rates(index, &sets, |place, part| stands[place][part]);
        let alone = if index == Index::Pairs { alone(index, &sets) } else { rates[DEPTH] };
        Self { windows, sets, stands, rates, alone }
    }

    /// How often a bucket of both would be hit.
    fn common(&self, index: Index, other: &Self) -> f64 {
        let sets: Sets = std::array::from_fn(|place| self.sets[place] | other.sets[place]);
        match index {
            Index::Bytes => {
                rates(index, &sets, |place, part| self.stands[place][part] | other.stands[place][part])[DEPTH]
            }
            // There are many of them, and pairs are as good as independent.
            Index::Pairs => alone(index, &sets),
        }
    }

    /// How many places are best looked at, and the cost then.
    fn cheapest(&self, index: Index) -> (usize, f64) {
        cheapest(index, std::slice::from_ref(self))
    }
}

/// The best number of places for a group, and the cost then.
fn cheapest(index: Index, buckets: &[Bucket]) -> (usize, f64) {
    let cost = |depth: usize| {
        let hits: f64 = buckets.iter().map(|bucket| bucket.rates[depth]).sum();
        // The look-ups, and the test whether anything is left.
        depth as f64 + 1.0 + STEP as f64 * HIT * hits
    };
    let costs = (2..=most(index)).map(|depth| (depth, cost(depth)));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((most(index), f64::INFINITY))
}

/// Buckets in groups: those that need the same number of places side by side.
fn grouped(index: Index, buckets: &[Bucket]) -> (Vec<Gathered>, f64) {
    let mut sorted: Vec<(usize, &Bucket)> = buckets.iter().map(|bucket| (bucket.cheapest(index).0, bucket)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.rates[DEPTH].total_cmp(&b.1.rates[DEPTH])));
    let mut cost = 0.0;
    let groups = sorted.chunks(BUCKETS).map(|chunk| {
        let buckets: Vec<Bucket> = chunk.iter().map(|(_, bucket)| (*bucket).clone()).collect();
        let (depth, more) = cheapest(index, &buckets);
        cost += more;
        Gathered { depth, buckets: buckets.into_iter().map(|bucket| bucket.windows).collect() }
    });
    let groups = groups.collect();
    (groups, cost)
}

/// The bucket after this one with which a common one costs least, and how much more is hit then.
fn nearest(index: Index, buckets: &[Bucket], at: usize) -> Option<(f64, usize)> {
    let added = |to: usize| (added(index, &buckets[at], &buckets[to]), to);
    (at + 1..buckets.len()).map(added).min_by(|a, b| a.0.total_cmp(&b.0))
}

fn added(index: Index, a: &Bucket, b: &Bucket) -> f64 {
    a.common(index, b) - a.alone - b.alone
}

/// Makes one of the two buckets that lose least by it. `best` knows the nearest one of each.
fn merge(index: Index, buckets: &mut Vec<Bucket>, best: &mut Vec<Option<(f64, usize)>>) {
    let pairs = best.iter().enumerate().filter_map(|(at, best)| best.map(|(added, to)| (added, at, to)));
    let Some((_, at, to)) = pairs.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
    buckets[at] = buckets[at].with(index, &buckets[to]);
    buckets.remove(to);
    best.remove(to);
    for other in 0..buckets.len() {
        let stale = other == at || best[other].is_some_and(|(_, known)| known == at || known == to);
        if stale {
            best[other] = nearest(index, buckets, other);
            continue;
        }
        if let Some((_, known)) = &mut best[other] {
            *known -= usize::from(*known > to);
        }
        if other < at {
            let more = added(index, &buckets[other], &buckets[at]);
            if best[other].is_none_or(|(known, _)| more < known) {
                best[other] = Some((more, at));
            }
        }
    }
}

/// How often the first places of ordinary text are in these sets, for each number of places: as often as in the sample, and
/// a little more, so that what the sample doesn't have is told apart too.
fn rates(index: Index, sets: &Sets, stands: impl Fn(usize, usize) -> u64) -> [f64; DEPTH + 1] {
    let sample = Sample::of(index);
    let mut rates = [1.0; DEPTH + 1];
    let mut model = 1.0;
    let mut all = [u64::MAX; PARTS];
    for place in 0..DEPTH {
        if place < most(index) {
            all.iter_mut().enumerate().for_each(|(part, all)| *all &= stands(place, part));
            model *= sample.frequency(sets[place]);
        }
        let seen: u32 = all.iter().map(|part| part.count_ones()).sum();
        rates[place + 1] = (f64::from(seen) / PLACES as f64 + model / 2.0).min(1.0);
    }
    rates
}

/// How often ordinary text has something of each set, where one tells nothing of the next.
fn alone(index: Index, sets: &Sets) -> f64 {
    sets[..most(index)].iter().map(|set| Sample::of(index).frequency(*set)).product()
}

/// Ordinary text: prose, logs, JSON plain and escaped, tables, statements, code, headers. It picks what is looked for, never
/// what is found.
const TEXT: &[u8; PLACES + 16] = include_bytes!("sample.txt");

/// The places of the sample that windows are tried at, and the same in words of 64 bits.
const PLACES: usize = 16 << 10;
const PARTS: usize = PLACES / 64;

/// At which places of the sample something stands, as bits.
type Stands = [u64; PARTS];

/// The sample as an index reads it.
struct Sample {
    /// Where each value of six bits stands.
    places: Vec<[u64; PARTS + 1]>,
    frequencies: [f64; 64],
}

impl Sample {
    fn of(index: Index) -> &'static Self {
        static SAMPLES: LazyLock<[Sample; 2]> = LazyLock::new(|| [Index::Bytes, Index::Pairs].map(Sample::new));
        &SAMPLES[usize::from(index == Index::Pairs)]
    }

    fn new(index: Index) -> Self {
        let mut sample = Self { places: vec![[0; PARTS + 1]; 64], frequencies: [0.0; 64] };
        for (at, pair) in TEXT.windows(2).enumerate() {
            let six = index.six(pair[0], pair[1]);
            sample.places[six][at / 64] |= 1 << (at % 64);
            sample.frequencies[six] += 1.0 / (TEXT.len() - 1) as f64;
        }
        sample
    }

    /// The places before which, by this many bytes, something of a set stands.
    fn stands(&self, set: u64, ahead: usize) -> Stands {
        let mut stands = [0; PARTS];
        for six in bits(set) {
            let places = &self.places[six];
            for (part, stands) in stands.iter_mut().enumerate() {
                let next = if ahead == 0 { 0 } else { places[part + 1] << (64 - ahead) };
                *stands |= places[part] >> ahead | next;
            }
        }
        stands
    }

    fn frequency(&self, set: u64) -> f64 {
        bits(set).map(|six| self.frequencies[six]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str) -> Vec<ByteSet> {
        word.bytes().map(|byte| [byte, byte.to_ascii_uppercase()].into_iter().collect()).collect()
    }

    #[test]
    fn every_window_is_in_one_bucket() {
        let words: Vec<Vec<ByteSet>> = (0..700).map(|at| word(&format!("w{at:03}ord"))).collect();
        for index in [Index::Bytes, Index::Pairs] {
            let (groups, cost) = gather(index, &words);
            let mut all: Vec<usize> = groups.iter().flat_map(|group| group.buckets.iter().flatten()).copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..words.len()).collect::<Vec<_>>());
            assert!(groups.iter().all(|group| group.buckets.len() <= BUCKETS));
            assert!(cost.is_finite());
        }
    }

    #[test]
    fn a_few_rare_words_need_one_group_and_few_places() {
        let words = ["xylophone", "quizzical", "jukebox"].map(word);
        let (groups, _) = gather(Index::Pairs, &words);
        assert_eq!(groups.len(), 1);
        assert!(groups[0].depth <= 4, "{}", groups[0].depth);
    }
}
