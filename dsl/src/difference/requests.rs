//! Requests for which two versions of a rule may decide differently: made up from both sides' conditions and patterns.

use super::apart::apart;
use crate::check::samples;
use crate::check::search::{Answer, Ask, Search};
use crate::check::trial::{self, Trial};
use crate::check::worlds::World;
use crate::fields::SQL_PROTOCOLS;
use crate::policy::{Decode, Lowered, RequestFacts};
use jiff::civil::Date;
use sluice_engine::{Matcher, PatternSpec};

/// Dates that are tried: today, and the last day of each exception with the day after it.
const MOST_DATES: usize = 8;
/// Values that are tried of a pattern that only one side has.
const MOST_VALUES: usize = 200;
/// Texts that are tried of those that tell two expressions apart.
const MOST_APART: usize = 40;

/// A rule acts on a day: an exception past its date doesn't relax it.
pub(super) fn acts(rule: &Lowered, on: Date) -> Ask<'_> {
    let relaxed = rule.relaxed.iter().filter(|relax| relax.until.is_none_or(|until| on <= until));
    let relaxed = relaxed.map(|relax| Ask::Relaxes(&relax.condition).not());
    Ask::All(std::iter::once(Ask::Holds(&rule.holds)).chain(relaxed).collect())
}

/// The days on which exceptions of these rules begin to make a difference.
pub(super) fn dates(rules: &[&Lowered], today: Date) -> Vec<Date> {
    let mut dates = vec![today];
    for until in rules.iter().flat_map(|rule| &rule.relaxed).filter_map(|relax| relax.until) {
        dates.extend([Some(until), until.tomorrow().ok()].into_iter().flatten().filter(|date| *date >= today));
    }
    dates.sort_unstable();
    dates.dedup();
    dates.truncate(MOST_DATES);
    dates
}

/// A request that answers, SQL that can't be parsed only where there is no other.
pub(super) fn find(search: &Search, ask: &Ask<'_>) -> Answer {
    match search.find(ask) {
        Answer::No => search.find_with_unparsable(ask),
        answer => answer,
    }
}

/// The requests that a world may be asked about; several where tools keep their SQL in several places.
pub(super) fn requests(world: &World, decodes: &[Decode]) -> Vec<RequestFacts> {
    match world.request() {
        Some(request) => vec![request],
        None => decodes.iter().filter_map(|decode| world.request_through(decode)).collect(),
    }
}

/// What is sent, for a rule that has these patterns on one side or the other. Those come first that one side alone has.
pub(super) fn trials(old: &[PatternSpec], new: &[PatternSpec]) -> Vec<Trial> {
    let only = || {
        let gone = old.iter().filter(|spec| !new.contains(spec));
        gone.chain(new.iter().filter(|spec| !old.contains(spec)))
    };
    let mut out = between(old, new);
    out.extend(only().flat_map(boundaries));
    out.extend(trial::of(only()));
    out.extend(trial::of(old.iter().chain(new)));
    out
}

/// Values that one version of a pattern finds and the other doesn't, for patterns that keep their name.
fn between(old: &[PatternSpec], new: &[PatternSpec]) -> Vec<Trial> {
    let mut out = Vec::new();
    for before in old {
        for after in new.iter().filter(|after| after.name == before.name) {
            let (Matcher::Regex(one), Matcher::Regex(other)) = (&before.matcher, &after.matcher) else { continue };
            if one == other {
                continue;
            }
            for text in apart(one, other, MOST_APART) {
                // Check digits are made right where one of the sides asks for them.
                let near = before.near.iter().chain(&after.near).find_map(|near| near.words.first());
                let near = near.map(|word| format!(" {word}")).unwrap_or_default();
                let repaired = [before, after].into_iter().filter_map(|spec| samples::repaired(spec, text.clone()));
                out.extend(repaired.map(|text| Trial { text: format!("{text}{near}"), column: None }));
            }
        }
    }
    out
}

/// What two versions of a pattern may tell apart: each word, each column, a value with and without each word near it.
fn boundaries(spec: &PatternSpec) -> Vec<Trial> {
    let plain = |text: String| Trial { text, column: None };
    let mut out = Vec::new();
    match &spec.matcher {
        Matcher::Words { words, .. } => {
            out.extend(words.iter().cloned().map(plain));
            out.extend(words.iter().map(|word| plain(word.to_uppercase())));
        }
        Matcher::Column(names) => {
            for name in names {
                out.push(Trial { text: "any value".to_owned(), column: Some(name.clone()) });
                out.push(plain(serde_json::json!({ name.as_str(): "any value" }).to_string()));
            }
        }
        Matcher::Regex(_) | Matcher::Json(_) => {}
    }
    if let Some(near) = &spec.near {
        let bare = PatternSpec { near: None, ..spec.clone() };
        for value in trial::of([&bare]).into_iter().skip(1) {
            out.extend(near.words.iter().map(|word| plain(format!("{word} {}", value.text))));
            // Far enough that one window reaches, and a smaller one doesn't.
            let gap = " ".repeat(near.within.saturating_sub(1).min(4096));
            out.extend(near.words.iter().take(1).map(|word| plain(format!("{word}{gap}{}", value.text))));
            out.push(value);
        }
    }
    out.truncate(MOST_VALUES);
    out
}

/// What is sent to a database so that a value is part of it: the statement of the request, with the value in a string.
pub(super) fn statement(request: &RequestFacts, value: &str) -> String {
    let value = value.replace('\'', "''");
    match &request.sql {
        Some(sql) => format!("{sql} /* '{value}' */"),
        None => format!("SELECT '{value}'"),
    }
}

/// True where the session speaks SQL.
pub(super) fn native(world: &World) -> bool {
    SQL_PROTOCOLS.contains(&world.session.protocol.as_str())
}
