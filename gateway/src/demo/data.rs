//! Invented customers: names, numbers and addresses that look real and belong to nobody.

use rusqlite::{Connection, params};

const SCHEMA: &str = "
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, card TEXT, iban TEXT, ssn TEXT, notes TEXT
);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), item TEXT, cents INTEGER);
";

const NAMES: [(&str, &str); 20] = [
    ("Ada", "Bergstrom"),
    ("Bruno", "Castell"),
    ("Clara", "Dietrich"),
    ("Dmitri", "Egorov"),
    ("Elena", "Fontana"),
    ("Farid", "Ghanem"),
    ("Greta", "Holm"),
    ("Hugo", "Iglesias"),
    ("Ines", "Jansen"),
    ("Jonas", "Keller"),
    ("Kavya", "Lal"),
    ("Liam", "Murray"),
    ("Mei", "Nakano"),
    ("Nils", "Olsen"),
    ("Olga", "Petrova"),
    ("Pablo", "Quiroga"),
    ("Rosa", "Silva"),
    ("Stefan", "Toth"),
    ("Uma", "Varma"),
    ("Viktor", "Weiss"),
];
const ITEMS: [&str; 5] = ["desk lamp", "office chair", "monitor arm", "notebook set", "standing desk"];

/// A new database in memory with 20 customers and 40 orders, the same every time.
pub(super) fn database() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    for (index, (first, last)) in (0_u64..).zip(NAMES) {
        let id = index + 1;
        let email = format!("{}.{}@example.com", first.to_lowercase(), last.to_lowercase());
        let card = card(index);
        let notes = match index % 4 {
            0 => format!("Called from {}; wants invoices sent to {email}.", phone(index)),
            1 => format!("Card ending in {} was replaced in May.", &card[12..]),
            2 => "Prefers delivery in the morning.".to_owned(),
            _ => format!("Refund to {} agreed.", iban(index)),
        };
        connection.execute(
            "INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id.cast_signed(),
                format!("{first} {last}"),
                email,
                phone(index),
                card,
                iban(index),
                ssn(index),
                notes
            ],
        )?;
        for order in 0_u64..2 {
            let item = ITEMS[usize::try_from(index + order).unwrap_or_default() % ITEMS.len()];
            connection.execute(
                "INSERT INTO orders (customer, item, cents) VALUES (?1, ?2, ?3)",
                params![id.cast_signed(), item, (1999 + 700 * index + 350 * order).cast_signed()],
            )?;
        }
    }
    Ok(connection)
}

/// The range 555-0100 to 555-0199 is kept for fiction.
fn phone(index: u64) -> String {
    format!("+1 202-555-01{:02}", 10 + index * 3)
}

fn ssn(index: u64) -> String {
    format!("{:03}-{:02}-{:04}", 219 + index * 7, 9 + index, 1009 + index * 211)
}

/// A number of 16 digits, within a range for tests, with its check digit (ISO/IEC 7812-1, Luhn).
fn card(index: u64) -> String {
    let body = format!("42424242{:07}", 1_000_003 + index * 98_765);
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, 0..=4) => digit * 2,
                (0, _) => digit * 2 - 9,
                _ => digit,
            }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// A German IBAN with its check digits (ISO 13616, mod 97).
fn iban(index: u64) -> String {
    let account = format!("37040044{:010}", 532_013_000 + index * 7_919);
    // "DE00" moved to the end, letters as numbers: D = 13, E = 14.
    let remainder =
        format!("{account}131400").bytes().fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    format!("DE{:02}{account}", 98 - remainder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_pass_their_own_checks() {
        // The well-known examples of both schemes.
        assert_eq!(iban(0), "DE89370400440532013000");
        for index in 0..20 {
            let card = card(index);
            let sum: u32 = (0..)
                .zip(card.bytes().rev())
                .map(|(place, digit)| {
                    let digit = u32::from(digit - b'0') * (1 + place % 2);
                    digit / 10 + digit % 10
                })
                .sum();
            assert_eq!((card.len(), sum % 10), (16, 0), "customer {index}");
        }
    }

    #[test]
    fn the_database_has_twenty_customers_with_two_orders_each() {
        let count = |table: &str| -> i64 {
            let connection = database().unwrap();
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("customers"), count("orders")), (20, 40));
    }
}
