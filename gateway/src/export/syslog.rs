//! Syslog (RFC 5424) over TLS (RFC 5425), or over TCP on loopback, each message behind its length (RFC 6587).
//!
//! The protocol has no answer: what was written may be lost with its connection. So records count as arrived when the connection has
//! lasted for a while after them; if it breaks before, they are sent again.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::ocsf::{Event, Severity};
use crate::config::ExportSyslog;
use crate::upstream::postgres::Socket;

/// How long a connection may take to come about, and a write to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection has to last after records for them to count as arrived.
const LASTS: Duration = Duration::from_secs(1);
/// log audit, RFC 5424 section 6.2.1.
const FACILITY: u8 = 13;

/// A collector of syslog.
pub(super) struct Syslog {
    to: ExportSyslog,
    open: Option<Box<dyn Socket>>,
}

impl Syslog {
    pub(super) fn new(to: ExportSyslog) -> Self {
        Self { to, open: None }
    }

    pub(super) async fn send(&mut self, events: &[Event]) -> Result<(), String> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => timeout(PATIENCE, self.connect()).await.map_err(|_| "it can't be reached in time".to_owned())??,
        };
        let text: String = events.iter().map(|event| framed(&message(event, &self.to.hostname))).collect();
        let written = async { stream.write_all(text.as_bytes()).await.and(stream.flush().await) };
        timeout(PATIENCE, written)
            .await
            .map_err(|_| "it takes nothing more".to_owned())?
            .map_err(|error| format!("it can't be written to: {error}"))?;
        // A collector says nothing; what can be read is the end.
        match timeout(LASTS, stream.read(&mut [0; 1024])).await {
            Err(_) => {
                self.open = Some(stream);
                Ok(())
            }
            Ok(Ok(0) | Err(_)) => Err("it closed the connection".to_owned()),
            Ok(Ok(_)) => {
                self.open = Some(stream);
                Ok(())
            }
        }
    }

    async fn connect(&self) -> Result<Box<dyn Socket>, String> {
        let ExportSyslog { host, port, tls, .. } = &self.to;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| format!("it can't be reached: {error}"))?;
        let Some(config) = tls else { return Ok(Box::new(stream)) };
        let name = rustls::pki_types::ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::<ClientConfig>::clone(config));
        let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Box::new(stream))
    }
}

/// A message behind its length in bytes.
fn framed(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A record as a message: its number and kind as structured data, all of it as JSON.
fn message(event: &Event, hostname: &str) -> String {
    // Informational, notice, warning, error.
    let severity = match event.severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
    };
    let priority = FACILITY * 8 + severity;
    let at = jiff::Timestamp::from_nanosecond(event.nanoseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let Event { seq, kind, session, text, .. } = event;
    // 32473 is the number that examples have (RFC 5612); we have none of our own. The mark says that it is UTF-8.
    format!(
        "<{priority}>1 {at:.6} {hostname} sluice - {kind} [sluice@32473 record=\"{seq}\" session=\"{session}\"] \u{feff}{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_the_rfc_has_it_and_stands_behind_its_length_in_bytes() {
        let event = Event {
            seq: 7,
            nanoseconds: 1_790_000_000_123_456_789,
            kind: "request",
            session: "0190-a".to_owned(),
            severity: Severity::Medium,
            value: serde_json::Value::Null,
            text: "{\"é\":1}".to_owned(),
        };
        let text = message(&event, "gw.example.org");
        assert_eq!(
            text,
            "<108>1 2026-09-21T14:13:20.123456Z gw.example.org sluice - request [sluice@32473 record=\"7\" session=\"0190-a\"] \u{feff}{\"é\":1}"
        );
        assert!(framed(&text).starts_with(&format!("{} <108>1 ", text.len())));
    }
}
