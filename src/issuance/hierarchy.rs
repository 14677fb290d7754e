//! The few certificates of a hierarchy: root, issuing CA, OCSP responder.

use const_oid::db::rfc5280::ID_KP_OCSP_SIGNING;
use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::pkix::KeyUsages;

use super::certificate::{Body, sign};
use super::{IssuanceError, Issuer, Links, Order, Validity, check_path_length, extensions, names};
use crate::pki::{CertificateInfo, Serial};
use crate::token::{SigningKey, verify_pair};

/// A root to make.
#[derive(Clone, Copy, Debug)]
pub struct RootOrder<'a> {
    /// Subject and issuer, as in [`Order::subject`].
    pub subject: &'a str,
    /// Serial number.
    pub serial: Serial,
    /// Validity.
    pub validity: Validity,
    /// Whether the root's own key signs OCSP responses: adds digitalSignature to its keyUsage.
    pub signs_ocsp: bool,
}

/// What an issuing CA gets beside its name and key.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaOptions<'a> {
    /// What the parent publishes.
    pub links: Links<'a>,
    /// Whether the CA's own key signs OCSP responses: adds digitalSignature to its keyUsage.
    pub signs_ocsp: bool,
}

/// The DER certificate of a self-signed root: basicConstraints cA without a path length, keyUsage keyCertSign and cRLSign (both critical),
/// SKI and AKI (RFC 5280 4.2.1.9, 4.2.1.3; rule P2). The key's first signature is verified.
pub fn self_signed_root(order: &RootOrder<'_>, key: &dyn SigningKey) -> Result<Vec<u8>, IssuanceError> {
    order.validity.check()?;
    verify_pair(key, key.public_key())?;
    let subject = names::subject(order.subject)?;
    let identifier = extensions::key_identifier(key.public_key())?;
    let extensions = [
        extensions::basic_constraints_of_a_ca(true, None)?,
        extensions::ca_key_usage(order.signs_ocsp)?,
        extensions::subject_key_identifier(false, &identifier)?,
        extensions::authority_key_identifier(false, &identifier)?,
    ];
    let body = Body {
        issuer: &subject,
        subject: &subject,
        spki: key.public_key(),
        serial: &order.serial,
        validity: &order.validity,
        extensions: &extensions.concat(),
    };
    sign(&body, key)
}

/// The DER certificate of a CA that issues end-entity certificates only (path length 0), with keyUsage keyCertSign and cRLSign (rule P2),
/// SKI, AKI, and the parent's OCSP, caIssuers and CRL URLs. The parent's own path length must leave room for it.
pub fn issuing_ca(parent: &Issuer, order: &Order<'_>, options: &CaOptions<'_>) -> Result<Vec<u8>, IssuanceError> {
    check_path_length(&parent.certificate, Some(0))?;
    let extensions = [
        extensions::basic_constraints_of_a_ca(true, Some(0))?,
        extensions::ca_key_usage(options.signs_ocsp)?,
        extensions::subject_key_identifier(false, &extensions::key_identifier(order.spki)?)?,
        extensions::authority_key_identifier(false, &parent.certificate.key_identifier)?,
        extensions::links(&options.links)?,
    ];
    let name = names::subject(order.subject)?;
    below(parent, &Subject { name: &name, spki: order.spki, serial: order.serial, validity: order.validity }, &extensions.concat())
}

/// The DER certificate of an OCSP responder, exactly as rule P1 wants it: keyUsage critical digitalSignature, extKeyUsage OCSPSigning,
/// id-pkix-ocsp-nocheck, AKI and SKI, and nothing else: no CRL or OCSP pointer, no subjectAltName, no policies.
pub fn responder_certificate(issuer: &Issuer, order: &Order<'_>) -> Result<Vec<u8>, IssuanceError> {
    let extensions = [
        extensions::key_usage(true, KeyUsages::DigitalSignature.into())?,
        extensions::extended_key_usage(false, &[ID_KP_OCSP_SIGNING])?,
        extensions::ocsp_no_check(false)?,
        extensions::subject_key_identifier(false, &extensions::key_identifier(order.spki)?)?,
        extensions::authority_key_identifier(false, &issuer.certificate.key_identifier)?,
    ];
    let name = names::subject(order.subject)?;
    below(issuer, &Subject { name: &name, spki: order.spki, serial: order.serial, validity: order.validity }, &extensions.concat())
}

/// The DER certificate of the same subject, key and extensions as `old`, under another serial number and with another validity.
pub(super) fn again(issuer: &Issuer, old: &CertificateInfo, serial: Serial, validity: Validity) -> Result<Vec<u8>, IssuanceError> {
    let extensions = Certificate::from_der(&old.der)?.tbs_certificate.extensions.unwrap_or_default();
    let extensions = extensions.iter().map(Encode::to_der).collect::<Result<Vec<_>, _>>()?.concat();
    below(issuer, &Subject { name: &old.subject, spki: &old.spki, serial, validity }, &extensions)
}

/// Whom a certificate is for, and when.
struct Subject<'a> {
    /// DER of the Name.
    name: &'a [u8],
    spki: &'a [u8],
    serial: Serial,
    validity: Validity,
}

fn below(issuer: &Issuer, subject: &Subject<'_>, extensions: &[u8]) -> Result<Vec<u8>, IssuanceError> {
    issuer.check_validity(&subject.validity)?;
    let body = Body {
        issuer: &issuer.certificate.subject,
        subject: subject.name,
        spki: subject.spki,
        serial: &subject.serial,
        validity: &subject.validity,
        extensions,
    };
    sign(&body, &*issuer.key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier};
    use x509_cert::time::Time;

    use super::*;
    use crate::pki::{KeyAlgorithm, Timestamp};
    use crate::token::software::SoftwareKey;

    const NOW: u64 = 1_800_000_000;

    fn validity(years: u64) -> Validity {
        let not_before = Timestamp::from_unix(NOW).unwrap();
        Validity { not_before, not_after: not_before.saturating_add(std::time::Duration::from_secs(years * 31_556_952)) }
    }

    fn root() -> Issuer {
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP384).unwrap());
        let order =
            RootOrder { subject: "CN=Root,O=Example,C=JP", serial: "7f01".parse().unwrap(), validity: validity(30), signs_ocsp: false };
        Issuer::new(CertificateInfo::from_der(&self_signed_root(&order, &*key).unwrap()).unwrap(), key).unwrap()
    }

    /// Decoded by x509-cert's own types, which encode to the same bytes.
    fn decoded(der: &[u8]) -> Certificate {
        let certificate = Certificate::from_der(der).unwrap();
        assert_eq!(certificate.to_der().unwrap(), der);
        certificate
    }

    fn extension_oids(certificate: &Certificate) -> Vec<String> {
        let mut oids: Vec<String> = certificate.tbs_certificate.extensions.iter().flatten().map(|e| e.extn_id.to_string()).collect();
        oids.sort();
        oids
    }

    #[test]
    fn p2_a_ca_may_sign_certificates_and_crls_and_ocsp_only_where_asked_for() {
        let root = root();
        assert!(root.certificate().is_signed_by(&root.certificate().spki));
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        for signs_ocsp in [false, true] {
            let order = Order { subject: "CN=Issuing", spki: key.public_key(), serial: "02".parse().unwrap(), validity: validity(10) };
            let links = Links { crl: Some("http://crl.example/root.crl"), ..Default::default() };
            let der = issuing_ca(&root, &order, &CaOptions { links, signs_ocsp }).unwrap();
            let tbs = decoded(&der).tbs_certificate;
            let (critical, constraints) = tbs.get::<BasicConstraints>().unwrap().unwrap();
            assert_eq!((critical, constraints), (true, BasicConstraints { ca: true, path_len_constraint: Some(0) }));
            let (critical, usage) = tbs.get::<KeyUsage>().unwrap().unwrap();
            assert!(critical && usage.key_cert_sign() && usage.crl_sign());
            assert_eq!(usage.digital_signature(), signs_ocsp);
            let info = CertificateInfo::from_der(&der).unwrap();
            assert!(info.is_signed_by(&root.certificate().spki));
            assert_eq!(info.issuer, root.certificate().subject, "the issuer's name, byte for byte");
            assert_eq!(info.crl_urls, ["http://crl.example/root.crl"]);
        }
    }

    #[test]
    fn s5_7_a_ca_with_the_path_length_0_certifies_no_ca() {
        let (root, key) = (root(), Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap()));
        let order = Order { subject: "CN=Issuing", spki: key.public_key(), serial: "02".parse().unwrap(), validity: validity(10) };
        let der = issuing_ca(&root, &order, &CaOptions::default()).unwrap();
        let issuing = CertificateInfo::from_der(&der).unwrap();
        assert_eq!((root.certificate().path_length, issuing.path_length), (None, Some(0)));
        let issuing = Issuer::new(issuing, key.clone()).unwrap();
        let message = issuing_ca(&issuing, &order, &CaOptions::default()).unwrap_err().to_string();
        assert_eq!(message, "path length: found a CA with 0, wanted no CA: the issuer's own is 0 (RFC 5280 4.2.1.9)");
        assert!(responder_certificate(&issuing, &order).is_ok());
    }

    #[test]
    fn p1_s3_3_a_responder_certificate_is_exactly_what_the_rule_says() {
        let root = root();
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let order =
            Order { subject: "CN=Responder,O=Example,C=JP", spki: key.public_key(), serial: "03".parse().unwrap(), validity: validity(1) };
        let certificate = decoded(&responder_certificate(&root, &order).unwrap());
        // keyUsage, SKI, AKI, extKeyUsage, ocsp-nocheck: nothing more, nothing less.
        assert_eq!(extension_oids(&certificate), ["1.3.6.1.5.5.7.48.1.5", "2.5.29.14", "2.5.29.15", "2.5.29.35", "2.5.29.37"]);
        let tbs = &certificate.tbs_certificate;
        assert_eq!(tbs.get::<KeyUsage>().unwrap(), Some((true, KeyUsage(KeyUsages::DigitalSignature.into()))));
        let (critical, purposes) = tbs.get::<ExtendedKeyUsage>().unwrap().unwrap();
        assert_eq!((critical, purposes.0), (false, vec![const_oid::db::rfc5280::ID_KP_OCSP_SIGNING]));
        let nocheck = tbs.extensions.iter().flatten().find(|e| e.extn_id.to_string() == "1.3.6.1.5.5.7.48.1.5").unwrap();
        assert_eq!((nocheck.critical, nocheck.extn_value.as_bytes()), (false, &[0x05, 0x00][..]));
        let (_, authority) = tbs.get::<AuthorityKeyIdentifier>().unwrap().unwrap();
        assert_eq!(authority.key_identifier.unwrap().as_bytes(), root.certificate().key_identifier);
        assert!(authority.authority_cert_issuer.is_none() && authority.authority_cert_serial_number.is_none());
        assert!(tbs.get::<SubjectKeyIdentifier>().unwrap().is_some());
    }

    #[test]
    fn c1_validity_is_utc_time_to_2049_and_generalized_time_after() {
        let key = SoftwareKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let last_utc = Timestamp::GENERALIZED_FROM.saturating_sub(std::time::Duration::from_secs(1));
        for (not_after, utc) in [(last_utc, true), (Timestamp::GENERALIZED_FROM, false), (Timestamp::MAX, false)] {
            let validity = Validity { not_after, ..validity(1) };
            let order = RootOrder { subject: "CN=Root", serial: "01".parse().unwrap(), validity, signs_ocsp: true };
            let certificate = decoded(&self_signed_root(&order, &key).unwrap());
            let found = certificate.tbs_certificate.validity;
            assert!(matches!(found.not_before, Time::UtcTime(_)));
            assert_eq!(matches!(found.not_after, Time::UtcTime(_)), utc);
            assert_eq!(Timestamp::from(found.not_after.to_date_time()), not_after);
        }
    }

    #[test]
    fn a_key_or_serial_that_no_certificate_may_have_is_refused() {
        let root = root();
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let order = Order { subject: "CN=Responder", spki: key.public_key(), serial: "00".parse().unwrap(), validity: validity(1) };
        let message = responder_certificate(&root, &order).unwrap_err().to_string();
        assert_eq!(message, "serial: found 0, wanted a positive number (RFC 5280 4.1.2.2)");
        let weak = Order { spki: &key.public_key()[..40], serial: "01".parse().unwrap(), ..order };
        assert!(responder_certificate(&root, &weak).is_err());
    }
}
