//! The binding of a password's proof to the TLS connection that it is given on: `tls-server-end-point` (RFC 5929).

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// The hash of a server's certificate (DER), by the hash function of the certificate's own signature; None where that has none.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let hash = hash_of(&parsed.signature_algorithm.algorithm.to_id_string())?;
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// MD5 and SHA-1 are replaced by SHA-256 (RFC 5929, section 4.1). The parameters of RSASSA-PSS are not read, and what PostgreSQL
/// itself finds no hash for (Ed25519) is not bound.
fn hash_of(signature: &str) -> Option<&'static Algorithm> {
    Some(match signature {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => &SHA256,
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => &SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    #[test]
    fn a_certificate_is_hashed_as_it_was_signed() {
        let made = |algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec()
        };
        let certificate = made(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&certificate).unwrap(), digest(&SHA256, &certificate).as_ref());
        let certificate = made(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point(&certificate).unwrap(), digest(&SHA384, &certificate).as_ref());
        assert_eq!(end_point(&made(&PKCS_ED25519)), None);
        assert_eq!(end_point(b"no certificate"), None);
    }
}
