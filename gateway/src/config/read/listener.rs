//! `[[listener]]`: addresses for clients that can't say who they are.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use toml::{Spanned, de::DeTable};

use super::{
    super::{ConnectionConfig, ListenerConfig},
    Reader,
};
use std::collections::BTreeMap;

const LISTENER: &[&str] = &[
    "listen",
    "connection",
    "user",
    "groups",
    "purpose",
    "certificate",
    "key",
    "from",
    "proxy_protocol_from",
    "connections",
    "connections_per_address",
    "bytes_per_second",
];

/// The most connections that one listener may be allowed.
const MAX_CONNECTIONS: u32 = 1_000_000;
/// What is allowed where nothing is said.
const CONNECTIONS: u32 = 4096;
const PER_ADDRESS: u32 = 256;

impl Reader<'_> {
    pub(super) fn listeners(
        &mut self,
        root: &DeTable<'_>,
        connections: &BTreeMap<String, ConnectionConfig>,
    ) -> Vec<ListenerConfig> {
        let Some(value) = root.get("listener") else { return Vec::new() };
        let Some(listed) = value.get_ref().as_array() else {
            self.problem(value.span(), "`listener` is a list of tables: write `[[listener]]`");
            return Vec::new();
        };
        let mut listeners = Vec::new();
        for value in listed.iter() {
            let Some(table) = self.table(value, "listener") else { continue };
            self.known(table, LISTENER, "`[[listener]]`");
            listeners.extend(self.listener(table, value.span(), connections));
        }
        listeners
    }

    fn listener(
        &mut self,
        table: &DeTable<'_>,
        span: std::ops::Range<usize>,
        connections: &BTreeMap<String, ConnectionConfig>,
    ) -> Option<ListenerConfig> {
        for name in ["listen", "connection", "user"] {
            if !table.contains_key(name) {
                self.problem(span.clone(), format!("`[[listener]]` needs `{name}`"));
            }
        }
        let listen = self.text_of(table, "listen").and_then(|(text, span)| {
            let address = text.parse::<SocketAddr>().ok();
            if address.is_none() {
                self.problem(span, "`listen` is an address and a port, such as \"127.0.0.1:6379\"");
            }
            address
        });
        let connection = self.text_of(table, "connection").and_then(|(name, span)| {
            match connections.get(&name).map(|connection| &connection.upstream) {
                Some(upstream) if upstream.is_bytes() => Some(name),
                Some(_) => {
                    self.problem(
                        span,
                        format!("`{name}` is no connection of bytes (`tcp` or `agents`): its clients bring a token"),
                    );
                    None
                }
                None => {
                    self.problem(span, format!("there is no `[connection.{name}]`"));
                    None
                }
            }
        });
        let user = self.text_of(table, "user").and_then(|(user, span)| {
            let is_name = !user.is_empty() && user.len() <= 256 && !user.chars().any(char::is_control);
            if !is_name {
                self.problem(span, "`user` is the name that rules and records call those who connect here");
            }
            is_name.then_some(user)
        });
        let mut groups: Vec<String> = self.list_of(table, "groups").into_iter().map(|(text, _)| text).collect();
        groups.sort();
        groups.dedup();
        let purpose = self.text_of(table, "purpose").map(|(text, _)| text);
        if let Some(connection) = connection.as_ref().and_then(|name| connections.get(name)) {
            self.accepted(table, &connection.access);
        }
        let mut from = self.networks(table, "from");
        if !table.contains_key("from") {
            match listen {
                Some(listen) if !listen.ip().is_loopback() => self.problem(
                    span,
                    "`from` says which networks may connect, such as [\"10.1.0.0/16\"]: nothing else tells who it is",
                ),
                _ => {
                    from = vec![
                        network(IpAddr::from([127, 0, 0, 0]), 8),
                        network(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]), 128),
                    ]
                }
            }
        }
        let proxies = self.networks(table, "proxy_protocol_from");
        Some(ListenerConfig {
            connections: self.count_of(table, "connections", MAX_CONNECTIONS).unwrap_or(CONNECTIONS),
            connections_per_address: self
                .count_of(table, "connections_per_address", MAX_CONNECTIONS)
                .unwrap_or(PER_ADDRESS),
            bytes_per_second: self.rate_of(table),
            identity: self.identity(table),
            listen: listen?,
            connection: connection?,
            user: user?,
            groups,
            purpose,
            from,
            proxies,
        })
    }

    /// Networks such as `10.1.0.0/16`, or single addresses.
    fn networks(&mut self, table: &DeTable<'_>, name: &str) -> Vec<IpNet> {
        let listed = self.list_of(table, name);
        if let (Some(value), []) = (table.get(name).filter(|value| value.get_ref().is_array()), &listed[..]) {
            self.problem(Spanned::span(value), format!("`{name}` names no network"));
        }
        let mut networks = Vec::new();
        for (text, span) in listed {
            let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
            match text.parse::<IpNet>().ok().or_else(one) {
                Some(network) => networks.push(network),
                None => self.problem(span, format!("`{text}` is no network such as \"10.1.0.0/16\", and no address")),
            }
        }
        networks
    }
}

fn network(address: IpAddr, bits: u8) -> IpNet {
    // The numbers above are within the lengths of their addresses.
    IpNet::new_assert(address, bits)
}
