//! CertID: how an OCSP request names a certificate (RFC 6960 4.1.1).

use super::der_encoding::{push_header, push_tlv, tag, tlv, tlv_length};
use super::{CertificateInfo, HashAlgorithm};

/// A CertID as it was read from a request: borrowed, with octets not yet compared to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertId<'a> {
    /// The hash algorithm; `None` for one that this program does not know.
    pub hash_algorithm: Option<HashAlgorithm>,
    /// issuerNameHash.
    pub issuer_name_hash: &'a [u8],
    /// issuerKeyHash.
    pub issuer_key_hash: &'a [u8],
    /// Content octets of serialNumber; not necessarily a serial that a certificate can carry.
    pub serial: &'a [u8],
}

/// The hashes by which requests of one hash algorithm name an issuer (rule O2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerHashes {
    /// The algorithm of both.
    pub algorithm: HashAlgorithm,
    /// Hash of the DER of the issuer's subject.
    pub name_hash: Vec<u8>,
    /// Hash of the content of the issuer's SPKI BIT STRING, without tag, length and unused-bits octet.
    pub key_hash: Vec<u8>,
}

impl IssuerHashes {
    /// The hashes of an issuer's certificate.
    pub fn of(issuer: &CertificateInfo, algorithm: HashAlgorithm) -> IssuerHashes {
        IssuerHashes {
            algorithm,
            name_hash: algorithm.hash(&issuer.subject).as_ref().to_vec(),
            key_hash: algorithm.hash(&issuer.public_key_bits).as_ref().to_vec(),
        }
    }

    /// The content of a CertID up to serialNumber: the hash algorithm (with NULL parameters, as every known client sends it) and both hashes.
    pub fn cert_id_prefix(&self) -> Vec<u8> {
        let oid = self.algorithm.oid();
        let mut out = Vec::with_capacity(160);
        push_header(&mut out, tag::SEQUENCE, tlv_length(oid.len()) + 2);
        push_tlv(&mut out, tag::OID, oid);
        out.extend_from_slice(&[0x05, 0x00]);
        push_tlv(&mut out, tag::OCTET_STRING, &self.name_hash);
        push_tlv(&mut out, tag::OCTET_STRING, &self.key_hash);
        out
    }

    /// The whole DER CertID of one of the issuer's certificates.
    pub fn cert_id(&self, serial_content: &[u8]) -> Vec<u8> {
        let mut content = self.cert_id_prefix();
        push_tlv(&mut content, tag::INTEGER, serial_content);
        tlv(tag::SEQUENCE, &content)
    }
}
