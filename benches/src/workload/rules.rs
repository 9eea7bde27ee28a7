//! The rules of the main workload: personal data and secrets in the forms that people and issuers give them.

use super::Rule;
use sluice_engine::{Mask, Validator};

/// All rules. None matches across a line feed, and each is bounded.
pub(super) fn all() -> Vec<Rule> {
    let redact = |text: &str| Mask::redact(text);
    let last = |keep_last| Mask::Partial { keep_first: 0, keep_last, with: '*' };
    let digits = || Mask::FormatPreserving { key: "digits".into() };
    vec![
        // People.
        free(
            "email",
            r"\b[A-Za-z0-9._%+-]{1,32}@[A-Za-z0-9.-]{1,63}\.[A-Za-z]{2,8}\b",
            Mask::Hash { key: "email".into() },
        ),
        free("phone_us", r"(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}\b", last(2)),
        free("phone_e164", r"\+[1-9](?:[ .()-]?[0-9]){7,14}\b", last(2)),
        free("phone_uk", r"\b0[1-9][0-9]{2,3} [0-9]{3,4} [0-9]{3,4}\b", last(2)),
        free("phone_de", r"\b0[1-9][0-9]{1,4}/[0-9]{5,8}\b", last(2)),
        free("phone_fr", r"\b0[1-9](?:[ .][0-9]{2}){4}\b", last(2)),
        free("phone_jp", r"\b0[1-9][0-9]{0,2}-[0-9]{2,4}-[0-9]{4}\b", last(2)),
        valid("us_ssn", r"\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b", Validator::UsSsn, digits()),
        free("uk_nino", r"\b[A-CEGHJ-PR-TW-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\b", redact("[nino]")),
        anchored("passport", r"(?i)\bpassport(?: no| number)?[.: ]{1,3}[A-Z0-9]{6,9}\b", redact("[passport]")),
        free(
            "birth",
            r"(?i)\b(?:dob|date of birth|born)[: ]{1,3}[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{4}\b",
            redact("[birth]"),
        ),
        free("location", r"\b[0-9]{1,2}\.[0-9]{4,8}, ?-?[0-9]{1,3}\.[0-9]{4,8}\b", redact("[location]")),
        // Money.
        valid(
            "card",
            r"\b(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6(?:011|5[0-9]{2}))[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b",
            Validator::Luhn,
            last(4),
        ),
        valid("amex", r"\b3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}\b", Validator::Luhn, last(4)),
        valid("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", Validator::Iban, last(2)),
        free("bitcoin", r"\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\b", redact("[wallet]")),
        anchored("bitcoin_segwit", r"\bbc1[a-z0-9]{25,71}\b", redact("[wallet]")),
        free("ethereum", r"\b0x[0-9a-fA-F]{40}\b", redact("[wallet]")),
        // Machines.
        free(
            "ipv4",
            r"\b(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\b",
            redact("[address]"),
        ),
        free("ipv6", r"\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b", redact("[address]")),
        free("ipv6_short", r"\b(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}\b", redact("[address]")),
        free("mac", r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b", redact("[address]")),
        // Keys and tokens.
        anchored(
            "jwt",
            r"\beyJ[A-Za-z0-9_-]{10,60}\.eyJ[A-Za-z0-9_-]{10,250}\.[A-Za-z0-9_-]{10,86}",
            Mask::Tokenize { key: "tokens".into() },
        ),
        anchored("aws_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", redact("[key]")),
        anchored(
            "aws_secret",
            r#"(?i)\baws_?secret_?(?:access_?)?key["' ]{0,3}[=:]["' ]{0,3}[A-Za-z0-9/+]{40}\b"#,
            redact("[key]"),
        ),
        anchored("github", r"\bgh[pousr]_[A-Za-z0-9]{36}\b", redact("[key]")),
        anchored("github_fine", r"\bgithub_pat_[A-Za-z0-9_]{82}\b", redact("[key]")),
        anchored("slack", r"\bxox[abprs]-[0-9]{10,13}-[0-9]{10,13}-[A-Za-z0-9]{24,32}\b", redact("[key]")),
        anchored(
            "slack_hook",
            r"hooks\.slack\.com/services/T[A-Z0-9]{8,10}/B[A-Z0-9]{8,10}/[A-Za-z0-9]{24}\b",
            redact("[key]"),
        ),
        anchored("stripe", r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{24,99}\b", redact("[key]")),
        anchored("google", r"\bAIza[0-9A-Za-z_-]{35}\b", redact("[key]")),
        anchored("npm", r"\bnpm_[A-Za-z0-9]{36}\b", redact("[key]")),
        anchored("sendgrid", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b", redact("[key]")),
        anchored("private_key", r"-----BEGIN (?:RSA |EC |OPENSSH |DSA )?PRIVATE KEY-----", redact("[key]")),
        anchored("bearer", r"(?i)\bbearer [A-Za-z0-9._~+/-]{20,200}", redact("[key]")),
        anchored(
            "password",
            r#"(?i)\b(?:password|passwd|pwd)["']? ?[=:] ?["']?[^ "',;\r\n]{6,64}"#,
            redact("[password]"),
        ),
        anchored(
            "url_login",
            r#"\b[a-z][a-z0-9+.-]{1,15}://[^ :/@"\r\n]{1,64}:[^ /@"\r\n]{1,64}@"#,
            redact("[login]@"),
        ),
        // Attacks.
        anchored("sql_union", r"(?i)\bunion[ \t]{1,4}(?:all[ \t]{1,4})?select\b", redact("[sql]")),
        free(
            "sql_always",
            r#"(?i)\bor[ \t]{1,4}['"]?[0-9]{1,4}['"]?[ \t]{0,2}=[ \t]{0,2}['"]?[0-9]{1,4}\b"#,
            redact("[sql]"),
        ),
        free(
            "sql_stacked",
            r"(?i)'[ \t]{0,4};[ \t]{0,4}(?:drop|delete|insert|update|alter)[ \t]{1,4}[a-z]{3,16}\b",
            redact("[sql]"),
        ),
    ]
}

fn free(name: &str, regex: &str, mask: Mask) -> Rule {
    Rule { name: name.into(), regex: regex.into(), validator: None, mask, anchored: false }
}

fn anchored(name: &str, regex: &str, mask: Mask) -> Rule {
    Rule { anchored: true, ..free(name, regex, mask) }
}

fn valid(name: &str, regex: &str, validator: Validator, mask: Mask) -> Rule {
    Rule { validator: Some(validator), ..free(name, regex, mask) }
}
