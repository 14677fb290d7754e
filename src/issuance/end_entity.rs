//! End-entity certificates for TLS servers, many of them: what all certificates of one issuer and CRL partition share is encoded once.

use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::KeyUsages;

use super::certificate::{Body, sign};
use super::{AlternativeName, IssuanceError, Issuer, Links, Validity, extensions, names};
use crate::pki::Serial;

/// What all certificates of one issuer and one CRL partition share.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndEntityOptions<'a> {
    /// What the issuer publishes; `crl` is the URL of the partition. At least one of `ocsp` and `crl` is needed.
    pub links: Links<'a>,
    /// Whether extKeyUsage also says clientAuth.
    pub client_auth: bool,
}

/// One certificate.
#[derive(Clone, Copy, Debug)]
pub struct EndEntityOrder<'a> {
    /// 1 to 100 host names for the subjectAltName. The first, of at most 64 characters, is the subject's commonName too (BR 7.1.4.3).
    pub dns_names: &'a [&'a str],
    /// DER SubjectPublicKeyInfo of the subject's key.
    pub spki: &'a [u8],
    /// Serial number, see [`super::random_serial`].
    pub serial: Serial,
    /// Within the issuer's own validity.
    pub validity: Validity,
}

/// Issues end-entity certificates of one issuer and one CRL partition. Costs some microseconds per certificate beside the signature; may be
/// used from many threads.
pub struct EndEntityTemplate {
    issuer: Issuer,
    /// keyUsage, extKeyUsage, AKI, AIA, CDP and certificatePolicies, encoded one after the other.
    extensions: Vec<u8>,
}

impl EndEntityTemplate {
    /// Checks and encodes what the certificates share.
    pub fn new(issuer: &Issuer, options: &EndEntityOptions<'_>) -> Result<EndEntityTemplate, IssuanceError> {
        if options.links.ocsp.is_none() && options.links.crl.is_none() {
            return Err(IssuanceError::field("links", "neither an OCSP nor a CRL URL", "at least one of them"));
        }
        let purposes: &[_] = if options.client_auth { &[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH] } else { &[ID_KP_SERVER_AUTH] };
        let extensions = [
            extensions::key_usage(true, KeyUsages::DigitalSignature.into())?,
            extensions::extended_key_usage(false, purposes)?,
            extensions::authority_key_identifier(false, &issuer.certificate.key_identifier)?,
            extensions::links(&options.links)?,
            extensions::domain_validated()?,
        ];
        Ok(EndEntityTemplate { issuer: issuer.clone(), extensions: extensions.concat() })
    }

    /// The DER certificate for `order`: CN and subjectAltName, keyUsage digitalSignature (critical), extKeyUsage serverAuth, SKI, AKI, AIA,
    /// CDP, policy 2.23.140.1.2.1 (domain-validated), no basicConstraints.
    pub fn issue(&self, order: &EndEntityOrder<'_>) -> Result<Vec<u8>, IssuanceError> {
        self.issuer.check_validity(&order.validity)?;
        let dns_names: Vec<_> = order.dns_names.iter().map(|name| AlternativeName::Dns(name)).collect();
        let alternative_names = extensions::subject_alt_name(false, &dns_names)?;
        let subject = names::common_name(order.dns_names[0])?;
        let mut extensions = Vec::with_capacity(self.extensions.len() + alternative_names.len() + 64);
        extensions.extend_from_slice(&self.extensions);
        extensions.extend(extensions::subject_key_identifier(false, &extensions::key_identifier(order.spki)?)?);
        extensions.extend(alternative_names);
        let body = Body {
            issuer: &self.issuer.certificate.subject,
            subject: &subject,
            spki: order.spki,
            serial: &order.serial,
            validity: &order.validity,
            extensions: &extensions,
        };
        sign(&body, &*self.issuer.key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use der::{Decode, Encode};
    use x509_cert::Certificate;
    use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

    use super::super::{RootOrder, random_serial, self_signed_root};
    use super::*;
    use crate::pki::{CertificateInfo, KeyAlgorithm, Timestamp};
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    fn issuer() -> (Issuer, Validity) {
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let not_before = Timestamp::from_unix(1_800_000_000).unwrap();
        let validity = Validity { not_before, not_after: not_before.saturating_add(Duration::from_secs(90 * 86_400)) };
        let order = RootOrder { subject: "CN=Root", serial: "01".parse().unwrap(), validity, signs_ocsp: false };
        (Issuer::new(CertificateInfo::from_der(&self_signed_root(&order, &*key).unwrap()).unwrap(), key).unwrap(), validity)
    }

    fn links() -> Links<'static> {
        Links {
            ocsp: Some("http://ocsp.example/"),
            ca_issuers: Some("http://ca.example/ca.der"),
            crl: Some("http://crl.example/ca/17.crl"),
        }
    }

    #[test]
    fn an_end_entity_certificate_has_what_was_ordered_and_is_no_ca() {
        let (issuer, validity) = issuer();
        for client_auth in [false, true] {
            let template = EndEntityTemplate::new(&issuer, &EndEntityOptions { links: links(), client_auth }).unwrap();
            let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            let serial = random_serial(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
            let order = EndEntityOrder { dns_names: &["www.example.com", "*.example.org"], spki: key.public_key(), serial, validity };
            let der = template.issue(&order).unwrap();
            let certificate = Certificate::from_der(&der).unwrap();
            assert_eq!(certificate.to_der().unwrap(), der);
            let tbs = &certificate.tbs_certificate;
            assert_eq!(tbs.get::<BasicConstraints>().unwrap(), None);
            let (critical, usage) = tbs.get::<KeyUsage>().unwrap().unwrap();
            assert!(critical && usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
            assert_eq!(tbs.get::<ExtendedKeyUsage>().unwrap().unwrap().1.0.len(), 1 + usize::from(client_auth));
            assert_eq!(tbs.get::<SubjectAltName>().unwrap().unwrap().1.0.len(), 2);
            let info = CertificateInfo::from_der(&der).unwrap();
            assert!(info.is_signed_by(&issuer.certificate().spki));
            assert_eq!((info.serial, info.subject_text.as_str(), info.spki.as_slice()), (serial, "CN=www.example.com", key.public_key()));
            assert_eq!((info.not_before, info.not_after), (validity.not_before, validity.not_after), "not dated back");
            assert_eq!(info.crl_urls, ["http://crl.example/ca/17.crl"]);
        }
    }

    #[test]
    fn orders_out_of_bounds_are_refused() {
        let (issuer, validity) = issuer();
        assert!(EndEntityTemplate::new(&issuer, &EndEntityOptions::default()).is_err(), "no revocation information at all");
        let secure = Links { crl: Some("https://crl.example/"), ..links() };
        assert!(EndEntityTemplate::new(&issuer, &EndEntityOptions { links: secure, client_auth: false }).is_err());
        let template = EndEntityTemplate::new(&issuer, &EndEntityOptions { links: links(), client_auth: false }).unwrap();
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let order = EndEntityOrder { dns_names: &["www.example.com"], spki: key.public_key(), serial: "02".parse().unwrap(), validity };
        assert!(template.issue(&order).is_ok());
        assert!(template.issue(&EndEntityOrder { dns_names: &[], ..order }).is_err());
        let long = format!("{}.example.com", "a".repeat(60));
        let message = template.issue(&EndEntityOrder { dns_names: &[&long], ..order }).unwrap_err().to_string();
        assert_eq!(message, "subject CN: found 72 characters, wanted 1 to 64");
        assert!(
            template.issue(&EndEntityOrder { dns_names: &["www.example.com", &long], ..order }).is_ok(),
            "only the first name is the CN"
        );
        let late = Validity { not_after: Timestamp::MAX, ..validity };
        assert!(template.issue(&EndEntityOrder { validity: late, ..order }).is_err(), "beyond the issuer's validity");
    }
}
