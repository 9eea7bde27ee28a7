//! Validators: arithmetic that settles what a regular expression can only suspect.

/// A check on the bytes of a candidate, after its pattern matched. Separators (space, `-`, `.`, `/`) are the
/// validator's to skip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    /// ISO/IEC 7812-1 Luhn checksum over the digits.
    Luhn,
    /// ISO 13616 IBAN: country's length and mod 97 = 1.
    Iban,
    /// United States social security number: area not 000, 666 or 900-999, group not 00, serial not 0000.
    UsSsn,
    /// Telephone number: enough and not too many digits (E.164: 7 to 15), and not a date, an epoch time or one repeated digit.
    Phone,
    /// Shannon entropy of at least this many bits per byte.
    Entropy(f64),
    /// JSON Web Token: the first two parts are base64url of JSON objects.
    Jwt,
    /// A host name's last label is one that the root zone could hold (letters, 2 to 63, or `xn--`).
    Tld,
}

impl Validator {
    /// The name of the validator in the rule language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Luhn => "luhn",
            Self::Iban => "iban",
            Self::UsSsn => "us_ssn",
            Self::Phone => "phone",
            Self::Entropy(_) => "entropy",
            Self::Jwt => "jwt",
            Self::Tld => "tld",
        }
    }

    /// The validator of this name; `argument` is the number in parentheses, where one stands. None for an unknown name or
    /// an argument that doesn't fit.
    #[must_use]
    pub fn named(name: &str, argument: Option<f64>) -> Option<Self> {
        match (name, argument) {
            ("luhn", None) => Some(Self::Luhn),
            ("iban", None) => Some(Self::Iban),
            ("us_ssn", None) => Some(Self::UsSsn),
            ("phone", None) => Some(Self::Phone),
            ("jwt", None) => Some(Self::Jwt),
            ("tld", None) => Some(Self::Tld),
            ("entropy", Some(bits)) if bits > 0.0 && bits <= 8.0 => Some(Self::Entropy(bits)),
            _ => None,
        }
    }

    /// Every name with a usage line, for messages and the reference.
    pub const NAMES: &'static [(&'static str, &'static str)] = &[
        ("luhn", "luhn"),
        ("iban", "iban"),
        ("us_ssn", "us_ssn"),
        ("phone", "phone"),
        ("entropy", "entropy(BITS)"),
        ("jwt", "jwt"),
        ("tld", "tld"),
    ];

    /// True where the candidate, decoded, is valid. Takes time linear in its length.
    #[must_use]
    pub fn accepts(self, value: &[u8]) -> bool {
        match self {
            Self::Luhn => luhn(value),
            Self::Iban => iban(value),
            Self::UsSsn => us_ssn(value),
            Self::Phone => phone(value),
            Self::Entropy(bits) => entropy(value) >= bits,
            Self::Jwt => jwt(value),
            Self::Tld => tld(value),
        }
    }
}

fn digits(value: &[u8]) -> impl DoubleEndedIterator<Item = u32> + '_ {
    value.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0'))
}

fn luhn(value: &[u8]) -> bool {
    let mut sum = 0;
    let mut any = false;
    for (i, d) in digits(value).rev().enumerate() {
        any |= d != 0;
        sum += match (i % 2, d) {
            (0, d) => d,
            (_, d) if d > 4 => d * 2 - 9,
            (_, d) => d * 2,
        };
    }
    any && sum % 10 == 0
}

/// Lengths by country, SWIFT IBAN registry release 99 (December 2024).
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

fn iban(value: &[u8]) -> bool {
    let mut compact = [0u8; 34];
    let mut len = 0;
    for b in value.iter().filter(|b| b.is_ascii_alphanumeric()) {
        if len == compact.len() {
            return false;
        }
        compact[len] = b.to_ascii_uppercase();
        len += 1;
    }
    let compact = &compact[..len];
    if !IBAN_LENGTHS.iter().any(|(country, length)| compact.starts_with(*country) && len == *length) {
        return false;
    }
    let mut rest = 0u32;
    for b in compact[4..].iter().chain(&compact[..4]) {
        rest = match b {
            b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
            _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
        };
    }
    rest == 1
}

fn us_ssn(value: &[u8]) -> bool {
    let mut d = [0u32; 9];
    let mut len = 0;
    for digit in digits(value) {
        if len == 9 {
            return false;
        }
        d[len] = digit;
        len += 1;
    }
    if len != 9 {
        return false;
    }
    let area = d[0] * 100 + d[1] * 10 + d[2];
    let group = d[3] * 10 + d[4];
    let serial = d[5] * 1000 + d[6] * 100 + d[7] * 10 + d[8];
    // 078-05-1120 and 219-09-9999 were printed in advertisements and never belonged to one person.
    area != 0
        && area != 666
        && area < 900
        && group != 0
        && serial != 0
        && (area, group, serial) != (78, 5, 1120)
        && (area, group, serial) != (219, 9, 9999)
        && !d.iter().all(|x| *x == d[0])
}

fn phone(value: &[u8]) -> bool {
    let count = digits(value).count();
    let first = digits(value).next();
    (7..=15).contains(&count) && !digits(value).all(|d| Some(d) == first)
}

fn entropy(value: &[u8]) -> f64 {
    if value.is_empty() {
        return 0.0;
    }
    let mut counts = [0u32; 256];
    for b in value {
        counts[usize::from(*b)] += 1;
    }
    let total = value.len() as f64;
    -counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| {
            let p = f64::from(*c) / total;
            p * p.log2()
        })
        .sum::<f64>()
}

fn jwt(value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b'.');
    let object = |part: Option<&[u8]>| {
        part.and_then(|p| {
            let whole = p.len() - p.len() % 4;
            let head = if p.len() % 4 == 1 { &p[..whole] } else { p };
            data_encoding::BASE64URL_NOPAD.decode(head).ok()
        })
        .is_some_and(|json| json.first() == Some(&b'{') && json.last() == Some(&b'}'))
    };
    object(parts.next()) && object(parts.next())
}

fn tld(value: &[u8]) -> bool {
    let label = value.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let letters = label.iter().all(u8::is_ascii_alphabetic);
    let punycode = label.len() > 4 && label[..4].eq_ignore_ascii_case(b"xn--");
    (2..=63).contains(&label.len()) && (letters || punycode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luhn_takes_valid_cards_with_separators_and_refuses_a_changed_digit_and_zeros() {
        assert!(luhn(b"4111 1111 1111 1111"));
        assert!(luhn(b"3782-822463-10005"));
        assert!(!luhn(b"4111 1111 1111 1112"));
        assert!(!luhn(b"0000 0000 0000 0000"));
    }

    #[test]
    fn iban_checks_country_length_and_checksum() {
        assert!(iban(b"DE89 3704 0044 0532 0130 00"));
        assert!(iban(b"NO9386011117947"));
        assert!(!iban(b"DE89 3704 0044 0532 0130 01"));
        assert!(!iban(b"DE89 3704 0044 0532 0130 0"));
        assert!(!iban(b"ZZ89 3704 0044 0532 0130 00"));
    }

    #[test]
    fn ssn_refuses_areas_never_issued() {
        assert!(us_ssn(b"536-90-4399"));
        for never in ["000-12-3456", "666-12-3456", "912-12-3456", "536-00-4399", "536-90-0000", "078-05-1120"] {
            assert!(!us_ssn(never.as_bytes()), "{never}");
        }
    }

    #[test]
    fn jwt_wants_two_json_objects() {
        assert!(jwt(b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"));
        assert!(!jwt(b"aaaa.bbbb.cccc"));
    }

    #[test]
    fn entropy_is_in_bits_per_byte() {
        assert!((entropy(b"abcd") - 2.0).abs() < 1e-9);
        assert!(entropy(b"aaaa") < 1e-9);
    }

    #[test]
    fn every_listed_name_resolves() {
        for (name, usage) in Validator::NAMES {
            let argument = usage.contains('(').then_some(3.0);
            assert_eq!(Validator::named(name, argument).map(Validator::name), Some(*name));
        }
    }
}
