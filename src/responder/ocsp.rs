//! From the octets of an OCSP request to those of its answer. Pure: no I/O, no clock, no HTTP.

use std::sync::Arc;

use crate::pki::ocsp_request::OcspRequest;
use crate::pki::ocsp_response::{ErrorStatus, SingleResponse};
use crate::pki::{CertificateStatus, SlotHash, Timestamp};

use super::status_map::{Directory, Hit, IssuerStatus, Miss, Sought, StatusMap};

/// Octets of a signature that stand for the whole response in its ETag: two responses that differ anywhere have different signatures.
pub const TAG_BYTES: usize = 12;

/// What caches need to know of a signed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definitive {
    /// thisUpdate, and producedAt with it.
    pub this_update: Timestamp,
    /// nextUpdate: later than the time of the answer.
    pub next_update: Timestamp,
    /// When a newer response is planned: caches need not ask before.
    pub refresh_at: Timestamp,
    /// The first octets of the signature.
    pub tag: [u8; TAG_BYTES],
    /// Whether it says revoked.
    pub revoked: bool,
}

/// Why there is no signed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an OCSP request.
    Malformed,
    /// The issuer is not served here, or was not asked about in a way that is answered from pre-signed responses (rule O9).
    Unauthorized,
    /// The issuer is served here and has issued no certificate with that serial: told apart because such requests are monitored (rule O9, S3.7).
    UnusedSerial,
    /// The part of the map that would know is not in memory.
    NotLoaded,
    /// There is a response, but it is past its nextUpdate or before its thisUpdate: never served.
    NotCurrent,
}

impl Refusal {
    /// What the client is told.
    pub const fn status(self) -> ErrorStatus {
        match self {
            Refusal::Malformed => ErrorStatus::MalformedRequest,
            Refusal::Unauthorized | Refusal::UnusedSerial => ErrorStatus::Unauthorized,
            Refusal::NotLoaded | Refusal::NotCurrent => ErrorStatus::TryLater,
        }
    }
}

/// Answers a DER OCSP request at `now` by appending the whole DER OCSPResponse to `body`, which grows at most once and is left alone where there is
/// none; `issuer` restricts the answer to certificates of the issuer of that name.
///
/// Requests for more than one certificate, with an unknown critical extension, or for an issuer, CertID hash or serial without a pre-signed response are
/// `unauthorized` (rules O4, O9). A valid nonce is ignored (rule O11). AlgorithmIdentifier parameters in the CertID do not matter: absent ones are
/// answered with the pre-signed NULL.
pub fn answer(request: &[u8], map: &StatusMap, issuer: Option<&str>, now: Timestamp, body: &mut Vec<u8>) -> Result<Definitive, Refusal> {
    let request = OcspRequest::from_der(request).map_err(|_| Refusal::Malformed)?;
    Search::begin(request, &map.directory()).answer(issuer, now, body)
}

/// A request on its way to its answer, in steps between which there is time for other things while memory brings the next one.
pub struct Search<'r, 'd> {
    /// What is asked.
    pub request: OcspRequest<'r>,
    hash: SlotHash,
    first: Option<Sought<'d>>,
    others: &'d [Arc<IssuerStatus>],
}

impl<'r, 'd> Search<'r, 'd> {
    /// Finds the pack, and sends for the place in it.
    #[inline]
    pub fn begin(request: OcspRequest<'r>, directory: &'d Directory) -> Search<'r, 'd> {
        let asked = request.cert_id;
        let named = asked.hash_algorithm.map(|algorithm| directory.named(algorithm, asked.issuer_name_hash, asked.issuer_key_hash));
        let hash = SlotHash::of_content(asked.serial);
        let (first, others) =
            named.and_then(<[_]>::split_first).map_or((None, &[][..]), |(first, others)| (Some(first.seek(hash)), others));
        Search { request, hash, first, others }
    }

    /// Finds the place, and sends for the record.
    #[inline]
    pub fn approach(&self) {
        if let Some(sought) = &self.first {
            sought.approach();
        }
    }

    /// What [`answer`] says.
    #[inline]
    pub fn answer(self, issuer: Option<&str>, now: Timestamp, body: &mut Vec<u8>) -> Result<Definitive, Refusal> {
        let request = self.request;
        if request.certificates != 1 || request.unknown_critical_extension {
            return Err(Refusal::Unauthorized);
        }
        let mut refusal = Refusal::Unauthorized;
        for sought in self.first.into_iter().chain(self.others.iter().map(|status| status.seek(self.hash))) {
            if issuer.is_some_and(|wanted| wanted != sought.status().name()) {
                continue;
            }
            match sought.find(request.cert_id.serial, |hit| assemble(hit, now, body)) {
                Ok(found) => return found,
                Err(Miss::NotLoaded) => refusal = Refusal::NotLoaded,
                Err(Miss::Unknown) if refusal == Refusal::NotLoaded => {}
                Err(Miss::Unknown) => refusal = Refusal::UnusedSerial,
            }
        }
        Err(refusal)
    }
}

fn assemble(hit: Hit<'_>, now: Timestamp, body: &mut Vec<u8>) -> Result<Definitive, Refusal> {
    let Hit { entry, template } = hit;
    let signing = entry.signing;
    if signing.next_update <= now || signing.this_update > now {
        return Err(Refusal::NotCurrent);
    }
    let single =
        SingleResponse { serial: entry.serial, status: entry.status, this_update: signing.this_update, next_update: signing.next_update };
    let mut tag = [0; TAG_BYTES];
    let tag_length = entry.raw_signature.len().min(TAG_BYTES);
    tag[..tag_length].copy_from_slice(&entry.raw_signature[..tag_length]);
    template.push_response(body, &single, entry.raw_signature);
    Ok(Definitive {
        this_update: signing.this_update,
        next_update: signing.next_update,
        refresh_at: signing.refresh_at,
        tag,
        revoked: entry.status != CertificateStatus::Good,
    })
}

#[cfg(test)]
mod tests {
    use super::super::content::Content;
    use super::super::testing::{self, NEXT_UPDATE, NOW, THIS_UPDATE, serial, time};
    use super::*;
    use crate::pki::HashAlgorithm;
    use crate::pki::ocsp_request::encode_request;
    use der::{Decode, Encode};
    use proptest::prelude::*;
    use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

    fn request(algorithm: HashAlgorithm, number: u64) -> Vec<u8> {
        encode_request(&testing::hashes(algorithm), &serial(number))
    }

    fn answered(request: &[u8], content: &Content, issuer: Option<&str>, now: u64) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        let answered = answer(request, &content.status, issuer, time(now), &mut body);
        assert_eq!(answered.is_err(), body.is_empty());
        answered.map(|_| body)
    }

    fn asked(request: &[u8]) -> Result<Vec<u8>, Refusal> {
        answered(request, &testing::content(), None, NOW)
    }

    fn basic(answer: Result<Vec<u8>, Refusal>) -> BasicOcspResponse {
        let body = answer.unwrap();
        assert_eq!(body.len(), body.capacity(), "one allocation of the right size");
        let response = OcspResponse::from_der(&body).unwrap();
        BasicOcspResponse::from_der(response.response_bytes.unwrap().response.as_bytes()).unwrap()
    }

    #[test]
    fn o4_o5_o6_a_known_serial_gets_its_signed_response() {
        for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            let der = request(algorithm, 5);
            let basic = basic(asked(&der));
            let asked = x509_ocsp::OcspRequest::from_der(&der).unwrap().tbs_request.request_list.remove(0).req_cert;
            let [single] = &basic.tbs_response_data.responses[..] else { panic!("one response for one certificate") };
            assert_eq!(single.cert_id.to_der().unwrap(), asked.to_der().unwrap());
            assert_eq!(single.cert_status, CertStatus::good());
            assert!(single.next_update.is_some());
            assert_eq!(basic.tbs_response_data.response_extensions, None);
        }
        let revoked = basic(asked(&request(HashAlgorithm::Sha1, testing::REVOKED)));
        assert!(matches!(revoked.tbs_response_data.responses[0].cert_status, CertStatus::Revoked(_)));
    }

    #[test]
    fn o9_s3_7_what_is_not_known_is_unauthorized() {
        let unused = asked(&request(HashAlgorithm::Sha1, 1_000_000));
        assert_eq!(unused, Err(Refusal::UnusedSerial));
        assert_eq!(Refusal::UnusedSerial.status(), ErrorStatus::Unauthorized);
        let refused = Err(Refusal::Unauthorized);
        assert_eq!(asked(&request(HashAlgorithm::Sha384, 5)), refused, "a CertID hash that is not pre-signed");
        let mut other_issuer = request(HashAlgorithm::Sha1, 5);
        let at = other_issuer.len() - 10;
        other_issuer[at] ^= 1;
        assert_eq!(asked(&other_issuer), refused, "an issuer");
        let content = testing::content();
        let named = |name| answered(&request(HashAlgorithm::Sha1, 5), &content, Some(name), NOW);
        assert_eq!(named("elsewhere"), refused, "another issuer's URL");
        assert!(named(testing::ISSUER).is_ok());
    }

    #[test]
    fn o9_more_than_one_certificate_is_unauthorized() {
        let mut two = x509_ocsp::OcspRequest::from_der(&request(HashAlgorithm::Sha1, 5)).unwrap();
        let again = two.tbs_request.request_list[0].clone();
        two.tbs_request.request_list.push(again);
        assert_eq!(asked(&two.to_der().unwrap()), Err(Refusal::Unauthorized));
    }

    #[test]
    fn o11_a_good_nonce_is_answered_without_one_and_a_bad_one_is_malformed() {
        for length in [1usize, 16, 32, 128] {
            let der = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), length, false);
            assert_eq!(basic(asked(&der)).tbs_response_data.response_extensions, None, "{length} octets");
        }
        for length in [0, 129] {
            let der = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), length, false);
            assert_eq!(asked(&der), Err(Refusal::Malformed), "{length} octets");
        }
        let critical = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, true);
        assert!(asked(&critical).is_ok(), "the nonce is an extension that is known");
    }

    #[test]
    fn absent_algorithm_parameters_are_answered_from_the_same_pack() {
        let mut without = x509_ocsp::OcspRequest::from_der(&request(HashAlgorithm::Sha1, 5)).unwrap();
        without.tbs_request.request_list[0].req_cert.hash_algorithm.parameters = None;
        assert_eq!(asked(&without.to_der().unwrap()), asked(&request(HashAlgorithm::Sha1, 5)));
    }

    #[test]
    fn o13_a_response_outside_its_times_is_never_served() {
        let content = testing::content();
        let at = |seconds| answered(&request(HashAlgorithm::Sha1, 5), &content, None, seconds);
        for (seconds, served) in [(THIS_UPDATE - 1, false), (THIS_UPDATE, true), (NEXT_UPDATE - 1, true), (NEXT_UPDATE, false)] {
            match at(seconds) {
                Ok(_) => assert!(served, "{seconds}"),
                Err(refusal) => {
                    assert!(!served, "{seconds}");
                    assert_eq!((refusal, refusal.status()), (Refusal::NotCurrent, ErrorStatus::TryLater));
                }
            }
        }
    }

    #[test]
    fn an_answer_takes_one_allocation_and_none_where_there_is_room() {
        let (content, request) = (testing::content(), request(HashAlgorithm::Sha1, 5));
        let allocations = |body: &mut Vec<u8>| {
            let counted = allocation_counter::measure(|| assert!(answer(&request, &content.status, None, time(NOW), body).is_ok()));
            counted.count_total
        };
        let mut body = Vec::new();
        assert_eq!(allocations(&mut body), 1);
        body.clear();
        assert_eq!(allocations(&mut body), 0);
    }

    #[test]
    fn a_slot_that_is_not_in_memory_is_try_later() {
        let content = testing::content();
        for status in content.status.directory().statuses() {
            status.replace_table(super::super::status_map::SlotTable::empty(3));
        }
        let refused = answered(&request(HashAlgorithm::Sha1, 5), &content, None, NOW);
        assert_eq!(refused, Err(Refusal::NotLoaded));
    }

    proptest! {
        #[test]
        fn o1_garbage_is_malformed_and_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(asked(&octets), Err(Refusal::Malformed));
        }

        #[test]
        fn a_damaged_request_never_panics(at in 0usize..200, bit in 0u8..8) {
            let mut der = request(HashAlgorithm::Sha1, 5);
            let at = at % der.len();
            der[at] ^= 1 << bit;
            let _ = asked(&der);
        }
    }
}
