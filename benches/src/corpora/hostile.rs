//! Texts that hurt: each feeds one of the filters that make a scan fast, and most hold no match at all.

use super::values;
use crate::rng::Rng;
use crate::workload::Workload;

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Fills about `size` bytes with what `part` appends, again and again.
fn fill(name: &str, size: usize, mut part: impl FnMut(&mut Rng, &mut Vec<u8>)) -> Vec<u8> {
    let mut rng = Rng::named(name);
    let mut out = Vec::with_capacity(size + 1024);
    while out.len() < size {
        part(&mut rng, &mut out);
    }
    out
}

pub(super) fn csv(size: usize) -> Vec<u8> {
    fill("csv", size, |rng, out| {
        let row = format!(
            "{},{},{}.{:02},{},{}.{:04},{},{},{}\n",
            rng.between(1, 9_999_999),
            rng.between(20_200_101, 20_261_231),
            rng.below(99_999),
            rng.below(100),
            rng.below(1_000),
            rng.below(10),
            rng.below(10_000),
            rng.between(100_000_000, 999_999_999),
            rng.below(10),
            rng.between(1_600_000_000, 1_800_000_000),
        );
        out.extend_from_slice(row.as_bytes());
    })
}

pub(super) fn base64(size: usize) -> Vec<u8> {
    fill("base64", size, |rng, out| {
        let bytes: Vec<u8> = (0..8).flat_map(|_| rng.bits().to_le_bytes()).take(57).collect();
        out.extend_from_slice(data_encoding::BASE64.encode(&bytes).as_bytes());
        out.push(b'\n');
    })
}

pub(super) fn random(size: usize) -> Vec<u8> {
    fill("random", size, |rng, out| out.extend_from_slice(&rng.bits().to_le_bytes()))
}

pub(super) fn sql(size: usize) -> Vec<u8> {
    const TABLES: &[&str] = &["ORDERS", "CUSTOMERS", "INVOICES", "STOCK_LEVELS", "SHIPMENTS", "PRICE_LISTS"];
    const COLUMNS: &[&str] =
        &["ORDER_ID", "STATUS", "CREATED_AT", "TOTAL_NET", "REGION", "OWNER_ID", "SKU", "QUANTITY"];
    fill("sql", size, |rng, out| {
        let (a, b, c) = (rng.pick(COLUMNS), rng.pick(COLUMNS), rng.pick(COLUMNS));
        let (table, other) = (rng.pick(TABLES), rng.pick(TABLES));
        let statement = match rng.below(3) {
            0 => format!(
                "SELECT {a}, {b}, COUNT(*) FROM {table} T JOIN {other} O ON T.{c} = O.{c} WHERE T.{a} = 'A{}' AND O.{b} IN ({}, {}) GROUP BY {a}, {b} ORDER BY {c} DESC LIMIT {};\n",
                rng.below(100),
                rng.below(500),
                rng.below(500),
                rng.below(100),
            ),
            1 => format!(
                "UPDATE {table} SET {a} = {}, {b} = 'PENDING' WHERE {c} BETWEEN {} AND {} OR {b} IS NULL;\n",
                rng.below(9_000),
                rng.below(100),
                rng.below(9_000)
            ),
            _ => format!(
                "INSERT INTO {table} ({a}, {b}, {c}) VALUES ({}, 'NORTH', {}.{:02}), ({}, 'SOUTH', NULL);\n",
                rng.below(90_000),
                rng.below(900),
                rng.below(100),
                rng.below(90_000)
            ),
        };
        out.extend_from_slice(statement.as_bytes());
    })
}

pub(super) fn dense(size: usize) -> Vec<u8> {
    fill("dense", size, |rng, out| {
        out.extend_from_slice(b"see <");
        out.extend_from_slice(values::any(rng).as_bytes());
        out.extend_from_slice(b">\n");
    })
}

pub(super) fn one_token(size: usize) -> Vec<u8> {
    fill("one token", size, |rng, out| out.push(b"abcdefghijklmnopqrstuvwxyz"[rng.below(26)]))
}

pub(super) fn near_email(size: usize) -> Vec<u8> {
    fill("near email", size, |rng, out| {
        let length = rng.between(1, 12);
        out.extend_from_slice(rng.text("aeiounrst.", length).as_bytes());
        out.extend_from_slice(rng.pick(&["@ ", "@a ", "@host.", "@a.b@", "@@", "@x-y.1 "]).as_bytes());
        out.extend_from_slice(b" ");
    })
}

pub(super) fn near_digits(size: usize) -> Vec<u8> {
    fill("near digits", size, |rng, out| {
        let near = match rng.below(5) {
            0 => format!("4{} {} {} {} ", rng.digits(3), rng.digits(4), rng.digits(4), rng.digits(3)),
            1 => format!("5{} ", rng.digits(13)),
            2 => format!("{}-{}-{} ", rng.digits(3), rng.digits(2), rng.digits(3)),
            3 => format!("{}-{}-{} ", rng.digits(3), rng.digits(3), rng.digits(3)),
            _ => format!("AT{} {} {} ", rng.digits(2), rng.digits(4), rng.digits(3)),
        };
        out.extend_from_slice(near.as_bytes());
    })
}

pub(super) fn near_address(size: usize) -> Vec<u8> {
    fill("near address", size, |rng, out| {
        let near = match rng.below(4) {
            0 => format!("{}.{}.{}. ", rng.below(256), rng.below(256), rng.below(256)),
            1 => format!("{}.{}.{}.{} ", rng.below(256), rng.below(256), rng.below(256), rng.between(256, 999)),
            2 => format!(
                "{}:{}:{}: ",
                rng.text("0123456789abcdef", 4),
                rng.text("0123456789abcdef", 4),
                rng.text("0123456789abcdef", 2)
            ),
            _ => format!("{0}:{0}:{0}:{0}:{0} ", rng.text("0123456789abcdef", 2)),
        };
        out.extend_from_slice(near.as_bytes());
    })
}

pub(super) fn near_key(size: usize) -> Vec<u8> {
    fill("near key", size, |rng, out| {
        let (prefix, length) = *rng.pick(&[
            &("AKIA", 15),
            &("ASIA", 12),
            &("ghp_", 35),
            &("gho_", 20),
            &("github_pat_", 60),
            &("xoxb-", 20),
            &("sk_live_", 23),
            &("AIza", 34),
            &("npm_", 35),
            &("SG.", 21),
            &("eyJ", 80),
            &("bc1", 24),
            &("0x", 39),
            &("bearer ", 19),
        ]);
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(rng.text(ALNUM, length).as_bytes());
        out.push(b' ');
    })
}

pub(super) fn near_words(size: usize) -> Vec<u8> {
    let words = Workload::all().words;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    fill("near words", size, |rng, out| {
        let word = rng.pick(&words);
        out.extend_from_slice(&word.as_bytes()[..word.len() - 1]);
        out.extend_from_slice(b"# ");
    })
}

pub(super) fn near_login(size: usize) -> Vec<u8> {
    fill("near login", size, |rng, out| {
        let near = rng.pick(&[
            "https://host:80/ ",
            "ftp://user: ",
            "password: - ",
            "pwd = x ",
            "union all ",
            "passwd is ",
            "passport no. - ",
            "or 1 ",
        ]);
        out.extend_from_slice(near.as_bytes());
    })
}
