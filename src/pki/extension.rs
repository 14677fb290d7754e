//! The extensions that CRLs and their entries carry, as DER.

use super::der_encoding::{constructed, integer_content, tag, tlv};
use super::{RevocationReason, Timestamp};

const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];

/// Which certificates a CRL with an issuingDistributionPoint covers (RFC 5280 5.2.5, rule C4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingDistributionPoint {
    /// The http URI, byte-identical to the certificates' cRLDistributionPoints.
    pub uri: String,
    /// onlyContainsUserCerts: the scope is end-entity certificates.
    pub only_user_certificates: bool,
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

/// issuingDistributionPoint, critical (rule C4).
pub fn issuing_distribution_point(point: &IssuingDistributionPoint) -> Vec<u8> {
    let full_name = constructed(tag::constructed(0), &[&tlv(tag::primitive(6), point.uri.as_bytes())]);
    let distribution_point = constructed(tag::constructed(0), &[&full_name]);
    let only_user: &[u8] = if point.only_user_certificates { &[tag::primitive(1), 1, 0xff] } else { &[] };
    extension(ISSUING_DISTRIBUTION_POINT, true, &constructed(tag::SEQUENCE, &[&distribution_point, only_user]))
}

/// reasonCode of a CRL entry, never critical (rule C3).
pub fn reason_code(reason: RevocationReason) -> Vec<u8> {
    extension(REASON_CODE, false, &[tag::ENUMERATED, 1, reason.code()])
}

/// invalidityDate of a CRL entry, never critical (RFC 5280 5.3.2).
pub fn invalidity_date(at: Timestamp) -> Vec<u8> {
    extension(INVALIDITY_DATE, false, &tlv(tag::GENERALIZED_TIME, &at.generalized()))
}
