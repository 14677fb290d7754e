//! The gate: what was signed is read again, with decoders that share no code with our encoders, and held against the rules before it is published. It sees
//! every CRL, every response that says revoked, and the first response signed for a slot.
//!
//! What fails is not published, and what was served before stays.

use const_oid::db::rfc5280::ID_KP_OCSP_SIGNING;
use const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC;
use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, ExtendedKeyUsage, IssuingDistributionPoint};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse, OcspResponseStatus, ResponderId};

use super::{ResponseSigner, Timing};
use crate::pki::crl_reader::CrlReader;
use crate::pki::ocsp_response::SingleResponse;
use crate::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, SignatureAlgorithm, Timestamp};

/// Content octets of OIDs (RFC 5280 5.2, 5.3).
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];

/// A broken rule of `RULES.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What breaks it.
    pub what: String,
}

type Result<T> = std::result::Result<T, Finding>;

fn finding(rule: &'static str, what: impl Into<String>) -> Finding {
    Finding { rule, what: what.into() }
}

fn require(holds: bool, rule: &'static str, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(finding(rule, what)) }
}

/// The finding for a token that returns something that is no signature.
pub fn unusable_signature(algorithm: SignatureAlgorithm) -> Finding {
    finding("O15", format!("the token returned no {algorithm} signature value"))
}

/// An OCSP response before it is published, and what it is meant to say.
pub struct SignedResponse<'a> {
    /// The whole response.
    pub der: &'a [u8],
    /// What was to be signed.
    pub meant: &'a SingleResponse<'a>,
}

/// Reads a response again and holds it against rules O1 – O8, O14, T1 and T3, and its signature against the signer's key.
pub fn check_response(signed: &SignedResponse<'_>, ca: &CertificateInfo, responder: &ResponseSigner, timing: Timing) -> Result<()> {
    let response = OcspResponse::from_der(signed.der).map_err(|e| finding("O1", format!("not an OCSPResponse: {e}")))?;
    require(response.response_status == OcspResponseStatus::Successful, "O1", "the status is not successful")?;
    let bytes = response.response_bytes.ok_or_else(|| finding("O1", "no responseBytes"))?;
    require(bytes.response_type == ID_PKIX_OCSP_BASIC, "O1", "not a basic response")?;
    let basic =
        BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|e| finding("O1", format!("not a BasicOCSPResponse: {e}")))?;
    let data = &basic.tbs_response_data;
    let by_key = matches!(&data.responder_id, ResponderId::ByKey(hash) if hash.as_bytes() == responder.signer.key_hash);
    require(by_key, "O3", "the ResponderID is not the SHA-1 of the signer's key")?;
    require(data.response_extensions.is_none(), "O8", "a pre-produced response with responseExtensions")?;
    let [single] = &data.responses[..] else { return Err(finding("O4", format!("{} SingleResponses", data.responses.len()))) };
    check_cert_id(&single.cert_id, signed.meant, ca)?;
    check_status(&single.cert_status, signed.meant.status)?;
    require(single.single_extensions.is_none(), "O14", "singleExtensions that nobody asked for")?;
    let this_update = Timestamp::from(single.this_update.0.to_date_time());
    let next_update = single.next_update.map(|t| Timestamp::from(t.0.to_date_time())).ok_or_else(|| finding("O6", "no nextUpdate"))?;
    let produced_at = Timestamp::from(data.produced_at.0.to_date_time());
    require(this_update == signed.meant.this_update && produced_at == this_update, "O13", "thisUpdate and producedAt differ")?;
    require(next_update == signed.meant.next_update && next_update > this_update, "O6", "nextUpdate is not what was meant")?;
    require(next_update.since(this_update) < timing.validity, "T1", "valid for longer than the policy says")?;
    require(next_update <= responder.not_after, "T3", "nextUpdate is later than the signer's notAfter")?;
    check_certs(&basic, responder)?;
    let identifier = basic.signature_algorithm.to_der().unwrap_or_default();
    require(identifier == responder.signer.algorithm.identifier(), "O15", "another signature algorithm than the signer's")?;
    let tbs = data.to_der().map_err(|e| finding("O1", e.to_string()))?;
    let verifies = responder.signer.algorithm.verify(responder.key.public_key(), &tbs, basic.signature.raw_bytes());
    require(verifies, "O15", "the signature does not verify")
}

fn check_cert_id(found: &x509_ocsp::CertId, meant: &SingleResponse<'_>, ca: &CertificateInfo) -> Result<()> {
    let algorithm = HashAlgorithm::from_oid(found.hash_algorithm.oid.as_bytes()).ok_or_else(|| finding("O2", "an unknown CertID hash"))?;
    let hashes = IssuerHashes::of(ca, algorithm);
    require(found.issuer_name_hash.as_bytes() == hashes.name_hash, "O2", "issuerNameHash is not the hash of the CA's subject")?;
    require(found.issuer_key_hash.as_bytes() == hashes.key_hash, "O2", "issuerKeyHash is not the hash of the CA's key")?;
    require(found.serial_number.as_bytes() == meant.serial, "O5", "another serial number than meant")
}

fn check_status(found: &CertStatus, meant: CertificateStatus) -> Result<()> {
    let same = match (found, meant) {
        (CertStatus::Good(_), CertificateStatus::Good) => true,
        (CertStatus::Revoked(info), CertificateStatus::Revoked(revocation)) => {
            let reason = info.revocation_reason.map(|r| r as u8);
            Timestamp::from(info.revocation_time.0.to_date_time()) == revocation.at && reason == revocation.reason.map(|r| r.code())
        }
        _ => false,
    };
    require(same, "C9", "another status than the registry's")
}

fn check_certs(basic: &BasicOcspResponse, responder: &ResponseSigner) -> Result<()> {
    let found: Option<Vec<Vec<u8>>> = basic.certs.as_ref().map(|certs| certs.iter().filter_map(|c| c.to_der().ok()).collect());
    let meant = responder.signer.certificate.as_ref().map(|der| vec![der.clone()]);
    require(found == meant, "O7", "certs holds something else than the delegated responder's certificate")
}

/// Holds a delegated responder's certificate against rule O7: issued directly by the CA, with its present key, for OCSPSigning.
pub fn check_responder_certificate(delegate: &CertificateInfo, ca: &CertificateInfo) -> Result<()> {
    require(delegate.issuer == ca.subject, "O7", "the responder certificate names another issuer")?;
    require(delegate.is_signed_by(&ca.spki), "O7", "the responder certificate is not signed with the CA's key")?;
    let certificate = Certificate::from_der(&delegate.der).map_err(|e| finding("O7", e.to_string()))?;
    let usage = certificate.tbs_certificate.get::<ExtendedKeyUsage>().ok().flatten();
    require(usage.is_some_and(|(_, usage)| usage.0.contains(&ID_KP_OCSP_SIGNING)), "P1", "the responder certificate lacks EKU OCSPSigning")
}

/// What a CRL is meant to say.
pub struct MeantCrl<'a> {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// How many certificates it lists.
    pub entries: u64,
    /// The distribution point of its partition; `None` for the full CRL.
    pub distribution_point: Option<&'a str>,
    /// Algorithm of the signature.
    pub algorithm: SignatureAlgorithm,
}

/// Reads a CRL again, an entry at a time, and holds it against rules C1 – C4, and its signature against the CA's key.
pub fn check_crl(der: &[u8], meant: &MeantCrl<'_>, ca: &CertificateInfo) -> Result<()> {
    let crl = CrlReader::from_der(der).map_err(|e| finding("C1", e.to_string()))?;
    require(crl.outer_algorithm == crl.inner_algorithm, "C1", "inner and outer algorithm differ")?;
    require(crl.issuer == ca.subject, "C1", "the issuer is not the CA's subject")?;
    require(crl.this_update == meant.this_update, "C1", "thisUpdate is not what was meant")?;
    let in_order = meant.next_update > meant.this_update;
    require(crl.next_update == Some(meant.next_update) && in_order, "C1", "nextUpdate is not what was meant")?;
    check_entries(&crl, meant)?;
    check_crl_extensions(&crl, meant, ca)?;
    require(crl.outer_algorithm == meant.algorithm.identifier(), "C1", "another signature algorithm")?;
    let verifies = meant.algorithm.verify(&ca.spki, crl.to_be_signed, crl.signature);
    require(verifies, "C1", "the signature does not verify with the CA's key")
}

fn check_entries(crl: &CrlReader<'_>, meant: &MeantCrl<'_>) -> Result<()> {
    let mut found = 0;
    for entry in crl.entries() {
        let entry = entry.map_err(|e| finding("C1", e.to_string()))?;
        found += 1;
        for extension in entry.extensions() {
            require(!extension.critical, "C3", "a critical entry extension")?;
            let unspecified = extension.oid == REASON_CODE && extension.value == [0x0a, 1, 0];
            require(!unspecified, "C3", "reasonCode unspecified(0)")?;
        }
    }
    require(found == meant.entries, "C6", &format!("{found} entries, {} revoked certificates", meant.entries))
}

fn check_crl_extensions(crl: &CrlReader<'_>, meant: &MeantCrl<'_>, ca: &CertificateInfo) -> Result<()> {
    let aki = crl.extension(AUTHORITY_KEY_IDENTIFIER).and_then(|e| AuthorityKeyIdentifier::from_der(e.value).ok());
    let aki = aki.and_then(|a| a.key_identifier);
    require(aki.is_some_and(|id| id.as_bytes() == ca.key_identifier), "C1", "authorityKeyIdentifier is not the CA's")?;
    let number = crl.extension(CRL_NUMBER).filter(|e| !e.critical).and_then(|e| CrlNumber::from_der(e.value).ok());
    let octets = meant.number.to_be_bytes();
    let significant = &octets[octets.iter().position(|b| *b != 0).unwrap_or(7)..];
    require(number.is_some_and(|n| n.0.as_bytes() == significant), "C2", "cRLNumber is not what was meant, or critical")?;
    match (crl.extension(ISSUING_DISTRIBUTION_POINT), meant.distribution_point) {
        (None, None) => Ok(()),
        (Some(extension), Some(uri)) => {
            require(extension.critical, "C4", "issuingDistributionPoint is not critical")?;
            let point = IssuingDistributionPoint::from_der(extension.value).map_err(|e| finding("C4", e.to_string()))?;
            require(point.only_contains_user_certs && !point.only_contains_ca_certs, "C4", "a partition is not onlyContainsUserCerts")?;
            let same = matches!(&point.distribution_point, Some(DistributionPointName::FullName(names))
                if matches!(&names[..], [GeneralName::UniformResourceIdentifier(found)] if found.as_str() == uri));
            require(same, "C4", "the distribution point is not the certificates' CDP")
        }
        _ => Err(finding("C4", "issuingDistributionPoint on a full CRL, or none on a partition")),
    }
}
