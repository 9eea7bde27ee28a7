//! The Merkle tree over the records (RFC 9162, section 2.1), of which a writer keeps the peaks alone, and the proofs that a record is in it.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// A hash: SHA-256.
pub(crate) type Hash = [u8; 32];

/// The hash of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The hash of a record as a leaf.
pub(crate) fn leaf_hash(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// The hash of the node over two others.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that grows: its size, and the roots of its largest perfect subtrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CompactRange {
    size: u64,
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// The tree over `size` leaves with these peaks, the oldest first; None where there can't be so many.
    pub(crate) fn new(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The number of leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, the oldest first.
    pub(crate) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Two subtrees of one size are one of the next.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Which leaves the hashes of an inclusion proof are over (RFC 9162, section 2.1.3.1), from the leaf's sibling up.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut tree, mut ranges) = (0..size, Vec::new());
    while tree.end - tree.start > 1 {
        // The largest power of two below the number of leaves.
        let half = 1 << (tree.end - tree.start - 1).ilog2();
        let middle = tree.start + half;
        if index < middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The root that a leaf and its inclusion proof give in a tree of this size (RFC 9162, section 2.1.3.2); None where the proof is of
/// no such place.
pub(crate) fn root_of_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let ranges = inclusion_ranges(index, size);
    if ranges.len() != proof.len() {
        return None;
    }
    let root = ranges.iter().zip(proof).fold(leaf, |node, (range, other)| {
        if range.start > index { node_hash(&node, other) } else { node_hash(other, &node) }
    });
    Some(root)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    use super::*;

    #[test]
    fn roots_and_inclusion_proofs_are_those_of_an_independent_implementation() {
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let (mut ours, mut leaves) = (CompactRange::default(), Vec::new());
        let mut nodes = HashMap::<Range<u64>, Hash>::new();
        for size in 0..300_u64 {
            assert_eq!(ours.root()[..], theirs.root().as_bytes()[..], "{size} leaves");
            assert_eq!(CompactRange::new(size, ours.peaks().to_vec()), Some(ours.clone()));
            for index in 0..size {
                let proof: Vec<Hash> = inclusion_ranges(index, size)
                    .into_iter()
                    .map(|range| {
                        *nodes.entry(range.clone()).or_insert_with(|| {
                            let mut tree = CompactRange::default();
                            range.for_each(|leaf| tree.push(leaves[usize::try_from(leaf).unwrap()]));
                            tree.root()
                        })
                    })
                    .collect();
                let expected = theirs.prove_inclusion(usize::try_from(index).unwrap());
                assert_eq!(proof.concat(), expected.as_bytes(), "leaf {index} of {size}");
                let leaf = leaves[usize::try_from(index).unwrap()];
                assert_eq!(root_of_inclusion(leaf, index, size, &proof), Some(ours.root()));
                assert_ne!(root_of_inclusion(leaf, index ^ 1, size, &proof), Some(ours.root()), "another place");
            }
            let record = format!("record {size}").into_bytes();
            leaves.push(leaf_hash(&record));
            ours.push(leaf_hash(&record));
            theirs.push(record);
        }
    }

    #[test]
    fn a_proof_of_another_length_or_of_no_place_proves_nothing() {
        assert_eq!(root_of_inclusion([0; 32], 0, 0, &[]), None);
        assert_eq!(root_of_inclusion([0; 32], 3, 3, &[[1; 32]]), None);
        assert_eq!(root_of_inclusion([0; 32], 0, 3, &[[1; 32]]), None);
        assert_eq!(root_of_inclusion([0; 32], 0, 1, &[[1; 32]]), None);
    }
}
