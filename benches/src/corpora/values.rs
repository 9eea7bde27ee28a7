//! Values that the rules find: invented, with check digits that hold.

use crate::rng::Rng;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const HEX: &str = "0123456789abcdef";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const URL_SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Makes one value.
pub type Maker = fn(&mut Rng) -> String;

/// A maker for each rule of the main workload, by the rule's name.
pub const MAKERS: &[(&str, Maker)] = &[
    ("email", |r| format!("{}.{}@{}.example.com", word(r), word(r), word(r))),
    ("phone_us", |r| format!("{}-{}-{}", area(r), area(r), r.digits(4))),
    ("phone_us", |r| format!("({}) {}-{}", area(r), area(r), r.digits(4))),
    ("phone_e164", |r| format!("+49 {} {}", r.digits(3), r.digits(7))),
    ("phone_uk", |r| format!("0{} {} {}", r.digits(3), r.digits(3), r.digits(4))),
    ("phone_de", |r| format!("0{}/{}", r.digits(2), r.digits(7))),
    ("phone_fr", |r| format!("0{}.{}.{}.{}.{}", r.digits(1), r.digits(2), r.digits(2), r.digits(2), r.digits(2))),
    ("phone_jp", |r| format!("0{}-{}-{}", r.digits(1), r.digits(4), r.digits(4))),
    ("us_ssn", |r| format!("{}-{}-{}", r.between(100, 599), r.between(10, 99), r.between(1000, 9999))),
    ("uk_nino", |r| {
        format!(
            "{}{} {} {} {} {}",
            pick(r, "ACEGHJ"),
            pick(r, "BCEGHJ"),
            r.digits(2),
            r.digits(2),
            r.digits(2),
            pick(r, "ABCD")
        )
    }),
    ("passport", |r| format!("passport no: {}{}", pick(r, CAPITALS), r.digits(8))),
    ("birth", |r| format!("date of birth: {}/{}/{}", r.between(1, 28), r.between(1, 12), r.between(1940, 2010))),
    ("location", |r| format!("{}.{}, -{}.{}", r.between(10, 80), r.digits(5), r.between(1, 170), r.digits(5))),
    ("card", |r| luhn(r, &["4111", "5312", "6011"], 16, Some(4))),
    ("card", |r| luhn(r, &["4929", "5555", "2223"], 16, None)),
    ("amex", |r| luhn(r, &["3782", "3437"], 15, None)),
    ("iban", |r| iban(r)),
    ("bitcoin", |r| format!("1{}", r.text(BASE58, 33))),
    ("bitcoin_segwit", |r| format!("bc1q{}", r.text("023456789acdefghjklmnpqrstuvwxyz", 38))),
    ("ethereum", |r| format!("0x{}", r.text(HEX, 40))),
    ("ipv4", |r| format!("{}.{}.{}.{}", r.between(1, 223), r.below(256), r.below(256), r.between(1, 254))),
    ("ipv6", |r| (0..8).map(|_| r.text(HEX, 4)).collect::<Vec<_>>().join(":")),
    ("ipv6_short", |r| format!("2001:db8::{}:{}", r.text(HEX, 4), r.text(HEX, 3))),
    ("mac", |r| (0..6).map(|_| r.text(HEX, 2)).collect::<Vec<_>>().join(":")),
    ("jwt", |r| format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", r.text(URL_SAFE, 120), r.text(URL_SAFE, 43))),
    ("aws_key", |r| format!("AKIA{}", r.text(BASE32, 16))),
    ("aws_secret", |r| format!("aws_secret_access_key = {}", r.text(ALNUM, 40))),
    ("github", |r| format!("ghp_{}", r.text(ALNUM, 36))),
    ("github_fine", |r| format!("github_pat_{}", r.text(ALNUM, 82))),
    ("slack", |r| format!("xoxb-{}-{}-{}", r.digits(12), r.digits(12), r.text(ALNUM, 24))),
    ("slack_hook", |r| {
        format!("https://hooks.slack.com/services/T{}/B{}/{}", r.text(BASE32, 9), r.text(BASE32, 9), r.text(ALNUM, 24))
    }),
    ("stripe", |r| format!("sk_live_{}", r.text(ALNUM, 32))),
    ("google", |r| format!("AIza{}a", r.text(URL_SAFE, 34))),
    ("npm", |r| format!("npm_{}", r.text(ALNUM, 36))),
    ("sendgrid", |r| format!("SG.{}.{}a", r.text(URL_SAFE, 22), r.text(URL_SAFE, 42))),
    ("private_key", |_| "-----BEGIN RSA PRIVATE KEY-----".into()),
    ("bearer", |r| format!("Bearer {}", r.text(ALNUM, 40))),
    ("password", |r| format!("password={}", r.text(ALNUM, 12))),
    ("url_login", |r| format!("postgres://{}:{}@db/orders", word(r), r.text(ALNUM, 12))),
    ("sql_union", |_| "1 UNION ALL SELECT name FROM users".into()),
    ("sql_always", |_| "x' OR 1=1".into()),
    ("sql_stacked", |_| "x'; DROP TABLE orders".into()),
];

/// Any of them.
pub fn any(rng: &mut Rng) -> String {
    let (_, make) = MAKERS[rng.below(MAKERS.len())];
    make(rng)
}

fn word(rng: &mut Rng) -> String {
    let length = rng.between(4, 9);
    rng.text(LETTERS, length)
}

fn pick(rng: &mut Rng, of: &str) -> String {
    rng.text(of, 1)
}

fn area(rng: &mut Rng) -> usize {
    rng.between(212, 989)
}

/// A number of `length` digits whose last makes the sum of ISO/IEC 7812-1 come out, in groups where told.
fn luhn(rng: &mut Rng, starts: &[&str], length: usize, group: Option<usize>) -> String {
    let mut digits = rng.pick(starts).to_owned();
    let rest = length - 1 - digits.len();
    digits.push_str(&rng.digits(rest));
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| match (at % 2, u32::from(byte - b'0')) {
            (0, d) if d > 4 => d * 2 - 9,
            (0, d) => d * 2,
            (_, d) => d,
        })
        .sum();
    digits.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    let Some(group) = group else { return digits };
    let groups: Vec<&str> = (0..length / group).map(|at| &digits[at * group..(at + 1) * group]).collect();
    groups.join(" ")
}

/// A German account number whose check digits make ISO 13616 come out.
fn iban(rng: &mut Rng) -> String {
    let account = rng.digits(18);
    // D, E, 0, 0 as 13, 14, 0, 0 at the end, after ISO 7064 mod 97-10.
    let rest = format!("{account}131400").bytes().fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}
