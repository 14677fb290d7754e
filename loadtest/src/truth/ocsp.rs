//! Whether an OCSP response is right: what it says, about which certificate, until when, and who says so. Read by x509-ocsp. Reads no clock.

use std::time::SystemTime;

use const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC;
use der::{Decode, Encode};
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, OcspResponseStatus, ResponderId, SingleResponse,
};

use super::headers::{HeaderRules, Times};
use super::{Answer, shown_time, signature, time};
use crate::targets::Expected;
use crate::targets::certificate::Certificate;

/// certificateHold at 1970: how extended-revoke answers for a serial that was never issued (O10).
const CERTIFICATE_HOLD: u8 = 6;

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// DER of the request.
    pub(super) question: &'a [u8],
    pub(super) expected: Expected,
}

/// What is wrong with an answer.
pub(super) fn check(asked: &Asked<'_>, answer: &Answer<'_>, issuer: Option<&Certificate>, rules: HeaderRules) -> Vec<String> {
    if answer.status >= 400 {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    if rules >= HeaderRules::Basic {
        wrong.extend(answer.fields.content_type("application/ocsp-response"));
    }
    let Ok(response) = OcspResponse::from_der(answer.body) else {
        wrong.push("not an OCSP response in DER".to_owned());
        return wrong;
    };
    if response.response_status != OcspResponseStatus::Successful {
        wrong.extend(check_error(asked.expected, response.response_status));
        if response.response_bytes.is_some() {
            wrong.push("O1 an error with responseBytes".to_owned());
        }
        if rules == HeaderRules::O13 {
            wrong.extend(answer.fields.not_authoritative());
        }
        return wrong;
    }
    let basic = response.response_bytes.filter(|bytes| bytes.response_type == ID_PKIX_OCSP_BASIC);
    let Some(basic) = basic.and_then(|bytes| BasicOcspResponse::from_der(bytes.response.as_bytes()).ok()) else {
        wrong.push("a successful response without a BasicOCSPResponse".to_owned());
        return wrong;
    };
    wrong.extend(check_basic(asked, answer, &basic, rules));
    wrong.extend(check_signature(&basic, answer.at, issuer));
    wrong
}

fn check_error(expected: Expected, found: OcspResponseStatus) -> Option<String> {
    let wanted = match (expected, found) {
        (Expected::Anything, _)
        | (Expected::NeverIssued, OcspResponseStatus::Unauthorized)
        | (Expected::Malformed, OcspResponseStatus::MalformedRequest) => return None,
        (Expected::Good, _) => "good",
        (Expected::Revoked, _) => "revoked",
        (Expected::Issued, _) => "good or revoked",
        (Expected::NeverIssued, _) => "unauthorized or unknown (O9)",
        (Expected::Malformed, _) => "malformedRequest",
    };
    Some(format!("status: found {found:?}, wanted {wanted}"))
}

fn check_basic(asked: &Asked<'_>, answer: &Answer<'_>, basic: &BasicOcspResponse, rules: HeaderRules) -> Vec<String> {
    let data = &basic.tbs_response_data;
    let mut wrong = Vec::new();
    let ids = asked_for(asked.question);
    let single = ids.first().and_then(|id| data.responses.iter().find(|single| single.cert_id.to_der().is_ok_and(|der| der == *id)));
    let Some(single) = single else {
        let found = data.responses.first().and_then(|single| single.cert_id.to_der().ok()).unwrap_or_default();
        let wanted = ids.first().map_or(String::new(), |id| super::hexadecimal(id));
        wrong.push(match asked.expected {
            Expected::Malformed => "a signed response to what is not a request".to_owned(),
            _ => format!("O5 CertID: found {}, wanted {wanted}", super::hexadecimal(&found)),
        });
        return wrong;
    };
    wrong.extend(check_status(asked.expected, single));
    let times = Times { this_update: of(single.this_update), next_update: single.next_update.map(of) };
    if times.this_update > answer.at {
        wrong.push(format!("thisUpdate: found {}, wanted not after {}", shown_time(times.this_update), shown_time(answer.at)));
    }
    match times.next_update {
        Some(next) if next <= answer.at => {
            wrong.push(format!("nextUpdate: found {}, wanted after {}: expired", shown_time(next), shown_time(answer.at)));
        }
        None if rules == HeaderRules::O13 => wrong.push("O6 no nextUpdate".to_owned()),
        _ => {}
    }
    if rules == HeaderRules::O13 {
        let is_about_issued = !matches!(single.cert_status, CertStatus::Unknown(_)) && asked.expected != Expected::NeverIssued;
        wrong.extend(if is_about_issued {
            answer.fields.authoritative(times, answer.at, answer.body.len())
        } else {
            answer.fields.not_authoritative().into_iter().collect()
        });
    }
    wrong
}

fn check_status(expected: Expected, single: &SingleResponse) -> Option<String> {
    let said = match &single.cert_status {
        CertStatus::Good(_) => "good",
        CertStatus::Unknown(_) => "unknown",
        CertStatus::Revoked(info) => match info.revocation_reason.map(|reason| reason as u8) {
            Some(CERTIFICATE_HOLD) if of(info.revocation_time) == SystemTime::UNIX_EPOCH => "extended-revoke",
            _ => "revoked",
        },
    };
    let is_right = match expected {
        Expected::Anything => true,
        Expected::Good => said == "good",
        Expected::Revoked => said == "revoked",
        Expected::Issued => matches!(said, "good" | "revoked"),
        Expected::NeverIssued => matches!(said, "unknown" | "extended-revoke"),
        Expected::Malformed => false,
    };
    let wanted = match expected {
        Expected::Good => "good",
        Expected::Revoked => "revoked",
        Expected::NeverIssued => "unauthorized or unknown (O9)",
        _ => "good or revoked",
    };
    (!is_right).then(|| format!("status: found {said}, wanted {wanted}"))
}

/// DER of each CertID of a request; none where it is not a request.
fn asked_for(question: &[u8]) -> Vec<Vec<u8>> {
    let Ok(request) = OcspRequest::from_der(question) else { return Vec::new() };
    request.tbs_request.request_list.iter().filter_map(|request| request.req_cert.to_der().ok()).collect()
}

/// The signature is that of the issuer, or of somebody whom the issuer has certified for it (O7), under the name that is given (O3).
fn check_signature(basic: &BasicOcspResponse, now: SystemTime, issuer: Option<&Certificate>) -> Option<String> {
    let embedded = basic.certs.as_deref().unwrap_or_default().iter().filter_map(|certificate| Certificate::of(certificate).ok());
    let signers: Vec<(Certificate, bool)> =
        issuer.cloned().map(|issuer| (issuer, false)).into_iter().chain(embedded.map(|c| (c, true))).collect();
    let id = &basic.tbs_response_data.responder_id;
    let Some((signer, is_embedded)) = signers.iter().find(|(certificate, _)| is_named(id, certificate)) else {
        // Without an issuer, a response without certificates cannot be verified.
        return issuer.map(|_| "O3 responderID: names neither the issuer nor a certificate in the response".to_owned());
    };
    let Ok(message) = basic.tbs_response_data.to_der() else { return Some("tbsResponseData: not DER".to_owned()) };
    if let Err(e) = signature::verify(basic.signature_algorithm.oid, &signer.key, &message, basic.signature.raw_bytes()) {
        return Some(format!("signature: {e}"));
    }
    match issuer {
        Some(issuer) if *is_embedded && signer.key != issuer.key => check_delegation(signer, issuer, now),
        _ => None,
    }
}

fn check_delegation(signer: &Certificate, issuer: &Certificate, now: SystemTime) -> Option<String> {
    let algorithm = signer.signature_algorithm?;
    if signer.issuer != issuer.subject || signature::verify(algorithm, &issuer.key, &signer.to_be_signed, &signer.signature).is_err() {
        return Some("O7 responder certificate: not issued by the issuer".to_owned());
    }
    if !signer.signs_ocsp {
        return Some("P1 responder certificate: without the extended key usage OCSPSigning".to_owned());
    }
    let (from, to) = (time(signer.validity.0), time(signer.validity.1));
    (now < from || now > to).then(|| format!("responder certificate: valid from {} to {}", shown_time(from), shown_time(to)))
}

fn is_named(id: &ResponderId, certificate: &Certificate) -> bool {
    match id {
        ResponderId::ByName(name) => name.to_der().is_ok_and(|name| name == certificate.subject),
        ResponderId::ByKey(hash) => {
            let own = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate.key_bits);
            hash.as_bytes() == own.as_ref()
        }
    }
}

fn of(moment: OcspGeneralizedTime) -> SystemTime {
    moment.0.to_system_time()
}
