//! What a validation authority needs to know of a certificate: an issuer's, a responder's, or one to register.

use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};

use super::{HashAlgorithm, KeyAlgorithm, Serial, SignatureAlgorithm, Timestamp};

/// The parts of an X.509 certificate that this program works with, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Its serial number.
    pub serial: Serial,
    /// The issuer's DER Name.
    pub issuer: Vec<u8>,
    /// The subject's DER Name, byte for byte (rules O2, C1).
    pub subject: Vec<u8>,
    /// The subject as RFC 4514 text, for people.
    pub subject_text: String,
    /// The DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Content of the SPKI BIT STRING without the unused-bits octet: what issuerKeyHash and byKey hash (rule O2).
    pub public_key_bits: Vec<u8>,
    /// Content of the subjectKeyIdentifier extension, or the SHA-1 of the key where there is none (RFC 5280 4.2.1.2).
    pub key_identifier: Vec<u8>,
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last instant of validity.
    pub not_after: Timestamp,
    /// Whether basicConstraints says cA.
    pub is_ca: bool,
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
        let tbs = &certificate.tbs_certificate;
        let spki = &tbs.subject_public_key_info;
        let public_key_bits = spki.subject_public_key.raw_bytes().to_vec();
        let key_identifier = match tbs.get::<SubjectKeyIdentifier>().map_err(malformed)? {
            Some((_, identifier)) => identifier.0.as_bytes().to_vec(),
            None => HashAlgorithm::Sha1.hash(&public_key_bits).as_ref().to_vec(),
        };
        let points = tbs.get::<CrlDistributionPoints>().map_err(malformed)?;
        Ok(CertificateInfo {
            der: der.to_vec(),
            serial: Serial::from_der_content(tbs.serial_number.as_bytes())?,
            issuer: tbs.issuer.to_der().map_err(malformed)?,
            subject: tbs.subject.to_der().map_err(malformed)?,
            subject_text: tbs.subject.to_string(),
            spki: spki.to_der().map_err(malformed)?,
            public_key_bits,
            key_identifier,
            not_before: tbs.validity.not_before.to_date_time().into(),
            not_after: tbs.validity.not_after.to_date_time().into(),
            is_ca: tbs.get::<BasicConstraints>().map_err(malformed)?.is_some_and(|(_, c)| c.ca),
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
        let Ok(certificate) = Certificate::from_der(&self.der) else { return false };
        let (Ok(tbs), Ok(identifier)) = (certificate.tbs_certificate.to_der(), certificate.signature_algorithm.to_der()) else {
            return false;
        };
        let algorithm = SignatureAlgorithm::ALL.into_iter().find(|a| a.identifier() == identifier);
        algorithm.is_some_and(|a| a.verify(issuer_spki, &tbs, certificate.signature.raw_bytes()))
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
    use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1};
    use const_oid::db::rfc8410::ID_ED_25519;
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
    let is_rsa = info.algorithm.oid == const_oid::db::rfc5912::RSA_ENCRYPTION;
    is_rsa.then(|| rsa_modulus_bits(info.subject_public_key.raw_bytes())).flatten()
}

/// Bits of the modulus in a DER RSAPublicKey (RFC 8017 A.1.1).
fn rsa_modulus_bits(rsa_public_key: &[u8]) -> Option<usize> {
    let mut reader = der::SliceReader::new(rsa_public_key).ok()?;
    let header = der::Header::decode(&mut reader).ok()?;
    header.tag.assert_eq(der::Tag::Sequence).ok()?;
    let modulus = der::asn1::UintRef::decode(&mut reader).ok()?;
    let first = *modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
}
