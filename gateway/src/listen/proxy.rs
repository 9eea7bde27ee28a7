//! The header of the PROXY protocol, version 2: a proxy that is trusted says who connects.

use std::{io, net::IpAddr};

use ppp::v2::{Addresses, Command, Header};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// Signature, version, family, and the length of what follows.
const FIXED: usize = 16;
/// The longest rest that is read, in bytes: addresses and what proxies add to them.
const MAX_REST: usize = 4096;

/// Reads the header and not a byte more. None where the proxy speaks for itself (`LOCAL`, as for a check of health).
///
/// # Errors
///
/// It breaks off, or what comes is no such header: nothing else is taken from a proxy.
pub(super) async fn read(socket: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; FIXED];
    socket.read_exact(&mut header).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if !header.starts_with(ppp::v2::PROTOCOL_PREFIX) || rest > MAX_REST {
        return Err(malformed());
    }
    header.resize(FIXED + rest, 0);
    socket.read_exact(&mut header[FIXED..]).await?;
    parse(&header)
}

fn parse(header: &[u8]) -> io::Result<Option<IpAddr>> {
    let header = Header::try_from(header).map_err(|_| malformed())?;
    match (header.command, header.addresses) {
        (Command::Local, _) => Ok(None),
        (Command::Proxy, Addresses::IPv4(addresses)) => Ok(Some(addresses.source_address.into())),
        (Command::Proxy, Addresses::IPv6(addresses)) => Ok(Some(addresses.source_address.into())),
        // Who connects has to be known.
        (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a proxy sent no header of the PROXY protocol, version 2, with an address",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn header(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &kind, &length, rest].concat()
    }

    #[test]
    fn a_header_names_the_source_whatever_follows_the_addresses() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 80];
        assert_eq!(parse(&header([0x21, 0x11], &v4)).unwrap(), Some([192, 0, 2, 7].into()));
        let with_more = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        assert_eq!(parse(&header([0x21, 0x11], &with_more)).unwrap(), Some([192, 0, 2, 7].into()));
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(parse(&header([0x21, 0x21], &v6)).unwrap(), Some("2001::".parse().unwrap()));
        assert_eq!(parse(&header([0x20, 0x00], &[])).unwrap(), None, "the proxy itself");
    }

    #[test]
    fn what_names_nobody_or_is_of_another_version_is_refused() {
        for bad in [header([0x21, 0x00], &[]), header([0x11, 0x11], &[0; 12]), header([0x21, 0x11], &[0; 4])] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        assert!(parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 80\r\n").is_err());
    }
}
