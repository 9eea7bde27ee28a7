//! What a listener shows to its clients, and which certificates of theirs count in the place of a token.

use toml::de::DeTable;

use super::{super::ClientCertificates, Reader};
use crate::{
    identity::{CertifiedClient, UserKind},
    tls::{Revoked, ServerIdentity, verifier},
};

const CLIENT: &[&str] = &["name", "groups", "kind"];

impl Reader<'_> {
    /// A certificate and its key, from the files that `certificate` and `key` name.
    pub(in crate::config) fn identity(&mut self, table: &DeTable<'_>) -> Option<ServerIdentity> {
        match (self.text_of(table, "certificate"), self.text_of(table, "key")) {
            (Some((certificate, span)), Some((key, _))) => {
                let identity = ServerIdentity::read(&self.base.join(certificate), &self.base.join(key));
                identity.map_err(|error| self.problem(span, error.to_string())).ok()
            }
            (Some((_, span)), None) => {
                self.problem(span, "`certificate` needs `key`, the file of its private key");
                None
            }
            (None, Some((_, span))) => {
                self.problem(span, "`key` needs `certificate`, the file of the certificate");
                None
            }
            (None, None) => None,
        }
    }

    /// `client_ca_file`, `client_crl_file` and the list of clients, which is called `list`: whose certificates count, and whom they
    /// stand for.
    pub(in crate::config) fn client_certificates(
        &mut self,
        table: &DeTable<'_>,
        list: &str,
    ) -> Option<ClientCertificates> {
        let listed = table.get("client");
        match (table.get("client_ca_file"), listed) {
            (Some(file), None) => {
                self.problem(file.span(), format!("`client_ca_file` needs `[[{list}]]`: whom certificates stand for"));
            }
            (None, Some(clients)) => {
                self.problem(
                    clients.span(),
                    format!("`[[{list}]]` needs `client_ca_file`: who vouches for the certificates"),
                );
            }
            _ => {}
        }
        let authorities = self.authorities_of(table, "client_ca_file");
        let revoked = self.text_of(table, "client_crl_file").and_then(|(file, span)| {
            if !table.contains_key("client_ca_file") {
                self.problem(span, "`client_crl_file` needs `client_ca_file`: whose certificates are taken back");
                return None;
            }
            let path = self.base.join(&file);
            let usable = Revoked::read(&path).and_then(|lists| match &authorities {
                Some(authorities) => {
                    verifier(authorities, Some(&lists)).map(drop).map_err(|error| format!("can't be used: {error}"))
                }
                None => Ok(()),
            });
            usable.map_err(|reason| self.problem(span, format!("`client_crl_file`: `{file}` {reason}"))).ok()?;
            Some(path)
        });
        let clients = self.certified(table, list);
        // Without its list, what authorities have taken back would count.
        let is_whole = revoked.is_some() || !table.contains_key("client_crl_file");
        authorities.filter(|_| is_whole).map(|authorities| ClientCertificates { authorities, revoked, clients })
    }

    /// `client_ca_file` in a table of a listener without TLS.
    pub(in crate::config) fn shown_over_tls(&mut self, table: &DeTable<'_>) {
        if let Some(value) = table.get("client_ca_file") {
            self.problem(
                value.span(),
                "`client_ca_file` needs `certificate` and `key`: clients show certificates over TLS alone",
            );
        }
    }

    /// Whom certificates of clients stand for.
    fn certified(&mut self, table: &DeTable<'_>, list: &str) -> Vec<CertifiedClient> {
        let Some(value) = table.get("client") else { return Vec::new() };
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), format!("`client` is a list of tables: write `[[{list}]]`"));
            return Vec::new();
        };
        let mut clients = Vec::new();
        for value in listed.iter() {
            let Some(table) = self.table(value, "client") else { continue };
            self.known(table, CLIENT, &format!("`[[{list}]]`"));
            let name = self.text_of(table, "name").map(|(name, _)| name).filter(|name| !name.is_empty() && name != "*");
            let mut groups: Vec<String> = self.list_of(table, "groups").into_iter().map(|(group, _)| group).collect();
            groups.sort();
            groups.dedup();
            let is_person = self.either(table, "kind", ["service", "person"]) == Some("person");
            let kind = if is_person { UserKind::Person } else { UserKind::Service };
            match name {
                Some(name) => clients.push(CertifiedClient { name, groups, kind }),
                None => self.problem(
                    value.span(),
                    "a client has a `name`: the URI, e-mail, DNS name or common name of its certificate; a `*` at its end stands for any characters",
                ),
            }
        }
        clients
    }
}
