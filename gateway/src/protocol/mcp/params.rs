//! Headers that repeat arguments of a tool's call (`Mcp-Param-*`, revision 2026-07-28).
//!
//! Which argument a header repeats stands in the tool's definition, which the gateway doesn't keep. It need not: a header
//! may say nothing that the arguments don't say, so that whoever acts on it acts on what the rules have seen.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Number, Value};

use super::headers::{HeaderError, PARAM_PREFIX, decode, encode};

/// A header that repeats an argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    name: HeaderName,
    /// The places among the arguments that say the same, as JSON pointers (RFC 6901).
    places: Vec<String>,
}

/// The headers that repeat arguments.
///
/// # Errors
/// A [`HeaderError`] where one can't be read, is given twice, or says what no argument says.
pub(crate) fn repeated(headers: &HeaderMap, arguments: &Value) -> Result<Vec<Repeated>, HeaderError> {
    const ANY: &str = "mcp-param-*";
    let mut found = Vec::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
        let mut values = headers.get_all(name).iter();
        let text = values.next().and_then(|value| value.to_str().ok()).and_then(decode);
        let (Some(text), None) = (text, values.next()) else { return Err(HeaderError::Unreadable(ANY)) };
        let mut places = Vec::new();
        find(arguments, &text, String::new(), &mut places);
        if places.is_empty() {
            return Err(HeaderError::Mismatch(ANY));
        }
        found.push(Repeated { name: name.clone(), places });
    }
    Ok(found)
}

impl Repeated {
    /// Lets the header say what the arguments say after masking. Where several said the same before and one of them was
    /// masked, the header is masked.
    pub(crate) fn follow(self, headers: &mut HeaderMap, before: &Value, after: &Value) {
        let changed = |place: &&String| before.pointer(place) != after.pointer(place);
        let Some(place) = self.places.iter().find(changed) else { return };
        match after.pointer(place).and_then(text_of).map(|text| HeaderValue::from_str(&encode(&text))) {
            Some(Ok(value)) => drop(headers.insert(self.name, value)),
            // What is no scalar any more, or no header's value, isn't repeated.
            _ => drop(headers.remove(self.name)),
        }
    }
}

fn find(value: &Value, text: &str, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            find(value, text, format!("{place}/{name}"), places);
        }),
        // The specification lets no element of a list be repeated.
        Value::Array(_) | Value::Null => {}
        Value::String(said) => places.extend((said == text).then_some(place)),
        Value::Bool(said) => places.extend((said.to_string() == text).then_some(place)),
        Value::Number(said) => places.extend(is_same(said, text).then_some(place)),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The same number: `42` and `42.0` are, and long integers are compared digit by digit.
fn is_same(number: &Number, text: &str) -> bool {
    let integer = |text: &str| {
        let whole = text.split_once('.').map_or(text, |(whole, rest)| match rest.bytes().all(|byte| byte == b'0') {
            true => whole,
            false => text,
        });
        whole.parse::<i128>().ok()
    };
    match (integer(&number.to_string()), integer(text)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => text.parse::<f64>().is_ok_and(|other| number.as_f64() == Some(other)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn says(value: &str, arguments: &Value) -> bool {
        repeated(&headers(&[("mcp-param-x", value)]), arguments).is_ok()
    }

    #[test]
    fn a_header_says_what_an_argument_says_or_is_refused() {
        let arguments = json!({ "region": "eu", "place": { "a/b": "wörld" }, "n": 42, "big": 9_007_199_254_740_993_i64,
            "f": 0.5, "yes": true, "none": null, "list": ["in a list"] });
        for value in ["eu", "=?base64?d8O2cmxk?=", "42", "42.0", "9007199254740993", "0.5", "5e-1", "true"] {
            assert!(says(value, &arguments), "{value}");
        }
        for value in
            ["us", "EU", "", "43", "42.5", "9007199254740992", "1", "null", "in a list", "region", "=?base64?!?="]
        {
            assert!(!says(value, &arguments), "{value}");
        }
        assert!(!says("eu", &Value::Null));
        assert_eq!(repeated(&HeaderMap::new(), &Value::Null), Ok(Vec::new()));
        let mut twice = headers(&[("mcp-param-x", "eu")]);
        twice.append("mcp-param-x", HeaderValue::from_static("eu"));
        assert_eq!(repeated(&twice, &arguments), Err(HeaderError::Unreadable("mcp-param-*")));
    }

    #[test]
    fn a_header_follows_the_argument_that_was_masked() {
        let before = json!({ "same": "bob", "mail": "bob", "n": 4111, "region": "eu" });
        let after = json!({ "same": "bob", "mail": "[é]", "n": "****", "region": "eu" });
        let mut headers =
            headers(&[("mcp-param-mail", "bob"), ("mcp-param-n", "4111.0"), ("mcp-param-region", "=?base64?ZXU=?=")]);
        for header in repeated(&headers, &before).unwrap() {
            header.follow(&mut headers, &before, &after);
        }
        assert_eq!(decode(headers["mcp-param-mail"].to_str().unwrap()).unwrap(), "[é]");
        assert_eq!(headers["mcp-param-n"], "****");
        assert_eq!(headers["mcp-param-region"], "=?base64?ZXU=?=", "what isn't masked stays as it was written");
    }
}
