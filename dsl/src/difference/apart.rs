//! Texts that one of two regular expressions matches whole and the other doesn't: the shortest ones, by walking through both
//! automata at once.

use regex_automata::dfa::Automaton;
use regex_automata::dfa::dense::{self, DFA};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::collections::{HashSet, VecDeque};

/// Memory of one automaton, in bytes.
const MOST_MEMORY: usize = 8 << 20;
/// Pairs of states that are visited.
const MOST_STATES: usize = 100_000;

/// At most so many texts, shorter ones first. Empty where the expressions match the same texts, or where they are too large
/// to be compared so.
pub(super) fn apart(one: &str, other: &str, most: usize) -> Vec<String> {
    let (Some(one), Some(other)) = (automaton(one), automaton(other)) else { return Vec::new() };
    let letters = letters();
    let start = |dfa: &DFA<Vec<u32>>| dfa.start_state_forward(&Input::new("").anchored(Anchored::Yes)).ok();
    let (Some(a), Some(b)) = (start(&one), start(&other)) else { return Vec::new() };
    let mut seen: HashSet<(StateID, StateID)> = HashSet::from([(a, b)]);
    let mut queue = VecDeque::from([(a, b, Vec::new())]);
    let mut out = Vec::new();
    while let Some((a, b, text)) = queue.pop_front() {
        let ends = |dfa: &DFA<Vec<u32>>, state: StateID| dfa.is_match_state(dfa.next_eoi_state(state));
        if ends(&one, a) != ends(&other, b)
            && let Ok(found) = String::from_utf8(text.clone())
        {
            out.push(found);
            if out.len() == most {
                break;
            }
        }
        for letter in &letters {
            let next = (one.next_state(a, *letter), other.next_state(b, *letter));
            let dead = one.is_dead_state(next.0) && other.is_dead_state(next.1);
            // A state that can't go on says nothing of what it would match.
            let quit = one.is_quit_state(next.0) || other.is_quit_state(next.1);
            if !dead && !quit && seen.len() < MOST_STATES && seen.insert(next) {
                let mut longer = text.clone();
                longer.push(*letter);
                queue.push_back((next.0, next.1, longer));
            }
        }
    }
    out
}

fn automaton(source: &str) -> Option<DFA<Vec<u32>>> {
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(regex_automata::dfa::StartKind::Anchored)
        .dfa_size_limit(Some(MOST_MEMORY))
        .determinize_size_limit(Some(MOST_MEMORY));
    let mut builder = dense::Builder::new();
    builder.configure(config).syntax(syntax::Config::new().unicode(false).utf8(false));
    builder.thompson(regex_automata::nfa::thompson::Config::new().utf8(false));
    builder.build(source).ok()
}

/// Bytes in the order in which they are tried: what people read first.
fn letters() -> Vec<u8> {
    let mut all: Vec<u8> = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z').chain(b' '..=b'~').collect();
    all.extend([b'\n', b'\t', b'\r', 0xc3, 0xa9]);
    let mut seen = HashSet::new();
    all.retain(|byte| seen.insert(*byte));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_texts_that_tell_two_expressions_apart_are_found() {
        assert_eq!(apart("EMP-[0-9]{4,6}", "EMP-[0-9]{5,6}", 1), ["EMP-0000"]);
        assert_eq!(apart(r"\bab\b", r"\bab?\b", 9), ["a"]);
        assert_eq!(apart("[a-z]{3}", "[a-y]{3}", 1), ["aaz"]);
    }

    #[test]
    fn two_spellings_of_one_language_are_not_told_apart() {
        assert_eq!(apart("(?:ab|ac)d", "a[bc]d", 9), Vec::<String>::new());
        assert_eq!(apart("x{1,3}", "x|xx|xxx", 9), Vec::<String>::new());
    }
}
