//! What a client carries back to say which approval its retry is for: the request's identifier, signed by this gateway.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// What every link begins with, which no ticket of a client does.
const LINK: &str = "link1.";

/// What a link lets somebody do: decide once about one request, as the person whom it was sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The request.
    pub approval: String,
    /// Whom it was sent to.
    pub approver: String,
    /// Groups as a member of which they decide.
    pub groups: Vec<String>,
}

impl Tickets {
    /// A link as it is sent.
    pub(super) fn link(&self, link: &Link) -> String {
        let body = BASE64URL_NOPAD.encode(json!(link).to_string().as_bytes());
        let tag = hmac::sign(&self.key, format!("{LINK}{body}").as_bytes());
        format!("{LINK}{body}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    /// What a link says; None where this gateway did not sign it.
    pub(super) fn read_link(&self, text: &str) -> Option<Link> {
        let (signed, tag) = text.rsplit_once('.')?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &tag).ok()?;
        let body = BASE64URL_NOPAD.decode(signed.strip_prefix(LINK)?.as_bytes()).ok()?;
        serde_json::from_slice(&body).ok()
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
    fn a_link_is_no_ticket_and_says_what_it_was_signed_for() {
        let tickets = Tickets::new();
        let link = Link { approval: "ap-1".into(), approver: "grace@x.example".into(), groups: vec!["dba".into()] };
        let text = tickets.link(&link);
        assert_eq!(tickets.read_link(&text), Some(link.clone()));
        assert_eq!((Tickets::new().read_link(&text), tickets.read(&text)), (None, None));
        assert_eq!(tickets.read_link(&tickets.mint("ap-1")), None);
        let other = tickets.link(&Link { approver: "eve@x.example".into(), ..link });
        let (body, tag) = (other.rsplit_once('.').unwrap().0, text.rsplit_once('.').unwrap().1);
        assert_eq!(tickets.read_link(&format!("{body}.{tag}")), None);
    }

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
