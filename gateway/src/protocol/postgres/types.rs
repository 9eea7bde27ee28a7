//! The types of PostgreSQL by their object identifiers (`pg_type.dat`), as far as the way their values are written matters.

use super::read::Reader;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How the values of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Text, in both formats the same.
    Text,
    Json,
    /// JSON; in the binary format behind a version byte.
    Jsonb,
    Bytea,
    /// A signed integer of this many bytes.
    Int(usize),
    Oid,
    Float4,
    Float8,
    Numeric,
    Uuid,
    /// An address with or without its network.
    Inet,
    /// Six or eight bytes.
    Macaddr,
    Date,
    Timestamp,
    /// An array of a type.
    Array(u32),
    /// Nothing that text could hide in: truth values, times of day, geometry.
    Plain,
    /// Of an extension or a user, or seldom.
    Unknown,
}

impl Type {
    pub(super) fn of(oid: u32) -> Self {
        match oid {
            // char, name, text, xml, unknown, bpchar, varchar, cstring, and what names things of the catalog.
            18 | 19 | 25 | 142 | 705 | 1042 | 1043 | 2275 => Self::Text,
            114 => Self::Json,
            3802 => Self::Jsonb,
            17 => Self::Bytea,
            21 => Self::Int(2),
            23 => Self::Int(4),
            20 => Self::Int(8),
            26 => Self::Oid,
            700 => Self::Float4,
            701 => Self::Float8,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            650 | 869 => Self::Inet,
            774 | 829 => Self::Macaddr,
            1082 => Self::Date,
            1114 | 1184 => Self::Timestamp,
            // bool, point … circle, time, interval, timetz, bit, varbit, void, xid, cid, tid, xid8, pg_lsn.
            16 | 600..=604 | 628 | 718 | 1083 | 1186 | 1266 | 1560 | 1562 | 2278 | 27..=29 | 5069 | 3220 => Self::Plain,
            _ => element(oid).map_or(Self::Unknown, Self::Array),
        }
    }

    /// Whether text is a value of this type, as far as a client that reads it could tell.
    pub(super) fn accepts(self, text: &[u8]) -> bool {
        let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        let text = std::str::from_utf8(text).unwrap_or("?");
        match self {
            Self::Text | Self::Json | Self::Jsonb | Self::Bytea | Self::Array(_) | Self::Unknown => true,
            Self::Int(2) => text.parse::<i16>().is_ok(),
            Self::Int(4) => text.parse::<i32>().is_ok(),
            Self::Int(_) => text.parse::<i64>().is_ok(),
            Self::Oid => text.parse::<u32>().is_ok(),
            Self::Numeric => {
                let mut parts = unsigned.splitn(2, |byte| *byte == b'.');
                parts.all(digits)
            }
            Self::Uuid => uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text),
            Self::Float4 | Self::Float8 | Self::Inet | Self::Macaddr | Self::Date | Self::Timestamp | Self::Plain => {
                false
            }
        }
    }

    /// A value in the binary format as text; None where it isn't one of this type, or text doesn't help.
    pub(super) fn render(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Int(2) => Some(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Int(4) => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Int(_) => Some(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Oid => Some(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Float4 => Some(f32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Float8 => Some(f64::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Numeric => numeric(bytes),
            Self::Uuid => Some(uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string()),
            Self::Inet => inet(bytes),
            Self::Macaddr => {
                let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(pairs.join(":"))
            }
            Self::Date => date(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            Self::Timestamp => timestamp(i64::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }

    /// Text as a value in the binary format; None where this type can't take it.
    pub(super) fn encode(self, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        match self {
            Self::Int(2) => Some(text.parse::<i16>().ok()?.to_be_bytes().to_vec()),
            Self::Int(4) => Some(text.parse::<i32>().ok()?.to_be_bytes().to_vec()),
            Self::Int(_) => Some(text.parse::<i64>().ok()?.to_be_bytes().to_vec()),
            Self::Oid => Some(text.parse::<u32>().ok()?.to_be_bytes().to_vec()),
            Self::Uuid => Some(uuid::Uuid::try_parse(text).ok()?.as_bytes().to_vec()),
            _ => None,
        }
    }
}

/// The type of the elements of an array type.
fn element(oid: u32) -> Option<u32> {
    Some(match oid {
        143 => 142,
        199 => 114,
        629 => 628,
        651 => 650,
        719 => 718,
        775 => 774,
        791 => 790,
        1000 => 16,
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1005 => 21,
        1006 => 22,
        1007 => 23,
        1009 => 25,
        1010 => 27,
        1011 => 28,
        1012 => 29,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1017..=1019 => oid - 1017 + 600,
        1021 => 700,
        1022 => 701,
        1027 => 604,
        1028 => 26,
        1040 => 829,
        1041 => 869,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        1263 => 2275,
        1270 => 1266,
        1561 => 1560,
        1563 => 1562,
        2951 => 2950,
        3807 => 3802,
        _ => return None,
    })
}

/// Digits of a numeric beyond this many groups of four are no value that a rule is about, and would only cost.
const MAX_GROUPS: usize = 64;

fn numeric(bytes: &[u8]) -> Option<String> {
    let mut bytes = Reader(bytes::Bytes::copy_from_slice(bytes));
    let (groups, weight) = (bytes.count().ok()?, i32::from(bytes.short().ok()?));
    let (sign, scale) = (bytes.short().ok()?.cast_unsigned(), bytes.count().ok()?);
    if !matches!(sign, 0 | 0x4000) || groups > MAX_GROUPS || weight >= MAX_GROUPS as i32 || scale > 4 * MAX_GROUPS {
        return None;
    }
    let mut digits = Vec::with_capacity(groups);
    for _ in 0..groups {
        digits.push(u16::try_from(bytes.short().ok()?).ok().filter(|group| *group < 10_000)?);
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    if weight < 0 {
        out.push('0');
    }
    for at in 0..=weight {
        let _ = if at == 0 { write!(out, "{}", group(at)) } else { write!(out, "{:04}", group(at)) };
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut at = weight + 1;
        // Leading groups of zeros are not sent.
        (weight + 1..0).for_each(|_| fraction.push_str("0000"));
        at = at.max(0);
        while fraction.len() < scale {
            let _ = write!(fraction, "{:04}", group(at));
            at += 1;
        }
        let _ = write!(out, ".{}", &fraction[..scale]);
    }
    Some(out)
}

fn inet(bytes: &[u8]) -> Option<String> {
    let [family, bits, is_cidr, length, address @ ..] = bytes else { return None };
    let (address, full) = match (family, length, address.len()) {
        (2, 4, 4) => (Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(), 32),
        (3, 16, 16) => (Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_string(), 128),
        _ => return None,
    };
    Some(if *bits == full && *is_cidr == 0 { address } else { format!("{address}/{bits}") })
}

/// Days from 2000-01-01 as `YYYY-MM-DD`.
fn date(days: i64) -> Option<String> {
    let epoch = jiff::civil::date(2000, 1, 1);
    let span = jiff::Span::new().try_days(days).ok()?;
    epoch.checked_add(span).ok().map(|date| date.to_string())
}

/// Microseconds from 2000-01-01 as `YYYY-MM-DD HH:MM:SS…`.
fn timestamp(micros: i64) -> Option<String> {
    let epoch = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
    let span = jiff::Span::new().try_microseconds(micros).ok()?;
    let at = epoch.checked_add(span).ok()?;
    Some(format!("{} {}", at.date(), at.time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(weight: i16, sign: u16, scale: i16, digits: &[i16]) -> Vec<u8> {
        let mut out = (digits.len() as i16).to_be_bytes().to_vec();
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
        digits.iter().for_each(|digit| out.extend(digit.to_be_bytes()));
        out
    }

    #[test]
    fn a_numeric_reads_as_the_server_writes_it() {
        for (bytes, text) in [
            (groups(3, 0, 0, &[4111, 1111, 1111, 1111]), "4111111111111111"),
            (groups(0, 0x4000, 2, &[12, 3400]), "-12.34"),
            (groups(-1, 0, 2, &[500]), "0.05"),
            (groups(-2, 0, 6, &[1200]), "0.000012"),
            (groups(1, 0, 0, &[5]), "50000"),
            (groups(0, 0, 3, &[]), "0.000"),
        ] {
            assert_eq!(Type::Numeric.render(&bytes).as_deref(), Some(text));
        }
        assert_eq!(Type::Numeric.render(&groups(30_000, 0, 0, &[1])), None);
        assert_eq!(Type::Numeric.render(&groups(0, 0xC000, 0, &[])), None);
    }

    #[test]
    fn values_in_the_binary_format_read_as_text() {
        assert_eq!(Type::Inet.render(&[2, 32, 0, 4, 192, 0, 2, 1]).as_deref(), Some("192.0.2.1"));
        assert_eq!(Type::Inet.render(&[2, 24, 1, 4, 192, 0, 2, 0]).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(Type::Date.render(&8_000_i32.to_be_bytes()).as_deref(), Some("2021-11-26"));
        assert_eq!(Type::Timestamp.render(&1_500_000_i64.to_be_bytes()).as_deref(), Some("2000-01-01 00:00:01.5"));
        assert_eq!(Type::Date.render(&i32::MAX.to_be_bytes()), None);
        assert_eq!(Type::Int(8).render(&7_i64.to_be_bytes()).as_deref(), Some("7"));
        assert_eq!(Type::Int(8).render(&7_i32.to_be_bytes()), None);
    }

    #[test]
    fn a_masked_number_stays_one_only_where_it_reads_as_one() {
        assert!(Type::Int(8).accepts(b"5105105105105100"));
        assert!(!Type::Int(8).accepts(b"************1111"));
        assert!(Type::Numeric.accepts(b"-12.50") && !Type::Numeric.accepts(b"1.2.3") && !Type::Numeric.accepts(b""));
        assert_eq!(Type::Int(2).encode(b"70000"), None);
    }
}
