//! Certificate extensions as DER, from x509-cert's types. One function each; every one says whether it is critical.

use const_oid::db::{rfc5280, rfc6960};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Null, OctetString};
use der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage,
    KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};

use super::{IssuanceError, Links, names};
use crate::pki::HashAlgorithm;

/// CA/Browser Forum: domain-validated (BR 7.1.6.1).
const DOMAIN_VALIDATED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.140.1.2.1");

type Encoded = Result<Vec<u8>, IssuanceError>;

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &impl Encode) -> Encoded {
    Ok(Extension { extn_id, critical, extn_value: OctetString::new(value.to_der()?)? }.to_der()?)
}

/// Critical: a CA, with at most `path_length` CAs below it.
pub(super) fn ca(path_length: Option<u8>) -> Encoded {
    extension(BasicConstraints::OID, true, &BasicConstraints { ca: true, path_len_constraint: path_length })
}

/// Critical: keyCertSign and cRLSign (rule P2), and digitalSignature for a CA that signs OCSP responses itself.
pub(super) fn ca_key_usage(signs_ocsp: bool) -> Encoded {
    let usages = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
    extension(KeyUsage::OID, true, &KeyUsage(if signs_ocsp { usages | KeyUsages::DigitalSignature } else { usages }))
}

/// Critical: digitalSignature only (rule P1).
pub(super) fn digital_signature() -> Encoded {
    extension(KeyUsage::OID, true, &KeyUsage(KeyUsages::DigitalSignature.into()))
}

/// id-kp-OCSPSigning only (rule P1).
pub(super) fn ocsp_signing() -> Encoded {
    extension(ExtendedKeyUsage::OID, false, &ExtendedKeyUsage(vec![rfc5280::ID_KP_OCSP_SIGNING]))
}

/// id-kp-serverAuth, with id-kp-clientAuth where wanted.
pub(super) fn tls(client_auth: bool) -> Encoded {
    let mut purposes = vec![rfc5280::ID_KP_SERVER_AUTH];
    purposes.extend(client_auth.then_some(rfc5280::ID_KP_CLIENT_AUTH));
    extension(ExtendedKeyUsage::OID, false, &ExtendedKeyUsage(purposes))
}

/// id-pkix-ocsp-nocheck with the value NULL (RFC 6960 4.2.2.2.1, rule P1).
pub(super) fn ocsp_no_check() -> Encoded {
    extension(rfc6960::ID_PKIX_OCSP_NOCHECK, false, &Null)
}

/// Not an extension: SHA-1 of the key's bits (RFC 5280 4.2.1.2, method 1): what OCSP's byKey holds too.
pub(super) fn key_identifier(spki: &[u8]) -> Encoded {
    let key = spki::SubjectPublicKeyInfoRef::from_der(spki)?;
    Ok(HashAlgorithm::Sha1.hash(key.subject_public_key.raw_bytes()).as_ref().to_vec())
}

/// The key's own identifier.
pub(super) fn subject_key_identifier(spki: &[u8]) -> Encoded {
    extension(SubjectKeyIdentifier::OID, false, &SubjectKeyIdentifier(OctetString::new(key_identifier(spki)?)?))
}

/// The issuer's key identifier, without its name and serial.
pub(super) fn authority_key_identifier(key_identifier: &[u8]) -> Encoded {
    let identifier = AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(key_identifier)?), ..Default::default() };
    extension(AuthorityKeyIdentifier::OID, false, &identifier)
}

/// 2.23.140.1.2.1.
pub(super) fn domain_validated() -> Encoded {
    let policy = PolicyInformation { policy_identifier: DOMAIN_VALIDATED, policy_qualifiers: None };
    extension(CertificatePolicies::OID, false, &CertificatePolicies(vec![policy]))
}

/// The dNSNames; not critical, since the subject is not empty.
pub(super) fn subject_alt_name(dns_names: &[&str]) -> Encoded {
    extension(SubjectAltName::OID, false, &SubjectAltName(names::dns_names(dns_names)?))
}

/// authorityInfoAccess and cRLDistributionPoints, as far as there is something to say; one after the other.
pub(super) fn links(links: &Links<'_>) -> Encoded {
    let location = |method, field, url: &str| -> Result<AccessDescription, IssuanceError> {
        Ok(AccessDescription { access_method: method, access_location: names::url(field, url)? })
    };
    let ocsp = links.ocsp.map(|url| location(rfc5280::ID_AD_OCSP, "OCSP URL", url));
    let ca_issuers = links.ca_issuers.map(|url| location(rfc5280::ID_AD_CA_ISSUERS, "caIssuers URL", url));
    let access = ocsp.into_iter().chain(ca_issuers).collect::<Result<Vec<_>, _>>()?;
    let mut encoded = Vec::new();
    if !access.is_empty() {
        encoded.extend(extension(AuthorityInfoAccessSyntax::OID, false, &AuthorityInfoAccessSyntax(access))?);
    }
    if let Some(url) = links.crl {
        let distribution_point = Some(DistributionPointName::FullName(vec![names::url("CRL URL", url)?]));
        let point = DistributionPoint { distribution_point, reasons: None, crl_issuer: None };
        encoded.extend(extension(CrlDistributionPoints::OID, false, &CrlDistributionPoints(vec![point]))?);
    }
    Ok(encoded)
}
