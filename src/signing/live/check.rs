//! The gate for live answers: read again with x509-ocsp's decoders, held against rules O1 – O8, O10, O11, C6, O14, O15 and T3, the signature verified.

use const_oid::db::rfc6960::{ID_PKIX_OCSP_ARCHIVE_CUTOFF, ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use x509_ocsp::ext::ArchiveCutoff;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse, OcspResponseStatus, ResponderId, SingleResponse};

use super::super::ResponseSigner;
use super::super::gate::Finding;
use crate::pki::ocsp_live::{LiveSingle, LiveStatus, Question, SignedAnswer};
use crate::pki::{CertificateStatus, Timestamp};

/// id-pkix-ocsp-extended-revoke (RFC 6960 4.4.8).
const EXTENDED_REVOKE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.9");

type Result<T> = std::result::Result<T, Finding>;

/// `fault`: what is there where the rule does not hold.
fn require(holds: bool, rule: &'static str, fault: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(finding(rule, fault.to_owned())) }
}

fn unreadable(rule: &'static str, error: &der::Error) -> Finding {
    finding(rule, error.to_string())
}

pub(super) fn finding(rule: &'static str, found: String) -> Finding {
    Finding { rule, what: "a live answer", found, wanted: "an answer to the question by the rules".to_owned() }
}

/// Holds an answer against its question and its signer.
pub(super) fn check(question: &Question, answer: &SignedAnswer, signer: &ResponseSigner) -> Result<()> {
    let response = OcspResponse::from_der(&answer.der).map_err(|e| unreadable("O1", &e))?;
    require(response.response_status == OcspResponseStatus::Successful, "O1", "the status is not successful")?;
    let bytes = response.response_bytes.filter(|bytes| bytes.response_type == ID_PKIX_OCSP_BASIC);
    let bytes = bytes.ok_or_else(|| finding("O1", "no basic response".to_owned()))?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|e| unreadable("O1", &e))?;
    let data = &basic.tbs_response_data;
    let by_key = matches!(&data.responder_id, ResponderId::ByKey(hash) if hash.as_bytes() == signer.signer.key_hash);
    require(by_key, "O3", "the ResponderID is not the SHA-1 of the signer's key")?;
    require(time(data.produced_at) == answer.this_update, "O13", "producedAt is not thisUpdate")?;
    require(data.responses.len() == question.singles.len(), "O4", "not one SingleResponse for each certificate")?;
    data.responses.iter().zip(&question.singles).try_for_each(|(found, meant)| {
        check_single(found, meant, answer)?;
        check_archive_cutoff(found, signer.signer.archive_cutoff.filter(|_| meant.status.is_issued()))
    })?;
    check_extensions(&basic, question)?;
    require(answer.next_update > answer.this_update, "O6", "nextUpdate is not after thisUpdate")?;
    require(answer.next_update <= signer.not_after, "T3", "nextUpdate is later than the signer's notAfter")?;
    let found: Option<Vec<Vec<u8>>> = basic.certs.as_ref().map(|certs| certs.iter().filter_map(|c| c.to_der().ok()).collect());
    let meant = signer.signer.certificate.as_ref().map(|der| vec![der.clone()]);
    require(found == meant, "O7", "certs holds something else than the delegated responder's certificate")?;
    let identifier = basic.signature_algorithm.to_der().unwrap_or_default();
    require(identifier == signer.signer.algorithm.identifier(), "O15", "another signature algorithm than the signer's")?;
    let to_be_signed = data.to_der().map_err(|e| unreadable("O1", &e))?;
    let verifies = signer.signer.algorithm.verify(signer.key.public_key(), &to_be_signed, basic.signature.raw_bytes());
    require(verifies, "O15", "the signature does not verify")
}

fn time(time: x509_ocsp::OcspGeneralizedTime) -> Timestamp {
    Timestamp::from(time.0.to_date_time())
}

fn check_single(found: &SingleResponse, meant: &LiveSingle, answer: &SignedAnswer) -> Result<()> {
    require(found.cert_id.to_der().is_ok_and(|der| *der == *meant.cert_id), "O5", "another CertID than asked for")?;
    let same = match (&found.cert_status, meant.status) {
        (CertStatus::Good(_), LiveStatus::Issued(CertificateStatus::Good)) => true,
        (CertStatus::Revoked(info), LiveStatus::Issued(CertificateStatus::Revoked(revocation))) => {
            let reason = info.revocation_reason.map(|reason| reason as u8);
            time(info.revocation_time) == revocation.at && reason == revocation.reason.map(|reason| reason.code())
        }
        (CertStatus::Revoked(info), LiveStatus::NeverIssued) => {
            time(info.revocation_time) == Timestamp::default() && info.revocation_reason.map(|reason| reason as u8) == Some(6)
        }
        (CertStatus::Unknown(_), LiveStatus::Unknown) => true,
        _ => false,
    };
    let rule = if meant.status == LiveStatus::NeverIssued { "O10" } else { "C9" };
    require(same, rule, "another status than meant")?;
    require(time(found.this_update) == answer.this_update, "O13", "thisUpdate is not what was meant")?;
    require(found.next_update.map(time) == Some(answer.next_update), "O6", "nextUpdate is not what was meant")
}

/// The signer's ArchiveCutoff, with a certificate that was issued; nothing else.
fn check_archive_cutoff(found: &SingleResponse, meant: Option<Timestamp>) -> Result<()> {
    let found = match found.single_extensions.as_deref() {
        None => None,
        Some([only]) if only.extn_id == ID_PKIX_OCSP_ARCHIVE_CUTOFF && !only.critical => {
            let cutoff = ArchiveCutoff::from_der(only.extn_value.as_bytes()).map_err(|e| unreadable("C6", &e))?;
            Some(time(cutoff.0))
        }
        Some(_) => return Err(finding("O14", "singleExtensions that nobody asked for".to_owned())),
    };
    require(found == meant, "C6", "another ArchiveCutoff than the signer's, or none")
}

/// The nonce of the question, and extended-revoke where it is called for; nothing else.
fn check_extensions(basic: &BasicOcspResponse, question: &Question) -> Result<()> {
    let extensions = basic.tbs_response_data.response_extensions.as_deref();
    require(extensions.is_none_or(|all| !all.is_empty()), "O8", "empty responseExtensions")?;
    let extensions = extensions.unwrap_or_default();
    let value = |id| extensions.iter().find(|e| e.extn_id == id).map(|e| e.extn_value.as_bytes());
    let nonce = value(ID_PKIX_OCSP_NONCE).map(OctetString::from_der).transpose().map_err(|e| unreadable("O11", &e))?;
    require(nonce.as_ref().map(OctetString::as_bytes) == question.nonce.as_deref(), "O11", "another nonce than the question's")?;
    let extended = question.singles.iter().any(|single| single.status == LiveStatus::NeverIssued);
    require(value(EXTENDED_REVOKE) == extended.then_some(&[0x05, 0x00][..]), "O10", "extended-revoke is missing, or there without need")?;
    let wanted = usize::from(nonce.is_some()) + usize::from(extended);
    require(extensions.len() == wanted && extensions.iter().all(|e| !e.critical), "O8", "responseExtensions that nobody asked for")
}
