//! `[[export]]`: where records of the evidence are sent, and how they are written there.

use std::{path::PathBuf, sync::Arc};

use rustls::ClientConfig;
use url::Url;

use crate::{signing::Signer, tls::Authorities};

/// Where records are sent.
#[derive(Debug, Clone)]
pub struct ExportConfig {
    /// Under this name its place in the records is kept.
    pub name: String,
    /// Where they go.
    pub to: ExportTo,
    /// What was asked for goes along: SQL, arguments of tools.
    pub commands: bool,
    /// Where it has no place yet, it begins with what happens from now on, and not with the first record.
    pub from_now: bool,
}

/// A destination.
#[derive(Debug, Clone)]
pub enum ExportTo {
    /// Lines are added to this file; `-` is the standard output.
    File(PathBuf),
    /// Over HTTP.
    Http(ExportHttp),
    /// Syslog.
    Syslog(ExportSyslog),
}

/// A collector that is told over HTTP. `Debug` shows no secret.
#[derive(Clone)]
pub struct ExportHttp {
    /// Where records are posted.
    pub url: Url,
    /// How they are written.
    pub envelope: HttpEnvelope,
    /// The header that says who we are.
    pub authorization: Option<String>,
    /// Who vouches for the server, in place of the web's certificate authorities.
    pub authorities: Option<Authorities>,
}

impl std::fmt::Debug for ExportHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportHttp")
            .field("host", &self.url.host_str())
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}

/// How records are written for a collector over HTTP.
#[derive(Debug, Clone)]
pub enum HttpEnvelope {
    /// The OpenTelemetry protocol: logs, in JSON.
    Otlp,
    /// Splunk's HTTP event collector.
    Splunk,
    /// Elasticsearch's bulk API, and what speaks it.
    Elastic {
        /// The index, or the data stream.
        index: String,
    },
    /// JSON of our own, signed as Standard Webhooks has it.
    Webhook(Signer),
}

/// A collector of syslog.
#[derive(Clone)]
pub struct ExportSyslog {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How TLS is spoken; None: it isn't, on loopback alone.
    pub tls: Option<Arc<ClientConfig>>,
    /// What this machine is called in messages.
    pub hostname: String,
}

impl std::fmt::Debug for ExportSyslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportSyslog").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
