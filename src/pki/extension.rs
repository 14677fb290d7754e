//! The extensions that CRLs, their entries and OCSP's SingleResponses carry, as DER.

use super::der_encoding::{constructed, integer_content, tag, tlv};
use super::{RevocationReason, Timestamp};

const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const FRESHEST_CRL: &[u8] = &[0x55, 0x1d, 0x2e];
const EXPIRED_CERTS_ON_CRL: &[u8] = &[0x55, 0x1d, 0x3c];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];
/// id-pkix-ocsp-archive-cutoff (RFC 6960 4.4.4).
const ARCHIVE_CUTOFF: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x06];

/// Whose certificates a CRL contains (RFC 5280 5.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Everybody's.
    All,
    /// onlyContainsUserCerts: those of end entities.
    UserCertificates,
    /// onlyContainsCACerts: those of CAs.
    CaCertificates,
}

/// Which certificates a CRL with an issuingDistributionPoint covers (RFC 5280 5.2.5, rule C4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingDistributionPoint {
    /// The http URI, byte-identical to the certificates' cRLDistributionPoints.
    pub uri: String,
    /// Whose certificates it contains.
    pub contents: Contents,
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
    constructed(tag::SEQUENCE, &[&tlv(tag::OID, oid), critical, &tlv(tag::OCTET_STRING, value)])
}

/// authorityKeyIdentifier with keyIdentifier only (rule C1).
pub fn authority_key_identifier(key_identifier: &[u8]) -> Vec<u8> {
    extension(AUTHORITY_KEY_IDENTIFIER, false, &constructed(tag::SEQUENCE, &[&tlv(tag::primitive(0), key_identifier)]))
}

/// cRLNumber, non-critical (rule C2).
pub fn crl_number(number: u64) -> Vec<u8> {
    extension(CRL_NUMBER, false, &tlv(tag::INTEGER, &integer_content(number)))
}

/// deltaCRLIndicator, critical: the number of the base (rule C5).
pub fn delta_crl_indicator(base: u64) -> Vec<u8> {
    extension(DELTA_CRL_INDICATOR, true, &tlv(tag::INTEGER, &integer_content(base)))
}

/// freshestCRL, non-critical: where the delta of a complete CRL is (RFC 5280 5.2.6, rule C5).
pub fn freshest_crl(uri: &str) -> Vec<u8> {
    let point = constructed(tag::SEQUENCE, &[&distribution_point_name(uri)]);
    extension(FRESHEST_CRL, false, &constructed(tag::SEQUENCE, &[&point]))
}

/// expiredCertsOnCRL, non-critical: entries of certificates that expired at `since` or later are kept (X.509 9.5.2.12, rule C6).
pub fn expired_certs_on_crl(since: Timestamp) -> Vec<u8> {
    extension(EXPIRED_CERTS_ON_CRL, false, &tlv(tag::GENERALIZED_TIME, &since.generalized()))
}

/// `[0]` DistributionPointName with `[0]` fullName of one URI.
fn distribution_point_name(uri: &str) -> Vec<u8> {
    let full_name = constructed(tag::constructed(0), &[&tlv(tag::primitive(6), uri.as_bytes())]);
    constructed(tag::constructed(0), &[&full_name])
}

/// issuingDistributionPoint, critical (rule C4).
pub fn issuing_distribution_point(point: &IssuingDistributionPoint) -> Vec<u8> {
    let distribution_point = distribution_point_name(&point.uri);
    let only: &[u8] = match point.contents {
        Contents::All => &[],
        Contents::UserCertificates => &[tag::primitive(1), 1, 0xff],
        Contents::CaCertificates => &[tag::primitive(2), 1, 0xff],
    };
    extension(ISSUING_DISTRIBUTION_POINT, true, &constructed(tag::SEQUENCE, &[&distribution_point, only]))
}

/// reasonCode of a CRL entry, never critical (rule C3).
pub fn reason_code(reason: RevocationReason) -> Vec<u8> {
    extension(REASON_CODE, false, &[tag::ENUMERATED, 1, reason.code()])
}

/// invalidityDate of a CRL entry, never critical (RFC 5280 5.3.2).
pub fn invalidity_date(at: Timestamp) -> Vec<u8> {
    extension(INVALIDITY_DATE, false, &tlv(tag::GENERALIZED_TIME, &at.generalized()))
}

/// ArchiveCutoff of a SingleResponse, non-critical: the status of certificates that expired at `since` or later is kept (RFC 6960 4.4.4, rule C6).
pub fn archive_cutoff(since: Timestamp) -> Vec<u8> {
    extension(ARCHIVE_CUTOFF, false, &tlv(tag::GENERALIZED_TIME, &since.generalized()))
}
