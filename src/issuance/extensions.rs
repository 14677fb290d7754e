//! Certificate extensions as DER, from x509-cert's types: one function each.

use const_oid::db::{rfc5280, rfc6960};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Any, BitStringRef, Null, OctetString};
use der::flagset::FlagSet;
use der::{Decode, Encode, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::{PolicyInformation, PolicyQualifierInfo};
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage,
    KeyUsage, KeyUsages, PolicyMapping, PolicyMappings, SubjectAltName, SubjectKeyIdentifier,
};

use super::{AlternativeName, IssuanceError, Links, names};
use crate::pki::HashAlgorithm;

/// CA/Browser Forum: domain-validated (BR 7.1.6.1).
const DOMAIN_VALIDATED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.140.1.2.1");

/// noRevAvail (RFC 9608 2).
const NO_REV_AVAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.56");
const NETSCAPE_CERT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113730.1.1");

type Encoded = Result<Vec<u8>, IssuanceError>;

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &impl Encode) -> Encoded {
    Ok(Extension { extn_id, critical, extn_value: OctetString::new(value.to_der()?)? }.to_der()?)
}

/// A CA, with at most `path_length` CAs below it.
pub(super) fn basic_constraints_of_a_ca(critical: bool, path_length: Option<u8>) -> Encoded {
    extension(BasicConstraints::OID, critical, &BasicConstraints { ca: true, path_len_constraint: path_length })
}

/// What the key is for.
pub(super) fn key_usage(critical: bool, usages: FlagSet<KeyUsages>) -> Encoded {
    extension(KeyUsage::OID, critical, &KeyUsage(usages))
}

/// Critical: keyCertSign and cRLSign (rule P2), and digitalSignature for a CA that signs OCSP responses itself.
pub(super) fn ca_key_usage(signs_ocsp: bool) -> Encoded {
    let usages = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
    key_usage(true, if signs_ocsp { usages | KeyUsages::DigitalSignature } else { usages })
}

/// Purposes of the key, in that order.
pub(super) fn extended_key_usage(critical: bool, purposes: &[ObjectIdentifier]) -> Encoded {
    extension(ExtendedKeyUsage::OID, critical, &ExtendedKeyUsage(purposes.to_vec()))
}

/// id-pkix-ocsp-nocheck with the value NULL (RFC 6960 4.2.2.2.1, rule P1).
pub(super) fn ocsp_no_check(critical: bool) -> Encoded {
    extension(rfc6960::ID_PKIX_OCSP_NOCHECK, critical, &Null)
}

/// noRevAvail with the value NULL (RFC 9608 2, rule P4).
pub(super) fn no_rev_avail(critical: bool) -> Encoded {
    extension(NO_REV_AVAIL, critical, &Null)
}

/// netscape-cert-type: a BIT STRING whose bits have names (2.16.840.1.113730.1.1), without trailing zeros. Bit 0 is the highest of `bits`.
pub(super) fn netscape_cert_type(critical: bool, bits: u8) -> Encoded {
    extension(NETSCAPE_CERT_TYPE, critical, &BitStringRef::new(bits.trailing_zeros().min(7) as u8, &[bits])?)
}

/// Not an extension: SHA-1 of the key's bits (RFC 5280 4.2.1.2, method 1): what OCSP's byKey holds too.
pub(super) fn key_identifier(spki: &[u8]) -> Encoded {
    let key = spki::SubjectPublicKeyInfoRef::from_der(spki)?;
    Ok(HashAlgorithm::Sha1.hash(key.subject_public_key.raw_bytes()).as_ref().to_vec())
}

/// The identifier of the certified key.
pub(super) fn subject_key_identifier(critical: bool, key_identifier: &[u8]) -> Encoded {
    extension(SubjectKeyIdentifier::OID, critical, &SubjectKeyIdentifier(OctetString::new(key_identifier)?))
}

/// The issuer's key identifier, without its name and serial.
pub(super) fn authority_key_identifier(critical: bool, key_identifier: &[u8]) -> Encoded {
    let identifier = AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(key_identifier)?), ..Default::default() };
    extension(AuthorityKeyIdentifier::OID, critical, &identifier)
}

/// Policies, each with the URI of a CPS as its qualifier where there is one (RFC 5280 4.2.1.4).
pub(super) fn certificate_policies<'a>(critical: bool, policies: impl Iterator<Item = (ObjectIdentifier, Option<&'a str>)>) -> Encoded {
    let policies = policies.map(|(policy_identifier, cps)| {
        let qualifier = |uri: &str| -> Result<PolicyQualifierInfo, IssuanceError> {
            let qualifier = Any::new(Tag::Ia5String, uri.as_bytes())?;
            Ok(PolicyQualifierInfo { policy_qualifier_id: rfc5280::ID_QT_CPS, qualifier: Some(qualifier) })
        };
        let policy_qualifiers = cps.map(|uri| qualifier(uri).map(|qualifier| vec![qualifier])).transpose()?;
        Ok(PolicyInformation { policy_identifier, policy_qualifiers })
    });
    extension(CertificatePolicies::OID, critical, &CertificatePolicies(policies.collect::<Result<_, IssuanceError>>()?))
}

/// Which of the issuer's policies are as good as which of the subject's (RFC 5280 4.2.1.5).
pub(super) fn policy_mappings(critical: bool, mappings: impl Iterator<Item = (ObjectIdentifier, ObjectIdentifier)>) -> Encoded {
    let mapping = |(issuer_domain_policy, subject_domain_policy)| PolicyMapping { issuer_domain_policy, subject_domain_policy };
    extension(PolicyMappings::OID, critical, &PolicyMappings(mappings.map(mapping).collect()))
}

/// 2.23.140.1.2.1.
pub(super) fn domain_validated() -> Encoded {
    certificate_policies(false, [(DOMAIN_VALIDATED, None)].into_iter())
}

/// Other names of the subject. To be critical where the subject is empty.
pub(super) fn subject_alt_name(critical: bool, alternative_names: &[AlternativeName<'_>]) -> Encoded {
    extension(SubjectAltName::OID, critical, &SubjectAltName(names::alternative_names(alternative_names)?))
}

/// authorityInfoAccess and cRLDistributionPoints, as far as there is something to say; one after the other, neither critical.
pub(super) fn links(links: &Links<'_>) -> Encoded {
    let mut encoded = authority_info_access(false, links.ocsp, links.ca_issuers)?.unwrap_or_default();
    if let Some(url) = links.crl {
        encoded.extend(crl_distribution_points(false, url)?);
    }
    Ok(encoded)
}

/// Where the OCSP responder and the issuer's certificate are; `None` where neither is told.
pub(super) fn authority_info_access(
    critical: bool,
    ocsp: Option<&str>,
    ca_issuers: Option<&str>,
) -> Result<Option<Vec<u8>>, IssuanceError> {
    let location = |access_method, field, url: &str| -> Result<AccessDescription, IssuanceError> {
        Ok(AccessDescription { access_method, access_location: names::url(field, url)? })
    };
    let ocsp = ocsp.map(|url| location(rfc5280::ID_AD_OCSP, "OCSP URL", url));
    let ca_issuers = ca_issuers.map(|url| location(rfc5280::ID_AD_CA_ISSUERS, "caIssuers URL", url));
    let access = ocsp.into_iter().chain(ca_issuers).collect::<Result<Vec<_>, _>>()?;
    if access.is_empty() {
        return Ok(None);
    }
    extension(AuthorityInfoAccessSyntax::OID, critical, &AuthorityInfoAccessSyntax(access)).map(Some)
}

/// Where the CRL is that covers the certificate.
pub(super) fn crl_distribution_points(critical: bool, url: &str) -> Encoded {
    let distribution_point = Some(DistributionPointName::FullName(vec![names::url("CRL URL", url)?]));
    let point = DistributionPoint { distribution_point, reasons: None, crl_issuer: None };
    extension(CrlDistributionPoints::OID, critical, &CrlDistributionPoints(vec![point]))
}
