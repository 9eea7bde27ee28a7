//! What a client carries back to say which approval its retry is for: the request's identifier, signed by this gateway.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

/// What every ticket begins with, so that a server's own state is not taken for one.
const MARK: &str = "sluice1.";

/// Signs tickets with a key that ends with the process, as the requests themselves do.
#[derive(Debug)]
pub(super) struct Tickets {
    key: hmac::Key,
}

impl Tickets {
    pub(super) fn new() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()) }
    }

    /// A ticket for this request.
    pub(super) fn mint(&self, approval: &str) -> String {
        let tag = hmac::sign(&self.key, approval.as_bytes());
        format!("{MARK}{approval}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    /// The request that a ticket is for; None where this gateway did not sign it.
    pub(super) fn read<'t>(&self, ticket: &'t str) -> Option<&'t str> {
        let (approval, tag) = ticket.strip_prefix(MARK)?.split_once('.')?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&self.key, approval.as_bytes(), &tag).ok()?;
        Some(approval)
    }
}

/// Whether somebody's state is a ticket, signed or not.
#[must_use]
pub fn is_ticket(state: &str) -> bool {
    state.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_whoever_signed_it_and_in_one_spelling() {
        let (tickets, others) = (Tickets::new(), Tickets::new());
        let ticket = tickets.mint("ap-1");
        assert_eq!(tickets.read(&ticket), Some("ap-1"));
        assert!(is_ticket(&ticket) && !is_ticket("eyJzdGVwIjoxfQ"));
        assert_eq!(others.read(&ticket), None);
        for at in 0..ticket.len() {
            let mut forged = ticket.clone().into_bytes();
            forged[at] ^= 1;
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(tickets.read(&forged), None, "{forged}");
        }
    }
}
