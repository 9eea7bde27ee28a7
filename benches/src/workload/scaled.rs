//! Generated rules of the kinds that rule sets grow by: prefixed tokens, keys assigned to the name of a service, and the
//! numbers that authorities and companies give out.

use super::Rule;
use crate::rng::Rng;
use sluice_engine::Mask;
use std::collections::HashSet;

/// `count` rules, all different; the first ones are the same for every count.
pub(super) fn rules(count: usize) -> Vec<Rule> {
    let mut rng = Rng::named("scaled rules");
    let mut names = HashSet::new();
    let mut rules = Vec::with_capacity(count);
    while rules.len() < count {
        let name = service(&mut rng);
        if !names.insert(name.clone()) {
            continue;
        }
        let (regex, anchored) = match rules.len() % 4 {
            0 => (format!(r"\b{name}_[A-Za-z0-9]{{{}}}\b", rng.between(20, 48)), true),
            1 => {
                let length = rng.between(24, 40);
                (
                    format!(
                        r#"(?i)\b{name}[a-z0-9_.-]{{0,20}}["' ]{{0,3}}[=:]{{1,2}}["' ]{{0,3}}[a-z0-9_-]{{{length}}}\b"#
                    ),
                    true,
                )
            }
            2 => {
                let (letters, digits, tail) =
                    (rng.text("ABCDEFGHJKLMNPRSTUVWXYZ", 2), rng.between(6, 9), rng.text("ABCDEFGHX", 3));
                (format!(r"\b{letters}[ -]?[0-9]{{{digits}}}[{tail}]\b"), false)
            }
            _ => {
                let (a, b, c) = (rng.between(2, 4), rng.between(3, 5), rng.between(2, 4));
                let separator = rng.pick(&["/", r"\.", "-"]);
                (format!(r"\b[0-9]{{{a}}}{separator}[0-9]{{{b}}}{separator}[A-Z]{{{c}}}\b"), false)
            }
        };
        rules.push(Rule { name, regex, validator: None, mask: Mask::redact("[x]"), anchored });
    }
    rules
}

fn service(rng: &mut Rng) -> String {
    const STARTS: &[&str] = &[
        "acu", "blu", "cloud", "data", "ever", "fast", "git", "hash", "info", "jet", "key", "live", "mail", "net",
        "open", "pay", "quick", "rapid", "shop", "trade", "uni", "vault", "web", "zen", "alpha", "bright", "clear",
        "deep", "edge", "form", "green", "home",
    ];
    const ENDS: &[&str] = &[
        "ally", "base", "craft", "desk", "flare", "fy", "grid", "hub", "io", "kit", "lane", "ly", "mint", "nest",
        "ops", "pad", "ream", "stack", "works", "zoom",
    ];
    format!("{}{}", rng.pick(STARTS), rng.pick(ENDS))
}
