//! Array and row literals in the text format: `{a,"b c",NULL}` and `(1,"b ""c""",)`. Elements are handed out without their
//! quotes and escapes, and put back in quotes where they changed.

/// What stands in the place of an element.
pub(super) enum Element {
    Same,
    Text(Vec<u8>),
    Null,
}

/// Rewrites the elements of a literal; None where none changed. `element` gets the bytes of each without quotes and escapes; the
/// elements of nested arrays too. An error of `element` ends it.
///
/// # Errors
/// `Err(None)`: it is no literal. `Err(Some(_))`: what `element` gave.
pub(super) fn rewrite<E>(
    literal: &[u8],
    mut element: impl FnMut(Vec<u8>) -> Result<Element, E>,
) -> Result<Option<Vec<u8>>, Option<E>> {
    // A lower bound other than one stands before an array: `[0:1]={…}`.
    let start = match literal.first() {
        Some(b'[') => literal.windows(2).position(|pair| pair == b"={").ok_or(None)? + 1,
        _ => 0,
    };
    let is_row = match literal.get(start) {
        Some(b'{') => false,
        Some(b'(') => true,
        _ => return Err(None),
    };
    let mut out: Option<Vec<u8>> = None;
    let mut kept = 0;
    let mut depth = 0_usize;
    let mut at = start;
    while at < literal.len() {
        match literal[at] {
            b'{' if !is_row => depth += 1,
            b'(' if is_row && at == start => depth += 1,
            b'}' if !is_row => depth = depth.checked_sub(1).ok_or(None)?,
            b')' if is_row => depth = depth.checked_sub(1).ok_or(None)?,
            b',' => {}
            _ => {
                let end = end_of(literal, at, is_row).ok_or(None)?;
                let written = &literal[at..end];
                let is_null = !is_row && written.eq_ignore_ascii_case(b"null");
                let changed = if is_null { Element::Same } else { element(plain(written)).map_err(Some)? };
                let replacement = match changed {
                    Element::Same => None,
                    Element::Text(text) => Some(quoted(&text)),
                    // An empty field of a row is NULL.
                    Element::Null => Some(if is_row { Vec::new() } else { b"NULL".to_vec() }),
                };
                if let Some(replacement) = replacement {
                    let out = out.get_or_insert_default();
                    out.extend_from_slice(&literal[kept..at]);
                    out.extend_from_slice(&replacement);
                    kept = end;
                }
                at = end;
                continue;
            }
        }
        at += 1;
        if depth == 0 && at < literal.len() {
            return Err(None);
        }
    }
    if depth > 0 {
        return Err(None);
    }
    Ok(out.map(|mut out| {
        out.extend_from_slice(&literal[kept..]);
        out
    }))
}

/// Where the element that begins here ends; None where it doesn't.
fn end_of(literal: &[u8], from: usize, is_row: bool) -> Option<usize> {
    let mut quoted = false;
    let mut at = from;
    while at < literal.len() {
        match literal[at] {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some(at),
            b'}' if !quoted && !is_row => return Some(at),
            b')' if !quoted && is_row => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// An element without its quotes and escapes.
fn plain(written: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(written.len());
    let mut quoted = false;
    let mut at = 0;
    while at < written.len() {
        match written[at] {
            b'\\' => {
                at += 1;
                out.extend(written.get(at));
            }
            b'"' if quoted && written.get(at + 1) == Some(&b'"') => {
                at += 1;
                out.push(b'"');
            }
            b'"' => quoted = !quoted,
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn seen(literal: &str) -> Vec<String> {
        let mut all = Vec::new();
        let unchanged = rewrite::<Infallible>(literal.as_bytes(), |text| {
            all.push(String::from_utf8(text).unwrap());
            Ok(Element::Same)
        });
        assert_eq!(unchanged, Ok(None), "{literal}");
        all
    }

    fn shout(literal: &str) -> String {
        let changed = rewrite::<Infallible>(literal.as_bytes(), |text| {
            Ok(match text.as_slice() {
                b"keep" => Element::Same,
                b"drop" => Element::Null,
                _ => Element::Text(text.to_ascii_uppercase()),
            })
        });
        String::from_utf8(changed.unwrap().unwrap()).unwrap()
    }

    #[test]
    fn elements_come_without_quotes_and_escapes() {
        assert_eq!(seen(r#"{a,"b c",NULL,"d\"e\\f",{g}}"#), ["a", "b c", "d\"e\\f", "g"]);
        assert_eq!(seen(r#"(1,"b ""c""",,"x\"y")"#), ["1", "b \"c\"", "x\"y"]);
        assert_eq!(seen("[0:1]={a,b}"), ["a", "b"]);
        assert_eq!(seen("{}"), Vec::<String>::new());
        assert_eq!(seen("()"), Vec::<String>::new());
    }

    #[test]
    fn what_changed_is_quoted_and_the_rest_stays_as_it_was() {
        assert_eq!(shout(r#"{keep,"a\"b", drop,{c}}"#), r#"{keep,"A\"B"," DROP",{"C"}}"#);
        assert_eq!(shout("{keep,drop}"), "{keep,NULL}");
        assert_eq!(shout("(keep,drop,x,)"), r#"(keep,,"X",)"#);
    }

    #[test]
    fn what_is_no_literal_is_told() {
        for text in ["{a", "a}", "{a}}", "(a", "(a)b", r#"{"a}"#, "", "[1,2)", "{a}b"] {
            assert!(matches!(rewrite::<Infallible>(text.as_bytes(), |_| Ok(Element::Same)), Err(None)), "{text}");
        }
    }
}
