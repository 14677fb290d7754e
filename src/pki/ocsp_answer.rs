//! Reading an answer that another responder has signed, as far as somebody who passes it on must know it. By x509-ocsp's decoders; verifies no signature.

use bytes::Bytes;
use const_oid::db::rfc6960::{ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
use der::asn1::OctetString;
use der::{Decode, Encode};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspResponse};

use super::ocsp_live::{LiveSingle, LiveStatus, Question, SignedAnswer, tag_of};
use super::{CertificateStatus, Revocation, RevocationReason, Timestamp};

/// CRLReason certificateHold: here only in answers about certificates that were never issued (rule O10).
const CERTIFICATE_HOLD: u8 = 6;

/// Not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// Not the DER of a successful, basic response.
    #[error("not a successful OCSP response")]
    Unreadable,
    /// Other certificates, or in another order.
    #[error("a response for other CertIDs than asked for")]
    CertIds,
    /// Another nonce, or none.
    #[error("a response without the nonce of the request")]
    Nonce,
    /// Without nextUpdate (rule O6).
    #[error("a response without nextUpdate")]
    NextUpdate,
}

/// Reads the answer to a question. Returns the question with the statuses that the answer tells, and the answer, which is due at once.
pub fn read_answer(der: Bytes, question: &Question) -> Result<(Question, SignedAnswer), NotAnAnswer> {
    let bytes = OcspResponse::from_der(&der).ok().and_then(|response| response.response_bytes).ok_or(NotAnAnswer::Unreadable)?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|_| NotAnAnswer::Unreadable)?;
    if bytes.response_type != ID_PKIX_OCSP_BASIC {
        return Err(NotAnAnswer::Unreadable);
    }
    let data = &basic.tbs_response_data;
    let extensions = data.response_extensions.as_deref().unwrap_or_default();
    let nonce = extensions.iter().find(|extension| extension.extn_id == ID_PKIX_OCSP_NONCE);
    let nonce = nonce.map(|extension| OctetString::from_der(extension.extn_value.as_bytes())).transpose();
    if nonce.map_err(|_| NotAnAnswer::Nonce)?.as_ref().map(OctetString::as_bytes) != question.nonce.as_deref() {
        return Err(NotAnAnswer::Nonce);
    }
    let is_same =
        |(found, asked): (&x509_ocsp::SingleResponse, &LiveSingle)| found.cert_id.to_der().is_ok_and(|der| *der == *asked.cert_id);
    if data.responses.len() != question.singles.len() || !data.responses.iter().zip(&question.singles).all(is_same) {
        return Err(NotAnAnswer::CertIds);
    }
    let singles = data.responses.iter().zip(&question.singles);
    let singles = singles.map(|(found, asked)| LiveSingle { cert_id: asked.cert_id.clone(), status: status(&found.cert_status) }).collect();
    let this_update = data.responses.iter().map(|single| time(single.this_update)).max().unwrap_or_default();
    let next_update = data.responses.iter().map(|single| single.next_update.map(time)).min().flatten().ok_or(NotAnAnswer::NextUpdate)?;
    let tag = tag_of(basic.signature.raw_bytes());
    let said = Question { singles, nonce: question.nonce.clone() };
    Ok((said, SignedAnswer { der, this_update, next_update, due: this_update, tag }))
}

fn time(time: OcspGeneralizedTime) -> Timestamp {
    Timestamp::from(time.0.to_date_time())
}

fn status(found: &CertStatus) -> LiveStatus {
    match found {
        CertStatus::Good(_) => LiveStatus::Issued(CertificateStatus::Good),
        CertStatus::Unknown(_) => LiveStatus::Unknown,
        CertStatus::Revoked(info) => {
            let (at, code) = (time(info.revocation_time), info.revocation_reason.map(|reason| reason as u8));
            match code {
                Some(CERTIFICATE_HOLD) => LiveStatus::NeverIssued,
                code => {
                    LiveStatus::Issued(CertificateStatus::Revoked(Revocation { at, reason: code.and_then(RevocationReason::from_code) }))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ocsp_live::LiveTemplate;
    use super::super::{HashAlgorithm, IssuerHashes, SignatureAlgorithm};
    use super::*;

    fn question(nonce: Option<u8>, serials: &[u8]) -> Question {
        let hashes = IssuerHashes { algorithm: HashAlgorithm::Sha384, name_hash: vec![1; 48], key_hash: vec![2; 48] };
        let revoked = CertificateStatus::Revoked(Revocation { at: Timestamp::default(), reason: Some(RevocationReason::Superseded) });
        let statuses =
            [LiveStatus::Issued(CertificateStatus::Good), LiveStatus::Issued(revoked), LiveStatus::Unknown, LiveStatus::NeverIssued];
        let single = |serial: &u8| LiveSingle { cert_id: hashes.cert_id(&[*serial]).into(), status: statuses[usize::from(serial % 4)] };
        Question { singles: serials.iter().map(single).collect(), nonce: nonce.map(|octet| [octet; 16].into()) }
    }

    fn answer(question: &Question) -> Bytes {
        let template = LiveTemplate::new(&[3; 20], SignatureAlgorithm::EcdsaSha256, None, Some(Timestamp::default()));
        let [this_update, next_update] = [1000, 2000].map(|seconds| Timestamp::from_unix(seconds).unwrap());
        template.response(template.unsigned(question, this_update, next_update), &[7; 70])
    }

    #[test]
    fn an_answer_to_the_question_is_read() {
        let asked = question(Some(9), &[1, 2, 3, 4]);
        let (said, read) = read_answer(answer(&asked), &asked).unwrap();
        assert_eq!(said, asked);
        assert_eq!((read.this_update.unix(), read.next_update.unix(), read.due.unix(), read.tag), (1000, 2000, 1000, [7; 12]));
    }

    #[test]
    fn o4_o5_o11_an_answer_to_another_question_is_not() {
        let asked = question(Some(9), &[1, 2]);
        for (other, why) in [
            (question(Some(8), &[1, 2]), NotAnAnswer::Nonce),
            (question(None, &[1, 2]), NotAnAnswer::Nonce),
            (question(Some(9), &[1]), NotAnAnswer::CertIds),
            (question(Some(9), &[2, 1]), NotAnAnswer::CertIds),
            (question(Some(9), &[1, 2, 3]), NotAnAnswer::CertIds),
        ] {
            assert_eq!(read_answer(answer(&other), &asked).unwrap_err(), why);
        }
        for der in [vec![], vec![0x30, 3, 0x0a, 1, 6], answer(&asked)[..50].to_vec()] {
            assert_eq!(read_answer(der.into(), &asked).unwrap_err(), NotAnAnswer::Unreadable);
        }
    }
}
