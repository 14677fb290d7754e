//! Building certificates: roots, issuing CAs, OCSP responders and end entities.
//!
//! Pure: time, serial numbers and randomness are arguments, a [`SigningKey`](crate::token::SigningKey) signs. Nothing here reads a clock,
//! opens a file or remembers what it issued; that a serial is not used twice is for the registry to see to (rule P3).

pub mod batch;
mod certificate;
pub mod control;
mod end_entity;
mod error;
mod extensions;
mod hierarchy;
pub mod holders;
pub(crate) mod names;
mod oid;
pub mod order;
mod pipeline;
pub mod pkcs12;
pub mod profile;
pub mod renewal;
pub mod requests;
mod rfc4514;
mod turns;
pub mod vetting;

use aws_lc_rs::rand::SecureRandom;

pub use end_entity::{EndEntityOptions, EndEntityOrder, EndEntityTemplate};
pub use error::IssuanceError;
pub use hierarchy::{CaOptions, RootOrder, issuing_ca, responder_certificate, self_signed_root};

use crate::pki::{CertificateInfo, Serial, Timestamp};
use crate::token::{Key, verify_pair};

/// Octets of a serial number that is issued here.
pub const SERIAL_LENGTH: usize = 16;

/// The time that a certificate is valid: from the first to the last second, both included (RFC 5280 4.1.2.5). `not_before` is the time of
/// issuance; nothing here dates back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: Timestamp,
    /// Last second, after the first.
    pub not_after: Timestamp,
}

/// What every certificate below a root is ordered with.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Subject as RFC 4514 text, most specific part first: `CN=Example CA,O=Example,C=JP`. Lengths as in RFC 5280 A.1 (CN: 1 to 64
    /// characters).
    pub subject: &'a str,
    /// DER SubjectPublicKeyInfo of the subject's key: RSA 2048/3072/4096, ECDSA P-256/P-384 or Ed25519.
    pub spki: &'a [u8],
    /// Serial number, see [`random_serial`].
    pub serial: Serial,
    /// Within the issuer's own validity.
    pub validity: Validity,
}

/// A name of the subject beside the one in `subject` (subjectAltName).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName<'a> {
    /// A host name in letters, digits and hyphens, perhaps with `*` as its first label.
    Dns(&'a str),
    /// An address.
    Ip(std::net::IpAddr),
}

/// Where the issuer publishes what a verifier needs: `http://` URLs of at most 2048 characters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links<'a> {
    /// OCSP responder (authorityInfoAccess, id-ad-ocsp).
    pub ocsp: Option<&'a str>,
    /// The issuer's certificate in DER (authorityInfoAccess, id-ad-caIssuers).
    pub ca_issuers: Option<&'a str>,
    /// The CRL, or the CRL partition, that covers the certificate (cRLDistributionPoints).
    pub crl: Option<&'a str>,
}

/// A CA that issues: its certificate with its key. Cheap to clone except for the certificate's few kilobytes.
#[derive(Clone)]
pub struct Issuer {
    certificate: CertificateInfo,
    key: Key,
}

impl Issuer {
    /// Checks that the certificate is a CA's and that `key` is its key, with a trial signature ([`verify_pair`]).
    pub fn new(certificate: CertificateInfo, key: Key) -> Result<Issuer, IssuanceError> {
        if !certificate.is_ca {
            return Err(IssuanceError::field("issuer", certificate.subject_text, "a certificate with basicConstraints cA"));
        }
        verify_pair(&*key, &certificate.spki)?;
        Ok(Issuer { certificate, key })
    }

    /// The issuer's certificate.
    pub fn certificate(&self) -> &CertificateInfo {
        &self.certificate
    }

    /// Refuses a validity that is empty or reaches beyond the issuer's.
    fn check_validity(&self, validity: &Validity) -> Result<(), IssuanceError> {
        validity.check()?;
        let own = Validity { not_before: self.certificate.not_before, not_after: self.certificate.not_after };
        if own.not_before <= validity.not_before && validity.not_after <= own.not_after {
            return Ok(());
        }
        Err(IssuanceError::Validity { found: *validity, wanted: format!("within the issuer's, {own}") })
    }
}

/// Refuses a CA below `ca` that no path leads to, or one that is to have more CAs below it than any path has (RFC 5280 4.2.1.9).
fn check_path_length(ca: &CertificateInfo, below: Option<u8>) -> Result<(), IssuanceError> {
    let Some(own) = ca.path_length else { return Ok(()) };
    let found = || below.map_or_else(|| "a CA".to_owned(), |length| format!("a CA with {length}"));
    match own.checked_sub(1) {
        None => Err(IssuanceError::field("path length", found(), "no CA: the issuer's own is 0 (RFC 5280 4.2.1.9)")),
        Some(most) if below.is_some_and(|length| length > most) => {
            Err(IssuanceError::field("path length", found(), format!("at most {most}: the issuer's own is {own} (RFC 5280 4.2.1.9)")))
        }
        Some(_) => Ok(()),
    }
}

impl Validity {
    fn check(&self) -> Result<(), IssuanceError> {
        if self.not_before < self.not_after {
            return Ok(());
        }
        Err(IssuanceError::Validity { found: *self, wanted: "notAfter later than notBefore".to_owned() })
    }
}

impl std::fmt::Display for Validity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.not_before, self.not_after)
    }
}

/// A serial number of [`SERIAL_LENGTH`] octets from a cryptographic random source, the first of them 0x01 to 0x7f (rule P3): positive,
/// below 2^127, always of the same length, and with more than 126 bits of entropy.
pub fn random_serial(random: &dyn SecureRandom) -> Result<Serial, IssuanceError> {
    random_serial_of(random, SERIAL_LENGTH)
}

/// The same with so many octets, at most [`Serial::MAX_LENGTH`].
fn random_serial_of(random: &dyn SecureRandom, length: usize) -> Result<Serial, IssuanceError> {
    let mut buffer = [0; Serial::MAX_LENGTH];
    let octets = buffer.get_mut(..length).ok_or(IssuanceError::Random)?;
    // One draw in 128 has to be repeated; sixteen of them in a row are a broken source.
    for _ in 0..16 {
        random.fill(octets).map_err(|_| IssuanceError::Random)?;
        octets[0] &= 0x7f;
        if octets[0] != 0 {
            return Serial::from_der_content(octets).map_err(|_| IssuanceError::Random);
        }
    }
    Err(IssuanceError::Random)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::pki::KeyAlgorithm;
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    #[test]
    fn p3_s3_2_serials_are_random_positive_and_of_one_length() {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let serials: HashSet<Serial> = (0..10_000).map(|_| random_serial(&random).unwrap()).collect();
        assert_eq!(serials.len(), 10_000, "a repeated serial");
        let mut first_octets = HashSet::new();
        for serial in &serials {
            let content = serial.as_der_content();
            assert_eq!(content.len(), SERIAL_LENGTH);
            assert!((0x01..=0x7f).contains(&content[0]), "{serial}");
            first_octets.insert(content[0]);
        }
        assert_eq!(first_octets.len(), 0x7f, "every first octet that may occur does");
    }

    #[test]
    fn an_issuer_is_a_ca_with_its_own_key() {
        let now = Timestamp::from_unix(1_800_000_000).unwrap();
        let validity = Validity { not_before: now, not_after: Timestamp::MAX };
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let other = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let serial = "01".parse().unwrap();
        let root = self_signed_root(&RootOrder { subject: "CN=Root", serial, validity, signs_ocsp: false }, &*key).unwrap();
        let root = CertificateInfo::from_der(&root).unwrap();
        assert!(matches!(Issuer::new(root.clone(), other.clone()), Err(IssuanceError::Key(_))));
        let issuer = Issuer::new(root, key).unwrap();
        let order = Order { subject: "CN=Responder", spki: other.public_key(), serial, validity };
        let responder = CertificateInfo::from_der(&responder_certificate(&issuer, &order).unwrap()).unwrap();
        let error = Issuer::new(responder, other.clone()).err().unwrap();
        assert_eq!(error.to_string(), "issuer: found CN=Responder, wanted a certificate with basicConstraints cA");
        let early = Validity { not_before: now.saturating_sub(std::time::Duration::from_secs(1)), ..validity };
        let error = responder_certificate(&issuer, &Order { validity: early, ..order }).unwrap_err();
        assert!(matches!(error, IssuanceError::Validity { .. }), "{error}");
        let empty = Validity { not_before: now, not_after: now };
        assert!(responder_certificate(&issuer, &Order { validity: empty, ..order }).is_err());
    }
}
