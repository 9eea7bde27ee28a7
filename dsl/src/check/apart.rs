//! Rules that no session can have at once, seen from what they ask of fields that have one value. A cheap look before a
//! search: most pairs of a large rule set are for different places or people.

use crate::fields::FieldId;
use crate::policy::condition::{Cond, How};

/// Fields that every session has, with one value each.
const SINGLE: [FieldId; 4] = [FieldId::Protocol, FieldId::Target, FieldId::UserId, FieldId::UserKind];

/// The values of each of these fields with which a condition may hold, in order and each once; None: any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions([Option<Vec<String>>; SINGLE.len()]);

impl Sessions {
    pub(crate) fn of(condition: &Cond) -> Self {
        match condition {
            Cond::Test(test) if !test.negated => {
                let mut out = Self::default();
                let place = SINGLE.iter().position(|field| *field == test.field);
                if let (Some(place), How::AnyOf(words)) = (place, &test.how) {
                    let mut words = words.clone();
                    words.sort_unstable();
                    words.dedup();
                    out.0[place] = Some(words);
                }
                out
            }
            Cond::Test(_) | Cond::Const(_) => Self::default(),
            Cond::All(parts) => parts.iter().map(Self::of).fold(Self::default(), |all, part| {
                all.join(part, |one, two| match (one, two) {
                    (Some(one), Some(two)) => {
                        Some(one.into_iter().filter(|word| two.binary_search(word).is_ok()).collect())
                    }
                    (one, two) => one.or(two),
                })
            }),
            Cond::Any(parts) => {
                let either = |one: Option<Vec<String>>, two: Option<Vec<String>>| {
                    let mut words = one?;
                    words.extend(two?);
                    words.sort_unstable();
                    words.dedup();
                    Some(words)
                };
                parts.iter().map(Self::of).reduce(|all, part| all.join(part, either)).unwrap_or_default()
            }
        }
    }

    fn join(self, other: Self, how: impl Fn(Option<Vec<String>>, Option<Vec<String>>) -> Option<Vec<String>>) -> Self {
        let mut other = other.0.into_iter();
        Self(self.0.map(|one| how(one, other.next().flatten())))
    }

    /// True where no session fits both.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|pair| match pair {
            (Some(one), Some(two)) => !meet(one, two),
            _ => false,
        })
    }
}

/// Whether two lists in order have a word in common.
fn meet(one: &[String], two: &[String]) -> bool {
    let (few, many) = if one.len() < two.len() { (one, two) } else { (two, one) };
    match few {
        [] => false,
        [word] if many.len() == 1 => *word == many[0],
        few => few.iter().any(|word| many.binary_search(word).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::condition::Test;
    use crate::policy::condition::Truth;

    fn test(field: FieldId, words: &[&str], negated: bool) -> Cond {
        let how = How::AnyOf(words.iter().map(|word| (*word).to_owned()).collect());
        Cond::Test(Test { field, path: None, negated, every: false, how })
    }

    fn target(words: &[&str]) -> Cond {
        test(FieldId::Target, words, false)
    }

    fn apart(one: &Cond, two: &Cond) -> bool {
        let (one, two) = (Sessions::of(one), Sessions::of(two));
        assert_eq!(one.apart(&two), two.apart(&one));
        one.apart(&two)
    }

    #[test]
    fn conditions_that_ask_for_different_values_of_one_field_are_apart() {
        let a = Cond::All(vec![target(&["x", "a"]), Cond::Const(Truth::True)]);
        assert!(apart(&a, &target(&["b", "c"])));
        assert!(!apart(&a, &target(&["b", "a"])));
        assert!(apart(&Cond::All(vec![target(&["a", "b"]), target(&["b", "c"])]), &target(&["a", "c"])));
        assert!(apart(&Cond::Any(vec![target(&["a"]), target(&["b"])]), &target(&["c"])));
    }

    #[test]
    fn what_can_hold_together_is_never_said_to_be_apart() {
        let group = test(FieldId::UserGroup, &["a"], false);
        // A user has several groups, a negation leaves all others, and one branch of `or` may ask for nothing.
        assert!(!apart(&group, &test(FieldId::UserGroup, &["b"], false)));
        assert!(!apart(&test(FieldId::Target, &["a"], true), &target(&["b"])));
        assert!(!apart(&Cond::Any(vec![target(&["a"]), group]), &target(&["b"])));
        assert!(!apart(&target(&["a"]), &test(FieldId::UserId, &["b"], false)));
        assert!(!apart(&Cond::Const(Truth::Unknown), &target(&["b"])));
    }
}
