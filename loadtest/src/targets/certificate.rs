//! What a load tester needs to know of a certificate: its name, its key, whether it may sign OCSP responses. Read by x509-cert.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_KP_OCSP_SIGNING;
use der::{Decode, DecodePem, Encode};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::read_bounded;

/// Octets of a certificate's file at most.
const MAX_BYTES: u64 = 1 << 20;

/// A certificate, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// DER of the subject.
    pub subject: Vec<u8>,
    /// DER of the issuer.
    pub issuer: Vec<u8>,
    /// DER of the SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// The key's BIT STRING without tag, length and unused-bits octet.
    pub key_bits: Vec<u8>,
    /// DER of what is signed.
    pub to_be_signed: Vec<u8>,
    /// The signature over it, and its algorithm.
    pub signature: Vec<u8>,
    /// The signature's algorithm.
    pub signature_algorithm: Option<ObjectIdentifier>,
    /// Seconds since 1970 from which and to which it is valid.
    pub validity: (u64, u64),
    /// Whether its extendedKeyUsage has id-kp-OCSPSigning.
    pub signs_ocsp: bool,
}

impl Certificate {
    /// Reads a file in PEM or DER.
    pub fn read(path: &Path) -> Result<Certificate> {
        let octets = read_bounded(path, MAX_BYTES)?;
        let is_pem = octets.windows(11).any(|window| window == b"-----BEGIN ");
        let parsed = if is_pem { x509_cert::Certificate::from_pem(&octets) } else { x509_cert::Certificate::from_der(&octets) };
        let parsed = parsed.with_context(|| format!("{}: wanted a certificate in PEM or DER", path.display()))?;
        let certificate = Certificate::of(&parsed).with_context(|| path.display().to_string())?;
        ensure!(!certificate.key_bits.is_empty(), "{}: wanted a certificate with a key", path.display());
        Ok(certificate)
    }

    /// Takes a decoded certificate apart.
    pub fn of(parsed: &x509_cert::Certificate) -> Result<Certificate> {
        let tbs = &parsed.tbs_certificate;
        let usages = tbs.get::<ExtendedKeyUsage>().context("extendedKeyUsage")?;
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        Ok(Certificate {
            subject: tbs.subject.to_der()?,
            issuer: tbs.issuer.to_der()?,
            key: tbs.subject_public_key_info.to_der()?,
            key_bits: tbs.subject_public_key_info.subject_public_key.raw_bytes().to_vec(),
            to_be_signed: tbs.to_der()?,
            signature: parsed.signature.raw_bytes().to_vec(),
            signature_algorithm: Some(parsed.signature_algorithm.oid),
            validity: (seconds(&tbs.validity.not_before), seconds(&tbs.validity.not_after)),
            signs_ocsp: usages.is_some_and(|(_, usages)| usages.0.contains(&ID_KP_OCSP_SIGNING)),
        })
    }
}
