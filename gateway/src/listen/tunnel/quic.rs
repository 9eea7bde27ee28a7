//! QUIC's setup: how much may be on its way, and the handshake of the listener as QUIC has it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt, crypto::rustls::QuicServerConfig};
use sluice_client::wire::ALPN;

use crate::{config::TunnelConfig, listen::handshake::Setup};

/// A client that is silent for so long is gone, in milliseconds; ours says something every five seconds.
const IDLE: VarInt = VarInt::from_u32(20_000);
/// What may be on its way in one stream, in bytes; all streams of a connection together may have as much each, so that one
/// which nobody reads takes nothing from the others.
const STREAM_WINDOW: u32 = 128 * 1024;
/// What a client has not yet confirmed, in bytes, of all its streams.
const SEND_WINDOW: u64 = 2 << 20;
/// What is kept of a connection before its handshake begins, in bytes, and of all of them.
const INCOMING: u64 = 16 * 1024;
const ALL_INCOMING: u64 = 8 << 20;

/// What connections of QUIC are accepted with.
pub(super) struct Quic {
    protocols: &'static [&'static [u8]],
    transport: Arc<TransportConfig>,
    /// Made of the handshake as it was last seen.
    made: Mutex<Option<(Arc<Setup>, Arc<ServerConfig>)>>,
}

impl Quic {
    pub(super) fn new(config: &TunnelConfig) -> Self {
        let transport = Arc::new(transport(config.limits.streams));
        Self { protocols: protocols(config), transport, made: Mutex::default() }
    }

    /// For those who connect now.
    ///
    /// # Errors
    ///
    /// TLS can't be set up, which is a mistake of the build.
    pub(super) fn server(&self, setup: &Arc<Setup>) -> io::Result<Arc<ServerConfig>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, server)) = &*made
            && Arc::ptr_eq(of, setup)
        {
            return Ok(Arc::clone(server));
        }
        let mut tls = rustls::ServerConfig::clone(setup.server());
        tls.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(Arc::clone(&self.transport))
            .incoming_buffer_size(INCOMING)
            .incoming_buffer_size_total(ALL_INCOMING)
            // A client that moves keeps its identity: the keys say who it is, not the address (RFC 9000, section 9).
            .migration(true);
        let server = Arc::new(server);
        *made = Some((Arc::clone(setup), Arc::clone(&server)));
        Ok(server)
    }
}

/// What is spoken.
#[cfg_attr(not(feature = "http3"), expect(unused_variables))]
fn protocols(config: &TunnelConfig) -> &'static [&'static [u8]] {
    #[cfg(feature = "http3")]
    if config.http3 {
        return &[ALPN, super::http3::ALPN];
    }
    &[ALPN]
}

fn transport(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(streams.saturating_mul(STREAM_WINDOW)))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    transport
}
