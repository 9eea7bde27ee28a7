//! Clients that show a certificate instead of a token: whom one stands for.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sluice_dsl::UserKind;
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use super::{Identity, claims::MAX_NAME};

/// The issuer of such identities, as records and the deny list have it.
pub const CERTIFICATE_ISSUER: &str = "urn:sluice:client-certificates";

/// Whom certificates with certain names stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedClient {
    /// The certificate's name; a `*` at its end stands for any characters.
    pub name: String,
    /// The groups that they are in, sorted.
    pub groups: Vec<String>,
    /// People or programs.
    pub kind: UserKind,
}

impl CertifiedClient {
    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => self.name == name,
        }
    }
}

/// Who a certificate (DER) stands for, whose chain was verified; None where its name is none of the clients'.
#[must_use]
pub fn certified(certificate: &[u8], clients: &[CertifiedClient]) -> Option<Identity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let (name, email) = name_of(&parsed)?;
    let client = clients.iter().find(|client| client.is(&name))?;
    let expires = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
    Some(Identity {
        issuer: CERTIFICATE_ISSUER.to_owned(),
        user_id: name.clone(),
        subject: name,
        email,
        kind: client.kind,
        groups: client.groups.clone(),
        roles: Vec::new(),
        actors: Vec::new(),
        // The fingerprint: the certificate itself, for the deny list.
        token_id: Some(data_encoding::HEXLOWER.encode(&Sha256::digest(certificate))),
        expires,
    })
}

/// The one name that a certificate is for, and its e-mail where it is that: a URI (SPIFFE), an e-mail, a DNS name, else the common
/// name. A certificate with several names of the kind is for none of them, since nobody could say who acts.
fn name_of(certificate: &X509Certificate<'_>) -> Option<(String, Option<String>)> {
    let mut alternatives = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            alternatives.extend(names.general_names.iter());
        }
    }
    type Kind = for<'a> fn(&GeneralName<'a>) -> Option<&'a str>;
    fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
        if let GeneralName::URI(text) = name { Some(text) } else { None }
    }
    fn mail<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
        if let GeneralName::RFC822Name(text) = name { Some(text) } else { None }
    }
    fn host<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
        if let GeneralName::DNSName(text) = name { Some(text) } else { None }
    }
    let kinds: [(Kind, bool); 3] = [(uri, false), (mail, true), (host, false)];
    for (kind, is_mail) in kinds {
        let names: Vec<&str> = alternatives.iter().filter_map(|name| kind(name)).collect();
        match names[..] {
            [] => {}
            [only] => return is_name(only).then(|| (only.to_owned(), is_mail.then(|| only.to_owned()))),
            [..] => return None,
        }
    }
    let mut names = certificate.subject().iter_common_name();
    let only = names.next()?.as_str().ok()?;
    (names.next().is_none() && is_name(only)).then(|| (only.to_owned(), None))
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(common: &[&str], alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        common.iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn clients() -> Vec<CertifiedClient> {
        let client =
            |name: &str, group: &str, kind| CertifiedClient { name: name.into(), groups: vec![group.into()], kind };
        vec![
            client("spiffe://acme.example/ns/batch/*", "batch", UserKind::Service),
            client("ada@example.org", "people", UserKind::Person),
            client("db.internal", "hosts", UserKind::Service),
        ]
    }

    #[test]
    fn a_certificate_stands_for_the_one_name_that_it_is_for() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let mail = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
        let host = |text: &str| SanType::DnsName(text.try_into().unwrap());
        let batch = "spiffe://acme.example/ns/batch/sa/nightly";
        for (certificate, expected) in [
            (made(&[], vec![uri(batch)]), Some((batch, "batch"))),
            (made(&["db.internal"], vec![uri("spiffe://acme.example/ns/other/sa/x")]), None),
            (made(&["db.internal"], vec![mail("ada@example.org")]), Some(("ada@example.org", "people"))),
            (made(&["db.internal"], vec![]), Some(("db.internal", "hosts"))),
            (made(&["x"], vec![host("db.internal")]), Some(("db.internal", "hosts"))),
            (made(&["x"], vec![host("db.internal"), host("b.internal")]), None),
            (made(&["x"], vec![uri(batch), uri("spiffe://acme.example/ns/batch/sa/b")]), None),
            (made(&["DB.internal"], vec![]), None),
            (made(&[], vec![]), None),
        ] {
            let identity = certified(&certificate, &clients());
            let found = identity.as_ref().map(|identity| (identity.user_id.as_str(), identity.groups[0].as_str()));
            assert_eq!(found, expected);
            if let Some(identity) = identity {
                assert_eq!((identity.issuer.as_str(), identity.token_id.unwrap().len()), (CERTIFICATE_ISSUER, 64));
            }
        }
        assert_eq!(certified(b"no certificate", &clients()), None);
    }
}
