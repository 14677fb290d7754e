//! The rules that certificates at hand obey, one row each: the CA's own, and that of a delegated OCSP responder.

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::{
    ID_AD_OCSP, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_FRESHEST_CRL, ID_CE_NAME_CONSTRAINTS,
    ID_CE_SUBJECT_ALT_NAME, ID_KP_OCSP_SIGNING,
};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use der::asn1::ObjectIdentifier;
use der::flagset::FlagSet;
use der::{Decode, DecodeOwned, Encode};
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::facts::{CertificateOctets, IssuerFacts};
use super::{Difference, Finding, Lint, Programme, Verdict, differs, expect, hex, same_octets};
use crate::pki::SignatureAlgorithm;

/// noRevAvail (RFC 9608).
const NO_REV_AVAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.56");
/// DER of NULL.
const NULL: &[u8] = &[0x05, 0x00];

/// A row of the table.
pub(super) type CertificateLint = Lint<fn(&Read<'_>, &IssuerFacts) -> Verdict>;

/// Why a certificate cannot even be looked at.
pub(super) const READING: (&str, &str) = ("P1", "a certificate in DER");

/// Rules for the certificate of a delegated responder: what RFC 6960 needs, and under the BR all of their profile.
pub(super) const RESPONDER_LINTS: &[CertificateLint] = &[
    Lint { rule: "O7", what: "the responder certificate is issued by the CA itself", check: issued_by },
    Lint { rule: "O7", what: "the responder certificate is signed with the CA's key", check: signed_by },
    Lint { rule: "P1", what: "authorityKeyIdentifier is the CA's key identifier", check: authority_key },
    Lint { rule: "P1", what: "keyUsage lets it sign", check: may_sign },
    Lint { rule: "P1", what: "extKeyUsage has OCSPSigning", check: ocsp_signing },
    Lint { rule: "P1", what: "id-pkix-ocsp-nocheck is NULL", check: no_check_is_null },
    Lint { rule: "P1", what: "not a CA's certificate", check: not_a_ca },
    Lint { rule: "P1", what: "BR: keyUsage is critical, and digitalSignature only", check: br_key_usage },
    Lint { rule: "P1", what: "BR: extKeyUsage is OCSPSigning only", check: br_purposes },
    Lint { rule: "P1", what: "BR: with id-pkix-ocsp-nocheck", check: br_no_check },
    Lint { rule: "P1", what: "BR: no distribution point, subjectAltName or nameConstraints", check: br_no_others },
    Lint { rule: "P1", what: "BR: no certificatePolicies", check: br_no_policies },
    Lint { rule: "P3", what: "BR: the serial number has 64 bits, is positive and below 2^159", check: br_serial },
    Lint { rule: "P4", what: "noRevAvail is NULL and not critical", check: no_rev_avail_form },
    Lint { rule: "P4", what: "noRevAvail not beside a distribution point or AIA-OCSP", check: no_rev_avail_alone },
];

/// Rules for the CA's own certificate.
pub(super) const CA_LINTS: &[CertificateLint] = &[
    Lint { rule: "P2", what: "a CA's keyUsage has cRLSign", check: crl_sign },
    Lint { rule: "P4", what: "no noRevAvail in a CA's certificate", check: no_rev_avail_in_a_ca },
];

/// Holds the certificate of a delegated responder against its rules.
pub fn check_responder_certificate(der: &[u8], ca: &IssuerFacts) -> Vec<Finding> {
    check(der, ca, RESPONDER_LINTS)
}

/// Holds the CA's own certificate against its rules.
pub fn check_ca_certificate(ca: &IssuerFacts) -> Vec<Finding> {
    check(&ca.certificate, ca, CA_LINTS)
}

/// A certificate that was read.
pub(super) struct Read<'a> {
    certificate: Certificate,
    octets: CertificateOctets<'a>,
}

impl<'a> Read<'a> {
    fn of(der: &'a [u8]) -> der::Result<Read<'a>> {
        Ok(Read { certificate: Certificate::from_der(der)?, octets: CertificateOctets::of(der)? })
    }

    /// The extension of that type, where it is there and can be read; and whether it is critical.
    fn get<T: AssociatedOid + DecodeOwned>(&self) -> Option<(bool, T)> {
        self.certificate.tbs_certificate.get::<T>().ok().flatten()
    }

    fn extension(&self, id: ObjectIdentifier) -> Option<&Extension> {
        self.certificate.tbs_certificate.extensions.iter().flatten().find(|e| e.extn_id == id)
    }

    fn purposes(&self) -> Vec<ObjectIdentifier> {
        self.get::<ExtendedKeyUsage>().map(|(_, usage)| usage.0).unwrap_or_default()
    }
}

fn check(der: &[u8], ca: &IssuerFacts, lints: &[CertificateLint]) -> Vec<Finding> {
    match Read::of(der) {
        Ok(read) => lints.iter().filter_map(|lint| lint.finding((lint.check)(&read, ca))).collect(),
        Err(e) => {
            let (rule, what) = READING;
            vec![Finding::new(rule, what, Difference { found: e.to_string(), wanted: "DER as in RFC 5280 4.1".to_owned() })]
        }
    }
}

fn is_br(ca: &IssuerFacts) -> bool {
    ca.profile.has(Programme::BaselineRequirements)
}

fn issued_by(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    same_octets(read.octets.issuer, &ca.subject)
}

fn signed_by(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let identifier = read.certificate.signature_algorithm.to_der().unwrap_or_default();
    let algorithm = SignatureAlgorithm::ALL.into_iter().find(|a| a.identifier() == identifier);
    let verifies = algorithm.is_some_and(|a| a.verify(&ca.spki, read.octets.to_be_signed, read.certificate.signature.raw_bytes()));
    expect(verifies, || "it is not".to_owned(), || format!("a signature by the key {}", hex(&ca.key_identifier)))
}

fn authority_key(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let identifier = read.get::<AuthorityKeyIdentifier>().and_then(|(_, aki)| aki.key_identifier);
    match identifier {
        Some(identifier) => same_octets(identifier.as_bytes(), &ca.key_identifier),
        None if is_br(ca) => differs("none", hex(&ca.key_identifier)),
        None => None,
    }
}

fn may_sign(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    let (_, usage) = read.get::<KeyUsage>()?;
    expect(usage.digital_signature() || usage.non_repudiation(), || format!("{:?}", usage.0), || "digitalSignature".to_owned())
}

fn ocsp_signing(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    let purposes = read.purposes();
    expect(purposes.contains(&ID_KP_OCSP_SIGNING), || format!("{purposes:?}"), || "OCSPSigning".to_owned())
}

fn no_check_is_null(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    same_octets(read.extension(ID_PKIX_OCSP_NOCHECK)?.extn_value.as_bytes(), NULL)
}

fn not_a_ca(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    let constraints = read.get::<BasicConstraints>();
    expect(!constraints.is_some_and(|(_, c)| c.ca), || "cA TRUE".to_owned(), || "an end entity".to_owned())
}

fn br_key_usage(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let found = read.get::<KeyUsage>();
    let wanted: FlagSet<KeyUsages> = KeyUsages::DigitalSignature.into();
    // Without digitalSignature it cannot sign at all: that is the general rule.
    let lets_sign = found.as_ref().is_none_or(|(_, usage)| usage.digital_signature());
    let holds = !is_br(ca) || !lets_sign || found.as_ref().is_some_and(|(critical, usage)| *critical && usage.0 == wanted);
    expect(holds, || format!("{found:?}"), || "critical, digitalSignature only".to_owned())
}

fn br_purposes(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let purposes = read.purposes();
    let applies = is_br(ca) && purposes.contains(&ID_KP_OCSP_SIGNING);
    expect(!applies || purposes.len() == 1, || format!("{purposes:?}"), || "OCSPSigning only".to_owned())
}

fn br_no_check(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let there = read.extension(ID_PKIX_OCSP_NOCHECK).is_some();
    expect(!is_br(ca) || there, || "none".to_owned(), || "id-pkix-ocsp-nocheck".to_owned())
}

fn br_no_others(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let others = [ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_SUBJECT_ALT_NAME, ID_CE_NAME_CONSTRAINTS];
    let found = others.into_iter().find(|id| read.extension(*id).is_some()).filter(|_| is_br(ca))?;
    differs(found, "none of them")
}

fn br_no_policies(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let there = is_br(ca) && read.extension(ID_CE_CERTIFICATE_POLICIES).is_some();
    expect(!there, || "certificatePolicies".to_owned(), || "none".to_owned())
}

fn br_serial(read: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let serial = read.certificate.tbs_certificate.serial_number.as_bytes();
    let positive = serial.first().is_some_and(|first| *first < 0x80);
    let holds = !is_br(ca) || positive && (8..=20).contains(&serial.len());
    expect(holds, || hex(serial), || "8 to 20 octets, positive".to_owned())
}

fn no_rev_avail_form(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    let extension = read.extension(NO_REV_AVAIL)?;
    if extension.critical { differs("critical", "not critical") } else { same_octets(extension.extn_value.as_bytes(), NULL) }
}

fn no_rev_avail_alone(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    read.extension(NO_REV_AVAIL)?;
    let point = [ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_FRESHEST_CRL].into_iter().any(|id| read.extension(id).is_some());
    let access = read.get::<AuthorityInfoAccessSyntax>();
    let ocsp = access.is_some_and(|(_, access)| access.0.iter().any(|a| a.access_method == ID_AD_OCSP));
    expect(!point && !ocsp, || "a distribution point or AIA-OCSP".to_owned(), || "neither".to_owned())
}

fn crl_sign(_: &Read<'_>, ca: &IssuerFacts) -> Verdict {
    let found = || if ca.may_sign_crls.is_none() { "no keyUsage".to_owned() } else { "a keyUsage without it".to_owned() };
    expect(ca.may_sign_crls.unwrap_or(!is_br(ca)), found, || "cRLSign".to_owned())
}

fn no_rev_avail_in_a_ca(read: &Read<'_>, _: &IssuerFacts) -> Verdict {
    expect(read.extension(NO_REV_AVAIL).is_none(), || "noRevAvail".to_owned(), || "none".to_owned())
}
