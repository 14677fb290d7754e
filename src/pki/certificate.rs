//! What a validation authority needs to know of a certificate: an issuer's, a responder's, or one to register.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode;
use x509_cert::Certificate;
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier};

use super::der_encoding::tag;
use super::der_reading::{NotDer, Reader};
use super::{Fingerprint, HashAlgorithm, KeyAlgorithm, Serial, SignatureAlgorithm, Timestamp};

/// The parts of an X.509 certificate that this program works with, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Its serial number.
    pub serial: Serial,
    /// The issuer's Name, byte for byte.
    pub issuer: Vec<u8>,
    /// The subject's Name, byte for byte (rules O2, C1), be it DER or not: a SET in another order than DER's must be neither sorted nor refused.
    pub subject: Vec<u8>,
    /// The subject as RFC 4514 text, for people.
    pub subject_text: String,
    /// The SubjectPublicKeyInfo, byte for byte.
    pub spki: Vec<u8>,
    /// Content of the SPKI BIT STRING without the unused-bits octet: what issuerKeyHash and byKey hash (rule O2).
    pub public_key_bits: Vec<u8>,
    /// Content of the subjectKeyIdentifier extension, or the SHA-1 of the key where there is none (RFC 5280 4.2.1.2).
    pub key_identifier: Vec<u8>,
    /// The keyIdentifier of the authorityKeyIdentifier extension: that of the issuer's key, among several of one name.
    pub authority_key_identifier: Option<Vec<u8>>,
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last instant of validity.
    pub not_after: Timestamp,
    /// Whether basicConstraints says cA.
    pub is_ca: bool,
    /// The pathLenConstraint of basicConstraints: how many CAs there may be below this one on a path.
    pub path_length: Option<u8>,
    /// Every URI of the cRLDistributionPoints extension.
    pub crl_urls: Vec<String>,
}

/// A certificate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not DER of an X.509 certificate.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
    /// The serial is outside what this program handles.
    #[error(transparent)]
    Serial(#[from] super::serial::SerialError),
    /// No certificate in a PEM file.
    #[error("no '-----BEGIN CERTIFICATE-----' block found")]
    NoPem,
    /// The key is of a kind that this program does not sign or verify with.
    #[error("the public key is neither RSA 2048/3072/4096, ECDSA P-256/P-384 nor Ed25519")]
    UnsupportedKey,
}

impl CertificateInfo {
    /// Reads a DER certificate.
    pub fn from_der(der: &[u8]) -> Result<CertificateInfo, CertificateError> {
        let malformed = |e: der::Error| CertificateError::Malformed(e.to_string());
        let certificate = Certificate::from_der(der).map_err(malformed)?;
        let octets = Octets::of(der).map_err(|NotDer| CertificateError::Malformed("its parts are not DER".to_owned()))?;
        let tbs = &certificate.tbs_certificate;
        let spki = &tbs.subject_public_key_info;
        let public_key_bits = spki.subject_public_key.raw_bytes().to_vec();
        let key_identifier = match tbs.get::<SubjectKeyIdentifier>().map_err(malformed)? {
            Some((_, identifier)) => identifier.0.as_bytes().to_vec(),
            None => HashAlgorithm::Sha1.hash(&public_key_bits).as_ref().to_vec(),
        };
        // One that cannot be read names nobody.
        let authority = tbs.get::<AuthorityKeyIdentifier>().ok().flatten().and_then(|(_, authority)| authority.key_identifier);
        let points = tbs.get::<CrlDistributionPoints>().map_err(malformed)?;
        let constraints = tbs.get::<BasicConstraints>().map_err(malformed)?.map(|(_, constraints)| constraints);
        Ok(CertificateInfo {
            der: der.to_vec(),
            serial: Serial::from_der_content(tbs.serial_number.as_bytes())?,
            issuer: octets.issuer.to_vec(),
            subject: octets.subject.to_vec(),
            subject_text: tbs.subject.to_string(),
            spki: octets.spki.to_vec(),
            public_key_bits,
            key_identifier,
            authority_key_identifier: authority.map(|identifier| identifier.as_bytes().to_vec()),
            not_before: tbs.validity.not_before.to_date_time().into(),
            not_after: tbs.validity.not_after.to_date_time().into(),
            is_ca: constraints.as_ref().is_some_and(|constraints| constraints.ca),
            path_length: constraints.and_then(|constraints| constraints.path_len_constraint),
            crl_urls: points.map(|(_, points)| uris(&points)).unwrap_or_default(),
        })
    }

    /// Reads the first certificate of a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<CertificateInfo, CertificateError> {
        let text = std::str::from_utf8(pem).map_err(|_| CertificateError::NoPem)?;
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
        let start = text.find(begin).ok_or(CertificateError::NoPem)?;
        let stop = text[start..].find(end).ok_or(CertificateError::NoPem)? + start + end.len();
        let (_, der) = der::pem::decode_vec(&text.as_bytes()[start..stop]).map_err(|e| CertificateError::Malformed(format!("PEM: {e}")))?;
        Self::from_der(&der)
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        certificate_pem(&self.der)
    }

    /// The kind of key that the certificate certifies.
    pub fn key_algorithm(&self) -> Result<KeyAlgorithm, CertificateError> {
        key_algorithm_of_spki(&self.spki).ok_or(CertificateError::UnsupportedKey)
    }

    /// Whether `issuer_spki` verifies this certificate's signature.
    pub fn is_signed_by(&self, issuer_spki: &[u8]) -> bool {
        let Ok(octets) = Octets::of(&self.der) else { return false };
        let algorithm = SignatureAlgorithm::ALL.into_iter().find(|a| a.identifier() == octets.signature_algorithm);
        algorithm.is_some_and(|a| a.verify(issuer_spki, octets.to_be_signed, octets.signature))
    }
}

/// Parts of a certificate as they stand in it: what is decoded and encoded again may be other octets than those that were signed and are hashed.
struct Octets<'a> {
    to_be_signed: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    signature_algorithm: &'a [u8],
    /// Without the unused-bits octet.
    signature: &'a [u8],
}

impl<'a> Octets<'a> {
    fn of(der: &'a [u8]) -> Result<Octets<'a>, NotDer> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let (to_be_signed, mut tbs) = certificate.whole(tag::SEQUENCE)?;
        let signature_algorithm = certificate.raw(tag::SEQUENCE)?;
        let Some((0, signature)) = certificate.expect(tag::BIT_STRING)?.split_first() else { return Err(NotDer) };
        certificate.finish()?;
        tbs.optional(tag::constructed(0))?;
        tbs.expect(tag::INTEGER)?;
        tbs.expect(tag::SEQUENCE)?;
        let issuer = tbs.raw(tag::SEQUENCE)?;
        tbs.expect(tag::SEQUENCE)?;
        let (subject, spki) = (tbs.raw(tag::SEQUENCE)?, tbs.raw(tag::SEQUENCE)?);
        Ok(Octets { to_be_signed, issuer, subject, spki, signature_algorithm, signature })
    }
}

/// DER of a certificate as PEM, with lines of 64 characters.
pub fn certificate_pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).expect("a certificate fits into PEM")
}

fn uris(points: &CrlDistributionPoints) -> Vec<String> {
    let full_names = points.0.iter().filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    full_names.flatten().filter_map(uri).collect()
}

/// The kind of key in a DER SubjectPublicKeyInfo; `None` for a kind or size that is not supported.
pub fn key_algorithm_of_spki(spki: &[u8]) -> Option<KeyAlgorithm> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(spki).ok()?;
    let curve = || info.algorithm.parameters_oid().ok();
    match info.algorithm.oid {
        ID_ED_25519 => Some(KeyAlgorithm::Ed25519),
        ID_EC_PUBLIC_KEY if curve() == Some(SECP_256_R_1) => Some(KeyAlgorithm::EcdsaP256),
        ID_EC_PUBLIC_KEY if curve() == Some(SECP_384_R_1) => Some(KeyAlgorithm::EcdsaP384),
        RSA_ENCRYPTION => match rsa_modulus_bits(info.subject_public_key.raw_bytes())? {
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        },
        _ => None,
    }
}

/// Bits of the RSA modulus in a DER SubjectPublicKeyInfo; `None` for another kind of key.
pub fn rsa_bits_of_spki(spki: &[u8]) -> Option<usize> {
    let info = spki::SubjectPublicKeyInfoRef::from_der(spki).ok()?;
    let is_rsa = info.algorithm.oid == RSA_ENCRYPTION;
    is_rsa.then(|| rsa_modulus_bits(info.subject_public_key.raw_bytes())).flatten()
}

/// Names a key by what all its holders have in common, in whatever form a DER SubjectPublicKeyInfo has it: of RSA the modulus, be the exponent another one; of a
/// point of either kind what it has in common with the negated one, be it compressed. What cannot be read is named by its octets.
pub fn key_identity(spki: &[u8]) -> Fingerprint {
    fn shared(spki: &[u8]) -> Option<(ObjectIdentifier, &[u8])> {
        let info = spki::SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        let key = info.subject_public_key.raw_bytes();
        let shared = match (info.algorithm.oid, key) {
            (RSA_ENCRYPTION, _) => rsa_modulus(key)?,
            (ID_EC_PUBLIC_KEY, [2 | 3, x @ ..]) => x,
            (ID_EC_PUBLIC_KEY, [4, point @ ..]) => &point[..point.len() / 2],
            _ => key,
        };
        Some((info.algorithm.oid, shared))
    }
    let (kind, key) = shared(spki).map_or((None, spki), |(kind, key)| (Some(kind), key));
    // The sign of Ed25519's x-coordinate is the highest bit of the last octet (RFC 8032 5.1.2).
    let (start, last) = match key {
        [start @ .., last] if kind == Some(ID_ED_25519) => (start, &[last & 0x7f][..]),
        _ => (key, &[][..]),
    };
    Fingerprint::of_parts(&[b"kakunin: identity of a key", kind.as_ref().map_or(b"", |kind| kind.as_bytes()), start, last])
}

/// Bits of the modulus in a DER RSAPublicKey (RFC 8017 A.1.1).
fn rsa_modulus_bits(rsa_public_key: &[u8]) -> Option<usize> {
    let modulus = rsa_modulus(rsa_public_key)?;
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

/// The modulus itself.
fn rsa_modulus(rsa_public_key: &[u8]) -> Option<&[u8]> {
    let mut reader = der::SliceReader::new(rsa_public_key).ok()?;
    let header = der::Header::decode(&mut reader).ok()?;
    header.tag.assert_eq(der::Tag::Sequence).ok()?;
    let modulus = der::asn1::UintRef::decode(&mut reader).ok()?;
    Some(modulus.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::IssuerHashes;
    use crate::pki::der_encoding::{constructed, tlv};
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use der::Encode;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

    /// A name of one RDN with two attributes, in this order or in the other one. DER wants the shorter one first.
    fn name(in_der_order: bool) -> Vec<u8> {
        let attribute = |oid: u8, text: &str| constructed(tag::SEQUENCE, &[&tlv(tag::OID, &[0x55, 4, oid]), &tlv(0x0c, text.as_bytes())]);
        let (short, long) = (attribute(10, "a"), attribute(3, "a longer one"));
        let set = if in_der_order { [&short[..], &long] } else { [&long[..], &short] };
        constructed(tag::SEQUENCE, &[&constructed(0x31, &set)])
    }

    fn with_names(name: &[u8]) -> Vec<u8> {
        let octets = Octets::of(CERTIFICATE).unwrap();
        let mut tbs = Reader::new(octets.to_be_signed).enter(tag::SEQUENCE).unwrap();
        let mut parts = Vec::new();
        while let Ok((_, _, whole)) = tbs.any_whole() {
            parts.push(whole);
        }
        // version, serialNumber, signature, issuer, validity, subject
        (parts[3], parts[5]) = (name, name);
        let mut certificate = Reader::new(CERTIFICATE).enter(tag::SEQUENCE).unwrap();
        certificate.any().unwrap();
        let (algorithm, signature) = (certificate.any_whole().unwrap().2, certificate.any_whole().unwrap().2);
        constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &parts), algorithm, signature])
    }

    fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
        let bits = constructed(tag::BIT_STRING, &[&[0], key]);
        constructed(tag::SEQUENCE, &[algorithm, &bits])
    }

    #[test]
    fn s3_1_a_key_is_the_same_in_whatever_form_its_holder_writes_it() {
        let ec = |point: &[u8]| {
            let p256 = [&[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]];
            key_identity(&spki(&constructed(tag::SEQUENCE, &p256), point))
        };
        let (x, y, minus_y) = ([7; 32], [8; 32], [0xf7; 32]);
        let same = ec(&[&[4], &x[..], &y].concat());
        for point in [[&[4], &x[..], &minus_y].concat(), [&[2], &x[..]].concat(), [&[3], &x[..]].concat()] {
            assert_eq!(ec(&point), same);
        }
        assert_ne!(ec(&[&[4], &y[..], &x].concat()), same);
        let rsa = |modulus: &[u8], exponent: &[u8]| {
            let key = constructed(tag::SEQUENCE, &[&tlv(tag::INTEGER, modulus), &tlv(tag::INTEGER, exponent)]);
            key_identity(&spki(&[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0], &key))
        };
        assert_eq!(rsa(&[0x70; 128], &[3]), rsa(&[0x70; 128], &[1, 0, 1]));
        assert_ne!(rsa(&[0x70; 128], &[3]), rsa(&[0x71; 128], &[3]));
        let edwards = |last: u8| key_identity(&spki(&[0x30, 5, 6, 3, 0x2b, 0x65, 0x70], &[&[7; 31][..], &[last]].concat()));
        assert_eq!(edwards(0x12), edwards(0x92));
        assert_ne!(edwards(0x12), edwards(0x13));
        assert_ne!(key_identity(b"no key"), key_identity(b"another"));
    }

    #[test]
    fn o2_c1_names_are_the_certificates_own_octets_in_whatever_order() {
        for in_der_order in [true, false] {
            let name = name(in_der_order);
            let read = CertificateInfo::from_der(&with_names(&name)).unwrap();
            assert_eq!((&read.subject, &read.issuer), (&name, &name));
            let hashes = IssuerHashes::of(&read, HashAlgorithm::Sha256);
            assert_eq!(hashes.name_hash, HashAlgorithm::Sha256.hash(&name).as_ref());
        }
    }

    #[test]
    fn what_is_cut_out_is_what_the_oracle_encodes() {
        let read = CertificateInfo::from_der(CERTIFICATE).unwrap();
        let theirs = Certificate::from_der(CERTIFICATE).unwrap();
        let tbs = &theirs.tbs_certificate;
        assert_eq!(read.issuer, tbs.issuer.to_der().unwrap());
        assert_eq!(read.subject, tbs.subject.to_der().unwrap());
        assert_eq!(read.spki, tbs.subject_public_key_info.to_der().unwrap());
        let octets = Octets::of(CERTIFICATE).unwrap();
        assert_eq!(octets.to_be_signed, tbs.to_der().unwrap());
        assert_eq!(octets.signature_algorithm, theirs.signature_algorithm.to_der().unwrap());
        assert_eq!(octets.signature, theirs.signature.raw_bytes());
    }

    /// The signature is over the octets that there are.
    #[test]
    fn a_signature_over_a_name_in_another_order_verifies() {
        let key = Ed25519KeyPair::generate().unwrap();
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let der = with_names(&name(false));
        let to_be_signed = Octets::of(&der).unwrap().to_be_signed;
        let signature = constructed(tag::BIT_STRING, &[&[0], key.sign(to_be_signed).as_ref()]);
        let signed = constructed(tag::SEQUENCE, &[to_be_signed, SignatureAlgorithm::Ed25519.identifier(), &signature]);
        let read = CertificateInfo::from_der(&signed).unwrap();
        assert!(read.is_signed_by(spki.as_ref()));
    }
}
