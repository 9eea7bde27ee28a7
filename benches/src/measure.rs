//! Interleaved rounds: in each every contender runs once, so that what the machine does meanwhile hurts all alike.

use crate::peers::Contender;
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

/// The times of one contender, a round each.
#[derive(Clone, Debug)]
pub struct Times {
    /// The contender.
    pub name: String,
    /// Processor time of the thread, in seconds.
    pub seconds: Vec<f64>,
}

/// Median, least and most of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// The spread of at least one figure.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self { median: figures[figures.len() / 2], least: figures[0], most: figures[figures.len() - 1] }
    }
}

impl Times {
    /// How many times as fast as `other` this one is, from pairs of one round.
    #[must_use]
    pub fn against(&self, other: &Self) -> Spread {
        Spread::of(self.seconds.iter().zip(&other.seconds).map(|(ours, theirs)| theirs / ours).collect())
    }

    /// MiB in a second, for a text of so many bytes.
    #[must_use]
    pub fn speed(&self, bytes: usize) -> Spread {
        Spread::of(self.seconds.iter().map(|seconds| bytes as f64 / f64::from(1 << 20) / seconds).collect())
    }
}

/// Runs all contenders `rounds` times over the text.
///
/// # Errors
/// A sentence, where a contender doesn't report as often as it must.
pub fn rounds(
    contenders: &mut [(Box<dyn Contender>, u64)],
    text: &Bytes,
    chunk: usize,
    rounds: usize,
) -> Result<Vec<Times>, String> {
    let mut times: Vec<Times> =
        contenders.iter().map(|(peer, _)| Times { name: peer.name().to_owned(), seconds: Vec::new() }).collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Each round another one starts.
            let at = (turn + round) % contenders.len();
            let (contender, wanted) = &mut contenders[at];
            let start = processor_time();
            let found = contender.search(text, chunk);
            times[at].seconds.push(processor_time() - start);
            if found != *wanted {
                let name = contender.name();
                return Err(format!(
                    "{name} reports {found} matches in chunks of {chunk} bytes, {wanted} when it was checked"
                ));
            }
        }
    }
    Ok(times)
}

/// Processor time of this thread in seconds: the work of neighbours on the machine is not in it.
#[must_use]
pub fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
