//! Values that a pattern matches, made from its expression. They are candidates: whether they match is for the engine to
//! say. The same pattern always gives the same values.

use regex_syntax::hir::{Class, Hir, HirKind};
use sluice_engine::{Matcher, PatternSpec};

/// Values that are wanted of a pattern, and attempts to make them.
const WANTED: usize = 6;
const ATTEMPTS: usize = 60;

/// A few texts that the pattern's expression and validators accept, as far as some were found.
pub(crate) fn values(spec: &PatternSpec) -> Vec<String> {
    let source = match &spec.matcher {
        Matcher::Regex(source) => source,
        Matcher::Words { words, .. } => return words.iter().take(WANTED).cloned().collect(),
        Matcher::Json(_) | Matcher::Column(_) => return Vec::new(),
    };
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let Ok(hir) = parser.parse(source) else { return Vec::new() };
    let mut maker = Maker { state: 0x5eed };
    let mut out: Vec<String> = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut bytes = Vec::new();
        maker.write(&hir, &mut bytes);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if let Some(text) = repaired(spec, text)
            && !out.contains(&text)
        {
            out.push(text);
        }
        if out.len() >= WANTED {
            break;
        }
    }
    out
}

/// The text, or one near it that the validators accept: with other check digits, with a host name that ends as host names do.
pub(crate) fn repaired(spec: &PatternSpec, text: String) -> Option<String> {
    let accepted = |text: &str| spec.validators.iter().all(|validator| validator.accepts(text.as_bytes()));
    if accepted(&text) {
        return Some(text);
    }
    let mut near = Vec::new();
    if let Some(at) = text.rfind(|c: char| c.is_ascii_digit()) {
        near.extend((0..10).map(|digit| format!("{}{digit}{}", &text[..at], &text[at + 1..])));
    }
    if text.is_char_boundary(2) && text.is_char_boundary(4) && text.len() > 4 {
        near.extend((0..100).map(|check| format!("{}{check:02}{}", &text[..2], &text[4..])));
    }
    if let Some((host, _)) = text.rsplit_once('.') {
        near.push(format!("{host}.com"));
    }
    near.into_iter().find(|text| accepted(text))
}

struct Maker {
    state: u64,
}

impl Maker {
    /// A number below `most`, which isn't 0 (Knuth's linear congruential generator: no secret depends on it).
    fn below(&mut self, most: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % most
    }

    fn write(&mut self, hir: &Hir, out: &mut Vec<u8>) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
            HirKind::Class(class) => out.push(self.member(class)),
            HirKind::Capture(capture) => self.write(&capture.sub, out),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part, out)),
            HirKind::Alternation(parts) => {
                let picked = self.below(parts.len());
                self.write(&parts[picked], out);
            }
            HirKind::Repetition(repetition) => {
                let least = repetition.min as usize;
                let room = repetition.max.map_or(2, |most| (most as usize - least).min(2));
                for _ in 0..least + self.below(room + 1) {
                    self.write(&repetition.sub, out);
                }
            }
        }
    }

    /// A letter or digit where the class has one, else a visible character, else its first.
    fn member(&mut self, class: &Class) -> u8 {
        let all: Vec<u8> = match class {
            Class::Bytes(class) => class.ranges().iter().flat_map(|range| range.start()..=range.end()).collect(),
            Class::Unicode(class) => {
                let ascii = class.ranges().iter().filter(|range| range.start().is_ascii());
                ascii.flat_map(|range| range.start() as u8..=(range.end() as u32).min(127) as u8).collect()
            }
        };
        for liked in [u8::is_ascii_alphanumeric as fn(&u8) -> bool, u8::is_ascii_graphic] {
            let some: Vec<u8> = all.iter().copied().filter(liked).collect();
            if !some.is_empty() {
                return some[self.below(some.len())];
            }
        }
        all.first().copied().unwrap_or(b'?')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_engine::Validator;

    #[test]
    fn values_pass_the_validators() {
        let card = PatternSpec::regex("card", r"\b4[0-9]{15}\b").validate(Validator::Luhn);
        let cards = values(&card);
        assert!(!cards.is_empty());
        assert!(cards.iter().all(|card| card.len() == 16 && Validator::Luhn.accepts(card.as_bytes())), "{cards:?}");
        let iban = PatternSpec::regex("iban", r"DE[0-9]{2}[0-9]{18}").validate(Validator::Iban);
        assert!(!values(&iban).is_empty());
    }

    #[test]
    fn every_standard_pattern_has_values() {
        let options = crate::CompileOptions::for_tests();
        let compilation = crate::compile_packs(&["std.pii", "std.secrets"], &options);
        for file in &compilation.files {
            for item in &file.tree.items {
                let crate::syntax::tree::ItemKind::Pattern(pattern) = &item.kind else { continue };
                let crate::syntax::tree::PatternBody::Regex(regex) = &pattern.body else { continue };
                let mut spec = PatternSpec::regex("p", regex.value.clone());
                spec.validators = (pattern.validators.iter())
                    .filter_map(|v| Validator::named(&v.name.value, v.argument.as_ref().map(|a| a.value)))
                    .collect();
                assert!(!values(&spec).is_empty(), "{}", pattern.name.value);
            }
        }
    }
}
