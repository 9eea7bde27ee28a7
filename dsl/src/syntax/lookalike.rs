//! Characters that look like those of names and quotes, and aren't.

use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Source};

/// Letters of other scripts with the ASCII letter that they look like (a part of Unicode's confusables.txt).
const LETTERS: &[(&str, char)] = &[
    ("аɑα", 'a'),
    ("Ьƅ", 'b'),
    ("сϲ", 'c'),
    ("ԁ", 'd'),
    ("еҽ", 'e'),
    ("ɡ", 'g'),
    ("һ", 'h'),
    ("іɩι", 'i'),
    ("ј", 'j'),
    ("κк", 'k'),
    ("ӏ", 'l'),
    ("ո", 'n'),
    ("оοо", 'o'),
    ("рρ", 'p'),
    ("ԛ", 'q'),
    ("ѕ", 's'),
    ("υս", 'u'),
    ("νѵ", 'v'),
    ("ԝ", 'w'),
    ("хχ", 'x'),
    ("уγ", 'y'),
    ("АΑ", 'A'),
    ("ВΒ", 'B'),
    ("СϹ", 'C'),
    ("ЕΕ", 'E'),
    ("НΗ", 'H'),
    ("ІΙ", 'I'),
    ("Ј", 'J'),
    ("КΚ", 'K'),
    ("МΜ", 'M'),
    ("Ν", 'N'),
    ("ОΟ", 'O'),
    ("РΡ", 'P'),
    ("Ѕ", 'S'),
    ("ТΤ", 'T'),
    ("ХΧ", 'X'),
    ("УΥ", 'Y'),
    ("Ζ", 'Z'),
    ("“”„‟″", '"'),
];

/// The ASCII character that one looks like; fullwidth forms look like their own.
fn ascii(c: char) -> Option<char> {
    let fullwidth = ('\u{ff01}'..='\u{ff5e}').contains(&c).then(|| u32::from(c) - 0xff01 + 0x21);
    let fullwidth = fullwidth.and_then(char::from_u32);
    fullwidth.or_else(|| LETTERS.iter().find(|(like, _)| like.contains(c)).map(|(_, ascii)| *ascii))
}

/// What is wrong where a character at this place is of no script that names and quotes are written in.
pub(super) fn diagnose(source: &Source, at: usize) -> Option<Diagnostic> {
    let text = source.text.as_str();
    let found = text[at..].chars().next().filter(|c| !c.is_ascii())?;
    let number = u32::from(found);
    if ascii(found) == Some('"') {
        let message = format!("`{found}`, U+{number:04X}, is not a quote of this language");
        let span = at..at + found.len_utf8();
        let fix = Fix::new("write `\"`", Applicability::Suggested, span.clone(), "\"");
        return Some(Diagnostic::new(source, span, Code::Confusable, message).help("write `\"`").fix(fix));
    }
    if !found.is_alphanumeric() {
        return None;
    }
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = at - text[..at].chars().rev().take_while(|c| of_name(*c)).map(char::len_utf8).sum::<usize>();
    let end = at + text[at..].chars().take_while(|c| of_name(*c)).map(char::len_utf8).sum::<usize>();
    let name = &text[start..end];
    let plain: Option<String> = name.chars().map(|c| if c.is_ascii() { Some(c) } else { ascii(c) }).collect();
    let looks = ascii(found).map(|like| format!(" and looks like `{like}`")).unwrap_or_default();
    let message = format!("name `{name}` holds U+{number:04X}, which is no ASCII letter{looks}");
    let diagnostic = Diagnostic::new(source, at..at + found.len_utf8(), Code::Confusable, message);
    Some(match plain {
        Some(plain) => diagnostic.help(format!("write `{plain}`")).fix(Fix::new(
            format!("write `{plain}`"),
            Applicability::Suggested,
            start..end,
            plain,
        )),
        None => diagnostic.help("names are ASCII letters, digits and `_`"),
    })
}

/// A name with the characters that are easily taken for each other made the same.
pub(crate) fn skeleton(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '0' | 'O' => 'o',
            '1' | 'I' => 'l',
            c => c,
        })
        .collect()
}
