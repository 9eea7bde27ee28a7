//! `[tunnel]`, where agents connect, and the targets of connections of kind `tcp`.

use std::net::SocketAddr;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    super::{DEFAULT_TUNNEL, TunnelConfig, TunnelLimits},
    Reader,
};
use crate::tls::ServerIdentity;

const TUNNEL: &[&str] = &[
    "listen",
    "certificate",
    "key",
    "client_ca_file",
    "client_crl_file",
    "client",
    "streams",
    "streams_per_identity",
    "connections_per_identity",
    "connections_per_address",
    "handshakes",
    "bytes_per_second",
    "http3",
];

/// The most streams that one connection may be allowed: each may hold what its window allows.
const MAX_STREAMS: u32 = 1024;
/// The most of anything else that is counted.
const MAX_COUNT: u32 = 1_000_000;
/// Slower than this, a message of a usual size would take seconds.
const MIN_RATE: u32 = 16 * 1024;

impl Reader<'_> {
    pub(super) fn tunnel(&mut self, root: &DeTable<'_>) -> Option<TunnelConfig> {
        let value = root.get("tunnel")?;
        let table = self.table(value, "tunnel")?;
        self.known(table, TUNNEL, "`[tunnel]`");
        let listen = match self.text_of(table, "listen") {
            Some((text, span)) => text.parse::<SocketAddr>().map_err(|_| {
                self.problem(span, "`listen` is an address and a port, such as \"0.0.0.0:7701\"");
            }),
            None => Ok(DEFAULT_TUNNEL),
        };
        let default = TunnelLimits::default();
        let limits = TunnelLimits {
            streams: self.count_of(table, "streams", MAX_STREAMS).unwrap_or(default.streams),
            streams_per_identity: self
                .count_of(table, "streams_per_identity", MAX_COUNT)
                .unwrap_or(default.streams_per_identity),
            connections_per_identity: self
                .count_of(table, "connections_per_identity", MAX_COUNT)
                .unwrap_or(default.connections_per_identity),
            connections_per_address: self
                .count_of(table, "connections_per_address", MAX_COUNT)
                .unwrap_or(default.connections_per_address),
            handshakes: self.count_of(table, "handshakes", MAX_COUNT).unwrap_or(default.handshakes),
            bytes_per_second: self.rate_of(table),
        };
        let listen = listen.ok();
        let is_local = listen.is_none_or(|listen| listen.ip().is_loopback());
        // Nobody else gets there: one that is made will do.
        let is_made = is_local && !table.contains_key("certificate") && !table.contains_key("key");
        let identity = if is_made { None } else { self.certificate(table, value.span()) };
        let certificates = self.client_certificates(table, "tunnel.client");
        let http3 = self.http3(table);
        Some(TunnelConfig { listen: listen?, identity, certificates, limits, http3 })
    }

    fn http3(&mut self, table: &DeTable<'_>) -> bool {
        let asked = self.bool_of(table, "http3").unwrap_or(false);
        if asked && !cfg!(feature = "http3") {
            let span = table.get("http3").map_or(0..0, Spanned::span);
            self.problem(span, "this program was built without HTTP/3: build it with the feature `http3`");
        }
        asked
    }

    fn certificate(&mut self, table: &DeTable<'_>, span: std::ops::Range<usize>) -> Option<ServerIdentity> {
        let (chain, key) = (self.text_of(table, "certificate"), self.text_of(table, "key"));
        for name in ["certificate", "key"] {
            if !table.contains_key(name) {
                self.problem(span.clone(), format!("`{name}` is missing in `[tunnel]`: it names a file in PEM"));
            }
        }
        let ((chain, span), (key, _)) = (chain?, key?);
        let read = ServerIdentity::read_private(&self.base.join(&chain), &self.base.join(&key));
        read.map_err(|error| self.problem(span, error.to_string())).ok()
    }

    /// `bytes_per_second`.
    pub(super) fn rate_of(&mut self, table: &DeTable<'_>) -> Option<u32> {
        let rate = self.count_of(table, "bytes_per_second", u32::MAX);
        if rate.is_some_and(|rate| rate < MIN_RATE) {
            let span = table.get("bytes_per_second").map_or(0..0, Spanned::span);
            self.problem(span, format!("`bytes_per_second` is at least {MIN_RATE}"));
        }
        rate
    }

    /// A number from 1 to `most`.
    pub(super) fn count_of(&mut self, table: &DeTable<'_>, name: &str, most: u32) -> Option<u32> {
        let value = table.get(name)?;
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong_type(value, name, "a number");
            return None;
        };
        // As written: another base, or a sign, is no count.
        let number = number.as_str().replace('_', "").parse().ok().filter(|number| (1..=most).contains(number));
        if number.is_none() {
            self.problem(value.span(), format!("`{name}` is a number from 1 to {most}"));
        }
        number
    }

    /// The target of a connection of kind `tcp`: `name:port`, `address:port`, `[v6]:port`.
    pub(super) fn target(&mut self, table: &DeTable<'_>) -> Option<String> {
        let (text, span) = self.text_of(table, "tcp")?;
        let is_target = text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_host = host.parse::<std::net::Ipv4Addr>().is_ok()
                || host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'))
                    .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
                || url::Host::parse(host).is_ok_and(|host| matches!(host, url::Host::Domain(_)));
            is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !is_target {
            self.problem(span, "`tcp` is a name or an address and a port, such as \"ledger.example.org:6379\"");
            return None;
        }
        Some(text)
    }
}
