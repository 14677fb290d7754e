//! OCSP responses to one question: signed when it is asked, with its nonce, with statuses that no pre-signed response has, for one certificate or several.
//!
//! CertIDs are repeated as they were asked for, octet by octet (rule O5). What is signed is kept and sent, so it cannot differ from what was signed.

use bytes::{Buf, Bytes};

use super::der_encoding::{constructed, push_header, push_tlv, tag, tlv, tlv_length};
use super::ocsp_response::{ENVELOPE_ROOM, certs, push_envelope, push_status, responder_id, single_extensions};
use super::{CertificateStatus, SignatureAlgorithm, Timestamp};

/// id-pkix-ocsp-nonce (RFC 9654 2.1).
pub(super) const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
/// id-pkix-ocsp-extended-revoke (RFC 6960 4.4.8).
const EXTENDED_REVOKE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x09];
/// CertStatus of a certificate that was never issued (rule O10): revoked at 1970-01-01 for certificateHold(6).
const NEVER_ISSUED: &[u8] = b"\xa1\x16\x18\x0f19700101000000Z\xa0\x03\x0a\x01\x06";

/// Octets of the longest signatures: of P-384, and of RSA-4096.
const MAX_ECDSA_BYTES: usize = 104;
const MAX_RSA_BYTES: usize = 512;

/// What is said of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStatus {
    /// Of one that was issued.
    Issued(CertificateStatus),
    /// `unknown`: there is no record of it.
    Unknown,
    /// There is no record of it either, and it is called revoked for that (rule O10): the response then has the extended-revoke extension.
    NeverIssued,
}

impl LiveStatus {
    /// Whether the certificate is one that was issued.
    pub const fn is_issued(self) -> bool {
        matches!(self, LiveStatus::Issued(_))
    }
}

/// One CertID, and what is said of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSingle {
    /// The whole DER CertID, as it was asked for.
    pub cert_id: Box<[u8]>,
    /// What is said of the certificate.
    pub status: LiveStatus,
}

/// A question, with everything that its answer says but the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// One for each certificate asked about, in the order of the request (rule O4).
    pub singles: Vec<LiveSingle>,
    /// The nonce that the answer is to have.
    pub nonce: Option<Box<[u8]>>,
}

/// The signed answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAnswer {
    /// The whole DER OCSPResponse.
    pub der: Bytes,
    /// thisUpdate of every certificate, and producedAt.
    pub this_update: Timestamp,
    /// nextUpdate of every certificate.
    pub next_update: Timestamp,
    /// Until when the same question may be answered with it again.
    pub due: Timestamp,
    /// The last octets of the signature: two answers that differ anywhere have different ones.
    pub tag: [u8; TAG_BYTES],
}

/// Octets of [`SignedAnswer::tag`].
pub const TAG_BYTES: usize = 12;

impl Question {
    /// Whether every certificate asked about is one that was issued.
    pub fn is_about_issued(&self) -> bool {
        self.singles.iter().all(|single| single.status.is_issued())
    }

    /// The DER OCSPRequest that asks this, without a signature.
    pub fn to_request(&self) -> Vec<u8> {
        let requests: Vec<u8> = self.singles.iter().flat_map(|single| tlv(tag::SEQUENCE, &single.cert_id)).collect();
        let mut extensions = Vec::new();
        if let Some(nonce) = &self.nonce {
            push_extension(&mut extensions, NONCE, &tlv(tag::OCTET_STRING, nonce));
            extensions = constructed(tag::constructed(2), &[&tlv(tag::SEQUENCE, &extensions)]);
        }
        constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &[&tlv(tag::SEQUENCE, &requests), &extensions])])
    }
}

/// The last octets of a signature.
pub fn tag_of(signature: &[u8]) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    let last = &signature[signature.len().saturating_sub(TAG_BYTES)..];
    tag[..last.len()].copy_from_slice(last);
    tag
}

/// An answer that lacks its signature: what is signed, with room before and behind it for the rest.
#[derive(Clone, Debug)]
pub struct UnsignedAnswer(Vec<u8>);

/// What all such responses of one signer share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveTemplate {
    responder_id: Vec<u8>,
    /// singleExtensions of what is said of a certificate that was issued, or nothing.
    single_extensions: Vec<u8>,
    algorithm: SignatureAlgorithm,
    certs: Vec<u8>,
}

impl LiveTemplate {
    /// A template for the key whose SHA-1 is `responder_key_hash` (byKey, rule O3), with the DER of its certificate where it is a delegate's (rule O7).
    /// `archive_cutoff` is given with each certificate that was issued (rules C6, O14).
    pub fn new(
        responder_key_hash: &[u8; 20],
        algorithm: SignatureAlgorithm,
        responder_certificate: Option<&[u8]>,
        archive_cutoff: Option<Timestamp>,
    ) -> LiveTemplate {
        LiveTemplate {
            responder_id: responder_id(responder_key_hash),
            single_extensions: single_extensions(archive_cutoff),
            algorithm,
            certs: certs(responder_certificate),
        }
    }

    /// An answer that lacks its signature.
    pub fn unsigned(&self, question: &Question, this_update: Timestamp, next_update: Timestamp) -> UnsignedAnswer {
        let produced_at = tlv(tag::GENERALIZED_TIME, &this_update.generalized());
        let next_update = constructed(tag::constructed(0), &[&tlv(tag::GENERALIZED_TIME, &next_update.generalized())]);
        let (mut singles, mut status) = (Vec::new(), Vec::new());
        for single in &question.singles {
            status.clear();
            push_live_status(&mut status, single.status);
            let extensions: &[u8] = if single.status.is_issued() { &self.single_extensions } else { &[] };
            let parts = [&single.cert_id, &status[..], &produced_at, &next_update, extensions];
            push_header(&mut singles, tag::SEQUENCE, parts.iter().map(|part| part.len()).sum());
            parts.iter().for_each(|part| singles.extend_from_slice(part));
        }
        let singles = tlv(tag::SEQUENCE, &singles);
        let parts = [&self.responder_id, &produced_at, &singles, &extensions(question)];
        let length = parts.iter().map(|part| part.len()).sum();
        let mut buffer = Vec::with_capacity(ENVELOPE_ROOM + tlv_length(length) + self.room_behind());
        buffer.resize(ENVELOPE_ROOM, 0);
        push_header(&mut buffer, tag::SEQUENCE, length);
        parts.iter().for_each(|part| buffer.extend_from_slice(part));
        UnsignedAnswer(buffer)
    }

    /// The whole DER OCSPResponse, in the same memory; `signature` is the content of the BIT STRING, for ECDSA the DER of `SEQUENCE { r, s }`.
    pub fn response(&self, UnsignedAnswer(mut buffer): UnsignedAnswer, signature: &[u8]) -> Bytes {
        buffer.extend_from_slice(self.algorithm.identifier());
        push_header(&mut buffer, tag::BIT_STRING, signature.len() + 1);
        buffer.push(0);
        buffer.extend_from_slice(signature);
        buffer.extend_from_slice(&self.certs);
        let mut envelope = Vec::with_capacity(ENVELOPE_ROOM);
        push_envelope(&mut envelope, buffer.len() - ENVELOPE_ROOM);
        let start = ENVELOPE_ROOM - envelope.len();
        buffer[start..ENVELOPE_ROOM].copy_from_slice(&envelope);
        let mut der = Bytes::from(buffer);
        der.advance(start);
        der
    }

    /// Octets behind what is signed, as far as they are known before.
    fn room_behind(&self) -> usize {
        let signature = if self.algorithm.is_ecdsa() { MAX_ECDSA_BYTES } else { MAX_RSA_BYTES };
        self.algorithm.identifier().len() + tlv_length(signature + 1) + self.certs.len()
    }
}

impl UnsignedAnswer {
    /// The DER ResponseData: what is signed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.0[ENVELOPE_ROOM..]
    }
}

fn push_live_status(out: &mut Vec<u8>, status: LiveStatus) {
    match status {
        LiveStatus::Issued(status) => push_status(out, &status),
        LiveStatus::Unknown => out.extend_from_slice(&[tag::primitive(2), 0]),
        LiveStatus::NeverIssued => out.extend_from_slice(NEVER_ISSUED),
    }
}

/// `[1] EXPLICIT Extensions`, or nothing.
fn extensions(question: &Question) -> Vec<u8> {
    let mut list = Vec::new();
    if let Some(nonce) = &question.nonce {
        push_extension(&mut list, NONCE, &tlv(tag::OCTET_STRING, nonce));
    }
    if question.singles.iter().any(|single| single.status == LiveStatus::NeverIssued) {
        push_extension(&mut list, EXTENDED_REVOKE, &[0x05, 0x00]);
    }
    if list.is_empty() { list } else { constructed(tag::constructed(1), &[&tlv(tag::SEQUENCE, &list)]) }
}

/// Not critical: who does not know it may ignore it.
fn push_extension(out: &mut Vec<u8>, oid: &[u8], value: &[u8]) {
    push_header(out, tag::SEQUENCE, tlv_length(oid.len()) + tlv_length(value.len()));
    push_tlv(out, tag::OID, oid);
    push_tlv(out, tag::OCTET_STRING, value);
}

#[cfg(test)]
mod tests {
    use super::super::{HashAlgorithm, IssuerHashes, Revocation, RevocationReason, Serial};
    use super::*;
    use const_oid::db::rfc6960::{ID_PKIX_OCSP_ARCHIVE_CUTOFF, ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
    use der::asn1::{BitString, GeneralizedTime, Null, ObjectIdentifier, OctetString};
    use der::{DateTime, Decode, Encode};
    use proptest::prelude::*;
    use spki::AlgorithmIdentifierOwned;
    use x509_cert::Certificate;
    use x509_cert::ext::Extension;
    use x509_cert::ext::pkix::CrlReason;
    use x509_ocsp::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

    fn time(t: Timestamp) -> OcspGeneralizedTime {
        OcspGeneralizedTime(GeneralizedTime::from_date_time(DateTime::from(t)))
    }

    fn revoked(at: Timestamp, reason: Option<CrlReason>) -> CertStatus {
        CertStatus::revoked(RevokedInfo { revocation_time: time(at), revocation_reason: reason })
    }

    fn cert_status(status: LiveStatus) -> CertStatus {
        match status {
            LiveStatus::Issued(CertificateStatus::Good) => CertStatus::good(),
            LiveStatus::Issued(CertificateStatus::Revoked(r)) => {
                revoked(r.at, r.reason.map(|reason| CrlReason::from_der(&[0x0a, 1, reason.code()]).unwrap()))
            }
            LiveStatus::Unknown => CertStatus::unknown(),
            LiveStatus::NeverIssued => revoked(Timestamp::default(), Some(CrlReason::CertificateHold)),
        }
    }

    /// The same response through x509-ocsp's owned types.
    fn oracle(
        key_hash: [u8; 20],
        algorithm: SignatureAlgorithm,
        certificate: bool,
        archive_cutoff: Option<Timestamp>,
        question: &Question,
        times: (Timestamp, Timestamp),
        signature: &[u8],
    ) -> Vec<u8> {
        let extension = |extn_id, value: Vec<u8>| Extension { extn_id, critical: false, extn_value: OctetString::new(value).unwrap() };
        let nonce =
            question.nonce.as_deref().map(|nonce| extension(ID_PKIX_OCSP_NONCE, OctetString::new(nonce).unwrap().to_der().unwrap()));
        let never = question.singles.iter().any(|single| single.status == LiveStatus::NeverIssued);
        let extended = never.then(|| extension(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.9"), Null.to_der().unwrap()));
        let extensions: Vec<_> = nonce.into_iter().chain(extended).collect();
        let archive = |since| extension(ID_PKIX_OCSP_ARCHIVE_CUTOFF, x509_ocsp::ext::ArchiveCutoff(time(since)).to_der().unwrap());
        let single = |single: &LiveSingle| SingleResponse {
            cert_id: CertId::from_der(&single.cert_id).unwrap(),
            cert_status: cert_status(single.status),
            this_update: time(times.0),
            next_update: Some(time(times.1)),
            single_extensions: archive_cutoff.filter(|_| single.status.is_issued()).map(|since| vec![archive(since)]),
        };
        let basic = BasicOcspResponse {
            tbs_response_data: ResponseData {
                version: Version::V1,
                responder_id: ResponderId::ByKey(OctetString::new(key_hash.to_vec()).unwrap()),
                produced_at: time(times.0),
                responses: question.singles.iter().map(single).collect(),
                response_extensions: (!extensions.is_empty()).then_some(extensions),
            },
            signature_algorithm: AlgorithmIdentifierOwned::from_der(algorithm.identifier()).unwrap(),
            signature: BitString::from_bytes(signature).unwrap(),
            certs: certificate.then(|| vec![Certificate::from_der(CERTIFICATE).unwrap()]),
        };
        let response = OctetString::new(basic.to_der().unwrap()).unwrap();
        let response_bytes = Some(ResponseBytes { response_type: ID_PKIX_OCSP_BASIC, response });
        OcspResponse { response_status: OcspResponseStatus::Successful, response_bytes }.to_der().unwrap()
    }

    fn statuses() -> impl Strategy<Value = LiveStatus> {
        let reason = (0usize..=RevocationReason::ALL.len()).prop_map(|i| RevocationReason::ALL.get(i).copied());
        let revoked = (0..=Timestamp::MAX.unix(), reason).prop_map(|(at, reason)| {
            LiveStatus::Issued(CertificateStatus::Revoked(Revocation { at: Timestamp::from_unix(at).unwrap(), reason }))
        });
        prop_oneof![Just(LiveStatus::Issued(CertificateStatus::Good)), revoked, Just(LiveStatus::Unknown), Just(LiveStatus::NeverIssued)]
    }

    /// CertIDs of every hash, with NULL parameters or none.
    fn cert_ids() -> impl Strategy<Value = Vec<u8>> {
        (0usize..4, proptest::collection::vec(any::<u8>(), 1..=19), any::<bool>()).prop_map(|(hash, magnitude, null)| {
            let algorithm = HashAlgorithm::ALL[hash];
            let length = algorithm.output_length();
            let hashes = IssuerHashes { algorithm, name_hash: vec![1; length], key_hash: vec![2; length] };
            let der = hashes.cert_id(Serial::from_magnitude(&magnitude).unwrap().as_der_content());
            let mut owned = CertId::from_der(&der).unwrap();
            owned.hash_algorithm.parameters.take_if(|_| !null);
            owned.to_der().unwrap()
        })
    }

    proptest! {
        /// Every status, hash and nonce, one certificate and several, with and without a responder certificate and an ArchiveCutoff.
        #[test]
        fn o4_o5_o6_o10_o11_o14_a_response_is_what_an_independent_encoder_writes(
            asked in proptest::collection::vec((cert_ids(), statuses()), 1..=16),
            nonce in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=128)),
            times in (0..=Timestamp::MAX.unix(), 0..=Timestamp::MAX.unix()),
            algorithm in 0usize..6,
            with_certificate: bool,
            archive_cutoff in proptest::option::of(0..=Timestamp::MAX.unix()),
            key_hash: [u8; 20],
            signature in proptest::collection::vec(any::<u8>(), 64..=512),
        ) {
            let algorithm = SignatureAlgorithm::ALL[algorithm];
            let singles = asked.into_iter().map(|(cert_id, status)| LiveSingle { cert_id: cert_id.into(), status }).collect();
            let question = Question { singles, nonce: nonce.map(Into::into) };
            let times = (Timestamp::from_unix(times.0).unwrap(), Timestamp::from_unix(times.1).unwrap());
            let archive_cutoff = archive_cutoff.map(|unix| Timestamp::from_unix(unix).unwrap());
            let template = LiveTemplate::new(&key_hash, algorithm, with_certificate.then_some(CERTIFICATE), archive_cutoff);
            let der = template.response(template.unsigned(&question, times.0, times.1), &signature);
            prop_assert_eq!(&der, &oracle(key_hash, algorithm, with_certificate, archive_cutoff, &question, times, &signature));
            prop_assert_eq!(&tag_of(&signature)[..], &signature[signature.len() - TAG_BYTES..]);
            let request = question.to_request();
            let read = x509_ocsp::OcspRequest::from_der(&request).unwrap().tbs_request;
            let asked: Vec<_> = read.request_list.iter().map(|r| r.req_cert.to_der().unwrap()).collect();
            prop_assert!(asked.iter().map(Vec::as_slice).eq(question.singles.iter().map(|single| &*single.cert_id)));
            let ours = crate::pki::ocsp_request::OcspRequest::from_der(&request).unwrap();
            prop_assert_eq!(ours.nonce, question.nonce.as_deref());
        }
    }
}
