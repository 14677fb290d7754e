//! OCSP responses: what is signed, and how a response is put together from a signature and the few octets that distinguish it.
//!
//! All responses of one issuer, CertID hash and signer share everything but serial, status, times and signature. A [`ResponseTemplate`] holds what is shared;
//! [`ResponseTemplate::to_be_signed`] and [`ResponseTemplate::response`] write the same octets in the same way, so an assembled response is what was signed.

use super::algorithm::HashAlgorithm;
use super::der_encoding::{constructed, header_length, push_header, push_tlv, tag, tlv, tlv_length};
use super::{CertificateStatus, IssuerHashes, Revocation, SignatureAlgorithm, Timestamp, ecdsa, extension};

/// id-pkix-ocsp-basic (RFC 6960 4.2.1).
const BASIC_RESPONSE_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// Octets of a GeneralizedTime TLV without fractions.
const TIME_LENGTH: usize = 17;

/// An OCSP answer without a status: unsigned, without responseBytes (rule O1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ErrorStatus {
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

impl ErrorStatus {
    /// The whole DER OCSPResponse.
    pub const fn response(self) -> &'static [u8] {
        match self {
            ErrorStatus::MalformedRequest => &[0x30, 3, 0x0a, 1, 1],
            ErrorStatus::InternalError => &[0x30, 3, 0x0a, 1, 2],
            ErrorStatus::TryLater => &[0x30, 3, 0x0a, 1, 3],
            ErrorStatus::SigRequired => &[0x30, 3, 0x0a, 1, 5],
            ErrorStatus::Unauthorized => &[0x30, 3, 0x0a, 1, 6],
        }
    }

    /// The name in RFC 6960 4.2.1.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorStatus::MalformedRequest => "malformedRequest",
            ErrorStatus::InternalError => "internalError",
            ErrorStatus::TryLater => "tryLater",
            ErrorStatus::SigRequired => "sigRequired",
            ErrorStatus::Unauthorized => "unauthorized",
        }
    }
}

/// What one response says of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleResponse<'a> {
    /// Content octets of the serial number.
    pub serial: &'a [u8],
    /// Good or revoked.
    pub status: CertificateStatus,
    /// thisUpdate, and producedAt with it.
    pub this_update: Timestamp,
    /// nextUpdate: always present (rule O6).
    pub next_update: Timestamp,
}

/// What all responses of one issuer, CertID hash and signer share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTemplate {
    /// CertID content before serialNumber.
    cert_id_prefix: Vec<u8>,
    /// `[2] EXPLICIT KeyHash`.
    responder_id: Vec<u8>,
    /// `[1] EXPLICIT Extensions` of every SingleResponse, or nothing.
    single_extensions: Vec<u8>,
    algorithm: SignatureAlgorithm,
    /// `[0] EXPLICIT SEQUENCE OF Certificate`, or nothing.
    certs: Vec<u8>,
}

/// Content lengths of the nested structures of a ResponseData, from the inside out.
struct Lengths {
    cert_id: usize,
    single: usize,
    responses: usize,
    response_data: usize,
}

impl ResponseTemplate {
    /// A template for certificates named by `issuer` hashes, signed with `algorithm` by the key whose SHA-1 is `responder_key_hash` (byKey, rule O3).
    /// `responder_certificate` is the DER of a delegated responder's certificate (rule O7); `None` where the CA's own key signs. `archive_cutoff` is given in
    /// every response (rules C6, O14).
    pub fn new(
        issuer: &IssuerHashes,
        responder_key_hash: &[u8; 20],
        algorithm: SignatureAlgorithm,
        responder_certificate: Option<&[u8]>,
        archive_cutoff: Option<Timestamp>,
    ) -> ResponseTemplate {
        ResponseTemplate {
            cert_id_prefix: issuer.cert_id_prefix(),
            responder_id: responder_id(responder_key_hash),
            single_extensions: single_extensions(archive_cutoff),
            algorithm,
            certs: certs(responder_certificate),
        }
    }

    /// The algorithm of the signatures that go into this template.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The DER ResponseData: what is signed.
    pub fn to_be_signed(&self, single: &SingleResponse<'_>) -> Vec<u8> {
        let lengths = self.lengths(single);
        let mut out = Vec::with_capacity(tlv_length(lengths.response_data));
        self.push_response_data(&mut out, single, &lengths);
        out
    }

    /// The whole DER OCSPResponse, in one allocation. `raw_signature` is r ‖ s for ECDSA and the signature itself otherwise.
    pub fn response(&self, single: &SingleResponse<'_>, raw_signature: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.push_response(&mut out, single, raw_signature);
        out
    }

    /// The same, appended to `out`, which grows at most once.
    pub fn push_response(&self, out: &mut Vec<u8>, single: &SingleResponse<'_>, raw_signature: &[u8]) {
        let lengths = self.lengths(single);
        let ecdsa = self.algorithm.is_ecdsa();
        let signature_length = if ecdsa { ecdsa::der_length(raw_signature) } else { raw_signature.len() };
        let bit_string_length = signature_length + 1;
        let identifier = self.algorithm.identifier();
        let basic_length = tlv_length(lengths.response_data) + identifier.len() + tlv_length(bit_string_length) + self.certs.len();

        out.reserve_exact(tlv_length(outer_length(basic_length)));
        push_envelope(out, basic_length);
        self.push_response_data(out, single, &lengths);
        out.extend_from_slice(identifier);
        push_header(out, tag::BIT_STRING, bit_string_length);
        out.push(0);
        if ecdsa {
            ecdsa::push_der(out, raw_signature);
        } else {
            out.extend_from_slice(raw_signature);
        }
        out.extend_from_slice(&self.certs);
    }

    fn lengths(&self, single: &SingleResponse<'_>) -> Lengths {
        let cert_id = self.cert_id_prefix.len() + tlv_length(single.serial.len());
        let times = TIME_LENGTH + tlv_length(TIME_LENGTH);
        let single_length = tlv_length(cert_id) + status_length(&single.status) + times + self.single_extensions.len();
        let responses = tlv_length(single_length);
        let response_data = self.responder_id.len() + TIME_LENGTH + tlv_length(responses);
        Lengths { cert_id, single: single_length, responses, response_data }
    }

    fn push_response_data(&self, out: &mut Vec<u8>, single: &SingleResponse<'_>, lengths: &Lengths) {
        let this_update = single.this_update.generalized();
        push_header(out, tag::SEQUENCE, lengths.response_data);
        out.extend_from_slice(&self.responder_id);
        push_tlv(out, tag::GENERALIZED_TIME, &this_update);
        push_header(out, tag::SEQUENCE, lengths.responses);
        push_header(out, tag::SEQUENCE, lengths.single);
        push_header(out, tag::SEQUENCE, lengths.cert_id);
        out.extend_from_slice(&self.cert_id_prefix);
        push_tlv(out, tag::INTEGER, single.serial);
        push_status(out, &single.status);
        push_tlv(out, tag::GENERALIZED_TIME, &this_update);
        push_header(out, tag::constructed(0), TIME_LENGTH);
        push_tlv(out, tag::GENERALIZED_TIME, &single.next_update.generalized());
        out.extend_from_slice(&self.single_extensions);
    }
}

/// `[2] EXPLICIT KeyHash`: the ResponderID byKey (rule O3).
pub(super) fn responder_id(key_hash: &[u8; 20]) -> Vec<u8> {
    constructed(tag::constructed(2), &[&tlv(tag::OCTET_STRING, key_hash)])
}

/// `[0] EXPLICIT SEQUENCE OF Certificate` with the responder's, or nothing (rule O7).
pub(super) fn certs(responder_certificate: Option<&[u8]>) -> Vec<u8> {
    responder_certificate.map_or(Vec::new(), |der| constructed(tag::constructed(0), &[&constructed(tag::SEQUENCE, &[der])]))
}

/// `[1] EXPLICIT Extensions` of a SingleResponse, or nothing.
pub(super) fn single_extensions(archive_cutoff: Option<Timestamp>) -> Vec<u8> {
    let list = |since| constructed(tag::SEQUENCE, &[&extension::archive_cutoff(since)]);
    archive_cutoff.map_or(Vec::new(), |since| constructed(tag::constructed(1), &[&list(since)]))
}

/// The most octets that [`push_envelope`] appends.
pub(super) const ENVELOPE_ROOM: usize = 6 * header_length(u32::MAX as usize) + 3 + BASIC_RESPONSE_OID.len();

/// Appends everything of a successful OCSPResponse that comes before the content of its BasicOCSPResponse, of `basic_length` octets.
#[inline]
pub(super) fn push_envelope(out: &mut Vec<u8>, basic_length: usize) {
    let octets_length = tlv_length(basic_length);
    let bytes_length = tlv_length(BASIC_RESPONSE_OID.len()) + tlv_length(octets_length);
    push_header(out, tag::SEQUENCE, outer_length(basic_length));
    out.extend_from_slice(&[tag::ENUMERATED, 1, 0]);
    push_header(out, tag::constructed(0), tlv_length(bytes_length));
    push_header(out, tag::SEQUENCE, bytes_length);
    push_tlv(out, tag::OID, BASIC_RESPONSE_OID);
    push_header(out, tag::OCTET_STRING, octets_length);
    push_header(out, tag::SEQUENCE, basic_length);
}

/// Content octets of an OCSPResponse with a BasicOCSPResponse of `basic_length` content octets.
fn outer_length(basic_length: usize) -> usize {
    let bytes_length = tlv_length(BASIC_RESPONSE_OID.len()) + tlv_length(tlv_length(basic_length));
    3 + tlv_length(tlv_length(bytes_length))
}

/// Octets of `[0] EXPLICIT CRLReason`.
const REASON_LENGTH: usize = 5;

fn revoked_length(revocation: &Revocation) -> usize {
    TIME_LENGTH + if revocation.reason.is_some() { REASON_LENGTH } else { 0 }
}

fn status_length(status: &CertificateStatus) -> usize {
    match status {
        CertificateStatus::Good => 2,
        CertificateStatus::Revoked(revocation) => tlv_length(revoked_length(revocation)),
    }
}

pub(super) fn push_status(out: &mut Vec<u8>, status: &CertificateStatus) {
    match status {
        CertificateStatus::Good => out.extend_from_slice(&[tag::primitive(0), 0]),
        CertificateStatus::Revoked(revocation) => {
            push_header(out, tag::constructed(1), revoked_length(revocation));
            push_tlv(out, tag::GENERALIZED_TIME, &revocation.at.generalized());
            if let Some(reason) = revocation.reason {
                out.extend_from_slice(&[tag::constructed(0), 3, tag::ENUMERATED, 1, reason.code()]);
            }
        }
    }
}

/// The SHA-1 of a responder's public key, for ResponderID byKey (rule O3).
pub fn responder_key_hash(public_key_bits: &[u8]) -> [u8; 20] {
    let digest = HashAlgorithm::Sha1.hash(public_key_bits);
    digest.as_ref().try_into().expect("a SHA-1 has 20 octets")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::RevocationReason;
    use const_oid::db::rfc6960::ID_PKIX_OCSP_ARCHIVE_CUTOFF;
    use der::asn1::{BitString, GeneralizedTime, Null, ObjectIdentifier, OctetString};
    use der::{Any, DateTime, Decode, Encode};
    use proptest::prelude::*;
    use spki::AlgorithmIdentifierOwned;
    use x509_cert::Certificate;
    use x509_cert::ext::Extension;
    use x509_cert::ext::pkix::CrlReason;
    use x509_cert::serial_number::SerialNumber;
    use x509_ocsp::ext::ArchiveCutoff;
    use x509_ocsp::{
        BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus, ResponderId, ResponseBytes,
        ResponseData, RevokedInfo, SingleResponse as OwnedSingleResponse, Version,
    };

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

    fn time(t: Timestamp) -> OcspGeneralizedTime {
        OcspGeneralizedTime(GeneralizedTime::from_date_time(DateTime::from(t)))
    }

    fn archive_extension(since: Timestamp) -> Extension {
        let extn_value = OctetString::new(ArchiveCutoff(time(since)).to_der().unwrap()).unwrap();
        Extension { extn_id: ID_PKIX_OCSP_ARCHIVE_CUTOFF, critical: false, extn_value }
    }

    /// The same response through x509-ocsp's owned types: an encoder that shares nothing with ours.
    fn oracle(
        issuer: &IssuerHashes,
        key_hash: &[u8; 20],
        algorithm: SignatureAlgorithm,
        single: &SingleResponse<'_>,
        signature: &[u8],
        certificate: bool,
        archive_cutoff: Option<Timestamp>,
    ) -> Vec<u8> {
        let cert_status = match single.status {
            CertificateStatus::Good => CertStatus::good(),
            CertificateStatus::Revoked(r) => CertStatus::revoked(RevokedInfo {
                revocation_time: time(r.at),
                revocation_reason: r.reason.map(|reason| CrlReason::from_der(&[0x0a, 1, reason.code()]).unwrap()),
            }),
        };
        let cert_id = CertId {
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: ObjectIdentifier::from_bytes(issuer.algorithm.oid()).unwrap(),
                parameters: Some(Any::from(Null)),
            },
            issuer_name_hash: OctetString::new(issuer.name_hash.clone()).unwrap(),
            issuer_key_hash: OctetString::new(issuer.key_hash.clone()).unwrap(),
            serial_number: SerialNumber::new(single.serial).unwrap(),
        };
        let basic = BasicOcspResponse {
            tbs_response_data: ResponseData {
                version: Version::V1,
                responder_id: ResponderId::ByKey(OctetString::new(key_hash.to_vec()).unwrap()),
                produced_at: time(single.this_update),
                responses: vec![OwnedSingleResponse {
                    cert_id,
                    cert_status,
                    this_update: time(single.this_update),
                    next_update: Some(time(single.next_update)),
                    single_extensions: archive_cutoff.map(|since| vec![archive_extension(since)]),
                }],
                response_extensions: None,
            },
            signature_algorithm: AlgorithmIdentifierOwned::from_der(algorithm.identifier()).unwrap(),
            signature: BitString::from_bytes(signature).unwrap(),
            certs: certificate.then(|| vec![Certificate::from_der(CERTIFICATE).unwrap()]),
        };
        OcspResponse {
            response_status: OcspResponseStatus::Successful,
            response_bytes: Some(ResponseBytes {
                response_type: ObjectIdentifier::from_bytes(BASIC_RESPONSE_OID).unwrap(),
                response: OctetString::new(basic.to_der().unwrap()).unwrap(),
            }),
        }
        .to_der()
        .unwrap()
    }

    #[test]
    fn o1_errors_carry_their_status_and_nothing_else() {
        use ErrorStatus::*;
        for status in [MalformedRequest, InternalError, TryLater, SigRequired, Unauthorized] {
            let response = OcspResponse::from_der(status.response()).unwrap();
            assert_eq!(response.response_status as u8, status as u8);
            assert_eq!(response.response_bytes, None);
        }
    }

    fn reason_strategy() -> impl Strategy<Value = Option<RevocationReason>> {
        (0usize..=RevocationReason::ALL.len()).prop_map(|i| RevocationReason::ALL.get(i).copied())
    }

    fn status_strategy() -> impl Strategy<Value = CertificateStatus> {
        let revoked = (0..=Timestamp::MAX.unix(), reason_strategy())
            .prop_map(|(at, reason)| CertificateStatus::Revoked(Revocation { at: Timestamp::from_unix(at).unwrap(), reason }));
        prop_oneof![Just(CertificateStatus::Good), revoked]
    }

    proptest! {
        /// Every serial length, status, reason, algorithm and signature, with and without a responder certificate and an ArchiveCutoff.
        #[test]
        fn o5_o6_o7_o14_a_response_is_what_an_independent_encoder_writes(
            magnitude in proptest::collection::vec(any::<u8>(), 1..=20),
            status in status_strategy(),
            times in (0..=Timestamp::MAX.unix(), 0..=Timestamp::MAX.unix()),
            hash in 0usize..4,
            algorithm in 0usize..6,
            with_certificate: bool,
            archive_cutoff in proptest::option::of(0..=Timestamp::MAX.unix()),
            key_hash: [u8; 20],
            seed: u64,
        ) {
            let Ok(serial) = crate::pki::Serial::from_magnitude(&magnitude) else { return Ok(()) };
            let hash = HashAlgorithm::ALL[hash];
            let algorithm = SignatureAlgorithm::ALL[algorithm];
            let issuer = IssuerHashes { algorithm: hash, name_hash: vec![1; hash.output_length()], key_hash: vec![2; hash.output_length()] };
            let length = match algorithm {
                SignatureAlgorithm::EcdsaSha384 => 96,
                SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::Ed25519 => 64,
                _ => [256, 384, 512][seed as usize % 3],
            };
            let mut raw: Vec<u8> = (0..length).map(|i| (seed.rotate_left(i as u32) ^ i as u64) as u8).collect();
            raw[0] = (seed % 3) as u8;
            raw[length - 1] |= 1;
            raw[length / 2 - 1] |= 1;
            let single = SingleResponse {
                serial: serial.as_der_content(),
                status,
                this_update: Timestamp::from_unix(times.0).unwrap(),
                next_update: Timestamp::from_unix(times.1).unwrap(),
            };
            let archive_cutoff = archive_cutoff.map(|unix| Timestamp::from_unix(unix).unwrap());
            let template = ResponseTemplate::new(&issuer, &key_hash, algorithm, with_certificate.then_some(CERTIFICATE), archive_cutoff);
            let response = template.response(&single, &raw);
            let mut x509_signature = raw.clone();
            if algorithm.is_ecdsa() {
                x509_signature.clear();
                ecdsa::push_der(&mut x509_signature, &raw);
            }
            let oracle = oracle(&issuer, &key_hash, algorithm, &single, &x509_signature, with_certificate, archive_cutoff);
            prop_assert_eq!(&response, &oracle);
            prop_assert_eq!(response.len(), response.capacity());
            let tbs = template.to_be_signed(&single);
            prop_assert!(response.windows(tbs.len()).any(|w| w == tbs));
        }
    }
}
