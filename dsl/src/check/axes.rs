//! Representative values: for each field one for every way in which a set of tests can tell its values apart.

use super::worlds::{Channel, Choice, Setting, SqlState};
use crate::fields::{FieldId, FieldType, PROTOCOLS, SQL_PROTOCOLS};
use crate::policy::condition::{Cond, How, Test};
use sluice_engine::PathStep;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// States of the globs of one field that are visited before the values count as not all.
const MOST_STATES: usize = 4_000;

type ByField<'t> = BTreeMap<(usize, Option<String>), Vec<&'t Test>>;

/// The tests of a condition.
pub(crate) fn collect<'c>(condition: &'c Cond, out: &mut Vec<&'c Test>) {
    match condition {
        Cond::All(parts) | Cond::Any(parts) => parts.iter().for_each(|part| collect(part, out)),
        Cond::Test(test) => out.push(test),
        Cond::Const(_) => {}
    }
}

/// What is varied: for each field that is tested, the values that the tests tell apart.
pub(crate) struct Axes {
    pub(crate) axes: Vec<Vec<Choice>>,
    /// So many of the first ones decide which of the others apply.
    pub(crate) structure: usize,
    /// The axis that decides a test.
    pub(crate) of: HashMap<*const Test, usize>,
    /// True where the values are all that the tests can tell apart.
    pub(crate) complete: bool,
}

/// The axes of these tests, the ones first on which others depend. `channels` asks for every kind of MCP message, whether
/// a test speaks of one or not.
pub(crate) fn axes(tests: &[&Test], setting: Setting, channels: bool) -> Axes {
    let mut by_field = ByField::new();
    for test in tests {
        // Two names of one fact.
        let field = if test.field == FieldId::SqlVerbs { FieldId::SqlVerb } else { test.field };
        let path = test.path.as_ref().map(|path| format!("{path:?}"));
        by_field.entry((field as usize, path)).or_default().push(test);
    }
    let info = |field: usize| &crate::fields::FIELDS[field];
    let sql = by_field.keys().any(|(field, _)| info(*field).name.starts_with("sql."));
    let mcp = channels || by_field.keys().any(|(field, _)| info(*field).protocols == ["mcp"]);
    let mut complete = true;
    let mut all: Vec<(Vec<&Test>, Vec<Choice>)> = Vec::new();
    let tests_of = |field: FieldId| by_field.get(&(field as usize, None)).cloned().unwrap_or_default();
    all.push((tests_of(FieldId::Protocol), protocols(&tests_of(FieldId::Protocol))));
    if mcp || (sql && setting.decoded) {
        let tests = tests_of(FieldId::McpMethod);
        let choices = kinds(&tests, &mut complete);
        all.push((tests, choices));
    }
    if sql {
        let unparsable = setting.unparsable.then_some(SqlState::Unparsable);
        let states = [Some(SqlState::Parsed), unparsable, Some(SqlState::None)];
        all.push((Vec::new(), states.into_iter().flatten().map(Choice::Sql).collect()));
    }
    let structure = all.len();
    let mut arguments = 0;
    for ((field, _), tests) in &by_field {
        let info = info(*field);
        let choices = match (info.id, info.kind) {
            (FieldId::Protocol | FieldId::McpMethod, _) => continue,
            (id, FieldType::Enum(words)) => {
                let words = by_vector(tests, words.iter().map(|w| (*w).to_owned()));
                words.into_iter().map(|word| Choice::Text(id, Some(word))).collect()
            }
            (id, FieldType::Enums(words)) => {
                let words = by_vector(tests, words.iter().map(|w| (*w).to_owned()));
                let sets = subsets(tests, &words, &mut complete);
                sets.into_iter().map(|set| Choice::Texts(id, set)).collect()
            }
            (id, FieldType::Texts) => {
                let texts = texts(tests, &mut complete);
                let sets = subsets(tests, &texts, &mut complete);
                sets.into_iter().map(|set| Choice::Texts(id, set)).collect()
            }
            (id, FieldType::Number | FieldType::Bytes) => {
                numbers(id, tests).into_iter().map(|n| Choice::Number(id, n)).collect()
            }
            (_, FieldType::Flag) => vec![Choice::Flag(true), Choice::Flag(false)],
            (_, FieldType::Argument) => {
                let Some(path) = tests[0].path.clone() else { continue };
                arguments += 1;
                // Through a wildcard there may be many values, and paths may meet.
                complete &= arguments == 1 && path.steps.iter().all(|step| matches!(step, PathStep::Key(_)));
                let texts = texts(tests, &mut complete).into_iter().map(Some);
                texts.chain([None]).map(|text| Choice::Argument(path.clone(), text)).collect()
            }
            (id, FieldType::Text) => {
                let optional = !matches!(id, FieldId::Target | FieldId::UserId | FieldId::ToolName)
                    && !matches!(id, FieldId::ResourceUri | FieldId::PromptName);
                let texts = texts(tests, &mut complete).into_iter().map(Some);
                texts.chain(optional.then_some(None)).map(|text| Choice::Text(id, text)).collect()
            }
        };
        all.push((tests.clone(), choices));
    }
    let of = all
        .iter()
        .enumerate()
        .flat_map(|(index, (tests, _))| tests.iter().map(move |test| (std::ptr::from_ref::<Test>(test), index)));
    let of = of.collect();
    Axes { axes: all.into_iter().map(|(_, choices)| choices).collect(), structure, of, complete }
}

fn protocols(tests: &[&Test]) -> Vec<Choice> {
    let mut seen = BTreeSet::new();
    let kinds = PROTOCOLS.iter().filter(|protocol| {
        let kind = (**protocol == "mcp", SQL_PROTOCOLS.contains(protocol));
        seen.insert((kind, vector(tests, protocol)))
    });
    kinds.map(|protocol| Choice::Text(FieldId::Protocol, Some((*protocol).to_owned()))).collect()
}

/// Kinds of MCP messages with the methods that tests tell apart.
fn kinds(tests: &[&Test], complete: &mut bool) -> Vec<Choice> {
    let mut out: Vec<Choice> = [
        (Channel::Tool, &["tools/call"][..]),
        (Channel::Resource, &["resources/read", "resources/subscribe", "resources/unsubscribe", "completion/complete"]),
        (Channel::Prompt, &["prompts/get", "completion/complete"]),
    ]
    .into_iter()
    .flat_map(|(channel, methods)| {
        let methods = by_vector(tests, methods.iter().map(|m| (*m).to_owned()));
        methods.into_iter().map(move |method| Choice::Channel(channel, Some(method)))
    })
    .collect();
    let other = by_vector(tests, std::iter::once("tools/list".to_owned()).chain(texts(tests, complete)));
    out.extend(other.into_iter().map(|method| Choice::Channel(Channel::Other, Some(method))));
    out.push(Choice::Channel(Channel::Other, None));
    out
}

/// Which of the tests a text passes, negation left aside.
fn vector(tests: &[&Test], text: &str) -> Vec<bool> {
    tests.iter().map(|test| test.how.holds(text)).collect()
}

/// One text for each vector.
fn by_vector(tests: &[&Test], texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(vector(tests, text))).collect()
}

/// The same where no test has a glob: lists may be long, so each word is looked up and not compared with all others.
fn by_lists(tests: &[&Test], texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut lists: HashMap<&str, BTreeSet<usize>> = HashMap::new();
    for (index, test) in tests.iter().enumerate() {
        if let How::AnyOf(words) = &test.how {
            for word in words {
                lists.entry(word).or_default().insert(index);
            }
        }
    }
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(lists.get(text.as_str()).cloned().unwrap_or_default())).collect()
}

/// One set for each union of vectors, the empty set last.
fn subsets(tests: &[&Test], texts: &[String], complete: &mut bool) -> Vec<Vec<String>> {
    const MOST_TEXTS: usize = 8;
    *complete &= texts.len() <= MOST_TEXTS;
    let texts = &texts[..texts.len().min(MOST_TEXTS)];
    let mut sets: Vec<Vec<String>> = (1..1_usize << texts.len())
        .map(|set| texts.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, t)| t.clone()).collect())
        .collect();
    sets.sort_by_key(Vec::len);
    let mut seen = BTreeSet::new();
    // A comparison that relaxes asks every word, so which words are there counts, and not which tests one of them passes.
    let every = tests.iter().any(|test| test.every || matches!(test.field, FieldId::SqlVerb | FieldId::SqlVerbs));
    sets.retain(|set| {
        let each: BTreeSet<Vec<bool>> = set.iter().map(|text| vector(tests, text)).collect();
        let union = (0..tests.len()).map(|i| each.iter().any(|vector| vector[i])).collect::<Vec<_>>();
        seen.insert(if every { each } else { BTreeSet::from([union]) })
    });
    sets.push(Vec::new());
    sets
}

/// Numbers around each number that is compared with.
fn numbers(field: FieldId, tests: &[&Test]) -> Vec<f64> {
    let mut out = vec![1.0, 0.0];
    for test in tests {
        if let How::Number(_, with) = test.how {
            out.extend([with.floor() - 1.0, with.floor(), with.ceil(), with.ceil() + 1.0]);
        }
    }
    let most = if field == FieldId::TimeHour { 23.0 } else { f64::MAX };
    out.retain(|number| (0.0..=most).contains(number));
    let mut seen = BTreeSet::new();
    out.retain(|number| seen.insert(*number as u64));
    out
}

/// A part of a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Many,
}

/// One text for each vector of the tests. Texts alone tell only themselves apart from all others; globs are followed
/// together as automata.
fn texts(tests: &[&Test], complete: &mut bool) -> Vec<String> {
    let mut patterns: Vec<Vec<Part>> = Vec::new();
    let mut plain: Vec<String> = vec!["other".into()];
    for test in tests {
        match &test.how {
            How::AnyOf(words) => plain.extend(words.iter().cloned()),
            How::Glob(globs) => {
                for glob in globs {
                    plain.push(glob.replace(['*', '?'], "x"));
                    plain.push(glob.replace('*', "").replace('?', "x"));
                    patterns.push(glob.chars().map(part).collect());
                }
            }
            How::Number(..) | How::Flag => {}
        }
    }
    let globs = patterns.len();
    if globs > 0 {
        let words = tests.iter().filter_map(|test| if let How::AnyOf(words) = &test.how { Some(words) } else { None });
        patterns.extend(words.flatten().map(|word| word.chars().map(Part::Char).collect()));
    }
    // A text like none that is named.
    let mut fresh = "other".to_owned();
    let named: HashSet<&str> = plain[1..].iter().map(String::as_str).collect();
    while named.contains(fresh.as_str()) {
        fresh.push('x');
    }
    plain[0] = fresh;
    let plain = plain.into_iter().filter(|text| !text.is_empty());
    let found = if globs == 0 { by_lists(tests, plain) } else { by_vector(tests, plain) };
    let mut seen: BTreeSet<Vec<bool>> = found.iter().map(|text| vector(tests, text)).collect();
    let mut out = found;
    if globs > 0 {
        let (more, all) = words_of(&patterns);
        *complete &= all;
        out.extend(more.into_iter().filter(|text| seen.insert(vector(tests, text))));
    }
    if seen.insert(vector(tests, "")) {
        out.push(String::new());
    }
    out
}

fn part(c: char) -> Part {
    match c {
        '*' => Part::Many,
        '?' => Part::One,
        c => Part::Char(c),
    }
}

/// A shortest text for each state that the patterns can reach together, and whether all were visited.
fn words_of(patterns: &[Vec<Part>]) -> (Vec<String>, bool) {
    type State = Vec<BTreeSet<usize>>;
    let mut alphabet: BTreeSet<char> =
        patterns.iter().flatten().filter_map(|part| if let Part::Char(c) = part { Some(*c) } else { None }).collect();
    // One character stands for all that no pattern names.
    alphabet.extend(('a'..='z').find(|c| !alphabet.contains(c)));
    let close = |pattern: &[Part], mut places: BTreeSet<usize>| {
        for (place, part) in pattern.iter().enumerate() {
            if places.contains(&place) && *part == Part::Many {
                places.insert(place + 1);
            }
        }
        places
    };
    let start: State = patterns.iter().map(|pattern| close(pattern, BTreeSet::from([0]))).collect();
    let mut seen: HashMap<State, ()> = HashMap::from([(start.clone(), ())]);
    let mut queue = VecDeque::from([(start, String::new())]);
    let mut out = Vec::new();
    while let Some((state, text)) = queue.pop_front() {
        for c in &alphabet {
            let step = |(pattern, places): (&Vec<Part>, &BTreeSet<usize>)| {
                let next = places.iter().filter_map(|place| match pattern.get(*place) {
                    Some(Part::Many) => Some(*place),
                    Some(Part::One) => Some(place + 1),
                    Some(Part::Char(expected)) if expected == c => Some(place + 1),
                    _ => None,
                });
                close(pattern, next.collect())
            };
            let next: State = patterns.iter().zip(&state).map(step).collect();
            if seen.contains_key(&next) {
                continue;
            }
            if seen.len() >= MOST_STATES {
                return (out, false);
            }
            seen.insert(next.clone(), ());
            let text = format!("{text}{c}");
            out.push(text.clone());
            queue.push_back((next, text));
        }
    }
    (out, true)
}
