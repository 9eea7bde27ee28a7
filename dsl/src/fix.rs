//! Applies the fixes of messages to texts: those that don't overlap, in rounds, each checked before it counts.

use crate::codes::Code;
use crate::diagnostic::{Applicability, Edit, Severity};
use crate::{Compilation, CompileOptions, compile_texts};
use std::collections::{BTreeMap, BTreeSet};

/// A fix may bring another to light; so many times they are looked for anew.
const ROUNDS: usize = 10;

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The files that changed.
    pub files: Vec<FixedFile>,
    /// Every fix that was applied, in order.
    pub done: Vec<Done>,
    /// How many fixes were not applied because the rules would have more errors with them, or decide something else.
    pub withheld: usize,
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedFile {
    /// Its path.
    pub path: String,
    /// Its text before.
    pub before: String,
    /// Its text after.
    pub after: String,
}

/// A fix that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The file.
    pub path: String,
    /// The line of what it mends, as the file was when it was found.
    pub line: usize,
    /// What it mends.
    pub code: Code,
    /// What it does.
    pub title: String,
}

/// A fix to be applied.
struct Candidate<'c> {
    done: Done,
    edits: &'c [Edit],
}

/// Applies to the given files the fixes that are at most as daring as `most`; of several that only may be meant, none. [`Applicability::Safe`] fixes
/// never change what rules without errors decide, and nothing is applied that brings an error that wasn't there.
#[must_use]
pub fn fix(compilation: &Compilation, options: &CompileOptions, most: Applicability) -> Fixed {
    let before: BTreeMap<String, String> =
        compilation.files.iter().map(|file| (file.source.path.clone(), file.source.text.clone())).collect();
    let mut texts = before.clone();
    let mut out = Fixed::default();
    // A fix that did harm isn't tried again.
    let mut refused: BTreeSet<(String, String)> = BTreeSet::new();
    let mut current = compilation.clone();
    for _ in 0..ROUNDS {
        let candidates = candidates(&current, &texts, most, &refused);
        if candidates.is_empty() {
            break;
        }
        if let Some(next) = applied(&current, &candidates, &texts, options, most) {
            out.done.extend(candidates.into_iter().map(|candidate| candidate.done));
            (texts, current) = next;
            continue;
        }
        // Together they do harm; one by one, what doesn't is kept.
        let alone = candidates
            .iter()
            .find_map(|one| applied(&current, std::slice::from_ref(one), &texts, options, most).map(|n| (one, n)));
        for harmful in &candidates {
            if alone.as_ref().is_some_and(|(good, _)| std::ptr::eq(*good, harmful)) {
                break;
            }
            refused.insert((harmful.done.path.clone(), harmful.done.title.clone()));
            out.withheld += 1;
        }
        let Some((good, next)) = alone else { break };
        out.done.push(good.done.clone());
        (texts, current) = next;
    }
    out.files = texts
        .into_iter()
        .filter_map(|(path, after)| {
            let before = before.get(&path)?.clone();
            (before != after).then_some(FixedFile { path, before, after })
        })
        .collect();
    out
}

/// The fixes that may be applied together: none overlaps another.
fn candidates<'c>(
    compilation: &'c Compilation,
    texts: &BTreeMap<String, String>,
    most: Applicability,
    refused: &BTreeSet<(String, String)>,
) -> Vec<Candidate<'c>> {
    let mut taken: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
    let mut out = Vec::new();
    for diagnostic in compilation.diagnostics.iter().filter(|diagnostic| texts.contains_key(&diagnostic.path)) {
        // Where there are several that may be meant, a person chooses.
        let fix = match &diagnostic.fixes[..] {
            [only] if only.applicability <= most => only,
            [first, ..] if first.applicability == Applicability::Safe => first,
            _ => continue,
        };
        let taken = taken.entry(&diagnostic.path).or_default();
        let overlaps = |edit: &Edit| taken.iter().any(|other| touch(edit, other));
        if refused.contains(&(diagnostic.path.clone(), fix.title.clone())) || fix.edits.iter().any(overlaps) {
            continue;
        }
        taken.extend(&fix.edits);
        let (path, line, code) = (diagnostic.path.clone(), diagnostic.line, diagnostic.code);
        out.push(Candidate { done: Done { path, line, code, title: fix.title.clone() }, edits: &fix.edits });
    }
    out
}

/// Two edits at one place have no order, so they count as overlapping.
fn touch(a: &Edit, b: &Edit) -> bool {
    a.span.start <= b.span.end && b.span.start <= a.span.end
}

/// The texts with these fixes, and what they compile to. None where that is worse than before.
fn applied(
    current: &Compilation,
    candidates: &[Candidate<'_>],
    texts: &BTreeMap<String, String>,
    options: &CompileOptions,
    most: Applicability,
) -> Option<(BTreeMap<String, String>, Compilation)> {
    let mut texts = texts.clone();
    for (path, text) in &mut texts {
        let own = candidates.iter().filter(|candidate| candidate.done.path == *path);
        let mut edits: Vec<&Edit> = own.flat_map(|candidate| candidate.edits).collect();
        edits.sort_by_key(|edit| std::cmp::Reverse(edit.span.start));
        for edit in edits {
            text.replace_range(edit.span.clone(), &edit.text);
        }
    }
    // In the order in which they were given.
    let given = current.files.iter().map(|file| file.source.path.as_str());
    let given: Vec<(&str, &str)> = given.filter_map(|path| Some((path, texts.get(path)?.as_str()))).collect();
    let next = compile_texts(&given, options);
    let errors =
        |compilation: &Compilation| compilation.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    // An item that could not be read may have errors that could not be seen, so only what was told is counted by kind.
    let unread = |compilation: &Compilation| compilation.diagnostics.iter().any(|d| d.code < Code::Language);
    let better = errors(&next) <= errors(current) || unread(current);
    let same = match (&current.policy, &next.policy) {
        (Some(old), Some(new)) => most == Applicability::Suggested || old.same_as(new),
        (Some(_), None) => false,
        (None, _) => true,
    };
    (better && same).then_some((texts, next))
}
